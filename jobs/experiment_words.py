"""The comparison of two served arms in words: verdict, reasons, caveats, and what the terminal says besides.

Everything is read off the `report.json` value; nobody writes a verdict by hand. What a report of simulated
users says alike is `verdict`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from echo_ray.experiment.decision import MIN_SHOWN, MIN_USERS, NOT_CONCURRENT, SAMPLE_RATIO, direction
from jobs import experiment_table, verdict
from jobs.charts import count, percent
from jobs.experiment_table import change, name_in
from jobs.verdict import doubt

Value = Mapping[str, Any]

_TOGETHER = 0.8  # share of the time with both arms below which the span is called into question
_AGREEMENT = 0.8  # Cohen's kappa below which the two witnesses are called into question


def sentence(value: Value) -> str:
    """The verdict: outcome, AR and GR with their intervals, over how many users."""
    treatment = name_in(value["arms"]["treatment"])
    head = {
        "improved": f"Ship {treatment}",
        "mixed": f"Mixed, do not ship {treatment}",
        "worse": f"Worse, do not ship {treatment}",
        "no_change": "No detectable change",
        "too_few_data": "Too few data to tell",
        "no_claim": "No claim",
    }
    return f"{head[value['decision']['outcome']]}: {told(value)}"


def told(value: Value) -> str:
    """The verdict without its outcome."""
    control, treatment = value["arms"]["control"], value["arms"]["treatment"]
    names = f"{name_in(control)} and {name_in(treatment)}"
    users = f"{count(control['users'])} and {count(treatment['users'])} users"
    found, invalid = value["decision"]["outcome"], value["decision"]["invalid"]
    if SAMPLE_RATIO in invalid:
        expected = [count(value["srm"]["expected"][arm["name"]]) for arm in (control, treatment)]
        return (
            f"{users} are in the arms where {expected[0]} and {expected[1]} were expected "
            f"(p = {value['srm']['p_value']:.1g}), so something loses users of one arm, and no difference "
            "can be believed before that is found."
        )
    if NOT_CONCURRENT in invalid:
        return (
            f"{names} were not served at the same time, so the model cannot be told from whatever else "
            f"changed in between, over {users}."
        )
    if found == "too_few_data":
        shown = f"{count(control['shown'])} and {count(treatment['shown'])} proposals shown"
        least = f"{MIN_USERS} users and {MIN_SHOWN} shown proposals in each arm"
        return f"{users} in {names}, {shown}; a verdict needs at least {least}."
    acceptance, generation = (value["difference"][k] for k in ("acceptance_rate", "generation_rate"))
    hint = doubt(acceptance) if found in ("worse", "no_change") and direction(acceptance) == 0 else ""
    tail = ""
    if found == "mixed":
        but = "; ".join(verdict.unmet(name) for name in value["decision"]["unmet"])
        tail = f", but {but}" if but else ", although that rose"
    return (
        f"with {name_in(treatment)} the acceptance rate is {percent(treatment['acceptance_rate'])} instead "
        f"of {percent(control['acceptance_rate'])}, {change('acceptance_rate', acceptance)}{hint}, and "
        f"generation rate moved by {change('generation_rate', generation)}{tail}, over {users}."
    )


def reasons(value: Value) -> list[str]:
    """Measured facts to weigh beside the verdict, most important first."""
    found: list[str] = []
    control, treatment = value["arms"]["control"], value["arms"]["treatment"]
    acceptance = value["difference"]["acceptance_rate"]
    together = value["concurrent"]
    if together["share"] is not None and 0 < together["share"] < _TOGETHER:
        found.append(
            f"Both arms were served in only {percent(together['share'], 0)} of the time, so what changed in "
            f"the rest may look like the model: set experiment.start_ms={together['start_ms']} and "
            f"experiment.end_ms={together['end_ms']}."
        )
    found += _versions(control, treatment)
    found += verdict.reasons(value)
    found += _latency(control, treatment)
    sharper = acceptance["cuped"]
    if sharper and sharper["estimate"] is not None and sharper["variance_reduction"]:
        found.append(
            "With the pre-period taken into account the difference of acceptance rate is "
            f"{change('acceptance_rate', sharper)} ({sharper['variance_reduction']:.0%} less variance)."
        )
    agreement = value["acceptance"]["agreement"]["both_arms"]
    if agreement and agreement["kappa"] is not None and agreement["kappa"] < _AGREEMENT:
        found.append(
            f"Clients' events and the request stream agree poorly on what was accepted "
            f"(kappa {agreement['kappa']:.2f}): find out why before relying on either."
        )
    # That time saved is missing is said once, among the caveats.
    return found + verdict.notes(value, ("time_saved",))


def _versions(control: Value, treatment: Value) -> list[str]:
    found = [
        f"{name_in(arm)} was served by {len(arm['models'])} model versions: it stands for their mixture."
        for arm in (control, treatment)
        if len(arm["models"]) > 1
    ]
    if len(control["models"]) == 1 and control["models"].keys() == treatment["models"].keys() != {"unknown"}:
        found.append("Both arms were served by the same model version: this is an A/A test.")
    return found


def _latency(control: Value, treatment: Value) -> list[str]:
    before, after = control["latency_p95_ms"], treatment["latency_p95_ms"]
    if not before or after is None or abs(after / before - 1) < 0.1:
        return []
    word = "rose" if after > before else "fell"
    return [f"The slowest 5% of answers: p95 {word} from {before:,.0f} to {after:,.0f} ms."]


def caveats(value: Value) -> list[str]:
    """What the figures do not show."""
    witness = [value["arms"][role]["users_by_witness"] for role in ("control", "treatment")]
    by_events, by_stream = (sum(arm.get(name, 0) for arm in witness) for name in ("events", "stream"))
    return [
        f"What was accepted: reported by the clients of {count(by_events)} users, inferred from the requests "
        f"of {count(by_stream)}. Where a client gives no time on the screen, it is the time until the next "
        "request.",
        "Typed, active time and retained characters come from the request stream: what happened between two "
        "requests, or after the last one, is not seen. A log of sparse requests shows less of it.",
        "Time saved cannot be measured in a served A/B: nobody did the same work without suggestions.",
        "Users are the unit and were assigned by the service; whoever sends no request is in no arm.",
    ]


def text(value: Value) -> str:
    """What the terminal shows."""
    srm = value["srm"]
    checked = f"p = {srm['p_value']:.3g}" if srm["p_value"] is not None else srm["reason"]
    left = {k: n for k, n in value["accounts"]["requests"].items() if k != "counted"}
    accounts = ", ".join(f"{n:,} {k.replace('_', ' ')}" for k, n in left.items()) or "none"
    counted = value["accounts"]["requests"].get("counted", 0)
    facts = [
        f"Period: {period(value)}",
        f"Sample ratio: {checked}",
        f"Requests counted: {count(counted)}; not counted: {accounts}",
    ]
    return experiment_table.text(value, facts)


def period(value: Value) -> str:
    """First and last request of both arms, UTC."""
    arms = value["arms"].values()
    firsts = [arm["first_ms"] for arm in arms if arm["first_ms"] is not None]
    lasts = [arm["last_ms"] for arm in arms if arm["last_ms"] is not None]
    return f"{moment(min(firsts))} to {moment(max(lasts))}" if firsts else "no request counted"


def moment(ts_ms: float) -> str:
    """UTC time to the minute; what is outside the calendar stays a number."""
    try:
        return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return f"{ts_ms:.0f} ms"
