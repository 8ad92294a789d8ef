"""Verb `study`: a figure of the paper in miniature, from the developers' log to one page.

Every step of the plan commits into a folder of its own, so a study that was killed goes on where it stopped,
and one that shares steps with an earlier one in the same `study.output` begins with what is there.
"""

import json
import time
from collections import defaultdict
from collections.abc import Sequence

from echo_ray import models, refinery
from echo_ray.cluster import running
from echo_ray.errors import ConfigError
from jobs import simulate, study_gather, study_result, study_text
from jobs.charts import duration
from jobs.references import from_one_base
from jobs.settings import RunConfig
from jobs.study_plan import Step, as_rows, counts, plan
from jobs.study_run import Runner, settings_of


def study(config: RunConfig, command: str) -> None:
    """Do all steps, write `study.json`, `study.html` and `plan.json`, print the comparisons."""
    # Where the bundled model lies names no step: the same study in another checkout goes on here.
    steps, run = plan(config), from_one_base(config)
    report = config.study.report or config.study.output / config.study.figure
    check(run, steps)
    report.mkdir(parents=True, exist_ok=True)
    (report / "plan.json").write_text(json.dumps(as_rows(steps), indent=1, default=str) + "\n", "utf-8")
    parts = ", ".join(f"{number} {stage}" for stage, number in counts(steps).items() if stage != "compare")
    print(f"echo-ray: {command}\n  {len(steps)} steps ({parts}) in {config.study.output}", flush=True)
    with running(config.cluster):
        _do(run, steps)
    value = study_result.build(study_gather.results(config, steps, command))
    data, page = study_result.write(value, report)
    print(f"\n{study_text.table(value)}\n\nstudy: {page} (and {data})")


def check(config: RunConfig, steps: Sequence[Step]) -> None:
    """Refuse, before anything starts, what a step could not do.

    Raises ConfigError or SchemaError: an engine that is not a model of the study, work that is not there, a
    teacher or a judge that cannot answer, a model that cannot be served.
    """
    if config.simulate.engine is not None:
        raise ConfigError(
            f"simulate.engine={config.simulate.engine} would answer in place of the arms' models: leave it "
            "out, and name the base model with serve.model"
        )
    models.check(config.train.model or models.BASE, "train.model")
    # Seeds and arms differ in what only a trained model can show; a population is read once.
    different = {json.dumps([step.stage, step.settings], default=str): step for step in steps}
    for step in different.values():
        own = settings_of(config, step)
        if step.stage in ("experience", "measure"):
            simulate.check(own, (step.settings["control"]["split"],))
        elif step.stage == "distil":
            refinery.check_distil(own.distil, own.teacher)
        elif step.stage == "verify":
            refinery.check_verify(own.verify, own.judge)


def _do(config: RunConfig, steps: Sequence[Step]) -> None:
    todo = [step for step in in_order(steps) if step.stage != "compare"]
    took: dict[str, list[float]] = defaultdict(list)
    with Runner(config) as runner:
        for number, step in enumerate(todo, 1):
            head = f"{number:>4}/{len(todo)}  {step.stage:<16} {_about(step)}"
            began = time.monotonic()
            told = runner.run(step)
            seconds = time.monotonic() - began
            took[step.stage].append(seconds)
            left = _left(todo[number:], took)
            ahead = f", about {duration(left)} left" if left and left > 60 else ""
            print(f"{head}: {told}, {duration(seconds)}{ahead}", flush=True)


def in_order(steps: Sequence[Step]) -> list[Step]:
    """The same steps with all measurements of a model one after the other, so that it is loaded once.

    A measurement is nobody's input but that of comparisons and follows the model that it is of.
    """
    waiting: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        if step.stage == "measure":
            waiting[step.inputs.get("model", "")].append(step)
    found = []
    for step in steps:
        if step.stage == "measure":
            found += waiting.pop(step.inputs.get("model", ""), [])
        else:
            found.append(step)
    return found


def _about(step: Step) -> str:
    named = ", ".join(step.arms) if len(step.arms) < 4 else f"{len(step.arms)} arms"
    seed = f", seed {step.seed}" if step.seed is not None else ""
    return f"{named}{seed}{f', {step.population}' if step.population else ''}"


def _left(todo: Sequence[Step], took: dict[str, list[float]]) -> float | None:
    """Seconds that the rest will take if each stage goes on as it did; None while a stage is yet unknown."""
    if any(step.stage in ("train", "measure") and not took[step.stage] for step in todo):
        return None
    known = {stage: sum(times) / len(times) for stage, times in took.items() if times}
    return sum(known.get(step.stage, 0.0) for step in todo)
