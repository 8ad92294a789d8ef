"""The analysis of one experiment: per-user counts of two arms in, a frozen result out. Pure.

The user is the unit. Twins (every user in both arms under common random numbers) or independent users
(randomised, or forced arms of a served experiment). Nobody is dropped: flagged users are listed, and the
comparison is made with everybody (primary) and again without them. AR never stands without GR, retained
characters and exposures: all metrics whose counts exist are compared.

Not covered: the decision (ship or not), which reads this result; effects by day; more than two arms, which
are pairs against the same control and need `multiplicity`; variance between training seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field

from echo_ray import metrics
from echo_ray.config import Config
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.experiment.compare import Comparison, How, compare_arms
from echo_ray.experiment.estimates import Interval, known, plain
from echo_ray.experiment.flags import Flag, Limits, Reason, find, imbalance
from echo_ray.experiment.inputs import METRICS, ORDER, Arm, Metric, aligned
from echo_ray.experiment.multiplicity import Gate, gates
from echo_ray.experiment.sequential import MIN_USERS
from echo_ray.experiment.srm import THRESHOLD, Srm, check_sessions, check_users

_OVERLAP = 0.05  # share of an arm's users in both arms from which the arms are not independent


class AnalysisConfig(Config):
    """How an experiment is analysed; fixed before anybody looks at it."""

    twins: bool = False
    """Every user worked in both arms; else the arms have users of their own."""
    seed: int = 0
    """Of bootstrap and permutations."""
    resamples: int = Field(10_000, ge=100)
    """Of bootstrap and permutations; time and p-values' resolution follow."""
    weights: dict[str, float] | None = None
    """Share of users that each arm was promised, by arm; None: equal."""
    expected: dict[str, float] = Field(default_factory=dict)
    """Difference worth finding by metric, for the sequential test; overrides the metric's own."""
    alpha: float = Field(0.05, gt=0, lt=1)
    """Level of the fixed sequence of claims and of false discoveries. Intervals are 95% always."""
    limits: Limits = Limits()
    """From where users are flagged."""

    def how(self) -> How:
        """What every comparison needs of it."""
        return {"paired": self.twins, "seed": self.seed, "resamples": self.resamples}


@dataclass(frozen=True, slots=True)
class Summary:
    """One arm."""

    name: str
    users: int
    flagged: int
    counts: dict[str, float]
    """Sums over users."""
    rates: dict[str, float | None]
    """By metric."""
    ci95: dict[str, Interval]
    """By metric: delta method over this arm's users."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that the counts say."""

    twins: bool
    arms: dict[str, Summary]
    """`control` and `treatment`."""
    difference: dict[str, Comparison]
    """By metric: treatment minus control."""
    srm: Srm
    srm_sessions: Srm | None
    """None without sessions, and for twins."""
    gates: tuple[Gate, ...]
    """What may be claimed, in the order fixed beforehand."""
    flags: tuple[Flag, ...]
    flag_imbalance: float | None
    """p-value that both arms have the same share of flagged users."""
    without_flagged: dict[str, Comparison] | None
    """The same comparisons without the flagged users; None when nobody is flagged."""
    missing: tuple[str, ...]
    """Metrics whose counts are not there."""
    notes: tuple[str, ...]
    """What a reader must know before believing the numbers."""

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; an arm's counts, rates and `RATE_ci95` lie flat beside its name."""
        value: dict[str, Any] = plain(self)
        for arm in value["arms"].values():
            arm |= arm.pop("counts")
            arm |= {f"{name}_ci95": ends for name, ends in arm.pop("ci95").items()}
            arm |= arm.pop("rates")
        return value


def analyse(
    control: Arm,
    treatment: Arm,
    config: AnalysisConfig | None = None,
    measured: Sequence[Metric] = METRICS,
) -> Analysis:
    """Compare two arms in every metric of `measured` that both have the counts of.

    Raises SchemaError when twins are not the same users, independent arms share users, or counts are
    negative; ConfigError for settings that name unknown arms or metrics. Few users, arms without exposures
    or without variation are no errors: their figures are None with a reason.
    """
    config = config or AnalysisConfig()
    measured = expecting(measured, config)
    how = config.how()
    if control.name == treatment.name:
        raise ConfigError(f"both arms are {control.name}: set experiment.control and experiment.treatment")
    crossed = _crossed(control, treatment, config)
    if config.twins:
        treatment = aligned(control, treatment)
    marked = _flags(control, treatment, crossed, config)
    found, missing = compare_arms(control, treatment, measured, **how)
    by_arm = {
        arm.name: {flag.user for flag in marked if flag.arm == arm.name} for arm in (control, treatment)
    }
    without = None
    if marked:
        out = {arm: set().union(*by_arm.values()) if config.twins else who for arm, who in by_arm.items()}
        kept = [arm.only([u not in out[arm.name] for u in arm.users]) for arm in (control, treatment)]
        without, _ = compare_arms(kept[0], kept[1], measured, **how)
    mismatch, sessions = _mismatch(control, treatment, config)
    flagged = (len(by_arm[control.name]), len(by_arm[treatment.name]))
    uneven = imbalance(flagged, (len(control.users), len(treatment.users)))
    by_name = {metric.name: metric for metric in measured}
    claims = [_claim(by_name[name], found[name]) for name in ORDER if name in found]
    return Analysis(
        twins=config.twins,
        arms={
            role: _summary(arm, count, measured)
            for role, arm, count in (("control", control, flagged[0]), ("treatment", treatment, flagged[1]))
        },
        difference=found,
        srm=mismatch,
        srm_sessions=sessions,
        gates=gates(claims, config.alpha),
        flags=marked,
        flag_imbalance=uneven,
        without_flagged=without,
        missing=missing,
        notes=_notes(found, mismatch, marked, uneven, missing),
    )


