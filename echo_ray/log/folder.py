"""Which files of a log folder count while segments become Parquet, and who may change what when.

The rule that makes compaction atomic: a batch `<day>-<id>` is committed when `part-<batch>.parquet` is
there, and that file names in its metadata the segments that it replaces. From this moment those segments
do not count, though they stay for a while for readers who have listed them already; before it, what else
belongs to the batch (`events/part-<batch>.parquet`, `rejected-<batch>.jsonl`) does not count.

Locks: `reading` keeps replaced and expired files in place for as long as a reader needs; `maintained` is
held by whoever compacts, expires or erases. Both are `flock`s, freed when their process dies.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SEGMENTS = b"segments"
"""Key of a batch's Parquet metadata: JSON list of the names of the segments that it replaces."""
LOCK = ".maintenance"
"""File that is locked by whoever changes finished files of a log folder."""
STAGING = ".rotating-"
"""Begin of the names of a compaction's unfinished files. They lie in the folder itself: a folder that
vanished while somebody lists the log would be an error for him."""
_PART = re.compile(r"part-(\d{8}-[0-9a-f]{12})\.parquet")
_BESIDE = re.compile(r"(?:part|rejected)-(\d{8}-[0-9a-f]{12})\.(?:parquet|jsonl)")


def batch_of(path: Path) -> str | None:
    """Name of the batch that the file commits; None for any other file."""
    found = _PART.fullmatch(path.name) if path.parent.name != "events" else None
    return found[1] if found else None


def beside(folder: Path, batch: str) -> tuple[Path, Path]:
    """Where the events of a batch are, and the lines that are no records; either may be absent."""
    return folder / "events" / f"part-{batch}.parquet", folder / f"rejected-{batch}.jsonl"


def replaced(part: Path) -> frozenset[str]:
    """Names of the segments that a committed batch replaces; none for a file that is gone or is not one."""
    try:
        found = (pq.read_schema(part).metadata or {}).get(SEGMENTS, b"[]")
    except (OSError, pa.ArrowException):
        return frozenset()
    return frozenset(json.loads(found))


def counting(paths: Iterable[Path]) -> list[Path]:
    """The files of a listing that count: each record is in exactly one of them."""
    listed = list(paths)
    folders = {path.parent for path in listed if path.name.startswith("segment-")}
    parts = {(path.parent, batch): path for path in listed if (batch := batch_of(path)) is not None}
    gone = {
        path.parent / name for path in parts.values() if path.parent in folders for name in replaced(path)
    }
    own = {path for path in listed if _is_of_batch(path)} - set(parts.values())
    # Asked of the disk, not of the listing: they may have come after their folder was listed.
    found = {path for folder, batch in parts for path in beside(folder, batch) if path.is_file()}
    return sorted((set(listed) - gone - own) | found)


def sweep(folder: Path) -> None:
    """Remove what killed processes left unfinished. Call it inside `maintained`."""
    for path in (*folder.glob(".*.part"), *folder.glob(f"{STAGING}*"), *folder.glob("events/.*.part")):
        path.unlink()
    for path in _orphans(folder):
        path.unlink()


def _orphans(folder: Path) -> list[Path]:
    """What belongs to batches that were never committed."""
    there = [*folder.glob("rejected-*.jsonl"), *(folder / "events").glob("part-*.parquet")]
    return [
        path
        for path in there
        if (found := _BESIDE.fullmatch(path.name)) and not (folder / f"part-{found[1]}.parquet").is_file()
    ]


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Keep files that were listed within this block in place; any number of readers at a time."""
    with _locked(folder if folder.is_dir() else folder.parent, fcntl.LOCK_SH):
        yield


@contextmanager
def unread(folder: Path) -> Iterator[bool]:
    """Keep readers out; False when there is one now."""
    with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as free:
        yield free


@contextmanager
def maintained(folder: Path, wait: bool = False) -> Iterator[bool]:
    """Be the only one who compacts, expires or erases; without `wait` False when somebody else does."""
    path = folder / LOCK
    path.touch()
    with _locked(path, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)) as free:
        yield free


@contextmanager
def _locked(path: Path, how: int) -> Iterator[bool]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, how)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _is_of_batch(path: Path) -> bool:
    where = path.parent.name == "events" if path.suffix == ".parquet" else path.name.startswith("rejected-")
    return where and _BESIDE.fullmatch(path.name) is not None
