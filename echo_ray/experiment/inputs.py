"""What an analysis is made from: an arm's counts per user, and metrics as ratios of named counts. Pure.

Names of counts are those of the report's tallies (`shown`, `accepted`, `accepted_chars`, `typed_chars`,
`retained_chars`, `shown_chars`, `requests`, `active_s`, ...), so anybody who counts can be analysed. A
metric whose counts an arm lacks is left out and named, never guessed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from echo_ray.errors import SchemaError
from echo_ray.experiment.estimates import Array


@dataclass(frozen=True, slots=True)
class Metric:
    """A ratio of sums over users."""

    name: str
    above: tuple[str, ...]
    """Counts that add up to the numerator."""
    below: tuple[str, ...]
    """Counts that add up to the denominator."""
    better: int = 0
    """1: more is better, -1: less is better, 0: neither."""
    share: bool = False
    """The numerator is a part of the denominator, so that a two-proportion test can be made of it."""
    signed: bool = False
    """The numerator may be negative."""
    expected: float | None = None
    """Size of difference worth finding, fixed beforehand: scale of the sequential test. None: no test."""
    unit: float = 1.0
    """The denominator is divided by this (60: minutes from seconds)."""


METRICS = (
    Metric("acceptance_rate", ("accepted",), ("shown",), 1, share=True, expected=0.02),
    Metric(
        "generation_rate",
        ("accepted_chars",),
        ("accepted_chars", "typed_chars"),
        1,
        share=True,
        expected=0.02,
    ),
    Metric("retained_chars_per_minute", ("retained_chars",), ("active_s",), 1, unit=60.0),
    Metric("time_saved", ("saved_s",), ("reference_s",), 1, signed=True, expected=0.02),
    Metric("shown_rate", ("shown",), ("requests",), expected=0.02),
    Metric("exposures_per_typed_char", ("shown",), ("typed_chars",)),
    Metric("mean_shown_chars", ("shown_chars",), ("shown",)),
)
"""The first four in the order in which they are claimed. `saved_s` of `reference_s`: seconds saved of those
that the same work takes with control (`twins`), or without suggestions. The last three tell better text from
rarer and from shorter text."""
ORDER = ("acceptance_rate", "generation_rate", "retained_chars_per_minute", "time_saved")
"""Fixed sequence of claims."""

_MOST = 2.0**53  # larger floats are no exact counts any more


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm: position i of every column is user i."""

    name: str
    users: tuple[str, ...]
    """Pseudonyms, each once, those without exposures included: leaving them out hides a lost assignment."""
    counts: Mapping[str, Array]
    """Name of a count to its values, (users,)."""
    before: Mapping[str, Array] | None = None
    """The same counts in the pre-period, when nobody had the treatment; 0 for who was not there."""
    strata: tuple[str, ...] | None = None
    """A property of the user that was known before assignment."""
    sessions: Array | None = field(default=None)
    """Sessions of every user, for the SRM check."""

    def __post_init__(self) -> None:
        size = len(self.users)
        if len(set(self.users)) != size:
            twice = next(u for place, u in enumerate(self.users) if u in self.users[:place])
            raise SchemaError(f"arm {self.name}: user {twice!r} is there twice; give one row per user")
        columns = {**self.counts, **{f"before.{k}": v for k, v in (self.before or {}).items()}}
        if self.sessions is not None:
            columns["sessions"] = self.sessions
        for name, values in columns.items():
            if not isinstance(values, np.ndarray) or values.shape != (size,):
                shape = getattr(values, "shape", None)
                raise SchemaError(f"arm {self.name}: {name} has shape {shape}, wanted is ({size},)")
            wrong = np.flatnonzero(~(np.abs(values) <= _MOST))
            if wrong.size:
                raise SchemaError(
                    f"arm {self.name}: {name} of user {self.users[int(wrong[0])]!r} is {values[wrong[0]]}, "
                    f"wanted is a finite number up to 2^53"
                )
        if self.strata is not None and len(self.strata) != size:
            raise SchemaError(f"arm {self.name}: {len(self.strata)} strata for {size} users")

    @classmethod
    def of(
        cls,
        name: str,
        rows: Iterable[Mapping[str, Any]],
        *,
        before: Iterable[Mapping[str, Any]] | None = None,
        strata: Mapping[str, str] | None = None,
    ) -> "Arm":
        """Arm from rows with `user` and counts; rows of one user are added up, users sorted.

        `before`: such rows of the pre-period; users who are not in `rows` are left out. `strata` by user.
        A count is any number; every row must have the same ones. `sessions` among them is for the SRM check.
        """
        tallies = _sums(name, rows)
        users = tuple(sorted(tallies))
        counts = _columns(users, tallies)
        earlier = None if before is None else _columns(users, _sums(name, before))
        if strata is not None and not set(users) <= strata.keys():
            lost = sorted(set(users) - strata.keys())[0]
            raise SchemaError(f"arm {name}: user {lost!r} has no stratum")
        return cls(
            name,
            users,
            counts,
            earlier,
            None if strata is None else tuple(str(strata[user]) for user in users),
            counts.get("sessions"),
        )

    def ratio(self, metric: Metric, *, before: bool = False) -> Array | None:
        """(2, users) numerators and denominators of `metric`; None when a count is not there.

        Raises SchemaError for a negative denominator, or numerator where the metric is not signed.
        """
        counts = (self.before or {}) if before else self.counts
        wanted = (*metric.above, *metric.below)
        if any(name not in counts for name in wanted):
            return None
        for name in metric.below if metric.signed else wanted:
            if np.any(counts[name] < 0):
                who = self.users[int(np.flatnonzero(counts[name] < 0)[0])]
                raise SchemaError(f"arm {self.name}: {name} of user {who!r} is negative")
        above = np.sum([counts[name] for name in metric.above], axis=0, dtype=np.float64)
        below = np.sum([counts[name] for name in metric.below], axis=0, dtype=np.float64)
        return np.vstack([above, below / metric.unit])

    def only(self, keep: Sequence[bool] | np.ndarray) -> "Arm":
        """The arm with the users where `keep` is true."""
        mask = np.asarray(keep, dtype=bool)
        return Arm(
            self.name,
            tuple(user for user, kept in zip(self.users, mask, strict=True) if kept),
            {name: values[mask] for name, values in self.counts.items()},
            None if self.before is None else {name: values[mask] for name, values in self.before.items()},
            None if self.strata is None else tuple(s for s, k in zip(self.strata, mask, strict=True) if k),
            None if self.sessions is None else self.sessions[mask],
        )


