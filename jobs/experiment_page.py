"""The page about a served A/B: `report.json` and `report.html` on disk, and the rows that the template draws.

Drawn from the `report.json` value alone, also from one read back. Words and figures are `experiment_words`,
geometry is `charts`; the template escapes every string and loads nothing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs import charts, pages
from jobs import experiment_words as words
from jobs.charts import count, percent, points
from jobs.experiment_words import text

__all__ = ["render", "text", "write"]

Value = Mapping[str, Any]

BADGES = {
    "improved": ("▲", "good"),
    "worse": ("▼", "bad"),
    "mixed": ("◆", "warn"),
    "no_change": ("●", "even"),
    "too_few_data": ("○", "even"),
    "no_claim": ("✕", "bad"),
}
"""Outcome: sign and colour."""
_STATES = {"held": "good", "broken": "bad", "open": "warn", "unknown": "even"}
_HEADLINES = ("acceptance_rate", "generation_rate")


def write(value: Value, folder: Path) -> tuple[Path, Path]:
    """Store `report.json` and `report.html` in `folder`, each whole or not at all; returns their paths."""
    data, page = folder / "report.json", folder / "report.html"
    written = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    for path, content in ((data, written), (page, render(value))):
        part = path.with_name(f".{path.name}.part")
        part.write_text(content, encoding="utf-8")
        part.replace(path)
    return data, page


def render(value: Value) -> str:
    """`report.html`: one self-contained page."""
    environment = pages.environment()
    environment.filters |= {
        name: getattr(charts, name) for name in ("percent", "points", "count", "decimal", "p_value", "words")
    }
    environment.filters["moment"] = words.moment
    found = value["difference"]
    return environment.get_template("experiment_page.html").render(
        value=value,
        control=value["arms"]["control"],
        treatment=value["arms"]["treatment"],
        headline=words.HEADLINES[value["decision"]["outcome"]],
        badge=BADGES[value["decision"]["outcome"]],
        said=words.told(value),
        period=words.period(value),
        intervals=charts.intervals({name: found[name] for name in _HEADLINES}),
        rows=[row(name, found[name]) for name in words.METRICS if name in found],
        methods={name: methods(name, found[name]) for name in _HEADLINES},
        guardrails=guardrails(value),
        lengths=lengths(value["length_matched"]),
        languages=languages(value["languages"]["groups"]),
        names={name: words.METRICS[name][0] for name in words.METRICS},
        flags=flags(value["flags"]),
    )


def row(name: str, found: Value) -> dict[str, Any]:
    """One metric of the table."""
    return {
        "name": words.METRICS[name][0],
        "about": words.METRICS[name][1],
        "control": words.figure(name, found["control"]),
        "treatment": words.figure(name, found["treatment"]),
        "difference": words.shift(name, found["estimate"]),
        "range": words.spread(name, found["ci95"]),
        "p": charts.p_value(found["p_value"]) if found["p_value"] is not None else "",
        "reason": found["reason"],
        "strong": name in _HEADLINES,
    }


def methods(name: str, found: Value) -> list[dict[str, str]]:
    """Every method's answer about one metric, the primary first and the wrong one last."""
    several: list[tuple[str, Value | None]] = [
        ("Delta method, users (primary)", found),
        ("Corrected for few users", found["few"]),
        ("Bootstrap over users (BCa)", {"estimate": found["estimate"], "ci95": found["bootstrap_ci95"]}),
        ("Permutation of users", {"estimate": found["estimate"], "p_value": found["permutation_p"]}),
        ("CUPED, with the pre-period", found["cuped"]),
        ("May be looked at any time", found["sequential"]),
        (
            "Wrong: proposals as independent",
            found["naive"] and {"estimate": found["estimate"], **found["naive"]},
        ),
    ]
    made = []
    for label, one in several:
        if one is None:
            continue
        ends = one.get("ci95") or one.get("interval") or [None, None]
        p_value = one.get("p_value")
        made.append(
            {
                "label": label,
                "estimate": words.shift(name, one.get("estimate", found["estimate"])),
                "range": words.spread(name, list(ends)),
                "p": "" if p_value is None else charts.p_value(p_value),
                "reason": one.get("reason") or "",
            }
        )
    return made


def guardrails(value: Value) -> list[dict[str, str]]:
    """How each guardrail stands."""
    made = []
    for name, state in value["decision"]["guardrails"].items():
        found = value["difference"].get(name)
        made.append(
            {
                "name": words.METRICS[name][0],
                "state": state,
                "class": _STATES[state],
                "margin": points(value["guardrails"][name]["margin"], sign=False),
                "difference": words.shift(name, found["estimate"]) if found else "",
                "range": words.spread(name, found["ci95"]) if found else "",
            }
        )
    return made


def lengths(matched: Value) -> list[dict[str, Any]]:
    """Acceptance rate by length of the proposal."""
    made = []
    for one in matched["bins"]:
        high = "" if one["high"] is None else f"{one['high'] - 1:.0f}"
        label = f"{one['low']:.0f} to {high}" if high else f"{one['low']:.0f} or more"
        made.append(
            {
                "label": label if high != f"{one['low']:.0f}" else high,
                "shown": [count(number) for number in one["shown"]],
                "rates": [percent(rate) for rate in one["rates"]],
                "weight": percent(one["weight"], 0),
            }
        )
    return made


def languages(groups: Mapping[str, Value]) -> list[dict[str, Any]]:
    """A row per language: both metrics with their false discovery control."""
    made = []
    for name, group in groups.items():
        cells = []
        for metric in _HEADLINES:
            one = group.get(metric)
            if one is None:
                cells.append({"control": charts.NONE, "treatment": charts.NONE, "difference": ""})
                continue
            found = one["comparison"]
            q_value = one["q_value"]
            cells.append(
                {
                    "control": words.figure(metric, found["control"]),
                    "treatment": words.figure(metric, found["treatment"]),
                    "difference": words.shift(metric, found["estimate"]),
                    "range": words.spread(metric, found["ci95"]),
                    "q": "" if q_value is None else charts.p_value(q_value).replace("p", "q", 1),
                    "rejected": one["rejected"],
                }
            )
        made.append(
            {
                "name": name,
                "users": group["users"],
                "shown": [count(n) for n in group["shown"]],
                "cells": cells,
            }
        )
    return made


def flags(found: list[Value], most: int = 12) -> dict[str, Any]:
    """Flagged users: how many by reason and arm, and the first few."""
    by_reason: dict[str, dict[str, int]] = {}
    for flag in found:
        arms = by_reason.setdefault(flag["reason"], {})
        arms[flag["arm"]] = arms.get(flag["arm"], 0) + 1
    return {"by_reason": by_reason, "first": found[:most], "more": max(0, len(found) - most)}
