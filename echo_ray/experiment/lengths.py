"""Bins of proposal length, the same wherever proposals are counted. Pure, and light for the simulator."""

from bisect import bisect_right

EDGES = (1.0, 6.0, 11.0, 21.0, 41.0, 81.0, 161.0)
"""Lower edges of the length bins (characters); the last is open, shorter proposals are in none."""
LENGTHS = tuple(f"{int(edge)}" for edge in EDGES)
"""Names of the bins in counts: `shown_from_21`, `accepted_from_21`."""


def length_of(chars: int) -> str | None:
    """Name of the bin of a proposal of `chars` characters; None below the first edge."""
    place = bisect_right(EDGES, chars) - 1
    return LENGTHS[place] if place >= 0 else None
