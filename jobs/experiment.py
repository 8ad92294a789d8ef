"""The twin experiment: every developer works once with either model, under the same draws.

Users and files are held out: nobody in the experiment gave experience, and no file in it was worked on.
Both arms run at the same time against one service with two engines, forced by header, so that a user's
twin differs in the model alone.
"""

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from echo_ray import models
from echo_ray.cluster import running
from echo_ray.config import fingerprint
from echo_ray.data import Manifest, claim, read_manifest, settings, write_manifest
from echo_ray.errors import ConfigError
from echo_ray.serve.config import Arm
from jobs import gather, report
from jobs.settings import RunConfig
from jobs.simulate import check, service, serving_engine, work
from simulator import fleet, policy

STAGE = "experiment"
ARMS = ("base", "echo")


def experiment(config: RunConfig, command: str) -> None:
    """Verb `experiment`: two model folders in, a report out."""
    output = config.experiment.output
    if output is None:
        raise ConfigError("experiment.output is not set: add experiment.output=FOLDER")
    if config.experiment.echo is None:
        raise ConfigError("experiment.echo is not set: add experiment.echo=MODEL_FOLDER")
    models.check(config.experiment.base or models.BASE, "experiment.base")
    models.check(config.experiment.echo, "experiment.echo")
    check(config, ("heldout",))
    with running(config.cluster):
        twins(config, config.experiment.echo, output)
    page = report.write(report.build(gather.inputs(config, {STAGE: output})), output)
    print(f"experiment: the report is in {page[1]}")


def twins(config: RunConfig, echo: Path, output: Path) -> Manifest:
    """Run both arms; tallies in `base.jsonl` and `echo.jsonl`, truth beside them, log in `log/`."""
    base = config.experiment.base or models.BASE
    versions = {"base": models.version(base), "echo": models.version(echo)}
    identity: dict[str, Any] = {"models": versions, "users": config.experiment.users}
    identity |= {"simulate": settings(config.simulate), "policy": policy.policy_hash()}
    mark = fingerprint({"stage": STAGE, "serve": settings(config.serve), **identity})
    done = read_manifest(output)
    if done is not None and done.fingerprint == mark:
        return done
    began = time.monotonic()
    claim(output)
    shutil.rmtree(output)
    claim(output)
    users = fleet.names("heldout", config.experiment.users)
    arms = {"base": Arm(model=base), "echo": Arm(model=echo)}
    with service(config, arms, output / "log") as url, ThreadPoolExecutor(len(ARMS)) as pool:
        running_arms = {
            arm: pool.submit(
                work, config, url, f"twins {arm}", "heldout", arm, output / f"truth-{arm}.jsonl", users
            )
            for arm in ARMS
        }
        results = {arm: future.result() for arm, future in running_arms.items()}
    for arm, result in results.items():
        rows = "".join(json.dumps(asdict(tally)) + "\n" for tally in result.tallies)
        (output / f"{arm}.jsonl").write_text(rows, encoding="utf-8")
    manifest = Manifest(
        stage=STAGE,
        fingerprint=mark,
        input=str(echo),
        input_fingerprint=versions["echo"],
        config=settings(config.experiment),
        columns={},
        rows_in=sum(result.requests for result in results.values()),
        rows_out=sum(len(result.tallies) for result in results.values()),
        drops={},
        seconds=round(time.monotonic() - began, 3),
        engine=serving_engine(),
        notes={"models": versions, "policy_hash": policy.policy_hash(), "design": "twins"},
    )
    write_manifest(output, manifest)
    return manifest
