"""Request records of the data contract, as the service makes them, and what may be written of them. Pure.

Events are made by the dialects that carry them.
"""

from typing import Any, NamedTuple

from echo_ray.privacy.collect import Collector
from echo_ray.privacy.config import PrivacyConfig
from echo_ray.schema import REQUEST_DEFAULTS, Kind
from echo_ray.serve.who import Identity


class Entry(NamedTuple):
    """A record on its way to the log, with what decides how much of it may be written."""

    record: dict[str, Any]
    tenant: str | None = None
    repository: str | None = None


def request_record(
    who: Identity,
    *,
    request_id: str,
    ts_ms: int,
    prefix: str,
    suffix: str,
    delivered: bool,
    proposal: str | None,
    model: str,
    arm: str,
    latency_ms: float | None,
    kind: Kind = Kind.AUTOMATIC,
) -> Entry:
    """What is logged of one request; `proposal` None is no answer."""
    record = {
        "record": "request",
        **REQUEST_DEFAULTS,
        "request_id": request_id,
        "ts_ms": ts_ms,
        "user": who.user,
        "session": who.session,
        "file": who.file,
        "language": who.language,
        "kind": kind.value,
        "prefix": prefix,
        "suffix": suffix,
        "prefix_complete": who.prefix_complete,
        "suffix_complete": who.suffix_complete,
        "delivered": delivered,
        "proposal": proposal,
        "model": model,
        "arm": arm,
        "latency_ms": latency_ms,
        "client": who.client,
    }
    return Entry(record, who.tenant, who.repository)


class Preparing:
    """What the log's writer does to every entry before it is written; pickles, for the writer's process."""

    def __init__(self, config: PrivacyConfig, key: bytes) -> None:
        self._settings = config, key
        self.collector = Collector(config, key)

    def __call__(self, entry: Entry) -> dict[str, Any] | None:
        """The record to write, None for none."""
        return self.collector.record(entry.record, entry.tenant, None, entry.repository)

    def __reduce__(self) -> tuple[Any, ...]:
        return _warm, self._settings


def _warm(config: PrivacyConfig, key: bytes) -> Preparing:
    """In the writer's process: the detectors' rules are compiled at their first use, which takes seconds, and
    no record shall wait for that.
    """
    made = Preparing(config, key)
    who = Identity("warm-up", "warm-up", "warm-up.py", "python", None)
    text = 'key = "x"  # +1 202 555 0100, somebody@example.com\n'
    made(
        request_record(
            who,
            request_id="warm-up",
            ts_ms=0,
            prefix=text,
            suffix=text,
            delivered=True,
            proposal=text,
            model="",
            arm="",
            latency_ms=None,
        )
    )
    made.collector.counts.clear()
    return made
