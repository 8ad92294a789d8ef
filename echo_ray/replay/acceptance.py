"""Logistic curves of what became of the control's proposals, regularised and cross-fitted by user.

`fit` maximises sum(w (y log p + (1 - y) log(1 - p))) - ridge / 2 |slopes|^2 by Newton's method with halved
steps (the objective is concave, so it arrives). Outcomes may be shares (fractional logit, Papke and
Wooldridge 1996). Slopes are of features that `Scale` has standardised, so that one ridge fits all. The
intercept is free but for a trace that keeps it finite where all outcomes are alike; so sums of predictions
are the sums observed. Users are dealt into folds by a hash of their names: a user is predicted by curves
that never saw an outcome of theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg, special

from echo_ray.rng import digest

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_TRACE = 1e-6
_STEPS = 60


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and standard deviation of features."""

    mean: Array
    sd: Array

    @classmethod
    def of(cls, x: Array) -> "Scale":
        """From rows (n, features); a feature that never varies keeps its unit."""
        sd = x.std(axis=0)
        return cls(x.mean(axis=0), np.where(sd > 1e-12, sd, 1.0))

    def apply(self, x: Array) -> Array:
        """(n, 1 + features): a column of ones, then standardised features."""
        return np.column_stack([np.ones(len(x)), (x - self.mean) / self.sd])


def fit(
    design: Array,
    y: Array,
    weight: Array,
    ridge: float,
    start: Array | None = None,
    tolerance: float = 1e-8,
) -> Array:
    """Intercept and slopes (1 + features,) for `design` of `Scale.apply`, outcomes in 0..1 and weights.

    Stops when a step promises less than `tolerance` of log likelihood (nats), of which a curve is uncertain
    by about one.
    """
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = _TRACE
    rows = weight > 0
    if not rows.all():
        design, y, weight = design[rows], y[rows], weight[rows]
    found = np.zeros(design.shape[1]) if start is None else start.copy()
    linear = design @ found
    value = _objective(linear, y, weight, found, penalty)
    for _ in range(_STEPS):
        p = special.expit(linear)
        slope = design.T @ (weight * (y - p)) - penalty * found
        bend = (design.T * (weight * p * (1 - p))) @ design + np.diag(penalty)
        step = linalg.solve(bend, slope, assume_a="pos", check_finite=False)
        gain = float(slope @ step)
        if gain <= 2 * tolerance:
            break
        moved = design @ step
        size = 1.0
        while True:
            after = _objective(linear + size * moved, y, weight, found + size * step, penalty)
            if after >= value or size < 1e-6:
                break
            size /= 2
        if after < value:
            break
        found, linear, value = found + size * step, linear + size * moved, after
    return found


def chance(design: Array, curve: Array) -> Array:
    """What `curve` predicts for rows of `Scale.apply`, 0..1."""
    return np.asarray(special.expit(design @ curve))


def folds(users: Sequence[str], count: int, seed: int) -> Ints:
    """Fold of each user, 0..count - 1, by rank of a hash: sizes differ by one at most."""
    order = sorted(range(len(users)), key=lambda place: (digest(seed, "replay", users[place]), users[place]))
    found = np.zeros(len(users), np.int64)
    found[order] = np.arange(len(users)) % count
    return found


def _objective(linear: Array, y: Array, weight: Array, curve: Array, penalty: Array) -> float:
    # log p = -log(1 + exp(-linear)), log(1 - p) = log p - linear
    likelihood = weight @ (y * linear - np.logaddexp(0.0, linear))
    return float(likelihood - 0.5 * penalty @ curve**2)
