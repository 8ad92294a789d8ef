"""Running stages over shards with Ray Data; the only module that imports `ray.data`.

A unit of work is a name and the files that belong together; the worker reads them itself, calls the
stage on one Arrow table and writes one Parquet file of the unit's name. (Measured: Ray Data's own
`read_parquet` reaches a quarter of one plain core on small records, one task per unit beats it.)
Results therefore do not depend on the number of workers, and a retried unit overwrites itself.

A stage that holds a model runs on Ray Data actors (`Workers`): it is built once in each and then called
unit by unit, with the same protocol of files. What it tells beside its table (`Outcome`: tokens, seconds,
failures) lies in the metadata of the unit's file, so the totals in the manifest count every unit once,
also those that an earlier, cut-short run finished.

A stage whose manifest has the same fingerprint (stage, version, settings, input) is not run again; a folder
without a manifest is work that was cut short, and only its missing units are done (`manifest`).
"""

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import __version__
from echo_ray.config import Config, fingerprint
from echo_ray.errors import SchemaError, StageError
from echo_ray.manifest import (
    MANIFEST,
    MARKER,
    Manifest,
    Summary,
    Unit,
    added,
    claim,
    facts_of,
    input_fingerprint,
    prepare,
    read_manifest,
    settings,
    summarize,
    units_of,
    write_manifest,
    write_table,
)
from echo_ray.progress import bar

__all__ = [
    "MANIFEST",
    "MARKER",
    "Manifest",
    "Outcome",
    "Stage",
    "Summary",
    "Unit",
    "Workers",
    "added",
    "claim",
    "engine",
    "facts_of",
    "input_fingerprint",
    "map_units",
    "prepare",
    "read_manifest",
    "run_stage",
    "settings",
    "summarize",
    "units_of",
    "write_manifest",
    "write_table",
]


DEATHS = 2
"""How often actors of a stage may die (no memory, a crash in a library), until it is given up (count)."""


class Outcome(NamedTuple):
    """A stage's table, and what it tells about the work beside it."""

    table: pa.Table
    facts: Mapping[str, Any]
    """JSON-like. Over the units numbers are added, mappings merged; of anything else the first is kept."""


class Stage(Protocol):
    """What a stage is: one table and its settings in, one table out."""

    def __call__(self, table: pa.Table, config: Any) -> pa.Table | Outcome:
        """Rows in, rows out; explicit schema; no state between calls that could change a result."""
        ...


@dataclass(frozen=True, slots=True)
class Workers:
    """Ray Data actors for a stage that holds a model."""

    build: Callable[[], Stage]
    """Makes the stage; called once in each actor, when its first unit comes. Must pickle."""
    count: int = 1
    """Actors at most (count); never more than there are units to do."""
    cpus: float = 1.0
    """Logical CPUs of each."""
    gpus: float = 0.0
    """GPUs of each."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of each actor's process, there before anything is imported."""


