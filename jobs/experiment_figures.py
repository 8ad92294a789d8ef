"""What every report of an experiment holds, of simulated and of real users: the statistics and the decision.

`Analysis.plain()` is the trunk (`arms`, `difference`, `srm`, `gates`, `flags`, ...); added are the decision
with its guardrails, AR at equal lengths, and what a run of this size can find. Pure: arms in, JSON value out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from echo_ray.errors import ConfigError
from echo_ray.experiment.analyse import AnalysisConfig, analyse
from echo_ray.experiment.decision import SAMPLE_RATIO, Guardrail, decide
from echo_ray.experiment.estimates import plain
from echo_ray.experiment.inputs import ORDER, Arm, Metric, aligned
from echo_ray.experiment.lengths import LENGTHS
from echo_ray.experiment.power import mde, power, sample_size, unit_sd
from echo_ray.experiment.proposals import Matched, matched

ROLES = ("control", "treatment")
COMMON = (
    Metric("acceptance_rate_with_partial", ("accepted", "partial"), ("shown",), 1, share=True),
    Metric("silent_rate", ("silent",), ("delivered",), share=True),
    Metric("abandoned_rate", ("cancelled",), ("requests",), -1, share=True),
    Metric("sentinel_leak_rate", ("leaks",), ("answered",), -1, share=True),
)
"""Metrics of every report beside `inputs.METRICS`."""


def figures(
    control: Arm,
    treatment: Arm,
    settings: AnalysisConfig,
    measured: Sequence[Metric],
    guardrails: Sequence[Guardrail],
    invalid: Sequence[str] = (),
) -> dict[str, Any]:
    """The common part of `report.json`. `invalid`: what makes the arms not comparable, beside an SRM.

    Raises what `analyse` raises.
    """
    value = analyse(control, treatment, settings, measured).plain()
    if settings.twins:
        treatment = aligned(control, treatment)
    invalid = [*([SAMPLE_RATIO] if value["srm"]["mismatch"] else []), *invalid]
    arms = [value["arms"][role] for role in ROLES]
    value["decision"] = plain(decide(arms, value["difference"], invalid=invalid, guardrails=guardrails))
    if invalid:
        # Arms that are not comparable claim nothing, whatever the tests say.
        value["gates"] = [gate | {"tested": False, "passed": False} for gate in value["gates"]]
    value["guardrails"] = {g.metric: {"margin": g.margin, "better": g.better} for g in guardrails}
    value["length_matched"] = plain(at_equal_lengths(control, treatment, settings.twins))
    value["power"] = {
        metric.name: sizes(control, treatment, metric, settings)
        for metric in measured
        if metric.name in ORDER and metric.name in value["difference"]
    }
    return value


def at_equal_lengths(control: Arm, treatment: Arm, twins: bool) -> Matched:
    """Acceptance rate at equal lengths, from the counts `shown_from_LENGTH` and `accepted_from_LENGTH`; twins
    in one order.
    """
    wanted = [f"{what}_from_{low}" for what in ("accepted", "shown") for low in LENGTHS]
    arms = (control, treatment)
    if not all(name in arm.counts for arm in arms for name in (*wanted, "accepted", "shown")):
        return Matched(None, reason="proposals were not counted by length")
    tables = [
        tuple(
            np.vstack([arm.counts[f"{what}_from_{low}"] for low in LENGTHS]) for what in ("accepted", "shown")
        )
        for arm in arms
    ]
    every = [np.vstack([arm.counts["accepted"], arm.counts["shown"]]) for arm in arms]
    return matched(
        (tables[0][0], tables[0][1]), (tables[1][0], tables[1][1]), (every[0], every[1]), paired=twins
    )


def sizes(control: Arm, treatment: Arm, metric: Metric, settings: AnalysisConfig) -> dict[str, Any]:
    """What a run with these users can find, by the spread between them, and what `metric.expected` needs.

    `mde`: smallest difference found four times in five; `power`: to find `expected`; `users_needed`: of both
    arms, each twin once, to find it four times in five.
    """
    one, two = control.ratio(metric), treatment.ratio(metric)
    assert one is not None
    assert two is not None
    users = len(control.users) + (0 if settings.twins else len(treatment.users))
    found: dict[str, Any] = {"users": users, "sd": None, "mde": None, "expected": metric.expected}
    found |= {"power": None, "users_needed": None, "reason": None}
    sd = unit_sd(one, two, paired=settings.twins)
    if not sd:
        return found | {"reason": "too few users, or no variation between them"}
    split = 0.5 if settings.twins else len(treatment.users) / users
    how: dict[str, Any] = {"paired": settings.twins, "split": split, "alpha": settings.alpha}
    found |= {"sd": sd, "mde": mde(sd, users, **how)}
    if metric.expected is not None:
        found["power"] = power(metric.expected, sd, users, **how)
        try:
            found["users_needed"] = sample_size(metric.expected, sd, **how)
        except ConfigError as error:
            found["reason"] = str(error)
    return found
