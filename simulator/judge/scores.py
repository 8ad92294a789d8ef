"""Scores of a miner against what really happened: exact match, character overlap, yield, delay, agreement.

Plain values in, plain figures out; every share is None when nothing stands below its line.
"""

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from echo_ray.text import common_prefix, common_suffix

Figures = dict[str, float | int | None]


class Mined(NamedTuple):
    """What one policy says about one request."""

    commit: str
    dropped: bool
    """The miner says that the request proves nothing."""
    last_look_s: float
    """Seconds from the request to the last look at which both anchors stood."""
    known_s: float
    """Seconds from the request until the commit is final, the policy's own waiting included."""


def overlap(mined: str, true: str) -> float:
    """F1 of the characters that two texts share in order: 1 exactly for equal texts, 0 for disjoint ones.

    Counted are the common start and end, or all of the shorter text when the longer one contains it.
    That is never more than the longest common subsequence and takes linear time; a commit that is wrong
    is nearly always cut short, too long, or different in one place, where the two agree. A bag of
    characters would call two unrelated lines of code half equal.
    """
    if mined == true:
        return 1.0
    short, long = sorted((mined, true), key=len)
    shared = len(short)
    if short not in long:
        head = common_prefix(short, long)
        shared = head + common_suffix(short[head:], long[head:])
    return 2 * shared / (len(short) + len(long))


@dataclass(slots=True)
class Score:
    """Sums over the requests of one policy at one density."""

    requests: int = 0
    yielded: int = 0
    """Commits with text that no drop takes away: what could be trained on."""
    known: int = 0
    """Requests of which the truth is known."""
    exact: int = 0
    full: int = 0
    """Requests whose true gap has text."""
    full_exact: int = 0
    full_short: int = 0
    """The commit is a beginning of the true text, or nothing at all."""
    full_overlap: float = 0.0
    yielded_known: int = 0
    yielded_exact: int = 0
    intents: int = 0
    """Requests of which the intent is known and not empty."""
    intent_equal: int = 0
    intent_reached: int = 0
    """The commit begins with the whole intent."""
    intent_part: int = 0
    """The commit has text and the intent begins with it."""
    last_look_s: "array[float]" = field(default_factory=lambda: array("d"))
    known_s: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, mined: Mined, true: str | None, intent: str | None = None) -> None:
        """Count one request; `true` is None when nobody knows what was left there."""
        yielded = bool(mined.commit) and not mined.dropped
        self.requests += 1
        self.yielded += yielded
        self.last_look_s.append(mined.last_look_s)
        self.known_s.append(mined.known_s)
        if true is not None:
            exact = mined.commit == true
            self.known += 1
            self.exact += exact
            self.yielded_known += yielded
            self.yielded_exact += yielded and exact
            if true:
                self.full += 1
                self.full_exact += exact
                self.full_short += not exact and true.startswith(mined.commit)
                self.full_overlap += overlap(mined.commit, true)
        if intent:
            self.intents += 1
            self.intent_equal += mined.commit == intent
            self.intent_reached += mined.commit.startswith(intent)
            self.intent_part += bool(mined.commit) and intent.startswith(mined.commit)

    def merge(self, other: "Score") -> None:
        """Add the sums of `other`."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def figures(self) -> Figures:
        """Counts and shares (0 to 1), delays in seconds.

        `precision` is `exact_of_yield`: of the commits that could be trained on, how many are exact; `recall`
        is `exact_with_text`: of the gaps in which text was left, how many have it exactly.
        """
        figures: Figures = {
            "requests": self.requests,
            "truth_known": self.known,
            "truth_with_text": self.full,
            "yielded": self.yielded,
            "yield": share(self.yielded, self.requests),
            "exact": share(self.exact, self.known),
            "exact_with_text": share(self.full_exact, self.full),
            "cut_short": share(self.full_short, self.full),
            "exact_of_yield": share(self.yielded_exact, self.yielded_known),
            "precision": share(self.yielded_exact, self.yielded_known),
            "recall": share(self.full_exact, self.full),
            "character_f1": share(self.full_overlap, self.full),
            "last_look_p50_s": quantile(self.last_look_s, 0.5),
            "last_look_p90_s": quantile(self.last_look_s, 0.9),
            "known_p50_s": quantile(self.known_s, 0.5),
            "known_p90_s": quantile(self.known_s, 0.9),
        }
        if self.intents:
            figures |= {
                "intents": self.intents,
                "intent_equal": share(self.intent_equal, self.intents),
                "intent_reached": share(self.intent_reached, self.intents),
                "intent_part": share(self.intent_part, self.intents),
            }
        return figures


@dataclass(slots=True)
class Agreement:
    """Acceptances inferred from the requests alone against those that somebody reported (counts)."""

    both: int = 0
    """True positives."""
    only_inferred: int = 0
    """False positives."""
    only_reported: int = 0
    """False negatives."""
    neither: int = 0
    """True negatives."""

    def add(self, inferred: bool, reported: bool) -> None:
        """Count one delivered proposal."""
        self.both += inferred and reported
        self.only_inferred += inferred and not reported
        self.only_reported += reported and not inferred
        self.neither += not inferred and not reported

    def merge(self, other: "Agreement") -> None:
        """Add the counts of `other`."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def total(self) -> int:
        """Proposals counted."""
        return self.both + self.only_inferred + self.only_reported + self.neither

    def figures(self) -> Figures:
        """The four counts, precision, recall and Cohen's kappa (agreement beyond chance)."""
        inferred, reported = self.both + self.only_inferred, self.both + self.only_reported
        total = self.total
        kappa = None
        if total:
            seen = (self.both + self.neither) / total
            chance = (inferred * reported + (total - inferred) * (total - reported)) / total**2
            kappa = None if chance == 1 else (seen - chance) / (1 - chance)
        return {
            "proposals": total,
            "true_positives": self.both,
            "false_positives": self.only_inferred,
            "false_negatives": self.only_reported,
            "true_negatives": self.neither,
            "precision": share(self.both, inferred),
            "recall": share(self.both, reported),
            "kappa": kappa,
        }


def share(part: float, whole: int) -> float | None:
    """`part / whole`, None of nothing."""
    return part / whole if whole else None


def quantile(values: Iterable[float], level: float) -> float | None:
    """The smallest value that at least the share `level` of `values` do not exceed; None of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(level * len(ordered)) - 1)] if ordered else None
