"""Traits of one developer and their working days, drawn from the seed and the name, the same in every arm."""

import math
from dataclasses import dataclass
from typing import TypeVar

from simulator.draws import Draws, weighted

T = TypeVar("T")

SPEED_SD = 0.30
"""Spread of the users' typing speeds (standard deviation of the logarithm; section 3.3)."""
ROLE_OFFSET = 0.2
"""Juniors accept this much more easily, seniors less (logit) [A]."""
TASTE_SCALE = 1.7
"""Spread of the users' tastes, in units of the policy's (0.44 of the logit). Fitted: the spread of users' AR,
the one target of section 3.7 whose free knob it is; at the low AR of a small model the same spread of the
logit spreads AR less."""
LENIENT_SHARE = 0.5
"""Developers who keep an equivalent variant of what they meant [A]; the others restore it exactly."""
PATIENCE_SD = 0.25
"""Spread of the users' factors on the time that they look at a suggestion (log) [A]."""
ACTIVE_SD = 0.6
"""Spread of the active minutes of a day (log; section 3.3)."""
SESSION_MEDIAN_MIN, SESSION_SD = 10.4, 1.34
"""Length of a session: median 10.4, mean 25.5 minutes (section 1.3)."""
BREAK_MS = 900_000.0
"""Sessions are at least 15 minutes apart (section 1.3)."""
EPOCH_MS = 1_767_225_600_000.0  # 2026-01-01, any fixed day does
DAY_MS = 86_400_000.0
HOURS = ((9, 1.0), (10, 1.6), (11, 1.5), (12, 0.6), (13, 0.9), (14, 1.5), (15, 1.6), (16, 1.4), (17, 0.9),
         (18, 0.4), (20, 0.3), (21, 0.3))  # fmt: skip
"""Hours at which sessions begin, with weights [A]: two humps and a few evenings."""


@dataclass(frozen=True, slots=True)
class Person:
    """What differs between users (sections 3.3 and 3.5)."""

    user: str
    speed: float
    """Factor of the motor time; 1 is the median typist."""
    role: float
    """Offset of the role to the logit of P(accept): half of the users are juniors, half seniors [A]."""
    taste: float
    """Normal; the policy scales it to the user's own offset to the logit."""
    patience: float
    """Factor on the time spent looking at a suggestion."""
    lenient: bool
    """Keeps an equivalent variant of what was meant."""
    client: str
    """Name of the editor plug-in."""


@dataclass(frozen=True, slots=True)
class Shift:
    """One planned working session: its number, its day, its earliest begin (UTC ms), its active minutes."""

    number: int
    day: int
    start_ms: float
    minutes: float


def person(draws: Draws, clients: dict[str, float]) -> Person:
    """The developer named `draws.user`, with one of the weighted `clients`."""
    return Person(
        user=draws.user,
        speed=math.exp(SPEED_SD * draws.normal("speed")),
        role=ROLE_OFFSET if draws.unit("role") < 0.5 else -ROLE_OFFSET,
        taste=TASTE_SCALE * draws.normal("taste"),
        patience=math.exp(PATIENCE_SD * draws.normal("patience")),
        lenient=draws.unit("lenient") < LENIENT_SHARE,
        client=weighted(draws.unit("client"), sorted(clients.items())),
    )


def shifts(draws: Draws, days: int, active_minutes: float) -> list[Shift]:
    """The sessions of `days` days, in order; each day's minutes add up to a lognormal draw."""
    found: list[Shift] = []
    for day in range(days):
        left = draws.lognormal(active_minutes, ACTIVE_SD, "active minutes", at=day)
        parts: list[float] = []
        while left > 0:
            drawn = draws.lognormal(SESSION_MEDIAN_MIN, SESSION_SD, "session", at=day, occurrence=len(parts))
            parts.append(min(left, max(drawn, 1.0)))
            left -= parts[-1]
        hours = sorted(
            weighted(draws.unit("hour", at=day, occurrence=n), HOURS)
            + draws.unit("minute", at=day, occurrence=n)
            for n in range(len(parts))
        )
        for hour, minutes in zip(hours, parts, strict=True):
            start_ms = EPOCH_MS + DAY_MS * day + 3_600_000.0 * hour
            found.append(Shift(len(found), day, start_ms, minutes))
    return found
