"""The rule of `gaps` over all sessions of a table at once, for logs with about one request per key.

A gap [L, R] stays what it is while only the text between its anchors changes, with L counted from the
left of the file and R from its right. So it closes at the first later edit of its file that starts left
of L or stops right of R: a search for the next smaller value, which needs no stack. The other ends are
the next late request and the next edit elsewhere. Only the text is replayed, a whole run of keys at once.

Not covered, and left to `gaps.mine_session`: policies, sparse sessions, a pause before several edits.
`tests/test_sweep.py` holds the two to the same outcomes.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from echo_ray.edits import Edit
from echo_ray.link import LinkKind
from echo_ray.link_table import edits_of
from echo_ray.schema import Confidence, EndReason
from echo_ray.stages.gaps import FEW_ACTS, Rule
from echo_ray.stages.sweep_text import Flat, Ints, Replay

Flags: TypeAlias = npt.NDArray[np.bool_]

REASONS, CONFIDENCES = tuple(EndReason), tuple(Confidence)
_NEVER = 1 << 60


class Timeline(NamedTuple):
    """Requests by session and `seq`; all arrays of one length."""

    row: Ints
    """Place in the table."""
    session: Ints
    file: Ints
    """Number of the file among all files of all sessions."""
    ts_ms: Ints
    late: Flags
    """Comes more than `idle_ms` after the request before it in the session."""
    link: Ints
    """Number of edits, -1 where the file was lost."""
    covered: Flags
    """Belongs to a session that `sweep` can do."""

    def only(self, chosen: Flags) -> "Timeline":
        """The chosen requests; whole sessions."""
        return Timeline._make(values[chosen] for values in self)


class Found(NamedTuple):
    """What became of the gap of each request of a timeline; fields as in `schema.SAMPLE`.

    `end_reason` and `confidence` are places in `REASONS` and `CONFIDENCES`; `accepted_chars` counts also
    where the sample says null.
    """

    row: Ints
    commit: npt.NDArray[np.object_]
    end_reason: Ints
    end_ts_ms: Ints
    snapshots: Ints
    confidence: Ints
    human_chars: Ints
    model_chars: Ints
    pasted_chars: Ints
    accepted_chars: Ints


_NONE = np.empty(0, np.int64)
EMPTY = Found(_NONE, np.empty(0, object), *[_NONE] * 8)
"""No requests, no outcomes."""


def timeline(table: pa.Table, rule: Rule) -> Timeline:
    """The requests of `table` (`schema.LOGGED`) in the order of their sessions."""
    users, names, seq = _codes(table["user"]), _codes(table["file"]), table["seq"].to_numpy()
    session = _codes(table["session"]) * (users.max(initial=0) + 1) + users
    new = _starts(session)
    order = np.arange(len(session))
    # The store keeps sessions together and almost always in the order of the timeline.
    if new.sum() != len(np.unique(session)) or np.any((np.diff(seq) < 0) & ~new[1:]):
        order = np.lexsort((seq, session))
        session, names = session[order], names[order]
        new = _starts(session)
    session = new.cumsum() - 1
    file = np.unique(session * (names.max(initial=0) + 1) + names, return_inverse=True)[1]
    ts_ms = table["ts_ms"].to_numpy()[order]
    late = np.append(False, np.diff(ts_ms) > rule.idle_ms)[: len(order)] & ~new
    edits = (
        pc.is_valid(table["edit_at"]).to_numpy().astype(np.int64)
        + pc.is_valid(table["more_edits"]).to_numpy()
    )
    keys = (edits == 1) & (_filled(table["edit_removed"]) + _sizes(table["edit_text"]) == 1)
    edits[pc.equal(table["link"], LinkKind.LOST.value).to_numpy()] = -1
    edits, keys = edits[order], keys[order]
    acts = np.bincount(session, edits > 0)
    sparse = (2 * np.bincount(session, keys) < acts) | (acts < FEW_ACTS)
    paused = np.bincount(session, late & (edits > 1)) > 0
    policy = rule.quiescence_ms is not None or rule.ttl_ms is not None
    covered = ~(sparse | paused | policy)[session]
    return Timeline(order, session, file, ts_ms, late, edits, covered)


def sweep(table: pa.Table, requests: Timeline) -> Found:
    """The outcome of every request; `requests` are whole covered sessions of `table`."""
    by_file = np.argsort(requests.file, kind="stable")
    rows, file, link = requests.row[by_file], requests.file[by_file], requests.link[by_file]
    ts_ms = requests.ts_ms[by_file]
    number = np.arange(len(rows))
    flat, first = _flatten(table, rows, file, link)
    left = table["cursor"].to_numpy()[rows]
    right = flat.end[first] - left
    outside = _first_outside(flat, first, left, right)
    to = flat.to[outside]
    ended = to == np.append(np.flatnonzero(_starts(file))[1:], len(file))[np.cumsum(_starts(file)) - 1]
    idle, switch = _interruptions(requests, by_file)
    other = np.minimum(idle, switch)
    broken_at = np.where(ended, _NEVER - 1, np.append(by_file, 0)[to])
    interrupted = other <= broken_at
    # The last request in which the gap stood.
    places = file * (len(rows) + 1) + by_file
    before = np.searchsorted(places, file * (len(rows) + 1) + np.minimum(other, len(rows))) - 1
    last = np.where(interrupted, before, to - 1)
    reasons = (EndReason.IDLE, EndReason.FILE_SWITCH, EndReason.SESSION_END, EndReason.LOST)
    reason = np.select(
        [interrupted & (idle <= switch), interrupted, ended, np.append(link, 0)[to] < 0],
        [REASONS.index(reason) for reason in reasons],
        REASONS.index(EndReason.ANCHOR_EDITED),
    )
    doubted = _latest((link < 0) | (link > 1))[np.where(interrupted | ended, last, to)]
    whole = pc.and_(table["prefix_complete"], table["suffix_complete"]).to_numpy()[rows]
    confidence = np.select(
        [doubted >= number, _latest(~whole)[last] >= number],
        [CONFIDENCES.index(Confidence.INFERRED), CONFIDENCES.index(Confidence.ALIGNED)],
        CONFIDENCES.index(Confidence.EXACT),
    )
    texts = Replay(table, rows, ts_ms, flat, first, np.where(interrupted, first[last], outside), left, right)
    texts.run()
    human = np.fromiter(map(len, texts.commits), np.int64, len(rows)) - texts.model - texts.pasted
    return Found(
        rows,
        texts.commits,
        reason,
        ts_ms[last],
        last - number,
        confidence,
        human,
        texts.model,
        texts.pasted,
        texts.accepted,
    )


def _flatten(table: pa.Table, rows: Ints, file: Ints, link: Ints) -> tuple[Flat, Ints]:
    """(all edits, for each request the first edit after it)."""
    more: dict[int, tuple[Edit, ...]] = {}
    number = np.abs(link)
    several = np.flatnonzero(link > 1)
    if len(several):
        found = table.select(["edit_at", "edit_removed", "edit_text", "more_edits"]).take(
            pa.array(rows[several])
        )
        columns = found.to_pydict()
        more = {place: edits_of(columns, index) for index, place in enumerate(several.tolist())}
        number[several] = [len(edits) for edits in more.values()]
    final = np.append(_starts(file)[1:], True)[: len(file)]
    first = np.cumsum(number + np.append(0, final[:-1])[: len(file)])
    total = int(first[-1]) + 1 if len(first) else 0
    to, start, removed = np.zeros(total, np.int64), np.full(total, -_NEVER), np.zeros(total, np.int64)
    typed = np.full(total, "", object)
    single = np.flatnonzero(link == 1)
    at, taken = first[single] - 1, rows[single]
    to[at] = single
    start[at] = _filled(table["edit_at"])[taken]
    removed[at] = _filled(table["edit_removed"])[taken]
    typed[at] = table["edit_text"].combine_chunks().take(pa.array(taken)).to_numpy(zero_copy_only=False)
    for place, edits in more.items():
        for index, edit in enumerate(edits, int(first[place]) - len(edits)):
            to[index], start[index], removed[index] = place, edit.start, edit.stop - edit.start
            typed[index] = edit.text
    lost = np.flatnonzero(link < 0)
    to[first[lost] - 1] = lost
    to[first[final]] = np.flatnonzero(final) + 1
    size = np.fromiter(map(len, typed), np.int64, total)
    end = np.cumsum(size - removed) - (size - removed)
    right = np.where(start == -_NEVER, -_NEVER, end - start - removed)
    return Flat(to, start, right, end, removed, typed.tolist(), size), first


def _first_outside(flat: Flat, first: Ints, left: Ints, right: Ints) -> Ints:
    """For each gap the first edit from `first` on that starts left of `left` or stops right of `right`."""
    levels = [(flat.start, flat.right)]
    width = 1
    while width < len(flat.start):
        # Least values of the next 2 * width edits; the file's end, which nothing contains, bounds them.
        levels.append(tuple(np.minimum(a, np.append(a[width:], np.full(width, -_NEVER))) for a in levels[-1]))
        width *= 2
    place = first.copy()
    for level in range(len(levels) - 1, -1, -1):
        starts, rights = levels[level]
        place += ((starts[place] >= left) & (rights[place] >= right)).astype(np.int64) << level
    return place


def _interruptions(requests: Timeline, by_file: Ints) -> tuple[Ints, Ints]:
    """For each request (by file): when the session paused next, and when another file was edited next."""
    starts = _starts(requests.session)
    ends = np.append(np.flatnonzero(starts)[1:], len(by_file))[np.cumsum(starts) - 1][by_file]

    def bounded(when: Ints) -> Ints:
        return np.where(when < ends, when, _NEVER)

    idle = np.append(np.flatnonzero(requests.late), _NEVER)
    after = idle[np.searchsorted(idle, by_file, side="right")]
    active = np.append(np.flatnonzero(requests.link != 0), _NEVER)
    files = np.append(requests.file[active[:-1]], -1)
    runs = np.append(np.flatnonzero(_starts(files)), len(files) - 1)
    next_run = runs[np.cumsum(_starts(files))]
    place = np.searchsorted(active, by_file, side="right")
    place = np.where(files[place] == requests.file[by_file], next_run[place], place)
    return bounded(after), bounded(active[place])


def _codes(column: pa.ChunkedArray) -> Ints:
    """A number per row, equal for equal values."""
    codes: Ints = column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    return codes


def _filled(column: pa.ChunkedArray) -> Ints:
    numbers: Ints = pc.fill_null(column, 0).to_numpy()
    return numbers


def _sizes(column: pa.ChunkedArray) -> Ints:
    """Characters of each text, 0 for null."""
    return _filled(pc.utf8_length(column).cast(pa.int64()))


def _starts(groups: Ints) -> Flags:
    """Where another group begins."""
    return np.append(np.ones(1, np.bool_), groups[1:] != groups[:-1])[: len(groups)]


def _latest(marked: Flags) -> Ints:
    """Place of the last marked one so far, -1 before the first."""
    latest: Ints = np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1))
    return latest
