"""A study for people: geometry and wording of its page. Nothing here looks at data.

Drawn from `study.json`. Horizontal positions are percentages of the plot, vertical ones of curves too; the
template escapes every string. Levels of the paper and ours never share an axis: people are not simulations.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jobs import charts, pages
from jobs.charts import count, decimal, duration, percent, points, ticks
from jobs.study_measure import EQUAL_LENGTHS
from jobs.study_verdict import SAME_FILES, STATIC, verdict

Value = Mapping[str, Any]
METRICS = {"acceptance_rate": "acceptance rate", "generation_rate": "generation rate"}
_BENCH = {"bleu": "BLEU", "exact_match": "exact match"}
_COLUMNS = (
    *((name, points) for name in (*METRICS, EQUAL_LENGTHS, "time_saved")),
    ("retained_chars_per_minute", None),
)
"""Metrics of the table of comparisons; those without a unit are no shares."""
_ROOM = 0.06


def render(value: Value) -> str:
    """`study.html` of a `study.json` value, also of one read back."""
    environment = pages.environment()
    environment.filters |= {
        "percent": percent,
        "points": points,
        "count": count,
        "decimal": decimal,
        "duration": duration,
        "words": charts.words,
    }
    languages = value["figure"] == "table1"
    return environment.get_template("study_page.html").render(
        value=value,
        paper=[chart for chart in (paper_chart(value, metric) for metric in METRICS) if chart],
        ours=[chart for chart in (arms_chart(value, metric, languages) for metric in METRICS) if chart],
        curves=[chart for chart in (curve(value, metric) for metric in _BENCH) if chart],
        kinds={kind(arm["name"]) for arm in value["arms"]},
        forest=[chart for chart in (forest(value, metric) for metric in METRICS) if chart],
        contrasts=[contrast_row(one) for one in value["contrasts"]],
        arms=[row for arm in value["arms"] for row in arm_rows(arm)],
        facts=[(arm["name"], shown) for arm in value["arms"] if (shown := _plain_facts(arm))],
        several=len({name for arm in value["arms"] for name in arm["populations"]}) > 1,
    )


def paper_chart(value: Value, metric: str) -> dict[str, Any] | None:
    """The paper's pairs of one metric, where the text gives them."""
    rows = value["paper"]["rows"]
    if not rows:
        return None
    place, marks = _axis([number for row in rows for number in row[metric]], percents=True)
    # As many digits as the paper prints.
    digits = max(2 if round(1000 * number) / 1000 != number else 1 for row in rows for number in row[metric])
    return {
        "name": METRICS[metric],
        "ticks": marks,
        "rows": [
            {
                "name": row["name"],
                "about": "",
                "marks": [
                    {
                        "x": place(number),
                        "ci": None,
                        "kind": kind,
                        "text": f"{words} {percent(number, digits)}",
                    }
                    for number, kind, words in zip(
                        row[metric], ("m0", "m5"), ("static fine-tuning", "Echo"), strict=True
                    )
                ],
                "link": sorted(at for at in map(place, row[metric]) if at is not None),
                "said": " to ".join(percent(number, digits) for number in row[metric]),
            }
            for row in rows
        ],
    }


def arms_chart(value: Value, metric: str, by_population: bool) -> dict[str, Any] | None:
    """Our arms, each a row with its interval; by population each population is a row with all its arms."""
    found = [
        (arm["name"], arm["about"], population, measured[metric])
        for arm in value["arms"]
        for population, measured in arm["populations"].items()
        if measured[metric]["value"] is not None
    ]
    if not found:
        return None
    place, marks = _axis(
        [number for *_, rate in found for number in (rate["value"], *rate["ci95"])], percents=True
    )

    def mark(name: str, rate: Value) -> dict[str, Any]:
        return {
            "x": place(rate["value"]),
            "ci": _span(rate["ci95"], place),
            "kind": kind(name),
            "text": f"{name} {percent(rate['value'])}{_in_words(rate['ci95'], percent)}",
        }

    rows: dict[str, dict[str, Any]] = {}
    for name, about, population, rate in found:
        key = population if by_population else f"{name}\n{population}"
        row = rows.setdefault(
            key, {"name": population if by_population else name, "marks": [], "said": "", "link": []}
        )
        row["marks"].append(mark(name, rate))
        row["about"] = "" if by_population else about
        row["said"] = f"{row['said']} to {percent(rate['value'])}".removeprefix(" to ")
    return {"name": METRICS[metric], "ticks": marks, "rows": list(rows.values())}


def forest(value: Value, metric: str) -> dict[str, Any] | None:
    """Differences of all comparisons on one axis, in points, with what each seed said."""
    found = [(one, one["difference"][metric]) for one in value["contrasts"]]
    known = [item for item in found if item[1]["value"] is not None]
    if not known:
        return None
    numbers = [
        number for _, item in known for number in (0.0, item["value"], *item["ci95"], *item["by_seed"])
    ]
    place, marks = _axis(numbers, percents=False)
    return {
        "name": METRICS[metric],
        "zero": place(0.0),
        "ticks": marks,
        "rows": [
            {
                "name": f"{one['treatment']} against {one['control']}",
                "about": one["population"],
                "primary": one["primary"],
                "x": place(item["value"]),
                "ci": _span(item["ci95"], place),
                "seeds": [place(number) for number in item["by_seed"]] if len(item["by_seed"]) > 1 else [],
                "claimed": item["claimed"],
                "said": points(item["value"], unit=False),
                "text": f"{points(item['value'])}{_in_words(item['ci95'], points)}",
            }
            for one, item in known
        ],
    }


