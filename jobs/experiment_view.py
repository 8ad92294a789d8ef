"""The first screen and the tables that the pages about experiments share, as the templates draw them.

From the `report.json` value alone, of simulated users or of a served A/B, also from one read back. Words and
figures are `experiment_table` and `verdict`, geometry is `charts`; templates escape every string.
"""

from collections.abc import Mapping
from typing import Any

from echo_ray.experiment.inputs import ORDER
from jobs import charts
from jobs import experiment_table as table
from jobs.charts import count, percent, points

Value = Mapping[str, Any]

HEADLINES = {
    "improved": ("▲", "Ship", "good"),
    "worse": ("▼", "Worse: do not ship", "bad"),
    "mixed": ("◆", "Mixed: do not ship", "warn"),
    "no_change": ("●", "No detectable change", "even"),
    "too_few_data": ("○", "Too few data", "even"),
    "no_claim": ("✕", "No claim: the arms are not comparable", "bad"),
}
"""Outcome: sign, headline and colour."""
_STATES = {"held": "good", "broken": "bad", "open": "warn", "unknown": "even"}
_CARDS = {"retained_chars_per_minute": "Retained text"}
_RATES = ("acceptance_rate", "generation_rate")


def view(value: Value) -> dict[str, Any]:
    """All that the shared parts of a page draw."""
    control, treatment = table.pair(value)
    sign, headline, colour = HEADLINES[value["decision"]["outcome"]]
    said = value["verdict"].split(": ", 1)[-1]
    found = value["difference"]
    return {
        "badge": {"sign": sign, "text": headline, "class": colour},
        "said": said[:1].upper() + said[1:],
        "control": control,
        "treatment": treatment,
        "cards": cards(value),
        "sure": sure(value),
        "rows": [row(name, found[name]) for name in table.METRICS if name in found],
        "latency": [
            (level, *(count(arm[f"latency_{level}_ms"]) for arm in (control, treatment)))
            for level in ("p50", "p95")
            if f"latency_{level}_ms" in control
        ],
        "methods": {table.METRICS[name][0]: methods(name, found[name]) for name in ORDER if name in found},
        "guardrails": guardrails(value),
        "gates": gates(value),
        "power": power(value),
        "lengths": lengths(value["length_matched"]),
        "flags": flags(value["flags"]),
    }


def cards(value: Value) -> list[dict[str, Any]]:
    """The claims on the first screen, in the order in which they are made."""
    found = value["difference"]
    scales = charts.intervals({name: found[name] for name in _RATES})
    for name in ORDER[2:]:
        if name in found:
            scale = 100 if table.METRICS[name][2] == "share" else 1
            scales |= charts.intervals({name: found[name]}, scale)
    return [card(name, value, scales[name]) for name in ORDER if name in found]


def card(name: str, value: Value, chart: Value) -> dict[str, Any]:
    """One claim: from what to what, by how much, how sure."""
    found, saving = value["difference"][name], name == "time_saved"
    tests = [("t test", found["p_value"]), ("permutation", found["permutation_p"])]
    return {
        "name": _CARDS.get(name, table.METRICS[name][0]),
        "under": _under(name, value),
        "was": None if saving else table.figure(name, found["control"]),
        "now": table.figure(name, found["treatment"]),
        "delta": table.shift(name, found["estimate"], unit=True),
        "range": table.spread(name, found["ci95"]),
        "chart": chart,
        "spoken": f"{table.METRICS[name][0]}: {table.change(name, found)}",
        "tests": [f"{label} {charts.p_value(p)}" for label, p in tests if p is not None],
        "agrees": found["agrees"],
        "reason": found["reason"],
    }


def _under(name: str, value: Value) -> str:
    """What a figure of a card is counted over."""
    arms = table.pair(value)
    if name == "acceptance_rate":
        return f"of {' and '.join(count(arm['shown']) for arm in arms)} proposals shown"
    if name == "generation_rate":
        written = (count(arm["accepted_chars"] + arm["typed_chars"]) for arm in arms)
        return f"of {' and '.join(written)} characters written"
    if name == "time_saved" and "time_saved_s" in value["difference"]:
        seconds = value["difference"]["time_saved_s"]["estimate"]
        return f"of the same work, {charts.signed(seconds, 0)} seconds per user"
    return "characters a minute, accepted and still there" if name == "retained_chars_per_minute" else ""


