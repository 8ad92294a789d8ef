"""What became of each proposal of a served log: painted, shown, taken, and by whose word. Pure.

Two witnesses. *Events*: what the client reported. *Stream*: what the requests themselves show, as mining
infers it (`taken_chars` and `whole` come from there; nothing is inferred here a second time).

- painted, events: the client reported anything about the proposal. A client that never reports `shown` is
  silent about the ones that were passed over, so there every delivered proposal with text was painted.
- painted, stream: delivered with text.
- visible: what the client reported, else from the answer's arrival to the next request of the session. A
  proposal that stays on the screen while somebody types along is visible for longer than that.
- shown: `echo_ray.metrics.is_shown`, so an unknown time counts only for what was taken.
- accepted: the whole proposal, or all of it that was left; partial: a part. As in the simulator's tallies a
  part makes a proposal shown, and is no acceptance. Several reports about one proposal: the most characters,
  and accepted wins over partially accepted (clients that take word by word report each time, cumulatively).
- an acceptance of 0 characters is none; one of unknown length took what the stream shows, else the whole
  proposal.

Not covered: proposals that a client kept from an earlier answer and showed without asking again.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from echo_ray.metrics import SHOWN_MS
from echo_ray.schema import EventType

Flags: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

ROWS = pa.schema(
    [
        ("user", pa.string()),
        ("session", pa.string()),
        ("request_id", pa.string()),
        ("ts_ms", pa.int64()),
        ("arm", pa.string()),
        ("model", pa.string()),
        ("client", pa.string()),
        ("language", pa.string()),
        ("kind", pa.string()),
        ("delivered", pa.bool_()),
        ("proposal_chars", pa.int64()),
        ("blank", pa.bool_()),
        ("leak", pa.bool_()),
        ("latency_ms", pa.float64()),
        ("pause_ms", pa.int64()),
        ("next_ms", pa.int64()),
        ("taken_chars", pa.int64()),
        ("whole", pa.bool_()),
        ("kept_chars", pa.int64()),
        ("typed_chars", pa.int64()),
        ("pasted_chars", pa.int64()),
    ]
)
"""A request without its texts. `proposal_chars`: null for no answer; `blank`: white space alone; `leak`: a
special token of a model in it. `pause_ms`, `next_ms`: time since the request before and until the next one of
the session's timeline, null where there is none. `taken_chars` of the proposal entered the document, its end
among them when `whole`; `kept_chars` of the gap's text were the proposal's when the gap closed, null when
nothing was seen of it. `typed_chars` and `pasted_chars` led to this request. Outside the timeline (other
kinds) all of these are null or 0."""


MOST_CHARS = 10_000_000
"""Characters beyond which a reported acceptance is a broken count, not a long one."""


@dataclass(frozen=True, slots=True)
class Exposures:
    """One witness's word about every row."""

    shown: Flags
    accepted: Flags
    partial: Flags
    accepted_chars: Ints
    """Accepted and partially accepted ones."""
    visible_ms: Floats
    """As reported by the client; NaN otherwise."""


@dataclass(frozen=True, slots=True)
class Reported:
    """Events by row."""

    by_row: dict[str, Any]
    """Columns over the rows: `any`, `show`, `full`, `part`, `chars` (-1: unknown), `visible_ms` (NaN:
    unknown)."""
    reasons: dict[str, int]
    """Events that say nothing that counts, by reason."""
    used: Ints
    """How many events each row has."""


def by_stream(rows: pa.Table) -> Exposures:
    """What the requests alone show."""
    text = with_text(rows)
    taken = np.where(text, ints_of(rows["taken_chars"]), 0)
    some = taken > 0
    whole = some & flags_of(rows["whole"])
    shown = text & (some | (_visible(rows) >= SHOWN_MS))
    nothing = np.full(rows.num_rows, np.nan)
    return Exposures(shown, whole, some & ~whole, taken, nothing)


