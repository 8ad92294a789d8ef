"""What privacy costs per request: `python -m tests.benchmarks.privacy`.

Keystrokes of developers in real source text, windows of 6 KB, through one collector as the log's writer has
it. Prints processor time, the first look at every document included.
"""

import statistics
import time

from echo_ray.privacy.collect import Collector
from echo_ray.privacy.config import PrivacyConfig
from tests.benchmarks.streams import modules, stream

USERS, REQUESTS = 20, 1_500


def main() -> None:
    """Print microseconds per request."""
    texts = modules()
    collector = Collector(PrivacyConfig(), b"0" * 32)
    collector.record(next(stream("warm", texts, 1)))
    spent = []
    for number in range(USERS):
        for record in stream(f"u{number}", texts, REQUESTS):
            began = time.process_time_ns()
            collector.record(record)
            spent.append((time.process_time_ns() - began) / 1_000)
    p50, p99 = statistics.median(spent), statistics.quantiles(spent, n=100)[98]
    print(f"{len(spent)} requests: mean {statistics.mean(spent):.0f} us, p50 {p50:.0f}, p99 {p99:.0f}")
    print(dict(collector.counts))


if __name__ == "__main__":
    main()
