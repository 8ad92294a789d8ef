"""Mining: what the user finally left in the gap (paper 4.2).

A gap opens at each request of the timeline, between its prefix P and its suffix S. It stays open while
both anchors stand in the document; CN is the text between them at the last moment both stood. It closes
when an edit touches an anchor, when the user edits another file, after `idle_s` without a request, or
at the end of the session. A cursor that merely looks elsewhere closes nothing.

Between two consecutive snapshots of a file let `head` and `tail` be the lengths of their common prefix
and suffix. A gap with anchors of length p and s survives exactly when `head >= p`, `tail >= s` and the
new document holds both without overlap. Live gaps that have seen an edit are nested, each inside the
older ones, so a survivor on top of the stack proves all below it: every gap is pushed and popped once,
and mining costs O(total bytes), not O(requests squared).

Invariant: one sample per request of the timeline (`automatic`, `manual`). Windowed contexts are aligned
by the text that two windows share; where they share too little, the gap ends there. Not covered yet:
evidence beyond the strict rule on sparse logs, clocks that step back, provenance of the text.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from echo_ray import schema
from echo_ray.config import Config
from echo_ray.schema import Drop, EndReason
from echo_ray.text import common_prefix, common_suffix

_PROBE_CHARS = 64
"""Shortest shared text that aligns two windows; shorter matches are too often coincidence."""


class MineConfig(Config):
    """Settings of `mine`."""

    input: Path | None = None
    """Experience log: a directory of Parquet or JSON Lines record files."""
    output: Path | None = None
    """Folder for the samples and `manifest.json`."""
    idle_s: float = Field(300.0, gt=0)
    """A gap closes when the session is silent for longer than this (seconds)."""


class Snapshot(NamedTuple):
    """One request of the timeline as the miner sees it: `document[:cursor]` is P, the rest is S."""

    row: int
    ts_ms: int
    file: str
    document: str
    cursor: int
    whole: bool = True
    """The document is complete; otherwise it is a window around the cursor."""


class Outcome(NamedTuple):
    """What became of the gap that snapshot `row` opened."""

    row: int
    commit: str
    end_reason: EndReason
    end_ts_ms: int
    snapshots: int


class _Gap(NamedTuple):
    """Anchors of one gap: `left` counts from the file's left origin, `right` from its right origin.

    While only the text between the anchors changes, both numbers stay what they are.
    """

    row: int
    left: int
    right: int
    opened: int


@dataclass(slots=True)
class _File:
    """One document as last seen, and its live gaps.

    `nested` holds gaps that have seen an edit, outermost first; `fresh` those opened since. `base_left`
    and `base_right` say where the last window begins and ends, counted from the two origins.
    """

    last: Snapshot
    base_left: int = 0
    base_right: int = 0
    seen: int = 1
    nested: list[_Gap] = field(default_factory=list)
    fresh: list[_Gap] = field(default_factory=list)
    orderly: bool = True

    def open(self, snapshot: Snapshot) -> None:
        left = self.base_left + snapshot.cursor
        right = self.base_right + len(snapshot.document) - snapshot.cursor
        self.fresh.append(_Gap(snapshot.row, left, right, self.seen - 1))

    def close(self, gap: _Gap, reason: EndReason) -> Outcome:
        document = self.last.document
        start, stop = gap.left - self.base_left, len(document) - (gap.right - self.base_right)
        return Outcome(gap.row, document[start:stop], reason, self.last.ts_ms, self.seen - 1 - gap.opened)

    def close_all(self, reason: EndReason) -> Iterator[Outcome]:
        for gap in (*self.nested, *self.fresh):
            yield self.close(gap, reason)
        self.nested, self.fresh, self.orderly = [], [], True


def mine_session(snapshots: Iterable[Snapshot], idle_s: float) -> Iterator[Outcome]:
    """One outcome per snapshot of one session, given in time order (rule of paper 4.2)."""
    files: dict[str, _File] = {}
    last_ms: int | None = None
    for snapshot in snapshots:
        if last_ms is not None and snapshot.ts_ms - last_ms > idle_s * 1000:
            for file in files.values():
                yield from file.close_all(EndReason.IDLE)
        last_ms = snapshot.ts_ms
        known = files.get(snapshot.file)
        if known is None:
            # A first look at a file shows no edit; the next one that changes it closes the others.
            files[snapshot.file] = known = _File(last=snapshot)
        elif (yield from _observe(known, snapshot)):
            for name, other in files.items():
                if name != snapshot.file:
                    yield from other.close_all(EndReason.FILE_SWITCH)
        known.open(snapshot)
    for file in files.values():
        yield from file.close_all(EndReason.SESSION_END)


def _observe(file: _File, snapshot: Snapshot) -> Generator[Outcome, None, bool]:
    """Close the gaps that the step to `snapshot` broke; the generator's value says whether text changed."""
    old, new, slid_left, slid_right = file.last.document, snapshot.document, 0, 0
    if not (file.last.whole and snapshot.whole):
        slide = align(old, new)
        if slide is None:
            yield from file.close_all(EndReason.ANCHOR_EDITED)
            file.last, file.seen = snapshot, file.seen + 1
            return True
        slid_left, slid_right = slide
        old = old[max(0, slid_left) : len(old) - max(0, slid_right)]
        new = new[max(0, -slid_left) : len(new) - max(0, -slid_right)]
    edited = old != new
    base_left = file.base_left + max(0, slid_left)
    base_right = file.base_right + max(0, slid_right)
    if edited or slid_left or slid_right:
        # Typing goes on at the cursor of the snapshot before, so the shared text ends there.
        place = file.last.cursor - max(0, slid_left)
        head = common_prefix(old, new, place)
        tail, size = common_suffix(old, new, len(old) - place), len(new)

        def survives(gap: _Gap) -> bool:
            left, right = gap.left - base_left, gap.right - base_right
            return 0 <= left <= head and 0 <= right <= tail and left + right <= size

        # A window that slides can lose an outer gap and keep an inner one, so then every gap is asked.
        yield from _settle(file, survives, ask_all=bool(slid_left or slid_right))
    file.base_left += slid_left
    file.base_right += slid_right
    file.last, file.seen = snapshot, file.seen + 1
    return edited


