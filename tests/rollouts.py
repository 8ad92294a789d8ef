"""Many simulated rollouts at once: users arrive, are drawn into an arm, and bring requests from look to look.

Every array is (runs, users). Tastes, intraclass correlation and uneven use are those of `tests.crowd`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from echo_ray import metrics
from echo_ray.experiment.inputs import Arm
from echo_ray.experiment.rollout import Look
from tests.crowd import BASE, EXPOSURES, VARIATION, tastes

CHARS, TYPED, ASKED = 30, 4, 3
"""Characters of a proposal; typed ones for each accepted one; requests for each that is shown."""
ABANDONED, RETAINED, LEAKS = 0.15, 0.9, 2e-4
RATIOS = {
    "acceptance_rate": (("accepted",), ("shown",)),
    "generation_rate": (("accepted_chars",), ("accepted_chars", "typed_chars")),
    "abandoned_rate": (("cancelled",), ("requests",)),
    "retained_share": (("retained_chars",), ("accepted_chars",)),
    "sentinel_leak_rate": (("leaks",), ("requests",)),
}


@dataclass
class Seen:
    """One look at all runs."""

    in_treatment: np.ndarray
    arrived: np.ndarray
    counts: dict[str, np.ndarray]
    estimate: dict[str, np.ndarray] = field(default_factory=dict)
    se: dict[str, np.ndarray] = field(default_factory=dict)

    def look(self, run: int, outcome: str = "no_change", ship: bool = False) -> Look:
        """What the rule is shown of one run; the decision is the caller's."""
        here, treated = self.arrived[run], self.in_treatment[run]
        users = {"control": int(np.sum(here & ~treated)), "treatment": int(np.sum(here & treated))}
        found = {
            name: {
                "estimate": None if np.isnan(self.estimate[name][run]) else float(self.estimate[name][run]),
                "se": None if np.isnan(self.se[name][run]) else float(self.se[name][run]),
                "users": tuple(users.values()),
            }
            for name in RATIOS
        }
        return Look(users, found, outcome, ship)

    def arms(self, run: int) -> tuple[Arm, Arm]:
        """Both arms of one run, as an analysis wants them."""
        made = []
        for name, mine in (("control", ~self.in_treatment[run]), ("treatment", self.in_treatment[run])):
            who = np.flatnonzero(mine & self.arrived[run])
            counts = {key: values[run, who].astype(float) for key, values in self.counts.items()}
            made.append(Arm(name, tuple(f"u{number:04d}" for number in who), counts))
        return made[0], made[1]


def rollouts(
    seed: int, runs: int, users: int, looks: int, *, share: float = 0.5, effect: float = 0.0
) -> Iterator[Seen]:
    """What every look sees; `effect` shifts everybody's acceptance rate in the treatment.

    Half of the users are there at the first look, the others arrive evenly; each brings as many exposures
    until the end as in `tests.crowd`.
    """
    random = np.random.default_rng(seed)
    shape = (runs, users)
    treated = random.random(shape) < share
    base = tastes(random, shape)
    taste = np.clip(base + effect * treated, 0, 1)
    gives_up, keeps = tastes(random, shape, ABANDONED), tastes(random, shape, RETAINED)
    leaks = LEAKS * random.gamma(0.5, 2, shape)  # few people's work provokes them
    arrival = np.maximum(0, random.integers(-looks, looks, shape))
    daily = random.gamma(1 / VARIATION**2, EXPOSURES * VARIATION**2 / looks, shape)
    typing = random.gamma(4, TYPED * BASE * CHARS / 4, shape)
    names = ("shown", "accepted", "accepted_chars", "retained_chars", "typed_chars", "requests", "cancelled")
    counts = {name: np.zeros(shape) for name in (*names, "leaks")}
    for number in range(looks):
        arrived = arrival <= number
        shown = random.poisson(daily * arrived)
        accepted = random.binomial(shown, taste)
        requests = ASKED * shown
        new = {
            "shown": shown,
            "accepted": accepted,
            "accepted_chars": CHARS * accepted,
            "retained_chars": CHARS * random.binomial(accepted, keeps),
            "typed_chars": random.poisson(shown * typing),
            "requests": requests,
            "cancelled": random.binomial(requests, gives_up),
            "leaks": random.binomial(requests, np.clip(leaks, 0, 1)),
        }
        for name, values in new.items():
            counts[name] = counts[name] + values
        seen = Seen(treated, arrived, counts)
        for name, (above, below) in RATIOS.items():
            y, n = (sum(counts[key] for key in keys) for keys in (above, below))
            seen.estimate[name], seen.se[name] = _difference(y, n, treated)
        yield seen


def _difference(y: np.ndarray, n: np.ndarray, treated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Treatment minus control and its standard error; who is not in an arm brings it nothing."""
    found = []
    for mine in (~treated, treated):
        ratio, z = metrics.influence(y * mine, n * mine)
        size = mine.sum(axis=-1)
        # Zeros beside the arm's own users: the same sum of squares, with the arm's own number of users.
        squares = np.sum((z * size[:, None] / y.shape[-1]) ** 2, axis=-1)
        found.append((ratio, squares / (size * (size - 1))))
    (control, a), (treatment, b) = found
    return treatment - control, np.sqrt(a + b)
