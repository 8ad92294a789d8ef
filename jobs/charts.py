"""Geometry and wording of the report page: plain numbers and strings in and out, never markup.

The template draws what is computed here and escapes every string itself, so no text from a log can
reach the page as HTML. Horizontal positions are percentages of the plot, so that charts stretch with the
page while their labels keep the reader's font size. Not covered: log scales, dates, interaction.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"
MAX_CODE_LINES = 14
"""Lines of context, of a proposal or of a commit that an example card shows."""


def percent(value: float | None, digits: int = 1) -> str:
    """`25.7%`, or a dash for None."""
    return NONE if value is None else f"{100 * value:.{digits}f}%".replace("-", MINUS)


def points(value: float | None, *, sign: bool = True, unit: bool = True) -> str:
    """`+3.7 points` from 0.037; a typographic minus, and never `-0.0`."""
    if value is None:
        return NONE
    digits = f"{abs(100 * value):.1f}"
    # A change too small for one decimal must not print as none.
    if float(digits) == 0 and value:
        digits = f"{abs(100 * value):.2f}"
    mark = "" if float(digits) == 0 else MINUS if value < 0 else "+" if sign else ""
    return f"{mark}{digits}{' points' if unit else ''}"


def signed(value: float | None, digits: int = 1) -> str:
    """`+3.7` for a quantity that is not a share."""
    if value is None:
        return NONE
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else f"{MINUS if value < 0 else '+'}{text}"


def count(value: float | None) -> str:
    """`12,345`, or a dash for None."""
    return NONE if value is None else f"{value:,.0f}"


def decimal(value: float | None, digits: int = 1) -> str:
    """`12.3`, or a dash for None."""
    return NONE if value is None else f"{value:,.{digits}f}"


def p_value(value: float | None) -> str:
    """`p = 0.012` or `p < 0.001`."""
    if value is None:
        return f"p {NONE}"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def duration(seconds: float | None) -> str:
    """`0.4 s`, `42 s`, `3 min 20 s`, `1 h 05 min`."""
    if seconds is None:
        return NONE
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def words(name: str) -> str:
    """`anchor_edited` as `anchor edited`."""
    return name.replace("_", " ")


FILTERS = {one.__name__: one for one in (percent, points, signed, count, decimal, p_value, duration, words)}
"""What templates write numbers with."""


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers inside [low, high], about `wanted` of them."""
    span = high - low
    if not span > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = min((m * power for m in (1, 2, 5, 10)), key=lambda size: abs(span / size - wanted))
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) + 0.0 for i in range(first, math.floor(high / step + 1e-9) + 1)]


def intervals(
    differences: Mapping[str, Mapping[str, Any]], scale: float = 100.0
) -> dict[str, dict[str, Any]]:
    """Positions of several differences on one common axis, so that lengths compare; labels are `scale` times
    the values (100: points).
    """
    values = [0.0]
    for item in differences.values():
        values += [v for v in (item["estimate"], *item["ci95"], *item["bootstrap_ci95"]) if v is not None]
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 1 / scale
    low, high = low - room, high + room

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - low) / (high - low), 3)

    marks = [
        (
            place(tick / scale),
            signed(tick, 0 if tick == int(tick) else 1 if 10 * tick == int(10 * tick) else 2),
        )
        for tick in ticks(scale * low, scale * high, 4)
    ]
    return {
        name: {
            "zero": place(0.0),
            "estimate": place(item["estimate"]),
            "ci": [place(v) for v in item["ci95"]],
            "boot": [place(v) for v in item["bootstrap_ci95"]],
            "ticks": marks,
        }
        for name, item in differences.items()
    }


