"""The comparison of two served arms in words: verdict, reasons, caveats and the table on the terminal.

Everything is read off the `report.json` value; nobody writes a verdict by hand.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from echo_ray.experiment.decision import MIN_SHOWN, MIN_USERS, NOT_CONCURRENT, SAMPLE_RATIO, direction
from jobs.charts import NONE, count, decimal, percent, points, signed
from jobs.verdict import change, doubt, moved

Value = Mapping[str, Any]

HEADLINES = {
    "improved": "Ship",
    "mixed": "Mixed: do not ship",
    "no_change": "No detectable change",
    "worse": "Worse: do not ship",
    "too_few_data": "Too few data",
    "no_claim": "No claim: the arms are not comparable",
}
_UNMET = {
    "generation_rate_fell": "generation rate fell",
    "generation_rate_loss_not_ruled_out": "a loss of generation rate of more than one point is not ruled out",
    "time_saved_not_above_zero": "time saved did not rise",
}
METRICS = {
    "acceptance_rate": ("Acceptance rate", "accepted / shown", "share"),
    "generation_rate": ("Generation rate", "accepted / all characters written", "share"),
    "retained_chars_per_minute": ("Retained characters per active minute", "", "number"),
    "retained_share": ("Retained", "of accepted characters, when their gap closed", "share"),
    "acceptance_rate_with_partial": ("Acceptance rate, parts counted", "", "share"),
    "shown_rate": ("Shown per request", "", "share"),
    "exposures_per_typed_char": ("Shown per 100 typed characters", "", "hundred"),
    "mean_shown_chars": ("Mean length shown", "characters", "number"),
    "silence_rate": ("Silent answers", "of delivered ones", "share"),
    "abandoned_rate": ("Abandoned before the answer", "of requests", "share"),
    "sentinel_leak_rate": ("Sentinel leaks", "of answers with text", "share"),
}
"""Metric: name, what it is in a few words, and how it is written."""
_TOGETHER = 0.8  # share of the time with both arms below which the span is called into question
_AGREEMENT = 0.8  # Cohen's kappa below which the two witnesses are called into question


def name_in(arm: Value) -> str:
    """The arm's name for one line of text: a log may hold any, control characters too."""
    name = " ".join("".join(c if c.isprintable() else " " for c in arm["name"]).split())
    return name[:60] or "(no name)"


def name_of(metric: str) -> str:
    """The metric's name inside a sentence."""
    text = METRICS[metric][0]
    return text[0].lower() + text[1:]


def figure(metric: str, value: float | None) -> str:
    """A figure as people read it."""
    kind = METRICS[metric][2]
    if value is None:
        return NONE
    if kind == "share":
        return percent(value) if value >= 0.001 or value == 0 else percent(value, 3)
    return decimal(100 * value) if kind == "hundred" else decimal(value)


def shift(metric: str, value: float | None) -> str:
    """A difference with its sign; shares in points."""
    kind = METRICS[metric][2]
    if value is None:
        return NONE
    if kind == "share":
        return points(value, unit=False)
    return signed(100 * value if kind == "hundred" else value)


def spread(metric: str, ends: list[float | None]) -> str:
    """An interval, empty where there is none."""
    return "" if ends[0] is None else f"{shift(metric, ends[0])} to {shift(metric, ends[1])}"


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
        but = "; ".join(_unmet(name) for name in value["decision"]["unmet"])
        tail = f", but {but}" if but else ", although that rose"
    return (
        f"with {name_in(treatment)} the acceptance rate is {percent(treatment['acceptance_rate'])} instead "
        f"of {percent(control['acceptance_rate'])}, {change(acceptance)}{hint}, and generation rate moved by "
        f"{change(generation)}{tail}, over {users}."
    )


