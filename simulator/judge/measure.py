"""What one simulated developer's sealed truth adds up to, by the definitions of sections 1 and 3.6.

`measure` reads one developer's rows once and leaves a `User`: additive columns (counts and histograms, some
thousand numbers however long the developer worked). `simulator.judge.measure_table` makes figures of them.

Definitions. *Shown*: painted and visible for 750 ms, or accepted; AR = whole acceptances / shown. *Decided*:
exposures that the policy judged (visible for 250 ms); AR by match, by length and after the previous decision
are over these. D and L are those of the decision: distance of the suggestion from what was meant, and its
length. *Typed characters*: keys that put text there; what the editor adds to a key (indentation, a closing
bracket) does not count. *Active*: pauses between two edits, if below 15 minutes. Time by state: between any
two things that happen, likewise.

Not covered: measured latency; what became of text after its document was closed.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from echo_ray.schema import Kind
from simulator.judge.measure_bins import SIZE_EDGES, Array, Columns, histogram, log_edges
from simulator.judge.measure_edits import SESSION_S, EditProcess, Stroke
from simulator.judge.published import LENGTH_BINS, MATCH_BINS, PERSIST_S
from simulator.truth import By, How, TruthKind

Row = Mapping[str, Any]

SECOND_EDGES = log_edges(0.01, 1e4, 40, (0.5, 1.0))
DAY_EDGES: Array = np.arange(0.0, 1025.0, 25.0, dtype=np.float64)
"""Bins of requests per user-day (count)."""
TYPED_BY = frozenset({By.KEY, By.SLIP, By.FIX, By.REVISE})
"""Whose insertions are typing."""
PAIRS = frozenset({"()", "[]", "{}", '""', "''", "``"})
_KEYS = re.compile(r"\n[ \t]*|[^\n]")


@dataclass(frozen=True, slots=True)
class User:
    """What one developer's truth adds up to."""

    user: str
    client: str
    columns: Columns


@dataclass(slots=True)
class _Exposure:
    distance: int | None = None
    chars: int = 0


