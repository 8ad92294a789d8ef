"""Continue's development data over HTTP (`/v1/dev-data`): what became of suggestions that were served.

The request itself is in our log already, so only lifecycle events come out of it. Continue makes its own
completion ids, so an event is joined to the request that was served by its text, the end of its prefix, the
start of its suffix and, among several, by the time. Times of events are those of the server: clients' clocks
differ. `accepted` true arrives when the user accepts, false 10 s after the suggestion was shown.

Every well-formed body is answered 200, joined or not; `Logged.outcome` is there to be counted. A retried call
logs nothing twice. Not covered: level `noCode`, which holds no text to join by; suggestions shown for under
half a second (Continue says nothing); requests that are forgotten (`Join` holds those of two minutes, and a
bounded number).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from echo_ray.dialects.asked import JSON, Refusal
from echo_ray.dialects.body import is_text, said, shown
from echo_ray.dialects.memory import Recent
from echo_ray.dialects.templated import without_header
from echo_ray.rng import digest
from echo_ray.schema import EventType

_DISMISSED_MS = 10_000
"""How long Continue waits before it says that a suggestion was not taken."""
_LINE_CHARS, _TAIL_CHARS, _HEAD_CHARS, _TEXT_CHARS = 80, 200, 100, 2000
_PER_CONTEXT, _TOTAL, _TTL_S = 32, 1 << 15, 120.0


class Outcome(StrEnum):
    """What became of one call."""

    JOINED = "joined"
    UNMATCHED = "unmatched"
    """No request that is still known has this text in this place."""
    NO_CODE = "no_code"
    """Level `noCode`: nothing to join by."""
    OTHER = "other"
    """No autocompletion: Continue also sends chats and edits."""


class Logged(NamedTuple):
    """What one call gives."""

    records: list[dict[str, Any]]
    """Event records of the data contract."""
    outcome: Outcome


@dataclass(slots=True)
class _Served:
    request_id: str
    user: str
    ts_ms: int
    tail: str
    head: str
    text: str
    told: set[EventType] = field(default_factory=set)


class Join:
    """The requests that were served last, by what Continue will say of them."""

    def __init__(self, total: int = _TOTAL) -> None:
        self._served: Recent[_Served] = Recent(_PER_CONTEXT, total, _TTL_S)

    def served(self, request_id: str, user: str, ts_ms: int, prefix: str, suffix: str, text: str) -> None:
        """Remember a request that arrived at `ts_ms` (UTC milliseconds) and was answered with `text`."""
        if text.strip():
            item = _Served(
                request_id,
                user,
                ts_ms,
                prefix[-_TAIL_CHARS:],
                suffix[:_HEAD_CHARS],
                text.strip()[:_TEXT_CHARS],
            )
            self._served.put(_place(prefix, suffix), request_id, item)

    def match(self, data: JSON) -> str | None:
        """Id of the served request that one event's `data` is about."""
        found = self._find(data)
        return None if found is None else found.request_id

    def log(self, body: JSON, now_ms: int) -> Logged | Refusal:
        """What to log of a call that arrived at `now_ms` (UTC milliseconds)."""
        if not isinstance(body, dict):
            return Refusal(400, f"the body must be a JSON object, got {shown(body)}")
        data = body.get("data", body)
        if not isinstance(data, dict):
            return Refusal(400, f"data must be an object, got {shown(data)}", param="data")
        name = said(body, "name") or said(data, "eventName") or "autocomplete"
        if name != "autocomplete":
            return Logged([], Outcome.OTHER)
        if data.get("prefix") is None or data.get("completion") is None:
            return Logged([], Outcome.NO_CODE)
        found = self._find(data)
        if found is None:
            return Logged([], Outcome.UNMATCHED)
        return Logged(list(_events(found, data, now_ms)), Outcome.JOINED)

    def _find(self, data: JSON) -> _Served | None:
        if not isinstance(data, dict):
            return None
        prefix, text = data.get("prefix"), data.get("completion")
        suffix = "" if data.get("suffix") is None else data["suffix"]
        if not (is_text(prefix) and is_text(suffix) and is_text(text) and text.strip()):
            return None
        text = text.strip()[:_TEXT_CHARS]
        code = without_header(prefix, said(data, "filepath") or "")
        tails = {prefix[-_TAIL_CHARS:], code[-_TAIL_CHARS:]}
        asked_ms = _asked_ms(data)

        def rank(item: _Served) -> tuple[bool, int, int]:
            apart = 0 if asked_ms is None else abs(item.ts_ms - asked_ms)
            return item.text != text, apart, -item.ts_ms

        fitting = [
            item
            for place in dict.fromkeys((_place(code, suffix), _place(prefix, suffix)))
            for item in self._served.of(place)
            # Continue cuts what it shows: a trailing part may be missing.
            if item.text.startswith(text)
            and any(item.tail.endswith(tail) or tail.endswith(item.tail) for tail in tails)
            and _begin_alike(item.head, suffix[:_HEAD_CHARS])
        ]
        return min(fitting, key=rank, default=None)


def _events(item: _Served, data: dict[str, Any], now_ms: int) -> Iterator[dict[str, Any]]:
    """Records of what is new about one request."""
    accepted, text = data.get("accepted"), str(data["completion"])
    waited = data.get("time")
    spent_ms = waited if isinstance(waited, int) and not isinstance(waited, bool) else 0
    last = now_ms - _DISMISSED_MS if accepted is False else now_ms
    shown_ms = max(item.ts_ms, min(item.ts_ms + max(0, spent_ms), last))
    fates = {True: EventType.ACCEPTED, False: EventType.DISMISSED}
    told: list[tuple[EventType, int, int | None, int | None]] = [(EventType.SHOWN, shown_ms, None, None)]
    if isinstance(accepted, bool):
        chars = len(text) if accepted else None
        told.append((fates[accepted], max(now_ms, shown_ms), chars, max(0, now_ms - shown_ms)))
    for kind, ts_ms, chars, visible_ms in told:
        if kind in item.told:
            continue
        item.told.add(kind)
        yield {
            "record": "event",
            "request_id": item.request_id,
            "ts_ms": ts_ms,
            "user": item.user,
            "type": kind.value,
            "accepted_chars": chars,
            "visible_ms": visible_ms,
        }


def _place(prefix: str, suffix: str) -> int:
    line = prefix.rpartition("\n")[2][-_LINE_CHARS:]
    return digest(line, suffix.partition("\n")[0][:_LINE_CHARS])


def _begin_alike(served: str, told: str) -> bool:
    # Continue writes an empty suffix as a line end.
    one, other = served.rstrip("\n"), told.rstrip("\n")
    return one.startswith(other) or other.startswith(one)


def _asked_ms(data: dict[str, Any]) -> int | None:
    """When the client says it asked (UTC milliseconds): `timestamp` is the end of the generation."""
    stamp, spent = data.get("timestamp"), data.get("time")
    try:
        when = datetime.fromisoformat(stamp if isinstance(stamp, str) else "")
        ended = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000
    except (ValueError, OverflowError):
        return None
    return round(ended) - (spent if isinstance(spent, int) else 0)
