"""Statistics of an editing process, one implementation for recorded and for simulated edits (section 1.3).

`EditProcess` takes strokes in time order and leaves additive columns: counts and histograms that may be
summed over users, or resampled user by user. `edit_figures` turns (sums of) columns into the figures that
the specification prints. Definitions, found by reproducing the printed figures from the traces:

- A *change* is what one key, command or acceptance did; several cursors make one change of several strokes,
  of which the first one counts. A *gap* is the time between two changes, breaks between sessions included.
- A *jump* is a change that neither begins nor ends within one character of where the one before ended.
  Its distance is from there to where it begins. *Between jumps*: changes that are none.
- A *delete run* is a row of changes that only remove, wherever they stand.
- A *session* ends where nothing changes for 15 minutes; edits per active minute divide by session lengths.
- *Survival*: the share of characters that still stand some time after they were typed, of those typed at
  least that long before the end. Typed are insertions of at most 4 characters, pasted of at least 20.

A change of document ends jumps, runs and survival there: text that nobody opens again stays as it is.
With `mend`, a block of 20 characters or more that comes back within ten minutes was moved or restored,
not deleted, and nothing is said about text under a swap of 1,000 characters and more (a checkout).
Not covered: the order of several strokes of one change.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from simulator.judge.measure_bins import (
    SIZE_EDGES,
    Array,
    Columns,
    at_least,
    histogram,
    log_edges,
    quantile,
    ratio,
)

SESSION_S = 900.0
"""Nothing changes for this long: the session is over (seconds)."""
TYPED_CHARS, PASTED_CHARS = 4, 20
"""Insertions of at most, and of at least this many characters are followed as typed, as pasted."""
LIFE_S: tuple[float, ...] = (1, 2, 5, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 86_400)
"""Ages at which survival is read (seconds)."""
GAP_S: tuple[float, ...] = (0.3, 1.0, 2.0, 15.0, 180.0, 600.0)
"""Gaps whose share is reported (seconds)."""
RESTORE_S = 600.0
SWAP_CHARS = 1_000


GAP_EDGES = log_edges(0.01, 1e6, 20, GAP_S)
MINUTE_EDGES = log_edges(0.01, 1e4, 40)


class Stroke(NamedTuple):
    """`removed` at `at` of `document` became `inserted`; offsets are characters."""

    ts_s: float
    document: str
    at: int
    removed: str
    inserted: str
    typed: bool = True
    """A person's keys put the text there, so it may count as typed."""
    pasted: bool = True
    """The text may count as pasted."""
    head: bool = True
    """First stroke of its change."""


