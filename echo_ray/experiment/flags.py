"""Users who do not behave like people, as data with a reason each; nobody is dropped. Pure.

The analysis is returned with and without them. What flags a user may be the treatment's own work (a model
that nobody accepts), so the analysis with everyone is the primary one, and flags that are more frequent in
one arm are themselves a finding (`imbalance`). A count that cannot be (more accepted than shown) is flagged,
not repaired.

Our choice of limits; see `Limits`. Columns are optional: a rule without its columns finds nobody. Not
covered: one person under several pseudonyms, several people under one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from pydantic import Field
from scipy import stats

from echo_ray.config import Config
from echo_ray.experiment.estimates import Array


class Reason(StrEnum):
    """Why a user is flagged."""

    NO_EXPOSURE = "no_exposure"
    """Nothing was shown: the user cannot tell the arms apart."""
    ACCEPTS_ALL = "accepts_all"
    ACCEPTS_NONE = "accepts_none"
    REQUEST_RATE = "request_rate"
    """More requests per active second than typing can cause: a script."""
    TOO_FAST = "too_fast"
    """Most acceptances came before a human can have read the proposal."""
    BOTH_ARMS = "both_arms"
    """One of few users whom both of two independent arms met."""
    IMPOSSIBLE = "impossible"
    """More accepted than shown, or more characters accepted than shown: the counting is broken."""


class Limits(Config):
    """From where a user is flagged."""

    many_exposures: int = Field(100, ge=1)
    """Shown proposals from which accepting all or none is suspicious. With an acceptance rate of 0.26 and
    an intraclass correlation of 0.044, one user in 40,000 accepts none of 100."""
    requests_per_s: float = Field(10.0, gt=0)
    """Requests per active second, over all work. The fastest typists reach 10 keys a second, in bursts."""
    least_requests: int = Field(100, ge=1)
    """Requests from which that rate is judged."""
    reaction_ms: float = Field(120.0, ge=0)
    """Nobody reacts to what was painted sooner (simple visual reaction: 180 to 250 ms)."""
    chars_per_s: float = Field(250.0, gt=0)
    """Reading speed that nobody has: ten times silent reading (240 words a minute, Brysbaert 2019)."""
    least_accepted: int = Field(20, ge=1)
    """Acceptances of known visible time from which their speed is judged."""
    fast_share: float = Field(0.5, gt=0, le=1)
    """Share of those that must be too fast."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One reason for one user."""

    arm: str
    user: str
    reason: Reason
    detail: str
    """The counts behind it."""


def too_fast(visible_ms: Array, chars: Array, limits: Limits | None = None) -> np.ndarray:
    """Whether each acceptance came before its proposal can have been read; False for unknown (NaN) times."""
    limits = limits or Limits()
    return np.asarray(visible_ms < limits.reaction_ms + 1000 * chars / limits.chars_per_s)


def find(
    arm: str, users: Sequence[str], counts: Mapping[str, Array], limits: Limits | None = None
) -> tuple[Flag, ...]:
    """All flags of an arm, by user in the order given.

    Columns used where present: `shown`, `accepted`, `shown_chars`, `accepted_chars`, `requests`,
    `active_s`, and `timed_accepted`, `fast_accepted`: acceptances of known visible time and those among
    them that were `too_fast`.
    """
    limits = limits or Limits()
    rules = (_exposure, _always_never, _possible, _requests, _speed)
    found = [flag for rule in rules for flag in rule(counts, limits)]
    return tuple(
        Flag(arm, users[place], reason, detail) for place, reason, detail in sorted(found, key=lambda f: f[0])
    )


def imbalance(flagged: tuple[int, int], users: tuple[int, int]) -> float | None:
    """p-value that both arms flag the same share of users (Fisher's exact test); None for an empty arm."""
    if min(users) == 0:
        return None
    table = [[flagged[k], users[k] - flagged[k]] for k in (0, 1)]
    return float(stats.fisher_exact(table).pvalue)


_Found = list[tuple[int, Reason, str]]


def _have(counts: Mapping[str, Array], *names: str) -> bool:
    return all(name in counts for name in names)


def _exposure(counts: Mapping[str, Array], limits: Limits) -> _Found:
    if not _have(counts, "shown"):
        return []
    return [(int(i), Reason.NO_EXPOSURE, "0 shown") for i in np.flatnonzero(counts["shown"] == 0)]


def _always_never(counts: Mapping[str, Array], limits: Limits) -> _Found:
    if not _have(counts, "shown", "accepted"):
        return []
    shown, accepted = counts["shown"], counts["accepted"]
    many = shown >= limits.many_exposures
    return [
        (int(i), reason, f"{accepted[i]:g} of {shown[i]:g} shown were accepted")
        for reason, where in (
            (Reason.ACCEPTS_ALL, many & (accepted == shown)),
            (Reason.ACCEPTS_NONE, many & (accepted == 0)),
        )
        for i in np.flatnonzero(where)
    ]


def _possible(counts: Mapping[str, Array], limits: Limits) -> _Found:
    found: _Found = []
    for part, whole in (("accepted", "shown"), ("accepted_chars", "shown_chars")):
        if _have(counts, part, whole):
            found += [
                (int(i), Reason.IMPOSSIBLE, f"{part} {counts[part][i]:g} > {whole} {counts[whole][i]:g}")
                for i in np.flatnonzero(counts[part] > counts[whole])
            ]
    return found


def _requests(counts: Mapping[str, Array], limits: Limits) -> _Found:
    if not _have(counts, "requests", "active_s"):
        return []
    requests, seconds = counts["requests"], counts["active_s"]
    where = (requests >= limits.least_requests) & (requests > limits.requests_per_s * seconds)
    return [
        (int(i), Reason.REQUEST_RATE, f"{requests[i]:g} requests in {seconds[i]:g} active seconds")
        for i in np.flatnonzero(where)
    ]


def _speed(counts: Mapping[str, Array], limits: Limits) -> _Found:
    if not _have(counts, "timed_accepted", "fast_accepted"):
        return []
    timed, fast = counts["timed_accepted"], counts["fast_accepted"]
    where = (timed >= limits.least_accepted) & (fast > limits.fast_share * timed)
    return [
        (int(i), Reason.TOO_FAST, f"{fast[i]:g} of {timed[i]:g} acceptances before reading was possible")
        for i in np.flatnonzero(where)
    ]
