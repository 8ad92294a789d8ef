"""What an experiment measures, and how sure it may be: ratios over users (paper 5.2).

The two headline metrics, both ratios of sums over users, never means of per-user ratios:

- acceptance rate, AR = accepted / shown. A proposal is *shown* when it was painted and was visible for
  at least 750 ms or was accepted (`is_shown`), so proposals that flash by while somebody types are not
  held against the model.
- generation rate, GR = accepted characters / (accepted + typed characters). Pastes and automatic
  indentation count on neither side. Our choice: the paper names no unit; characters.

The user is the unit of randomisation, so users, not exposures, are the sample; an interval over
exposures is several times too narrow (rho 0.04 at 160 exposures per user: design effect 7.7). Formulae:

- delta method for R = sum(Y) / sum(N) over n users (Deng, Knoblich, Lu 2018):
  `z_i = (Y_i - R N_i) / mean(N)`, `Var(R) = var(z) / n`
  `= (s_Y^2 - 2 R s_YN + R^2 s_N^2) / (n mean(N)^2)`.
- independent arms: variances add, t with Welch-Satterthwaite degrees of freedom.
- twins (the same users in both arms): `d_i = z_echo,i - z_base,i`, `Var = var(d) / n`, t with n - 1.
- bootstrap over users (a twin is drawn with both its arms), bias-corrected and accelerated (BCa, Efron
  1987), since a ratio of sums is biased and skewed, which plain percentiles ignore. It is too narrow
  for few users (simulated A/A coverage 85% at 8, 92% at 24 twins; the t interval 92% to 96%), so the
  delta method stays primary. Its standard error is scaled by sqrt(n / (n - 1)) for comparison.
- sign-flip permutation (twins): every user's two arms are swapped or not; all 2^n swaps when they are
  few, else a keyed random sample. Exact if the arms are exchangeable, whatever the distribution.

Covariates (CUPED), strata, sequential looks and several metrics: `echo_ray.experiment`. Not covered: a
second cluster such as the repository, variance between training seeds. One trained model is one draw.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from echo_ray.resampling import bca, resample, sign_flip

SHOWN_MS = 750
"""Visible time from which a painted proposal counts as shown even if it was not accepted (ms)."""
AGREEMENT = 0.15
"""Largest relative gap between delta and bootstrap standard errors that still counts as agreement."""

Array = npt.NDArray[np.float64]
Counts = Sequence[float] | npt.NDArray[np.float64] | npt.NDArray[np.int64]

_NO_INTERVAL = (math.nan, math.nan)


@dataclass(frozen=True)
class Difference:
    """Echo minus base of one ratio metric. A number that does not exist is NaN and `reason` says why."""

    estimate: float
    """Difference of the two ratios, in the ratio's own unit (0.01 is one point)."""
    ci95: tuple[float, float]
    """95% interval of the delta method: the primary one."""
    p_value: float
    """Two-sided t test of the delta method."""
    se: float
    """Standard error of the delta method."""
    method: str
    """Which variance: `delta, twins` or `delta, independent users`."""
    bootstrap_ci95: tuple[float, float]
    """BCa interval over resampled users."""
    bootstrap_se: float
    """Standard deviation of the resampled differences, corrected for the number of users."""
    permutation_p: float | None
    """Sign-flip p-value; None for independent users, where there is no pair to swap."""
    agrees: bool | None
    """Delta and bootstrap standard errors within `AGREEMENT`; None when one of them does not exist."""
    users: tuple[int, int]
    """Users per arm, base first, those without exposures included."""
    reason: str | None = None
    """Why something above is NaN or None although it was asked for; None when all is well."""


def is_shown(visible_ms: float | None, accepted: bool) -> bool:
    """Whether a painted proposal enters AR's denominator; None means that the time is not known."""
    return accepted or (visible_ms is not None and visible_ms >= SHOWN_MS)


