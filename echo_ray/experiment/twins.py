"""Time that twins save: the same work was done in both arms, so the difference of their active time. Pure.

Control saved nothing, treatment what each user took less than their twin; both of the seconds that control
took (`inputs.METRICS`, `time_saved`). Arms with users of their own did different work and have no such
figure. Not covered: time saved against no suggestions at all, which needs a third run (`jobs.bounds`).
"""

from dataclasses import replace

import numpy as np

from echo_ray.experiment.inputs import Arm, Metric, aligned

SAVED_S = Metric("time_saved_s", ("saved_s",), ("twins",), 1, signed=True)
"""Seconds saved per user; the share of the time is `time_saved` of `inputs.METRICS`."""


def with_time_saved(control: Arm, treatment: Arm) -> tuple[Arm, Arm]:
    """Twins with the counts `saved_s`, `reference_s` and `twins` (1 each), from `active_s`; treatment in the
    order of control. Raises SchemaError unless both have the same users; arms without `active_s` stay.
    """
    treatment = aligned(control, treatment)
    if "active_s" not in control.counts or "active_s" not in treatment.counts:
        return control, treatment
    reference = control.counts["active_s"]
    both = {"reference_s": reference, "twins": np.ones(len(control.users))}
    nothing, saved = np.zeros(len(control.users)), reference - treatment.counts["active_s"]
    return (
        replace(control, counts={**control.counts, **both, "saved_s": nothing}),
        replace(treatment, counts={**treatment.counts, **both, "saved_s": saved}),
    )
