"""A study on the terminal: the comparisons, the arms, and the paragraph."""

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.charts import NONE, count, decimal, percent, points
from jobs.study_verdict import verdict

Value = Mapping[str, Any]
_WIDTH = 100
"""Columns of the paragraph."""


def table(value: Value) -> str:
    """Comparisons first, then arms, as plain text of at most a few words a column."""
    lines = [f"{value['paper']['title']}: {value['title']}"]
    if value["example"]:
        lines.append("EXAMPLE: made-up numbers, nothing was measured")
    if value["contrasts"]:
        lines += ["", *_aligned([_HEAD, *map(_contrast, value["contrasts"])])]
    rows: list[tuple[str, ...]] = [_ARMS]
    for arm in value["arms"]:
        measured = arm["populations"].items() or [("", None)]
        rows += [_arm(arm, population, found) for population, found in measured]
    lines += ["", *_aligned(rows), ""]
    for sentence in value["paragraph"]:
        lines += _wrapped(sentence)
    return "\n".join(lines)


_HEAD = ("comparison", "who", "seeds", "AR", "95% interval", "GR", "95% interval", "AR was")
_ARMS = ("arm", "who", "seeds", "samples", "target tokens", "AR", "GR", "shown", "BLEU", "exact")


def _contrast(one: Value) -> tuple[str, ...]:
    acceptance, generation = (one["difference"][name] for name in ("acceptance_rate", "generation_rate"))
    return (
        f"{one['treatment']} - {one['control']}" + (" *" if one["primary"] else ""),
        one["population"],
        str(len(acceptance["by_seed"])),
        points(acceptance["value"], unit=False),
        _range(acceptance),
        points(generation["value"], unit=False),
        _range(generation),
        verdict(one),
    )


def _arm(arm: Value, population: str, found: Value | None) -> tuple[str, ...]:
    bench = arm["bench"] or {}
    seeds = found["seeds"] if found else bench.get("seeds")
    return (
        arm["name"],
        population or NONE,
        count(seeds),
        count(arm["data"].get("samples")),
        count(arm["data"].get("target_tokens")),
        percent(found["acceptance_rate"]["value"]) if found else NONE,
        percent(found["generation_rate"]["value"]) if found else NONE,
        count(found["shown"]) if found else NONE,
        decimal(100 * bench["bleu"]["value"]) if bench and bench["bleu"]["value"] is not None else NONE,
        percent(bench["exact_match"]["value"]) if bench else NONE,
    )


def _range(difference: Value) -> str:
    low, high = difference["ci95"]
    return NONE if low is None else f"{points(low, unit=False)} to {points(high, unit=False)}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if n < 2 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _wrapped(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= _WIDTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
