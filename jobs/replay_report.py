"""What `replay.json` holds: predictions, what was measured beside them, calibration, and what is not covered.

Pure: arrays and figures in, a JSON value out. Drawing is `replay_page`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from echo_ray.data import Manifest
from echo_ray.replay.features import FEATURES
from echo_ray.replay.predict import RATES, Answers, Figure, Fitted, Log, Predicted
from jobs.charts import count, percent, points
from jobs.replay_config import ReplayConfig
from jobs.replay_measured import Measured, overlap
from jobs.report import plain

VERSION = "1"
FAITHFUL = 0.9
"""Share of the control's answers that must come out as logged when it is asked again."""
FEW_USERS = 20
"""Users below which intervals are known to be rough."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One model that was asked."""

    label: str
    reference: str
    content: str
    answers: Answers
    same: float
    """Share of the drawn contexts in which it says what the control said, silence included."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the report tells beside the predictions."""

    section: ReplayConfig
    contexts: Manifest
    drawn: int
    languages: Sequence[str]
    log: Log
    logged: dict[str, Any]
    whole: dict[str, int]
    """`text`, `shown`, `accepted` of the users in the control's whole log."""
    fitted: Fitted
    arms: Sequence[Arm]
    again: bool
    """The first of `arms` is the control."""
    measured: Mapping[int, Measured]


def logged(answers: Answers, drawn: int, columns: Mapping[str, Any], at: Any) -> dict[str, Any]:
    """The control's proposals in the drawn contexts: what they are like, and what became of them."""
    shown, accepted = (float(columns[name][at].sum()) for name in ("shown", "accepted"))
    return {
        **text_of(answers, drawn),
        "shown": int(shown),
        "accepted": int(accepted),
        "acceptance_rate": accepted / shown if shown else None,
    }


def text_of(answers: Answers, drawn: int) -> dict[str, Any]:
    """What an arm's proposals in the drawn contexts are like; means over those that are not silent."""
    spoken = len(answers.chars)
    mean = answers.x.mean(axis=0) if spoken else np.full(len(FEATURES), np.nan)
    told = dict(zip(FEATURES, mean.tolist(), strict=True))
    return {
        "proposals": spoken,
        "silent_share": 1 - spoken / drawn if drawn else None,
        "mean_chars": float(answers.chars.mean()) if spoken else None,
        **{name: told[name] for name in ("exact", "whole", "leading", "similarity")},
    }


def build(facts: Facts, control: Predicted, predicted: Mapping[str, Predicted]) -> dict[str, Any]:
    """Value of `replay.json`, but for its provenance."""
    contexts, log = facts.contexts, facts.log
    asked = [_arm(arm, predicted[arm.label], facts.drawn) for arm in facts.arms]
    again = asked.pop(0) if facts.again else None
    for place, one in enumerate(asked):
        report = facts.measured.get(place)
        one["measured"] = None if report is None else _measured(report, one["difference"])
    whole = facts.whole
    value: dict[str, Any] = {
        "version": VERSION,
        "control": {
            "models": contexts.notes["models"],
            "log": {**whole, "acceptance_rate": _share(whole["accepted"], whole["shown"])},
            "contexts": facts.logged,
            "predicted": _figures(control.rates),
            "asked_again": again,
        },
        "candidates": asked,
        "contexts": {
            "samples": contexts.rows_in,
            "counted": contexts.rows_out,
            "drawn": facts.drawn,
            "left_out": contexts.drops,
            "users": len(log.users),
            "languages": list(facts.languages),
        },
        "model": {
            "features": list(FEATURES),
            "curves": facts.fitted.curves,
            "proposals": len(log.accepted),
            "accepted": int(log.accepted.sum()),
            "log_loss": facts.fitted.log_loss,
            "log_loss_of_mean": facts.fitted.log_loss_of_mean,
            "auc": facts.fitted.auc,
        },
        "calibration": [asdict(one) for one in facts.fitted.deciles],
    }
    value["sentences"] = [sentence(one, value) for one in asked]
    value["caveats"] = caveats(value, facts.section)
    found: dict[str, Any] = plain(value)
    return found