def run_stage(
    name: str,
    stage: Stage | None,
    config: Config,
    source: Path,
    output: Path,
    schema: pa.Schema,
    units: Sequence[Unit] | None = None,
    identity: Mapping[str, Any] | None = None,
    notes: Mapping[str, Any] | None = None,
    workers: Workers | None = None,
    redo: Callable[[Mapping[str, Any]], bool] | None = None,
    conclude: Callable[[Summary], Mapping[str, Any]] | None = None,
) -> Manifest:
    """Map `stage` over the units of `source` and commit the result to `output`.

    `identity` adds what else decides the result (a plan, a model) to the fingerprint. With `workers` the
    stage is the one that they build, and `stage` is None. A unit that a cut-short run finished is done again
    when `redo` says so of its facts. `conclude` makes the manifest's further notes from the totals, by
    default the summed facts as they are; it may raise to leave the stage unfinished.

    Needs a running Ray. Raises StageError when a worker fails (also by SchemaError, when a result has other
    columns than `schema`); a StageError that the stage itself raises comes as it is.
    """
    before = input_fingerprint(source)
    mark = fingerprint(
        {"stage": name, "code": __version__, "config": settings(config), "input": before}
        | dict(identity or {})
    )
    done = read_manifest(output)
    if done is not None and done.fingerprint == mark:
        return done
    began = time.monotonic()
    chosen = list(units) if units is not None else units_of(source)
    prepare(output, mark)
    if redo is not None:
        for path in (output / f"{unit.name}.parquet" for unit in chosen):
            if path.is_file() and redo(facts_of(path)):
                path.unlink()
    todo = [unit for unit in chosen if not (output / f"{unit.name}.parquet").is_file()]
    job = {"stage": stage, "config": config, "output": str(output), "schema": schema}
    with bar(name, len(chosen), "shards") as shown:
        shown.update(len(chosen) - len(todo))
        rows = 0
        for stats in map_units(_process, todo, job, workers):
            rows += stats["rows_in"]
            shown.set_postfix_str(f"{rows:,} rows", refresh=False)
            shown.update(1)
    paths = [output / f"{unit.name}.parquet" for unit in chosen]
    summary = summarize(paths, round(time.monotonic() - began, 3))
    manifest = Manifest(
        stage=name,
        fingerprint=mark,
        input=str(source),
        input_fingerprint=before,
        config=settings(config),
        columns={column.name: str(column.type) for column in schema},
        rows_in=summary.rows_in,
        rows_out=summary.rows_out,
        drops=summary.drops,
        seconds=summary.seconds,
        engine=engine(),
        notes=dict(notes or {}) | dict(summary.facts if conclude is None else conclude(summary)),
    )
    write_manifest(output, manifest)
    return manifest


def check_columns(source: Path, needed: Iterable[str], key: str) -> None:
    """Raise SchemaError for a file under `source` that lacks a column, before any worker stumbles over it.
    `key` is what the user set to this folder.
    """
    wanted = set(needed)
    for unit in units_of(source):
        for path in unit.paths:
            missing = sorted(wanted - set(pq.read_schema(path).names))
            if missing:
                raise SchemaError(f"{key}: {path} lacks the columns {', '.join(missing)}")


def engine() -> str:
    """Name and version of what ran a stage."""
    import ray

    return f"ray.data {ray.__version__}"


def map_units(
    function: Callable[[Unit, dict[str, Any]], dict[str, Any]],
    units: Iterable[Unit],
    job: dict[str, Any],
    workers: Workers | None = None,
) -> Iterator[dict[str, Any]]:
    """Call `function(unit, job)` for every unit on the cluster; yields its JSON-like results as they come.

    With `workers` the calls are made in their actors, and `job["stage"]` is the stage that they built; when
    an actor dies the units without a result are begun again, `DEATHS` times at most.
    Raises StageError, naming the unit, for the first failure; an exception's own type does not survive
    the way from a worker to the driver.
    """
    import ray.data
    from ray.exceptions import RayActorError, RayError

    todo = {unit.name: {"name": unit.name, "paths": json.dumps(unit.paths)} for unit in units}
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # StageError says what went wrong
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # ours counts rows
    context.print_on_execution_start = False
    context.op_resource_reservation_enabled = False  # one operator: nothing to keep cores free for
    deaths = 0
    while todo:
        try:
            for row in _mapped(function, list(todo.values()), job, workers).iter_rows():
                del todo[row["name"]]
                yield json.loads(row["result"])
        except RayActorError as error:
            deaths += 1
            if deaths > DEATHS:
                raise StageError(
                    f"a worker's process died {deaths} times, perhaps for lack of memory; its log says more"
                ) from error
        except RayError as error:
            raise StageError(_cause(error)) from error