def _unmet(name: str) -> str:
    guardrail = name.removesuffix("_broken")
    return _UNMET.get(name) or f"{name_of(guardrail)} broke its guardrail"


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
    for metric, state in value["decision"]["guardrails"].items():
        margin = points(value["guardrails"][metric]["margin"], sign=False)
        if state == "broken":
            found.append(f"Guardrail broken: {name_of(metric)} got worse by more than {margin}.")
        elif state == "open":
            found.append(f"Guardrail open: {name_of(metric)} may have got worse by more than {margin}.")
    if direction(acceptance) == 0 and acceptance["se"]:
        # 2.8 = 1.96 + 0.84: the effect that a two-sided 5% test finds in 80% of experiments.
        found.append(
            "This experiment finds a change of acceptance rate reliably (four times in five) only from "
            f"about {points(2.8 * acceptance['se'], sign=False)}."
        )
    for key, label in (
        ("shown_rate", "Proposals shown per request"),
        ("mean_shown_chars", "Mean length of a shown proposal"),
        ("retained_chars_per_minute", "Retained characters per active minute"),
    ):
        found += moved(label, control.get(key), treatment.get(key), key)
    found += _lengths(value["length_matched"])
    found += _latency(control, treatment)
    sharper = acceptance["cuped"]
    if sharper and sharper["estimate"] is not None and sharper["variance_reduction"]:
        found.append(
            f"With the pre-period taken into account the difference of acceptance rate is {change(sharper)} "
            f"({sharper['variance_reduction']:.0%} less variance)."
        )
    agreement = value["acceptance"]["agreement"]["both_arms"]
    if agreement and agreement["kappa"] is not None and agreement["kappa"] < _AGREEMENT:
        found.append(
            f"Clients' events and the request stream agree poorly on what was accepted "
            f"(kappa {agreement['kappa']:.2f}): find out why before relying on either."
        )
    # That time saved is missing is said once, among the caveats.
    return found + [
        note for note in value["notes"] if value["missing"] != ["time_saved"] or "lack of" not in note
    ]


def _versions(control: Value, treatment: Value) -> list[str]:
    found = [
        f"{name_in(arm)} was served by {len(arm['models'])} model versions: it stands for their mixture."
        for arm in (control, treatment)
        if len(arm["models"]) > 1
    ]
    if len(control["models"]) == 1 and control["models"].keys() == treatment["models"].keys() != {"unknown"}:
        found.append("Both arms were served by the same model version: this is an A/A test.")
    return found


def _lengths(matched: Value) -> list[str]:
    if matched["estimate"] is None:
        return []
    told = f"At equal proposal lengths the difference of acceptance rate is {change(matched)}"
    if matched["covered"] and min(matched["covered"]) < 0.9:
        told += f", over {percent(min(matched['covered']), 0)} of the proposals"
    return [f"{told}; lengths explain {points(matched['explained'])} of the plain one."]


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
    """What the terminal shows: the decision, the metrics of both arms, what to weigh beside them."""
    control, treatment = value["arms"]["control"], value["arms"]["treatment"]
    grid = [["", name_in(control), name_in(treatment), "difference", "95% interval", "p"]]
    grid += [
        [label, *(count(arm[key]) for arm in (control, treatment)), "", "", ""] for label, key in _TOTALS
    ]
    for metric in METRICS:
        found = value["difference"].get(metric)
        if found is None:
            continue
        row = [METRICS[metric][0], figure(metric, found["control"]), figure(metric, found["treatment"])]
        p_value = found["p_value"]
        said = "" if p_value is None else "<0.001" if p_value < 0.001 else f"{p_value:.3f}"
        grid.append([*row, shift(metric, found["estimate"]), spread(metric, found["ci95"]), said])
    for level in ("p50", "p95"):
        pair = [arm[f"latency_{level}_ms"] for arm in (control, treatment)]
        grid.append([f"Latency {level}, ms", *map(count, pair), "", "", ""])
    widths = [max(len(line[n]) for line in grid) for n in range(len(grid[0]))]
    lines = [
        "  ".join(
            [line[0].ljust(widths[0]), *(c.rjust(widths[n]) for n, c in enumerate(line[1:], 1))]
        ).rstrip()
        for line in grid
    ]
    srm = value["srm"]
    checked = f"p = {srm['p_value']:.3g}" if srm["p_value"] is not None else srm["reason"]
    states = ", ".join(f"{name_of(m)} {s}" for m, s in value["decision"]["guardrails"].items())
    left = {k: n for k, n in value["accounts"]["requests"].items() if k != "counted"}
    accounts = ", ".join(f"{n:,} {k.replace('_', ' ')}" for k, n in left.items()) or "none"
    counted = value["accounts"]["requests"].get("counted", 0)
    facts = [
        f"Period: {period(value)}",
        f"Sample ratio: {checked}",
        f"Guardrails: {states}",
        f"Requests counted: {count(counted)}; not counted: {accounts}",
    ]
    notes = [f"- {reason}" for reason in value["reasons"]]
    return "\n".join([value["verdict"], "", *lines, "", *facts, *(["", *notes] if notes else [])])


_TOTALS = (("Users", "users"), ("Requests", "requests"), ("Shown", "shown"), ("Accepted", "accepted"))


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
