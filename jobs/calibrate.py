"""Fit the one intercept shift of the acceptance policy on a baseline model, and freeze it (section 3.7).

Nothing else is fitted here: the typing model has constants, and GR is recorded as the prediction that it is.
Developers work with the baseline again and again, with the same draws, until the simulated acceptance rate
meets its target or the shift reaches its limit of 1; both results, unshifted and shifted, stay in the file.
The frozen file is made before any model is trained and named by `simulate.policy` from then on.
"""

import shutil
from pathlib import Path

from echo_ray.cluster import running
from echo_ray.data import claim
from echo_ray.errors import ConfigError
from jobs import simulate, trials
from jobs.settings import RunConfig
from simulator.fleet import ledger
from simulator.fleet.team import Summary
from simulator.rules import calibration, policy_file
from simulator.rules.calibration import Fit, Rates


def calibrate(config: RunConfig, command: str) -> None:
    """Verb `calibrate`."""
    output = config.calibrate.output
    if output is None:
        raise ConfigError("calibrate.output is not set: add calibrate.output=FOLDER")
    if config.simulate.policy.endswith(".json"):
        raise ConfigError(
            f"simulate.policy={config.simulate.policy} is calibrated already; name a rule, such as p1"
        )
    simulate.check(config, ("train",))
    claim(output)
    with running(config.cluster):
        fit = _fit(config, output)
    answering = simulate.who_answers(config)
    figures = fit.figures() | {
        "users": config.calibrate.users,
        "days": config.simulate.days,
        "seed": config.simulate.seed,
        "sources": [Path(source).name for source in config.simulate.sources],
    }
    path = output / "policy.json"
    rule = policy_file.freeze(
        path, config.simulate.policy, fit.shift, baseline=baseline(answering), figures=figures
    )
    for number, tried in enumerate(fit.trace, 1):
        rates = f"AR {100 * tried.acceptance_rate:.1f}%  GR {100 * tried.generation_rate:.1f}%"
        print(
            f"calibrate  run {number}: shift {tried.shift:+.3f}  simulated {rates}"
            f"  {tried.requests_per_day:.0f} requests/day"
        )
    reached = f"{100 * fit.best.acceptance_rate:.1f}% for a target of {100 * fit.target:.1f}%"
    limit = ", at the largest shift allowed" if fit.clamped else ""
    within = f"{'' if fit.met else 'not '}within {100 * fit.tolerance:.1f} points"
    print(f"calibrate  simulated AR {reached}: {within}{limit}; policy {rule.hash} is frozen in {path}")


def baseline(answering: simulate.Answering) -> str:
    """Name of what the shift was set on."""
    return str(answering.identity.get("model") or answering.engine)


def _fit(config: RunConfig, output: Path) -> Fit:
    users = trials.names(config.calibrate.users)
    answering = simulate.who_answers(config)
    work = output / ledger.WORK

    with simulate.answers(answering, {}, work / "service", users) as url:

        def run(shift: float) -> Rates:
            folder = work / f"shift{shift:+.6f}"
            policy = folder / "policy.json"
            policy_file.freeze(policy, config.simulate.policy, shift, baseline="a trial", figures={})
            chosen = config.updated(
                simulate=config.simulate.model_dump() | {"policy": str(policy), "users": len(users)}
            )
            tallies = trials.trial(chosen, answering, url, users, folder / "run", f"shift {shift:+.2f}")
            summary = Summary(tallies)
            truth = folder / "run" / ledger.TRUTH
            rows = (row for user in users for row in ledger.rows(truth / f"{user}{ledger.ENDING}"))
            return Rates(
                summary.acceptance_rate or 0.0,
                summary.generation_rate,
                sum(tally.requests for tally in tallies) / sum(tally.days for tally in tallies),
                () if shift else calibration.decisions(row for row in rows if row["kind"] != "run"),
            )

        fit = calibration.fit(
            run, config.calibrate.target, config.calibrate.tolerance, max_runs=config.calibrate.runs
        )
    shutil.rmtree(work)
    return fit
