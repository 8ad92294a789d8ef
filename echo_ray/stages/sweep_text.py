"""The text of gaps for `sweep`: edits replayed in runs of keys, each commit cut out where its gap closes.

Provenance is that of `gaps.who_wrote`.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from echo_ray.stages.gaps import LOOK_BACK, Gap, who_wrote

Ints: TypeAlias = npt.NDArray[np.int64]
_NEAR = 64
"""Requests looked back on at first for the gaps that an insertion stands in."""


class Flat(NamedTuple):
    """Edits of all files, file by file. Whatever ends all gaps of a file is an edit that nothing contains."""

    to: Ints
    """Place of the request that the edit led to; one after the last request where the file ends."""
    start: Ints
    right: Ints
    """Characters from where the edit stops to the virtual end of the file."""
    end: Ints
    """Virtual end of the file before the edit."""
    removed: Ints
    typed: list[str]
    size: Ints


@dataclass(slots=True)
class Replay:
    """Writes the text of gaps again, edit by edit, and cuts out each commit at the edit where it closes."""

    table: pa.Table
    rows: Ints
    ts_ms: Ints
    flat: Flat
    first: Ints
    close: Ints
    left: Ints
    right: Ints
    commits: npt.NDArray[np.object_] = field(init=False)
    model: Ints = field(init=False)
    pasted: Ints = field(init=False)
    accepted: Ints = field(init=False)

    def run(self) -> None:
        """Fill the fields that are results."""
        flat, close, count, total = self.flat, self.close, len(self.rows), len(self.flat.start)
        self.commits = np.full(count, "", object)
        self.model, self.pasted, self.accepted = (np.zeros(count, np.int64) for _ in range(3))
        closed = np.bincount(close, minlength=total)
        live = np.searchsorted(self.first, np.arange(total), side="right") - np.cumsum(closed)
        opened = np.bincount(self.first[close > self.first], minlength=total)
        anew = live == opened  # no gap that saw an edit before is left
        key = (flat.size == 1) & (flat.removed == 0)
        on = np.zeros(total, np.bool_)
        on[1:] = key[1:] & (flat.removed[:-1] == 0) & (flat.start[1:] == flat.start[:-1] + flat.size[:-1])
        on[1:] &= (closed[1:] == 0) & (live[:-1] > 0)
        steps = np.flatnonzero(~on)
        stops = np.append(steps, total)[1:]
        # Empty gaps need no text.
        shown = np.flatnonzero(flat.end[close] - self.right > self.left)
        shown = shown[np.argsort(close[shown], kind="stable")]
        firsts, lasts = self.left[shown].tolist(), (flat.end[close] - self.right)[shown].tolist()
        due = np.searchsorted(close[shown], np.append(steps, total)).tolist()
        written: list[str] = []
        marked = bool((flat.size > 1).any())
        start, text, origin = 0, "", ""
        model, pasted = [0] * len(shown), [0] * len(shown)
        columns = (values[steps].tolist() for values in (flat.start, flat.removed, flat.size, live, anew))
        typed_by_edit = flat.typed
        for index, (step, stop, at, removed, size, alive, fresh) in enumerate(
            zip(steps.tolist(), stops.tolist(), *columns, strict=True)
        ):
            a, b = due[index], due[index + 1]
            if a < b:
                written += [text[i - start : j - start] for i, j in zip(firsts[a:b], lasts[a:b], strict=True)]
                if marked and ("m" in origin or "p" in origin):
                    for gap in range(a, b):
                        wrote = origin[firsts[gap] - start : lasts[gap] - start]
                        model[gap], pasted[gap] = wrote.count("m"), wrote.count("p")
            if not alive:
                continue
            if fresh:
                start, text, origin = at, "", ""
            typed = typed_by_edit[step] if stop == step + 1 else "".join(typed_by_edit[step:stop])
            place = at - start
            if marked:
                wrote = "h" * size if size < 2 else self._origin(step, at, start, text)
                origin = origin[:place] + wrote + "h" * (stop - step - 1) + origin[place + removed :]
            text = text[:place] + typed + text[place + removed :]
        self.commits[shown] = written
        self.model[shown], self.pasted[shown] = model, pasted

    def _origin(self, step: int, at: int, start: int, text: str) -> str:
        """Who wrote each character of an insertion of several, as `gaps` says."""
        request = int(self.flat.to[step])
        gaps = [
            Gap(gap, int(self.left[gap]), 0, 0, 0, self._proposal(gap)) for gap in self._live(step, request)
        ]
        pause_ms = int(self.ts_ms[request] - self.ts_ms[request - 1])
        origin, accepted = who_wrote(self.flat.typed[step], at, text, start, gaps, pause_ms)
        for gap, taken in accepted.items():
            self.accepted[gap] += taken
        return origin

    def _live(self, step: int, request: int) -> list[int]:
        """The innermost gaps that contain the edit `step`, which led to `request`, outermost first."""
        near = max(0, request - _NEAR)
        live = near + np.flatnonzero(self.close[near:request] > step)
        if len(live) < LOOK_BACK:
            live = np.flatnonzero(self.close[:request] > step)
        found: list[int] = live[-LOOK_BACK:].tolist()
        return found

    def _proposal(self, gap: int) -> str | None:
        row = int(self.rows[gap])
        return (self.table["proposal"][row].as_py() or None) if self.table["delivered"][row].as_py() else None
