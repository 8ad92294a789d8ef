"""Less variance from what was known before: CUPED and post-stratification, for ratios over users. Pure.

**CUPED** (Deng, Xu, Kohavi, Walker 2013; for ratios by linearisation: Deng, Knoblich, Lu 2018). The metric
of either arm is linearised, `z = (Y - R N) / mean(N)`; the covariate is the same metric in the pre-period,
linearised around the rate of both arms together, `x`. Then
`difference - theta (mean x_t - mean x_c)` with `theta = cov(z, x) / var(x)` pooled within the arms, and the
residuals `z - theta x` carry the standard error (Welch). A user without a pre-period has x = 0: nothing is
known, nothing is corrected. `theta` costs one degree of freedom.

**Post-stratification** (Miratrix, Sekhon, Yu 2013): both arms are weighted to the strata's shares among all
users, `R_k = sum_s w_s mean(Y_ks) / sum_s w_s mean(N_ks)`, with the variance given the strata's sizes,
`sum_s w_s^2 var_s(z) / n_ks`. Strata with fewer than two users in an arm are put together.

Both are for independent users. Twins need neither: a pre-period and a stratum are the same in both arms and
cancel in every user's difference. The covariate must have been fixed before assignment: anything that the
treatment can move biases the answer. Not covered: several covariates, both adjustments at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from echo_ray import metrics
from echo_ray.experiment.estimates import NOWHERE, Array, Interval, judged

OTHER = "(small strata)"
"""Strata that are too small to stand alone."""
_MIN_STRATUM = 2


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A difference after adjustment; `reason` says why there is none."""

    estimate: float | None = None
    ci95: Interval = NOWHERE
    p_value: float | None = None
    se: float | None = None
    variance_reduction: float | None = None
    """1 - adjusted variance / plain variance; negative when the adjustment did harm."""
    theta: float | None = None
    """CUPED's coefficient."""
    strata: tuple[str, ...] = ()
    """Strata that were told apart."""
    reason: str | None = None


def cuped_delta(
    z_control: Array, z_treatment: Array, x_control: Array, x_treatment: Array
) -> tuple[Array, Array, Array, Array]:
    """(correction of the difference, standard error, degrees of freedom, theta).

    Linearised metrics and covariates, users on the last axis; leading axes are independent experiments.
    Without variation in x, theta is 0 and nothing is corrected.
    """
    centred = [
        (z - z.mean(axis=-1, keepdims=True), x - x.mean(axis=-1, keepdims=True))
        for z, x in ((z_control, x_control), (z_treatment, x_treatment))
    ]
    shared = sum((z * x).sum(axis=-1) for z, x in centred)
    spread = np.asarray(sum((x * x).sum(axis=-1) for _, x in centred))
    theta = np.where(spread > 0, shared / np.where(spread > 0, spread, 1.0), 0.0)
    rest_control, rest_treatment = (z - theta[..., None] * x for z, x in centred)
    se, freedom = metrics.standard_error(rest_control, rest_treatment, paired=False)
    users = z_control.shape[-1] + z_treatment.shape[-1]
    correction = theta * (x_treatment.mean(axis=-1) - x_control.mean(axis=-1))
    return -correction, se * np.sqrt((users - 2) / max(users - 3, 1)), freedom, theta


def covariate(before_control: Array, before_treatment: Array) -> tuple[Array, Array]:
    """Linearised pre-period of both arms: (..., 2, users) each, around the rate of all users together."""
    together = np.concatenate([before_control, before_treatment], axis=-1)
    _, x = metrics.influence(together[..., 0, :], together[..., 1, :])
    split = before_control.shape[-1]
    return x[..., :split], x[..., split:]


