"""One metric, two arms: the difference by every method that applies, side by side. Pure.

The primary interval and p-value are the delta method's (`echo_ray.metrics`); the bootstrap and the
permutation test are cross-checks, CUPED and post-stratification sharper answers where their data exist, the
sequential look the one that may be repeated, and the naive test is the wrong one, shown to be seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from echo_ray import metrics
from echo_ray.experiment.adjust import Adjusted, cuped, post_stratify
from echo_ray.experiment.estimates import NOWHERE, Array, Estimate, Interval, known, relative
from echo_ray.experiment.few import corrected
from echo_ray.experiment.inputs import Arm, Metric
from echo_ray.experiment.naive import Naive, two_proportions
from echo_ray.experiment.sequential import Sequential, look
from echo_ray.resampling import relabel


@dataclass(frozen=True, slots=True)
class Comparison:
    """Treatment minus control of one metric. What does not exist is None, with a reason."""

    estimate: float | None
    """In the metric's unit: 0.01 is one point of a rate."""
    ci95: Interval
    """Delta method, t: the primary interval."""
    p_value: float | None
    """Two-sided t test of the delta method: the primary test."""
    se: float | None
    method: str
    users: tuple[int, int]
    """Control, treatment; users without exposures included."""
    control: float | None
    treatment: float | None
    relative: Estimate
    """Lift on the log scale: 0.05 is 5% more than control."""
    few: Estimate
    """For few users: `echo_ray.experiment.few`."""
    bootstrap_ci95: Interval
    """BCa over users."""
    bootstrap_se: float | None
    permutation_p: float | None
    """Sign flip for twins, studentised relabelling for independent users."""
    agrees: bool | None
    """Delta and bootstrap standard errors are close (`metrics.AGREEMENT`)."""
    cuped: Adjusted | None = None
    """None without a pre-period."""
    stratified: Adjusted | None = None
    """None without strata."""
    sequential: Sequential | None = None
    naive: Naive | None = None
    """None for metrics that are no proportion."""
    reason: str | None = None


def compare(
    metric: Metric,
    control: Array,
    treatment: Array,
    *,
    paired: bool,
    seed: int = 0,
    resamples: int = 10_000,
    before: tuple[Array, Array] | None = None,
    strata: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Comparison:
    """All estimates for one metric from (2, users) numerators and denominators, twins in the same order.

    `before`: the same arrays of the pre-period; `strata`: a label for every user, known before assignment.
    """
    found = metrics.difference(
        *control, *treatment, paired=paired, seed=seed, resamples=resamples, signed=metric.signed
    )
    estimate, se = known(found.estimate), known(found.se)
    p_value = known(found.p_value)
    permuted = found.permutation_p
    if not paired and p_value is not None:
        permuted = relabel(control, treatment, seed, resamples)
    return Comparison(
        estimate=estimate,
        ci95=_interval(found.ci95),
        p_value=p_value,
        se=se,
        method=found.method,
        users=found.users,
        control=known(metrics.rate(*control)),
        treatment=known(metrics.rate(*treatment)),
        relative=relative(control, treatment, paired=paired),
        few=corrected(control, treatment, paired=paired),
        bootstrap_ci95=_interval(found.bootstrap_ci95),
        bootstrap_se=known(found.bootstrap_se),
        permutation_p=permuted,
        agrees=found.agrees,
        cuped=None if before is None else cuped(control, treatment, *before, paired=paired),
        stratified=None if strata is None else post_stratify(control, treatment, *strata, paired=paired),
        sequential=look(estimate, se, metric.expected, min(found.users)),
        naive=two_proportions(control, treatment, se) if metric.share else None,
        reason=found.reason,
    )


class How(TypedDict):
    """What all comparisons of an experiment share."""

    paired: bool
    seed: int
    resamples: int


def compare_arms(
    control: Arm, treatment: Arm, measured: Sequence[Metric], *, paired: bool, seed: int, resamples: int
) -> tuple[dict[str, Comparison], tuple[str, ...]]:
    """Comparisons by metric, and the names of the metrics that an arm lacks counts for. Twins are aligned."""
    found: dict[str, Comparison] = {}
    missing = []
    strata = None
    if control.strata is not None and treatment.strata is not None:
        strata = (control.strata, treatment.strata)
    for metric in measured:
        one, two = control.ratio(metric), treatment.ratio(metric)
        if one is None or two is None:
            missing.append(metric.name)
            continue
        earlier = (control.ratio(metric, before=True), treatment.ratio(metric, before=True))
        found[metric.name] = compare(
            metric,
            one,
            two,
            paired=paired,
            seed=seed,
            resamples=resamples,
            before=None if earlier[0] is None or earlier[1] is None else (earlier[0], earlier[1]),
            strata=strata,
        )
    return found, tuple(missing)


def _interval(ends: tuple[float, float]) -> Interval:
    low, high = (known(end) for end in ends)
    return NOWHERE if low is None or high is None else (low, high)