def aligned(control: Arm, treatment: Arm) -> Arm:
    """`treatment` with its users in the order of `control`. Raises SchemaError unless they are the same."""
    odd = sorted(set(control.users) ^ set(treatment.users))
    if odd:
        raise SchemaError(f"twins need the same users in both arms, but {odd[0]!r} is in one only")
    place = {user: number for number, user in enumerate(treatment.users)}
    order = np.array([place[user] for user in control.users], dtype=np.int64)
    return Arm(
        treatment.name,
        control.users,
        {name: values[order] for name, values in treatment.counts.items()},
        None if treatment.before is None else {k: values[order] for k, values in treatment.before.items()},
        None if treatment.strata is None else tuple(treatment.strata[i] for i in order),
        None if treatment.sessions is None else treatment.sessions[order],
    )


def filled(arm: Arm, users: Sequence[str]) -> Arm:
    """Counts of `arm` for exactly `users`, in their order; 0 for who is not in it. Nothing else is kept."""
    place = {user: number for number, user in enumerate(users)}
    rows = np.array([place[user] for user in arm.users], dtype=np.int64)
    counts = {}
    for name, values in arm.counts.items():
        counts[name] = np.zeros(len(users))
        counts[name][rows] = values
    return Arm(arm.name, tuple(users), counts)


def _sums(arm: str, rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Counts by user, summed over rows. A count that only some rows have is refused: it is no zero."""
    users: dict[str, dict[str, float]] = {}
    names: set[str] | None = None
    for row in rows:
        if "user" not in row:
            raise SchemaError(f"a tally of arm {arm} has no user")
        found = {
            k: float(v) for k, v in row.items() if k != "user" and isinstance(v, (int, float, np.number))
        }
        names = set(found) if names is None else names
        if names != found.keys():
            odd = sorted(names ^ found.keys())[0]
            raise SchemaError(
                f"arm {arm}: some tallies have a number for {odd} and others do not, {row['user']!r} among "
                "them: write 0 where nothing was counted, or leave the count out everywhere"
            )
        sums = users.setdefault(str(row["user"]), dict.fromkeys(found, 0.0))
        for key, value in found.items():
            sums[key] += value
    return users


def _columns(users: Sequence[str], tallies: Mapping[str, Mapping[str, float]]) -> dict[str, Array]:
    names = sorted({name for sums in tallies.values() for name in sums})
    return {name: np.array([tallies.get(u, {}).get(name, 0.0) for u in users]) for name in names}