def cuped(
    control: Array, treatment: Array, before_control: Array, before_treatment: Array, *, paired: bool = False
) -> Adjusted:
    """Treatment minus control, corrected by the pre-period. All inputs (2, users)."""
    if paired:
        return Adjusted(reason="twins share their pre-period, so it cancels")
    if min(control.shape[1], treatment.shape[1]) < 2:
        return Adjusted(reason="one user has no variance between users")
    if not (control[1].sum() > 0 and treatment[1].sum() > 0):
        return Adjusted(reason="a denominator is zero")
    if not (before_control[1].sum() + before_treatment[1].sum() > 0):
        return Adjusted(reason="the pre-period has no denominator")
    x_control, x_treatment = covariate(before_control, before_treatment)
    if max(float(np.ptp(x_control)), float(np.ptp(x_treatment))) <= 1e-12:
        return Adjusted(reason="all users were alike in the pre-period")
    (rate_c, z_c), (rate_t, z_t) = metrics.influence(*control), metrics.influence(*treatment)
    plain, _ = metrics.standard_error(z_c, z_t, paired=False)
    moved, se, freedom, theta = cuped_delta(z_c, z_t, x_control, x_treatment)
    found = judged(
        float(rate_t - rate_c + moved), float(se), float(freedom), scale=float(max(abs(rate_c), abs(rate_t)))
    )
    return Adjusted(
        found.estimate,
        found.ci95,
        found.p_value,
        found.se,
        variance_reduction=_reduction(found.se, float(plain)),
        theta=float(theta),
        reason=found.reason,
    )


def post_stratify(
    control: Array,
    treatment: Array,
    strata_control: Sequence[str],
    strata_treatment: Sequence[str],
    *,
    paired: bool = False,
) -> Adjusted:
    """Treatment minus control, both weighted to the strata's shares among all users. Inputs (2, users)."""
    if paired:
        return Adjusted(reason="twins share their stratum, so it cancels")
    labels = [np.asarray(strata_control, dtype=object), np.asarray(strata_treatment, dtype=object)]
    labels = _merged(labels)
    names = sorted(set(labels[0]) | set(labels[1]))
    sizes = np.array([[np.sum(arm == name) for name in names] for arm in labels])
    if len(names) < 2 or sizes.min() < _MIN_STRATUM:
        return Adjusted(reason="fewer than two strata have two users or more in both arms")
    weights = sizes.sum(axis=0) / sizes.sum()
    rates, variances, cells = [], [], []
    for arm, label, counts in zip((control, treatment), labels, sizes, strict=True):
        means = np.array([arm[:, label == name].mean(axis=1) for name in names])  # (strata, 2)
        above, below = weights @ means
        if not below > 0:
            return Adjusted(reason="a denominator is zero")
        z = (arm[0] - above / below * arm[1]) / below
        inner = np.array([z[label == name].var(ddof=1) for name in names])
        rates.append(above / below)
        variances.append(weights**2 * inner / counts)
        cells.append(counts - 1)
    pieces, free = np.concatenate(variances), np.concatenate(cells)
    total = float(pieces.sum())
    freedom = total**2 / float(np.sum(pieces**2 / free)) if total > 0 else float(free.sum())
    found = judged(
        float(rates[1] - rates[0]), total**0.5, freedom, scale=max(abs(float(rate)) for rate in rates)
    )
    (_, z_c), (_, z_t) = metrics.influence(*control), metrics.influence(*treatment)
    plain, _ = metrics.standard_error(z_c, z_t, paired=False)
    return Adjusted(
        found.estimate,
        found.ci95,
        found.p_value,
        found.se,
        variance_reduction=_reduction(found.se, float(plain)),
        strata=tuple(str(name) for name in names),
        reason=found.reason,
    )


def _merged(labels: list[np.ndarray]) -> list[np.ndarray]:
    """Labels with those that have too few users in an arm put together."""
    names = sorted(set(labels[0]) | set(labels[1]))
    small = {name for name in names if min(np.sum(arm == name) for arm in labels) < _MIN_STRATUM}
    return [np.array([OTHER if label in small else label for label in arm], dtype=object) for arm in labels]


def _reduction(se: float | None, plain: float) -> float | None:
    return 1 - (se / plain) ** 2 if se is not None and plain > 0 else None
