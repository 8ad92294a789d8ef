"""The page about a served A/B, drawn from its `report.json` value alone, also from one read back.

What it shares with the page about simulated users is `experiment_view`; the template escapes every string and
loads nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs import charts, experiment_view, pages
from jobs import experiment_table as table
from jobs import experiment_words as words
from jobs.charts import count
from jobs.experiment_words import text

__all__ = ["render", "text", "write"]

Value = Mapping[str, Any]

_HEADLINES = ("acceptance_rate", "generation_rate")


def write(value: Value, folder: Path) -> tuple[Path, Path]:
    """Store `report.json` and `report.html` in `folder`; returns their paths."""
    return pages.write(value, render(value), folder)


def render(value: Value) -> str:
    """`report.html`: one self-contained page."""
    environment = pages.environment()
    environment.filters |= charts.FILTERS
    return environment.get_template("experiment_page.html").render(
        value=value,
        view=experiment_view.view(value),
        period=words.period(value),
        languages=languages(value["languages"]["groups"]),
    )


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
                    "control": table.figure(metric, found["control"]),
                    "treatment": table.figure(metric, found["treatment"]),
                    "difference": table.shift(metric, found["estimate"]),
                    "range": table.spread(metric, found["ci95"]),
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