def sentence(one: Mapping[str, Any], value: Mapping[str, Any]) -> str:
    """One candidate in one sentence."""
    own = one["predicted"]["acceptance_rate"]["value"]
    base = value["control"]["predicted"]["acceptance_rate"]["value"]
    place = f"{count(value['contexts']['drawn'])} contexts of {count(value['contexts']['users'])} developers"
    if own is None or base is None:
        return f"In {place}, {one['label']} says nothing that could be accepted, so nothing is predicted."
    change = one["difference"]["acceptance_rate"]
    ends = change["ci95"]
    sure = f", 95% interval {_ends(ends)}" if ends else ", no interval"
    told = (
        f"In {place}, {percent(own)} of what {one['label']} would show is predicted to be accepted, against "
        f"{percent(base)} of the control's ({points(change['value'])}{sure})"
    )
    measured = one.get("measured")
    if not measured:
        return f"{told}; no experiment has measured it."
    found = measured["acceptance_rate"]
    agree = {
        True: "the intervals overlap",
        False: "the intervals do not overlap",
        None: "they cannot be compared, an interval is missing",
    }
    seen = f"{points(found['estimate'])}" + (f" ({_ends(found['ci95'])})" if found["ci95"] else "")
    return f"{told}; an experiment measured {seen}, and {agree[found['overlap']]}."


def caveats(value: Mapping[str, Any], section: ReplayConfig) -> list[str]:
    """What the prediction does not show, the particular first."""
    contexts, control = value["contexts"], value["control"]
    found = []
    again = control["asked_again"]
    if again is not None and again["same_as_control"] < FAITHFUL:
        found.append(
            f"Asked again, the control says what the log says in {percent(again['same_as_control'])} of the "
            "contexts only: another window, model or service left this log (serve.context_tokens, "
            "serve.suffix_share, serve.max_tokens), or it answered from its cache."
        )
    if len(control["models"]) > 1:
        found.append(
            f"The control is {len(control['models'])} models, and the log's proposals are of all of them."
        )
    if contexts["users"] < FEW_USERS:
        found.append(f"{contexts['users']} users are few; intervals over so few are rough.")
    lost = contexts["samples"] - contexts["counted"]
    if lost:
        found.append(
            f"{percent(lost / contexts['samples'])} of the samples are no contexts: they were not answered, "
            "nothing is known of what stood there in the end, or somebody was trained on their users."
        )
    if not section.refine:
        found.append("Answers are judged as the models wrote them; what a service cuts is not cut.")
    return [
        *found,
        "Contexts stay those of the control: what a candidate's accepted text would have changed further "
        "down, and requests that would not have been made after it, are missing, as is any effect of speed.",
        "People may decide by more than these features: by what they are doing, by trust, by what was shown "
        "before. A candidate whose proposals are unlike the control's is predicted beyond what was seen.",
        "What finally stood there holds what the control wrote and people took over, so the truth leans to "
        "the control, and candidates tend to be predicted too low where people take what they are given.",
        "The generation rate takes as many contexts for every typed character as the control had.",
        "The interval is over users; it does not hold another training seed, nor the choice of features.",
    ]


def _arm(arm: Arm, predicted: Predicted, drawn: int) -> dict[str, Any]:
    return {
        "label": arm.label,
        "reference": arm.reference,
        "content": arm.content,
        **text_of(arm.answers, drawn),
        "same_as_control": arm.same,
        "predicted": _figures(predicted.rates),
        "difference": _figures(predicted.difference),
    }


def _measured(report: Measured, difference: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"report": report.path}
    for name in RATES:
        found = report.rates[name]
        told[name] = {**found, "overlap": overlap(found["ci95"], difference[name]["ci95"])}
    return told


def _figures(found: Mapping[str, Figure]) -> dict[str, dict[str, Any]]:
    return {
        name: {"value": one.value, "ci95": None if one.ci95 is None else list(one.ci95)}
        for name, one in found.items()
    }


def _ends(ends: Sequence[float]) -> str:
    return f"{points(ends[0], unit=False)} to {points(ends[1], unit=False)}"


def _share(above: float, below: float) -> float | None:
    return above / below if below else None
