"""Which samples share a forward pass: pure, deterministic by record id, no padding (paper 4.6: packing).

A step's samples are drawn by keyed shuffle. They are dealt to the workers longest first, each to the worker
with the fewest tokens (Graham's LPT: the heaviest worker exceeds the lightest by one sample at most). A
worker packs its share into bins of at most `bin_tokens` tokens: best-fit decreasing finds how many are
needed, and the samples are then spread evenly over that many. A half-full bin costs no padding here (samples
lie one behind another, attention ends at their borders), and even bins need less memory and keep workers in
step. Every worker computes the same plan from the same table, so nothing is communicated.

Invariants: every row once per epoch; no bin above `bin_tokens` unless it is one longer row, never cut; the
order of the rows given does not matter. Not covered: attention's cost, which grows faster than a length.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

from echo_ray.rng import unit

Bin = tuple[int, ...]
"""Indices of the rows of one forward pass."""


@dataclass(frozen=True, slots=True)
class Row:
    """What packing needs to know of a sample: `length` tokens, of which `targets` carry loss."""

    key: str
    length: int
    targets: int


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step: each worker's bins, equally many (some may be empty), and their target tokens."""

    workers: tuple[tuple[Bin, ...], ...]
    targets: int


def plan(rows: Sequence[Row], batch: int, bin_tokens: int, workers: int, seed: int, epoch: int) -> list[Step]:
    """Steps of one epoch, `batch` rows each (the last may have fewer). Needs distinct keys."""
    order = sorted(range(len(rows)), key=lambda i: unit(seed, "order", epoch, rows[i].key))
    steps = []
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        shares = [bins(rows, share, bin_tokens) for share in _deal(rows, chosen, workers)]
        most = max(len(share) for share in shares)
        even = tuple(tuple(_split(rows, share, most)) for share in shares)
        steps.append(Step(even, sum(rows[i].targets for i in chosen)))
    return steps


def bins(rows: Sequence[Row], chosen: Sequence[int], bin_tokens: int) -> list[Bin]:
    """`chosen` in as few bins as best-fit decreasing needs, evenly filled if they can be; heaviest first."""
    tight = _best_fit(rows, chosen, bin_tokens)
    even = _deal(rows, chosen, len(tight))
    fits = all(len(share) == 1 or _tokens(rows, share) <= bin_tokens for share in even)
    return _sorted(rows, even if fits else tight)


def padding_share(rows: Sequence[Row], steps: Sequence[Step], multiple: int = 1) -> float:
    """Share of the tokens in all forward passes that is padding, bins rounded up to `multiple` tokens.

    An empty bin costs its worker a pass over `multiple` tokens of padding, for the sake of the others.
    """
    real = padded = 0
    for step in steps:
        for tokens in (_tokens(rows, one) for share in step.workers for one in share):
            real += tokens
            padded += max(1, -(-tokens // multiple)) * multiple
    return 1.0 - real / padded if padded else 0.0


def imbalance_share(rows: Sequence[Row], steps: Sequence[Step]) -> float:
    """Share of the workers' time, counted in tokens, that they wait for the heaviest among them."""
    busy = held = 0
    for step in steps:
        loads = [sum(_tokens(rows, one) for one in share) for share in step.workers]
        busy += sum(loads)
        held += len(loads) * max(loads)
    return 1.0 - busy / held if held else 0.0


def _tokens(rows: Sequence[Row], chosen: Sequence[int]) -> int:
    return sum(rows[i].length for i in chosen)


def _longest_first(rows: Sequence[Row], chosen: Sequence[int]) -> list[int]:
    return sorted(chosen, key=lambda i: (-rows[i].length, rows[i].key))


def _deal(rows: Sequence[Row], chosen: Sequence[int], shares: int) -> list[Bin]:
    """`chosen`, longest first, each to the share with the fewest tokens."""
    dealt: list[list[int]] = [[] for _ in range(shares)]
    loads = [(0, number) for number in range(shares)]
    for i in _longest_first(rows, chosen):
        load, number = loads[0]
        dealt[number].append(i)
        heapq.heapreplace(loads, (load + rows[i].length, number))
    return [tuple(share) for share in dealt]


def _best_fit(rows: Sequence[Row], chosen: Sequence[int], bin_tokens: int) -> list[Bin]:
    """`chosen`, longest first, each to the bin that it fills best; a new one where it fits none."""
    found: list[list[int]] = []
    by_room: dict[int, list[int]] = {}
    rooms: list[int] = []  # sorted keys of by_room: at most bin_tokens of them, however many bins there are
    for i in _longest_first(rows, chosen):
        length = rows[i].length
        place = bisect_left(rooms, length)
        if place == len(rooms):
            number, room = len(found), bin_tokens
            found.append([])
        else:
            room = rooms[place]
            number = by_room[room].pop()
            if not by_room[room]:
                del by_room[room], rooms[place]
        found[number].append(i)
        left = room - length
        if left > 0:
            if left not in by_room:
                insort(rooms, left)
            by_room.setdefault(left, []).append(number)
    return [tuple(one) for one in found]


def _split(rows: Sequence[Row], packed: Sequence[Bin], wanted: int) -> list[Bin]:
    """`packed` in `wanted` bins, heaviest first: the largest are halved; empty ones when no row is left."""
    single = [one for one in packed if len(one) < 2]
    # The second number only breaks ties: two bins are never compared.
    several = [(-_tokens(rows, one), number, one) for number, one in enumerate(packed) if len(one) > 1]
    heapq.heapify(several)
    made = len(packed)
    while several and len(single) + len(several) < wanted:
        _, _, heaviest = heapq.heappop(several)
        for half in _deal(rows, heaviest, 2):
            if len(half) > 1:
                heapq.heappush(several, (-_tokens(rows, half), made, half))
            else:
                single.append(half)
            made += 1
    found = single + [one for _, _, one in several]
    return _sorted(rows, found) + [()] * (wanted - len(found))


def _sorted(rows: Sequence[Row], packed: Sequence[Bin]) -> list[Bin]:
    return sorted(packed, key=lambda one: (-_tokens(rows, one), [rows[i].key for i in one]))
