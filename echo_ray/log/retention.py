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
    """A line that nobody can date stays as long as another line of its file does."""
    with path.open("rb") as source:
        times = [_time_ms(line) for line in source]
    dated = [time_ms for time_ms in times if time_ms is not None]
    old = sum(time_ms < cut_ms for time_ms in dated)
    if old == len(dated):
        if dated or _begun_ms(path) < cut_ms:
            _remove(folder, path, old, done)
    elif old:
        part, before = path.with_name(f".{path.name}.part"), path.stat().st_size
        with path.open("rb") as source, part.open("wb") as target:
            for line, time_ms in zip(source, times, strict=True):
                if time_ms is None or time_ms >= cut_ms:
                    target.write(line)
        _replace(part, path)
        done.records += old
        done.rewritten.append(path.name)
        done.freed_bytes += before - path.stat().st_size


def _time_ms(line: bytes) -> int | None:
    try:
        time_ms = orjson.loads(line)["ts_ms"]
    except (ValueError, KeyError, TypeError):
        return None
    return time_ms if type(time_ms) is int else None


def _begun_ms(path: Path) -> float:
    begun = datetime.strptime(day(path) or "20000101", "%Y%m%d").replace(tzinfo=UTC)
    return begun.timestamp() * 1000


def _remove(folder: Path, path: Path, records: int, done: Expired) -> None:
    done.freed_bytes += path.stat().st_size
    path.unlink()
    done.records += records
    done.removed.append(str(path.relative_to(folder)))


def _replace(part: Path, path: Path) -> None:
    sync(part)
    part.replace(path)
