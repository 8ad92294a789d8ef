"""The experiment report: `report.json`, a contract for machines, and `report.html`, one page for people.

`build` turns typed inputs (`jobs.report_inputs`) into a plain JSON value, `render` draws that value,
`write` stores both. The page carries its styles and drawings and refuses every network access by its
content security policy.

Invariants: AR never appears without GR, retained characters, exposures and the denominator; NaN never
enters the JSON (null, with a reason beside it); the verdict is generated from the numbers
(`jobs.verdict`), nobody writes it. Rates, their difference and intervals: `echo_ray.metrics`.

Not covered: several rounds or more than two arms on one page; languages side by side.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from echo_ray import metrics
from echo_ray.errors import SchemaError
from jobs import charts, pages, verdict
from jobs.report_inputs import COUNTS, SPELLINGS, Arm, Inputs, Stage

VERSION = "1"


def build(inputs: Inputs) -> dict[str, Any]:
    """Value of `report.json`.

    Raises SchemaError when a tally lacks a field, or when twins are not the same users.
    """
    base, echo = _by_user(inputs.base, "base"), _by_user(inputs.echo, "echo")
    if inputs.twins and base.keys() != echo.keys():
        odd = sorted(base.keys() ^ echo.keys())[0]
        raise SchemaError(f"twins need the same users in both arms, but {odd!r} is in one only")
    report: dict[str, Any] = {
        "version": VERSION,
        "title": inputs.title,
        "language": inputs.language,
        "design": {"twins": inputs.twins, "unit": "user", "users": len(base.keys() | echo.keys())},
        "arms": {"base": _arm(inputs.base, base), "echo": _arm(inputs.echo, echo)},
        "difference": _differences(inputs, base, echo),
        "funnel": _funnel(inputs.funnel),
        "training": _training(inputs),
        "seconds": dict(inputs.seconds),
        "examples": [dataclasses.asdict(example) for example in inputs.examples],
        "provenance": {**dataclasses.asdict(inputs.provenance), "policy": inputs.policy},
        "policy_hash": inputs.policy_hash,
    }
    report = plain(report)
    report["outcome"] = verdict.outcome(report)
    report["verdict"] = verdict.sentence(report)
    report["reasons"] = verdict.reasons(report)
    report["caveats"] = _caveats(inputs, len(base))
    return report


def render(report: Mapping[str, Any]) -> str:
    """`report.html`: one self-contained page that draws a `build` value, also one read back from JSON."""
    environment = pages.environment()
    environment.filters |= {
        name: getattr(charts, name)
        for name in ("percent", "points", "signed", "count", "decimal", "p_value", "duration", "words")
    }
    headline = {key: report["difference"][key] for key in ("acceptance_rate", "generation_rate")}
    return environment.get_template("report_page.html").render(
        report=report,
        intervals=charts.intervals(headline),
        funnel=charts.funnel_bars(report["funnel"]),
        loss=charts.loss_chart(report["training"]["points"]),
        time=charts.time_bars(report["seconds"]),
        examples=[charts.example_view(example) for example in report["examples"]],
    )


def write(report: Mapping[str, Any], folder: Path) -> tuple[Path, Path]:
    """Store `report.json` and `report.html` in `folder`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    data, page = folder / "report.json", folder / "report.html"
    data.write_text(
        json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    page.write_text(render(report), encoding="utf-8")
    return data, page


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


def _by_user(arm: Arm, name: str) -> dict[str, dict[str, float]]:
    """Counts by user, in the order of their names so that twins line up."""
    users: dict[str, dict[str, float]] = {}
    for tally in arm.tallies:
        row = tally if isinstance(tally, Mapping) else _fields(tally)
        source = {key: next((k for k in SPELLINGS.get(key, (key,)) if k in row), "") for key in COUNTS}
        missing = [key for key, found in source.items() if not found]
        if missing or "user" not in row:
            raise SchemaError(f"tally of the {name} arm lacks {', '.join(missing or ['user'])}")
        counts = users.setdefault(str(row["user"]), dict.fromkeys(COUNTS, 0))
        for key, found in source.items():
            counts[key] += row[found]
    return dict(sorted(users.items()))


def _fields(tally: Any) -> dict[str, Any]:
    """Fields of a dataclass instance, slots included."""
    return {item.name: getattr(tally, item.name) for item in dataclasses.fields(tally)}


def _columns(users: Mapping[str, Mapping[str, float]]) -> dict[str, list[float]]:
    columns = {key: [counts[key] for counts in users.values()] for key in COUNTS}
    columns["written_chars"] = [
        a + t for a, t in zip(columns["accepted_chars"], columns["typed_chars"], strict=True)
    ]
    columns["minutes"] = [s / 60 for s in columns["active_s"]]
    columns["delivered"] = [r - c for r, c in zip(columns["requests"], columns["cancelled"], strict=True)]
    return columns


RATIOS = {
    "acceptance_rate": ("accepted", "shown", "nothing was shown"),
    "generation_rate": ("accepted_chars", "written_chars", "nothing was written"),
    "silent_rate": ("silent", "delivered", "nothing was delivered"),
    "shown_rate": ("shown", "requests", "nothing was requested"),
    "mean_shown_chars": ("shown_chars", "shown", "nothing was shown"),
    "retained_chars_per_minute": ("retained_chars", "minutes", "no time passed"),
}
"""Ratio metrics of an arm: numerator, denominator, and why there may be none."""


def _arm(arm: Arm, users: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    columns = _columns(users)
    values: dict[str, Any] = {"model": arm.model, "users": len(users)}
    values |= {key: sum(columns[key]) for key in COUNTS}
    reasons = {}
    for name, (y, n, why) in RATIOS.items():
        values[name] = metrics.rate(columns[y], columns[n])
        if math.isnan(values[name]):
            reasons[name] = why
    for name in ("acceptance_rate", "generation_rate"):
        y, n, why = RATIOS[name]
        values[f"{name}_ci95"] = metrics.interval(columns[y], columns[n])
        if math.isnan(values[f"{name}_ci95"][0]):
            reasons[f"{name}_ci95"] = reasons.get(name, "too few users, or no variation between them")
    return {**values, "reasons": reasons}


def _differences(
    inputs: Inputs, base: Mapping[str, Mapping[str, float]], echo: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    before, after = _columns(base), _columns(echo)
    result = {}
    for name, (y, n, _) in RATIOS.items():
        found = metrics.difference(
            before[y],
            before[n],
            after[y],
            after[n],
            paired=inputs.twins,
            seed=inputs.provenance.seed,
            resamples=inputs.resamples,
        )
        result[name] = dataclasses.asdict(found)
    return result


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


def _caveats(inputs: Inputs, users: int) -> list[str]:
    design = (
        f"Twins: the same {users} simulated users worked with both models under common random numbers."
        if inputs.twins
        else "Parallel arms: different simulated users worked with the two models."
    )
    return [
        "Developers are simulated: these are simulated acceptance and generation rates, not those of people.",
        f"Acceptance policy {inputs.policy} was fitted to public telemetry of human programmers and frozen "
        f"before any model was trained (hash {inputs.policy_hash}).",
        design,
        f"Language: {inputs.language} only.",
        "One trained model: the intervals cover users, not the luck of another training seed.",
        *inputs.caveats,
    ]
