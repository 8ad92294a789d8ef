"""The data of a plan's arms without Ray: a small log, and every stage as the pure function that it is."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import data
from echo_ray.prompts import FastTokenizer, template_for
from echo_ray.stages import balance as balancing
from echo_ray.stages import distil as distilling
from echo_ray.stages import mine as mining
from echo_ray.stages import pack as packing
from echo_ray.stages import select as selecting
from echo_ray.stages import selection, surprisal
from echo_ray.stages import verify as verifying
from jobs import study_controls
from jobs.settings import RunConfig
from jobs.study_plan import Step
from tests.rows import request, table_of
from tests.tiny import SAMPLE

USERS = 4


def log() -> pa.Table:
    """Developers who type the same file, each a variable of their own, some lines accepted as proposed."""
    rows = []
    for user in range(USERS):
        text = SAMPLE.replace("item", f"entry{user}")
        at, number = 0, 0
        while at < len(text):
            line = text[at : text.find("\n", at) + 1] or text[at:]
            whole = number % 20 == 19 and len(line) > 4
            proposal = line.rstrip("\n") if whole else "wrong()"
            more = {"user": f"u{user}", "session": f"s{user}", "language": "python", "proposal": proposal}
            rows.append(request(f"u{user}-{number:04d}", number * 700, text[:at], "", **more))
            at += len(line.rstrip("\n")) if whole else 3
            number += 1
    return table_of(rows)


def do(steps: tuple[Step, ...], run: RunConfig, root: Path) -> dict[str, Path]:
    """Folders of all steps up to the data that is trained on, by the name of the step."""
    folders = {}
    for step in steps:
        if step.stage in ("train", "measure", "compare", "evaluate"):
            continue
        if study_controls.is_control(step):
            study_controls.run(step, root)
        else:
            _stage(step, run, root)
        folders[step.name] = root / step.name
    return folders


def read(folder: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for unit in data.units_of(folder) for path in unit.paths)


def _stage(step: Step, run: RunConfig, root: Path) -> None:
    output = root / step.name
    output.mkdir(exist_ok=True)
    changes = {
        section: {**run.model_dump(by_alias=True)[section], **values}
        for section, values in step.settings.items()
        if section != "control"
    }
    config = RunConfig.model_validate(run.model_dump(by_alias=True) | changes)
    table = log() if step.stage == "experience" else read(root / step.inputs["input"])
    pq.write_table(_done(step.stage, table, config, output), output / "part-0.parquet")


def _done(stage: str, table: pa.Table, config: RunConfig, output: Path) -> pa.Table:
    if stage == "experience":
        return table
    if stage == "mine":
        return mining.mine(table, config.mine)
    if stage == "distil":
        return distilling.distil(table, config.distil)
    if stage == "verify":
        return verifying.verify(table, config.verify)
    if stage == "select":
        _, decisions = selection.decide(selecting.facts(table, config.select), config.select)
        path = output.with_suffix(".decisions")
        pq.write_table(decisions, path)
        return selecting.select(table, selecting.Applied(**config.select.model_dump(), decisions=path))
    if stage == "perplexity":
        assert config.pack.model is not None
        tokenizer = FastTokenizer(config.pack.model)
        applied = surprisal.Applied(backend="none", dtype="float32", window=config.pack)
        return surprisal.measure(table, applied, tokenizer, template_for(tokenizer), None)[0]
    if stage == "balance":
        plan = balancing.plan(balancing.histogram(table, config.balance), config.balance)
        return balancing.balance(table, balancing.applied(config.balance, plan))
    assert stage == "pack"
    return packing.pack(table, config.pack)
