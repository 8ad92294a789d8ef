"""The counterfactual design: what the treatment would have come to at the requests of the control.

Developers live with the control; the treatment is asked beside it with the same bytes and judged by the same
rule with the same draws (`simulator.desk.shadow`). Both arms have the same opportunities, so the denominator
of AR moves only with what either proposes there, and not at all for `acceptance_rate_where_both_show`.

The report is `report.json` (the trunk of every experiment: `arms`, `difference`, `gates`) and a table; no
page. It decides nothing: what an acceptance of the treatment leads to was never lived, so generation rate,
retained characters and time saved do not exist, and a model is promoted on `twins` or `parallel`. Weights are
the control's: a place that the control leaves silent is asked about again, and counts every time.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from echo_ray.experiment.analyse import AnalysisConfig, analyse
from echo_ray.experiment.estimates import plain
from echo_ray.experiment.inputs import METRICS, Arm, Metric
from echo_ray.experiment.lengths import LENGTHS
from jobs import experiment_table
from jobs.charts import count, percent, points
from jobs.experiment_figures import COMMON, at_equal_lengths, sizes

ARMS = ("base", "echo")
_SUMS = ("answered", "silent", "leaks", "voids", "silent_voids", "shown_chars", "accepted", "partial",
         "accepted_chars")  # fmt: skip
_LIVED = ("generation_rate", "retained_chars_per_minute", "time_saved", "exposures_per_typed_char")
SHARED = (
    *(metric for metric in METRICS if metric.name not in _LIVED),
    Metric("acceptance_rate_where_both_show", ("pairs_taken",), ("pairs",), 1, share=True, expected=0.02),
    Metric("accepted_chars_per_request", ("accepted_chars",), ("delivered",), 1),
    *(metric for metric in COMMON if metric.name != "abandoned_rate"),
    Metric("void_recall", ("silent_voids",), ("voids",), 1, share=True),
)
"""What can be compared at shared prefixes."""
_NOTHING = {"estimate": None, "ci95": [None, None], "p_value": None}
_UNLIVED = "nobody lived with the treatment, so what it would have written is not known"


def rows(tallies: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Counts of control and treatment by user, from tallies of developers with a shadow."""
    control, treatment = list[dict[str, Any]](), list[dict[str, Any]]()
    for tally in tallies:
        shadow = tally["shadow"]
        requests = tally["requests"] - tally["cancelled"]
        both = {"user": tally["user"], "requests": requests, "delivered": requests}
        both["pairs"] = shadow.get("pairs", 0)
        own = {"painted": tally["shown"], "shown": tally["shown_750"]}
        other = {"painted": shadow.get("shown", 0), "shown": shadow.get("shown_750", 0)}
        own["pairs_taken"], other["pairs_taken"] = (
            shadow.get(f"pairs_{w}", 0) for w in ("control", "shadow")
        )
        for name in _SUMS:
            own[name], other[name] = tally[name], shadow.get(name, 0)
        for what in ("shown", "accepted"):
            for low in LENGTHS:
                name = f"{what}_from_{low}"
                own[name], other[name] = tally[f"{what}_by_length"].get(low, 0), shadow.get(name, 0)
        other |= {"cut": shadow.get("cut", 0), "same": shadow.get("same", 0)}
        control.append(both | {"cut": 0, "same": other["same"]} | own)
        treatment.append(both | other)
    return control, treatment


def build(
    tallies: Sequence[Mapping[str, Any]], models: Mapping[str, str], seed: int = 0, resamples: int = 10_000
) -> dict[str, Any]:
    """Value of `report.json`; `models`: version by arm (`ARMS`)."""
    control, treatment = (Arm.of(name, own) for name, own in zip(ARMS, rows(tallies), strict=True))
    settings = AnalysisConfig(twins=True, seed=seed, resamples=resamples)
    value = analyse(control, treatment, settings, SHARED).plain()
    value["version"], value["design"] = "1", {"name": "counterfactual", "unit": "user"}
    value["arms"] = {
        name: {"model": models[name], **arm} for name, arm in zip(ARMS, value["arms"].values(), strict=True)
    }
    value["difference"]["generation_rate"] = {**_NOTHING, "reason": _UNLIVED}
    value["length_matched"] = plain(at_equal_lengths(control, treatment, twins=True))
    value["power"] = {"acceptance_rate": sizes(control, treatment, SHARED[0], settings)}
    value["decision"] = {"outcome": None, "guardrails": {}, "reason": _UNLIVED}
    value["reasons"] = _reasons(value)
    value["verdict"] = _sentence(value)
    return value


def report(tallies: Path, models: Mapping[str, str], output: Path, seed: int, resamples: int) -> str:
    """Analyse the tallies in the JSON Lines file `tallies`, write `report.json` and return its table."""
    lines = [json.loads(line) for line in tallies.read_text(encoding="utf-8").splitlines()]
    value = build(lines, models, seed, resamples)
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    (output / "report.json").write_text(text + "\n", encoding="utf-8")
    (output / "report.html").unlink(missing_ok=True)  # of another design, run here before
    drawn = {**value, "difference": {k: v for k, v in value["difference"].items() if k != "generation_rate"}}
    return experiment_table.text(drawn, [])


def write_rows(tallies: Path, treatment: Path) -> None:
    """Leave the counts of the treatment, read off the control's tallies, as a file of their own."""
    lines = [json.loads(line) for line in tallies.read_text(encoding="utf-8").splitlines()]
    treatment.write_text("".join(json.dumps(row) + "\n" for row in rows(lines)[1]), encoding="utf-8")


def _sentence(value: Mapping[str, Any]) -> str:
    found = value["difference"]["acceptance_rate"]
    if found["estimate"] is None:
        return "No answer: one of the models showed nothing at these requests."
    low, high = found["ci95"]
    change = experiment_table.change("acceptance_rate", found)
    users = f"{count(value['arms']['base']['users'])} users"
    if low is None or low <= 0 <= high:
        return f"No detectable difference at the control's requests: acceptance rate {change}, {users}."
    word = "higher" if found["estimate"] > 0 else "lower"
    return f"At the control's requests the treatment's acceptance rate is {word}: {change}, {users}."


def _reasons(value: Mapping[str, Any]) -> list[str]:
    control, treatment = (value["arms"][name] for name in ARMS)
    told = []
    if treatment["painted"]:
        same = percent(treatment["same"] / treatment["painted"])
        told.append(f"{same} of what the treatment would have shown is what the control showed.")
    if treatment["cut"]:
        most = treatment["accepted"] / (treatment["shown"] + treatment["cut"])
        least = points(most - treatment["accepted"] / max(1, treatment["shown"]))
        told.append(
            f"Proposals cut short by the control's acceptances: {count(treatment['cut'])}; "
            f"if all had counted as shown, its acceptance rate would move by {least}."
        )
    if control["pairs"]:
        told.append(f"Both had something on the screen, and judged, at {count(control['pairs'])} requests.")
    told.append("Generation rate, retained characters and time saved are not measured: " + _UNLIVED + ".")
    return told
