"""The test that is wrong, kept to be shown beside the right one. Pure.

The two-proportion z-test counts every exposure (or character) as an independent draw. Exposures of one
developer are alike, so its standard error is too small by the root of the design effect
`1 + (exposures per user - 1) rho`: with rho 0.04 and 160 exposures 2.7 times, and two equal models differ
"significantly" in about half of all experiments. Never decide by it.
"""

import math
from dataclasses import dataclass

from scipy import stats

from echo_ray.experiment.estimates import NOWHERE, Array, Interval

WARNING = "wrong: counts exposures of one user as independent; shown for comparison only"


@dataclass(frozen=True, slots=True)
class Naive:
    """Two-proportion z-test over exposures."""

    p_value: float | None = None
    ci95: Interval = NOWHERE
    se: float | None = None
    """Unpooled, as in the interval; the test pools both arms."""
    design_effect: float | None = None
    """(honest standard error / naive standard error)^2: how many exposures are worth one."""
    warning: str = WARNING
    reason: str | None = None


def two_proportions(control: Array, treatment: Array, honest_se: float | None = None) -> Naive:
    """Test of sums over users: inputs (2, users) or (2,) of successes and exposures."""
    (y_c, n_c), (y_t, n_t) = (arm.reshape(2, -1).sum(axis=1).tolist() for arm in (control, treatment))
    if not (n_c > 0 and n_t > 0):
        return Naive(reason="a denominator is zero")
    rate_c, rate_t, pooled = y_c / n_c, y_t / n_t, (y_c + y_t) / (n_c + n_t)
    if not (0 <= rate_c <= 1 and 0 <= rate_t <= 1):
        return Naive(reason="the metric is no proportion")
    null_se = math.sqrt(pooled * (1 - pooled) * (1 / n_c + 1 / n_t))
    se = math.sqrt(rate_c * (1 - rate_c) / n_c + rate_t * (1 - rate_t) / n_t)
    if null_se == 0 or se == 0:
        return Naive(reason="all exposures ended alike")
    gap = rate_t - rate_c
    reach = float(stats.norm.ppf(0.975)) * se
    return Naive(
        p_value=float(2 * stats.norm.sf(abs(gap) / null_se)),
        ci95=(gap - reach, gap + reach),
        se=se,
        design_effect=None if honest_se is None else (honest_se / se) ** 2,
    )
