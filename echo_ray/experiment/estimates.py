"""The value that every estimator returns, and the ratio on its own scale and on the log scale.

A number that does not exist is None and `reason` says why; NaN never leaves this package.

On the log scale (relative lift): `log R_t - log R_c` has the linearised shares `z / R` of either arm, so
twins and Welch follow as for the plain difference; the ends are transformed back. It is the scale for
"5% more", and for positive rates far apart; the interval is not symmetric. Source: Deng, Knoblich, Lu 2018,
section 3.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from echo_ray import metrics

Array = npt.NDArray[np.float64]
Interval = tuple[float | None, float | None]

NOWHERE: Interval = (None, None)
"""The interval that does not exist."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its uncertainty."""

    estimate: float | None
    ci95: Interval = NOWHERE
    """95% interval, t."""
    p_value: float | None = None
    """Two-sided, against zero."""
    se: float | None = None
    """Standard error over users."""
    reason: str | None = None
    """Why something above is None; None when all is well."""


def known(value: float) -> float | None:
    """`value`, or None where it is not a finite number."""
    return float(value) if math.isfinite(value) else None


def judged(value: float, se: float, freedom: float, *, scale: float = 1.0) -> Estimate:
    """Interval and test (t) of `value`. A standard error that is rounding beside `scale` is none at all."""
    if not math.isfinite(value):
        return Estimate(None, reason="the figure does not exist: a denominator is zero")
    if not math.isfinite(se):
        return Estimate(float(value), reason="too few users to tell how much they vary")
    if se <= 1e-12 * max(1.0, abs(scale)):
        return Estimate(
            value,
            se=0.0,
            reason="all users behaved alike, so there is no variation to judge the difference by",
        )
    half = float(stats.t.ppf(0.975, freedom)) * se
    p_value = float(2 * stats.t.sf(abs(value) / se, freedom))
    return Estimate(float(value), (float(value - half), float(value + half)), p_value, float(se))


def relative(control: Array, treatment: Array, *, paired: bool) -> Estimate:
    """Relative lift `R_t / R_c - 1` of two arms of (2, users) numerators and denominators.

    `se` is on the log scale, where the test is made. None where a rate is zero, negative or does not exist.
    """
    if min(control.shape[-1], treatment.shape[-1]) < 2:
        return Estimate(None, reason="one user has no variance between users")
    (rate_c, z_c), (rate_t, z_t) = metrics.influence(*control), metrics.influence(*treatment)
    if not (0 < rate_c < math.inf and 0 < rate_t < math.inf):
        return Estimate(None, reason="a rate is zero or does not exist, so there is no ratio of rates")
    se, freedom = metrics.standard_error(z_c / rate_c, z_t / rate_t, paired=paired)
    lift = math.log(rate_t) - math.log(rate_c)
    found = judged(lift, float(se), float(freedom))
    low, high = found.ci95
    return Estimate(
        _lift(lift),
        NOWHERE if low is None or high is None else (_lift(low), _lift(high)),
        found.p_value,
        found.se,
        found.reason,
    )


def plain(value: Any) -> Any:
    """`value` as JSON holds it: dataclasses and mappings become dicts, tuples lists, enumerations their text.

    Raises ValueError for NaN and infinity, which must not reach a report.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a figure of a report")
    return value


def _lift(log: float) -> float | None:
    """Relative lift of a difference of logarithms; None where it is beyond every number."""
    return math.expm1(log) if log < 700 else None
