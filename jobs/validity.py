"""Simulated against real developers, figure by figure (verb `validity`): `validity.json` and one page.

The truth of a run, which no stage may open, is reduced user by user to the figures that real developers
left in public. Every figure stands beside its target: those that a knob was turned for apart from those
that are predictions. Nothing is compared as if simulated people were people; the report says where a
simulation lands. A target that is missed stays missed, with the reason as far as the figures show one.

Invariants: no figure without its number of observations; intervals resample users; NaN never enters
the JSON (null). Not covered: fitting anything, several models on one page.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jobs import validity_page
from jobs.report import plain
from jobs.settings import RunConfig
from jobs.stages import folders
from jobs.validity_causes import cause
from jobs.validity_charts import curves
from jobs.validity_config import ValidityConfig
from jobs.validity_inputs import differences, facts, read_bounds, read_truth
from simulator.judge import published
from simulator.judge.measure import User
from simulator.judge.measure_edits import edit_figures
from simulator.judge.measure_table import Table, figures, observations, twins
from simulator.judge.observed import Observed, observe_all
from simulator.judge.published import Target

VERSION = "1"
SEED = 0
"""Key of the resamples; the same truth gives the same intervals."""
LISTS = {
    "calibration": published.CALIBRATION,
    "reported": published.REPORTED,
    "predicted": published.PREDICTED,
    "inputs": published.SET,
}


def validity(config: RunConfig, command: str) -> None:
    """Verb `validity`."""
    folders("validity", config.validity, judges=True)
    report = make(config.validity)
    data, page = write(report, _output(config.validity))
    print(validity_page.terminal(report))
    print(f"validity: {report['verdict']}")
    print(f"validity: the page is {page}; every figure is in {data}")


def make(config: ValidityConfig) -> dict[str, Any]:
    """Value of `validity.json`. Raises ConfigError for folders that do not hold what they should."""
    assert config.input is not None  # the verb has checked
    users = read_truth(config.input, "validity.input")
    control = None if config.control is None else read_truth(config.control, "validity.control")
    real, short = ([], 0) if config.traces is None else observe_all(config.traces, "validity.traces")
    bounds = None if config.bounds is None else read_bounds(config.bounds)
    report = build(users, control, real, bounds, config.resamples)
    report["real_too_short"] = short
    report["run"] = facts(config.input)
    report["differs_from_tallies"] = differences(config.input, users)
    return report


def build(
    users: Sequence[User],
    control: Sequence[User] | None,
    real: Sequence[Observed],
    bounds: Sequence[Mapping[str, Any]] | None,
    resamples: int,
) -> dict[str, Any]:
    """The report on measured users as a plain JSON value."""
    table = Table(users)
    own = figures(table)
    drawn = figures(table, table.resamples(resamples, SEED)) if len(users) > 1 else {}
    ci95 = {key: _interval(values) for key, values in drawn.items()}
    idle = None if control is None else figures(Table(control))
    seen = [
        {
            "name": item.name,
            "changes": item.changes,
            "figures": edit_figures(item.columns),
            "as_logged": None if item.as_logged is None else edit_figures(item.as_logged),
        }
        for item in real
    ]
    counts = observations(table)
    # These a run without suggestions has too.
    about_editing = frozenset({*edit_figures(table.sums(np.ones(len(users)))), "paste_share"})
    report: dict[str, Any] = {
        "version": VERSION,
        "users": len(users),
        "user_days": int(table.column("days").sum()),
        "clients": dict(sorted(_by_client(table).items())),
        "real": seen,
        "twins": None if control is None else twins(table, Table(control)),
    }
    for name, targets in LISTS.items():
        report[name] = [_row(target, own, ci95, idle, seen, counts, about_editing) for target in targets]
    listed = {target.key for targets in LISTS.values() for target in targets}
    report["other"] = {
        key: {"simulated": float(value), "ci95": ci95.get(key), "n": counts.get(key)}
        for key, value in own.items()
        if key not in listed
    }
    report["states"] = _states(table)
    report["curves"] = curves(table, real)
    report["bounds"] = None if bounds is None else _bounds(bounds, own, report["twins"])
    report = plain(report)
    judged = report["calibration"]
    report["missed"] = [row["key"] for row in judged if row["met"] is False]
    report["unknown"] = [row["key"] for row in judged if row["met"] is None]
    report["met"] = sum(row["met"] is True for row in judged)
    report["verdict"] = _verdict(report)
    return report


def write(report: Mapping[str, Any], folder: Path) -> tuple[Path, Path]:
    """Store `validity.json` and `validity.html` in `folder`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    data, page = folder / "validity.json", folder / "validity.html"
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    data.write_text(text + "\n", encoding="utf-8")
    page.write_text(validity_page.render(report), encoding="utf-8")
    return data, page


