"""One look at a rollout: the log of its span in, what the rule says of it out."""

import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from echo_ray.errors import EchoError
from echo_ray.experiment import rollout
from echo_ray.experiment.estimates import plain
from echo_ray.log import partition, reader
from jobs import experiment_log, experiment_report
from jobs.rollout_state import CONTROL, TREATMENT, State
from jobs.settings import RunConfig

KEY = "rollout.log"
_ROLES = ("control", "treatment")
_QUICK = 100  # resamples before the end, when no bootstrap is read
_ADVICE = re.compile(r"[:;] (set|change|serve|let|name|import) .*", re.DOTALL)
_MARGIN_MS = 86_400_000  # of sessions that began before; and of clocks that differ


def seen(config: RunConfig, state: State, output: Path, at_ms: int) -> dict[str, Any]:
    """What is written of a look at this moment: counts, figures, the rule's `action` and its `reasons`.

    A log that cannot be read or compared yet is `trouble`, a sentence, and no reason to act before the end.
    """
    assert state.ends_ms is not None
    ended = at_ms >= state.ends_ms
    value, trouble = None, None
    try:
        value = analysed(config, state, output, ended)
    except (EchoError, OSError, pa.ArrowException) as error:
        # Files come and go under a service that runs.
        trouble = _fact(str(error) or type(error).__name__)
    verdict = rollout.judge(None if value is None else _look(value), state.weights, ended)
    found: dict[str, Any] = {
        "at_ms": at_ms,
        "start_ms": state.start_ms,
        "ended": ended,
        "requests": 0,
        "arms": {},
        "trouble": trouble,
    }
    if value is not None:
        found["requests"] = value["accounts"]["requests"].get("counted", 0)
        found["arms"] = {
            name: {key: value["arms"][role].get(key) for key in ("users", "shown", "acceptance_rate")}
            for name, role in zip((CONTROL, TREATMENT), _ROLES, strict=True)
        }
        found["outcome"] = value["decision"]["outcome"]
    judged: dict[str, Any] = plain(verdict)
    return found | judged


def analysed(config: RunConfig, state: State, output: Path, ended: bool) -> dict[str, Any]:
    """The report on the rollout's span of the log, as `experiment` makes it; nothing stays on the disk."""
    assert config.rollout.log is not None
    settings = config.experiment.updated(
        log=config.rollout.log,
        control=CONTROL,
        treatment=TREATMENT,
        start_ms=state.start_ms,
        end_ms=state.ends_ms,
        weights=state.weights,
        twins=False,
        resamples=config.experiment.resamples if ended else min(_QUICK, config.experiment.resamples),
    )
    work = output / ".look"
    shutil.rmtree(work, ignore_errors=True)
    try:
        source = _recent(config.rollout.log, state, work)
        counts, _ = experiment_log.counted(
            config.updated(experiment=settings.model_dump()), source, work, False
        )
        value: dict[str, Any] = plain(experiment_report.build(counts, settings))
        return value
    finally:
        # A copy of the log that nobody knows of would outlive the erasure of a person.
        shutil.rmtree(work, ignore_errors=True)


def _fact(error: str) -> str:
    """An error without the advice, which is about settings of `experiment` that nobody set here."""
    return _ADVICE.sub("", " ".join(error.split())).replace("experiment.log", KEY)


def _recent(log: Path, state: State, work: Path) -> Path:
    """A folder of the log's files that can hold requests of the span: links to those written since."""
    assert state.start_ms is not None
    if partition.is_partitioned(log):
        return log
    folder = work / "log"
    folder.mkdir(parents=True)
    every = reader.files(log, KEY)
    recent = [path for path in every if 1000 * path.stat().st_mtime >= state.start_ms - _MARGIN_MS]
    if len(recent) in (0, len(every)):
        return log
    for number, path in enumerate(recent):
        (folder / f"{number:06d}-{path.name}").symlink_to(path.absolute())
    return folder


def _look(value: dict[str, Any]) -> rollout.Look:
    """What the rule reads of a report."""
    users = {
        name: int(value["arms"][role]["users"])
        for name, role in zip((CONTROL, TREATMENT), _ROLES, strict=True)
    }
    decision = value["decision"]
    return rollout.Look(users, value["difference"], decision["outcome"], decision["ship"])