def _settle(file: _File, survives: Callable[[_Gap], bool], ask_all: bool) -> Iterator[Outcome]:
    """Close what the edit broke. Fresh gaps are not nested yet, so each is asked once; then the stack."""
    kept = [gap for gap in file.fresh if survives(gap)]
    broken = [gap for gap in file.fresh if not survives(gap)]
    if ask_all or not file.orderly:
        broken += [gap for gap in file.nested if not survives(gap)]
        file.nested = [gap for gap in file.nested if survives(gap)]
    else:
        while file.nested and not survives(file.nested[-1]):
            broken.append(file.nested.pop())
    for gap in broken:
        yield file.close(gap, EndReason.ANCHOR_EDITED)
    # Repeated text ("aa" typed into "aaaa") can keep gaps alive that are not nested: then ask each of them.
    joint = (*file.nested[-1:], *kept) if file.orderly else (*file.nested, *kept)
    file.nested.extend(kept)
    file.fresh = []
    file.orderly = all(
        outer.left <= inner.left and outer.right <= inner.right for outer, inner in pairwise(joint)
    )


def align(old: str, new: str) -> tuple[int, int] | None:
    """How far the window moved from `old` to `new`: (characters lost on the left, on the right).

    Negative numbers are characters gained. None when the windows share too little text at an end to say.
    """
    left, right = _slide(old, new), _slide(old[::-1], new[::-1])
    return None if left is None or right is None else (left, right)


def _slide(old: str, new: str) -> int | None:
    if old[:_PROBE_CHARS] == new[:_PROBE_CHARS]:
        return 0
    if len(new) >= _PROBE_CHARS and (place := old.find(new[:_PROBE_CHARS])) >= 0:
        return place
    if len(old) >= _PROBE_CHARS and (place := new.find(old[:_PROBE_CHARS])) >= 0:
        return -place
    # Too short a start to search for: the windows begin alike or nothing can be said.
    return 0 if common_prefix(old, new) == min(len(old), len(new), _PROBE_CHARS) else None


def mine(table: pa.Table, config: MineConfig) -> pa.Table:
    """Samples of whole sessions: request rows (`schema.REQUEST`) in, `schema.SAMPLE` rows out.

    The table must hold every request of the sessions in it; their order does not matter. Rows of
    `speculative` and `warmup` requests are left out of the timeline.
    """
    timeline = table.filter(
        pc.is_in(table["kind"], pa.array([schema.Kind.AUTOMATIC.value, schema.Kind.MANUAL.value]))
    ).sort_by(
        [("session", "ascending"), ("user", "ascending"), ("ts_ms", "ascending"), ("request_id", "ascending")]
    )
    columns = {name: timeline[name].to_pylist() for name in timeline.column_names}
    commits: list[Outcome | None] = [None] * timeline.num_rows
    for _, group in groupby(
        range(timeline.num_rows), key=lambda i: (columns["session"][i], columns["user"][i])
    ):
        for outcome in mine_session(_snapshots(columns, group), config.idle_s):
            commits[outcome.row] = outcome
    outcomes = [outcome for outcome in commits if outcome is not None]
    assert len(outcomes) == timeline.num_rows
    kept = ("request_id", "user", "session", "file", "language", "ts_ms", "prefix", "suffix", "proposal")
    return pa.table(
        {"sample_id": timeline["request_id"]}
        | {name: timeline[name] for name in kept}
        | {
            "commit": [outcome.commit for outcome in outcomes],
            "end_reason": [outcome.end_reason.value for outcome in outcomes],
            "end_ts_ms": [outcome.end_ts_ms for outcome in outcomes],
            "snapshots": [outcome.snapshots for outcome in outcomes],
            "drop": [_drop(outcome) for outcome in outcomes],
        },
        schema=schema.SAMPLE,
    )


def _snapshots(columns: dict[str, list[Any]], rows: Iterable[int]) -> Iterator[Snapshot]:
    for i in rows:
        prefix, suffix = columns["prefix"][i], columns["suffix"][i]
        whole = columns["prefix_complete"][i] and columns["suffix_complete"][i]
        yield Snapshot(i, columns["ts_ms"][i], columns["file"][i], prefix + suffix, len(prefix), whole)


def _drop(outcome: Outcome) -> str | None:
    """A gap that nothing was logged after says nothing, not even that silence was right."""
    unseen = outcome.snapshots == 0 and outcome.end_reason in (EndReason.SESSION_END, EndReason.IDLE)
    return Drop.UNOBSERVED.value if unseen else None
