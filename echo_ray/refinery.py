"""Runs of `distil` and `verify`, with or without a language model on Ray Data actors.

With a model: settings are checked before any work; workers build it once; answers and spending are kept in
the output folder until the manifest is written (`llm.journal`); what it cost goes into the manifest's notes
under `teacher` or `judge`, per kept sample too; and too many failures leave the stage unfinished, so that the
same command asks the failed questions again.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from echo_ray import data, schema
from echo_ray.config import Config
from echo_ray.data import Manifest, Outcome, Summary, Workers
from echo_ray.errors import StageError
from echo_ray.llm import asking, build, journal
from echo_ray.llm.config import Kind, LlmConfig
from echo_ray.stages import distil as distilling
from echo_ray.stages import verify as verifying
from echo_ray.stages.distil import DistilConfig
from echo_ray.stages.verify import VerifyConfig


@dataclass(frozen=True)
class _Job:
    """A stage that asks a model; `section` names the model's settings and its notes."""

    name: str
    stage: Callable[..., pa.Table]
    columns: pa.Schema
    needed: tuple[str, ...]
    section: str


_DISTIL = _Job("distil", distilling.distil, schema.DISTILLED, distilling.NEEDED, "teacher")
_VERIFY = _Job("verify", verifying.verify, schema.VERIFIED, verifying.NEEDED, "judge")


def check_distil(config: DistilConfig, teacher: LlmConfig, source: Path | None = None) -> None:
    """Raise ConfigError or SchemaError, before Ray starts, for a teacher that cannot work, or for samples
    under `source` without the columns that are needed.
    """
    if source is not None:
        data.check_columns(source, _DISTIL.needed, f"{_DISTIL.name}.input")
    if config.teacher != "syntax":
        build.check(config.teacher, teacher, _DISTIL.section)


def check_verify(config: VerifyConfig, judge: LlmConfig, source: Path | None = None) -> None:
    """Raise ConfigError or SchemaError, before Ray starts, for a judge that cannot work, or for samples
    under `source` without the columns that are needed.
    """
    if source is not None:
        data.check_columns(source, _VERIFY.needed, f"{_VERIFY.name}.input")
    if config.judge != "none":
        build.check(config.judge, judge, _VERIFY.section)


def distil(config: DistilConfig, teacher: LlmConfig, source: Path, output: Path) -> Manifest:
    """Cut every commit under `source` to its immediate intent. Needs a running Ray."""
    check_distil(config, teacher, source)
    kind = None if config.teacher == "syntax" else config.teacher
    return _run(_DISTIL, kind, config, teacher, source, output)


def verify(config: VerifyConfig, judge: LlmConfig, source: Path, output: Path) -> Manifest:
    """Check every target under `source`. Needs a running Ray."""
    check_verify(config, judge, source)
    kind = None if config.judge == "none" else config.judge
    return _run(_VERIFY, kind, config, judge, source, output)


def _run(
    job: _Job, kind: Kind | None, config: Config, llm: LlmConfig, source: Path, output: Path
) -> Manifest:
    if kind is None:
        return data.run_stage(job.name, job.stage, config, source, output, job.columns)
    if data.read_manifest(output) is not None:
        journal.forget(output)  # of a job that was killed between its manifest and its last line
    version = build.version(kind, llm)
    identity = {job.section: llm.identity() | {"model": version}}
    if kind == "vllm":  # a worker may stand in another folder
        llm = llm.updated(model=str(Path(llm.model or "").resolve()))
    manifest = data.run_stage(
        job.name,
        None,
        config,
        source,
        output,
        job.columns,
        identity=identity,
        workers=Workers(
            functools.partial(Asking, job.stage, kind, llm, job.section, version, output.resolve()),
            llm.workers,
            llm.cpus,
            llm.gpus,
            build.environment(kind, llm),
        ),
        redo=functools.partial(_has_failures, job.section),
        conclude=functools.partial(_conclude, job.section, llm, output),
    )
    journal.forget(output)
    return manifest


class Asking:
    """A stage with its model, as one worker holds it; what the model did is told beside the table."""

    def __init__(
        self,
        stage: Callable[..., pa.Table],
        kind: Kind,
        llm: LlmConfig,
        section: str,
        version: str,
        output: Path,
    ) -> None:
        self._stage, self._section = stage, section
        self._asker = build.chooser(kind, llm, section, version, output)

    def __call__(self, table: pa.Table, config: Any) -> Outcome:
        """`data.Stage`."""
        result = self._stage(table, config, self._asker)
        return Outcome(result, {self._section: {"name": self._asker.name} | self._asker.facts()})


def _has_failures(section: str, facts: Mapping[str, Any]) -> bool:
    return bool(facts.get(section, {}).get("failed"))


def _conclude(section: str, llm: LlmConfig, output: Path, summary: Summary) -> dict[str, Any]:
    """The manifest's note about the model. Raises StageError when too many questions failed."""
    facts = dict(summary.facts.get(section, {}))
    notes = facts.pop("failure_notes", {})
    asked, failed = facts.get("asked", 0), facts.get("failed", {})
    total = sum(failed.values())
    if total > max(1, llm.max_failed_share * asked):
        raise StageError(asking.failing(section, llm, asked, failed, notes))
    spent = journal.Meter(output).spent()
    kept = summary.rows_out - sum(summary.drops.values())
    seconds = round(facts.pop("seconds", 0.0), 3)
    cost = {"requests": spent.requests, "tokens": spent.tokens, "seconds": seconds}
    return {
        section: facts
        | cost
        | {"kept": kept, "settings": llm.model_dump(mode="json")}
        | {f"{name}_per_kept": round(value / kept, 6) if kept else None for name, value in cost.items()}
    }
