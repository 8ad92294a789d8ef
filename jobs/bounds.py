"""The baseline among engines that know everything, nothing, or only how to look good (section 4, rule 6).

The same developers do the same work with every engine. What they save is the active time of their twin
without suggestions less their own; acceptance rate alone can be fooled by an engine that says little, and
the table shows where. The oracle family knows the intent and bounds what any model can reach; the degenerate
engines know nothing, and none of them may save more time than the baseline.
Not covered: cost of computing.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echo_ray.cluster import running
from echo_ray.data import claim
from echo_ray.errors import ConfigError
from jobs import calibrate, simulate, trials
from jobs.settings import RunConfig
from simulator.fleet.team import Summary
from simulator.truth import Tally

IDLE = "empty"
"""The engine that never suggests: everybody's twin without assistance."""
KNOWING = ("oracle", "oracle_long", "one_token")
"""Engines that look at the intent."""
DEGENERATE = ("always_silent", "random_context", "closing_bracket", "line_above")
"""Engines without knowledge. `one_token` is perfect but says one token only; it is listed apart."""
_SEED = 0


def bounds(config: RunConfig, command: str) -> None:
    """Verb `bounds`."""
    output = config.bounds.output
    if output is None:
        raise ConfigError("bounds.output is not set: add bounds.output=FOLDER")
    for name in config.bounds.engines:
        simulate.who_answers(_with(config, name))
    simulate.check(config, ("train",))
    claim(output)
    with running(config.cluster):
        runs = _run(config, output)
    rows = table(runs, config.bounds.resamples)
    path = output / "bounds.json"
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(terminal(rows))
    print(f"bounds: {verdict(rows)}")
    print(f"bounds: every figure is in {path}")


def table(runs: Mapping[str, Sequence[Tally]], resamples: int) -> list[dict[str, Any]]:
    """One row per engine, the baseline first, as shares and counts; times are relative to the idle twins."""
    idle = np.array([tally.active_s for tally in runs[IDLE]])
    picks = np.random.default_rng(_SEED).integers(0, len(idle), (resamples, len(idle)))
    rows = []
    for name, tallies in runs.items():
        summary = Summary(tallies)
        own = np.array([tally.active_s for tally in tallies])
        drawn = 1 - own[picks].sum(axis=1) / idle[picks].sum(axis=1)
        rows.append(
            {
                "engine": name,
                "ar": summary.acceptance_rate,
                "gr": summary.generation_rate,
                "time_saved": float(1 - own.sum() / idle.sum()),
                "time_saved_ci95": [float(edge) for edge in np.quantile(drawn, (0.025, 0.975))],
                "retained": sum(tally.retained_chars for tally in tallies)
                / max(1, sum(tally.accepted_chars for tally in tallies)),
                "requests": summary.requests,
                "shown": sum(tally.shown_750 for tally in tallies),
                "users": len(tallies),
            }
        )
    return rows


def verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Whether an engine without knowledge saves more time than the baseline, and who only looks better."""
    first = rows[0]
    others = [row for row in rows[1:] if row["engine"] in (*DEGENERATE, IDLE)]
    better = [row["engine"] for row in others if row["time_saved"] > first["time_saved"]]
    fooled = [
        row["engine"]
        for row in rows[1:]
        if row["engine"] not in KNOWING
        and (row["ar"] or 0) > (first["ar"] or 0)
        and row["time_saved"] < first["time_saved"]
    ]
    said = (
        f"{', '.join(better)} save more time than {first['engine']}"
        if better
        else (f"no engine without knowledge saves more time than {first['engine']}")
    )
    return said + (f"; AR alone would prefer {', '.join(fooled)}" if fooled else "")


def terminal(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table for people."""
    lines = [f"{'engine':<16} {'AR':>6} {'GR':>6} {'retained':>9} {'time saved':>11}   95% interval"]
    for row in rows:
        rate = "-" if row["ar"] is None else f"{100 * row['ar']:.1f}%"
        low, high = row["time_saved_ci95"]
        lines.append(
            f"{row['engine']:<16} {rate:>6} {100 * row['gr']:5.1f}% {100 * row['retained']:8.1f}%"
            f" {100 * row['time_saved']:10.1f}%   {100 * low:.1f} to {100 * high:.1f}"
        )
    return "\n".join(lines)


def _with(config: RunConfig, engine: str | None) -> RunConfig:
    return config.updated(
        simulate=config.simulate.model_dump() | {"engine": engine, "users": config.bounds.users}
    )


def _run(config: RunConfig, output: Path) -> dict[str, list[Tally]]:
    users = trials.names(config.bounds.users)
    runs: dict[str, list[Tally]] = {}
    answering = simulate.who_answers(config)
    own = _with(config, config.simulate.engine)
    with simulate.answers(answering, {}, output / "service", users) as url:
        name = calibrate.baseline(answering)
        runs[name] = trials.trial(own, answering, url, users, output / "baseline", "baseline")
    for engine in [IDLE, *(engine for engine in config.bounds.engines if engine != IDLE)]:
        chosen = _with(config, engine)
        answering = simulate.who_answers(chosen)
        runs[engine] = trials.trial(chosen, answering, engine, users, output / engine, engine)
    return runs