def by_events(rows: pa.Table, reported: Reported, shows: Flags) -> Exposures:
    """What clients reported; meaningful where they report anything. `shows`: rows of who reports `shown`."""
    told = reported.by_row
    chars = ints_of(rows["proposal_chars"])
    seen = ints_of(rows["taken_chars"])
    took = np.where(told["chars"] < 0, np.where(seen > 0, seen, chars), told["chars"])
    accepted = told["full"] & (took > 0)
    partial = told["part"] & (took > 0) & ~accepted
    painted = told["any"] | (~shows & with_text(rows))
    visible = np.where(np.isnan(told["visible_ms"]), _visible(rows), told["visible_ms"])
    shown = accepted | partial | (painted & (visible >= SHOWN_MS))
    taken = np.where(accepted | partial, took, 0)
    return Exposures(shown, accepted, partial, taken, told["visible_ms"])


def chosen(heard: Flags, client: Exposures, stream: Exposures) -> Exposures:
    """The client's word where it is `heard`, the stream's elsewhere."""
    return Exposures(
        *(
            np.where(heard, getattr(client, name), getattr(stream, name))
            for name in ("shown", "accepted", "partial", "accepted_chars", "visible_ms")
        )
    )


def reported(rows: pa.Table, events: pa.Table) -> Reported:
    """Join events (`schema.EVENT`) to rows by user and request. Identical events count once.

    Of several rows with one user and request id (the same id in two sessions) the first has the events.
    """
    size = rows.num_rows
    read = events.num_rows
    events = events.group_by(events.column_names).aggregate([]) if read else events
    reasons = Counter({"event_repeated": read - events.num_rows})
    place: dict[tuple[str, str], int] = {}
    users, names = rows["user"].to_pylist(), rows["request_id"].to_pylist()
    for row in np.argsort(ints_of(rows["ts_ms"]), kind="stable").tolist():
        place.setdefault((users[row], names[row]), row)
    found: dict[str, Any] = {name: np.zeros(size, bool) for name in ("any", "show", "full", "part")}
    found |= {"chars": np.full(size, -1, np.int64), "visible_ms": np.full(size, np.nan)}
    unknown = np.zeros(size, bool)
    used = np.zeros(size, np.int64)
    columns = (events[name].to_pylist() for name in _READ)
    for user, name, kind, chars, visible_ms in zip(*columns, strict=True):
        row = place.get((user, name))
        if kind not in _KINDS:
            reasons["event_of_unknown_type"] += 1
            continue
        if row is None:
            reasons["event_without_request"] += 1
            continue
        if chars is not None and not 0 <= chars <= MOST_CHARS:
            reasons["event_with_impossible_count"] += 1
            continue
        used[row] += 1
        found["any"][row] = True
        found["show"][row] |= kind == EventType.SHOWN
        if visible_ms is not None and visible_ms >= 0:
            found["visible_ms"][row] = np.nanmax([found["visible_ms"][row], visible_ms])
        if kind in _TAKES and (chars is None or chars > 0):
            found["full" if kind == EventType.ACCEPTED else "part"][row] = True
            unknown[row] |= chars is None and kind == EventType.ACCEPTED
            found["chars"][row] = max(found["chars"][row], -1 if chars is None else chars)
    # Of a part with a length and the whole without one, the whole is meant.
    found["chars"][unknown] = -1
    return Reported(found, dict(+reasons), used)


_READ = ("user", "request_id", "type", "accepted_chars", "visible_ms")
_TAKES = (EventType.ACCEPTED.value, EventType.PARTIALLY_ACCEPTED.value)
_KINDS = frozenset(kind.value for kind in EventType)


def with_text(rows: pa.Table) -> Flags:
    """Delivered, and the proposal is not blank."""
    return flags_of(rows["delivered"]) & (ints_of(rows["proposal_chars"]) > 0) & ~flags_of(rows["blank"])


def _visible(rows: pa.Table) -> Floats:
    """From the answer's arrival to the next request (ms); NaN where nothing follows."""
    following = pc.cast(rows["next_ms"], pa.float64()).to_numpy()
    latency = pc.fill_null(rows["latency_ms"], 0.0).to_numpy()
    return np.asarray(following - np.where(np.isfinite(latency), np.maximum(latency, 0), 0))


def flags_of(column: pa.ChunkedArray) -> Flags:
    """A column of booleans, null false."""
    return np.asarray(pc.fill_null(column, False).to_numpy())


def ints_of(column: pa.ChunkedArray) -> Ints:
    """A column of whole numbers, null 0."""
    return np.asarray(pc.fill_null(column, 0).to_numpy())
