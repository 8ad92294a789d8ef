"""The experiment report: `report.json`, a contract for machines, and `report.html`, one page for people.

`build` turns typed inputs (`jobs.report_inputs`) into a plain JSON value, `render` draws that value,
`write` stores both. The page carries its styles and drawings and refuses every network access by its
content security policy.

Invariants: AR never appears without GR, retained characters, exposures and the denominator; NaN never
enters the JSON (null, with a reason beside it); the verdict is generated from the numbers
(`jobs.report_words`), nobody writes it. Statistics and decision: `jobs.experiment_figures`.

Not covered: several rounds or more than two arms on one page; languages side by side.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from echo_ray.experiment.analyse import AnalysisConfig
from echo_ray.experiment.decision import SIMULATED_GUARDRAILS
from echo_ray.experiment.inputs import METRICS, Metric
from echo_ray.experiment.twins import SAVED_S, with_time_saved
from jobs import charts, experiment_view, pages, report_words, verdict
from jobs.experiment_figures import COMMON, figures
from jobs.report_inputs import Arm, Inputs, Stage, counted

VERSION = "1"
SIMULATED = (
    *METRICS,
    *COMMON,
    SAVED_S,
    Metric("retained_share", ("retained_chars",), ("accepted_chars",), 1, share=True),
    Metric("void_recall", ("silent_voids",), ("voids",), 1, share=True),
    Metric("fix_share", ("fix_s",), ("active_s",), -1),
)
"""Metrics of simulated users."""
_EMPTY = {
    "shown": "nothing was shown",
    "accepted_chars": "nothing was accepted or typed",
    "delivered": "nothing was delivered",
    "requests": "nothing was requested",
    "active_s": "no time passed",
    "voids": "there was no place to be silent at",
}
"""Why a rate does not exist, by what it is divided by."""
_HEADLINES = ("acceptance_rate", "generation_rate")


def build(inputs: Inputs) -> dict[str, Any]:
    """Value of `report.json`.

    Raises SchemaError when a tally lacks a field, when twins are not the same users, and when parallel arms
    share users.
    """
    base, echo = counted("base", inputs.base.tallies), counted("echo", inputs.echo.tallies)
    if inputs.twins:
        base, echo = with_time_saved(base, echo)
    settings = AnalysisConfig(twins=inputs.twins, seed=inputs.provenance.seed, resamples=inputs.resamples)
    found = figures(base, echo, settings, SIMULATED, SIMULATED_GUARDRAILS)
    arms = found.pop("arms")
    report: dict[str, Any] = {
        "version": VERSION,
        "title": inputs.title,
        "language": inputs.language,
        "design": {"twins": inputs.twins, "unit": "user", "users": len({*base.users, *echo.users})},
        "arms": {"base": _arm(inputs.base, arms["control"]), "echo": _arm(inputs.echo, arms["treatment"])},
        **found,
        "funnel": _funnel(inputs.funnel),
        "training": _training(inputs),
        "seconds": dict(inputs.seconds),
        "examples": [dataclasses.asdict(example) for example in inputs.examples],
        "provenance": {**dataclasses.asdict(inputs.provenance), "policy": inputs.policy},
        "policy_hash": inputs.policy_hash,
    }
    report = plain(report)
    report["outcome"] = report["decision"]["outcome"]
    report["gain"] = verdict.gain(report)
    report["verdict"] = report_words.sentence(report)
    report["reasons"] = report_words.reasons(report)
    report["caveats"] = report_words.caveats(inputs, report)
    return report


def render(report: Mapping[str, Any]) -> str:
    """`report.html`: one self-contained page that draws a `build` value, also one read back from JSON."""
    environment = pages.environment()
    environment.filters |= charts.FILTERS
    return environment.get_template("report_page.html").render(
        value=report,
        view=experiment_view.view(report),
        funnel=charts.funnel_bars(report["funnel"]),
        loss=charts.loss_chart(report["training"]["points"]),
        time=charts.time_bars(report["seconds"]),
        examples=[charts.example_view(example) for example in report["examples"]],
    )


def write(report: Mapping[str, Any], folder: Path) -> tuple[Path, Path]:
    """Store `report.json` and `report.html` in `folder`; returns their paths."""
    return pages.write(report, render(report), folder)


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: no NaN or infinity, no NumPy scalars, no lone surrogates."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, str):
        # Editors count in UTF-16 and may cut a pair in half; such text cannot be written as UTF-8.
        return value.encode("utf-8", "replace").decode("utf-8")
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _arm(arm: Arm, found: Mapping[str, Any]) -> dict[str, Any]:
    """Model, counts and rates; `reasons` says of those that are None why."""
    rates = {metric.name for metric in SIMULATED}
    values: dict[str, Any] = {
        key: int(value) if key not in rates and isinstance(value, float) and value.is_integer() else value
        for key, value in found.items()
    }
    reasons = {}
    for metric in SIMULATED:
        name = metric.name
        if name in values and values[name] is None:
            reasons[name] = _EMPTY.get(metric.below[0], "nothing to divide by")
        ends = values.get(f"{name}_ci95")
        if name in _HEADLINES and ends is not None and ends[0] is None:
            reasons[f"{name}_ci95"] = reasons.get(name, "too few users, or no variation between them")
    return {"model": arm.model, **values, "reasons": reasons}


def _funnel(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """Stages with `unaccounted`: rows that left without a reason, which should be none."""
    rows: list[dict[str, Any]] = []
    for stage in stages:
        previous = rows[-1] if rows else None
        comparable = previous is not None and "tokens" not in (stage.unit, previous["unit"])
        missing = (
            previous["rows"] - stage.rows - sum(stage.dropped.values()) if previous and comparable else 0
        )
        rows.append({**dataclasses.asdict(stage), "unaccounted": missing})
    return rows


def _training(inputs: Inputs) -> dict[str, Any]:
    curve = [{"step": p["step"], "train": p.get("train"), "held_out": p.get("held_out")} for p in inputs.loss]
    bad = sum(isinstance(v, float) and not math.isfinite(v) for point in curve for v in point.values())
    reason = f"{bad} loss values were not finite and are null" if bad else None
    return {"facts": dict(inputs.training), "points": curve, "reason": reason}
