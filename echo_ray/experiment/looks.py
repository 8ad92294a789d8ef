"""A few planned looks: O'Brien-Fleming bounds by alpha spending. Pure.

For a decision at looks fixed beforehand, instead of at one horizon or at will (`sequential`). The spending
function of Lan and DeMets (1983) of O'Brien-Fleming type spends `2 - 2 Phi(z(alpha / 4) / sqrt(t))` of each
side's alpha / 2 until information fraction t, so early looks stop for overwhelming differences only and the
last one costs almost nothing: its level is 0.042 of 0.05 for five looks. Critical values solve the
probability of a first crossing by a Brownian motion, integrated from look to look (Armitage, McPherson, Rowe
1969).

Information is 1 / se^2; with users who arrive evenly the fraction is that of users. A look that comes at
another fraction than planned takes its bound from the fractions really used so far. Not covered: stopping
for futility, an interval adjusted for having stopped early (the estimate is then too large on average).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from echo_ray.errors import ConfigError
from echo_ray.experiment.estimates import Array

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(160)
_FARTHEST = 12.0  # critical values beyond this are never crossed


@dataclass(frozen=True, slots=True)
class Look:
    """One planned look."""

    fraction: float
    """Information at the look, of that at the end."""
    z: float
    """Stop when the difference is this many standard errors from zero, on either side."""
    level: float
    """The same as a two-sided p-value: stop when that of the t test is at most this."""
    spent: float
    """Probability of a false stop up to here."""


def obrien_fleming(fractions: Sequence[float], alpha: float = 0.05) -> tuple[Look, ...]:
    """Bounds for looks at rising information fractions, the last at most 1.

    Raises ConfigError for fractions that do not rise between 0 and 1.
    """
    times = np.asarray(fractions, dtype=np.float64)
    if times.size == 0 or not (times[0] > 0 and times[-1] <= 1 and np.all(np.diff(times) > 0)):
        raise ConfigError(
            f"looks at {list(fractions)} are refused: wanted are rising fractions above 0 and up to 1"
        )
    if not 0 < alpha < 1:
        raise ConfigError(f"alpha = {alpha} is refused: wanted is a number between 0 and 1")
    looks: list[Look] = []
    nodes, mass = np.zeros(1), np.ones(1)  # where the motion is, and with what probability, unless stopped
    before = spent = 0.0
    for time in times.tolist():
        goal = float(2 * special.ndtr(special.ndtri(alpha / 4) / np.sqrt(time))) * 2
        step = float(np.sqrt(time - before))

        due = goal - spent
        reach = _FARTHEST * float(np.sqrt(time))
        given = (nodes, mass, step, due)
        bound = reach
        if _excess(reach, *given) < 0:
            bound = float(optimize.brentq(_excess, 0.0, reach, args=given, xtol=1e-12))
        spent += due + _excess(bound, *given)
        z = bound / float(np.sqrt(time))
        looks.append(Look(time, z, float(2 * special.ndtr(-z)), spent))
        # Beyond eight standard deviations there is nothing to integrate.
        edge = min(bound, 8 * float(np.sqrt(time)))
        places = edge * _NODES
        density = np.exp(-0.5 * ((places[:, None] - nodes) / step) ** 2) @ mass / (step * np.sqrt(2 * np.pi))
        nodes, mass, before = places, edge * _WEIGHTS * density, time
    return tuple(looks)


def _excess(bound: float, nodes: Array, mass: Array, step: float, due: float) -> float:
    """Probability of crossing `bound` first in this step, on either side (by symmetry), beyond `due`."""
    return float(2 * mass @ special.ndtr((nodes - bound) / step)) - due
