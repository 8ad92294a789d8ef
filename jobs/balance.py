"""Running `balance`: the workers count, the driver plans, the workers apply."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import data, schema
from echo_ray.data import Manifest, Outcome, Unit
from echo_ray.stages import balance as balancing
from echo_ray.stages.counts import Counts
from jobs.settings import RunConfig

COLUMNS = ("sample_id", "drop", "target", "target_tokens", "perplexity")
"""What counting needs to read."""


def balance_samples(config: RunConfig, source: Path, output: Path) -> Manifest:
    """Weigh the targets under `source`; the plan is made from all shards, then applied to each.

    Needs a running Ray. The manifest's notes hold the counts, the plan, and rows and copies of every band.
    """
    units = data.units_of(source)
    job = {"config": config.balance}
    counts = Counts.total(
        Counts.model_validate(found["counts"]) for found in data.map_units(_count, units, job)
    )
    applied = balancing.applied(config.balance, balancing.plan(counts, config.balance))
    notes = {"counts": counts.model_dump(mode="json"), "plan": applied.plan.model_dump(mode="json")}
    return data.run_stage("balance", stage, applied, source, output, schema.BALANCED, units, notes=notes)


def stage(table: pa.Table, config: balancing.Applied) -> Outcome:
    """`balancing.balance`, and what became of each band."""
    result = balancing.balance(table, config)
    return Outcome(result, {"bands": balancing.tally(result)})


def _count(unit: Unit, job: dict[str, Any]) -> dict[str, Any]:
    """Worker: counts of one shard."""
    return {"counts": histogram(unit.paths, job["config"]).model_dump(mode="json")}


def histogram(paths: tuple[str, ...], config: balancing.BalanceConfig) -> Counts:
    """Counts of Parquet files, of which only the columns that count are read."""
    found = []
    for path in paths:
        present = [name for name in COLUMNS if name in pq.read_schema(path).names]
        found.append(balancing.histogram(pq.read_table(path, columns=present), config))
    return Counts.total(found)
