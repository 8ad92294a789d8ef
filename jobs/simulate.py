"""Developers at work against a completion service, real or started here: experience for the log."""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from echo_ray import models
from echo_ray.cluster import check_memory, running
from echo_ray.config import fingerprint
from echo_ray.data import Manifest, claim, read_manifest, settings, write_manifest
from echo_ray.errors import ConfigError
from echo_ray.log import partition
from echo_ray.progress import bar
from echo_ray.serve import launch
from echo_ray.serve.config import Arm
from jobs.settings import RunConfig
from jobs.stages import say, warn
from simulator import fleet, policy, sources
from simulator.config import Split

STAGE = "simulate"


def simulate(config: RunConfig, command: str) -> None:
    """Verb `simulate`."""
    output = config.simulate.output
    if output is None:
        raise ConfigError("simulate.output is not set: add simulate.output=FOLDER")
    check(config, ("train",))
    with running(config.cluster):
        manifest = experience(config, output / "log", output / "truth.jsonl")
    say(manifest, output / "log")


def check(config: RunConfig, splits: Sequence[Split]) -> None:
    """Refuse, before anything starts, work that is not there and a service that cannot run."""
    check_memory(config.cluster.min_memory_gb)
    for split in splits:
        sources.load(config.simulate, split)
    if config.simulate.url is None:
        launch.resolve(config.serve)
        if config.serve.port:
            launch.check_port(config.serve.host, config.serve.port)


def experience(config: RunConfig, log: Path, truth: Path) -> Manifest:
    """Let the developers work with the model of `serve` and partition the log they leave in `log`.

    What only a simulator knows goes to `truth`, outside the log. Work that was cut short is done anew:
    half a working day is not a day.
    """
    done = read_manifest(truth.parent)
    model = models.version(config.serve.model or models.BASE)
    identity = {"config": settings(config.simulate), "model": model, "policy": policy.policy_hash()}
    mark = fingerprint({"stage": STAGE, "serve": settings(config.serve), **identity})
    if done is not None and done.fingerprint == mark and partition.is_partitioned(log):
        return done
    began = time.monotonic()
    segments = log / "segments"
    claim(log)
    shutil.rmtree(log)
    claim(log)
    arms = {"base": Arm(model=config.serve.model)}
    with service(config, arms, segments) as url:
        result = work(config, url, "simulate", "train", None, truth, None)
    imported = partition.partition(config.import_, segments, log, "import.input")
    warn(imported, log)
    shutil.rmtree(segments)  # every record of them is in the partitions or in quarantine.jsonl
    tally = truth.with_name("tallies.jsonl")
    tally.write_text("".join(json.dumps(asdict(row)) + "\n" for row in result.tallies), encoding="utf-8")
    manifest = Manifest(
        stage=STAGE,
        fingerprint=mark,
        input=", ".join(config.simulate.sources),
        input_fingerprint=result.config_fingerprint,
        config=settings(config.simulate),
        columns={},
        rows_in=result.requests,
        rows_out=imported.rows_out,
        drops={},
        seconds=round(time.monotonic() - began, 3),
        engine=serving_engine(),
        notes={
            "model": model,
            "policy_hash": result.policy_hash,
            "acceptance_rate": result.acceptance_rate,
            "generation_rate": result.generation_rate,
            "requests_per_s": round(result.requests / max(result.wall_s, 1e-9), 1),
            "simulator_cpu_share": round(result.cpu_s / max(result.wall_s, 1e-9), 3),
            "quarantined": imported.notes["quarantined"],
        },
    )
    write_manifest(truth.parent, manifest)
    return manifest


@contextlib.contextmanager
def service(config: RunConfig, arms: dict[str, Arm], log: Path) -> Iterator[str]:
    """Address of a service with these arms: the one that `simulate.url` names, or one started here."""
    if config.simulate.url is not None:
        yield config.simulate.url
        return
    log.mkdir(parents=True, exist_ok=True)
    chosen = config.serve.updated(
        arms={name: arm.model_dump() for name, arm in arms.items()}, log_dir=log, trust_client=True
    )
    with bar("engines", None, "s") as shown:

        def progress(what: str, seconds: float) -> None:
            shown.update(round(seconds) - shown.n)

        running_service = launch.start(chosen, progress)
    with running_service:
        yield running_service.url


def work(
    config: RunConfig,
    url: str,
    label: str,
    split: Split,
    arm: str | None,
    truth: Path,
    users: Sequence[str] | None,
) -> fleet.FleetResult:
    """Developers of one split at work, with a bar; returns what they counted."""
    total = len(users) if users is not None else config.simulate.users
    with bar(label, total, "developers") as shown:

        def progress(done: int, requests: int) -> None:
            shown.set_postfix_str(f"{requests:,} requests", refresh=False)
            shown.update(done - shown.n)

        return fleet.run(
            config.simulate, url, users=users, split=split, arm=arm, truth_path=truth, progress=progress
        )


def serving_engine() -> str:
    """Name and version of what answered."""
    from jobs.report_inputs import engines_here

    return engines_here()["serving"]
