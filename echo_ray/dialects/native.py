"""Our own lifecycle events, `POST /v1/echo/events`: what a client says became of a completion.

One event, a list, or `{"events": [...]}`. A field has the name of the data contract or the one in brackets:
`request_id` (`completion_id`), `type`, `accepted_chars` (`accepted_length`), `visible_ms` (`elapsed_ms`),
`ts_ms` (default now) and `user` (default the caller). Other fields are ignored. All of a call's events are
taken, or none.
"""

from typing import Any

from echo_ray.dialects.asked import JSON, Refusal
from echo_ray.dialects.body import Body
from echo_ray.schema import EventType

MAX_EVENTS = 1000
"""Events accepted in one call; a client that has more sends several."""

_MOST = 2**63 - 1


def events(body: JSON, user: str, now_ms: int) -> list[dict[str, Any]] | Refusal:
    """Event records in a body; `user` is the pseudonym of the caller, `now_ms` UTC milliseconds."""
    found = body.get("events", [body]) if isinstance(body, dict) else body
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_EVENTS:
        return Refusal(400, f"events must be a list of 1 to {MAX_EVENTS} events", param="events")
    records = []
    for number, event in enumerate(found):
        given = Body(event)
        record = {"record": "event", **_record(given, user, now_ms)}
        if given.fault is not None:
            return Refusal(400, f"events[{number}]: {given.fault.message}", param="events")
        records.append(record)
    return records


def _record(given: Body, user: str, now_ms: int) -> dict[str, Any]:
    kinds = list(EventType)
    kind = given.text("type")
    if kind not in kinds:
        given.wrong("type", f"one of {', '.join(kinds)}")
    name = _either(given, "request_id", "completion_id")
    request_id = given.text(name)
    if not request_id:
        given.wrong(name, "a non-empty string")
    ts_ms = given.whole("ts_ms", 0, _MOST)
    return {
        "request_id": request_id,
        "ts_ms": now_ms if ts_ms is None else ts_ms,
        "user": given.text("user") or user,
        "type": kind,
        "accepted_chars": given.whole(_either(given, "accepted_chars", "accepted_length"), 0, _MOST),
        "visible_ms": given.whole(_either(given, "visible_ms", "elapsed_ms"), 0, _MOST),
    }


def _either(given: Body, name: str, other: str) -> str:
    return other if given.fields.get(name) is None and given.fields.get(other) is not None else name
