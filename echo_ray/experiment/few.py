"""Few users: the delta method with a bias-reduced variance and effective degrees of freedom. Pure.

A user with a large share `h_i = N_i / sum(N)` of the exposures pulls the ratio towards itself, so its
residual, and with it the variance, is too small; and a variance that hangs on few large users has fewer
degrees of freedom than users. The plain delta method calls equal models different in 6% to 8% of experiments
with 8 to 30 users of unequal exposure. Here:

- residuals are divided by `sqrt(1 - h_i)` (HC2; Bell, McCaffrey 2002), which is unbiased if users vary alike;
- degrees of freedom are those of `1 / sum(h_i^2)` users (Kish 1965), Welch-Satterthwaite between arms; for
  twins with the mean share of both arms. Our choice, by simulation.

With equal exposures this is the plain delta method exactly, and with many users nearly. Not covered: fewer
than two effective users.
"""

import numpy as np

from echo_ray import metrics
from echo_ray.experiment.estimates import Array, Estimate, judged


def corrected_delta(control: Array, treatment: Array, *, paired: bool) -> tuple[Array, Array, Array]:
    """(difference, standard error, degrees of freedom) of (..., 2, users) numerators and denominators.

    NaN where a denominator is zero or one user has all of it.
    """
    (rate_c, z_c, h_c), (rate_t, z_t, h_t) = _leveraged(control), _leveraged(treatment)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.asarray(rate_t - rate_c)
        if paired:
            return gap, np.sqrt(np.sum((z_t - z_c) ** 2, axis=-1)), _users((h_c + h_t) / 2) - 1
        a, b = np.sum(z_c**2, axis=-1), np.sum(z_t**2, axis=-1)
        freedom = (a + b) ** 2 / (a**2 / (_users(h_c) - 1) + b**2 / (_users(h_t) - 1))
        return gap, np.sqrt(a + b), freedom


def corrected(control: Array, treatment: Array, *, paired: bool) -> Estimate:
    """Treatment minus control of (2, users) counts, for few users."""
    arms = (control, treatment)
    if any(not arm[1].sum() > 0 for arm in arms):
        return Estimate(None, reason="a denominator is zero")
    gap = metrics.rate(*treatment) - metrics.rate(*control)
    if any(_users(arm[1] / arm[1].sum()) < 2 for arm in arms):
        return Estimate(gap, reason="an arm has the exposures of fewer than two users")
    _, se, freedom = corrected_delta(control, treatment, paired=paired)
    rates = [abs(metrics.rate(*arm)) for arm in arms]
    return judged(gap, float(se), float(freedom), scale=max(rates))


def _leveraged(arm: Array) -> tuple[Array, Array, Array]:
    """(rate, residuals' shares of its error, users' shares of the denominator)."""
    rate, z = metrics.influence(arm[..., 0, :], arm[..., 1, :])
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = arm[..., 1, :] / arm[..., 1, :].sum(axis=-1, keepdims=True)
        return rate, z / np.sqrt(1 - shares) / arm.shape[-1], shares


def _users(shares: Array) -> Array:
    """How many users of equal share would weigh like these (Kish)."""
    return np.asarray(1 / np.sum(shares**2, axis=-1))
