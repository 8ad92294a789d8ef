"""The verb `experiment` on the log of a served A/B: a log in, per-user tallies, analysis, report out.

A log that is not partitioned yet is imported first, into a copy that goes when it is counted; a small one in
this process, because Ray takes longer to start than that. Then `experiment_rows` spreads the requests by user
and every bucket is tallied by itself, so a log larger than memory works; what is held to the end is counts
per user.
"""

import json
import shutil
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from echo_ray import __version__
from echo_ray.cluster import running
from echo_ray.config import fingerprint
from echo_ray.data import Manifest, claim, input_fingerprint, read_manifest, settings, write_manifest
from echo_ray.errors import ConfigError, EchoError, SchemaError
from echo_ray.experiment.tally import Acceptance, Plan, Tallies, merged, tally
from echo_ray.log import partition, reader
from echo_ray.progress import bar
from jobs import experiment_page, experiment_report, experiment_rows
from jobs.experiment_config import ExperimentConfig
from jobs.report import plain
from jobs.settings import RunConfig
from jobs.stages import warn

STAGE = "experiment_log"
KEY = "experiment.log"
HERE_MB = 512.0
"""Raw log up to which it is imported in this process (MB)."""
_FILES = ("report.json", "report.html")


def served(config: RunConfig, command: str) -> None:
    """Compare two arms of a log; prints the result and where it is."""
    source, output = _checked(config.experiment)
    identity: dict[str, Any] = {"stage": STAGE, "code": __version__, "config": _settings(config.experiment)}
    mark = fingerprint({**identity, "input": input_fingerprint(source)})
    done = read_manifest(output)
    if done is None or done.fingerprint != mark or not all((output / name).is_file() for name in _FILES):
        fresh = not output.exists()
        claim(output)
        try:
            _run(config, source, output, mark, command)
        except EchoError:
            if fresh:
                shutil.rmtree(output)
            raise
    value = json.loads((output / "report.json").read_text(encoding="utf-8"))
    print(experiment_page.text(value))
    print(
        f"\nexperiment: the report is in {output / 'report.html'}, every figure in {output / 'report.json'}"
    )


def tallied(
    config: ExperimentConfig, log: Path, work: Path, bucket_rows: int = experiment_rows.BUCKET_ROWS
) -> Tallies:
    """Counts of both arms of the store in `log`; `work` is a folder for what lies between, `bucket_rows` how
    many requests of it are held at once.

    Raises ConfigError, naming the key to change, for arms that the log does not have and for a log from
    which acceptance cannot be told.
    """
    there = experiment_rows.arms(log, KEY)
    plan = _plan(config, there)
    shutil.rmtree(work, ignore_errors=True)
    try:
        buckets = experiment_rows.spread(log, work, KEY, bucket_rows)
        found = []
        linked = 0
        with bar("experiment: count", buckets, "shards") as shown:
            for number in range(buckets):
                rows, events = experiment_rows.bucket(log, work, number, buckets, KEY)
                found.append(tally(rows, events, plan))
                linked += rows.num_rows - rows["next_ms"].null_count
                shown.update(1)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    whole = merged(found)
    for name in (plan.control, plan.treatment):
        if not any(arm == name for arm, _ in whole.users):
            raise ConfigError(
                f"no request of arm {name} lies between experiment.start_ms={config.start_ms} and "
                f"experiment.end_ms={config.end_ms}: change them"
            )
    told = any(facts.agreement.total() for facts in whole.arms.values()) or whole.events["used"]
    if plan.acceptance is Acceptance.EVENTS and not told:
        raise ConfigError(
            f"experiment.acceptance=events, but no event in {config.log} is about a request of the two arms: "
            "set experiment.acceptance=stream"
        )
    if not told and not linked:
        raise ConfigError(
            f"{KEY}={config.log} has no events, and no session with two requests to tell acceptance from: "
            "let the clients report events, or set experiment.log to a log that holds whole sessions"
        )
    return whole


def _checked(config: ExperimentConfig) -> tuple[Path, Path]:
    """(log, output). Raises ConfigError for settings that do not fit together; starts nothing."""
    assert config.log is not None
    if config.output is None:
        raise ConfigError("experiment.output is not set: add experiment.output=FOLDER")
    reader.files(config.log, KEY)
    if config.log.resolve() in (config.output.resolve(), *config.output.resolve().parents):
        raise ConfigError(
            f"experiment.output={config.output} lies in {KEY}={config.log}: name another folder"
        )
    start, end = config.start_ms, config.end_ms
    if start is not None and end is not None and start >= end:
        raise ConfigError(f"experiment.start_ms={start} is not before experiment.end_ms={end}: change one")
    done = read_manifest(config.output)
    if done is not None and done.stage != STAGE:
        raise ConfigError(
            f"experiment.output={config.output} holds the results of {done.stage}: name another"
        )
    return config.log, config.output


