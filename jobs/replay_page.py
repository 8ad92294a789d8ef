"""A replay for people: the page and the table on the terminal, drawn from the `replay.json` value alone.

Horizontal positions are percentages of the plot; the template escapes every string. Nothing here looks at
data.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from echo_ray.replay.predict import RATES
from jobs import charts, pages
from jobs.charts import NONE, count, percent, points

Value = Mapping[str, Any]

NAMES = {"acceptance_rate": "acceptance rate", "generation_rate": "generation rate"}
AGREE = {True: "overlap", False: "do not overlap", None: ""}


def render(value: Value) -> str:
    """`replay.html` of a `replay.json` value, also of one read back."""
    environment = pages.environment()
    environment.filters |= {name: getattr(charts, name) for name in ("percent", "count", "decimal", "words")}
    return environment.get_template("replay_page.html").render(
        value=value,
        names=NAMES,
        rows=rows(value),
        charts={name: chart(value, name) for name in RATES},
        deciles=deciles(value["calibration"]),
        curve=curve(value["model"]),
        left_out=sorted(value["contexts"]["left_out"].items(), key=lambda item: (-item[1], item[0])),
    )


def rows(value: Value) -> list[dict[str, Any]]:
    """The arms in words: the control, the control asked again, the candidates."""
    control = value["control"]
    own = control["contexts"]
    made = [
        {
            "name": "control, as logged",
            "about": ", ".join(control["models"]),
            "text": _text(own, None),
            "rates": [_figure(control["predicted"][name]) for name in RATES],
            "observed": percent(own["acceptance_rate"]),
            "differences": [("", "") for _ in RATES],
            "measured": [("", "", "") for _ in RATES],
        }
    ]
    again = control["asked_again"]
    for name, one in [*([("control, asked again", again)] if again else []), *_named(value)]:
        measured = one.get("measured")
        made.append(
            {
                "name": name,
                "about": one["label"] if one is again else one["reference"],
                "text": _text(one, one["same_as_control"]),
                "rates": [_figure(one["predicted"][rate]) for rate in RATES],
                "observed": "",
                "differences": [_change(one["difference"][rate]) for rate in RATES],
                "measured": [_beside(measured[rate]) if measured else ("", "", "") for rate in RATES],
            }
        )
    return made


def chart(value: Value, rate: str) -> dict[str, Any] | None:
    """Predicted and measured differences on one axis (points); None where there is none."""
    lines = []
    for name, one in _named(value):
        marks = [("predicted", one["difference"][rate]["value"], one["difference"][rate]["ci95"])]
        if one["measured"]:
            found = one["measured"][rate]
            marks.append(("measured", found["estimate"], found["ci95"]))
        lines.append((name, [mark for mark in marks if mark[1] is not None]))
    every = [
        0.0,
        *(end for _, marks in lines for _, middle, ends in marks for end in (middle, *(ends or []))),
    ]
    if len(every) == 1:
        return None
    low, high = min(every), max(every)
    room = 0.08 * (high - low) or 0.01
    low, high = low - room, high + room

    def place(one: float) -> float:
        return round(float(100 * (one - low) / (high - low)), 3)

    return {
        "zero": place(0.0),
        "ticks": [(place(tick / 100), charts.signed(tick, 0 if tick == int(tick) else 1))
                  for tick in charts.ticks(100 * low, 100 * high)],
        "lines": [
            {
                "name": name,
                "marks": [
                    {
                        "kind": kind,
                        "x": place(middle),
                        "span": [place(ends[0]), round(place(ends[1]) - place(ends[0]), 3)] if ends else None,
                        "text": f"{kind} {points(middle)}" + (f" ({_ends(ends)})" if ends else ""),
                    }
                    for kind, middle, ends in marks
                ],
            }
            for name, marks in lines
        ],
    }  # fmt: skip


def deciles(found: Sequence[Value]) -> list[dict[str, Any]]:
    """Calibration in words, with the lengths of two bars on one scale."""
    top = max((one[name] for one in found for name in ("predicted", "observed")), default=0.0) or 1.0
    return [
        {
            "proposals": count(one["proposals"]),
            "predicted": percent(one["predicted"]),
            "observed": percent(one["observed"]),
            "bars": [round(100 * one[name] / top, 2) for name in ("predicted", "observed")],
        }
        for one in found
    ]


def curve(model: Value) -> list[tuple[str, list[str]]]:
    """Slopes of the curves by feature, in the order shown, accepted, taken."""
    names = ["intercept", *model["features"]]
    return [
        (charts.words(name), [charts.signed(model["curves"][what][place], 2) for what in model["curves"]])
        for place, name in enumerate(names)
    ]


def text(value: Value) -> str:
    """The table on the terminal."""
    head = ["", "proposals", "AR", "difference", "measured", "intervals", "GR", "difference", "measured"]
    grid = [head]
    for row in rows(value):
        ar, gr = row["rates"]
        cells = [row["name"], row["text"]["proposals"], ar[0]]
        for place, rate in enumerate((ar, gr)):
            if place:
                cells.append(rate[0])
            cells.append(_joined(*row["differences"][place]))
            cells.append(_joined(*row["measured"][place][:2]))
            if not place:
                cells.append(row["measured"][0][2])
        grid.append(cells)
    kept = [column for column in range(len(head)) if column == 0 or any(line[column] for line in grid[1:])]
    widths = [max(len(line[column]) for line in grid) for column in kept]
    lines = [
        "  ".join(
            line[column].ljust(width) if not place else line[column].rjust(width)
            for place, (column, width) in enumerate(zip(kept, widths, strict=True))
        ).rstrip()
        for line in grid
    ]
    model, control = value["model"], value["control"]
    notes = [
        *value["sentences"],
        f"The control's logged AR in these contexts is {percent(control['contexts']['acceptance_rate'])}, in "
        f"its whole log {percent(control['log']['acceptance_rate'])}.",
        f"The curve of acceptance, on users that it has not seen: AUC {charts.decimal(model['auc'], 3)}, log "
        f"loss {charts.decimal(model['log_loss'], 3)} ({charts.decimal(model['log_loss_of_mean'], 3)} "
        "without features).",
        *value["caveats"],
    ]
    return "\n".join([*lines, "", *notes])


def _named(value: Value) -> list[tuple[str, Value]]:
    return [(one["label"], one) for one in value["candidates"]]


def _text(one: Value, same: float | None) -> dict[str, str]:
    return {
        "proposals": count(one["proposals"]),
        "silent": percent(one["silent_share"]),
        "chars": charts.decimal(one["mean_chars"]),
        "exact": percent(one["exact"]),
        "whole": percent(one["whole"]),
        "same": "" if same is None else percent(same),
    }


def _figure(found: Value) -> tuple[str, str]:
    ends = found["ci95"]
    return percent(found["value"]), f"{percent(ends[0])} to {percent(ends[1])}" if ends else ""


def _change(found: Value) -> tuple[str, str]:
    if found["value"] is None:
        return NONE, ""
    return points(found["value"], unit=False), _ends(found["ci95"]) if found["ci95"] else ""


def _beside(found: Value) -> tuple[str, str, str]:
    told = points(found["estimate"], unit=False)
    return told, _ends(found["ci95"]) if found["ci95"] else "", AGREE[found["overlap"]]


def _ends(ends: Sequence[float]) -> str:
    return f"{points(ends[0], unit=False)} to {points(ends[1], unit=False)}"


def _joined(value: str, ends: str) -> str:
    return f"{value} [{ends}]" if ends else value
