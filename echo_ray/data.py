"""Running stages over shards with Ray Data; the only module that imports `ray.data`.

A unit of work is a name and the files that belong together; the worker reads them itself, calls the
stage on one Arrow table and writes one Parquet file of the unit's name. (Measured: Ray Data's own
`read_parquet` reaches a quarter of one plain core on small records, one task per unit beats it.)
Results therefore do not depend on the number of workers, and a retried unit overwrites itself.

A stage's folder is `part-*.parquet` plus `manifest.json`, written last: it is the commit marker. A stage
whose manifest has the same fingerprint (stage, version, settings, input) is not run again; a folder
without one is work that was cut short, and only its missing units are done.
"""

import hashlib
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import __version__, sealed
from echo_ray.config import Config, fingerprint
from echo_ray.errors import ConfigError, SchemaError, StageError
from echo_ray.progress import bar

MANIFEST = "manifest.json"
MARKER = ".running"
"""Says that a folder is a stage's, finished or not, and for which settings."""


class Stage(Protocol):
    """What a stage is: one table and its settings in, one table out."""

    def __call__(self, table: pa.Table, config: Any) -> pa.Table:
        """Rows in, rows out; explicit schema; no state between calls."""
        ...


@dataclass(frozen=True, slots=True)
class Unit:
    """Files that one task reads together; `name` becomes the name of the output file."""

    name: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a stage did: enough to trust its output, to skip it next time, and to explain it later."""

    stage: str
    fingerprint: str
    input: str
    input_fingerprint: str
    config: dict[str, Any]
    columns: dict[str, str]
    rows_in: int
    rows_out: int
    drops: dict[str, int]
    seconds: float
    engine: str
    code: str = __version__
    notes: dict[str, Any] = field(default_factory=dict)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a finished stage; None when there is none or it cannot be read."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        return Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, TypeError):
        return None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Commit a finished stage: the file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{MANIFEST}.part"
    part.write_text(json.dumps(asdict(manifest), indent=1, default=str) + "\n", encoding="utf-8")
    part.replace(folder / MANIFEST)


def input_fingerprint(folder: Path) -> str:
    """Identity of a stage's input: its manifest's fingerprint, or the content of every file (or of one).

    Raises ConfigError for the sealed truth of a simulation.
    """
    sealed.refuse(folder, "input")
    manifest = read_manifest(folder)
    if manifest is not None:
        return manifest.fingerprint
    hasher = hashlib.blake2b(digest_size=8)
    paths = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    for path in paths:
        hasher.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            hasher.update(hashlib.file_digest(file, "blake2b").digest())
    return hasher.hexdigest()


def units_of(folder: Path) -> list[Unit]:
    """One unit per Parquet file of a stage's folder. Raises SchemaError when there is none, ConfigError for
    the sealed truth of a simulation.
    """
    sealed.refuse(folder, "input")
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise SchemaError(f"{folder} holds no Parquet file: run the stage before this one first")
    return [Unit(path.stem, (str(path),)) for path in paths]


def settings(config: Config) -> dict[str, Any]:
    """A stage's settings as plain values, without the paths: moving a run does not change its identity."""
    plain: dict[str, Any] = config.model_dump(mode="json", exclude={"input", "output"})
    return plain


