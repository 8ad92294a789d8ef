"""How the figures of an experiment are named and written, and the table that a terminal shows of them.

For simulated users and for a served A/B alike; a metric that a report lacks has no line.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.charts import NONE, count, decimal, percent, points, signed

Value = Mapping[str, Any]

METRICS = {
    "acceptance_rate": ("Acceptance rate", "accepted / shown", "share"),
    "generation_rate": ("Generation rate", "accepted / all characters written", "share"),
    "retained_chars_per_minute": ("Retained characters per active minute", "", "number"),
    "time_saved": ("Time saved", "of the time that the same work took with control", "share"),
    "time_saved_s": ("Seconds saved per user", "", "number"),
    "retained_share": ("Retained", "of accepted characters, to the end of the work on them", "share"),
    "acceptance_rate_with_partial": ("Acceptance rate, parts counted", "", "share"),
    "shown_rate": ("Shown per request", "", "share"),
    "exposures_per_typed_char": ("Shown per 100 typed characters", "", "hundred"),
    "mean_shown_chars": ("Mean length shown", "characters", "number"),
    "silent_rate": ("Silent answers", "of delivered ones", "share"),
    "void_recall": ("Void recall", "silence where nothing was left to write", "share"),
    "fix_share": ("Time spent on repairs", "of active time", "share"),
    "abandoned_rate": ("Abandoned before the answer", "of requests", "share"),
    "sentinel_leak_rate": ("Sentinel leaks", "of answers with text", "share"),
}
"""Metric: name, what it is in a few words, and how it is written."""
TOTALS = (("Users", "users"), ("Requests", "requests"), ("Shown", "shown"), ("Accepted", "accepted"))


def pair(value: Value) -> tuple[Value, Value]:
    """Control and treatment of a report, whatever it calls them."""
    control, treatment = value["arms"].values()
    return control, treatment


def name_in(arm: Value) -> str:
    """The arm's name for one line of text: a log may hold any, control characters too."""
    name = " ".join("".join(c if c.isprintable() else " " for c in arm["name"]).split())
    return name[:60] or "(no name)"


def name_of(metric: str) -> str:
    """The metric's name inside a sentence."""
    text = METRICS[metric][0]
    return text[0].lower() + text[1:]


def figure(metric: str, value: float | None) -> str:
    """A figure as people read it."""
    kind = METRICS[metric][2]
    if value is None:
        return NONE
    if kind == "share":
        return percent(value) if abs(value) >= 0.001 or value == 0 else percent(value, 3)
    return decimal(100 * value) if kind == "hundred" else decimal(value)


def shift(metric: str, value: float | None, unit: bool = False) -> str:
    """A difference with its sign; shares in points, which `unit` says."""
    kind = METRICS[metric][2]
    if value is None:
        return NONE
    if kind == "share":
        return points(value, unit=unit)
    return signed(100 * value if kind == "hundred" else value)


def spread(metric: str, ends: Sequence[float | None]) -> str:
    """An interval, empty where there is none."""
    return "" if ends[0] is None else f"{shift(metric, ends[0])} to {shift(metric, ends[1])}"


def change(metric: str, difference: Value) -> str:
    """`+3.7 points (95% interval +1.2 to +6.1)`."""
    if difference["estimate"] is None:
        return "an unknown amount (nothing to divide by)"
    told = spread(metric, difference["ci95"])
    said = f"95% interval {told}" if told else "no interval"
    return f"{shift(metric, difference['estimate'], unit=True)} ({said})"


def text(value: Value, facts: Sequence[str]) -> str:
    """The decision, the metrics of both arms, `facts` of this kind of experiment, and what to weigh."""
    arms = pair(value)
    grid = [["", *map(name_in, arms), "difference", "95% interval", "p"]]
    grid += [[label, *(count(arm[key]) for arm in arms), "", "", ""] for label, key in TOTALS]
    for metric in METRICS:
        found = value["difference"].get(metric)
        if found is None:
            continue
        row = [METRICS[metric][0], figure(metric, found["control"]), figure(metric, found["treatment"])]
        row += [shift(metric, found["estimate"]), spread(metric, found["ci95"])]
        grid.append([*row, _p(found["p_value"])])
    matched = value["length_matched"]
    if matched["estimate"] is not None:
        row = [shift("acceptance_rate", matched["estimate"]), spread("acceptance_rate", matched["ci95"])]
        grid.append(["Acceptance rate at equal lengths", "", "", *row, _p(matched["p_value"])])
    for level in ("p50", "p95"):
        if f"latency_{level}_ms" in arms[0]:
            both = (count(arm[f"latency_{level}_ms"]) for arm in arms)
            grid.append([f"Latency {level}, ms", *both, "", "", ""])
    widths = [max(len(line[n]) for line in grid) for n in range(len(grid[0]))]
    lines = [
        "  ".join(
            [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
        )
        for line in grid
    ]
    states = ", ".join(f"{name_of(m)} {s}" for m, s in value["decision"]["guardrails"].items())
    shown = ", ".join(name_of(gate["name"]) for gate in value["gates"] if gate["passed"]) or "nothing"
    checks = [*facts, f"Claimed, in the order fixed beforehand: {shown}", f"Guardrails: {states}"]
    notes = [f"- {reason}" for reason in value["reasons"]]
    told = [value["verdict"], "", *(line.rstrip() for line in lines), "", *checks]
    return "\n".join([*told, *(["", *notes] if notes else [])])


def _p(value: float | None) -> str:
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"
