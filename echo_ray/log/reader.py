"""Reading experience logs as they come, in bounded pieces: JSON Lines, Parquet and foreign formats.

A bad line is quarantined with its reason and never stops a job; a torn last line of a segment that a
crash left behind is one of them. Fields that the contract does not know are left out and counted.
`batches` holds one piece of a file at a time, so the size of a log file does not matter; a single line
may have up to 256 MB. JSON Lines may be compressed (gzip, zstd); their content says so, not the name.
"""

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias, get_args

import orjson
import pyarrow as pa

from echo_ray import sealed
from echo_ray.errors import ConfigError
from echo_ray.log import columnar, foreign, source
from echo_ray.log.contract import Collector, Records, Rejected, problem
from echo_ray.log.folder import counting

__all__ = ["ENDINGS", "Format", "Records", "Rejected", "batches", "files", "problem", "raw_bytes", "read"]

Format: TypeAlias = Literal["auto", "echo", "tabby", "continue", "llamacpp", "vscode", "trace"]
"""`echo` is version 1; the others name foreign formats; `auto` looks into each file."""

ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".parquet")
"""File names that count as parts of a log."""
MAYBE = (".json", ".json.gz", ".json.zst", ".har")
"""File names that count when their content is a known foreign format."""
FACTORS = {".gz": 8, ".zst": 20}
"""Raw bytes per compressed byte, assumed; on the high side, since smaller partitions do no harm. Measured
on keystroke logs: gzip 3 to 6, zstd 5 for many users interleaved and up to 50 for long sessions."""

_BUFFER_BYTES = 1 << 18
_LINE_BYTES = 1 << 28
_REJECT_BYTES = 500
_BOM = b"\xef\xbb\xbf"
_NOT_JSON = object()


def files(folder: Path, key: str, form: Format = "auto") -> list[Path]:
    """Record files under `folder`, in name order; hidden files and folders are skipped, and segments that
    have become Parquet already.

    Raises ConfigError, naming the setting `key`, when the folder or the files are not there, and when the
    sealed truth of a simulation is.
    """
    if not folder.exists():
        raise ConfigError(f"{key}={folder} does not exist; name the folder of an experience log")
    sealed.refuse(folder, key)
    paths = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    found = [
        path
        for path in paths
        if path.name.endswith(ENDINGS + MAYBE)
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.name not in ("quarantine.jsonl", "manifest.json")
        and (path.name.endswith(ENDINGS) or _is_foreign(path, form))
    ]
    if not found:
        raise ConfigError(f"{key}={folder} holds no log file ({', '.join('*' + end for end in ENDINGS)})")
    return found if folder.is_file() else counting(found)


def raw_bytes(path: Path) -> int:
    """Estimate of the raw text in a file: its size, times `FACTORS` when it is compressed."""
    if path.name.endswith(".parquet"):
        return columnar.raw_bytes(path)
    return path.stat().st_size * FACTORS.get(path.suffix, 1)


def read(path: Path) -> Records:
    """Every record of one file, at once."""
    pieces = list(batches(path))
    whole = pieces[0]
    for piece in pieces[1:]:
        whole.rejected += piece.rejected
        whole.unknown += piece.unknown
        whole.read += piece.read
    whole.requests = pa.concat_tables([piece.requests for piece in pieces])
    whole.events = pa.concat_tables([piece.events for piece in pieces])
    return whole


def batches(path: Path, max_mb: float = 32, form: Format = "auto") -> Iterator[Records]:
    """The records of one file in pieces of about `max_mb` of text; at least one piece, maybe empty."""
    max_bytes = int(max_mb * 2**20)
    if path.name.endswith(".parquet"):
        yield from columnar.batches(path, max_bytes)
        return
    held = Collector(path.name, max_bytes)
    name = foreign.sniff(path) if form == "auto" else None if form == "echo" else form
    try:
        yield from _lines(path, held) if name is None else _foreign(path, name, held)
    except source.UNREADABLE as error:
        held.reject(0, source.unreadable(error))
    yield held.take()


def _is_foreign(path: Path, form: Format) -> bool:
    if form in ("auto", "echo"):
        return form == "auto" and foreign.sniff(path) is not None
    return form in get_args(Format)


def _lines(path: Path, held: Collector) -> Iterator[Records]:
    keys: list[str] | None = None
    with source.opened(path) as opened:
        stream: IO[bytes] = io.BufferedReader(opened, _BUFFER_BYTES)  # type: ignore[type-var]
        size = 0
        for number, line in enumerate(iter(partial(stream.readline, _LINE_BYTES), b""), start=1):
            size += len(line)
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                record = _after_mark(line) if number == 1 else _NOT_JSON
            if type(record) is dict and record:
                # Records mostly have the keys of the one before; then nothing is looked up.
                if list(record) != keys:
                    keys = list(record)
                    shape = held.shape(record)
                    extend, append = shape.flat.extend, shape.numbers.append
                extend(record.values())
                append(number)
            elif line.strip():
                reason = _refused(stream, line) if record is _NOT_JSON else problem(record, "request")
                held.reject(number, reason or "not a record", line[:800].decode("utf-8", "replace"))
                size += _REJECT_BYTES
            if size >= held.chunk_bytes:
                held.flush()
                size, keys = 0, None
                if held.full:
                    yield held.take()


def _after_mark(line: bytes) -> Any:
    """The value of a first line that a byte order mark precedes."""
    try:
        return orjson.loads(line.removeprefix(_BOM))
    except orjson.JSONDecodeError:
        return _NOT_JSON


def _refused(stream: IO[bytes], line: bytes) -> str:
    if len(line) < _LINE_BYTES or line.endswith(b"\n"):
        return "not JSON"
    while (rest := stream.readline(_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass
    return f"longer than {_LINE_BYTES >> 20} MB"


def _foreign(path: Path, name: str, held: Collector) -> Iterator[Records]:
    size = 0
    for number, record in foreign.records(path, name):
        if isinstance(record, str):
            held.reject(number, record)
            size += _REJECT_BYTES
        else:
            shape = held.shape(record)
            shape.flat.extend(record.values())
            shape.numbers.append(number)
            size += sum(len(value) for value in record.values() if isinstance(value, str))
        if size >= held.chunk_bytes:
            held.flush()
            size = 0
            if held.full:
                yield held.take()
