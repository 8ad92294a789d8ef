"""Records older than some days are removed: whole files where all are, the border file written anew.

Looks at `ts_ms` of requests and events in Parquet and in closed segments. A segment that is being written
is left alone; its old records go once it is closed. A file appears changed as a whole or not at all, and a
kill in between leaves the rest for the next call. Not covered: logs that were copied elsewhere, compressed
JSON Lines, and whatever was learned from the records (`erase` is for people).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from echo_ray.log import folder as folders
from echo_ray.log import store
from echo_ray.log.rotate import remove_replaced
from echo_ray.log.segment_file import NAMES, day, locked, sync

_DAY_MS = 86_400_000


@dataclass(slots=True)
class Expired:
    """What went."""

    records: int = 0
    """Requests and events removed (count)."""
    removed: list[str] = field(default_factory=list)
    """Files removed, by path within the folder."""
    rewritten: list[str] = field(default_factory=list)
    freed_bytes: int = 0
    busy: bool = False
    """Somebody reads or maintains the folder: nothing was done, try later."""


def expire(folder: Path, days: float | None, now_ms: int) -> Expired:
    """Remove records of `folder` older than `days` before `now_ms` (UTC); 0 or None keeps all for ever."""
    done = Expired()
    if not days:
        return done
    cut_ms = now_ms - round(days * _DAY_MS)
    with folders.maintained(folder) as free:
        done.busy = not free
        if free:
            with folders.unread(folder) as alone:
                done.busy = not alone
                if alone:
                    folders.sweep(folder)
                    # A replaced segment would count again if the Parquet that replaces it went first.
                    remove_replaced(folder, 0, 0)
                    _expire(folder, cut_ms, done)
    return done


def _expire(folder: Path, cut_ms: int, done: Expired) -> None:
    for part in sorted(folder.glob("part-*.parquet")):
        events = folder / "events" / part.name
        pair = [path for path in (part, events) if path.is_file()]
        newest = max(_span(path)[1] for path in pair)
        batch = folders.batch_of(part)
        for path in reversed(pair):
            if newest >= cut_ms:
                _rewrite(folder, path, cut_ms, done)
        if newest < cut_ms:
            rejected = [folders.beside(folder, batch)[1]] if batch else []
            for path in (part, *rejected, *pair[1:]):
                if path.is_file():
                    _remove(folder, path, pq.read_metadata(path).num_rows if path in pair else 0, done)
    for path in sorted(folder.glob(NAMES)):
        date = day(path)
        if date is None or datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC).timestamp() * 1000 >= cut_ms:
            continue
        with locked(path) as free:
            if free:
                _filter_lines(folder, path, cut_ms, done)
    sync(folder)


def _span(path: Path) -> tuple[int, int]:
    """Earliest and latest `ts_ms` of a file of the store; an empty one is older than anything."""
    spans = [(0, -(2**63))]
    with pq.ParquetFile(path) as file:
        column = file.schema_arrow.get_field_index("ts_ms")
        for number in range(file.num_row_groups):
            if not file.metadata.row_group(number).num_rows:
                continue
            found = file.metadata.row_group(number).column(column).statistics
            if found is None or not found.has_min_max:
                times = file.read_row_group(number, columns=["ts_ms"])["ts_ms"]
                spans.append((pc.min(times).as_py(), pc.max(times).as_py()))
            else:
                spans.append((found.min, found.max))
    kept = spans[1:] or spans
    return min(low for low, _ in kept), max(high for _, high in kept)


def _rewrite(folder: Path, path: Path, cut_ms: int, done: Expired) -> None:
    before = path.stat().st_size
    with pq.ParquetFile(path) as file:
        if not file.metadata.num_rows or _span(path)[0] >= cut_ms:
            return
        part = path.with_name(f".{path.name}.part")
        kept = store.write(part, _newer(file, cut_ms), file.schema_arrow)
        rows = file.metadata.num_rows
    _replace(part, path)
    done.records += rows - kept
    done.rewritten.append(str(path.relative_to(folder)))
    done.freed_bytes += before - path.stat().st_size


def _newer(file: pq.ParquetFile, cut_ms: int) -> Iterator[pa.Table]:
    for number in range(file.num_row_groups):
        table = file.read_row_group(number)
        table = table.filter(pc.greater_equal(table["ts_ms"], cut_ms))
        if table.num_rows:
            yield table


def _filter_lines(folder: Path, path: Path, cut_ms: int, done: Expired) -> None:
    part = path.with_name(f".{path.name}.part")
    kept = gone = 0
    with path.open("rb") as source, part.open("wb") as target:
        for line in source:
            if _is_new(line, cut_ms):
                kept += 1
                target.write(line)
            else:
                gone += 1
    if not gone or not kept:
        part.unlink()
    if gone and not kept:
        _remove(folder, path, gone, done)
    elif gone:
        before = path.stat().st_size
        _replace(part, path)
        done.records += gone
        done.rewritten.append(path.name)
        done.freed_bytes += before - path.stat().st_size


def _is_new(line: bytes, cut_ms: int) -> bool:
    """Whether a line has to stay; one that nobody can date is as old as its file."""
    try:
        return bool(orjson.loads(line)["ts_ms"] >= cut_ms)
    except (ValueError, KeyError, TypeError):
        return False


def _remove(folder: Path, path: Path, records: int, done: Expired) -> None:
    done.freed_bytes += path.stat().st_size
    path.unlink()
    done.records += records
    done.removed.append(str(path.relative_to(folder)))


def _replace(part: Path, path: Path) -> None:
    sync(part)
    part.replace(path)
