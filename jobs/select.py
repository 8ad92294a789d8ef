"""Running `select`: facts in the workers, one decision on the driver, applied in the workers.

The driver holds the facts of all rows, never their texts: 0.2 KB per row, and 0.7 KB more while it decides
(measured at a million rows). A run that was cut short makes its plan again, which is the cheap part.
"""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import __version__, data, schema
from echo_ray.config import fingerprint
from echo_ray.data import Manifest, Unit
from echo_ray.progress import bar
from echo_ray.stages import select as selecting
from echo_ray.stages import selection
from jobs.settings import RunConfig

WORK = ".facts"
"""Folder inside the output, gone when the stage is done; what lies in it is not part of the result."""


def select_samples(config: RunConfig, source: Path, output: Path) -> Manifest:
    """Decide which verified samples under `source` may be trained on. Needs a running Ray.

    Raises SchemaError for rows that lack a target or share an id (from a worker: StageError).
    """
    settings = config.select
    done = data.read_manifest(output)
    same = {"stage": "select", "code": __version__, "config": data.settings(settings)}
    same["input_fingerprint"] = data.input_fingerprint(source)
    if done is not None and all(getattr(done, name) == value for name, value in same.items()):
        return done
    units = data.units_of(source)
    data.claim(output)
    folder = output / WORK
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    job = {"config": settings, "folder": str(folder)}
    with bar("select plan", len(units), "shards") as shown:
        for _ in data.map_units(_facts, units, job):
            shown.update(1)
    found = pa.concat_tables(pq.read_table(folder / f"{unit.name}.parquet") for unit in units)
    plan, decisions = selection.decide(found, settings)
    del found
    name = fingerprint({"settings": same, "plan": plan.model_dump()})
    path = folder / f"decided-{name}.parquet"
    data.write_table(decisions, path)
    applied = selecting.Applied(**settings.model_dump(), decisions=path)
    present = {"plan": plan.model_dump(), "holdout_users_absent": _absent(settings, units)}
    manifest = data.run_stage(
        "select", selecting.select, applied, source, output, schema.SELECTED, units, notes=present
    )
    shutil.rmtree(folder)
    return manifest


def _facts(unit: Unit, job: dict[str, Any]) -> dict[str, Any]:
    """Worker: the facts of one shard, as a file."""
    table = pa.concat_tables([pq.read_table(path) for path in unit.paths])
    found = selecting.facts(table, job["config"])
    data.write_table(found, Path(job["folder"]) / f"{unit.name}.parquet")
    return {"rows": found.num_rows}


def _absent(config: selecting.SelectConfig, units: list[Unit]) -> list[str]:
    """Users of `select.holdout_users` of whom there is no row: perhaps a wrong name."""
    if not config.holdout_users:
        return []
    there: set[str | None] = set()
    for unit in units:
        for path in unit.paths:
            if "user" in pq.read_schema(path).names:
                there.update(pq.read_table(path, columns=["user"])["user"].unique().to_pylist())
    return sorted(set(config.holdout_users) - there)