@dataclass(slots=True)
class _Reader:
    """One developer while the rows pass."""

    process: EditProcess = field(default_factory=EditProcess)
    counts: Counter[str] = field(default_factory=Counter)
    states: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    daily: Counter[int] = field(default_factory=Counter)
    day: int = 0
    last_s: float | None = None
    edit_s: float | None = None
    active_s: float = 0.0
    state: str = "other"
    visits: int = 0
    exposures: dict[Any, _Exposure] = field(default_factory=dict)
    previous: bool | None = None
    accept_s: list[float] = field(default_factory=list)
    reject_s: list[float] = field(default_factory=list)
    accepted_chars: list[int] = field(default_factory=list)
    lengths: Array = field(default_factory=lambda: np.zeros((2, len(LENGTH_BINS))))
    matches: Array = field(default_factory=lambda: np.zeros((2, len(MATCH_BINS) + 1)))
    persist: Array = field(default_factory=lambda: np.zeros((6, len(PERSIST_S))))

    def take(self, row: Row) -> None:
        kind = row["kind"]
        if kind not in (TruthKind.PERSIST, TruthKind.SHADOW):  # nothing that the developer does
            ts_s = row["ts_ms"] / 1000
            if self.last_s is not None and ts_s - self.last_s < SESSION_S:
                self.states[self.state] += ts_s - self.last_s
            self.last_s = ts_s
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, row)

    def session(self, row: Row) -> None:
        self.day = int(row.get("day") or 0)
        self.daily[self.day] += 0
        self.counts["sessions"] += 1
        self.previous, self.state = None, "other"

    def switch(self, row: Row) -> None:
        self.visits += 1
        self.process.open(str(self.visits), int(row.get("chars") or 0))

    def entered(self, row: Row) -> None:
        self.state = str(row["state"])

    def edit(self, row: Row) -> None:
        by, inserted = row["by"], row["inserted"]
        typed = by in TYPED_BY
        self.process.add(
            Stroke(row["ts_ms"] / 1000, str(self.visits), row["at"], row["removed"], inserted, typed,
                   by == By.PASTE)
        )  # fmt: skip
        ts_s = row["ts_ms"] / 1000
        if self.edit_s is not None and ts_s - self.edit_s < SESSION_S:
            self.active_s += ts_s - self.edit_s
        self.edit_s = ts_s
        self.counts["edits"] += 1
        self.counts[f"by_{by}"] += 1
        if typed:
            self.counts["typed_chars"] += keys(inserted)
        elif by == By.PASTE:
            self.counts["pasted_chars"] += len(inserted)
        if by not in (By.ACCEPT, By.PASTE):
            self.counts["keys"] += 1

    def opportunity(self, _: Row) -> None:
        self.counts["opportunities"] += 1

    def request(self, row: Row) -> None:
        if row.get("request_kind") == Kind.SPECULATIVE:
            self.counts["speculative"] += 1
            return
        self.counts["requests"] += 1
        self.counts["cancelled"] += bool(row["cancelled"])
        self.daily[self.day] += 1

    def response(self, row: Row) -> None:
        self.counts["answered" if row["chars"] else "silent"] += 1

    def shown(self, row: Row) -> None:
        self.counts["painted"] += 1
        self.exposures[row["exposure"]] = _Exposure()

    def decision(self, row: Row) -> None:
        accept, chars, distance = bool(row["accept"]), row["chars"], row["distance"]
        exposure = self.exposures.setdefault(row["exposure"], _Exposure())
        exposure.distance, exposure.chars = distance, chars
        looked = row.get("attended") is not False  # what nobody looked at took no time
        if row.get("decision_s") is not None and looked and not row.get("partial"):
            (self.accept_s if accept else self.reject_s).append(row["decision_s"])

    def accepted(self, row: Row) -> None:
        self.counts["accepted_chars"] += row["chars"]
        self.counts["keys"] += 1
        if row["lines"] > 1:
            self.counts["accepted_multiline_chars"] += row["chars"]
        if not row.get("partial"):
            self.accepted_chars.append(row["chars"])

    def ended(self, row: Row) -> None:
        how, chars, visible_ms = row["how"], row["chars"], row["visible_ms"]
        whole = how == How.ACCEPTED
        exposure = self.exposures.pop(row["exposure"], _Exposure())
        self.counts["whole"] += whole
        self.counts["partial"] += how == How.PARTIAL
        self.counts["shown_250"] += whole or visible_ms >= 250
        if row["counted"]:
            self.counts["shown"] += 1
            self.counts["accepted"] += whole
            self.counts["shown_chars"] += chars
            self.counts["shown_accepted_chars"] += chars if whole else 0
            self.counts["shown_multiline"] += row["lines"] > 1
        if exposure.distance is None:
            return
        self.counts["decided"] += 1
        place = int(np.searchsorted(LENGTH_BINS, exposure.chars, side="right")) - 1
        self.lengths[:, max(place, 0)] += 1, whole
        self.matches[:, match_bin(exposure.distance, exposure.chars)] += 1, whole
        self.counts["accepted_exactly"] += whole and exposure.distance == 0
        if self.previous is not None:
            after = "accept" if self.previous else "reject"
            self.counts[f"after_{after}"] += 1
            self.counts[f"accepted_after_{after}"] += whole
        self.previous = whole

    def persisted(self, row: Row) -> None:
        if row["after_s"] not in PERSIST_S or not row["chars"]:
            return
        relative = row["distance"] / row["chars"]
        self.persist[:, PERSIST_S.index(row["after_s"])] += (
            1, bool(row["unchanged"]), relative <= 0.33, relative <= 0.5, row["chars"], row["alive"]
        )  # fmt: skip

    def columns(self) -> Columns:
        scalars = {name: np.array([float(value)]) for name, value in self.counts.items()}
        states = {f"state_{name}": np.array([seconds]) for name, seconds in self.states.items()}
        return {
            **self.process.columns(),
            **scalars,
            **states,
            "active_s": np.array([self.active_s]),
            "days": np.array([float(max(1, len(self.daily)))]),
            "day_hist": histogram(DAY_EDGES, list(self.daily.values())),
            "accept_hist": histogram(SECOND_EDGES, self.accept_s),
            "reject_hist": histogram(SECOND_EDGES, self.reject_s),
            "length_hist": histogram(SIZE_EDGES, self.accepted_chars),
            "length_bins": self.lengths.ravel(),
            "match_bins": self.matches.ravel(),
            "persist": self.persist.ravel(),
        }


_HANDLERS: dict[str, Callable[[_Reader, Row], None]] = {
    TruthKind.SESSION_START: _Reader.session,
    TruthKind.FILE_SWITCH: _Reader.switch,
    TruthKind.STATE: _Reader.entered,
    TruthKind.EDIT: _Reader.edit,
    TruthKind.REQUEST: _Reader.request,
    TruthKind.RESPONSE: _Reader.response,
    TruthKind.SHOWN: _Reader.shown,
    TruthKind.DECISION: _Reader.decision,
    TruthKind.ACCEPTED: _Reader.accepted,
    TruthKind.EXPOSURE_END: _Reader.ended,
    TruthKind.PERSIST: _Reader.persisted,
    TruthKind.OPPORTUNITY: _Reader.opportunity,
}


def measure(rows: Iterable[Row]) -> User:
    """One developer's truth in time order; the first row may be the header of the file (kind `run`).

    Raises KeyError or TypeError for rows of another version.
    """
    reader = _Reader()
    user, client = "", "unknown"
    for row in rows:
        if row["kind"] == "run":
            user, client = str(row.get("user") or user), str(row.get("client") or client)
            continue
        user = user or str(row["user"])
        reader.take(row)
    return User(user, client, reader.columns())


def keys(inserted: str) -> int:
    """Keys that put `inserted` there: Enter with its indentation, Tab, a bracket with its pair are one."""
    if not inserted or inserted in PAIRS or not inserted.strip():
        return bool(inserted)
    return len(_KEYS.findall(inserted))


def match_bin(distance: int, chars: int) -> int:
    """Number of the bin of D/L: 0 for an exact match, then by `published.MATCH_BINS`."""
    if distance == 0:
        return 0
    return int(np.searchsorted(MATCH_BINS[1:], distance / max(1, chars), side="right")) + 1