def expecting(measured: Sequence[Metric], config: AnalysisConfig) -> list[Metric]:
    """`measured` with the expected differences of `config`."""
    names = [metric.name for metric in measured]
    strange = sorted(set(config.expected) - set(names))
    if strange:
        raise ConfigError(f"experiment.expected.{strange[0]}: no such metric, wanted is {', '.join(names)}")
    bad = [name for name, size in config.expected.items() if not (np.isfinite(size) and size > 0)]
    if bad:
        raise ConfigError(f"experiment.expected.{bad[0]} = {config.expected[bad[0]]}: wanted is above 0")
    return [
        replace(metric, expected=config.expected.get(metric.name, metric.expected)) for metric in measured
    ]


def _claim(metric: Metric, comparison: Comparison) -> tuple[str, float | None, float | None]:
    gain = None if comparison.estimate is None else comparison.estimate * metric.better
    return metric.name, comparison.p_value, gain


def _crossed(control: Arm, treatment: Arm, config: AnalysisConfig) -> set[str]:
    """Users in both of two independent arms."""
    crossed = set() if config.twins else set(control.users) & set(treatment.users)
    if len(crossed) > _OVERLAP * min(len(control.users), len(treatment.users)):
        raise SchemaError(
            f"{len(crossed)} users are in both arms, so the arms are not independent: "
            "set experiment.twins=true if every user worked in both"
        )
    return crossed


def _flags(control: Arm, treatment: Arm, crossed: set[str], config: AnalysisConfig) -> tuple[Flag, ...]:
    found: list[Flag] = []
    for arm in (control, treatment):
        found += find(arm.name, arm.users, arm.counts, config.limits)
        found += [
            Flag(arm.name, user, Reason.BOTH_ARMS, f"in {control.name} and {treatment.name}")
            for user in arm.users
            if user in crossed
        ]
    return tuple(found)


def _mismatch(control: Arm, treatment: Arm, config: AnalysisConfig) -> tuple[Srm, Srm | None]:
    counts = {arm.name: len(arm.users) for arm in (control, treatment)}
    if config.twins:
        expected = {name: float(count) for name, count in counts.items()}
        return Srm(None, False, counts, expected, reason="twins: every user is in both arms"), None
    users = check_users(counts, config.weights)
    if control.sessions is None or treatment.sessions is None:
        return users, None
    both = {control.name: control.sessions, treatment.name: treatment.sessions}
    return users, check_sessions(both, config.weights)


def _summary(arm: Arm, flagged: int, measured: Sequence[Metric]) -> Summary:
    rates: dict[str, float | None] = {}
    intervals: dict[str, Interval] = {}
    for metric in measured:
        ratio = arm.ratio(metric)
        if ratio is None:
            continue
        rates[metric.name] = known(metrics.rate(*ratio))
        low, high = (known(end) for end in metrics.interval(*ratio))
        intervals[metric.name] = (low, high)
    sums = {name: float(values.sum()) for name, values in arm.counts.items()}
    return Summary(arm.name, len(arm.users), flagged, sums, rates, intervals)


def _notes(
    found: Mapping[str, Comparison],
    mismatch: Srm,
    marked: Sequence[Flag],
    uneven: float | None,
    missing: Sequence[str],
) -> tuple[str, ...]:
    notes = []
    if mismatch.mismatch:
        notes.append(
            f"Sample ratio mismatch (p = {mismatch.p_value:.2g}): one arm lost users, believe no difference."
        )
    for name, comparison in found.items():
        if comparison.agrees is False:
            notes.append(f"{name}: delta method and bootstrap disagree about the standard error.")
    least = min((min(comparison.users) for comparison in found.values()), default=0)
    if found and least < MIN_USERS:
        notes.append(
            f"{least} users in an arm: the plain interval is a little too narrow, read the corrected one "
            "(few) and the permutation test."
        )
    if marked:
        who = len({(flag.arm, flag.user) for flag in marked})
        notes.append(f"{who} users are flagged; the comparison without them is given beside.")
    if uneven is not None and uneven < THRESHOLD:
        notes.append(f"The arms differ in their share of flagged users (p = {uneven:.2g}).")
    if missing:
        notes.append(f"Not measured, for lack of counts: {', '.join(missing)}.")
    return tuple(notes)
