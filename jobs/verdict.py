"""One plain sentence about an experiment, generated from its numbers, and what may lie behind it.

The rule is `echo_ray.experiment.decision`; here it gets words.

Reasons are facts read off the same report, never guesses at causes. Not covered: time saved, drift over
days, differences between languages.
"""

from collections.abc import Mapping
from typing import Any

from echo_ray.experiment.decision import MIN_SHOWN, MIN_USERS, decide, direction
from jobs.charts import count, decimal, percent, points

PAPER_SAMPLES = 30_000
"""Smallest training set of the paper's scaling study (5.5)."""

_RELATIVE = 0.10  # changes of context smaller than this are not worth a reader's time

Report = Mapping[str, Any]


def outcome(report: Report) -> str:
    """`improved`, `mixed`, `no_change`, `worse` or `too_few_data` (`echo_ray.experiment.decision`)."""
    return decide(list(report["arms"].values()), report["difference"]).outcome.value


def sentence(report: Report) -> str:
    """The verdict: outcome, AR with its interval, GR with its interval, and over how many users."""
    found = outcome(report)
    base, echo = report["arms"]["base"], report["arms"]["echo"]
    if found == "too_few_data":
        return (
            f"Too few data to tell: {count(base['users'])} and {count(echo['users'])} users in the two arms, "
            f"{count(base['shown'])} and {count(echo['shown'])} proposals shown; a verdict needs at least "
            f"{MIN_USERS} users and {MIN_SHOWN} shown proposals in each arm."
        )
    acceptance, generation = (report["difference"][k] for k in ("acceptance_rate", "generation_rate"))
    ar = (
        f"simulated acceptance rate went from {percent(base['acceptance_rate'])} to "
        f"{percent(echo['acceptance_rate'])}, {change(acceptance)}"
    )
    gr = f"generation rate moved by {change(generation)}"
    who = (
        f"over {count(echo['users'])} simulated users who each worked with both models"
        if report["design"]["twins"]
        else f"over {count(base['users'])} and {count(echo['users'])} simulated users"
    )
    sign = direction(generation)
    match found:
        case "improved":
            return f"Improved: {ar}, and {gr}, {who}."
        case "worse" if direction(acceptance) < 0:
            return f"Worse: {ar}, and {gr}, {who}."
        case "worse":
            return f"Worse: {ar}{doubt(acceptance)}, but {gr}, {who}."
        case "mixed" if direction(acceptance) < 0:
            return f"Mixed, not an improvement: {ar}, although {gr}, {who}."
        case "mixed":
            loss = "" if sign < 0 else ", so a loss of more than one point is not ruled out"
            return f"Mixed, not an improvement: {ar}, but {gr}{loss}, {who}."
    tail = f", although {gr}" if sign > 0 else f", and {gr}"
    return f"No detectable change: {ar}{doubt(acceptance)}{tail}, {who}."


def reasons(report: Report) -> list[str]:
    """Measured facts that a reader should weigh beside the verdict, most important first."""
    found: list[str] = []
    base, echo = report["arms"]["base"], report["arms"]["echo"]
    acceptance, generation = (report["difference"][k] for k in ("acceptance_rate", "generation_rate"))
    if direction(acceptance) * direction(generation) < 0:
        ups = (
            "rose while generation rate fell"
            if direction(acceptance) > 0
            else "fell while generation rate rose"
        )
        found.append(f"Acceptance rate {ups}: the arms trade rarity or length against precision.")
    if direction(acceptance) == 0 and acceptance["se"]:
        # 2.8 = 1.96 + 0.84: the effect that a two-sided 5% test finds in 80% of experiments.
        found.append(
            f"With {count(echo['users'])} users per arm this test finds a change of acceptance rate reliably "
            f"(four times in five) only from about {points(2.8 * acceptance['se'], sign=False)}."
        )
    for key, label in (
        ("shown_rate", "Proposals shown per request"),
        ("mean_shown_chars", "Mean length of a shown proposal"),
        ("retained_chars_per_minute", "Retained characters per active minute"),
    ):
        found += moved(label, base[key], echo[key], key)
    samples = [stage["rows"] for stage in report["funnel"] if stage["unit"] != "tokens"]
    if samples and samples[-1] < PAPER_SAMPLES:
        found.append(
            f"Trained on {count(samples[-1])} samples; "
            f"the paper's smallest study uses {count(PAPER_SAMPLES)}."
        )
    found += _loss_reasons(report["training"]["points"])
    for name, difference in (("acceptance rate", acceptance), ("generation rate", generation)):
        if difference["reason"]:
            found.append(f"Difference of {name}: {difference['reason']}.")
        elif difference["agrees"] is False:
            ratio = difference["bootstrap_se"] / difference["se"]
            found.append(
                f"The two methods disagree on {name}: the bootstrap's standard error is {ratio:.2f} times "
                "the delta method's, so a few users carry the result."
            )
    return found


def _loss_reasons(curve: list[Report]) -> list[str]:
    held = [(point["step"], point["held_out"]) for point in curve if point["held_out"] is not None]
    if len(held) < 2:
        return []
    first, last = held[0][1], held[-1][1]
    step, best = min(held, key=lambda pair: pair[1])
    if last >= first:
        return [f"Held-out loss did not fall: {first:.3f} at the start, {last:.3f} at the end."]
    if last > 1.01 * best:
        return [
            f"Held-out loss rose again after step {count(step)} ({best:.3f}, then {last:.3f}): over-trained."
        ]
    return []


def moved(label: str, before: float | None, after: float | None, key: str) -> list[str]:
    """A sentence about a rate that changed by a tenth or more."""
    if not before or after is None or abs(after / before - 1) < _RELATIVE:
        return []
    style = percent if key == "shown_rate" else decimal
    word = "rose" if after > before else "fell"
    return [f"{label} {word} by {abs(after / before - 1):.0%}, from {style(before)} to {style(after)}."]


def change(difference: Report) -> str:
    """`+3.7 points (95% interval +1.2 to +6.1)`."""
    estimate, (low, high) = difference["estimate"], difference["ci95"]
    if estimate is None:
        return "an unknown amount (nothing to divide by)"
    if low is None:
        return f"{points(estimate)} (no interval)"
    return f"{points(estimate)} (95% interval {points(low, unit=False)} to {points(high, unit=False)})"


def doubt(difference: Report) -> str:
    """Why a change of AR does not count as one."""
    low, high = difference["ci95"]
    if low is None:
        return ""
    if low <= 0 <= high:
        return ", which is compatible with no change"
    return ", which the bootstrap or the permutation test does not confirm"