def _row(
    target: Target,
    own: Mapping[str, Any],
    ci95: Mapping[str, Any],
    idle: Mapping[str, Any] | None,
    seen: Sequence[Mapping[str, Any]],
    counts: Mapping[str, int],
    about_editing: frozenset[str],
) -> dict[str, Any]:
    value = float(own[target.key])
    known = None if math.isnan(value) else value
    met = target.met(known)
    why = " ".join(filter(None, (target.why, cause(target.key, own, idle)))) if met is False else None
    alone = None if idle is None or target.key not in about_editing else float(idle[target.key])
    return {
        "key": target.key,
        "title": target.title,
        "unit": target.unit,
        "published": [target.low, target.high],
        "source": target.source,
        "tolerance": target.tolerance,
        "relative": target.relative,
        "bounds": target.bounds,
        "fitted": target.fitted,
        "knob": target.knob,
        "simulated": known,
        "ci95": ci95.get(target.key),
        "n": counts.get(target.key),
        "without_suggestions": alone,
        "real": {row["name"]: row["figures"].get(target.key) for row in seen},
        "traced": any(target.key in row["figures"] for row in seen),
        "met": met,
        "why": why,
    }


def _interval(values: Any) -> list[float] | None:
    """95% of the resampled values; None when more than one in a hundred does not exist."""
    known = values[~np.isnan(values)]
    if len(known) < 0.99 * len(values):
        return None
    low, high = np.quantile(known, (0.025, 0.975))
    return [float(low), float(high)]


def _verdict(report: Mapping[str, Any]) -> str:
    rows = {row["key"]: row for row in report["calibration"]}
    total = len(rows)
    text = (
        f"{report['met']} of {total} calibration targets are met by {report['users']:,} simulated developers"
    )
    if report["missed"]:
        text += "; missed: " + ", ".join(rows[key]["title"] for key in report["missed"])
    if report["unknown"]:
        text += "; not measurable: " + ", ".join(rows[key]["title"] for key in report["unknown"])
    generated = rows["gr"]
    if generated["simulated"] is not None:
        text += (
            f". Simulated GR, a prediction, is {100 * generated['simulated']:.1f}%, "
            f"its target {100 * generated['published'][0]:.1f}%"
        )
    return text + "."


def _states(table: Table) -> list[dict[str, Any]]:
    """Share of active time in each state, with the published one where the state has one."""
    seconds = {name.removeprefix("state_"): float(table.column(name).sum()) for name in table.names("state_")}
    total = sum(seconds.values())
    return [
        {
            "state": name,
            "simulated": seconds.get(name, 0.0) / total if total else None,
            "published": published.STATE_SHARES.get(name),
        }
        for name in sorted(seconds | published.STATE_SHARES, key=lambda name: (-seconds.get(name, 0.0), name))
    ]


def _by_client(table: Table) -> dict[str, dict[str, float]]:
    found: dict[str, Counter[str]] = {}
    for user, client in enumerate(table.clients):
        counts = found.setdefault(client, Counter())
        counts["users"] += 1
        for name in ("days", "requests", "shown", "accepted"):
            counts[name] += int(table.column(name)[user, 0])
    return {client: dict(counts) for client, counts in found.items()}


def _bounds(
    rows: Sequence[Mapping[str, Any]], own: Mapping[str, Any], saved: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """The stand-ins, each with whether AR alone would prefer it to this run while it saves less time."""
    ar, time_saved = float(own["ar"]), None if saved is None else saved["time_saved"]
    found = []
    for row in rows:
        known = time_saved is not None and None not in (row["ar"], row["time_saved"])
        found.append(
            {**row, "fools_ar": bool(row["ar"] > ar and row["time_saved"] < time_saved) if known else None}
        )
    return found


def _output(config: ValidityConfig) -> Path:
    assert config.output is not None  # the verb has checked
    return config.output
