"""Sample ratio mismatch: did the arms get the users that the assignment promised? Pure.

Pearson's chi-square of the users per arm against the weights; below `THRESHOLD` something between
assignment and log loses users of one arm, and no difference of that experiment may be believed (Fabijan et
al. 2019). Check at assignment: shown proposals per user are moved by the treatment and are no SRM check.

Sessions come in bundles of a user, who is what was assigned, so their chi-square is divided by the design
effect `sum(s^2) / sum(s)` of sessions per user (Rao, Scott 1981): exact variance of the sum when each user
is assigned with the arm's weight. Without it, bundles alone raise false alarms. A treatment that makes
people come back more often moves sessions too, so of the two checks that on users decides.

Whoever looks again and again takes `always_valid` (Lindon, Malek 2022, "Anytime-valid inference for
multinomial count data"): the likelihood ratio of the users in their order against a Dirichlet mixture around
the weights is a martingale when the assignment is right, so it ever exceeds 1 / alpha with a probability of
at most alpha. Exact, from the first user on.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from echo_ray.errors import ConfigError

THRESHOLD = 0.0005
"""p-value below which the experiment stops."""
_MIN_EXPECTED = 5.0
_CONCENTRATION = 100.0
"""Of the mixture in `always_valid`: shares about five points from those promised (our choice). It costs time
to detection, never validity."""


@dataclass(frozen=True, slots=True)
class Srm:
    """Observed against expected arms."""

    p_value: float | None
    """None when an arm is expected to have too few users for the approximation."""
    mismatch: bool
    """p_value below `THRESHOLD`."""
    observed: dict[str, int]
    expected: dict[str, float]
    design_effect: float = 1.0
    """By how much the chi-square was divided."""
    reason: str | None = None


def check_users(counts: Mapping[str, int], weights: Mapping[str, float] | None = None) -> Srm:
    """Users per arm against weights (any positive numbers; None: equal)."""
    return _check(counts, weights, 1.0)


def check_sessions(
    sessions: Mapping[str, Sequence[float] | np.ndarray], weights: Mapping[str, float] | None = None
) -> Srm:
    """Sessions of every user, by arm, against weights."""
    every = {arm: np.asarray(values, dtype=np.float64) for arm, values in sessions.items()}
    total = sum(float(values.sum()) for values in every.values())
    squares = sum(float((values**2).sum()) for values in every.values())
    # Fewer sessions than users (users without one) must not make the check keener than that on users.
    effect = max(1.0, squares / total) if total else 1.0
    return _check({arm: int(values.sum()) for arm, values in every.items()}, weights, effect)


def always_valid(counts: Mapping[str, int], weights: Mapping[str, float] | None = None) -> float:
    """p-value of the users per arm that stays valid however often it is asked for while users arrive."""
    weights = _weights(counts, weights)
    seen = np.array([counts[arm] for arm in counts], dtype=np.float64)
    share = np.array([weights[arm] for arm in counts]) / sum(weights.values())
    prior = _CONCENTRATION * share
    grown = np.sum(special.gammaln(prior + seen) - special.gammaln(prior))
    whole = special.gammaln(_CONCENTRATION + seen.sum()) - special.gammaln(_CONCENTRATION)
    return math.exp(min(0.0, -float(grown - whole - np.sum(seen * np.log(share)))))


def _weights(counts: Mapping[str, int], weights: Mapping[str, float] | None) -> Mapping[str, float]:
    """The weights, checked. Raises ConfigError."""
    weights = dict.fromkeys(counts, 1.0) if weights is None else weights
    if len(counts) < 2 or set(weights) != set(counts):
        raise ConfigError(
            f"weights are for {', '.join(sorted(weights)) or 'no arm'}, but the arms are "
            f"{', '.join(sorted(counts))}: give experiment.weights one number for each of two or more arms"
        )
    bad = next((arm for arm, w in weights.items() if not (math.isfinite(w) and w > 0)), None)
    if bad is not None:
        raise ConfigError(f"weight {weights[bad]} of arm {bad} is not positive: set experiment.weights")
    return weights


def _check(counts: Mapping[str, int], weights: Mapping[str, float] | None, effect: float) -> Srm:
    weights = _weights(counts, weights)
    total = sum(counts.values())
    whole = sum(weights.values())
    observed = {arm: int(count) for arm, count in counts.items()}
    expected = {arm: total * weights[arm] / whole for arm in counts}
    if min(expected.values()) / effect < _MIN_EXPECTED:
        return Srm(
            None, False, observed, expected, effect, "fewer than 5 expected in an arm: too few to check"
        )
    squared = float(stats.chisquare(list(observed.values()), list(expected.values())).statistic)
    p_value = float(stats.chi2.sf(squared / effect, len(observed) - 1))
    return Srm(p_value, p_value < THRESHOLD, observed, expected, effect)
