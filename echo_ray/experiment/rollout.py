"""What to do with a candidate that some of the users have: go on, take it back, or promote it. Pure.

One rule, asked at every look (`judge`), which keeps its errors however often anybody looks:

- **Back at once** when a watched metric is shown to be harmed, or the arms did not get their users. A metric
  is harmed when its whole confidence sequence (`sequential`) lies beyond the margin: 0 for AR, one point for
  GR, the guardrails' own; so what may ship is never taken back. Bonferroni: each metric has an equal part of
  `ALPHA`, and the test of the users (`srm.always_valid`) its `srm.THRESHOLD` of it. A candidate without any
  harm is taken back by mistake with a probability of at most `ALPHA`, over all looks and metrics together.
- **Promoted** only at the planned end, when the rule of every experiment (`decision`) says ship. The end is a
  moment fixed before the first look, whatever is seen, so its t test is made once: at most 2.5% of candidates
  that change nothing have an interval above zero, and looking before can only take candidates away. Our
  choice: promoting early by sequential intervals needs about twice the users for the same power, to save
  time where nobody is harmed by waiting.
- **Back at the end** without a claim. "No change shown" is no promotion.

The guarantee is that of the sequence: asymptotic in users, so looks count from `sequential.MIN_USERS` in each
arm. Not covered: harm to fewer users than that before the end; harm in one language only; faults that the log
does not show (`arms off` is for people who see one).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from echo_ray.experiment import sequential, srm
from echo_ray.experiment.decision import GR_MARGIN, GUARDRAILS, SAMPLE_RATIO
from echo_ray.experiment.estimates import NOWHERE, Interval

ALPHA = 0.05
"""Probability of taking back a candidate that harms nobody, over all looks."""

Values = Mapping[str, Any]


class Action(StrEnum):
    """What to do now."""

    GO_ON = "go_on"
    ROLL_BACK = "roll_back"
    PROMOTE = "promote"


@dataclass(frozen=True, slots=True)
class Watched:
    """A metric whose harm ends the rollout."""

    metric: str
    margin: float
    """Harm that is tolerated, in the metric's unit."""
    better: int
    """1: more is better, -1: less is better."""
    scale: float
    """Of the sequence, fixed here before anybody looks: a harm of this size is to be found early, at a small
    cost for smaller ones."""


WATCHED = (
    Watched("acceptance_rate", 0.0, 1, 0.05),
    Watched("generation_rate", GR_MARGIN, 1, 0.05),
    *(Watched(one.metric, one.margin, one.better, 5 * one.margin) for one in GUARDRAILS),
)
ALPHA_EACH = (ALPHA - srm.THRESHOLD) / len(WATCHED)
"""Probability that a watched metric is ever found harmed by mistake."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the log says at one look, of all requests since the start."""

    users: Mapping[str, int]
    """By arm."""
    difference: Mapping[str, Values]
    """By metric: `estimate`, `se` and `users` of treatment minus control, as `Comparison` has them."""
    outcome: str
    """Of `decision.decide`; read at the end only."""
    ship: bool


@dataclass(frozen=True, slots=True)
class Watch:
    """How a watched metric stands."""

    estimate: float | None
    sequence: Interval
    """Confidence sequence whose end on the side of harm errs with `ALPHA_EACH`, the other one too; no ends
    while nothing can be told."""
    harmed: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, and why."""

    action: Action
    reasons: tuple[str, ...] = ()
    """Metrics that are harmed, `sample_ratio_mismatch`, or the decision's outcome; empty while it goes on."""
    metrics: Mapping[str, Watch] = field(default_factory=dict)
    srm_p: float | None = None
    """Always valid."""


def judge(look: Look | None, weights: Mapping[str, float], ended: bool) -> Verdict:
    """What to do at this look; `weights`: share of the users that each arm was promised, `ended`: the planned
    end has come. `look` is None when nothing could be read: no reason to act before the end, and no claim at
    it.
    """
    if look is None:
        return Verdict(Action.ROLL_BACK, ("no_analysis",)) if ended else Verdict(Action.GO_ON)
    metrics = {one.metric: _watch(one, look.difference.get(one.metric)) for one in WATCHED}
    p_value = srm.always_valid(look.users, weights)
    wrong = [name for name, one in metrics.items() if one.harmed]
    if p_value <= srm.THRESHOLD:
        wrong.append(SAMPLE_RATIO)
    if wrong:
        return Verdict(Action.ROLL_BACK, tuple(wrong), metrics, p_value)
    if not ended:
        return Verdict(Action.GO_ON, (), metrics, p_value)
    action = Action.PROMOTE if look.ship else Action.ROLL_BACK
    return Verdict(action, (look.outcome,), metrics, p_value)


def _watch(watched: Watched, difference: Values | None) -> Watch:
    """How a metric stands; not harmed while it was not measured or too few users were seen."""
    if difference is None or difference["estimate"] is None:
        return Watch(None, NOWHERE, False)
    estimate, se = float(difference["estimate"]), difference["se"]
    if not se or min(difference["users"]) < sequential.MIN_USERS:
        return Watch(estimate, NOWHERE, False)
    # One side of the mixture alone (half normal) doubles its evidence there, to within 0.3% at these levels.
    half = float(sequential.half_width(np.array([se]), watched.scale, 2 * ALPHA_EACH)[0])
    best = watched.better * estimate + half
    return Watch(estimate, (estimate - half, estimate + half), best < -watched.margin)
