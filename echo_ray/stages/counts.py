"""What `balance` counts: rows by group, with a histogram of their perplexity that adds up over shards."""

import functools
from collections import Counter
from collections.abc import Iterable, Mapping

from pydantic import Field

from echo_ray.config import Config

GROUPS = ("void", "short", "medium", "long")
"""What a row that is still in can be, by the length of its target."""
LENGTHS = GROUPS[1:]


class Group(Config):
    """Rows of one group, and the perplexity of those that have one."""

    rows: int = 0
    """All rows of the group."""
    bins: dict[int, int] = Field(default_factory=dict)
    """Rows by bin of perplexity (`surprisal.bin_of`)."""

    def __add__(self, other: "Group") -> "Group":
        bins = Counter(self.bins)
        bins.update(other.bins)
        return Group(rows=self.rows + other.rows, bins=dict(sorted(bins.items())))

    @property
    def scored(self) -> int:
        """Rows with a perplexity."""
        return sum(self.bins.values())

    def above(self, first: int | None) -> int:
        """Rows in the bins from `first` on."""
        return 0 if first is None else sum(n for number, n in self.bins.items() if number >= first)


class Counts(Config):
    """Rows that are still in, by group. Counts of shards add up."""

    void: Group = Group()
    """Empty targets."""
    short: Group = Group()
    """Targets below `short_tokens`, and closing brackets."""
    medium: Group = Group()
    """Targets between the two limits, both included."""
    long: Group = Group()
    """Targets above `long_tokens`."""

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{group: getattr(self, group) + getattr(other, group) for group in GROUPS})

    @classmethod
    def total(cls, shards: Iterable["Counts"]) -> "Counts":
        """Sum over shards; no shards give zero counts."""
        return functools.reduce(cls.__add__, shards, cls())

    @property
    def non_void(self) -> int:
        """Rows with a target."""
        return self.short.rows + self.medium.rows + self.long.rows


def tail(bins: Mapping[int, int], quantile: float) -> int | None:
    """First bin of the tail: as many of the highest bins as hold no more than 1 - `quantile` of the rows."""
    most = (1 - quantile) * sum(bins.values()) + 1e-9
    above, first = 0, None
    for number in sorted(bins, reverse=True):
        above += bins[number]
        if above > most:
            break
        first = number
    return first