def _mapped(
    function: Callable[..., dict[str, Any]],
    items: list[dict[str, str]],
    job: dict[str, Any],
    workers: Workers | None,
) -> Any:
    """The data set of results, not yet computed."""
    import ray.data

    dataset = ray.data.from_items(items, override_num_blocks=len(items))
    if workers is None:
        return dataset.map(_call, fn_kwargs={"function": function, "job": job})
    # One unit at a time: a queue at one actor is work that another could have begun.
    pool = ray.data.ActorPoolStrategy(size=min(workers.count, len(items)), max_tasks_in_flight_per_actor=1)
    with warnings.catch_warnings():
        # Deprecated as of Ray 2.60 without a successor. Ray's default restarts a model that does not fit
        # into memory for ever.
        warnings.simplefilter("ignore", DeprecationWarning)
        return dataset.map(
            _Worker,
            fn_constructor_args=(workers.build, function, job),
            compute=pool,
            num_cpus=workers.cpus,
            num_gpus=workers.gpus,
            runtime_env={"env_vars": dict(workers.environment)},
            max_restarts=0,
        )


def _cause(error: BaseException) -> str:
    """What `_call` said in the worker; Ray hands over only text, with a traceback around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line.partition("StageError: ")[2] for line in lines if "StageError: " in line]
    return told[-1] if told else f"a worker failed: {(lines or ['no reason given'])[-1]}"


def _call(
    row: dict[str, Any], function: Callable[..., dict[str, Any]], job: dict[str, Any]
) -> dict[str, Any]:
    unit = Unit(row["name"], tuple(json.loads(row["paths"])))
    try:
        return {"name": unit.name, "result": json.dumps(function(unit, job))}
    except StageError:
        raise  # says by itself what stopped the work
    except Exception as error:
        reason = " ".join(str(error).split())
        raise StageError(f"a worker failed: {unit.name}: {type(error).__name__}: {reason}") from error


class _Worker:
    """One actor: builds its stage for the first unit, so that a failure to build names itself too."""

    def __init__(
        self, build: Callable[[], Stage], function: Callable[..., dict[str, Any]], job: dict[str, Any]
    ) -> None:
        self._build, self._function, self._job = build, function, job

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return _call(row, self._run, self._job)

    def _run(self, unit: Unit, job: dict[str, Any]) -> dict[str, Any]:
        if job["stage"] is None:
            job["stage"] = self._build()
        return self._function(unit, job)


def _process(unit: Unit, job: dict[str, Any]) -> dict[str, Any]:
    table = pa.concat_tables([pq.read_table(path) for path in unit.paths])
    outcome: pa.Table | Outcome = job["stage"](table, job["config"])
    result, facts = outcome if isinstance(outcome, Outcome) else Outcome(outcome, {})
    if not result.schema.equals(job["schema"]):
        raise SchemaError(f"the stage returned {result.schema.names}, declared are {job['schema'].names}")
    metadata = {b"rows_in": str(table.num_rows).encode(), b"facts": json.dumps(facts).encode()}
    write_table(result.replace_schema_metadata(metadata), Path(job["output"]) / f"{unit.name}.parquet")
    return {"unit": unit.name, "rows_in": table.num_rows}


def streamed(blocks: Sequence[pa.Table], function: Callable[..., pa.Table], rows: int, **values: Any) -> Any:
    """A dataset of `blocks` in their order, `function(table, **values)` applied to `rows` rows at a time,
    lazily while somebody reads it.
    """
    import ray.data

    # One task at a time: what streams beside a training shall not take its cores.
    return ray.data.from_arrow(list(blocks)).map_batches(
        function, batch_format="pyarrow", batch_size=rows, fn_kwargs=values, concurrency=1
    )


def in_order() -> Any:
    """How Ray Train shall hand out datasets: each whole, to the worker that asks for it, rows in their
    order.
    """
    from ray.data import ExecutionOptions
    from ray.train import DataConfig

    options = ExecutionOptions(preserve_order=True)
    return DataConfig(datasets_to_split=[], execution_options=options)
