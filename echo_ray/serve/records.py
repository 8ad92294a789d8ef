"""Request records of the data contract, as the service makes them. Pure.

Events are made by the dialects that carry them.
"""

from typing import Any, NamedTuple

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
