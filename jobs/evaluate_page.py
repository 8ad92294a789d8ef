"""An evaluation for people: wording and geometry of the page and of the table on the terminal.

Drawn from `evaluate.json`. Horizontal positions are percentages of the plot; the template escapes every
string. Nothing here looks at data.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jobs import charts, pages
from jobs.charts import NONE, count, percent
from jobs.evaluate_scores import ALL, METRICS

Value = Mapping[str, Any]

NAMES = {
    "exact_match": ("exact match", "all that was left in the gap, white space at its end aside"),
    "first_line_match": ("first line", "the first line with text is right"),
    "edit_similarity": ("edit similarity", "of the longer text, what needs no edit; mean"),
    "bleu": ("BLEU", "corpus, 4-grams of code tokens"),
    "code_bleu": ("CodeBLEU", "corpus; n-grams, keywords, syntax, data flow"),
    "void_precision": ("void precision", "of its silences, those that were right"),
    "void_recall": ("void recall", "of the gaps left empty, those where it was silent"),
    "suffix_repetition": ("suffix repetition", "of its texts, those that say again what follows"),
    "sentinel_leaks": ("sentinel leaks", "answers with a special token"),
    "perplexity": ("perplexity", "of targets with text"),
    "perplexity_all": ("perplexity, all", "silence included"),
    "bits_per_byte": ("bits per byte", "of targets with text; compares other tokenizers too"),
    "answer_chars": ("answer length", "characters, mean over all answers"),
}
"""Metric: its name, and what it says in a few words."""

_SHARES = (
    *("exact_match", "first_line_match", "edit_similarity", "bleu", "code_bleu"),
    *("void_precision", "void_recall", "suffix_repetition"),
)
_CHART = tuple(name for name in _SHARES if name != "suffix_repetition")
_LANGUAGE = ("exact_match", "edit_similarity", "bleu", "code_bleu", "void_recall", "perplexity")
_COLORS = 5
_KINDS = {
    "gained": "right where the first model is wrong",
    "lost": "the first model is right, another is not",
    "different": "wrong in different ways",
    "spoke": "silence was right",
    "wrong": "wrong",
    "right": "right",
}


def render(value: Value) -> str:
    """`evaluate.html` of an `evaluate.json` value, also of one read back."""
    environment = pages.environment()
    environment.filters |= {"percent": percent, "count": count, "words": charts.words, "number": _number}
    groups = value["groups"]
    return environment.get_template("evaluate_page.html").render(
        value=value,
        whole=groups[ALL],
        labels=labels(value),
        sentence=sentence(value),
        rows=[row(name, groups[ALL], labels(value)) for name in METRICS],
        chart=chart(groups[ALL], labels(value)),
        languages=[
            {
                "name": charts.words(name),
                "samples": group["samples"],
                "users": group["users"],
                "reason": group["reason"],
                "rows": [row(metric, group, labels(value)) for metric in _LANGUAGE],
            }
            for name, group in groups.items()
            if name != ALL
        ],
        left_out=sorted(value["left_out"].items(), key=lambda item: (-item[1], item[0])),
        kinds=_KINDS,
    )


def labels(value: Value) -> list[str]:
    """Labels of the models, the first first."""
    return [model["label"] for model in value["models"]]


def sentence(value: Value) -> str:
    """The evaluation in one sentence."""
    whole = value["groups"][ALL]
    names = labels(value)
    short = [name.rpartition("-")[0] for name in names]
    said = dict(zip(names, short if len(set(short)) == len(short) else names, strict=True))
    first = whole["models"][names[0]]["exact_match"]
    people = f" of {count(whole['users'])} developer{'s' * (whole['users'] != 1)}" if whole["users"] else ""
    asked = f"In {count(whole['samples'])} held-out gaps{people}"
    if first["value"] is None:
        return f"{asked}, nothing was left by the user, so only silence can be judged."
    told = f"{asked}, {said[names[0]]} wrote exactly what was left in {percent(first['value'])}"
    if len(names) == 1:
        return f"{told} of those with text."
    best = max(names[1:], key=lambda name: whole["models"][name]["exact_match"]["value"])
    other = whole["models"][best]["exact_match"]
    change = other["difference"]
    range_ = change["ci95"]
    sure = f", 95% interval {_points(range_[0])} to {_points(range_[1])}" if range_ else ""
    moved = f"{_points(change['value'])} points{sure}"
    return f"{told} of those with text, {said[best]} in {percent(other['value'])} ({moved})."


def row(name: str, group: Value, models: Sequence[str]) -> dict[str, Any]:
    """One metric in words: a cell for every model."""
    cells = []
    for model in models:
        found = group["models"][model][name]
        change = found["difference"]
        if change is not None and change["value"] is None:
            change = None
        cells.append(
            {
                "value": shown(name, found["value"]),
                "range": _range(name, found["ci95"]),
                "difference": shown_change(name, change["value"]) if change else "",
                "difference_range": _range(name, change["ci95"], change=True) if change else "",
                "class": _class(name, change),
                "of": found["of"],
            }
        )
    return {"key": name, "name": NAMES[name][0], "about": NAMES[name][1], "cells": cells}


def shown(name: str, value: float | None) -> str:
    """A figure as people read it: shares in %, perplexities with three digits, leaks as they are."""
    if value is None:
        return NONE
    if name in _SHARES:
        return percent(value)
    return count(value) if name == "sentinel_leaks" else _number(value)


def shown_change(name: str, value: float | None) -> str:
    """A difference, with its sign; shares in points."""
    if value is None:
        return NONE
    if name in _SHARES:
        return _points(value)
    text = count(abs(value)) if name == "sentinel_leaks" else _number(abs(value))
    zero = not any(character in "123456789" for character in text)
    return text if zero else f"{charts.MINUS if value < 0 else '+'}{text}"


def _points(value: float | None) -> str:
    return charts.points(value, unit=False)


def _number(value: float | None) -> str:
    """Three digits that count, never an exponent."""
    if value is None:
        return NONE
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else NONE
    digits = max(0, min(4, 2 - math.floor(math.log10(abs(value)))))
    return f"{value:,.{digits}f}"


def _range(name: str, ci95: Sequence[float] | None, change: bool = False) -> str:
    if ci95 is None:
        return ""
    low, high = (shown_change(name, end) if change else shown(name, end).rstrip("%") for end in ci95)
    return f"{low} to {high}"


def _class(name: str, change: Value | None) -> str:
    """`good` or `bad` when the interval of a difference leaves zero out, `even` otherwise."""
    better = METRICS[name].better
    if change is None or change["ci95"] is None or not better:
        return "even"
    low, high = change["ci95"]
    if low <= 0 <= high:
        return "even"
    return "good" if (low > 0) == (better > 0) else "bad"


def chart(group: Value, models: Sequence[str]) -> dict[str, Any] | None:
    """Dots with intervals on one axis, a line for every metric and model; None without figures."""
    every = [group["models"][model][name] for model in models for name in _CHART]
    highest = max(
        (max([one["value"], *(one["ci95"] or [])]) for one in every if one["value"] is not None), default=0.0
    )
    top = next(top for top in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if highest <= top or top == 1.0)
    lines = []
    for name in _CHART:
        dots = []
        for number, model in enumerate(models):
            found = group["models"][model][name]
            if found["value"] is not None:
                ends = found["ci95"] or [found["value"], found["value"]]
                dots.append(
                    {
                        "color": number % _COLORS,
                        "model": model,
                        "x": round(100 * found["value"] / top, 3),
                        "low": round(100 * max(0.0, ends[0]) / top, 3),
                        "high": round(100 * min(1.0, ends[1]) / top, 3),
                        "text": f"{model}: {shown(name, found['value'])}",
                    }
                )
        if dots:
            lines.append({"name": NAMES[name][0], "dots": dots, "height": 14 * len(dots) + 10})
    ticks = [(25 * place, f"{25 * place * top:g}%") for place in range(5)]
    return {"lines": lines, "ticks": ticks} if lines else None


def text(value: Value) -> str:
    """The table on the terminal: metrics by model, the languages below each other."""
    names = labels(value)
    whole = value["groups"][ALL]
    grid = [["", *names]]
    for name in METRICS:
        cells = row(name, whole, names)["cells"]
        if all(cell["value"] == NONE for cell in cells):
            continue
        told = [_cell(cell) for cell in cells]
        grid.append([NAMES[name][0], *told])
    for language, group in value["groups"].items():
        if language != ALL and len(value["groups"]) > 2:
            cells = [_cell(cell) for cell in row("exact_match", group, names)["cells"]]
            grid.append([f"exact match, {charts.words(language)} ({count(group['samples'])})", *cells])
    widths = [max(len(line[column]) for line in grid) for column in range(len(grid[0]))]
    lines = [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(widths[n]) for n, cell in enumerate(line[1:], 1))])
        for line in grid
    ]
    notes = [sentence(value)]
    if whole["reason"]:
        notes.append(f"No intervals: {whole['reason']}.")
    return "\n".join([*lines, "", *notes])


def _cell(cell: Value) -> str:
    change = f" ({cell['difference']})" if cell["difference"] else ""
    return f"{cell['value']}{change}" + (f" [{cell['range']}]" if cell["range"] else "")
