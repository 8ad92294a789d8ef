"""The steps of a study that make control data: folders in, a folder with a manifest out. No Ray, no engine.

A control stands in for a stage, writes that stage's columns and says so: `manifest.stage` is the stage that
it stands in for, so that whoever reads such folders (`explain`, `card`, the next stage) finds what they know;
`notes["control"]` names what was done, with its counts. A finished step is not done again.

Row-by-row controls keep the shards of their input. The others hold the whole data set at once: a study's
tens of thousands of samples, not a company's millions.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import __version__, data
from echo_ray.config import fingerprint
from echo_ray.controls import Controlled, noise, placebos, raw, sizes, static, targets
from echo_ray.data import Manifest
from echo_ray.errors import ConfigError
from echo_ray.rng import digest
from jobs.study_plan import Step
from simulator.config import SimulateConfig, Split
from simulator.work import sources

STANDS_FOR = {
    "raw_log": "mine",
    "paste_noise": "mine",
    "whole_commits": "distil",
    "accepted_text": "distil",
    "static": "balance",
    "shuffled_targets": "balance",
    "random_voids": "balance",
    "random_cuts": "balance",
    "subset": "balance",
    "match": "pack",
    "documents": "documents",
    "sources": "sources",
}
"""Steps that are controls, by the stage whose columns they write; the last two write `static.FILES`."""
SHARD_ROWS = 5_000
"""Rows of one file where a control makes rows of its own (count)."""

Values = Mapping[str, Any]


def is_control(step: Step) -> bool:
    """Whether `run` does this step."""
    return step.stage in STANDS_FOR


def run(step: Step, root: Path) -> Manifest:
    """Do one step whose inputs lie in folders of their names under `root`.

    Raises SchemaError for input that lacks columns or rows, ConfigError for sources that cannot be read.
    """
    output = root / step.name
    folders = {role: root / name for role, name in step.inputs.items()}
    before = {role: data.input_fingerprint(folder) for role, folder in sorted(folders.items())}
    values = dict(step.settings.get("control", {}))
    mark = fingerprint({"control": step.stage, "code": __version__, "settings": values, "inputs": before})
    done = data.read_manifest(output)
    if done is not None and done.fingerprint == mark:
        return done
    began = time.monotonic()
    data.prepare(output, mark)
    shards = _made(step.stage, folders, values)
    counts: dict[str, Any] = {}
    for name, (table, found) in shards.items():
        data.write_table(table, output / f"{name}.parquet")
        counts = data.added(counts, found)
    tables = [table for table, _ in shards.values()]
    drops: dict[str, int] = {}
    for table in tables:
        if "drop" in table.schema.names:
            for item in table["drop"].drop_null().value_counts().to_pylist():
                drops[item["values"]] = drops.get(item["values"], 0) + item["counts"]
    source = folders.get("input")
    manifest = Manifest(
        stage=STANDS_FOR[step.stage],
        fingerprint=mark,
        input=str(source or ", ".join(values.get("sources", ()))),
        input_fingerprint=before.get("input", ""),
        config=values,
        columns={column.name: str(column.type) for column in tables[0].schema},
        rows_in=sum(pq.read_metadata(path).num_rows for path in sorted(source.glob("*.parquet")))
        if source
        else 0,
        rows_out=sum(table.num_rows for table in tables),
        drops=dict(sorted(drops.items())),
        seconds=round(time.monotonic() - began, 3),
        engine="this process",
        notes={"control": {"name": step.stage, "inputs": before, **counts}},
    )
    data.write_manifest(output, manifest)
    return manifest


def _made(stage: str, folders: Mapping[str, Path], values: Values) -> dict[str, Controlled]:
    """The step's tables by the name of their file."""
    if stage == "sources":
        return _sharded(_sources(values))
    source = folders["input"]
    alone: dict[str, Callable[[pa.Table], Controlled]] = {
        "raw_log": raw.raw_log,
        "whole_commits": lambda table: targets.whole_commits(table, targets.WholeConfig(**values)),
        "accepted_text": targets.accepted_text,
    }
    if stage == "paste_noise":
        donors, config = _whole(folders["donors"]), noise.NoiseConfig(**values)
        alone[stage] = lambda table: noise.paste_noise(table, donors, config)
    if stage in alone:
        return {
            unit.name: alone[stage](pa.concat_tables(pq.read_table(path) for path in unit.paths))
            for unit in data.units_of(source)
        }
    table = _whole(source)
    if stage == "documents":
        return _sharded(static.documents(table))
    if stage == "static":
        return _sharded(static.cut_files(table, static.StaticConfig(**values)))
    if stage == "match":
        tokens = sizes.target_tokens(_whole(folders["tokens"]))
        return _sharded(sizes.matched(table, tokens, **values))
    whole: dict[str, Callable[..., Controlled]] = {
        "shuffled_targets": placebos.shuffled_targets,
        "random_voids": placebos.random_voids,
        "random_cuts": targets.random_cuts,
        "subset": sizes.nested,
    }
    return _sharded(whole[stage](table, **values))


def _sources(values: Values) -> Controlled:
    """FILES of other projects, all of them: nobody is measured there."""
    config = SimulateConfig(**values)
    found: list[sources.SourceFile] = []
    refused: list[ConfigError] = []
    for split in get_args(Split):
        try:
            found += sources.load(config, split).files
        except ConfigError as error:  # of a few files all may be on one side
            refused.append(error)
    if not found:
        raise refused[0]
    found.sort(key=lambda file: file.path)
    columns = {
        "key": [file.path for file in found],
        "user": [f"static-{digest(file.path):016x}" for file in found],
        "file": [file.pseudonym for file in found],
        "language": [file.language for file in found],
        "text": [file.text for file in found],
        "weight": [len(file.text) for file in found],
    }
    table = pa.table(columns, schema=static.FILES)
    return Controlled(table, {"files": len(found), "characters": sum(len(file.text) for file in found)})


def _whole(folder: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for unit in data.units_of(folder) for path in unit.paths)


def _sharded(found: Controlled) -> dict[str, Controlled]:
    """The table in files of SHARD_ROWS, the counts with the first; no rows make one empty file."""
    starts = range(0, max(found.table.num_rows, 1), SHARD_ROWS)
    return {
        f"part-{number:05d}": Controlled(
            found.table.slice(start, SHARD_ROWS), found.counts if not start else {}
        )
        for number, start in enumerate(starts)
    }
