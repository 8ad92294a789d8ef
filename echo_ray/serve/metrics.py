"""What the service counts, for Prometheus; `echo_ray/assets/grafana.json` shows it.

A registry of its own, so that several services in one process, and Ray's own metrics, do not meet. The number
of series is bounded whatever clients send: languages and dialects that are not known are `other`, and so is
every version, variant and reason beyond the first `MAX_VALUES`.

Not covered: metrics of the engine (`vllm:*`), which vLLM exports itself; several gateways (Prometheus adds
them up).
"""

from collections.abc import Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

OTHER = "other"
MAX_VALUES = 32
"""Values of one label that are told apart (count)."""

DIALECTS = frozenset({"openai", "tabby", "infill", "mistral"})
_LANGUAGES = (
    "c cpp csharp css dart dockerfile elixir go haskell html java javascript javascriptreact json "
    "jsonc julia kotlin latex lua makefile markdown objective-c perl php plaintext powershell python "
    "r ruby rust scala scss shellscript sql svelte swift toml typescript typescriptreact vue xml yaml"
)
LANGUAGES = frozenset(_LANGUAGES.split())
"""VS Code language identifiers that are told apart."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
_OVERHEAD_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
_NAMES = ("model_version", "variant", "language", "dialect")


class Labels(NamedTuple):
    """What a request is counted under."""

    model_version: str
    variant: str
    """Experiment arm."""
    language: str
    dialect: str


class ServeMetrics:
    """Counters and histograms of one gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._known: dict[str, set[str]] = {}
        self._requests = self._counter("requests", "Completion requests received")
        self._shown = self._counter("suggestions_shown", "Answers with text that reached the client")
        self._silent = self._counter("silent", "Answers without text")
        self._accepts = self._counter("accepts", "Suggestions that clients reported as accepted")
        self._accepted_chars = self._counter("accepted_chars", "Characters of accepted suggestions")
        self._cancelled = self._counter("cancelled", "Requests whose client left before the answer")
        self._leaks = self._counter("sentinel_leak", "Answers in which the model wrote a control token")
        self._latency = self._histogram("latency_seconds", "Request received to answer ready", _SECONDS)
        self._engine = self._histogram("engine_seconds", "Time that the engine took", _SECONDS)
        self._overhead = self._histogram(
            "framework_overhead_seconds", "Latency without the engine's time", _OVERHEAD_SECONDS
        )
        self._hits = self._counter("cache_hits", "Answers without the engine, by kind", ("kind",))
        self._misses = self._counter("cache_misses", "Answers that the cache did not have", ())
        self._refused = self._counter("refused", "Requests that were refused, by reason", ("reason",))
        self._limited = self._counter("rate_limited", "Requests over their rate limit", ("by",))
        self._lost = self._counter("log_lost", "Records that did not reach the experience log", ())
        self._failed = self._counter("log_failed", "Writes to the experience log that failed", ())
        self._redacted = self._counter("log_redacted", "Records from which something secret was taken", ())

        self._lines = Gauge(
            "echo_engines",
            "Engines of a version that the gateway has a line to",
            ("model_version",),
            registry=self.registry,
        )

    def requested(self, labels: Labels) -> None:
        """A completion request was received."""
        self._requests.labels(*self._bounded(labels)).inc()

    def answered(
        self,
        labels: Labels,
        *,
        chars: int,
        latency_s: float,
        engine_s: float | None = None,
        delivered: bool = True,
        leaked: bool = False,
    ) -> None:
        """A request was answered with `chars` characters; `engine_s` is None when no engine was asked."""
        told = self._bounded(labels)
        self._latency.labels(*told).observe(latency_s)
        self._overhead.labels(*told).observe(max(0.0, latency_s - (engine_s or 0.0)))
        if engine_s is not None:
            self._engine.labels(*told).observe(engine_s)
        if leaked:
            self._leaks.labels(*told).inc()
        if not delivered:
            self._cancelled.labels(*told).inc()
        elif chars:
            self._shown.labels(*told).inc()
        else:
            self._silent.labels(*told).inc()

    def cancelled(self, labels: Labels) -> None:
        """The client left while the engine worked; a request counts here or in `answered`."""
        self._cancelled.labels(*self._bounded(labels)).inc()

    def accepted(self, labels: Labels, chars: int | None) -> None:
        """A client reported that a suggestion was accepted; `chars` where it said how much of it."""
        told = self._bounded(labels)
        self._accepts.labels(*told).inc()
        self._accepted_chars.labels(*told).inc(max(0, chars or 0))

    def cache_hit(self, kind: str) -> None:
        """The cache answered."""
        self._hits.labels(self._first("kind", kind)).inc()

    def cache_miss(self) -> None:
        """The cache did not have the answer."""
        self._misses.inc()

    def refused(self, reason: str) -> None:
        """A request was refused."""
        self._refused.labels(self._first("reason", reason)).inc()

    def rate_limited(self, by_key: bool) -> None:
        """A request was over the limit of its key, or of its address."""
        self._limited.labels("key" if by_key else "address").inc()

    def logged(self, *, lost: int = 0, failed: int = 0, redacted: int = 0) -> None:
        """What happened to records since the last call (counts)."""
        self._lost.inc(lost)
        self._failed.inc(failed)
        self._redacted.inc(redacted)

    def engines(self, lines: Mapping[str, int]) -> None:
        """How many engines there are now, by version."""
        self._lines.clear()
        for version, count in lines.items():
            self._lines.labels(self._first("model_version", version)).set(count)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format (`prometheus_client.CONTENT_TYPE_LATEST`)."""
        return generate_latest(self.registry)

    def _counter(self, name: str, about: str, labels: tuple[str, ...] = _NAMES) -> Counter:
        return Counter(f"echo_{name}", about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"echo_{name}", about, _NAMES, buckets=buckets, registry=self.registry)

    def _bounded(self, labels: Labels) -> tuple[str, str, str, str]:
        return (
            self._first("model_version", labels.model_version),
            self._first("variant", labels.variant),
            labels.language if labels.language in LANGUAGES else OTHER,
            labels.dialect if labels.dialect in DIALECTS else OTHER,
        )

    def _first(self, label: str, value: str) -> str:
        known = self._known.setdefault(label, set())
        if value not in known and len(known) >= MAX_VALUES:
            return OTHER
        known.add(value)
        return value
