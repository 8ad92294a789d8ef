"""What privacy costs per request, in the log writer's process.

Keystrokes of developers in real source text, windows of 6 KB, through one collector as the log's writer has
it: processor time, the first look at every document included.
"""

import statistics
import time
from collections.abc import Iterator

from echo_ray.privacy.collect import Collector
from echo_ray.privacy.config import PrivacyConfig
from tests.benchmarks.figure import Figure
from tests.benchmarks.streams import modules, stream

USERS, REQUESTS = 20, 500


def figures() -> Iterator[Figure]:
    """Microseconds per request."""
    texts = modules()
    collector = Collector(PrivacyConfig(), b"0" * 32)
    collector.record(next(stream("warm", texts, 1)))
    spent = []
    for number in range(USERS):
        for record in stream(f"u{number}", texts, REQUESTS):
            began = time.process_time_ns()
            collector.record(record)
            spent.append((time.process_time_ns() - began) / 1_000)
    yield Figure("redaction and pseudonyms, CPU time per request, mean, us", statistics.mean(spent))
    yield Figure("  p50, us", statistics.median(spent))
    yield Figure("  p99, us", statistics.quantiles(spent, n=100)[98])
    withheld = collector.counts["in_secret"] / len(spent)
    yield Figure("  requests withheld (the cursor stands in what may be a secret), percent", 100 * withheld)