def _plan(config: ExperimentConfig, there: Counter[str]) -> Plan:
    named = {name: count for name, count in there.items() if name}
    listed = ", ".join(f"{name} ({count:,} requests)" for name, count in sorted(named.items()))
    if not named:
        raise ConfigError(
            f"no request in {KEY}={config.log} names an arm: serve with two arms (serve.arms), or name "
            "another log"
        )
    if len(named) == 1:
        raise ConfigError(
            f"{KEY}={config.log} has one arm only, {listed}: set experiment.log to a log of two arms"
        )
    for key in ("control", "treatment"):
        value = getattr(config, key)
        if value is None:
            raise ConfigError(f"experiment.{key} is not set: the log's arms are {listed}")
        if value not in named:
            raise ConfigError(f"experiment.{key}={value} is no arm of the log: its arms are {listed}")
    assert config.control is not None
    assert config.treatment is not None
    if config.control == config.treatment:
        raise ConfigError(
            f"experiment.control and experiment.treatment are both {config.control}: the log's arms are "
            f"{listed}"
        )
    strange = sorted(set(config.weights or {}) - {config.control, config.treatment})
    if strange:
        raise ConfigError(f"experiment.weights names {strange[0]}: wanted are the two arms that are compared")
    return Plan(config.control, config.treatment, config.start_ms, config.end_ms, config.acceptance)


def counted(config: RunConfig, source: Path, work: Path, warns: bool = True) -> tuple[Tallies, int]:
    """(counts of both arms, quarantined records) of any log, with `experiment`'s settings; `work` is a folder
    for what lies between, of which only the quarantine stays. `warns`: what is imperfect about the log is
    told on stderr. Raises what `tallied` does.
    """
    log, held = source, work / ".log"
    try:
        if not partition.is_partitioned(source):
            log = held
            found = import_log(config, source, log, KEY)
            if warns:
                warn(found, work)
        return tallied(config.experiment, log, work / ".rows"), _quarantined(log)
    finally:
        # A copy of the log that nobody knows of would outlive the erasure of a person.
        shutil.rmtree(held, ignore_errors=True)


def _run(config: RunConfig, source: Path, output: Path, mark: str, command: str) -> None:
    began = time.monotonic()
    experiment = config.experiment
    counts, quarantined = counted(config, source, output)
    value = plain(experiment_report.build(counts, experiment))
    value["provenance"] = {
        "log": {"folder": source.name, "fingerprint": input_fingerprint(source)},
        "quarantined": quarantined,
        "settings": _settings(experiment),
        "config_fingerprint": mark,
        "code": __version__,
        "command": command,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    experiment_page.write(value, output)
    manifest = Manifest(
        stage=STAGE,
        fingerprint=mark,
        input=str(source),
        input_fingerprint=input_fingerprint(source),
        config=settings(experiment),
        columns={},
        rows_in=sum(counts.rows.values()),
        rows_out=counts.rows["counted"],
        drops={name: count for name, count in sorted(counts.rows.items()) if name != "counted"},
        seconds=round(time.monotonic() - began, 3),
        engine="one process",
        notes={"events": dict(counts.events), "outcome": value["decision"]["outcome"]},
    )
    write_manifest(output, manifest)


def import_log(config: RunConfig, source: Path, log: Path, key: str) -> Manifest:
    """Partition the log in `source`, which the setting `key` names, by session into `log`; what is no record
    goes to `quarantine.jsonl` beside it. Raises SchemaError for what is no log.
    """
    raw_mb = sum(reader.raw_bytes(path) for path in reader.files(source, key)) / 2**20
    try:
        if raw_mb <= HERE_MB:
            found = partition.partition(config.import_, source, log, key, partition.one_by_one)
        else:
            with running(config.cluster):
                found = partition.partition(config.import_, source, log, key)
    except SchemaError as error:
        raise SchemaError(f"{error}; set {key} to the folder of an experience log") from None
    lines = log / "quarantine.jsonl"
    if lines.is_file():
        lines.replace(log.parent / lines.name)
    return found


def _quarantined(log: Path) -> int:
    manifest = read_manifest(log)
    return int(manifest.notes.get("quarantined") or 0) if manifest is not None else 0


def _settings(config: ExperimentConfig) -> dict[str, Any]:
    """What decides the figures; paths do not."""
    chosen = (
        "control",
        "treatment",
        "acceptance",
        "start_ms",
        "end_ms",
        "weights",
        "twins",
        "seed",
        "resamples",
    )
    whole = config.model_dump(mode="json")
    return {name: whole[name] for name in chosen}
