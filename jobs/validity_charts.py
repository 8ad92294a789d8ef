"""Curves of the validity report and their geometry: numbers in, positions in per cent and strings out.

`curves` is what `validity.json` holds; `charts` turns a report into plots that the template draws, never
markup. Time axes are logarithmic. Distributions are drawn as the share that is at least as large, which needs
no choice of bins and shows tails. Not covered: interaction.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

from jobs.charts import percent, ticks
from simulator.judge.measure import DAY_EDGES, SECOND_EDGES
from simulator.judge.measure_bins import SIZE_EDGES, Array, ratio
from simulator.judge.measure_edits import GAP_EDGES, LIFE_S
from simulator.judge.measure_table import Table
from simulator.judge.observed import Observed
from simulator.judge.published import LENGTH_BINS, MATCH_BINS, MATCH_NAMES, PERSIST_S

DECISIONS = {"accept": (0.990, 1.055), "reject": (1.180, 1.403)}
"""Published decision times: mean and standard deviation of the logarithm of seconds (`CUPS`)."""
_TIMES = {
    0.01: "10 ms", 0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3_600: "1 h",
    36_000: "10 h", 86_400: "1 day",
}  # fmt: skip

_MATCHES = [f"{limit:g}".lstrip("0") or "0" for limit in MATCH_BINS] + ["more"]

Points = list[list[float]]
Row = Mapping[str, Any]


def curves(table: Table, real: Sequence[Observed]) -> dict[str, Any]:
    """Points (x, y) of every distribution, simulated and observed."""
    own = table.sums(np.ones(len(table.users)))
    everyone = {"simulated": own, **{item.name: item.columns for item in real}}
    logged = {f"{item.name}, as logged": item.as_logged for item in real if item.as_logged is not None}
    return {
        "gaps": {name: _at_least(GAP_EDGES, columns["gap_hist"]) for name, columns in everyone.items()},
        "jumps": {
            name: _at_least(SIZE_EDGES[1:], columns["distance_hist"][1:])
            for name, columns in everyone.items()
        },
        "typed": {name: _alive(columns) for name, columns in (everyone | logged).items()},
        "decisions": {name: _at_least(SECOND_EDGES, own[f"{name}_hist"]) for name in DECISIONS},
        "days": [[float(low), float(n)] for low, n in zip(DAY_EDGES, own["day_hist"][1:], strict=True)],
    }


def _at_least(edges: Array, counts: Array) -> Points:
    total = counts.sum()
    if not total:
        return []
    shares = 1 - np.cumsum(counts)[:-1] / total
    return [[float(x), float(y)] for x, y in zip(edges, shares, strict=True) if y > 1e-12]


def _alive(columns: Mapping[str, Array]) -> Points:
    shares = ratio(columns["typed_alive"], columns["typed_risk"])
    return [[age, float(y)] for age, y in zip(LIFE_S, shares, strict=True) if not math.isnan(y)]


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale from `low` to `high`; `place` gives per cent of its length."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Position of `value`, cut at the ends."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return round(100 * math.log(value / self.low) / math.log(self.high / self.low), 3)
        return round(100 * (value - self.low) / (self.high - self.low), 3)


@dataclass(slots=True)
class Chart:
    """One plot as the template draws it; all positions in per cent, y counted from the top."""

    title: str
    lead: str
    x_name: str
    y_name: str
    x: list[tuple[float, str]] = field(default_factory=list)
    y: list[tuple[float, str]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    dots: list[dict[str, Any]] = field(default_factory=list)
    bars: list[dict[str, Any]] = field(default_factory=list)
    marks: list[dict[str, Any]] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)


def charts(report: Mapping[str, Any]) -> list[Chart]:
    """The plots of a report, also of one read back from JSON; those without data are left out."""
    rows = {row["key"]: row for name in ("calibration", "predicted") for row in report[name]}
    points = report["curves"]
    made = [
        _gaps(points["gaps"], rows),
        _typed(points["typed"], rows),
        _persistence(rows),
        _categories(
            "Acceptance by match",
            "Share accepted of judged suggestions, by D/L: distance from what was meant over length. Humans "
            "were matched with what they wrote in the end, which contains what they accepted.",
            "D/L, up to", [rows[f"ar_match_{n}"] for n in range(len(MATCH_NAMES))], _MATCHES,
        ),
        _categories(
            "Acceptance by length", "Share accepted of judged suggestions, by their length.",
            "characters, from",
            [rows[f"ar_length_{n}"] for n in range(len(LENGTH_BINS))],
            [str(first) for first in LENGTH_BINS],
        ),
        _decisions(points["decisions"]),
        _days(points["days"], rows["requests_per_day"]),
        _jumps(points["jumps"]),
    ]  # fmt: skip
    return [chart for chart in made if chart is not None]


def _gaps(points: Mapping[str, Points], rows: Mapping[str, Row]) -> Chart | None:
    x, y = Axis(0.05, 40_000, log=True), Axis(0.0003, 1, log=True)
    chart = Chart(
        "Gaps between edits", "Share of gaps that last at least so long. Bars: published, with tolerance.",
        "gap", "share of gaps", _time_ticks(x), _share_ticks(y, (0.001, 0.01, 0.1, 1)),
    )  # fmt: skip
    for limit_s in (2, 15, 180):
        row = rows[f"gap_{limit_s}s"]
        chart.dots.append(
            _dot("published", x.place(limit_s), y, row["published"][0], row["bounds"], "published")
        )
    return _distributions(chart, points, x, y)


def _jumps(points: Mapping[str, Points]) -> Chart | None:
    x, y = Axis(1, 10_000, log=True), Axis(0, 1)
    chart = Chart(
        "Jumps of the cursor", "Share of jumps that go at least so far, backward or forward.",
        "characters", "share of jumps", [(x.place(n), f"{n:,}") for n in (1, 10, 100, 1_000, 10_000)],
        _share_ticks(y, (0, 0.25, 0.5, 0.75, 1)),
    )  # fmt: skip
    return _distributions(chart, points, x, y)


def _typed(points: Mapping[str, Points], rows: Mapping[str, Row]) -> Chart | None:
    x, y = Axis(1, 3_600, log=True), Axis(0.2, 1)
    chart = Chart(
        "What becomes of typed characters",
        "Share that still stands so long after it was typed. Bars: published, with tolerance, read from the "
        "trace as logged (dashed), where popup completions delete the letters that they put back.",
        "time since typed", "share alive", _time_ticks(x), _share_ticks(y, (0.2, 0.4, 0.6, 0.8, 1)),
    )  # fmt: skip
    for age_s in (30, 600):
        row = rows[f"typed_alive_{age_s}s"]
        chart.dots.append(
            _dot("published", x.place(age_s), y, row["published"][0], row["bounds"], "published")
        )
    return _distributions(chart, points, x, y)


def _distributions(chart: Chart, points: Mapping[str, Points], x: Axis, y: Axis) -> Chart | None:
    """Add one line each; recorded authors have a colour of their own, readings as logged are dashed."""
    authors = [name for name in points if name != "simulated" and not name.endswith(", as logged")]
    for name, line in points.items():
        if not line:
            continue
        author = name.removesuffix(", as logged")
        style = "sim" if name == "simulated" else "real-a" if authors.index(author) % 2 == 0 else "real-b"
        style += " dashed" if name != author else ""
        chart.lines.append({"class": style, "path": _path(line, x, y), "text": name})
        chart.legend.append((style, name))
    if chart.dots:
        chart.legend.append(("published", "published"))
    return chart if any(line["class"] == "sim" for line in chart.lines) else None


def _persistence(rows: Mapping[str, Row]) -> Chart | None:
    x, y = Axis(10, 900, log=True), Axis(0, 1)
    chart = Chart(
        "What becomes of accepted text",
        "Share of acceptances whose text is unchanged, or changed by at most a third, after so long.",
        "time since accepted", "share", [(x.place(age), f"{age} s" if age < 60 else f"{age // 60} min")
                                         for age in PERSIST_S], _share_ticks(y, (0, 0.25, 0.5, 0.75, 1)),
    )  # fmt: skip
    for name, style, text in (
        ("unchanged", "sim", "unchanged"),
        ("nearly", "sim-b", "changed by a third at most"),
    ):
        known = [(age, rows[f"{name}_{age}s"]) for age in PERSIST_S]
        line = [[age, row["simulated"]] for age, row in known if row["simulated"] is not None]
        if not line:
            return None
        chart.lines.append({"class": style, "path": _path(line, x, y), "text": text})
        chart.legend.append((style, f"simulated, {text}"))
        for age, row in known:
            if row["simulated"] is not None:
                chart.dots.append(
                    _dot(style, x.place(age), y, row["simulated"], row["ci95"], f"simulated, {text}")
                )
            chart.dots.append(
                _dot("published", x.place(age * 1.06), y, row["published"][0], None, f"published, {text}")
            )
    chart.legend.append(("published", "published"))
    return chart


def _categories(
    title: str, lead: str, x_name: str, rows: Sequence[Row], names: Sequence[str]
) -> Chart | None:
    if all(row["simulated"] is None for row in rows):
        return None
    y, width = Axis(0, 1), 100 / len(rows)
    chart = Chart(title, lead, x_name, "acceptance rate", [], _share_ticks(y, (0, 0.25, 0.5, 0.75, 1)))
    for place, (row, name) in enumerate(zip(rows, names, strict=True)):
        centre = (place + 0.5) * width
        chart.x.append((round(centre, 3), name))
        if row["simulated"] is not None:
            text = f"simulated, of {row['n']:,} judged"
            chart.dots.append(_dot("sim", round(centre - 1.1, 3), y, row["simulated"], row["ci95"], text))
        chart.dots.append(
            _dot("published", round(centre + 1.1, 3), y, row["published"][0], None, "published")
        )
    chart.legend = [("sim dot", "simulated, 95% over users"), ("published", "published")]
    return chart


def _decisions(points: Mapping[str, Points]) -> Chart | None:
    x, y = Axis(0.1, 200, log=True), Axis(0, 1)
    chart = Chart(
        "Time to decide", "Share of decisions that take at least so long from display. Dashed: published.",
        "time since shown", "share of decisions", _time_ticks(x), _share_ticks(y, (0, 0.25, 0.5, 0.75, 1)),
    )  # fmt: skip
    for name, style in (("accept", "sim"), ("reject", "sim-b")):
        if not points[name]:
            continue
        mean, sd = DECISIONS[name]
        theirs = [[s, 1 - NormalDist(mean, sd).cdf(math.log(s))] for s in np.geomspace(0.1, 200, 60).tolist()]
        chart.lines.append(
            {"class": f"{style} dashed", "path": _path(theirs, x, y), "text": f"published, {name}"}
        )
        chart.lines.append({"class": style, "path": _path(points[name], x, y), "text": f"simulated, {name}"})
        chart.legend += [(style, f"simulated, {name}"), (f"{style} dashed", f"published, {name}")]
    return chart if chart.lines else None


def _days(points: Points, row: Row) -> Chart | None:
    tallest = max((n for _, n in points), default=0)
    if not tallest:
        return None
    last = max(low for low, n in points if n)
    step = points[1][0] - points[0][0]
    x, y = Axis(0, max(last + step, 1.1 * row["bounds"][1])), Axis(0, 1.08 * tallest)
    chart = Chart(
        "Requests per user-day",
        "User-days by the requests sent. Line: the published mean; band: its tolerance.",
        "requests", "user-days", [(x.place(n), f"{n:,.0f}") for n in ticks(0, x.high, 6)],
        [(100 - y.place(n), f"{n:,.0f}") for n in ticks(0, y.high, 4) if n == int(n)],
    )  # fmt: skip
    for low, n in points:
        if n:
            left, right = x.place(low), x.place(low + step)
            text = f"{low:,.0f} to {low + step - 1:,.0f} requests: {n:,.0f} user-days"
            chart.bars.append(
                {"x": left, "width": round(right - left, 3), "height": y.place(n), "text": text}
            )
    low, high = row["bounds"]
    chart.marks.append({"x": x.place(row["published"][0]), "low": x.place(low), "high": x.place(high)})
    chart.legend = [("sim dot", "simulated"), ("mean", "published mean")]
    return chart


def _dot(
    style: str, x: float, y: Axis, value: float, spread: Sequence[float] | None, what: str
) -> dict[str, Any]:
    """A point and its vertical bar."""
    low, high = (None, None) if spread is None else (100 - y.place(spread[0]), 100 - y.place(spread[1]))
    return {
        "class": style, "x": x, "y": round(100 - y.place(value), 3), "low": low, "high": high,
        "text": f"{what}: {percent(value)}",
    }  # fmt: skip


def _path(line: Sequence[Sequence[float]], x: Axis, y: Axis) -> str:
    # Points beyond an end of the axis are left out, but for a tail that runs into the lower edge.
    inside = [(a, b) for a, b in line if x.low <= a <= x.high]
    return "M" + " L".join(f"{x.place(a)} {round(100 - y.place(b), 3)}" for a, b in inside) if inside else ""


def _time_ticks(axis: Axis) -> list[tuple[float, str]]:
    return [(axis.place(s), name) for s, name in _TIMES.items() if axis.low <= s <= axis.high]


def _share_ticks(axis: Axis, values: Sequence[float]) -> list[tuple[float, str]]:
    digits: Callable[[float], int] = lambda value: 0 if value >= 0.01 or not value else 1  # noqa: E731
    return [(round(100 - axis.place(value), 3), percent(value, digits(value))) for value in values]