def rate(y: Counts, n: Counts) -> float:
    """sum(y) / sum(n); NaN when the denominator is zero."""
    numerator, denominator = float(np.sum(y)), float(np.sum(n))
    return numerator / denominator if denominator else math.nan


def acceptance_rate(accepted: Counts, shown: Counts) -> float:
    """AR: accepted over shown proposals, per-user counts; NaN when nothing was shown."""
    return rate(accepted, shown)


def generation_rate(accepted_chars: Counts, typed_chars: Counts) -> float:
    """GR: accepted over accepted plus typed characters, per-user counts; NaN when nothing was written."""
    accepted = _array(accepted_chars)
    return rate(accepted, accepted + _array(typed_chars))


def variance(y: Counts, n: Counts) -> float:
    """Delta-method variance of `rate(y, n)`, clustered by user; NaN for one user or no denominator."""
    if len(y) < 2:
        return math.nan
    return float(_mean_variance(influence(y, n)[1]))


def interval(y: Counts, n: Counts) -> tuple[float, float]:
    """95% interval of `rate(y, n)`, t with users - 1 degrees of freedom; NaN where `variance` is.

    Also NaN when the users do not vary at all: a width of zero would claim certainty.
    """
    ratio, se = rate(y, n), math.sqrt(variance(y, n))
    if not se > _noise(ratio):
        return _NO_INTERVAL
    half = float(stats.t.ppf(0.975, len(y) - 1)) * se
    return ratio - half, ratio + half


def delta(
    y_base: Counts, n_base: Counts, y_echo: Counts, n_echo: Counts, *, paired: bool
) -> tuple[Array, Array, Array]:
    """(difference, standard error, degrees of freedom) of echo minus base by the delta method.

    Users are the last axis; leading axes are independent experiments. `paired`: position i is the same
    user in both arms. Needs at least two users per arm; zero denominators give NaN.
    """
    base, z_base = influence(y_base, n_base)
    echo, z_echo = influence(y_echo, n_echo)
    return np.asarray(echo - base), *standard_error(z_base, z_echo, paired=paired)


def influence(y: Counts, n: Counts) -> tuple[Array, Array]:
    """(R, z): ratio of sums over the last axis, and each user's linearised share of its error.

    The error of R is the mean of z to first order, whatever further function of users is built on it.
    """
    y, n = _array(y), _array(n)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = y.sum(axis=-1) / n.sum(axis=-1)
        return ratio, (y - ratio[..., None] * n) / n.mean(axis=-1, keepdims=True)


def standard_error(z_base: Array, z_echo: Array, *, paired: bool) -> tuple[Array, Array]:
    """(standard error, degrees of freedom) of mean(z_echo) - mean(z_base): twins or Welch-Satterthwaite."""
    if paired:
        variances = _mean_variance(z_echo - z_base)
        return np.sqrt(variances), np.full_like(variances, z_base.shape[-1] - 1)
    a, b = _mean_variance(z_base), _mean_variance(z_echo)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = (a + b) ** 2 / (a**2 / (z_base.shape[-1] - 1) + b**2 / (z_echo.shape[-1] - 1))
    return np.sqrt(a + b), freedom