def loss_chart(curve: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Paths of training and held-out loss in a 100 x 100 box, with ticks; None without two points."""
    series: dict[str, list[tuple[int, float]]] = {
        key: [(p["step"], p[key]) for p in curve if p[key] is not None] for key in ("train", "held_out")
    }
    every = [pair for pairs in series.values() for pair in pairs]
    if len({step for step, _ in every}) < 2:
        return None
    first, last = min(s for s, _ in every), max(s for s, _ in every)
    low, high = min(v for _, v in every), max(v for _, v in every)
    room = 0.08 * (high - low) or 0.1
    low, high = low - room, high + room

    def x(step: float) -> float:
        return round(100 * (step - first) / (last - first), 3)

    def y(loss: float) -> float:
        return round(100 * (high - loss) / (high - low), 3)

    return {
        "paths": {
            key: "M" + " L".join(f"{x(step)} {y(loss)}" for step, loss in pairs)
            for key, pairs in series.items()
            if pairs
        },
        "dots": [(x(step), y(loss), f"step {step:,}: {loss:.3f}") for step, loss in series["held_out"]],
        "ends": {key: (x(pairs[-1][0]), pairs[-1][1]) for key, pairs in series.items() if pairs},
        "starts": {key: pairs[0][1] for key, pairs in series.items() if pairs},
        "x": [(x(tick), f"{tick:,.0f}") for tick in ticks(first, last, 4)],
        "y": [(y(tick), f"{tick:.4g}") for tick in ticks(low, high, 4)],
    }


def funnel_bars(stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Stages with the widths of their kept and dropped parts; tokens have no bar (another unit)."""
    comparable = [s["rows"] + sum(s["dropped"].values()) for s in stages if s["unit"] != "tokens"]
    widest = max(comparable, default=0)
    bars = []
    for stage in stages:
        drawn = widest > 0 and stage["unit"] != "tokens"
        reasons = sorted(stage["dropped"].items(), key=lambda pair: -pair[1])
        bars.append(
            {
                **stage,
                "kept_width": round(100 * stage["rows"] / widest, 3) if drawn else None,
                "dropped_width": round(100 * sum(stage["dropped"].values()) / widest, 3) if drawn else None,
                "reasons": [(words(name), number) for name, number in reasons if number],
            }
        )
    return bars


def time_bars(seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Stages in order with their share of the longest, for bars, and of the total, for reading."""
    longest, total = max(seconds.values(), default=0.0), sum(seconds.values())
    return [
        {
            "stage": words(name),
            "text": duration(value),
            "width": round(100 * value / longest, 3) if longest else 0.0,
            "share": percent(value / total, 0) if total else NONE,
        }
        for name, value in seconds.items()
    ]


def example_view(example: Mapping[str, Any]) -> dict[str, Any]:
    """Sample as the spans of one code block: context, proposal, target, the rest of the commit, context."""
    commit, target = example["commit"] or "", example["target"]
    # The contract says that a target is a prefix of the commit up to trailing white space.
    kept = target.rstrip() if target else ""
    split = len(kept) if kept and commit.startswith(kept) else 0
    rest = commit[split:].lstrip("\n") if commit[split:].strip() else ""
    return {
        **example,
        "before": _last_lines(example["context_tail"]),
        "after": _first_lines(example["context_head"]),
        "proposed": None if example["proposal"] is None else _first_lines(example["proposal"]),
        "kept": _first_lines(commit[:split]),
        # Line breaks between the two spans belong to neither, else their colour bleeds past the line.
        "gap": commit[split : len(commit) - len(rest)] if rest else "",
        "cut": _first_lines(rest),
        "void": not commit.strip(),
        "same": example["proposal"] is not None and example["proposal"].strip() == commit.strip() != "",
        "end": words(example["end_reason"]),
    }


def _last_lines(text: str) -> str:
    lines = text.split("\n")
    return text if len(lines) <= MAX_CODE_LINES else "\n".join(["\u2026", *lines[-MAX_CODE_LINES:]])


def _first_lines(text: str) -> str:
    lines = text.split("\n")
    return text if len(lines) <= MAX_CODE_LINES else "\n".join([*lines[:MAX_CODE_LINES], "\u2026"])
