"""From tallies of simulated developers to the results of a study: what an arm reached, what two differ by.

Pure: rows of `tallies.jsonl` in, the parts of `study_result` out. Comparisons are of twins (the same users in
both arms, the same draws), by the estimators of `echo_ray.experiment`; their intervals are over users, one
training seed at a time, and `study_pool` puts seeds together.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from echo_ray.errors import SchemaError
from echo_ray.experiment.compare import compare_arms
from echo_ray.experiment.estimates import known
from echo_ray.experiment.inputs import METRICS, Arm, aligned
from echo_ray.metrics import interval, rate
from jobs.report_inputs import COUNTS, SPELLINGS

Row = Mapping[str, Any]


def arm_of(name: str, tallies: Iterable[Row]) -> Arm:
    """The counts of `report_inputs.COUNTS` by user. Raises SchemaError for a tally that lacks one."""
    rows = []
    for tally in tallies:
        found = {key: next((k for k in SPELLINGS.get(key, (key,)) if k in tally), None) for key in COUNTS}
        missing = [key for key, at in found.items() if at is None]
        if missing or "user" not in tally:
            raise SchemaError(f"study: a tally of {name} lacks {', '.join(missing or ['user'])}")
        rows.append(
            {"user": tally["user"], **{key: tally[at] for key, at in found.items() if at is not None}}
        )
    return Arm.of(name, rows)


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
    """`contrasts` entry of two arms and one seed: treatment less control, by metric, with the cross-checks.

    Raises SchemaError unless both have the same users.
    """
    treatment = aligned(control, treatment)
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
        },
    }


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else factor * value
