"""Resampling users: the bootstrap and its BCa interval, and two permutation tests. Pure.

Users are resampled whole, with all their counts, so every dependence within a user survives. All draws are
keyed (`echo_ray.rng`) and the users are sorted first, so a result depends on the seed and on the data, not
on the order in which the users arrived.

- BCa, the bias-corrected and accelerated interval (Efron 1987): percentiles of the draws, shifted for bias
  and skewness. `scipy.stats.bootstrap` gives the same interval, but calls the statistic for every user left
  out; a ratio of sums needs only the users' linearised shares, and its draws are one gather and one sum.
- sign flip (twins): every user's two arms are swapped or not. Exact if the arms are exchangeable.
- label permutation (independent users): the arms' labels are dealt again. The statistic is studentised, so
  the test is exact if the arms are exchangeable, and still right for many users if only the two rates are
  equal and the variances or the sizes of the arms are not (Janssen 1997; Chung, Romano 2013).

Both tests enumerate when that takes fewer draws than `resamples`. Not covered: strata, blocks of time.
"""

import itertools
import math

import numpy as np
import numpy.typing as npt
from scipy import special

from echo_ray.rng import digest

Array = npt.NDArray[np.float64]

CHUNK = 4_000_000  # resampled cells held at once: 32 MB
NORMAL_95 = float(special.ndtri(0.975))
"""Reach of a 95% interval in standard errors of a normal distribution."""


def resample(columns: Array, resamples: int, seed: int, key: str) -> Array:
    """Return sums of each row of `columns` over users drawn with replacement: (rows, resamples)."""
    columns = columns[:, np.lexsort(columns)]
    users = columns.shape[1]
    random = np.random.default_rng(digest(seed, "bootstrap", key))
    sums = np.empty((columns.shape[0], resamples))
    step = max(1, CHUNK // users)
    for start in range(0, resamples, step):
        picked = random.integers(0, users, (min(step, resamples - start), users))
        for row, column in enumerate(columns):
            sums[row, start : start + step] = column[picked].sum(axis=1)
    return sums


def bca(draws: Array, estimate: float, shares: Array, reach: float = NORMAL_95) -> tuple[float, float]:
    """Efron's interval from resampled values of a figure that was `estimate`.

    `shares`: what each user adds to the error of the figure (its linearised influence, or the jackknife's
    mean less the value without the user); only their skewness matters. `reach`: half width in normal
    standard errors; wider for few users (Hesterberg 2015).
    """
    below = float(np.mean(draws < estimate) + 0.5 * np.mean(draws == estimate))
    shift = float(special.ndtri(np.clip(below, 1 / len(draws), 1 - 1 / len(draws))))
    spread = float(np.sum(shares**2)) ** 1.5
    acceleration = float(np.sum(shares**3)) / (6 * spread) if spread > 0 else 0.0
    levels = []
    for z in (shift - reach, shift + reach):
        scale = 1 - acceleration * z
        # Past the pole of the correction no percentile is far enough: the extreme draw stands.
        levels.append(float(special.ndtr(shift + z / scale)) if scale > 0 else float(z > 0))
    low, high = np.quantile(draws, sorted(levels))
    return float(low), float(high)


def sign_flip(base: Array, echo: Array, seed: int, resamples: int) -> float:
    """Two-sided p-value of a difference of ratios when every user's arms may be swapped.

    `base`, `echo`: (2, users), numerators and denominators of the same users.
    """
    stacked = np.vstack([base, echo])
    stacked = stacked[:, np.lexsort(stacked)]
    base, echo = stacked[:2], stacked[2:]
    users = base.shape[1]
    observed = abs(float(echo[0].sum() / echo[1].sum() - base[0].sum() / base[1].sum()))
    exact = users < resamples.bit_length()
    total = 1 << users if exact else resamples
    random = np.random.default_rng(digest(seed, "sign flip"))
    extreme = 0
    step = max(1, CHUNK // users)
    for start in range(0, total, step):
        count = min(step, total - start)
        if exact:
            swap = (np.arange(start, start + count)[:, None] >> np.arange(users)) & 1
        else:
            swap = random.integers(0, 2, (count, users))
        moved = (echo - base) @ swap.T.astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            y_base, n_base = base.sum(axis=1)[:, None] + moved
            y_echo, n_echo = echo.sum(axis=1)[:, None] - moved
            swapped = np.abs(y_echo / n_echo - y_base / n_base)
        # Negated so that NaN (an arm emptied by the swap) counts against the effect.
        extreme += int(np.sum(~(swapped < observed - 1e-12)))
    # The random sample counts the observed assignment too, else p could be 0 (Phipson, Smyth 2010).
    return extreme / total if exact else (extreme + 1) / (total + 1)


def relabel(base: Array, echo: Array, seed: int, resamples: int) -> float | None:
    """Two-sided p-value of a difference of ratios when the labels of the arms are dealt again.

    `base`, `echo`: (2, users), numerators and denominators; the arms keep their sizes. None with fewer than
    two users in an arm, or when an arm has no denominator or no variation.
    """
    size, users = base.shape[1], base.shape[1] + echo.shape[1]
    if min(size, users - size) < 2:
        return None
    labels = np.repeat([1.0, 0.0], [size, users - size])[None, :]
    stacked = np.hstack([base, echo])
    observed = float(_studentised(stacked, labels)[0])
    if not math.isfinite(observed):
        return None
    order = np.lexsort((labels[0], *stacked))
    stacked, labels = stacked[:, order], labels[:, order]
    exact = math.comb(users, size) <= resamples
    if exact:
        dealt = np.zeros((math.comb(users, size), users))
        for row, picked in enumerate(itertools.combinations(range(users), size)):
            dealt[row, list(picked)] = 1.0
        return _as_extreme(stacked, dealt, observed) / len(dealt)
    random = np.random.default_rng(digest(seed, "labels"))
    extreme = 0
    step = max(1, CHUNK // users)
    for start in range(0, resamples, step):
        rows = np.broadcast_to(labels, (min(step, resamples - start), users))
        extreme += _as_extreme(stacked, random.permuted(rows, axis=1), observed)
    return (extreme + 1) / (resamples + 1)


def _as_extreme(stacked: Array, labels: Array, observed: float) -> int:
    t = np.abs(_studentised(stacked, labels))
    return int(np.sum(~(t < abs(observed) * (1 - 1e-9) - 1e-12)))


def _studentised(stacked: Array, labels: Array) -> Array:
    """Difference of ratios over its delta-method error for each row of `labels` (1: first arm)."""
    y, n = stacked
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = y.sum() / n.sum()
        # Taken from the pooled ratio, the residuals add up without cancellation.
        rest = y - pooled * n
        features = np.vstack([np.ones_like(n), rest, n, rest**2, rest * n, n**2])
        first = labels @ features.T
        arms = []
        for count, e, d, ee, en, nn in (first.T, (features.sum(axis=1) - first).T):
            ratio = e / d
            squares = ee - 2 * ratio * en + ratio**2 * nn
            # A residue of rounding is no variation.
            squares = np.where(squares > 1e-12 * (ee + nn), squares, 0.0)
            arms.append((ratio, squares * count / (count - 1) / d**2))
        return np.asarray((arms[1][0] - arms[0][0]) / np.sqrt(arms[0][1] + arms[1][1]))
