"""What the reports of experiments, simulated and served, say in the same words: generated from the numbers.

Reasons are facts read off the report, never guesses at causes. Not covered: drift over days, differences
between languages.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from echo_ray.experiment.decision import direction
from jobs.charts import count, percent, points
from jobs.experiment_table import METRICS, change, figure, name_of, pair

Value = Mapping[str, Any]

_RELATIVE = 0.10  # changes of context smaller than this are not worth a reader's time
_KEPT = "retained_chars_per_minute"
_LESS = 0.02  # proposals that are shorter or rarer by less explain no gain that anybody would ship
_UNMET = {
    "generation_rate_fell": "generation rate fell",
    "generation_rate_loss_not_ruled_out": "a loss of generation rate of more than one point is not ruled out",
    "time_saved_not_above_zero": "time saved did not rise",
}


def gain(value: Value) -> dict[str, Any]:
    """Better text, shorter text or rarer text? `shorter` and `rarer`: proposals are, beyond doubt;
    `sentence`: what that means for a rise of AR, None where AR did not rise.

    Rarer is per request or per typed character. A rise with rarer proposals may be silence where the model
    would have been wrong, which equal lengths do not show, so retained characters decide there.
    """
    found = value["difference"]
    shorter = _falls(found["mean_shown_chars"])
    rarer = [name for name in ("shown_rate", "exposures_per_typed_char") if _falls(found[name])]
    told = None
    if direction(found["acceptance_rate"]) > 0:
        told = _gain(value, shorter, rarer)
    return {"shorter": shorter, "rarer": bool(rarer), "sentence": told}


def _gain(value: Value, shorter: bool, rarer: list[str]) -> str:
    found, matched = value["difference"], value["length_matched"]
    if not shorter and not rarer:
        return "Acceptance rate rose, and nothing shows that proposals became shorter or rarer: better text."
    which = " and ".join([*["shorter"] * shorter, *["rarer"] * bool(rarer)])
    names = [*["mean_shown_chars"] * shorter, *rarer]
    moves = [
        f"{name_of(name)} {figure(name, found[name]['control'])} to {figure(name, found[name]['treatment'])}"
        for name in names
    ]
    told = f"Acceptance rate rose with {which} proposals ({'; '.join(moves)})"
    low = matched["ci95"][0]
    if matched["estimate"] is not None:
        told += f": at equal lengths it moved by {change('acceptance_rate', matched)}"
    kept = direction(found[_KEPT])
    if kept < 0:
        return (
            f"{told}; fewer characters are retained per minute: this is saying less, not better text that "
            "developers get more out of."
        )
    if kept > 0 and (not shorter or (low is not None and low > 0)):
        return f"{told}; more characters are retained per minute, so the text is better as well."
    if shorter and not rarer and low is not None and low > 0:
        return f"{told}, so shorter text does not explain all of it."
    return f"{told}; saying less may explain all of it."


def _falls(difference: Value) -> bool:
    """Whether a figure fell beyond doubt, and enough to matter."""
    estimate, control = difference["estimate"], difference["control"]
    if estimate is None or not control or estimate > -_LESS * control:
        return False
    return direction(difference) < 0 or difference["se"] == 0


def unmet(name: str) -> str:
    """Why a rise of AR is not enough."""
    return _UNMET.get(name) or f"{name_of(name.removesuffix('_broken'))} broke its guardrail"


def reasons(value: Value) -> list[str]:
    """Measured facts to weigh beside the verdict, most important first."""
    found: list[str] = []
    control, treatment = pair(value)
    acceptance, generation = (value["difference"][k] for k in ("acceptance_rate", "generation_rate"))
    if value["gain"]["sentence"]:
        found.append(value["gain"]["sentence"])
    if direction(acceptance) * direction(generation) < 0:
        up = direction(acceptance) > 0
        ups = "rose while generation rate fell" if up else "fell while generation rate rose"
        found.append(f"Acceptance rate {ups}: the arms trade rarity or length against precision.")
    for metric, state in value["decision"]["guardrails"].items():
        margin = points(value["guardrails"][metric]["margin"], sign=False)
        if state == "broken":
            found.append(f"Guardrail broken: {name_of(metric)} got worse by more than {margin}.")
        elif state == "open":
            found.append(f"Guardrail open: {name_of(metric)} may have got worse by more than {margin}.")
    found += _power(value, acceptance)
    # A sentence about saying less holds these figures already.
    less = value["gain"]["sentence"] and (value["gain"]["shorter"] or value["gain"]["rarer"])
    for key in (_KEPT,) if less else ("shown_rate", "mean_shown_chars", _KEPT):
        found += moved(key, control.get(key), treatment.get(key))
    return found if less else found + _lengths(value["length_matched"])


def notes(value: Value, said: Sequence[str] = ()) -> list[str]:
    """What the analysis says of itself; missing metrics that are `said` elsewhere are left out."""
    found = []
    for note in value["notes"]:
        name, colon, rest = note.partition(":")
        if "for lack of counts" not in note:
            found.append(f"{METRICS[name][0]}{colon}{rest}" if name in METRICS else note)
    missing = [name_of(name) for name in value["missing"] if name not in said]
    return found + ([f"Not measured, for lack of counts: {', '.join(missing)}."] if missing else [])


def _power(value: Value, acceptance: Value) -> list[str]:
    """What a run of this size can find, where it found nothing."""
    planned = value["power"]["acceptance_rate"]
    if direction(acceptance) or planned["mde"] is None:
        return []
    told = (
        "This experiment finds a change of acceptance rate reliably (four times in five) only from about "
        f"{points(planned['mde'], sign=False)}"
    )
    if planned["users_needed"] is not None and planned["users_needed"] > planned["users"]:
        size = points(planned["expected"], sign=False)
        told += f"; for {size} it would need {count(planned['users_needed'])} users"
    return [f"{told}."]


def _lengths(matched: Value) -> list[str]:
    if matched["estimate"] is None:
        return []
    told = (
        f"At equal proposal lengths the difference of acceptance rate is {change('acceptance_rate', matched)}"
    )
    if matched["covered"] and min(matched["covered"]) < 0.9:
        told += f", over {percent(min(matched['covered']), 0)} of the proposals"
    return [f"{told}; lengths explain {points(matched['explained'])} of the plain one."]


def moved(metric: str, before: float | None, after: float | None) -> list[str]:
    """A sentence about a figure that changed by a tenth or more."""
    if not before or after is None or abs(after / before - 1) < _RELATIVE:
        return []
    word = "rose" if after > before else "fell"
    size = f"{abs(after / before - 1):.0%}"
    return [
        f"{METRICS[metric][0]} {word} by {size}, from {figure(metric, before)} to {figure(metric, after)}."
    ]


def doubt(difference: Value) -> str:
    """Why a change of AR does not count as one."""
    low, high = difference["ci95"]
    if low is None:
        return ""
    if low <= 0 <= high:
        return ", which is compatible with no change"
    return ", which the bootstrap or the permutation test does not confirm"
