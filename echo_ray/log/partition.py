"""One shuffle that brings every session together: any log in, session-partitioned Parquet out.

Partition number = hash of the session, so mining afterwards is a map over partitions. Rows of a
partition are ordered by session and time: consecutive requests then share nearly all of their text,
which is what makes zstd Parquet small. Duplicates (the same `request_id`) are merged, the first kept.
Layout: `part-0000.parquet` ... with requests, `events/part-0000.parquet`, `quarantine.jsonl`.
"""

import json
import shutil
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
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
    write_table,
)
from echo_ray.errors import SchemaError
from echo_ray.log import reader
from echo_ray.progress import bar
from echo_ray.rng import digest

STAGE = "log"
"""Name in the manifest of a partitioned log."""


class ImportConfig(Config):
    """Settings of `import`."""

    input: Path | None = None
    """Folder of version-1 record files: JSON Lines (`.gz`, `.zst`) or Parquet, in any mixture and order."""
    output: Path | None = None
    """Folder for the partitioned log and `manifest.json`."""
    partitions: int = Field(8, ge=1, le=4096)
    """Files that the sessions are spread over; one mining task each."""


def check(folder: Path, key: str) -> None:
    """Raise ConfigError, naming the setting `key`, unless `folder` holds a log; needs no Ray."""
    reader.files(folder, key)


def is_partitioned(folder: Path) -> bool:
    """Whether `folder` is a finished output of `partition`."""
    manifest = read_manifest(folder)
    return manifest is not None and manifest.stage == STAGE


def partition(config: ImportConfig, source: Path, output: Path, key: str = "import.input") -> Manifest:
    """Shuffle the log under `source` into `output`. Needs a running Ray.

    Raises ConfigError when there is no log (naming the setting `key`), SchemaError when no line of it is
    a request; nothing is left behind then.
    """
    paths = reader.files(source, key)
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
    job: dict[str, Any] = {"fragments": str(fragments), "partitions": config.partitions}
    totals: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    rejected: list[dict[str, Any]] = []
    with bar("log: read", len(units), "files") as shown:
        for result in map_units(_scatter, units, job):
            totals.update({name: result[name] for name in ("requests", "events", "rejected")})
            unknown.update(result["unknown"])
            rejected.extend(result["examples"])
            shown.set_postfix_str(f"{totals['requests']:,} rows", refresh=False)
            shown.update(1)
    if not totals["requests"]:
        shutil.rmtree(output if fresh else fragments, ignore_errors=True)
        raise SchemaError(f"{key}={source} holds no valid request: {_first(rejected, totals)}")
    (output / "manifest.json").unlink(missing_ok=True)
    for old in (*output.glob("part-*.parquet"), *output.glob("events/*.parquet")):
        old.unlink()
    names = [Unit(f"part-{number:04d}", ()) for number in range(config.partitions)]
    gathered = 0
    with bar("log: sort", len(names), "shards") as shown:
        for result in map_units(_gather, names, job | {"output": str(output)}):
            gathered += result["rows"]
            shown.update(1)
    if rejected:
        lines = "".join(json.dumps(line) + "\n" for line in rejected)
        (output / "quarantine.jsonl").write_text(lines, encoding="utf-8")
    shutil.rmtree(fragments, ignore_errors=True)
    manifest = Manifest(
        stage=STAGE,
        fingerprint=mark,
        input=str(source),
        input_fingerprint=before,
        config=settings(config),
        columns={column.name: str(column.type) for column in schema.REQUEST},
        rows_in=totals["requests"],
        rows_out=gathered,
        drops={},
        seconds=round(time.monotonic() - began, 3),
        engine=engine(),
        notes={
            "events": totals["events"],
            "duplicates": totals["requests"] - gathered,
            "quarantined": totals["rejected"],
            "unknown_fields": dict(unknown),
        },
    )
    write_manifest(output, manifest)
    return manifest


def warnings(manifest: Manifest) -> list[str]:
    """Sentences that a person should see about a log that was not perfect."""
    notes, found = manifest.notes, []
    if notes.get("quarantined"):
        found.append(f"{notes['quarantined']:,} lines were not records and lie in quarantine.jsonl")
    if notes.get("unknown_fields"):
        names = ", ".join(f"{name} ({count:,})" for name, count in sorted(notes["unknown_fields"].items()))
        found.append(f"fields outside the contract were left out: {names}")
    return found


def _first(rejected: list[dict[str, Any]], totals: Counter[str]) -> str:
    if not rejected:
        return "the files are empty"
    first = rejected[0]
    place = f"{first['file']}:{first['line']}"
    return f"{totals['rejected']:,} lines refused, the first in {place}: {first['reason']}"


def _scatter(unit: Unit, job: dict[str, Any]) -> dict[str, Any]:
    """Worker: one file to at most `partitions` fragments."""
    records = reader.read(Path(unit.paths[0]))
    for name, table, key in (("requests", records.requests, "session"), ("events", records.events, "user")):
        buckets: dict[int, list[int]] = {}
        for row, value in enumerate(table[key].to_pylist()):
            buckets.setdefault(digest("partition", value) % job["partitions"], []).append(row)
        for number, rows in buckets.items():
            folder = Path(job["fragments"]) / name / f"part-{number:04d}"
            folder.mkdir(parents=True, exist_ok=True)
            write_table(table.take(pa.array(rows)), folder / f"{unit.name}.parquet")
    return {
        "requests": records.requests.num_rows,
        "events": records.events.num_rows,
        "rejected": len(records.rejected),
        "unknown": dict(records.unknown),
        "examples": [asdict(line) for line in records.rejected[:1000]],
    }


def _gather(unit: Unit, job: dict[str, Any]) -> dict[str, Any]:
    """Worker: the fragments of one partition to one sorted file without duplicates."""
    output, rows = Path(job["output"]), 0
    for kind, target, order in (
        ("requests", output, ("session", "user", "ts_ms", "request_id")),
        ("events", output / "events", ("user", "ts_ms", "request_id")),
    ):
        pieces = sorted((Path(job["fragments"]) / kind / unit.name).glob("*.parquet"))
        if kind == "events" and not pieces:
            continue
        wanted = schema.REQUEST if kind == "requests" else schema.EVENT
        table = pa.concat_tables([wanted.empty_table(), *(pq.read_table(path) for path in pieces)])
        table = table.sort_by([(name, "ascending") for name in order])
        if kind == "requests":
            table = table.filter(pa.array(_firsts(table["request_id"].to_pylist()), pa.bool_()))
            rows = table.num_rows
        target.mkdir(parents=True, exist_ok=True)
        write_table(table, target / f"{unit.name}.parquet")
    return {"rows": rows}


def _firsts(ids: list[str]) -> list[bool]:
    seen: set[str] = set()
    return [not (name in seen or seen.add(name)) for name in ids]  # type: ignore[func-returns-value]
