"""The data card for people: wording and geometry of one self-contained page, drawn from `card.json`.

Horizontal and vertical positions are percentages, so that charts stretch with the page; the template escapes
every string. Nothing here looks at data.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jobs import charts, pages
from jobs.charts import NONE, count, percent, ticks, words

Value = Mapping[str, Any]

LABELS = {
    "log": "Requests logged", "mine": "Gaps mined", "distil": "Distilled", "verify": "Verified",
    "select": "Selected", "perplexity": "Scored", "balance": "Balanced", "pack": "Packed",
}  # fmt: skip
_FACTS = {"asked": "questions", "answered": "answered", "cached": "answered before", "requests": "requests"}
_MOST_LANGUAGES = 12


def render(card: Value) -> str:
    """`card.html` of a `card.json` value, also of one read back."""
    environment = pages.environment()
    environment.filters |= {
        "percent": percent,
        "count": count,
        "words": words,
        "decimal": charts.decimal,
        "duration": charts.duration,
        "ratio": ratio,
    }
    return environment.get_template("card_page.html").render(
        card=card,
        title=title(card),
        sentence=sentence(card),
        tiles=tiles(card),
        funnel=charts.funnel_bars(
            [
                {**step, "rows": step["kept"], "stage": LABELS.get(step["stage"], step["stage"])}
                for step in card["funnel"]
            ]
        ),
        lengths=bars(card["lengths"]["bars"]) if card["lengths"] else None,
        perplexity=perplexity(card["perplexity"]),
        languages=shares(card["languages"])[:_MOST_LANGUAGES],
        bands=shares(card["bands"] or []),
        written=written(card["chars"]),
        models=models(card["models"]),
        reasons=[reason for reason in card["reasons"] if reason["examples"]],
    )


def title(card: Value) -> str:
    """What the data set is."""
    return {
        "balance": "Balanced samples of developers' experience",
        "log": "An experience log",
    }.get(card["stage"], f"Samples after {card['stage']}")


def sentence(card: Value) -> str:
    """The data set in one sentence."""
    first = card["funnel"][0]
    people = card["users"]["count"]
    origin = f"Of {count(first['rows'])} {first['unit']}"
    kept = f"{count(card['samples'])} are left to be trained on"
    if card["balanced"]:
        kept = f"{count(card['samples'])} samples are trained on, in {count(card['copies'])} copies"
    who = f", from {count(people)} developer{'s' * (people != 1)}" if people else ""
    return f"{origin}, {kept}{who}."


def tiles(card: Value) -> list[tuple[str, str, str]]:
    """(name, figure, remark) of what people look for first."""
    found = [
        (
            "samples",
            count(card["samples"]),
            f"{percent(card['samples'] / card['rows'] if card['rows'] else None, 0)} of all rows",
        )
    ]
    if card["balanced"]:
        each = card["copies"] / card["samples"] if card["samples"] else None
        found.append(("copies", count(card["copies"]), f"{charts.decimal(each, 2)} of each sample"))
    if card["lengths"]:
        middle = card["lengths"]["quantiles"]["after"]
        about = "" if card["lengths"]["counted"] else "about "
        found.append(
            (
                "median target",
                f"{about}{count(middle['p50'])} tokens",
                f"99% have at most {count(middle['p99'])}",
            )
        )
    if card["voids"]:
        asked = card["voids"]["asked"]
        remark = (
            "silences for each target"
            if asked is None
            else f"silences for each target; asked for {ratio(asked)}"
        )
        found.append(("silence", ratio(card["voids"]["after"]["ratio"]), remark))
    if card["chars"]:
        total = sum(card["chars"].values())
        share = card["chars"]["human_chars"] / total if total else None
        found.append(("typed by people", percent(share, 0), "of the characters left in the gaps"))
    users = card["users"]
    found.append(("developers", count(users["count"]), f"the largest has {percent(users['largest_share'])}"))
    return found


def ratio(value: float | None) -> str:
    """`1 : 10` for 0.1."""
    if value is None:
        return NONE
    text = f"1 : {1 / value:.3g}" if 0 < value <= 1 else f"{value:.3g} : 1"
    return text.replace(" ", "\N{NO-BREAK SPACE}") if value else "0"


def bars(items: Sequence[Value]) -> dict[str, Any]:
    """Two bars side by side for every item, in percent of the plot."""
    highest = max((max(item["before"], item["after"]) for item in items), default=0) or 1
    width = 100 / len(items)
    return {
        "items": [
            {
                "x": round(width * place, 3),
                "width": round(width, 3),
                "name": item["name"],
                "before": round(100 * item["before"] / highest, 3),
                "after": round(100 * item["after"] / highest, 3),
                "text": f"{item['name']}: {count(item['before'])} before, {count(item['after'])} after",
            }
            for place, item in enumerate(items)
        ],
        "y": _heights(highest),
    }


def perplexity(value: Value | None) -> dict[str, Any] | None:
    """Bars on a logarithmic axis, the part that was sampled away, and where the tails begin."""
    if value is None:
        return None
    items = value["bars"]
    low, high = math.log10(items[0]["low"]), math.log10(items[-1]["high"])
    span = high - low

    def place(number: float) -> float:
        return round(100 * (math.log10(number) - low) / span, 3)

    highest = max(max(item["before"], item["after"]) for item in items) or 1
    return {
        "items": [
            {
                "x": place(item["low"]),
                "width": round(100 / len(items), 3),
                "before": round(100 * item["before"] / highest, 3),
                "after": round(100 * item["after"] / highest, 3),
                "text": f"{_three(item['low'])} to {_three(item['high'])}: {count(item['before'])} before, "
                f"{count(item['tail'])} of them sampled away as tail, {count(item['after'])} copies after",
            }
            for item in items
        ],
        "x": [
            (place(number), f"{number:,.0f}")
            for power in range(math.floor(low), math.ceil(high) + 1)
            for number in (10**power, 3 * 10**power)
            if low - 1e-9 <= math.log10(number) <= high + 1e-9
        ],
        "y": _heights(highest),
        "tails": [
            {"x": place(limit), "name": band, "limit": _three(limit)}
            for band, limit in sorted(value["tails"].items(), key=lambda pair: pair[1])
            if low <= math.log10(max(limit, 1e-9)) <= high
        ],
        "away": sum(item["tail"] for item in items),
    }


def _three(number: float) -> str:
    """Three digits that count, never an exponent: `6,630`, `0.12`."""
    return count(number) if number >= 100 else f"{number:.3g}"


def _heights(highest: int) -> list[tuple[float, str]]:
    return [
        (round(100 - 100 * tick / highest, 3), count(tick))
        for tick in ticks(0, highest, 4)
        if tick == int(tick)
    ]


def shares(items: Sequence[Value]) -> list[dict[str, Any]]:
    """Items with their share before and after, and bars relative to the largest."""
    totals = {when: sum(item[when] for item in items) or 1 for when in ("before", "after")}
    largest = max((item[when] / totals[when] for item in items for when in totals), default=0) or 1
    return [
        {
            **item,
            "name": words(item["name"]),
            **{f"{when}_share": item[when] / totals[when] for when in totals},
            **{f"{when}_width": round(100 * item[when] / totals[when] / largest, 3) for when in totals},
        }
        for item in items
    ]


def written(chars: Value | None) -> list[dict[str, Any]]:
    """Who wrote the characters: parts of one bar."""
    total = sum(chars.values()) if chars else 0
    if not chars or not total:
        return []
    names = (
        ("human_chars", "typed", "human"),
        ("model_chars", "from a model", "model"),
        ("pasted_chars", "pasted", "pasted"),
    )
    return [
        {
            "name": name,
            "class": style,
            "chars": chars[key],
            "share": chars[key] / total,
            "width": round(100 * chars[key] / total, 3),
        }
        for key, name, style in names
    ]


def models(items: Sequence[Value]) -> list[dict[str, Any]]:
    """Teachers and judges with the numbers that they come with."""
    found = []
    for item in items:
        flat = {
            key: value
            for key, value in item.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        for key in ("cost", "spent", "per_kept", "failed"):
            if isinstance(item.get(key), Mapping):
                flat |= {
                    f"{key} {name}": value
                    for name, value in item[key].items()
                    if isinstance(value, int | float)
                }
        facts = [
            (_FACTS.get(key, words(key)), f"{value:,.4g}" if isinstance(value, float) else count(value))
            for key, value in flat.items()
        ]
        found.append(
            {"role": item["role"], "stage": item["stage"], "name": item.get("name") or "", "facts": facts}
        )
    return found
