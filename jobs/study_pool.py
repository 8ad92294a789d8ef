"""One answer from several training seeds: what the same experiment says for models trained alike.

A model is one draw of training, so an effect of one seed may be luck. For estimates `d_1..d_k` of k seeds
with standard errors `s_j` over n users:

    estimate = mean(d),  Var = mean(s^2) + var(d) / k

The users are the same for every seed, so their part does not shrink with more seeds (it is as if fully
correlated, the cautious end); seeds are independent. Interval and p-value are Student's with Satterthwaite's
degrees of freedom of the two parts. With one seed the second part is unknown and left out: the interval is of
this model, and `one_seed` says so.

Not covered: seeds as a random effect in one model with users; more than one experiment per seed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats


@dataclass(frozen=True, slots=True)
class Pooled:
    """A mean over seeds; what cannot be known is None."""

    value: float | None
    ci95: tuple[float | None, float | None]
    p_value: float | None
    """Of the value being zero."""
    by_seed: tuple[float, ...]
    users: int
    """Fewest users of a seed."""
    one_seed: bool

    @property
    def direction(self) -> int:
        """+1 or -1 where the interval leaves zero out, else 0."""
        low, high = self.ci95
        if low is None or high is None:
            return 0
        return int(low > 0) - int(high < 0)


def pooled(found: Sequence[Mapping[str, Any]]) -> Pooled:
    """The mean of `{value, ci95, users}`, one per seed; `estimate` may stand for `value`.

    A seed without a value is left out; one without an interval leaves the mean without one.
    """
    known = [item for item in found if _value(item) is not None]
    values = [float(_value(item)) for item in known]
    users = min((int(item["users"]) for item in known), default=0)
    if not known:
        return Pooled(None, (None, None), None, (), 0, len(found) < 2)
    mean = math.fsum(values) / len(values)
    one = len(values) < 2
    errors = [_error(item) for item in known]
    if users < 2 or any(error is None for error in errors):
        return Pooled(mean, (None, None), None, tuple(values), users, one)
    within = math.fsum(error**2 for error in errors if error is not None) / len(errors)
    seeds = (
        0.0 if one else math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)
    )
    total = within + seeds
    if total == 0:
        # Nothing varied: equal models, or nothing happened. Zero is then as certain as any other value.
        return Pooled(mean, (mean, mean), 1.0 if mean == 0 else 0.0, tuple(values), users, one)
    parts = within**2 / (users - 1) + (0.0 if one else seeds**2 / (len(values) - 1))
    freedom = total**2 / parts if parts else math.inf
    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(total)
    p_value = float(2 * stats.t.sf(abs(mean) / math.sqrt(total), freedom))
    return Pooled(mean, (mean - half, mean + half), p_value, tuple(values), users, one)


@dataclass(frozen=True, slots=True)
class Slope:
    """A straight line through values over the logarithm of a size."""

    per_doubling: float
    ci95: tuple[float, float]
    p_value: float
    points: int


def slope(points: Sequence[tuple[float, float]]) -> Slope | None:
    """Least squares of value over log2(size), every seed a point; None with fewer than three points, or one
    size. Errors are those of the scatter around the line: seeds of one size share nothing but the data.
    """
    sizes = [math.log2(size) for size, _ in points]
    if len(points) < 3 or len(set(sizes)) < 2:
        return None
    line = stats.linregress(sizes, [value for _, value in points])
    half = float(stats.t.ppf(0.975, len(points) - 2) * line.stderr)
    per_doubling = float(line.slope)
    return Slope(per_doubling, (per_doubling - half, per_doubling + half), float(line.pvalue), len(points))


def _value(item: Mapping[str, Any]) -> Any:
    return item.get("value", item.get("estimate"))


def _error(item: Mapping[str, Any]) -> float | None:
    low, high = item.get("ci95") or (None, None)
    if low is None or high is None or item["users"] < 2:
        return None
    return float((high - low) / 2 / stats.t.ppf(0.975, item["users"] - 1))
