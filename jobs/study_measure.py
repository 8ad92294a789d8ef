"""From tallies of simulated developers to the results of a study: what an arm reached, what two differ by.

Pure: rows of `tallies.jsonl` in, the parts of `study_result` out. Comparisons are of twins (the same users in
both arms, the same draws), by the estimators of `echo_ray.experiment`; their intervals are over users, one
training seed at a time, and `study_pool` puts seeds together.
"""

from typing import Any

from echo_ray.experiment.compare import compare_arms
from echo_ray.experiment.estimates import known
from echo_ray.experiment.inputs import METRICS, Arm
from echo_ray.experiment.twins import with_time_saved
from echo_ray.metrics import interval, rate
from jobs.experiment_figures import at_equal_lengths

EQUAL_LENGTHS = "acceptance_rate_at_equal_lengths"


def measured(arm: Arm, seed: int, population: str) -> dict[str, Any]:
    """`measured` entry of one arm and seed: AR and GR with intervals over users, and how they came about."""
    sums = {name: float(values.sum()) for name, values in arm.counts.items()}
    rates: dict[str, Any] = {}
    for metric in METRICS:
        ratio = arm.ratio(metric)
        if ratio is not None:
            ends = [known(end) for end in interval(*ratio)]
            rates[metric.name] = {"value": known(rate(*ratio)), "ci95": ends}
    answers = sums["answered"] + sums["silent"]
    return {
        "seed": seed,
        "population": population,
        "users": len(arm.users),
        "requests": int(sums["requests"]),
        "shown": int(sums["shown"]),
        "acceptance_rate": rates["acceptance_rate"],
        "generation_rate": rates["generation_rate"],
        "mean_shown_chars": rates["mean_shown_chars"]["value"],
        "shown_per_100_typed": _scaled(rates["exposures_per_typed_char"]["value"], 100),
        "silent_rate": sums["silent"] / answers if answers else None,
    }


def compared(
    control: Arm,
    treatment: Arm,
    seed: int,
    population: str,
    *,
    primary: bool = False,
    resamples: int = 10_000,
) -> dict[str, Any]:
    """`contrasts` entry of two arms and one seed: treatment less control, by metric, with the cross-checks;
    `acceptance_rate_at_equal_lengths` has an estimate and an interval only, and needs counts by length.

    Raises SchemaError unless both have the same users.
    """
    control, treatment = with_time_saved(control, treatment)
    matched = at_equal_lengths(control, treatment, twins=True)
    # Tallies of earlier versions did not count by length.
    lengths = (
        {}
        if matched.estimate is None
        else {EQUAL_LENGTHS: {"estimate": matched.estimate, "ci95": list(matched.ci95)}}
    )
    found, _ = compare_arms(control, treatment, METRICS, paired=True, seed=seed, resamples=resamples)
    return {
        "treatment": treatment.name,
        "control": control.name,
        "primary": primary,
        "population": population,
        "seed": seed,
        "users": len(control.users),
        "difference": {
            name: {
                "estimate": one.estimate,
                "ci95": list(one.ci95),
                "p_value": one.p_value,
                "bootstrap_ci95": list(one.bootstrap_ci95),
                "permutation_p": one.permutation_p,
                "agrees": one.agrees,
            }
            for name, one in found.items()
        }
        | lengths,
    }


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else factor * value
