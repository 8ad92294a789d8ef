"""Simulated developers with two models: twins, who work once with either under the same draws, or parallel
arms with developers of their own.

With `experiment.log` nobody is simulated: `jobs.experiment_log` compares the arms of a served A/B.

Users and files are held out: nobody in the experiment gave experience, and no file in it was worked on.
Both arms run at the same time against one service with two engines, forced by header, so that twins differ
in the model alone.
"""

import shutil
import time
from pathlib import Path
from typing import Any

from echo_ray import __version__, models
from echo_ray.cluster import running
from echo_ray.config import fingerprint
from echo_ray.data import MANIFEST, Manifest, claim, read_manifest, settings, write_manifest
from echo_ray.errors import ConfigError
from echo_ray.serve.config import Arm
from jobs import gather, report, report_words, service_log
from jobs.experiment_config import ExperimentConfig
from jobs.experiment_log import served
from jobs.settings import RunConfig
from jobs.simulate import Answering, answers, check, collect, measures, plain, who_answers, work
from simulator.fleet import ledger
from simulator.fleet.team import Job, behaviour, is_address, names

STAGE = "experiment"
ARMS = ("base", "echo")


def experiment(config: RunConfig, command: str) -> None:
    """Verb `experiment`: two model folders or the log of a served A/B in, a report out."""
    if config.experiment.log is not None and config.experiment.echo is not None:
        raise ConfigError(
            "experiment.log compares the arms of a log and experiment.echo simulates developers: give one"
        )
    if config.experiment.log is not None:
        served(config, command)
        return
    output = config.experiment.output
    if output is None:
        raise ConfigError("experiment.output is not set: add experiment.output=FOLDER")
    if config.experiment.echo is None:
        raise ConfigError(
            "experiment.echo is not set: add experiment.echo=MODEL_FOLDER to simulate developers, or "
            "experiment.log=FOLDER for the log of a served A/B"
        )
    models.check(config.experiment.base or models.BASE, "experiment.base")
    models.check(config.experiment.echo, "experiment.echo")
    check(config, ("heldout",))
    with running(config.cluster):
        simulated(config, config.experiment.echo, output)
    summary = report.build(gather.inputs(config, {STAGE: output}))
    data, page = report.write(summary, output)
    print(report_words.text(summary))
    print(f"\nexperiment: the report is in {page}, every figure in {data}")


def simulated(config: RunConfig, echo: Path, output: Path) -> Manifest:
    """Run both arms: the tallies in `base.jsonl` and `echo.jsonl`, and under `base/` and `echo/` each arm's
    `log/` and sealed `truth/`. Users who were done when the job was killed are not simulated again.
    """
    base = config.experiment.base or models.BASE
    versions = {"base": models.version(base), "echo": models.version(echo)}
    answering = _who_answers(config, base)
    chosen = plain(config.simulate)
    identity: dict[str, Any] = {"models": versions, "users": config.experiment.users, "code": __version__}
    identity |= {"behaviour": behaviour(chosen), "engine": answering.identity}
    design = config.experiment.design
    identity |= {} if design == "twins" else {"design": design}
    mark = fingerprint({"stage": STAGE, **identity})
    done = read_manifest(output)
    if done is not None and done.fingerprint == mark:
        return done
    began = time.monotonic()
    claim(output)
    (output / MANIFEST).unlink(missing_ok=True)
    folders = {arm: output / arm for arm in ARMS}
    for folder in folders.values():
        ledger.prepare(folder, mark)
    users = people(config.experiment)
    todo = [
        user for folder, own in zip(folders.values(), users, strict=True) for user in ledger.left(folder, own)
    ]
    arms = {"base": Arm(model=base), "echo": Arm(model=echo)}
    segments = output / ledger.WORK
    with answers(answering, arms, segments, todo) as url:
        jobs = [Job(chosen, "heldout", url, arm, folder) for arm, folder in folders.items()]
        spent, workers, wall_s = work(config, jobs, answering, users, design)
    compared = service_log.compare(segments, [ledger.log_folder(folder) for folder in folders.values()])
    summaries = []
    for job, arm, own in zip(jobs, ARMS, users, strict=True):
        summary, _ = collect(config, job, own, job.folder / "log")
        summaries.append(summary)
        (job.folder / "tallies.jsonl").replace(output / f"{arm}.jsonl")
    manifest = Manifest(
        stage=STAGE,
        fingerprint=mark,
        input=str(echo),
        input_fingerprint=versions["echo"],
        config=settings(config.experiment),
        columns={},
        rows_in=sum(summary.requests for summary in summaries),
        rows_out=sum(len(summary.tallies) for summary in summaries),
        drops={},
        seconds=round(time.monotonic() - began, 3),
        engine=answering.label,
        notes={
            "models": versions,
            "design": design,
            **measures(chosen, summaries, spent, workers, wall_s),
            **({} if compared is None else {"service_log": compared}),
        },
    )
    write_manifest(output, manifest)
    shutil.rmtree(segments, ignore_errors=True)
    for folder in folders.values():
        ledger.tidy(folder)
    return manifest


def people(config: ExperimentConfig) -> tuple[list[str], list[str]]:
    """Developers of either arm: the same, or as many others."""
    if config.design == "twins":
        return names("heldout", config.users), names("heldout", config.users)
    everyone = names("heldout", 2 * config.users)
    return everyone[: config.users], everyone[config.users :]


def _who_answers(config: RunConfig, base: Path) -> Answering:
    """A running service, if `simulate.engine` is its address; else one that is started with both models."""
    engine = config.simulate.engine
    if engine is not None and is_address(engine):
        return who_answers(config)
    own = config.simulate.updated(engine=None).model_dump()
    served = config.serve.updated(model=base).model_dump()
    return who_answers(config.updated(simulate=own, serve=served))