class EditProcess:
    """Accumulates the strokes of one author; `columns` ends it."""

    def __init__(self, mend: bool = True) -> None:
        self._mend = mend
        self._kinds = np.zeros(6)
        self._chars = [0, 0]
        self._gaps: list[float] = []
        self._jumps: list[int] = []
        self._followed = 0
        self._between: list[int] = []
        self._since_jump = 0
        self._runs: list[int] = []
        self._run = 0
        self._sessions: list[float] = []
        self._session_begin_s = self._last_s = 0.0
        self._document: str | None = None
        self._cursor: int | None = None
        self._lives = {"typed": _Lives(), "pasted": _Lives()}
        self._marks: list[int] = []
        """Of each character of the open document: 0, or the number of a life (odd: typed, even: pasted)."""
        self._removed: dict[str, tuple[float, list[int]]] = {}

    def open(self, document: str, chars: int) -> None:
        """`document`, with `chars` characters, is edited from here on; marks of the one before are gone."""
        self._document, self._cursor = document, None
        self._marks = [0] * chars
        self._end_run()
        self._since_jump = 0
        self._removed.clear()

    def add(self, stroke: Stroke) -> None:
        """Take the next stroke. Times never decrease."""
        if stroke.document != self._document:
            self.open(stroke.document, stroke.at + len(stroke.removed))
        if stroke.head:
            self._change(stroke)
        self._follow(stroke)

    def columns(self) -> Columns:
        """Everything counted so far."""
        self._end_run()
        sessions = list(self._sessions)
        if self._kinds[0]:
            sessions.append((self._last_s - self._session_begin_s) / 60)
        distances = np.abs(np.array(self._jumps, dtype=np.float64))
        columns = {
            "changes": self._kinds,
            "inserted": np.array(self._chars, dtype=np.float64),
            "gap_hist": histogram(GAP_EDGES, self._gaps),
            "jumps": np.array(
                [self._followed, len(self._jumps), sum(jump < 0 for jump in self._jumps)], float
            ),
            "distance_hist": histogram(SIZE_EDGES, distances),
            "between_hist": histogram(SIZE_EDGES, self._between),
            "between": np.array([len(self._between), sum(self._between)], float),
            "run_hist": histogram(SIZE_EDGES, self._runs),
            "runs": np.array([len(self._runs), sum(self._runs)], float),
            "session_hist": histogram(MINUTE_EDGES, sessions),
            "session": np.array([len(sessions), sum(sessions)], float),
        }
        for name, lives in self._lives.items():
            columns[f"{name}_risk"], columns[f"{name}_alive"] = lives.counts(self._last_s)
        return columns

    def _change(self, stroke: Stroke) -> None:
        size, gone = len(stroke.inserted), len(stroke.removed)
        self._kinds += (1, not gone, not size, bool(size and gone), size == 1, size >= PASTED_CHARS)
        self._chars[0] += size
        self._chars[1] += size if size >= PASTED_CHARS else 0
        if self._kinds[0] == 1:
            self._session_begin_s = stroke.ts_s
        else:
            gap_s = stroke.ts_s - self._last_s
            self._gaps.append(gap_s)
            if gap_s >= SESSION_S:
                self._sessions.append((self._last_s - self._session_begin_s) / 60)
                self._session_begin_s = stroke.ts_s
        self._last_s = stroke.ts_s
        if self._cursor is not None:
            self._followed += 1
            if abs(stroke.at - self._cursor) > 1 and abs(stroke.at + gone - self._cursor) > 1:
                self._jumps.append(stroke.at - self._cursor)
                self._between.append(self._since_jump)
                self._since_jump = 0
            else:
                self._since_jump += 1
        self._cursor = stroke.at + size
        if size:
            self._end_run()
        else:
            self._run += 1

    def _end_run(self) -> None:
        if self._run:
            self._runs.append(self._run)
            self._run = 0

    def _follow(self, stroke: Stroke) -> None:
        now_s, at, size = stroke.ts_s, stroke.at, len(stroke.inserted)
        stop = at + len(stroke.removed)
        if stop > len(self._marks):  # a document whose beginning nobody told
            self._marks += [0] * (stop - len(self._marks))
        if stop > at:
            gone = self._marks[at:stop]
            if self._mend and len(gone) >= SWAP_CHARS and size >= SWAP_CHARS:
                for mark in gone:
                    if mark:
                        self._of(mark).censor(mark >> 1, now_s)
            else:
                for mark in gone:
                    if mark:
                        self._of(mark).end_s[mark >> 1] = now_s
                if self._mend and len(gone) >= PASTED_CHARS:
                    self._removed[stroke.removed] = now_s, gone
        if not size:
            del self._marks[at:stop]
            return
        if self._mend and size >= PASTED_CHARS:
            when, marks = self._removed.pop(stroke.inserted, (-RESTORE_S, []))
            if marks and now_s - when < RESTORE_S:
                for mark in marks:
                    if mark:
                        self._of(mark).end_s[mark >> 1] = _NEVER
                self._marks[at:stop] = marks
                return
        if stroke.typed and size <= TYPED_CHARS:
            fresh = [mark << 1 | 1 for mark in self._lives["typed"].begin(size, now_s)]
        elif stroke.pasted and size >= PASTED_CHARS:
            # Number 0 is no life: the first character pasted begins at 1.
            fresh = [mark << 1 for mark in self._lives["pasted"].begin(size, now_s)]
        else:
            fresh = [0] * size
        self._marks[at:stop] = fresh

    def _of(self, mark: int) -> "_Lives":
        return self._lives["typed" if mark & 1 else "pasted"]


