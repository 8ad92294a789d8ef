"""The likeliest edits between two texts that differ in several places: a minimal-cost alignment.

A plain minimal difference takes every letter that two texts happen to share for unchanged text, and
shreds a typed word. Here the cost is that of a person's work: opening a place costs, every character
typed or removed costs, a long removal is one selection and costs little more, and a place where the
cursor was known to be is cheaper (affine gap costs: Gotoh 1982, with two extra states).

Long shared runs are found first (unique seeds, heaviest increasing chain), so only the stretches
between them are aligned in full: rows x columns cells of numpy. Not covered: moved text, which is a
removal and an insertion here.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echo_ray.text import common_prefix, common_suffix

MAX_CELLS = 1_500_000
"""Largest stretch that is aligned (characters of the old text x characters of the new)."""

_OPEN = 1.5  # a new place; the costs were chosen on recorded traces, on a plateau around these values
_OPEN_DENSE = 6.0  # the same where every key is logged: then two places at once are rare
_KEY = 1.0  # a character typed or removed
_SELECT = 2.0  # from here on the removal is a selection ...
_SELECTED = 0.05  # ... and a character of it costs this
_KNOWN = 1.0  # saved where a place begins at the old cursor or ends at the new one
_SEED_CHARS = 16
_MARGIN_CHARS = 6  # of a shared run, given back at each end: its last characters may be coincidence
_FAR = 1e9


class Hunk(NamedTuple):
    """`old[start:stop]` became `new[new_start:new_stop]`."""

    start: int
    stop: int
    new_start: int
    new_stop: int


def hunks(old: str, new: str, old_cursor: int, new_cursor: int, dense: bool = False) -> list[Hunk] | None:
    """The places that changed, in text order; None when the texts are too large and too different.

    The cursors are offsets into `old` and `new`, outside of them when they are elsewhere. `dense`: nothing
    is missing between the two texts, so that one replacement is likelier than several edits.
    """
    opening = _OPEN_DENSE if dense else _OPEN
    found: list[Hunk] = []
    row = column = 0
    for start, new_start, size in (*_shared_runs(old, new), (len(old), len(new), 0)):
        margin = min(_MARGIN_CHARS, size // 3)
        stop, new_stop = start + margin, new_start + margin
        part = _align(old[row:stop], new[column:new_stop], old_cursor - row, new_cursor - column, opening)
        if part is None:
            return None
        found += [Hunk(a + row, b + row, c + column, d + column) for a, b, c, d in part]
        row, column = start + size - margin, new_start + size - margin
    return found


def _shared_runs(old: str, new: str) -> list[tuple[int, int, int]]:
    """(place in old, place in new, length) of runs that both texts share, increasing in both."""
    places: dict[str, int] = {}
    for place in range(len(old) - _SEED_CHARS + 1):
        seed = old[place : place + _SEED_CHARS]
        places[seed] = -1 if seed in places else place
    runs: list[tuple[int, int, int]] = []
    column = 0
    while places and column <= len(new) - _SEED_CHARS:
        place = places.get(new[column : column + _SEED_CHARS], -1)
        if place < 0:
            column += 1
            continue
        before = common_suffix(old[:place], new[:column])
        after = common_prefix(old[place:], new[column:])
        runs.append((place - before, column - before, before + after))
        column += after
    return _heaviest_chain(sorted(runs))


def _heaviest_chain(runs: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    weights: list[int] = []
    links: list[int] = []
    for index, (place, column, size) in enumerate(runs):
        weight, link = size, -1
        for other in range(index):
            a, b, length = runs[other]
            if a + length <= place and b + length <= column and weights[other] + size > weight:
                weight, link = weights[other] + size, other
        weights.append(weight)
        links.append(link)
    chain: list[tuple[int, int, int]] = []
    index = max(range(len(runs)), key=weights.__getitem__, default=-1)
    while index >= 0:
        chain.append(runs[index])
        index = links[index]
    return chain[::-1]


def _align(old: str, new: str, old_cursor: int, new_cursor: int, opening: float) -> list[Hunk] | None:
    """Hunks of two short texts by dynamic programming, a row of `numpy` cells per old character."""
    rows, columns = len(old), len(new)
    if old == new:
        return []
    if not rows or not columns:
        return [Hunk(0, rows, 0, columns)]
    if (rows + 1) * (columns + 1) > MAX_CELLS:
        return None
    letters = np.frombuffer(new.encode("utf-32-le", "surrogatepass"), np.uint32)
    keys = np.arange(columns + 1) * _KEY
    closing = np.zeros(columns + 1)  # what ending a place at this column saves
    if 0 <= new_cursor <= columns:
        closing[new_cursor] = _KNOWN
    # kept: the last characters are shared; open: inside a place; selected: inside a long removal of it.
    kept, opened, selected = np.full((3, rows + 1, columns + 1), _FAR)
    kept[0, 0] = 0.0
    for row in range(rows + 1):
        if row:
            before = np.minimum(kept[row - 1], opened[row - 1] - closing)
            kept[row, 1:] = np.where(letters == ord(old[row - 1]), before[:-1], _FAR)
        entry = kept[row] + _entry_cost(row, old_cursor, opening)
        if row:
            selected[row] = np.minimum(selected[row - 1], opened[row - 1] + _SELECT) + _SELECTED
            entry = np.minimum(np.minimum(entry, opened[row - 1] + _KEY), selected[row])
        opened[row] = np.minimum.accumulate(entry - keys) + keys
    return _trace(kept, opened, selected, closing, old_cursor, opening)


def _entry_cost(row: int, old_cursor: int, opening: float) -> float:
    return opening - (_KNOWN if row == old_cursor else 0.0)


def _trace(
    kept: NDArray[np.float64],
    opened: NDArray[np.float64],
    selected: NDArray[np.float64],
    closing: NDArray[np.float64],
    old_cursor: int,
    opening: float,
) -> list[Hunk]:
    row, column = kept.shape[0] - 1, kept.shape[1] - 1
    near = 1e-6
    found: list[Hunk] = []
    inside = bool(opened[row, column] - closing[column] < kept[row, column])
    stop, new_stop = row, column
    while row or column or inside:
        if not inside:
            row, column = row - 1, column - 1
            if opened[row, column] - closing[column] < kept[row, column] - near:
                inside, stop, new_stop = True, row, column
            continue
        cost = opened[row, column] + near
        if kept[row, column] + _entry_cost(row, old_cursor, opening) <= cost:
            # Where both cursors are known a place costs less than nothing, even one where nothing changed.
            if row < stop or column < new_stop:
                found.append(Hunk(row, stop, column, new_stop))
            inside = False
        elif row and opened[row - 1, column] + _KEY <= cost:
            row -= 1
        elif row and selected[row, column] <= cost:
            while opened[row - 1, column] + _SELECT + _SELECTED > selected[row, column] + near:
                row -= 1
            row -= 1
        else:
            column -= 1
    return found[::-1]
