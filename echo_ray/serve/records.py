"""Who asks, and what is logged about it. Pure: headers and bodies in, schema-1 records out.

Identity comes from the headers `X-Echo-User`, `X-Echo-Session`, `X-Echo-File`, `X-Echo-Language`, then
from the body's `user`, then from a hash of the bearer token or of the peer and user agent. Headers are
logged as sent: clients are expected to send pseudonyms. Tokens and addresses are only ever hashed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from echo_ray.schema import EVENT, REQUEST_DEFAULTS, REQUIRED, EventType
from echo_ray.serve.dialect import Refusal

MAX_EVENTS = 1000
"""Events accepted in one call; a client that has more sends several."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Pseudonyms of one request, the program that sent it, and how much of the document it sent."""

    user: str
    session: str
    file: str
    language: str
    client: str | None
    prefix_complete: bool = True
    """Whether the prefix reaches the start of the document: header `X-Echo-Prefix-Complete`."""
    suffix_complete: bool = True
    """Whether the suffix reaches its end: header `X-Echo-Suffix-Complete`."""


def identity(headers: Mapping[str, str], body_user: str | None, peer: str, ts_ms: int) -> Identity:
    """Who sent a request at `ts_ms` (UTC milliseconds); header names are lower case.

    Without a session header, one UTC day of a user is a session. Peers behind one address with the same
    user agent are one user.
    """
    client = headers.get("user-agent")
    user = headers.get("x-echo-user") or body_user
    if not user:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            user = _pseudonym("token", token.strip())
        else:
            user = _pseudonym("peer", f"{peer}\n{client or ''}")
    day = datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d")
    return Identity(
        user=user,
        session=headers.get("x-echo-session") or f"{user}@{day}",
        file=headers.get("x-echo-file") or "unknown",
        language=headers.get("x-echo-language") or REQUEST_DEFAULTS["language"],
        client=client,
        prefix_complete=headers.get("x-echo-prefix-complete") != "false",
        suffix_complete=headers.get("x-echo-suffix-complete") != "false",
    )


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
) -> dict[str, Any]:
    """Request record of the data contract. The dialect says nothing about triggers, so `kind` keeps the
    contract's default.
    """
    return {
        "record": "request",
        **REQUEST_DEFAULTS,
        "request_id": request_id,
        "ts_ms": ts_ms,
        "user": who.user,
        "session": who.session,
        "file": who.file,
        "language": who.language,
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


def event_records(body: Any, who: str, now_ms: int) -> list[dict[str, Any]] | Refusal:
    """Event records in a body: one event, or `{"events": [...]}`; all of them or a refusal.

    An event needs `request_id` and `type`; `ts_ms` defaults to now and `user` to the caller.
    """
    events = body.get("events", [body]) if isinstance(body, dict) else body
    if not isinstance(events, list) or not events or len(events) > MAX_EVENTS:
        return Refusal(400, f"events must be a list of 1 to {MAX_EVENTS} events", param="events")
    records = []
    for number, event in enumerate(events):
        if not isinstance(event, dict):
            return Refusal(400, f"events[{number}] must be an object", param="events")
        defaults = {"ts_ms": now_ms, "user": who, "accepted_chars": None, "visible_ms": None}
        known = {name: event[name] for name in EVENT.names if name in event}
        record = {"record": "event", **defaults, **known}
        if fault := _event_fault(record):
            return Refusal(400, f"events[{number}].{fault}", param="events")
        records.append(record)
    return records


def _event_fault(record: Mapping[str, Any]) -> str | None:
    for name in REQUIRED["event"]:
        wanted = int if name == "ts_ms" else str
        value = record.get(name)
        if not isinstance(value, wanted) or isinstance(value, bool) or value == "":
            return f"{name} must be a {'number' if wanted is int else 'non-empty string'}, got {value!r:.60}"
    if record["type"] not in set(EventType):
        return f"type must be one of {', '.join(EventType)}, got {record['type']!r:.60}"
    for name in ("accepted_chars", "visible_ms"):
        value = record[name]
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            return f"{name} must be a whole number of at least 0 or null, got {value!r:.60}"
    return None


def _pseudonym(kind: str, value: str) -> str:
    return f"{kind}-{hashlib.blake2b(value.encode(), digest_size=8, person=kind.encode()).hexdigest()}"
