"""One shuffle that brings every session together: any log in, session-partitioned Parquet out.

Partition number = hash of the session, so mining afterwards is a map over partitions. Rows of a
partition are ordered by session and time: consecutive requests then share nearly all of their text,
which is what makes zstd Parquet small. `store` says how rows are ordered, merged and written.
Layout: `part-0000.parquet` ... with requests, `events/part-0000.parquet`, `quarantine.jsonl`.

Invariants: the rows and their order do not depend on how the log was split into files, nor on the order
of the files (their number of partitions may: it is estimated from file sizes). Every row read is kept,
merged or quarantined; the manifest's `accounts` say so by kind, and a sum that is off stops the import.
Memory: a worker holds one piece of a file, then one partition; a session is never cut, so the largest
session is the least a partition can be.
"""

import json
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from echo_ray import schema
from echo_ray.config import Config, fingerprint
from echo_ray.data import (
    Manifest,
    Unit,
    claim,
    engine,
    input_fingerprint,
    map_units,
    read_manifest,
    settings,
    write_manifest,
)
from echo_ray.errors import SchemaError
from echo_ray.link_table import linked
from echo_ray.log import reader, store
from echo_ray.log.accounts import Totals
from echo_ray.log.contract import KINDS
from echo_ray.log.folder import reading
from echo_ray.progress import bar
from echo_ray.rng import digest

STAGE = "log"
"""Name in the manifest of a partitioned log."""


_PIECE_MB = 64
_SHOWN = 1000
_MOST_PARTITIONS = 4096


class ImportConfig(Config):
    """Settings of `import`."""

    input: Path | None = None
    """Folder of an experience log: version-1 records (JSON Lines, `.gz`, `.zst`, or Parquet) and foreign
    formats, in any mixture and order."""
    output: Path | None = None
    """Folder for the partitioned log and `manifest.json`."""
    format: reader.Format = "auto"
    """What the files hold: `auto` looks into each, `echo` is version 1; Parquet is version 1 always."""
    partitions: int = Field(8, ge=1, le=_MOST_PARTITIONS)
    """Fewest files that the sessions are spread over; one mining task each."""
    partition_mb: float = Field(128.0, gt=0)
    """Raw text per partition (MB): a larger log gets more partitions. A worker
    holds one at a time."""


def check(folder: Path, key: str) -> None:
    """Raise ConfigError, naming the setting `key`, unless `folder` holds a log; needs no Ray."""
    reader.files(folder, key)


def is_partitioned(folder: Path) -> bool:
    """Whether `folder` is a finished output of `partition`."""
    manifest = read_manifest(folder)
    return manifest is not None and manifest.stage == STAGE


Mapper = Callable[[Callable[..., dict[str, Any]], Iterable[Unit], dict[str, Any]], Iterator[dict[str, Any]]]
"""Calls a function for every unit: `data.map_units` on the cluster, `one_by_one` here."""


