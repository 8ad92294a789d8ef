"""The report of simulated users in words: verdict, reasons, caveats, and what the terminal says besides.

Generated from the report; nobody writes a verdict by hand. What a served A/B says alike is `verdict`.
"""

from collections.abc import Mapping
from typing import Any

from echo_ray.experiment.decision import MIN_SHOWN, MIN_USERS, SAMPLE_RATIO, direction
from echo_ray.experiment.inputs import ORDER
from jobs import experiment_table, verdict
from jobs.charts import count, percent
from jobs.experiment_table import change, name_of, pair, spread
from jobs.report_inputs import Inputs
from jobs.verdict import doubt

Value = Mapping[str, Any]

PAPER_SAMPLES = 30_000
"""Smallest training set of the paper's scaling study (5.5)."""


def sentence(report: Value) -> str:
    """The verdict: outcome, AR with its interval, GR with its interval, and over how many users."""
    found = report["decision"]["outcome"]
    base, echo = pair(report)
    if SAMPLE_RATIO in report["decision"]["invalid"]:
        return (
            f"No claim: {count(base['users'])} and {count(echo['users'])} users are in the arms, which were "
            "to have as many each, so something loses users of one arm."
        )
    if found == "too_few_data":
        return (
            f"Too few data to tell: {count(base['users'])} and {count(echo['users'])} users in the two arms, "
            f"{count(base['shown'])} and {count(echo['shown'])} proposals shown; a verdict needs at least "
            f"{MIN_USERS} users and {MIN_SHOWN} shown proposals in each arm."
        )
    acceptance, generation = (report["difference"][k] for k in ("acceptance_rate", "generation_rate"))
    ar = (
        f"simulated acceptance rate went from {percent(base['acceptance_rate'])} to "
        f"{percent(echo['acceptance_rate'])}, {change('acceptance_rate', acceptance)}"
    )
    gr = f"generation rate moved by {change('generation_rate', generation)}"
    who = (
        f"over {count(echo['users'])} simulated users who each worked with both models"
        if report["design"]["twins"]
        else f"over {count(base['users'])} and {count(echo['users'])} simulated users"
    )
    sign = direction(generation)
    match found:
        case "improved":
            saved = report["difference"].get("time_saved")
            time = f", {_saved(saved)} of the time was saved" if saved else ""
            return f"Improved: {ar}, {gr}{time}, {who}."
        case "worse" if direction(acceptance) < 0:
            return f"Worse: {ar}, and {gr}, {who}."
        case "worse":
            return f"Worse: {ar}{doubt(acceptance)}, but {gr}, {who}."
        case "mixed" if direction(acceptance) < 0:
            return f"Mixed, not an improvement: {ar}, although {gr}, {who}."
        case "mixed":
            but = "; ".join(verdict.unmet(name) for name in report["decision"]["unmet"])
            return f"Mixed, not an improvement: {ar}, and {gr}, but {but}, {who}."
    tail = f", although {gr}" if sign > 0 else f", and {gr}"
    return f"No detectable change: {ar}{doubt(acceptance)}{tail}, {who}."


def reasons(report: Value) -> list[str]:
    """Measured facts that a reader should weigh beside the verdict, most important first."""
    found = verdict.reasons(report)
    samples = [stage["rows"] for stage in report["funnel"] if stage["unit"] != "tokens"]
    if samples and samples[-1] < PAPER_SAMPLES:
        found.append(
            f"Trained on {count(samples[-1])} samples; "
            f"the paper's smallest study uses {count(PAPER_SAMPLES)}."
        )
    found += _loss_reasons(report["training"]["points"])
    why: dict[str, list[str]] = {}
    for name in ORDER:
        reason = report["difference"].get(name, {}).get("reason")
        if reason:
            why.setdefault(reason, []).append(name_of(name))
    found += [f"Difference of {', '.join(names)}: {reason}." for reason, names in why.items()]
    # That parallel arms know no time saved is said once, among the caveats.
    said = () if report["design"]["twins"] else ("time_saved", "time_saved_s")
    return found + verdict.notes(report, said)


def caveats(inputs: Inputs, report: Value) -> list[str]:
    """What the figures do not show."""
    users = count(pair(report)[0]["users"])
    design = (
        f"Twins: the same {users} simulated users worked with both models under common random "
        "numbers, on the same work, so time saved is the difference of their active time."
        if inputs.twins
        else "Parallel arms: different simulated users worked with the two models. They did different work, "
        "so time saved is not known."
    )
    unknown = [
        name_of(name) for name, state in report["decision"]["guardrails"].items() if state == "unknown"
    ]
    absent = f"Guardrails that could not be checked: {', '.join(unknown)}." if unknown else ""
    leaks = (
        "Sentinel leaks are counted in what reached the developers; a service that cuts leaked tokens off "
        "hides them."
    )
    return [
        "Developers are simulated: these are simulated acceptance and generation rates, not those of people.",
        f"Acceptance policy {inputs.policy} was fitted to public telemetry of human programmers and frozen "
        f"before any model was trained (hash {inputs.policy_hash}).",
        design,
        f"Language: {inputs.language} only.",
        "One trained model: the intervals cover users, not the luck of another training seed.",
        leaks,
        *([absent] if absent else []),
        *inputs.caveats,
    ]


def text(report: Value) -> str:
    """What the terminal shows; the same table as for a served A/B."""
    base, echo = pair(report)
    design = "twins under common random numbers" if report["design"]["twins"] else "parallel arms"
    srm = report["srm"]
    checked = f"p = {srm['p_value']:.3g}" if srm["p_value"] is not None else srm["reason"]
    facts = [
        f"Design: {design}; base is {base['model']}, echo is {echo['model']}",
        f"Sample ratio: {checked}",
    ]
    return experiment_table.text(report, facts)


def _saved(difference: Value) -> str:
    """`2.1% (95% interval +1.2 to +3.0)`."""
    return f"{percent(difference['estimate'])} (95% interval {spread('time_saved', difference['ci95'])})"


def _loss_reasons(curve: list[Value]) -> list[str]:
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
