"""Append-only JSON Lines segments with group commit: the write side of the experience log.

Records are buffered and written with one `write` and one `fsync` per flush interval, so a crash loses
at most that interval. A line is complete only with its newline: after `kill -9` or a power failure the
last line of a segment may be torn, and a reader ignores a last line without a newline. A segment has
one writer and is never appended to again after it is closed. Compaction and reading live elsewhere.
"""

import io
import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from echo_ray.errors import ServeError


class SegmentWriter:
    """Writes records to `folder/segment-<utc>-<pid>-<n>.jsonl`; safe to share between threads.

    The first record creates the first file, so an idle writer leaves nothing behind.
    """

    def __init__(self, folder: Path, flush_ms: int = 100, rotate_mb: float = 64.0) -> None:
        self._folder = folder
        self._interval_s = flush_ms / 1000
        self._rotate_bytes = int(rotate_mb * 2**20)
        self._lock = threading.Condition()
        self._buffer: list[bytes] = []
        self._appended = 0
        self._durable = 0
        self._closing = False
        self._urgent = False
        self._failure: OSError | None = None
        self._file: io.FileIO | None = None
        self._file_bytes = 0
        self._number = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._run, name="segment-writer", daemon=True)
        self._thread.start()

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record; returns before it is on disk.

        Raises ServeError when the writer is closed or an earlier write failed (a full disk, say).
        """
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        with self._lock:
            self._raise_if_unusable()
            self._buffer.append(line)
            self._appended += 1
            if len(self._buffer) == 1:
                self._lock.notify_all()

    def flush(self) -> None:
        """Return when everything appended so far is on disk. Raises ServeError when it cannot be."""
        with self._lock:
            target = self._appended
            self._urgent = True
            self._lock.notify_all()
            self._lock.wait_for(lambda: self._durable >= target or self._failure is not None)
            self._raise_on_failure()

    def close(self) -> None:
        """Flush and close; idempotent. Raises ServeError when records could not be written."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self._thread.join()
        self._raise_on_failure()

    def __enter__(self) -> "SegmentWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _raise_on_failure(self) -> None:
        if self._failure is not None:
            raise ServeError(f"the experience log {self._folder} cannot be written: {self._failure}")

    def _raise_if_unusable(self) -> None:
        self._raise_on_failure()
        if self._closing:
            raise ServeError(f"the experience log {self._folder} is closed")

    def _run(self) -> None:
        try:
            while self._commit_next():
                pass
        except OSError as error:
            # Kept, not printed: every later append, flush and close raises it to someone who can act.
            with self._lock:
                self._failure = error
                self._lock.notify_all()
        finally:
            if self._file is not None:
                self._file.close()

    def _commit_next(self) -> bool:
        """Wait for records, let an interval's worth gather, write them; false when closed and empty."""
        with self._lock:
            self._lock.wait_for(lambda: self._buffer or self._closing)
            self._lock.wait_for(lambda: self._closing or self._urgent, timeout=self._interval_s)
            lines, self._buffer = self._buffer, []
            self._urgent = False
            if not lines:
                return not self._closing
        self._write(b"".join(lines))
        with self._lock:
            self._durable += len(lines)
            self._lock.notify_all()
        return True

    def _write(self, data: bytes) -> None:
        if self._file is None or self._file_bytes >= self._rotate_bytes:
            self._open_next()
        assert self._file is not None
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        os.fsync(self._file.fileno())
        self._file_bytes += len(data)

    def _open_next(self) -> None:
        if self._file is not None:
            self._file.close()
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        while True:
            path = self._folder / f"segment-{stamp}-{os.getpid()}-{self._number}.jsonl"
            self._number += 1
            try:
                # Unbuffered, so that a commit is one write call and a kill tears at most its last line.
                self._file = path.open("xb", buffering=0)
                break
            except FileExistsError:
                continue  # another writer of this process, opened within the same second
        self._file_bytes = 0
        # The new name itself must survive a power failure, not only the bytes under it.
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
