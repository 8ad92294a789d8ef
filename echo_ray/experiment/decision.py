"""Ship or not: the one rule by which an experiment is judged, simulated or served. Pure.

Our choice of rule (a claim must survive every method that was run, and AR alone is gameable):

- a change counts only if the delta interval, the bootstrap interval and, where there is one, the permutation
  test all exclude zero in the same direction;
- *improved*: AR rose, GR's interval rules out a loss of more than one point, time saved rose where it was
  measured, and no guardrail is broken;
- *mixed*: AR and GR moved apart, or AR rose and one of the other conditions is not met;
- *worse*: AR fell and GR did not rise, or AR did not move and GR fell;
- *no_change*: everything else; *too_few_data*: too few users or exposures to run the rule at all;
- *no_claim*: the arms did not get the users that were promised (SRM), or were not served at the same time:
  no figure may be believed, whatever it is.

A guardrail is a margin on a metric: *held* when the interval rules out a harm beyond it, *broken* when the
whole interval lies beyond, *open* otherwise; open ones are told and do not decide, or small experiments
could never end. Only *improved* ships. Not covered: drift over days, differences between languages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MIN_USERS = 6
"""With fewer twins no sign-flip p-value can reach 0.05: the smallest is 2 / 2^5 = 0.0625."""
MIN_SHOWN = 100
"""Shown proposals per arm; below, acceptances are too few for a t interval (our choice)."""
GR_MARGIN = 0.01
"""Largest loss of GR that an improvement of AR may hide (one point)."""

SAMPLE_RATIO, NOT_CONCURRENT = "sample_ratio_mismatch", "arms_not_concurrent"
"""What makes arms not comparable."""

Values = Mapping[str, Any]


class Outcome(StrEnum):
    """What an experiment says (module docstring)."""

    IMPROVED = "improved"
    MIXED = "mixed"
    NO_CHANGE = "no_change"
    WORSE = "worse"
    TOO_FEW_DATA = "too_few_data"
    NO_CLAIM = "no_claim"


class State(StrEnum):
    """How a guardrail stands."""

    HELD = "held"
    BROKEN = "broken"
    OPEN = "open"
    UNKNOWN = "unknown"
    """Not measured, or without an interval."""


@dataclass(frozen=True, slots=True)
class Guardrail:
    """Largest harm to a metric that a gain may cost."""

    metric: str
    margin: float
    """In the metric's unit, positive."""
    better: int
    """1: more is better, so a fall is the harm; -1: less is better."""


GUARDRAILS = (
    Guardrail("abandoned_rate", 0.01, -1),
    Guardrail("retained_share", 0.02, 1),
    Guardrail("sentinel_leak_rate", 0.001, -1),
)
"""Of every experiment. Persistence and latency-abandon: section 5 of the simulated developer's specification;
leaks: one answer in a thousand (our choice)."""
SIMULATED_GUARDRAILS = (*GUARDRAILS, Guardrail("void_recall", 0.02, 1), Guardrail("fix_share", 0.01, -1))
"""Also void recall and the share of active time spent on repairs of accepted text, which need a truth that a
served log does not hold; margins of two points and one point (our choice)."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome and how each guardrail stands."""

    outcome: Outcome
    ship: bool
    guardrails: dict[str, State]
    unmet: tuple[str, ...] = ()
    """Why AR's rise is not enough; empty unless mixed."""
    invalid: tuple[str, ...] = ()
    """Why nothing may be claimed."""


def direction(difference: Values) -> int:
    """+1 or -1 when every method that was run says so, else 0."""
    low, high = difference["ci95"]
    boot_low, boot_high = difference["bootstrap_ci95"]
    if low is None or boot_low is None:
        return 0
    swapped = difference["permutation_p"]
    if swapped is not None and swapped > 0.05:
        return 0
    return int(low > 0 and boot_low > 0) - int(high < 0 and boot_high < 0)


def state(guardrail: Guardrail, difference: Values | None) -> State:
    """How `guardrail` stands; `difference` is None where the metric was not measured."""
    if difference is None or difference["estimate"] is None:
        return State.UNKNOWN
    low, high = difference["ci95"]
    if low is None:
        if difference["estimate"] != 0 and difference.get("se") != 0:
            return State.UNKNOWN
        # Arms without any variation between users differ by exactly what is there.
        low = high = difference["estimate"]
    worst, best = (-low, -high) if guardrail.better > 0 else (high, low)
    if worst < guardrail.margin:
        return State.HELD
    return State.BROKEN if best > guardrail.margin else State.OPEN


def decide(
    arms: Sequence[Values],
    difference: Mapping[str, Values],
    *,
    invalid: Sequence[str] = (),
    guardrails: Sequence[Guardrail] = (),
) -> Decision:
    """The decision from plain values: arms with `users` and `shown`, comparisons by metric as `Comparison`
    has them. `invalid`: what makes the arms not comparable (`SAMPLE_RATIO`, `NOT_CONCURRENT`).
    """
    states = {g.metric: state(g, difference.get(g.metric)) for g in guardrails}
    if invalid:
        return Decision(Outcome.NO_CLAIM, False, states, invalid=tuple(invalid))
    if any(arm["users"] < MIN_USERS or arm["shown"] < MIN_SHOWN for arm in arms):
        return Decision(Outcome.TOO_FEW_DATA, False, states)
    ar, gr = (direction(difference[name]) for name in ("acceptance_rate", "generation_rate"))
    unmet: tuple[str, ...] = ()
    if ar > 0:
        unmet = _unmet(difference, gr, states)
        found = Outcome.MIXED if unmet else Outcome.IMPROVED
    elif ar < 0:
        found = Outcome.MIXED if gr > 0 else Outcome.WORSE
    else:
        found = Outcome.WORSE if gr < 0 else Outcome.NO_CHANGE
    return Decision(found, found is Outcome.IMPROVED, states, unmet)


def _unmet(difference: Mapping[str, Values], gr: int, states: Mapping[str, State]) -> tuple[str, ...]:
    found = []
    generation = difference["generation_rate"]
    low = generation["ci95"][0]
    # Arms that wrote exactly alike have no interval, and no loss either.
    if (generation["estimate"] != 0) if low is None else low <= -GR_MARGIN:
        found.append("generation_rate_fell" if gr < 0 else "generation_rate_loss_not_ruled_out")
    saved = difference.get("time_saved")
    if saved is not None and direction(saved) <= 0:
        found.append("time_saved_not_above_zero")
    found += [f"{name}_broken" for name, found_state in states.items() if found_state is State.BROKEN]
    return tuple(found)
