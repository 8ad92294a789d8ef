"""Simulated users of many experiments at once: beta-binomial acceptance, unequal exposures.

Every array is (runs, users). Base rate and intraclass correlation are those of public telemetry.
"""

from dataclasses import dataclass

import numpy as np

BASE, ICC = 0.257, 0.044
EXPOSURES, VARIATION = 164.0, 0.7


@dataclass(frozen=True)
class Crowd:
    """Numerators and denominators of two arms."""

    y_c: np.ndarray
    n_c: np.ndarray
    y_t: np.ndarray
    n_t: np.ndarray
    taste_c: np.ndarray
    taste_t: np.ndarray

    def arms(self):
        return self.y_c, self.n_c, self.y_t, self.n_t

    def run(self, number=0):
        """(control, treatment) of one run, (2, users) each."""
        one = [column[number].astype(float) for column in self.arms()]
        return np.vstack(one[:2]), np.vstack(one[2:])


def tastes(random, shape, base=BASE, icc=ICC):
    scale = 1 / icc - 1
    return random.beta(base * scale, (1 - base) * scale, shape)


def exposures(random, shape, mean=EXPOSURES, variation=VARIATION):
    """Negative binomial counts, at least 1, with about this mean and coefficient of variation."""
    shared = random.gamma(1 / variation**2, mean * variation**2, shape)
    return 1 + random.poisson(shared)


def crowd(seed, runs, users, *, twins=False, effect=0.0, base=BASE, icc=ICC, mean=EXPOSURES):
    """Arms of `users` each; twins share their taste. `effect` shifts everybody's rate."""
    random = np.random.default_rng(seed)
    shape = (runs, users)
    taste_c = tastes(random, shape, base, icc)
    taste_t = taste_c if twins else tastes(random, shape, base, icc)
    n_c = exposures(random, shape, mean)
    n_t = exposures(random, shape, mean)
    y_c = random.binomial(n_c, taste_c)
    y_t = random.binomial(n_t, np.clip(taste_t + effect, 0, 1))
    return Crowd(y_c, n_c, y_t, n_t, taste_c, taste_t)