def curve(value: Value, metric: str) -> dict[str, Any] | None:
    """A benchmark metric over the number of samples (logarithmic); None where sizes do not differ."""
    found = [
        (arm["size"], arm["name"], arm["bench"][metric])
        for arm in value["arms"]
        if arm["size"] and arm["bench"] and arm["bench"][metric]["value"] is not None
    ]
    if len({size for size, *_ in found}) < 2:
        return None
    found.sort(key=lambda item: item[0])
    lefts = [math.log(size) for size, *_ in found]
    first, last = min(lefts), max(lefts)
    up, marks = _axis(
        [n for *_, rate in found for n in (rate["value"], *rate["ci95"], *rate["by_seed"])], percents=True
    )

    def x(size: float) -> float:
        return round(4 + 92 * (math.log(size) - first) / (last - first), 3)

    def y(number: float) -> float:
        return round(100 - (up(number) or 0.0), 3)

    dots = [
        {
            "x": x(size),
            "y": y(rate["value"]),
            "ci": None if rate["ci95"][0] is None else (y(rate["ci95"][1]), y(rate["ci95"][0])),
            "seeds": [y(number) for number in rate["by_seed"]] if len(rate["by_seed"]) > 1 else [],
            "text": f"{count(size)} samples: {percent(rate['value'])}{_in_words(rate['ci95'], percent)}",
        }
        for size, _, rate in found
    ]
    return {
        "name": _BENCH[metric],
        "path": "M" + " L".join(f"{dot['x']} {dot['y']}" for dot in dots),
        "dots": dots,
        "x": [(x(size), count(size)) for size, *_ in found],
        "y": [(round(100 - at, 3), text) for at, text in marks],
    }


def contrast_row(one: Value) -> dict[str, Any]:
    """A comparison in words, for the table."""
    cells = []
    for metric, unit in _COLUMNS:
        item = one["difference"].get(metric)
        shown: Callable[..., str] = charts.signed if unit is None else points
        if item is None or item["value"] is None:
            cells.append({"value": charts.NONE, "range": "", "p": ""})
            continue
        options = {} if unit is None else {"unit": False}
        low, high = item["ci95"]
        cells.append(
            {
                "value": shown(item["value"], **options),
                "range": "" if low is None else f"{shown(low, **options)} to {shown(high, **options)}",
                "p": charts.p_value(item["adjusted_p"]),
            }
        )
    return {
        "treatment": one["treatment"],
        "control": one["control"],
        "population": one["population"],
        "primary": one["primary"],
        "users": one["users"],
        "seeds": len(one["difference"]["acceptance_rate"]["by_seed"]),
        "cells": cells,
        "verdict": verdict(one),
    }


def arm_rows(arm: Value) -> Iterable[dict[str, Any]]:
    """An arm in words, a row for each population; the first carries what all share."""
    bench = arm["bench"]
    shared = {
        "name": arm["name"],
        "about": arm["about"],
        "samples": count(arm["data"].get("samples")),
        "tokens": count(arm["data"].get("target_tokens")),
        "bench": " / ".join(percent(bench[name]["value"]) for name in _BENCH) if bench else charts.NONE,
    }
    for number, (population, found) in enumerate(arm["populations"].items() or [("", None)]):
        rates = [_rate(found[metric]) if found else (charts.NONE, "") for metric in METRICS]
        yield {
            **(shared if not number else dict.fromkeys(shared, "")),
            "population": population,
            "users": count(found["users"] if found else None),
            "seeds": count(found["seeds"] if found else bench["seeds"] if bench else None),
            "rates": rates,
            "shown": count(found["shown"] if found else None),
            "length": decimal(found["mean_shown_chars"] if found else None),
            "rate": decimal(found["shown_per_100_typed"] if found else None),
            "silent": percent(found["silent_rate"] if found else None),
        }


def _plain_facts(arm: Value) -> dict[str, Any]:
    """What else is known of an arm, as far as it is one number or word each."""
    return {key: fact for key, fact in arm["facts"].items() if isinstance(fact, int | float | str)}


def kind(name: str) -> str:
    """Colour of an arm: the static ones apart from those that learned from experience."""
    return {STATIC: "m0", SAME_FILES: "m1"}.get(name, "m0" if name == "base" else "m5")


def _rate(rate: Value) -> tuple[str, str]:
    low, high = rate["ci95"]
    return percent(rate["value"]), "" if low is None else f"{percent(low)} to {percent(high)}"


def _axis(
    numbers: Iterable[float | None], percents: bool
) -> tuple[Callable[[float | None], float | None], list[tuple[float, str]]]:
    """(place of a share in percent of the plot, labelled ticks) for an axis that holds all numbers."""
    known = [number for number in numbers if number is not None]
    low, high = min(known), max(known)
    room = _ROOM * (high - low) or 0.01
    low, high = low - room, high + room
    if percents:
        low = max(0.0, low)

    def place(number: float | None) -> float | None:
        return None if number is None else round(100 * (number - low) / (high - low), 3)

    marks = []
    for tick in ticks(100 * low, 100 * high, 4):
        digits = 0 if tick == int(tick) else 1
        at = place(tick / 100)
        assert at is not None
        marks.append((at, f"{tick:.{digits}f}%" if percents else charts.signed(tick, digits)))
    return place, marks


def _span(ends: Sequence[float | None], place: Callable[[float | None], float | None]) -> Any:
    low, high = (place(end) for end in ends)
    return None if low is None or high is None else (low, round(high - low, 3))


def _in_words(ends: Sequence[float | None], shown: Callable[..., str]) -> str:
    return "" if ends[0] is None else f", 95% interval {shown(ends[0])} to {shown(ends[1])}"
