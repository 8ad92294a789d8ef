"""The random numbers of one developer, keyed by what they decide (section 5, common random numbers).

A draw is a pure function of (seed, user, purpose, keys): a work item, an offset in the intent, an
occurrence. Twins of one user under two arms therefore see the same number for the same decision and stay
aligned after their documents diverged. Nothing here keeps state but a cache of hashes.

Text keys are hashed once (BLAKE2b); numbers are then mixed in with SplitMix64 (Steele, Lea, Flood 2014),
ten times as fast as hashing every draw anew.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TypeVar

from echo_ray import rng

T = TypeVar("T")

_INVERSE_NORMAL = NormalDist().inv_cdf
_TINY = 2.0**-54  # the inverse normal needs a number above 0
_SCALE = 2.0**-53
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


class Draws:
    """All draws of `user` under `seed`."""

    def __init__(self, seed: int, user: str) -> None:
        self.seed = seed
        self.user = user
        self._roots: dict[tuple[str, str], int] = {}

    def unit(self, purpose: str, item: str = "", at: int = 0, occurrence: int = 0) -> float:
        """Uniform number in [0, 1) for the `occurrence`-th such decision at offset `at` of `item`."""
        root = self._roots.get((purpose, item))
        if root is None:
            root = self._roots[purpose, item] = rng.digest(self.seed, self.user, purpose, item)
        bits = (root + _GOLDEN * (1 + at + (occurrence << 32))) & _MASK
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & _MASK
        return ((bits ^ bits >> 31) >> 11) * _SCALE

    def normal(self, purpose: str, item: str = "", at: int = 0, occurrence: int = 0) -> float:
        """Standard normal number."""
        return _INVERSE_NORMAL(self.unit(purpose, item, at, occurrence) + _TINY)

    def lognormal(
        self, median: float, log_sd: float, purpose: str, item: str = "", at: int = 0, occurrence: int = 0
    ) -> float:
        """Lognormal number with this median (in its own unit) and standard deviation of the logarithm."""
        return median * math.exp(log_sd * self.normal(purpose, item, at, occurrence))

    def forget(self) -> None:
        """Empty the cache of hashes; call it between work items. No draw changes."""
        self._roots.clear()


def weighted(draw: float, choices: Sequence[tuple[T, float]]) -> T:
    """The one of the weighted `choices`, at least one, that `draw` in [0, 1) falls on."""
    left = draw * sum(weight for _, weight in choices)
    for value, weight in choices:
        if left < weight:
            return value
        left -= weight
    return choices[-1][0]
