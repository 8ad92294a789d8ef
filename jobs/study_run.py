"""One step of a study: the stage that it names, with the arm's settings, from folder to folder.

A model is served once for all who are measured with it, one after the other: the service of a model lives
until a step needs another one.
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from echo_ray.data import Manifest
from jobs import evaluate, simulate, stages, study_controls
from jobs.balance import balance_samples
from jobs.perplexity import perplexity_samples
from jobs.select import select_samples
from jobs.settings import RunConfig
from jobs.study_plan import Step

LOG = "log"
"""Partitioned log in the folder of `experience` and `measure`."""
MODEL = "model"
"""Model in the folder of `train`."""

_STAGES: Mapping[str, Callable[[RunConfig, Path, Path], Manifest]] = {
    "mine": stages.mine_log,
    "distil": stages.distil_samples,
    "verify": stages.verify_samples,
    "select": select_samples,
    "perplexity": perplexity_samples,
    "balance": balance_samples,
    "pack": stages.pack_samples,
    "train": stages.train_model,
}


def settings_of(config: RunConfig, step: Step) -> RunConfig:
    """The run's settings with what differs for `step`, but for its model."""
    present = config.model_dump(by_alias=True)
    changes = {
        section: {**present[section], **values}
        for section, values in step.settings.items()
        if section != "control"
    }
    return config.updated(**changes) if changes else config


def with_model(config: RunConfig, step: Step) -> RunConfig:
    """`settings_of`, and the model of an earlier step, where `step` has one, as the one that answers or that
    training starts from.
    """
    found = settings_of(config, step)
    if "model" not in step.inputs:
        return found
    section = "train" if step.stage == "train" else "serve"
    present: dict[str, Any] = getattr(found, section).model_dump()
    present["model"] = config.study.output / step.inputs["model"] / MODEL
    return found.updated(**{section: present})


class Runner:
    """Does steps; leaving the `with` block stops the service. Needs a running Ray."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._root = config.study.output
        self._service = contextlib.ExitStack()
        self._served: str | None = None
        self._address: Callable[[], str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def run(self, step: Step) -> str:
        """Do `step`, whose inputs are done; a few words about what came of it. Done steps stay as they are.

        Raises what the stage raises.
        """
        output = self._root / step.name
        if step.stage == "measure":
            return self._measure(step, output)
        # Training and mining want the cores and the memory that a service takes.
        self._stop()
        if study_controls.is_control(step):
            return _rows(study_controls.run(step, self._root))
        config = with_model(self._config, step)
        if step.stage == "experience":
            split = step.settings["control"]["split"]
            return _people(simulate.experience(config, output / LOG, output, split))
        if step.stage == "evaluate":
            return self._evaluate(step, config, output)
        source = self._root / step.inputs["input"]
        manifest = _STAGES[step.stage](config, source / LOG if step.stage == "mine" else source, output)
        return _trained(manifest) if step.stage == "train" else _rows(manifest)

    def _measure(self, step: Step, output: Path) -> str:
        config = with_model(self._config, step)
        model = step.inputs.get("model", "")
        if self._served != model or self._address is None:
            self._stop()
            own = simulate.one_service(config, self._root / ".service")
            self._served, self._address = model, self._service.enter_context(own)
        split = step.settings["control"]["split"]
        return _people(simulate.experience(config, output / LOG, output, split, self._address))

    def _evaluate(self, step: Step, config: RunConfig, output: Path) -> str:
        arms = [role for role in step.inputs if role != "input"]
        asked = config.evaluate.updated(
            models=[self._root / step.inputs[arm] / MODEL for arm in arms],
            input=self._root / step.inputs["input"],
            output=output,
        )
        value = evaluate.evaluated(config.updated(evaluate=asked.model_dump()))
        return f"{value['groups']['all']['samples']:,} gaps, {len(arms)} models"

    def _stop(self) -> None:
        self._service.close()
        self._served = self._address = None


def _rows(manifest: Manifest) -> str:
    left = manifest.rows_out - sum(manifest.drops.values())
    return f"{left:,} of {manifest.rows_in:,} rows"


def _people(manifest: Manifest) -> str:
    rate = manifest.notes["acceptance_rate"]
    shown = "-" if rate is None else f"{100 * rate:.1f}%"
    return f"{manifest.rows_out:,} requests, AR {shown}, GR {100 * manifest.notes['generation_rate']:.1f}%"


def _trained(manifest: Manifest) -> str:
    notes = manifest.notes
    return f"{manifest.rows_out:,} samples, {notes['target_tokens']:,} target tokens, {notes['steps']} steps"
