"""Reading experience logs as they come: JSON Lines (plain, `.gz`, `.zst`) and Parquet, good lines and bad.

A bad line is quarantined with its reason and never stops a job; a torn last line of a segment that a
crash left behind is one of them. Fields that the contract does not know are left out and counted.
Not covered: foreign formats; those become version-1 records first.
"""

import gzip
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import schema
from echo_ray.errors import ConfigError

ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".parquet")
"""File names that count as parts of a log."""

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "large_string": str,
    "int64": int,
    "double": (float, int),
    "bool": bool,
}
_RECORDS = {"request": schema.REQUEST, "event": schema.EVENT}


@dataclass(frozen=True, slots=True)
class Rejected:
    """One line that is not a record of the contract."""

    file: str
    line: int
    reason: str
    text: str


@dataclass(slots=True)
class Records:
    """What one file held. `unknown` counts fields outside the contract by name."""

    requests: pa.Table
    events: pa.Table
    rejected: list[Rejected] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)


def files(folder: Path, key: str) -> list[Path]:
    """Record files under `folder`, in name order; hidden files and folders are skipped.

    Raises ConfigError, naming the setting `key`, when the folder or the files are not there.
    """
    if not folder.exists():
        raise ConfigError(f"{key}={folder} does not exist; name the folder of an experience log")
    paths = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    found = [
        path
        for path in paths
        if path.name.endswith(ENDINGS)
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.name != "quarantine.jsonl"
    ]
    if not found:
        raise ConfigError(f"{key}={folder} holds no log file ({', '.join('*' + end for end in ENDINGS)})")
    return found


def read(path: Path) -> Records:
    """Every record of one file."""
    return _read_parquet(path) if path.name.endswith(".parquet") else _read_lines(path)


def problem(record: Any, kind: str) -> str | None:
    """Why `record` is not a `kind` record of version 1; None when it is one."""
    if not isinstance(record, Mapping):
        return f"not an object but {type(record).__name__}"
    for name in schema.REQUIRED[kind]:
        if record.get(name) is None:
            return f"field {name} is missing"
    version = record.get("schema", schema.VERSION)
    if version != schema.VERSION:
        return f"schema is {version!r}, expected {schema.VERSION!r}"
    for column in _RECORDS[kind]:
        value = record.get(column.name)
        wanted = _TYPES[str(column.type)]
        if value is None:
            continue
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            return f"field {column.name} is {type(value).__name__}, expected {column.type}"
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return f"field {column.name} is out of range"
    if kind == "request" and record.get("kind", "automatic") not in set(schema.Kind):
        return f"kind is {record['kind']!r}, expected one of {', '.join(schema.Kind)}"
    return None


def _read_lines(path: Path) -> Records:
    rows: dict[str, list[dict[str, Any]]] = {"request": [], "event": []}
    rejected: list[Rejected] = []
    unknown: Counter[str] = Counter()
    for number, line in _lines(path):
        reason: str | None
        try:
            record = orjson.loads(line)
            kind = record.get("record", "request") if isinstance(record, dict) else "request"
            reason = problem(record, kind) if kind in rows else f"record is {kind!r}"
        except (orjson.JSONDecodeError, UnicodeDecodeError):
            reason = "not JSON"
        if reason is not None:
            text = line[:200].decode("utf-8", "replace")
            rejected.append(Rejected(path.name, number, reason, text))
            continue
        known = set(_RECORDS[kind].names)
        unknown.update(name for name in record if name not in known and name != "record")
        defaults = schema.REQUEST_DEFAULTS if kind == "request" else {}
        rows[kind].append(
            {name: defaults.get(name) if record.get(name) is None else record[name] for name in known}
        )
    return Records(
        pa.Table.from_pylist(rows["request"], schema=schema.REQUEST),
        pa.Table.from_pylist(rows["event"], schema=schema.EVENT),
        rejected,
        unknown,
    )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as raw:
        stream: Any = raw
        if path.name.endswith(".gz"):
            stream = gzip.GzipFile(fileobj=raw)
        elif path.name.endswith(".zst"):
            import zstandard

            stream = io.BufferedReader(
                zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
            )
        try:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, line
        except (EOFError, OSError, gzip.BadGzipFile) as error:
            yield 0, f"<the compressed file is cut short: {error}>".encode()


def _read_parquet(path: Path) -> Records:
    empty = Records(schema.REQUEST.empty_table(), schema.EVENT.empty_table())
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        empty.rejected.append(Rejected(path.name, 0, f"not a Parquet file: {error}", ""))
        return empty
    kind = "event" if "type" in table.column_names and "prefix" not in table.column_names else "request"
    wanted = _RECORDS[kind]
    missing = [name for name in schema.REQUIRED[kind] if name not in table.column_names]
    if missing:
        empty.rejected.append(Rejected(path.name, 0, f"column {missing[0]} is missing", ""))
        return empty
    empty.unknown.update(name for name in table.column_names if name not in wanted.names)
    columns = []
    for column in wanted:
        if column.name in table.column_names:
            values = table[column.name].cast(column.type)
        else:
            values = pa.nulls(table.num_rows, column.type)
        default = schema.REQUEST_DEFAULTS.get(column.name) if kind == "request" else None
        columns.append(values if default is None else values.fill_null(default))
    complete = pa.table(columns, schema=wanted)
    for name in schema.REQUIRED[kind]:
        holes = complete[name].null_count
        if holes:
            empty.rejected.append(Rejected(path.name, 0, f"{holes} rows without {name}", ""))
            complete = complete.filter(complete[name].is_valid())
    if kind == "request":
        empty.requests = complete
    else:
        empty.events = complete
    return empty
