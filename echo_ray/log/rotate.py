"""Closed segments become the store's sorted Parquet, in the same folder and without Ray.

One batch at a time: segments of one UTC day, up to `batch_mb` of them, once that much has gathered or the
day is over. Rows are ordered, merged and linked as `import` does it (`store`); the batch holds all that its
segments held. `folder` says when it counts; the order of steps here makes a kill at any moment harmless:

1. events and lines that are no records are written and synced; nobody looks at them yet
2. `part-<batch>.parquet`, which names the segments, gets its name: from now on it counts, they do not
3. after `keep_s`, and when nobody reads, the segments are removed

Lines that the contract refuses stay as they are in `rejected-<batch>.jsonl`, so reading counts them as
before; only a torn last line, which nobody was promised, goes. Fields outside the contract go, as in
`import`. Memory: one batch. Not covered: joining the batches of several writers or days.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa

from echo_ray import schema
from echo_ray.errors import StageError
from echo_ray.link_table import linked
from echo_ray.log import folder as folders
from echo_ray.log import reader, store
from echo_ray.log.contract import KINDS
from echo_ray.log.segment_file import NAMES, day, locked, sync

_PIECE_MB = 64


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch came to (rows by kind, bytes)."""

    name: str
    segments: tuple[str, ...]
    requests: int
    events: int
    merged: int
    rejected: int
    torn: int
    unknown: dict[str, int]
    """Fields outside the contract by name."""
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a call of `rotate` did; `busy` when another process maintains the folder."""

    batches: tuple[Batch, ...] = ()
    removed: tuple[str, ...] = ()
    busy: bool = False


def rotate(
    folder: Path,
    batch_mb: float = 128.0,
    keep_s: float = 600.0,
    now_s: float | None = None,
    everything: bool = False,
) -> Rotated:
    """Compact what is due in `folder` and remove what was replaced more than `keep_s` ago.

    `everything` takes closed segments of today too, however few they are. Raises StageError when the rows
    of a batch do not add up, and OSError of the disk; the segments stay then.
    """
    now_s = time.time() if now_s is None else now_s
    with folders.maintained(folder) as free:
        if not free:
            return Rotated(busy=True)
        folders.sweep(folder)
        made = []
        with ExitStack() as held:
            today = None if everything else datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%d")
            for date, paths in _due(_closed(folder, held), batch_mb * 2**20, today):
                made.append(_compact(folder, date, paths))
        with folders.unread(folder) as alone:
            return Rotated(tuple(made), remove_replaced(folder, keep_s, now_s) if alone else ())


def remove_replaced(folder: Path, keep_s: float, now_s: float) -> tuple[str, ...]:
    """Remove segments that have been Parquet for `keep_s`; returns their names.

    Call it inside `folder.maintained` and `folder.unread`.
    """
    there = {path.name for path in folder.glob(NAMES)}
    gone = []
    for part in sorted(folder.glob("part-*.parquet")) if there else ():
        old_enough = not keep_s or now_s - part.stat().st_mtime >= keep_s
        if old_enough and folders.batch_of(part) is not None:
            for name in sorted(folders.replaced(part) & there):
                (folder / name).unlink()
                gone.append(name)
    return tuple(gone)


def _closed(folder: Path, held: ExitStack) -> list[Path]:
    """Segments that nobody writes and no batch has replaced; their locks are held."""
    counting = folders.counting(path for path in folder.iterdir() if path.is_file())
    segments = [path for path in counting if path.match(NAMES) and day(path) is not None]
    return [path for path in segments if held.enter_context(locked(path))]


def _due(segments: Iterable[Path], limit: float, today: str | None) -> Iterator[tuple[str, list[Path]]]:
    """Batches by day: of past days all, of `today` full ones only."""
    days: dict[str, list[Path]] = {}
    for path in sorted(segments):
        days.setdefault(day(path) or "", []).append(path)
    for date, paths in sorted(days.items()):
        batch: list[Path] = []
        size = 0
        for path in paths:
            batch.append(path)
            size += path.stat().st_size
            if size >= limit:
                yield date, batch
                batch, size = [], 0
        if batch and date != today:
            yield date, batch


def _compact(folder: Path, date: str, paths: list[Path]) -> Batch:
    names = tuple(path.name for path in paths)
    name = f"{date}-{blake2b(' '.join(names).encode(), digest_size=6).hexdigest()}"
    before = sum(path.stat().st_size for path in paths)
    read, rejected, torn, unknown = _scatter(paths, folder)
    made = {what: _staged(folder, f"{what}.parquet") for what in KINDS}
    metadata = {folders.SEGMENTS: json.dumps(names).encode()}
    done = {kind: _gather(folder, kind, path, metadata) for kind, path in made.items()}
    for kind, rows in done.items():
        if read[kind] != rows["kept"] + rows["merged"]:
            raise StageError(f"rows were lost: of {read[kind]} rows of kind {kind}, {dict(rows)} are left")
    events_path, rejected_path = folders.beside(folder, name)
    finished = [(made["request"], folder / f"part-{name}.parquet")]
    if rejected:
        _staged(folder, "rejected").write_bytes(b"".join(rejected))
        finished.insert(0, (_staged(folder, "rejected"), rejected_path))
    if done["event"]["kept"]:
        events_path.parent.mkdir(exist_ok=True)
        finished.insert(0, (made["event"], events_path))
    after = sum(path.stat().st_size for path, _ in finished)
    for path, target in finished:  # the part that counts comes last
        sync(path)
        path.replace(target)
        sync(target.parent)
    folders.sweep(folder)
    return Batch(
        name,
        names,
        done["request"]["kept"],
        done["event"]["kept"],
        done["request"]["merged"] + done["event"]["merged"],
        len(rejected),
        torn,
        dict(unknown),
        before,
        after,
    )


def _scatter(paths: list[Path], folder: Path) -> tuple[Counter[str], list[bytes], int, Counter[str]]:
    """Good rows to fragments; rows by kind, refused lines, torn ones (count) and unknown fields."""
    good: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    refused: list[bytes] = []
    torn = 0
    for place, path in enumerate(paths):
        numbers = []
        for piece, records in enumerate(reader.batches(path, _PIECE_MB, "echo")):
            for kind, table in (("request", records.requests), ("event", records.events)):
                if table.num_rows:
                    name = f"{kind}-{place:05d}-{piece:05d}.parquet"
                    store.write_fragment(table, _staged(folder, name))
                    good[kind] += table.num_rows
            numbers += [line.line for line in records.rejected]
            unknown += records.unknown
        if 0 in numbers:
            raise StageError(f"{path.name} cannot be read")
        whole = _lines(path, set(numbers))
        torn += len(numbers) - len(whole)
        refused += whole
    return good, refused, torn, unknown


def _lines(path: Path, numbers: set[int]) -> list[bytes]:
    """Lines by number, without one that has no end."""
    if not numbers:
        return []
    with path.open("rb") as file:
        return [line for number, line in enumerate(file, 1) if number in numbers and line.endswith(b"\n")]


def _gather(folder: Path, kind: str, target: Path, metadata: dict[bytes, bytes]) -> Counter[str]:
    found = store.Fragments(sorted(folder.glob(f"{folders.STAGING}{kind}-*.parquet")), KINDS[kind])
    if kind == "request":
        batches: Iterator[pa.Table] = linked(found.batches(store.order_requests(found)))
        columns: Any = schema.LOGGED
    else:
        batches, columns = found.batches(store.order_events(found)), schema.EVENT
    kept = store.write(target, batches, columns.with_metadata(metadata))
    return Counter(kept=kept, merged=found.num_rows - kept)


def _staged(folder: Path, name: str) -> Path:
    return folder / f"{folders.STAGING}{name}"
