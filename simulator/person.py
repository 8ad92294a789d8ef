"""Traits of one developer, drawn from the seed and the name, the same in every arm."""

import math
from dataclasses import dataclass

from simulator import policy, typing_model
from simulator.draws import Draws


@dataclass(frozen=True, slots=True)
class Person:
    """What differs between users (sections 3.3 and 3.5)."""

    user: str
    speed: float
    """Factor of the motor time; 1 is the median typist."""
    taste: float
    """Own offset plus role offset to the logit of P(accept)."""
    start_ms: float
    """Virtual start of the first session, UTC milliseconds."""


_EPOCH_MS = 1_767_225_600_000.0  # 2026-01-01, any fixed day does
_DAY_MS = 8 * 3_600_000.0


def person(draws: Draws) -> Person:
    """The developer named `draws.user`; half of them are juniors, half seniors [A]."""
    role = policy.ROLE_OFFSET if draws.unit("role") < 0.5 else -policy.ROLE_OFFSET
    return Person(
        user=draws.user,
        speed=math.exp(typing_model.SPEED_SD * draws.normal("speed")),
        taste=role + policy.TASTE_SD * draws.normal("taste"),
        start_ms=_EPOCH_MS + _DAY_MS * draws.unit("start"),
    )