def difference(
    y_base: Counts,
    n_base: Counts,
    y_echo: Counts,
    n_echo: Counts,
    *,
    paired: bool,
    seed: int = 0,
    resamples: int = 10_000,
    signed: bool = False,
) -> Difference:
    """Echo minus base of sum(y) / sum(n), per-user counts, with all three methods (module docstring).

    `paired` says that position i is the same user in both arms; `signed` that a numerator may be negative
    (time saved). Randomness depends on `seed` and on the users' counts, not on their order. Raises
    ValueError for ragged, negative or non-finite counts.
    """
    base, echo = _users(y_base, n_base, signed), _users(y_echo, n_echo, signed)
    if paired and base.shape != echo.shape:
        raise ValueError(f"twins need the same users in both arms, got {base.shape[1]} and {echo.shape[1]}")
    users = (base.shape[1], echo.shape[1])
    method = "delta, twins" if paired else "delta, independent users"
    estimate = rate(*echo) - rate(*base)

    def incomplete(reason: str, se: float = math.nan) -> Difference:
        return Difference(
            estimate, _NO_INTERVAL, math.nan, se, method, _NO_INTERVAL, math.nan, None, None, users, reason
        )

    if math.isnan(estimate):
        empty = " and ".join(name for name, arm in (("base", base), ("echo", echo)) if not arm[1].sum())
        return incomplete(f"the denominator of the {empty} arm is zero")
    if min(users) < 2:
        return incomplete("one user has no variance between users")
    _, errors, freedom = delta(*base, *echo, paired=paired)
    se = float(errors)
    if se <= _noise(max(rate(*base), rate(*echo))):
        return incomplete("all users behaved alike, so there is no variation to judge the difference by", 0.0)
    half = float(stats.t.ppf(0.975, freedom)) * se
    boot_ci, boot_se = _bootstrap(base, echo, paired, seed, resamples)
    return Difference(
        estimate=estimate,
        ci95=(estimate - half, estimate + half),
        p_value=float(2 * stats.t.sf(abs(estimate) / se, freedom)),
        se=se,
        method=method,
        bootstrap_ci95=boot_ci,
        bootstrap_se=boot_se,
        permutation_p=sign_flip(base, echo, seed, resamples) if paired else None,
        agrees=None if math.isnan(boot_se) else abs(boot_se / se - 1) <= AGREEMENT,
        users=users,
        reason="too many resamples had a zero denominator" if math.isnan(boot_se) else None,
    )


def _bootstrap(
    base: Array, echo: Array, paired: bool, seed: int, resamples: int
) -> tuple[tuple[float, float], float]:
    """(BCa interval, standard error) over resampled users; NaN when over 1% of them have no denominator."""
    if paired:
        y_base, n_base, y_echo, n_echo = resample(np.vstack([base, echo]), resamples, seed, "twins")
    else:
        y_base, n_base = resample(base, resamples, seed, "base")
        y_echo, n_echo = resample(echo, resamples, seed, "echo")
    valid = (n_base > 0) & (n_echo > 0)
    if valid.mean() < 0.99:
        return _NO_INTERVAL, math.nan
    rates_base, rates_echo = y_base[valid] / n_base[valid], y_echo[valid] / n_echo[valid]
    draws = rates_echo - rates_base
    (ratio_base, z_base), (ratio_echo, z_echo) = influence(*base), influence(*echo)
    size_base, size_echo = base.shape[1], echo.shape[1]
    if paired:
        shares = z_echo - z_base
        squared = draws.var(ddof=1) * size_base / (size_base - 1)
    else:
        shares = np.concatenate([z_echo / size_echo, -z_base / size_base])
        squared = rates_base.var(ddof=1) * size_base / (size_base - 1)
        squared += rates_echo.var(ddof=1) * size_echo / (size_echo - 1)
    return bca(draws, float(ratio_echo - ratio_base), shares), math.sqrt(squared)


def _mean_variance(values: Array) -> Array:
    return np.asarray(values.var(axis=-1, ddof=1) / values.shape[-1])


def _noise(scale: float) -> float:
    """Largest standard error that is rounding, not variation."""
    return 1e-12 * max(1.0, abs(scale))


def _array(values: Counts) -> Array:
    return np.asarray(values, dtype=np.float64)


def _users(y: Counts, n: Counts, signed: bool) -> Array:
    """(2, users) array of numerators and denominators, checked."""
    numerators, denominators = _array(y), _array(n)
    if numerators.ndim != 1 or numerators.shape != denominators.shape:
        raise ValueError(f"per-user counts differ in shape: {numerators.shape} and {denominators.shape}")
    stacked = np.vstack([numerators, denominators])
    if not np.all(np.isfinite(stacked)) or np.any(stacked[int(signed) :] < 0):
        raise ValueError("per-user counts must be finite and not negative")
    return stacked