def run_stage(
    name: str,
    stage: Stage,
    config: Config,
    source: Path,
    output: Path,
    schema: pa.Schema,
    units: Sequence[Unit] | None = None,
    identity: Mapping[str, Any] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Manifest:
    """Map `stage` over the units of `source` and commit the result to `output`.

    `identity` adds what else decides the result (a plan, a model) to the fingerprint. Needs a running
    Ray. Raises StageError when a worker fails, SchemaError when a result has other columns than
    `schema`.
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
    todo = [unit for unit in chosen if not (output / f"{unit.name}.parquet").is_file()]
    job = {"stage": stage, "config": config, "output": str(output), "schema": schema}
    with bar(name, len(chosen), "shards") as shown:
        shown.update(len(chosen) - len(todo))
        rows = 0
        for stats in map_units(_process, todo, job):
            rows += stats["rows_in"]
            shown.set_postfix_str(f"{rows:,} rows", refresh=False)
            shown.update(1)
    counted = [_count(output / f"{unit.name}.parquet") for unit in chosen]
    drops: Counter[str] = Counter()
    for _, _, counts in counted:
        drops.update(counts)
    manifest = Manifest(
        stage=name,
        fingerprint=mark,
        input=str(source),
        input_fingerprint=before,
        config=settings(config),
        columns={column.name: str(column.type) for column in schema},
        rows_in=sum(rows_in for rows_in, _, _ in counted),
        rows_out=sum(rows_out for _, rows_out, _ in counted),
        drops=dict(sorted(drops.items())),
        seconds=round(time.monotonic() - began, 3),
        engine=engine(),
        notes=dict(notes or {}),
    )
    write_manifest(output, manifest)
    return manifest


def claim(output: Path) -> None:
    """Make `output` a stage's folder. A folder with files that no stage wrote is never emptied.

    Raises ConfigError for such a folder.
    """
    marker = output / MARKER
    occupied = output.is_dir() and any(output.iterdir())
    if occupied and not marker.is_file() and read_manifest(output) is None:
        raise ConfigError(
            f"{output} holds files that no stage wrote: name an empty or a new folder as output"
        )
    output.mkdir(parents=True, exist_ok=True)
    marker.touch()


def prepare(output: Path, mark: str) -> None:
    """Empty `output` of anything that another configuration left, keep what this one had finished."""
    claim(output)
    marker = output / MARKER
    (output / MANIFEST).unlink(missing_ok=True)
    if not marker.is_file() or marker.read_text() != mark:
        for path in output.glob("*.parquet"):
            path.unlink()
        marker.write_text(mark)


def engine() -> str:
    """Name and version of what ran a stage."""
    import ray

    return f"ray.data {ray.__version__}"


def map_units(
    function: Callable[[Unit, dict[str, Any]], dict[str, Any]], units: Iterable[Unit], job: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Call `function(unit, job)` for every unit on the cluster; yields its JSON-like results as they come.

    Raises StageError, naming the unit, for the first failure; an exception's own type does not survive
    the way from a worker to the driver.
    """
    import ray.data
    from ray.exceptions import RayError

    items = [{"name": unit.name, "paths": json.dumps(unit.paths)} for unit in units]
    if not items:
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # importing it has set its own level
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # ours counts rows
    context.print_on_execution_start = False
    context.op_resource_reservation_enabled = False  # one operator: nothing to keep cores free for
    dataset = ray.data.from_items(items, override_num_blocks=len(items))
    try:
        for row in dataset.map(_call, fn_kwargs={"function": function, "job": job}).iter_rows():
            yield json.loads(row["result"])
    except RayError as error:
        raise StageError(f"a worker failed: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    """What `_call` said in the worker; Ray hands over only text, with a traceback around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line.partition("StageError: ")[2] for line in lines if "StageError: " in line]
    return (told or lines or ["no reason given"])[-1]


def _call(
    row: dict[str, Any], function: Callable[..., dict[str, Any]], job: dict[str, Any]
) -> dict[str, Any]:
    unit = Unit(row["name"], tuple(json.loads(row["paths"])))
    try:
        return {"result": json.dumps(function(unit, job))}
    except Exception as error:
        raise StageError(f"{unit.name}: {type(error).__name__}: {error}") from error


def _process(unit: Unit, job: dict[str, Any]) -> dict[str, Any]:
    table = pa.concat_tables([pq.read_table(path) for path in unit.paths])
    result: pa.Table = job["stage"](table, job["config"])
    if not result.schema.equals(job["schema"]):
        raise SchemaError(f"the stage returned {result.schema.names}, declared are {job['schema'].names}")
    metadata = {b"rows_in": str(table.num_rows).encode()}
    write_table(result.replace_schema_metadata(metadata), Path(job["output"]) / f"{unit.name}.parquet")
    return {"unit": unit.name, "rows_in": table.num_rows}


def write_table(table: pa.Table, path: Path) -> None:
    """Write one Parquet file that appears whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    pq.write_table(table, part, compression="zstd")
    part.replace(path)


def _count(path: Path) -> tuple[int, int, Counter[str]]:
    file = pq.ParquetFile(path)
    rows_in = int((file.schema_arrow.metadata or {}).get(b"rows_in", b"0"))
    drops: Counter[str] = Counter()
    if "drop" in file.schema_arrow.names:
        drops.update(reason for reason in file.read(["drop"])["drop"].to_pylist() if reason is not None)
    return rows_in, file.metadata.num_rows, drops
