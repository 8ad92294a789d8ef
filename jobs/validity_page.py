"""The validity report for people: one self-contained page, and a table for the terminal."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jobs import charts as house
from jobs import pages
from jobs.charts import NONE, percent
from jobs.validity_charts import charts

Row = Mapping[str, Any]

_UNITS = {"s": " s", "min": " min", "chars": "", "count": ""}
_OTHER = {
    "ar_all": "AR of all that was painted",
    "ar_250": "AR of what was visible for 250 ms",
    "ar_char": "AR by characters",
    "ar_with_partial": "AR with partial acceptances",
    "ar_per_1000_opportunities": "Accepted per 1,000 opportunities",
    "opportunities_per_day": "Opportunities per user-day",
    "accepted_chars_per_day": "Accepted characters per user-day",
    "active_minutes_per_day": "Active minutes per user-day",
    "cancelled_share": "Requests cancelled by the next key",
    "silent_share": "Answers without text",
    "shown_per_100_typed": "Shown per 100 typed characters",
    "shown_mean": "Length shown, mean",
    "accepted_exactly": "Accepted suggestions exactly as meant",
    "user_ar_sd_corrected": "Standard deviation of users' AR without sampling noise",
    "undo_share": "Undos of all edits",
    "slip_share": "Slips and false starts of all edits",
    "retained_30s": "Accepted characters alive after 30 s",
    "retained_600s": "Accepted characters alive after 10 min",
}
"""Further figures that the page shows, without published counterparts, in this order."""
_SHARES = frozenset(
    {"ar_all", "ar_250", "ar_char", "ar_with_partial", "cancelled_share", "silent_share", "accepted_exactly",
     "undo_share", "slip_share", "retained_30s", "retained_600s"}
)  # fmt: skip


def render(report: Mapping[str, Any]) -> str:
    """`validity.html` of a report, also of one read back from JSON."""
    environment = pages.environment()
    environment.filters |= {
        "percent": percent,
        "count": house.count,
        "value": value,
        "target": target,
        "spread": spread,
    }
    calibration = report["calibration"]
    other = [
        {**report["other"][key], "title": title, "unit": "share" if key in _SHARES else "count"}
        for key, title in _OTHER.items()
        if report["other"].get(key, {}).get("simulated") is not None
    ]
    return environment.get_template("validity_page.html").render(
        report=report,
        tables=[
            ("Fitted", "fitted", "One knob each was turned to reach these, so meeting them proves little; "
             "missing one says that the knob does not reach, or was turned on other work.",
             [row for row in calibration if row["fitted"]]),
            ("Predicted, with a tolerance", "predicted",
             "Nothing was turned to reach these. They can be wrong.",
             [row for row in calibration if not row["fitted"]]),
        ],
        further=[
            ("Predicted, without a tolerance", "Published figures that nothing was turned for.",
             report["predicted"]),
            ("To be reported", "Section 3.7 asks for these without a tolerance.", report["reported"]),
            ("Inputs",
             "The model draws these from the published distributions: agreement says only that it does.",
             report["inputs"]),
        ],
        other=other,
        charts=charts(report),
        names=[row["name"] for row in report["real"]],
    )  # fmt: skip


def value(number: float | None, unit: str) -> str:
    """A figure in its unit, with as many digits as it bears."""
    if number is None:
        return NONE
    if unit == "share":
        return percent(number, 2 if abs(number) < 0.01 else 1)
    size = abs(number)
    digits = 0 if size >= 100 or (size == int(size) and unit == "chars") else 1 if size >= 10 else 2
    return f"{number:,.{digits}f}{_UNITS[unit]}"


def target(row: Row) -> str:
    """The published figure or interval."""
    low, high = row["published"]
    one = value(low, row["unit"])
    return one if low == high else f"{one} to {value(high, row['unit'])}"


def spread(row: Row) -> str:
    """The tolerance in words."""
    if row["tolerance"] is None:
        return ""
    if row["relative"]:
        return f"\N{PLUS-MINUS SIGN}{100 * row['tolerance']:.0f}%"
    return f"\N{PLUS-MINUS SIGN}{100 * row['tolerance']:g} points"


def terminal(report: Mapping[str, Any]) -> str:
    """The calibration table with exact figures for a terminal."""
    head = ["target", "published", "tolerance", "simulated", "95% over users", "n", "kind", "met"]
    rows = [head]
    for row in sorted(report["calibration"], key=lambda row: not row["fitted"]):
        met = {True: "met", False: "MISSED", None: "not measurable"}[row["met"]]
        rows.append([
            row["title"], target(row), spread(row), exact(row["simulated"]),
            "-" if row["ci95"] is None else " to ".join(map(exact, row["ci95"])),
            house.count(row["n"]), "fitted" if row["fitted"] else "predicted", met,
        ])  # fmt: skip
    return _grid(rows)


def exact(number: float | None) -> str:
    """Four significant digits."""
    return "-" if number is None or math.isnan(number) else f"{number:.4g}"


def _grid(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in [lines[0], "-" * len(lines[0].rstrip()), *lines[1:]])
