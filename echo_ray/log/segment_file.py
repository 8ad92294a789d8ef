"""The files of the write side: locked, uniquely named JSON Lines segments, synced line by line group.

A segment is `segment-<utc>-<token>-<n>.jsonl`; the token is random, so names are unique across threads,
processes and hosts. Its writer holds an exclusive `flock` from before the name appears until it closes
the file or dies: whoever gets the lock knows that the segment is complete. A segment is never opened for
writing again. Needs a file system on which `flock` works between all who share the folder.
"""

import fcntl
import io
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

NAMES = "segment-*.jsonl"
"""Pattern of the names of segments in their folder."""
_NAME = re.compile(r"segment-(\d{8})T\d{6}Z?-.*\.jsonl")


class SegmentFile:
    """One segment after another in `folder`; not thread-safe. The first bytes create the first file."""

    def __init__(self, folder: Path, rotate_bytes: int, rotate_s: float, token: str) -> None:
        self._folder = folder
        self._rotate_bytes = rotate_bytes
        self._rotate_s = rotate_s
        self._token = token
        self._file: io.FileIO | None = None
        self._path = folder
        self._bytes = 0
        self._opened_s = 0.0
        self._number = 0

    @property
    def place(self) -> tuple[str, int] | None:
        """Name of the open segment, and its synced length in bytes; None when none is open."""
        return None if self._file is None else (self._path.name, self._bytes)

    def write(self, lines: bytes) -> None:
        """Append whole lines and sync them.

        Raises OSError, and then the file is as it was before and is closed: after a failed sync nobody
        knows what the disk holds, so nothing is ever written behind it.
        """
        self.rotate()
        if not lines:
            return
        file = self._file or self._open()
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
            if not self._bytes:
                sync(self._folder)  # the new name
        except OSError:
            self._take_back(file)
            raise
        self._bytes += len(lines)

    def rotate(self) -> None:
        """Close the open segment when it is large or old enough."""
        if self._file is None:
            return
        if self._bytes >= self._rotate_bytes or time.monotonic() - self._opened_s >= self._rotate_s:
            self.close()

    def close(self) -> None:
        """Close the open segment, which frees its lock; idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> io.FileIO:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        path = self._folder / f"segment-{stamp}-{self._token}-{self._number}.jsonl"
        hidden = path.with_name(f".{path.name}.new")
        self._number += 1
        # Unbuffered, so that a commit is one write call and a kill tears at most its last line.
        file = hidden.open("xb", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(path)
        except OSError:
            file.close()
            with suppress(OSError):
                hidden.unlink()
            raise
        self._file, self._path, self._bytes, self._opened_s = file, path, 0, time.monotonic()
        return file

    def _take_back(self, file: io.FileIO) -> None:
        with suppress(OSError):
            if self._bytes:
                os.ftruncate(file.fileno(), self._bytes)
                os.fsync(file.fileno())
            else:
                self._path.unlink()
        with suppress(OSError):
            self.close()
        self._file = None


def day(path: Path) -> str | None:
    """UTC day (`YYYYMMDD`) on which the segment was begun; None for a file of another kind."""
    found = _NAME.fullmatch(path.name)
    return found[1] if found else None


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of a segment that nobody writes any more; False when somebody does or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def undo(folder: Path, token: str, place: tuple[str, int] | None) -> None:
    """Take back what a dead writer wrote after it last said where it stood.

    Only for a writer whose later records have been written again; else this would lose them.
    """
    for path in folder.glob(f"segment-*-{token}-*.jsonl"):
        if place is not None and _number(path.name) < _number(place[0]):
            continue
        with locked(path) as free:
            if not free:
                continue
            if place is not None and path.name == place[0]:
                os.truncate(path, place[1])
            else:
                path.unlink()


def sync(path: Path) -> None:
    """Make the bytes of a file, or the names in a folder, survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _number(name: str) -> int:
    return int(name.removesuffix(".jsonl").rpartition("-")[2])