_NEVER = float("inf")


class _Lives:
    """Begin and end of each character's life (seconds), and until when it was watched."""

    def __init__(self) -> None:
        self.begin_s = [0.0]  # number 0 stands for no life
        self.end_s = [0.0]
        self.watched_s: dict[int, float] = {}

    def begin(self, count: int, now_s: float) -> range:
        first = len(self.begin_s)
        self.begin_s += [now_s] * count
        self.end_s += [_NEVER] * count
        return range(first, first + count)

    def censor(self, number: int, now_s: float) -> None:
        self.watched_s[number] = now_s

    def counts(self, last_s: float) -> tuple[Array, Array]:
        """(at risk, alive) at each age of `LIFE_S`."""
        begin, end = np.array(self.begin_s[1:]), np.array(self.end_s[1:])
        watched = np.full(len(begin), last_s)
        for number, until_s in self.watched_s.items():
            watched[number - 1] = until_s
        ages = np.array(LIFE_S)[:, None]
        at_risk = begin + ages <= watched
        alive = at_risk & (end - begin > ages)
        return at_risk.sum(axis=1).astype(np.float64), alive.sum(axis=1).astype(np.float64)


def edit_figures(sums: Mapping[str, Array]) -> dict[str, Any]:
    """Figures of summed columns by the keys of `published`; shares from 0 to 1, seconds, counts."""
    changes, inserted, jumps = sums["changes"], sums["inserted"], sums["jumps"]
    count = changes[..., 0]
    found: dict[str, Any] = {f"gap_{name_of(s)}": at_least(GAP_EDGES, sums["gap_hist"], s) for s in GAP_S}
    for place, name in enumerate(("insert", "delete", "replace", "single", "long_insert"), start=1):
        found[f"{name}_share"] = ratio(changes[..., place], count)
    found |= {
        "long_insert_chars": ratio(inserted[..., 1], inserted[..., 0]),
        "jump_share": ratio(jumps[..., 1], jumps[..., 0]),
        "jump_backward": ratio(jumps[..., 2], jumps[..., 1]),
        "jump_below_200": 1 - at_least(SIZE_EDGES, sums["distance_hist"], 200),
        "between_mean": ratio(sums["between"][..., 1], sums["between"][..., 0]),
        "run_mean": ratio(sums["runs"][..., 1], sums["runs"][..., 0]),
        "sessions": sums["session"][..., 0],
        "session_p50": quantile(MINUTE_EDGES, sums["session_hist"], 0.5),
        "session_mean": ratio(sums["session"][..., 1], sums["session"][..., 0]),
        "edits_per_minute": ratio(count, sums["session"][..., 1]),
    }
    for level in (25, 50, 75, 90):
        found[f"jump_p{level}"] = quantile(SIZE_EDGES, sums["distance_hist"], level / 100)
        found[f"between_p{level}"] = quantile(SIZE_EDGES, sums["between_hist"], level / 100)
        found[f"run_p{level}"] = quantile(SIZE_EDGES, sums["run_hist"], level / 100)
    for name in ("typed", "pasted"):
        shares = ratio(sums[f"{name}_alive"], sums[f"{name}_risk"])
        for place, age_s in enumerate(LIFE_S):
            found[f"{name}_alive_{name_of(age_s)}"] = shares[..., place]
    return found


def name_of(seconds: float) -> str:
    """`0.3s`, `15s`: the part of a key that names a time."""
    return f"{seconds:g}s"
