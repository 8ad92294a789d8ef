"""One experiment in many groups, such as languages: a comparison each, false discoveries controlled. Pure.

Groups are questions of equal rank, so their p-values go through Benjamini-Hochberg, metric by metric. A user
with several languages is in several groups, which makes the tests positively dependent; that is allowed.
Not covered: partial pooling of small groups, differences between groups (that one language gains and
another does not is no proof that they differ).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from echo_ray.experiment.analyse import AnalysisConfig, expecting
from echo_ray.experiment.compare import Comparison, compare_arms
from echo_ray.experiment.inputs import METRICS, Arm, Metric, filled
from echo_ray.experiment.multiplicity import false_discoveries


@dataclass(frozen=True, slots=True)
class Grouped:
    """One metric in one group, with its false discovery control over all groups."""

    comparison: Comparison
    q_value: float | None
    """Benjamini-Hochberg over the groups."""
    rejected: bool


def analyse_groups(
    groups: Mapping[str, tuple[Arm, Arm]],
    config: AnalysisConfig | None = None,
    measured: Sequence[Metric] = METRICS[:2],
) -> dict[str, dict[str, Grouped]]:
    """Metric to group (a language, say) to comparison, for counts that were split by group beforehand.

    A twin who has nothing in a group in one arm counts there with zeros.
    """
    config = config or AnalysisConfig()
    measured = expecting(measured, config)
    found: dict[str, dict[str, Comparison]] = {metric.name: {} for metric in measured}
    for group, (control, treatment) in groups.items():
        if config.twins:
            everyone = sorted({*control.users, *treatment.users})
            control, treatment = filled(control, everyone), filled(treatment, everyone)
        for name, comparison in compare_arms(control, treatment, measured, **config.how())[0].items():
            found[name][group] = comparison
    result: dict[str, dict[str, Grouped]] = {}
    for name, by_group in found.items():
        controlled = false_discoveries(
            {group: comparison.p_value for group, comparison in by_group.items()}, config.alpha
        )
        result[name] = {
            group: Grouped(comparison, controlled[group].q_value, controlled[group].rejected)
            for group, comparison in by_group.items()
        }
    return result