def sure(value: Value) -> list[dict[str, str]]:
    """How sure it is, in three lines: what may be claimed, what a gain must not cost, what can be found."""
    passed = [table.name_of(gate["name"]) for gate in value["gates"] if gate["passed"]]
    states = list(value["decision"]["guardrails"].values())
    several = [f"{states.count(state)} {state}" for state in _STATES if state in states]
    told = [("May be claimed", ", ".join(passed) or "nothing"), ("Guardrails", ", ".join(several) or "none")]
    smallest = value["power"]["acceptance_rate"]["mde"]
    if smallest is not None:
        told.append(("Can find", f"{points(smallest, sign=False)} of acceptance rate, four times in five"))
    users = " and ".join(count(arm["users"]) for arm in table.pair(value))
    told.append(("Users", f"{users}; every interval is over users"))
    return [{"label": label, "text": text} for label, text in told]


def row(name: str, found: Value) -> dict[str, Any]:
    """One metric of the table."""
    return {
        "name": table.METRICS[name][0],
        "about": table.METRICS[name][1],
        "control": table.figure(name, found["control"]),
        "treatment": table.figure(name, found["treatment"]),
        "difference": table.shift(name, found["estimate"]),
        "range": table.spread(name, found["ci95"]),
        "reason": found["reason"],
        "strong": name in ORDER,
    }


def gates(value: Value) -> list[dict[str, str]]:
    """The claims in their fixed order."""
    made = []
    for gate in value["gates"]:
        if gate["passed"]:
            state, colour = "shown", "good"
        elif value["decision"]["invalid"]:
            state, colour = "no claim", "bad"
        elif gate["tested"]:
            state, colour = "not shown", "even"
        else:
            state, colour = "not asked, one before it was not shown", "even"
        made.append({"name": table.METRICS[gate["name"]][0], "state": state, "class": colour})
    return made


def power(value: Value) -> list[dict[str, str]]:
    """What a run of this size can find."""
    made = []
    for name, one in value["power"].items():
        sized = one["users_needed"]
        made.append(
            {
                "name": table.METRICS[name][0],
                "mde": charts.NONE
                if one["mde"] is None
                else table.shift(name, one["mde"], unit=True).lstrip("+"),
                "expected": "" if one["expected"] is None else points(one["expected"], sign=False),
                "power": "" if one["power"] is None else percent(one["power"], 0),
                "users": "" if sized is None else count(sized),
            }
        )
    return made


def methods(name: str, found: Value) -> list[dict[str, str]]:
    """Every method's answer about one metric, the primary first and the wrong one last."""
    several: list[tuple[str, Value | None]] = [
        ("Delta method, users (primary)", found),
        ("Corrected for few users", found["few"]),
        ("Bootstrap over users (BCa)", {"estimate": found["estimate"], "ci95": found["bootstrap_ci95"]}),
        ("Permutation of users", {"estimate": found["estimate"], "p_value": found["permutation_p"]}),
        ("CUPED, with the pre-period", found["cuped"]),
        ("May be looked at any time", found["sequential"]),
        (
            "Wrong: proposals as independent",
            found["naive"] and {"estimate": found["estimate"], **found["naive"]},
        ),
    ]
    made = []
    for label, one in several:
        if one is None:
            continue
        ends = one.get("ci95") or one.get("interval") or [None, None]
        p_value = one.get("p_value")
        made.append(
            {
                "label": label,
                "estimate": table.shift(name, one.get("estimate", found["estimate"])),
                "range": table.spread(name, list(ends)),
                "p": "" if p_value is None else charts.p_value(p_value),
                "reason": one.get("reason") or "",
            }
        )
    return made


def guardrails(value: Value) -> list[dict[str, str]]:
    """How each guardrail stands."""
    made = []
    for name, state in value["decision"]["guardrails"].items():
        found = value["difference"].get(name)
        made.append(
            {
                "name": table.METRICS[name][0],
                "state": state,
                "class": _STATES[state],
                "margin": points(value["guardrails"][name]["margin"], sign=False),
                "difference": table.shift(name, found["estimate"]) if found else "",
                "range": table.spread(name, found["ci95"]) if found else "",
            }
        )
    return made


def lengths(matched: Value) -> list[dict[str, Any]]:
    """Acceptance rate by length of the proposal."""
    made = []
    for one in matched["bins"]:
        high = "" if one["high"] is None else f"{one['high'] - 1:.0f}"
        label = f"{one['low']:.0f} to {high}" if high else f"{one['low']:.0f} or more"
        made.append(
            {
                "label": label if high != f"{one['low']:.0f}" else high,
                "shown": [count(number) for number in one["shown"]],
                "rates": [percent(rate) for rate in one["rates"]],
                "weight": percent(one["weight"], 0),
            }
        )
    return made


def flags(found: list[Value], most: int = 12) -> dict[str, Any]:
    """Flagged users: how many by reason and arm, and the first few."""
    by_reason: dict[str, dict[str, int]] = {}
    for flag in found:
        arms = by_reason.setdefault(flag["reason"], {})
        arms[flag["arm"]] = arms.get(flag["arm"], 0) + 1
    return {"by_reason": by_reason, "first": found[:most], "more": max(0, len(found) - most)}
