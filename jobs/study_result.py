"""The result of a study: `study.json`, a contract for machines, from what every arm and comparison came to.

Input is one plain value (`Results`), as the steps of the plan leave it:

    {"figure": "fig4", "title": ..., "command": ..., "seeds": [0, 1, 2], "correction": "holm",
     "policy": ..., "policy_hash": ..., "machine": ..., "seconds": 7200.0, "example": false,
     "version": ..., "model": ..., "settings": ..., "engines": {...},
     "experience": [{"split": "train", "users": 150, "sources": [...], "requests": 12000}],
     "arms": [
       {"name": "M5", "about": ..., "size": null, "data": {"samples": 2000, "target_tokens": 30000, ...},
        "measured": [
          {"seed": 0, "population": "held out", "users": 32, "shown": 900, "requests": 1500,
           "acceptance_rate": {"value": 0.2, "ci95": [0.18, 0.22]}, "generation_rate": {...},
           "mean_shown_chars": 20.0, "silent_rate": 0.3}],
        "bench": [{"seed": 0, "users": 24, "samples": 800, "bleu": {...}, "exact_match": {...}}],
        "facts": {"noise_found": 0.8}}],
     "contrasts": [
       {"treatment": "M5", "control": "M0'", "primary": true, "population": "held out", "seed": 0,
        "users": 32, "difference": {"acceptance_rate": {"estimate": 0.01, "ci95": [-0.01, 0.03]}}}]}

All rates are shares. An arm `base` stands for the model before training.

Invariants: AR never without GR; whatever could not be measured is null; no claim that the intervals do not
carry (`study_verdict`); NaN never enters the JSON. Not covered: running anything.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from echo_ray.errors import SchemaError
from echo_ray.experiment.multiplicity import false_discoveries, holm
from jobs import study_verdict
from jobs.report import plain
from jobs.study_config import Figure
from jobs.study_measure import EQUAL_LENGTHS
from jobs.study_paper import CLAIMS, depth
from jobs.study_pool import pooled, slope

VERSION = "1"
RATES = ("acceptance_rate", "generation_rate")
BENCH = ("bleu", "exact_match")
DIFFERENCES = (
    *(*RATES, EQUAL_LENGTHS, "retained_chars_per_minute", "time_saved"),
    *("mean_shown_chars", "exposures_per_typed_char"),
)
"""Metrics whose differences are pooled, where every seed has them."""
_FACTS = ("shown", "requests", "mean_shown_chars", "shown_per_100_typed", "silent_rate")

_PROVENANCE = (
    *("command", "seeds", "correction", "policy", "policy_hash", "machine", "seconds"),
    *("version", "model", "settings", "engines", "experience"),
)

Results = Mapping[str, Any]


def build(results: Results) -> dict[str, Any]:
    """Value of `study.json`.

    Raises SchemaError for a figure that is not known, an arm or a contrast that lacks a part, and a contrast
    of an arm that is not there.
    """
    figure: Any = results.get("figure")
    if figure not in get_args(Figure):
        raise SchemaError(f"study: figure {figure!r} is none of {', '.join(get_args(Figure))}")
    try:
        arms = [_arm(arm) for arm in results["arms"]]
        contrasts = _contrasts(results["contrasts"], results.get("correction", "holm"))
    except KeyError as error:
        raise SchemaError(f"study: the results lack {error.args[0]!r}") from None
    names = {arm["name"] for arm in arms}
    for contrast in contrasts:
        for role in ("treatment", "control"):
            if contrast[role] not in names:
                raise SchemaError(
                    f"study: the results compare {contrast[role]!r}, which is none of their arms"
                )
    claim = CLAIMS[figure]
    value: dict[str, Any] = {
        "version": VERSION,
        "figure": figure,
        "title": results.get("title") or claim.title,
        "example": bool(results.get("example")),
        "arms": arms,
        "contrasts": contrasts,
        "trend": _trend(arms),
        "paper": {
            "title": claim.title,
            "section": claim.source,
            "text": claim.text,
            "rows": [
                {**asdict(row), "depth": _depth_change(row.acceptance_rate, row.generation_rate)}
                for row in claim.rows
            ],
        },
        "provenance": {key: results.get(key) for key in _PROVENANCE},
    }
    value = plain(value)
    value["paragraph"] = study_verdict.paragraph(value)
    value["caveats"] = study_verdict.caveats(value)
    return value


def write(value: Mapping[str, Any], folder: Path) -> tuple[Path, Path]:
    """Store `study.json` and `study.html` in `folder`; returns their paths."""
    from jobs import study_page

    folder.mkdir(parents=True, exist_ok=True)
    data, page = folder / "study.json", folder / "study.html"
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    data.write_text(text + "\n", encoding="utf-8")
    page.write_text(study_page.render(value), encoding="utf-8")
    return data, page


def _arm(arm: Mapping[str, Any]) -> dict[str, Any]:
    populations: dict[str, list[Mapping[str, Any]]] = {}
    for run in arm.get("measured", ()):
        populations.setdefault(run["population"], []).append(run)
    bench = arm.get("bench", ())
    return {
        "name": arm["name"],
        "about": arm.get("about", ""),
        "size": arm.get("size"),
        "data": dict(arm.get("data", {})),
        "facts": dict(arm.get("facts", {})),
        "populations": {name: _measured(runs) for name, runs in populations.items()},
        "bench": _bench(bench) if bench else None,
    }


def _measured(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rates = {name: asdict(pooled([{**run[name], "users": run["users"]} for run in runs])) for name in RATES}
    facts = {name: _mean([run.get(name) for run in runs]) for name in _FACTS}
    both = [rates[name]["value"] for name in RATES]
    return {
        "users": min(run["users"] for run in runs),
        "seeds": len(runs),
        **rates,
        **facts,
        "depth": depth(both[0], both[1]) if both[0] and both[1] is not None and both[1] < 1 else None,
    }


def _bench(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "samples": min(run["samples"] for run in runs),
        "seeds": len(runs),
        **{name: asdict(pooled([{**run[name], "users": run["users"]} for run in runs])) for name in BENCH},
    }


def _contrasts(found: Sequence[Mapping[str, Any]], correction: str) -> list[dict[str, Any]]:
    """Comparisons pooled over seeds, the primary first, the others with p-values for many questions."""
    grouped: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for item in found:
        grouped.setdefault((item["treatment"], item["control"], item["population"]), []).append(item)
    result = []
    for (treatment, control, population), runs in grouped.items():
        differences = {
            name: pooled([{**run["difference"][name], "users": run["users"]} for run in runs])
            for name in DIFFERENCES
            if all(name in run["difference"] for run in runs)
        }
        missing = [name for name in RATES if name not in differences]
        if missing:
            raise SchemaError(f"study: the comparison of {treatment} with {control} lacks {missing[0]}")
        result.append(
            {
                "treatment": treatment,
                "control": control,
                "population": population,
                "primary": any(run.get("primary") for run in runs),
                "users": min(run["users"] for run in runs),
                "disagreements": sum(
                    run["difference"][name].get("agrees") is False for run in runs for name in RATES
                ),
                "difference": {
                    name: {**asdict(one), "direction": one.direction} for name, one in differences.items()
                },
            }
        )
    correct = false_discoveries if correction == "bh" else holm
    for metric in DIFFERENCES:
        # Each metric is a family of its own: claims are made of AR, and GR is read beside it.
        families: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for contrast in result:
            if metric in contrast["difference"]:
                families[contrast["primary"]].append(contrast["difference"][metric])
        for family in families.values():
            adjusted = correct({str(n): one["p_value"] for n, one in enumerate(family)})
            for n, one in enumerate(family):
                one["adjusted_p"] = adjusted[str(n)].q_value
                one["claimed"] = one["direction"] if adjusted[str(n)].rejected else 0
    return sorted(result, key=lambda contrast: not contrast["primary"])


def _trend(arms: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Slopes over the number of samples, where arms differ in it, by metric; null where there is none."""
    result: dict[str, Any] = {}
    for name in BENCH:
        points = [
            (arm["size"], value)
            for arm in arms
            if arm["size"] and arm["bench"]
            for value in arm["bench"][name]["by_seed"]
        ]
        found = slope(points)
        result[name] = None if found is None else asdict(found)
    return result


def _depth_change(acceptance: tuple[float, float], generation: tuple[float, float]) -> float:
    return depth(acceptance[1], generation[1]) / depth(acceptance[0], generation[0])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