def one_by_one(
    function: Callable[..., dict[str, Any]], units: Iterable[Unit], job: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """What `map_units` does, in this process: for logs that are read sooner than Ray has started."""
    for unit in units:
        yield function(unit, job)


def partition(
    config: ImportConfig,
    source: Path,
    output: Path,
    key: str = "import.input",
    mapper: Mapper | None = None,
) -> Manifest:
    """Shuffle the log under `source` into `output`. Needs a running Ray, unless `mapper` is `one_by_one`.

    Raises ConfigError when there is no log (naming the setting `key`), SchemaError when no line of it is
    a request; nothing is left behind then. `source` may be the log of a running service.
    """
    if not source.exists():
        reader.files(source, key, config.format)  # says so
    with reading(source):
        return _partition(config, source, output, key, mapper or map_units)


def _partition(config: ImportConfig, source: Path, output: Path, key: str, mapper: Mapper) -> Manifest:
    paths = reader.files(source, key, config.format)
    before = input_fingerprint(source)
    mark = fingerprint({"stage": STAGE, "config": settings(config), "input": before})
    done = read_manifest(output)
    if done is not None and done.fingerprint == mark:
        return done
    began = time.monotonic()
    fresh = not output.exists()
    claim(output)
    fragments = output / ".fragments"
    shutil.rmtree(fragments, ignore_errors=True)
    units = [Unit(f"{number:05d}", (str(path),)) for number, path in enumerate(paths)]
    count = partitions(config, paths)
    job: dict[str, Any] = {"fragments": str(fragments), "partitions": count, "format": config.format}
    totals = Totals()
    try:
        with bar("log: read", len(units), "files") as shown:
            for result in mapper(scatter, units, job):
                totals.add_read(result)
                shown.set_postfix_str(f"{totals.read.total():,} rows", refresh=False)
                shown.update(1)
        if totals.read["request"] == totals.quarantined["request"]:
            if fresh:
                shutil.rmtree(output)
            raise SchemaError(f"{key}={source} holds no valid request: {totals.first()}")
        _empty(output)
        names = [Unit(f"part-{number:04d}", ()) for number in range(count)]
        with bar("log: sort", len(names), "shards") as shown:
            for result in mapper(gather, names, job | {"output": str(output)}):
                totals.add_kept(result)
                shown.update(1)
        totals.check()
        _collect_quarantine(fragments, output)
    finally:
        shutil.rmtree(fragments, ignore_errors=True)
    manifest = Manifest(
        stage=STAGE,
        fingerprint=mark,
        input=str(source),
        input_fingerprint=before,
        config=settings(config),
        columns={column.name: str(column.type) for column in schema.LOGGED},
        rows_in=totals.read["request"] - totals.quarantined["request"],
        rows_out=totals.kept["request"],
        drops={},
        seconds=round(time.monotonic() - began, 3),
        engine="one process" if mapper is one_by_one else engine(),
        notes=totals.notes() | {"partitions": count},
    )
    write_manifest(output, manifest)
    return manifest


def partitions(config: ImportConfig, paths: Iterable[Path]) -> int:
    """Number of partitions: enough that each holds about `partition_mb` of raw text."""
    raw_mb = sum(reader.raw_bytes(path) for path in paths) / 2**20
    return min(_MOST_PARTITIONS, max(config.partitions, math.ceil(raw_mb / config.partition_mb)))


def warnings(manifest: Manifest, folder: Path) -> list[str]:
    """Sentences that a person should see about the log in `folder` that was not perfect."""
    notes, found = manifest.notes, []
    if notes.get("quarantined"):
        count, shown = notes["quarantined"], notes.get("quarantine_lines", 0)
        what = "1 line was no record and is" if count == 1 else f"{count:,} lines were no records and are"
        where = "" if count == shown else f" ({shown:,} of them)"
        found.append(f"{what} kept in {folder / 'quarantine.jsonl'}{where}")
    if notes.get("unknown_fields"):
        names = ", ".join(f"{name} ({count:,})" for name, count in sorted(notes["unknown_fields"].items()))
        found.append(f"fields outside the contract were left out: {names}")
    return found


def scatter(unit: Unit, job: dict[str, Any]) -> dict[str, Any]:
    """Worker: one file to fragments, at most one per piece of the file, kind and partition."""
    read: Counter[str] = Counter()
    quarantined: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    folder, entries, lines, example = Path(job["fragments"]), 0, 0, None
    for number, records in enumerate(reader.batches(Path(unit.paths[0]), _PIECE_MB, job["format"])):
        for kind, table, key in (("request", records.requests, "session"), ("event", records.events, "user")):
            for place, rows in _split(table, key, job["partitions"]):
                target = folder / kind / f"part-{place:04d}"
                target.mkdir(parents=True, exist_ok=True)
                store.write_fragment(rows, target / f"{unit.name}-{number:05d}.parquet")
        read += records.read
        unknown += records.unknown
        for line in records.rejected:
            quarantined[line.kind] += line.rows
        shown = [asdict(line) for line in records.rejected[: _SHOWN - entries]]
        if shown:
            example = example or shown[0]
            target = folder / "quarantine"
            target.mkdir(parents=True, exist_ok=True)
            text = "".join(json.dumps(line) + "\n" for line in shown)
            (target / f"{unit.name}-{number:05d}.jsonl").write_text(text, encoding="utf-8")
            entries += len(shown)
            lines += sum(line["rows"] for line in shown)
    counts = {"read": dict(read), "quarantined": dict(quarantined), "unknown": dict(unknown)}
    return counts | {"lines": lines, "example": example}


def gather(unit: Unit, job: dict[str, Any]) -> dict[str, Any]:
    """Worker: the fragments of one partition to one sorted file without duplicates."""
    kept: dict[str, int] = {}
    merged: dict[str, int] = {}
    counts: Counter[str] = Counter()
    orders = {"request": store.order_requests, "event": store.order_events}
    for kind, order in orders.items():
        pieces = sorted((Path(job["fragments"]) / kind / unit.name).glob("*.parquet"))
        if kind == "event" and not pieces:
            continue
        target = Path(job["output"]) / ("events" if kind == "event" else ".")
        target.mkdir(parents=True, exist_ok=True)
        found = store.Fragments(pieces, KINDS[kind])
        batches = found.batches(order(found))
        columns = KINDS[kind]
        if kind == "request":
            batches = linked(store.counting_repeats(batches, counts=counts))
            columns = schema.LOGGED
        kept[kind] = store.write(target / f"{unit.name}.parquet", batches, columns)
        merged[kind] = found.num_rows - kept[kind]
    return {"kept": kept, "merged": merged, "repeats": counts["repeats"]}


def home(name: str, count: int) -> int:
    """Number of the partition of a session (its requests) or a user (their events)."""
    return digest("partition", name) % count


def _split(table: pa.Table, key: str, count: int) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each partition, by time of their sessions: alike rows together pack well."""
    if not table.num_rows:
        return
    table = table.combine_chunks()
    names = table[key].combine_chunks().dictionary_encode()
    homes = np.array([home(name, count) for name in names.dictionary.to_pylist()], np.int64)
    codes = names.indices.to_numpy()
    order = np.lexsort((table["ts_ms"].to_numpy(), codes, homes[codes]))
    places = homes[codes][order]
    for rows in np.split(order, np.flatnonzero(np.diff(places)) + 1):
        yield int(homes[codes[rows[0]]]), table.take(pa.array(rows))


def _empty(output: Path) -> None:
    """Remove what an earlier import left, finished or not."""
    for name in ("manifest.json", "quarantine.jsonl"):
        (output / name).unlink(missing_ok=True)
    for folder in (output, output / "events"):
        for old in (*folder.glob("part-*.parquet"), *folder.glob(".part-*.part")):
            old.unlink()


def _collect_quarantine(fragments: Path, output: Path) -> None:
    pieces = sorted((fragments / "quarantine").glob("*.jsonl"))
    if pieces:
        with (output / "quarantine.jsonl").open("wb") as whole:
            for piece in pieces:
                whole.write(piece.read_bytes())
