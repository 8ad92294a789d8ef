"""What a study showed, in one paragraph made from its numbers, the most important control first.

Rule: a difference is claimed when its 95% interval, over users and training seeds, leaves zero out and its
p-value, corrected for the number of questions of its kind, is at most 0.05. Everything else is "no difference
was shown", which is not "there is none". A gain of acceptance rate is told together with generation rate, and
with a warning where a loss of more than a point of it is not ruled out. Nothing here guesses at causes.

Not covered: shipping decisions, which are those of `experiment`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.charts import decimal, points

GR_MARGIN = 0.01
"""Largest loss of GR that a gain of AR may hide (one point)."""
SAME_FILES = "M0'"
STATIC = "M0"
WHOLE = "M5"
STEPS = (("M2", "M1"), ("M3", "M2"), ("M4", "M3"), ("M5", "M4"))
"""The steps of figure 4, each against the arm without it."""
_WORTH_TELLING = 0.01
"""Share of the target tokens from which a lack of them is told; whole samples never match exactly."""
PAPER_GAIN = "+10.0 points of AR, +3.1 of GR"
"""Figure 4 of the paper, last against first."""

Value = Mapping[str, Any]


def paragraph(value: Value) -> list[str]:
    """The sentences of the paragraph. A study without comparisons says so."""
    contrasts = value["contrasts"]
    if not contrasts:
        said = ["Nothing was compared, so nothing is claimed."]
    else:
        primary = [one for one in contrasts if one["primary"]]
        others = [one for one in contrasts if not one["primary"]]
        said = _asked(primary)
        if value["figure"] == "fig4":
            said += _paper(others) + _steps(others)
            others = [one for one in others if _pair(one) not in ((WHOLE, STATIC), *STEPS)]
        elif value["figure"] == "table1":
            said += _languages(others)
            others = []
        said += _rest(others)
    said += _trend(value) + _depth(value)
    if any(one["difference"]["acceptance_rate"]["one_seed"] for one in contrasts):
        said.append("Each arm was trained once, so the intervals are of these models, not of the method.")
    return said


def caveats(value: Value) -> list[str]:
    """What a reader must know before believing any of it."""
    said = [
        "Developers are simulated: directions may be compared with the paper, levels may not.",
        "Intervals of comparisons cover users and, with several seeds, training; the users are the same in "
        "all arms, so they are narrower than those of single arms suggest.",
        "No difference shown means that the data do not tell, not that there is none.",
    ]
    correction = value["provenance"].get("correction") or "holm"
    named = {"holm": "Holm", "bh": "Benjamini-Hochberg"}[correction]
    said.append(
        f"Claims are corrected for several questions ({named}), the primary ones apart from the others."
    )
    repeats = [arm["name"] for arm in value["arms"] if (arm["data"].get("repeats") or 1) > 1]
    if repeats:
        said.append(
            f"To reach the same number of target tokens, samples were repeated in {_listed(repeats)}."
        )
    short = [
        arm["name"]
        for arm in value["arms"]
        if (arm["data"].get("missing_tokens") or 0) > _WORTH_TELLING * arm["data"].get("target_tokens", 0)
    ]
    if short:
        said.append(f"Fewer target tokens than the arm that they are matched to: {_listed(short)}.")
    odd = [" against ".join(_pair(one)) for one in value["contrasts"] if one["disagreements"]]
    if odd:
        said.append(f"Delta method and bootstrap disagree about the error of {_listed(odd)}.")
    if not value["paper"]["rows"]:
        said.append("The text of the paper gives no numbers here, so only its claim stands beside ours.")
    return said


def moved(difference: Value) -> str:
    """`+1.2 points (95% interval +0.3 to +2.1)`."""
    low, high = difference["ci95"]
    if difference["value"] is None:
        return "not measured"
    if low is None or high is None:
        return f"{points(difference['value'])} (no interval)"
    return f"{points(difference['value'])} ({_interval(low, high)})"


def _interval(low: float, high: float) -> str:
    return f"95% interval {points(low, unit=False)} to {points(high, unit=False)}"


def verdict(contrast: Value) -> str:
    """`higher`, `lower`, `not shown` or `unknown`, for acceptance rate."""
    difference = contrast["difference"]["acceptance_rate"]
    if difference["ci95"][0] is None:
        return "unknown"
    return {1: "higher", -1: "lower", 0: "not shown"}[difference["claimed"]]


def _asked(primary: Sequence[Value]) -> list[str]:
    """The primary questions, one population at a time, or by name where there are many."""
    if len(primary) > 2:
        return _languages(primary)
    said = []
    for one in primary:
        said.append(_one(one))
        if _pair(one) == (WHOLE, SAME_FILES):
            meant = {
                "higher": "So the gain is more than knowledge of the same files.",
                "lower": "So static training on the same files did better than the pipeline.",
                "not shown": "So it was not shown that the pipeline gives more than the same files do.",
            }
            said += [meant[verdict(one)]] if verdict(one) in meant else []
    return said


def _one(contrast: Value) -> str:
    """One comparison, AR with GR."""
    treatment, control = _pair(contrast)
    acceptance = contrast["difference"]["acceptance_rate"]
    generation = contrast["difference"]["generation_rate"]
    ar, gr = moved(acceptance), moved(generation)
    found = verdict(contrast)
    if found == "unknown":
        return f"{treatment} against {control} cannot be judged: AR {ar}, GR {gr}."
    if found == "not shown":
        return f"No difference in simulated AR was shown between {treatment} and {control}: {ar}; GR {gr}."
    told = f"{treatment} had a {found} simulated AR than {control}: {ar}; GR {gr}."
    low = generation["ci95"][0]
    if found == "higher" and (low is None or low < -GR_MARGIN):
        told += " A loss of GR of more than a point is not ruled out."
    return told


def _paper(contrasts: Sequence[Value]) -> list[str]:
    """The comparison that the paper makes."""
    return [
        f"The paper's comparison ({PAPER_GAIN}): {_lower(_one(one))}"
        for one in contrasts
        if _pair(one) == (WHOLE, STATIC)
    ]


def _steps(contrasts: Sequence[Value]) -> list[str]:
    by_pair = {_pair(one): one for one in contrasts}
    there = [by_pair[pair] for pair in STEPS if pair in by_pair]
    if not there:
        return []
    found = {name: [one for one in there if verdict(one) == name] for name in ("higher", "lower")}
    text = _grouped(there, "the step before it")
    if found["lower"]:
        held = "The monotonic increase of the paper did not hold"
    elif len(found["higher"]) == len(STEPS):
        held = "The monotonic increase of the paper held"
    else:
        held = "The monotonic increase of the paper was neither shown nor contradicted"
    return [f"Step by step: {text}. {held}."]


def _languages(contrasts: Sequence[Value]) -> list[str]:
    """Comparisons that ask the same of several populations."""
    said = []
    for pair in dict.fromkeys(map(_pair, contrasts)):
        mine = [one for one in contrasts if _pair(one) == pair]
        parts = []
        for name, words in (
            ("higher", "higher for"),
            ("lower", "lower for"),
            ("not shown", "not told apart for"),
        ):
            of = [
                f"{one['population']} ({points(one['difference']['acceptance_rate']['value'], unit=False)})"
                for one in mine
                if verdict(one) == name
            ]
            parts += [f"{words} {_listed(of)}"] if of else []
        unknown = [one["population"] for one in mine if verdict(one) == "unknown"]
        parts += [f"not to be judged for {_listed(unknown)}"] if unknown else []
        said.append(f"Simulated AR of {pair[0]} against {pair[1]}, in points, was {'; '.join(parts)}.")
        lost = [one["population"] for one in mine if one["difference"]["generation_rate"]["claimed"] < 0]
        said += [f"GR was lower for {_listed(lost)}."] if lost else []
    return said


def _rest(contrasts: Sequence[Value]) -> list[str]:
    if not contrasts:
        return []
    return [_sentence(_grouped(contrasts, None))]


def _grouped(contrasts: Sequence[Value], control: str | None) -> str:
    """Comparisons by what they showed; every one is named once."""
    several = len({one["population"] for one in contrasts}) > 1
    parts = []
    for found, words in (
        ("higher", "simulated AR was higher for"),
        ("lower", "simulated AR was lower for"),
        ("not shown", "no difference was shown for"),
        ("unknown", "nothing can be said of"),
    ):
        mine = [one for one in contrasts if verdict(one) == found]
        if not mine:
            continue
        names = []
        for one in mine:
            treatment, other = _pair(one)
            against = "" if control else f" against {other}"
            where = f", {one['population']}" if several else ""
            change = points(one["difference"]["acceptance_rate"]["value"])
            names.append(f"{treatment}{against}{where} ({change})")
        parts.append(
            f"{words} {_listed(names)}" + (f" over {control}" if control and found != "unknown" else "")
        )
    return "; ".join(parts)


def _trend(value: Value) -> list[str]:
    said = []
    for name, shown in (("bleu", "BLEU"), ("exact_match", "Exact match")):
        found = value["trend"].get(name)
        if found is None:
            continue
        low, high = found["ci95"]
        change = f"{points(found['per_doubling'])} per doubling of the data ({_interval(low, high)})"
        if low > 0:
            said.append(f"{shown} rose with the number of samples: {change}.")
        elif high < 0:
            said.append(f"{shown} fell with the number of samples: {change}.")
        else:
            said.append(f"{shown} was not shown to change with the number of samples: {change}.")
    if said:
        said.append("Whether there is a plateau was not tested.")
    return said


def _depth(value: Value) -> list[str]:
    """How much is written for an acceptance: the paper's own figures say that it fell."""
    by_name = {arm["name"]: arm for arm in value["arms"]}
    if value["figure"] != "fig4" or not {WHOLE, STATIC} <= by_name.keys():
        return []
    arms = [by_name[name]["populations"] for name in (STATIC, WHOLE)]
    population = next((name for name in arms[0] if name in arms[1]), None)
    before, after = (arm[population]["depth"] if population else None for arm in arms)
    if not before or after is None:
        return []
    rows = value["paper"]["rows"]
    paper = f"; the paper's figures give {decimal(rows[0]['depth'], 2)}" if rows else ""
    return [
        f"Per acceptance and proposal shown, {WHOLE} wrote {decimal(after / before, 2)} times what {STATIC} "
        f"wrote{paper} (below 1: shorter or rarer proposals; no interval)."
    ]


def _pair(contrast: Value) -> tuple[str, str]:
    return contrast["treatment"], contrast["control"]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _lower(text: str) -> str:
    """`text` as it goes on behind a colon, where its first word is not a name."""
    return text[:1].lower() + text[1:] if text.startswith("No ") else text
