"""Looking early and often without being fooled: always-valid p-values and confidence sequences. Pure.

The mixture sequential probability ratio test with a normal mixture N(0, scale^2) over the true difference
(Robbins 1970; Johari, Koomen, Pekelis, Walsh 2017, "Peeking at A/B tests"), with the estimate's own
standard error put in, which makes it the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha,
Kennedy, Ramdas (Annals of Statistics 2024, theorem 2.2; their t rho^2 is scale^2 / se^2 here). With
`v = se^2`, `s = scale^2`:

    evidence = sqrt(v / (v + s)) exp(estimate^2 s / (2 v (v + s)))
    p_t      = min(1, 1 / max of the evidence so far)
    CS_t     = estimate +- sqrt(v (v + s) / s * log((v + s) / (v alpha^2)))

Under no difference the chance that p ever falls below alpha, over any number of looks, is at most alpha.
The estimate is that of the linearised per-user differences (twins) or of Welch's two groups; users may
arrive over time or bring more exposures, since both add independent increments of information.

`scale` must be fixed before the first look. It costs width, never validity: best near the effect expected,
or `scale_for` the standard error of the planned end. The price for peeking at will is an interval about
1.5 times as wide at the end, so a decision at a fixed horizon keeps the t test.

The guarantee is asymptotic in users: looks with fewer than `MIN_USERS` in an arm count for nothing. A few
looks planned beforehand cost less: `looks`. Not covered: a difference that changes with time (the sequence
then covers the running mean), stopping for futility.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from echo_ray.experiment.estimates import NOWHERE, Array, Interval

MIN_USERS = 30
"""Users per arm from which a look counts; with fewer the plugged-in standard error is too uncertain."""


@dataclass(frozen=True, slots=True)
class Sequential:
    """One look; p and interval stay valid however many looks there are."""

    p_value: float | None = None
    """Always valid; 1.0 while there is no evidence."""
    ci95: Interval = NOWHERE
    """95% confidence sequence at this look."""
    scale: float | None = None
    """Standard deviation of the mixture, in the metric's unit."""
    reason: str | None = None


def log_evidence(estimate: Array, se: Array, scale: float) -> Array:
    """Logarithm of the mixture likelihood ratio, elementwise; 0 (no evidence) where se is 0 or NaN."""
    usable = np.isfinite(estimate) & np.isfinite(se) & (np.nan_to_num(se) > 0)
    v = np.where(usable, se, 1.0) ** 2
    s = scale**2
    found = 0.5 * np.log(v / (v + s)) + np.where(usable, estimate, 0.0) ** 2 * s / (2 * v * (v + s))
    return np.where(usable, found, 0.0)


def p_values(estimate: Array, se: Array, scale: float) -> Array:
    """Always-valid p-values of successive looks (last axis): each the smallest so far, at most 1."""
    best = np.maximum.accumulate(np.maximum(log_evidence(estimate, se, scale), 0.0), axis=-1)
    return np.asarray(np.exp(-best))


def half_width(se: Array, scale: float, alpha: float = 0.05) -> Array:
    """Half width of the confidence sequence at a look with this standard error."""
    v, s = np.asarray(se, dtype=np.float64) ** 2, scale**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(v * (v + s) / s * np.log((v + s) / (v * alpha**2))))


def scale_for(se: float, alpha: float = 0.05) -> float:
    """The scale whose sequence is narrowest when the standard error has come down to `se`.

    `scale^2 / se^2 = -W(-alpha^2 / e) - 1`, W the lower branch of Lambert's function.
    """
    if not (math.isfinite(se) and se > 0 and 0 < alpha < 1):
        raise ValueError(f"a planned standard error is positive, and alpha between 0 and 1: {se}, {alpha}")
    return se * math.sqrt(-float(special.lambertw(-(alpha**2) / math.e, -1).real) - 1)


def look(estimate: float | None, se: float | None, scale: float | None, users: int) -> Sequential:
    """One look at a difference; `users`: of the smaller arm, or twins."""
    if scale is None:
        return Sequential(reason="no expected difference is set for this metric, so there is no scale")
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"the scale of a sequential test is positive, got {scale}")
    if estimate is None or se is None or se == 0:
        return Sequential(scale=scale, reason="there is no standard error to look with")
    if users < MIN_USERS:
        return Sequential(1.0, NOWHERE, scale, f"{users} users: looks count from {MIN_USERS} in each arm")
    p_value = float(p_values(np.array([estimate]), np.array([se]), scale)[0])
    half = float(half_width(np.array([se]), scale)[0])
    return Sequential(p_value, (estimate - half, estimate + half), scale)
