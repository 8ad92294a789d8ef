"""Append-only JSON Lines segments with group commit: the write side of the experience log.

Items are buffered and written with one `write` and one `fsync` for all that gathered, so a killed process
loses at most `flush_ms` of requests. Who must not lose anything waits: `append` returns a ticket, and
`written` or `durable` return once its record is on disk; they do not wait for the interval to pass, and
all who wait at the same time share one `fsync`. A line is complete only with its newline: after `kill -9`
or a power failure the last line of a segment may be torn, and a reader ignores it.

When the disk cannot keep up or fails, nobody is blocked: requests are kept in a buffer of bounded size and
tried again with back-off, and dropped with a count beyond it; what must not be lost is refused instead.
Not covered: compaction (`rotate`), deletion (`retention`), reading (`reader`).
"""

import logging
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

from echo_ray.errors import ServeError
from echo_ray.log.segment_sink import Child, Direct, Failed, Prepare, Sink, Target, packed
from echo_ray.log.segment_tickets import Tickets, WriterState

log = logging.getLogger(__name__)

_BATCH_BYTES = 4 << 20
_BATCH_ITEMS = 512
"""At most so much shares a commit: who comes later waits for a short one."""
_PROBE_ITEMS = 16
"""Items that are tried while the disk fails."""
_BACK_OFF_S = (0.1, 5.0)


class _Item(NamedTuple):
    ticket: int
    raw: bytes
    must: bool
    at_s: float


class SegmentWriter:
    """Writes records to segments in `folder`; safe to share between threads.

    `append` takes what `prepare` takes; without `prepare` that is the record itself. With `isolate`, which
    is the default with `prepare`, a child process prepares and writes; both must pickle then, by a module
    that the child can import. Measured (`tests/benchmarks/writer.py`, 500 records/s of 6 KB, a `prepare` of
    300 us): the serving process spends 0.19 of a core with a thread, 0.04 with a child, 0.02 without a log.

    A record is on disk within `flush_ms` as long as the disk keeps up: half of it is for gathering.
    `rotate_mb` and `rotate_s` say when the next segment begins, `buffer_mb` how much may wait for the disk.
    An idle writer leaves no file behind. Raises ServeError when the child cannot be started.
    """

    def __init__(
        self,
        folder: Path,
        flush_ms: int = 100,
        rotate_mb: float = 64.0,
        prepare: Prepare | None = None,
        *,
        isolate: bool | None = None,
        rotate_s: float = 3600.0,
        buffer_mb: float = 64.0,
    ) -> None:
        self._folder = folder
        self._gather_s = flush_ms / 2000
        self._idle_s = rotate_s
        self._buffer_bytes = int(buffer_mb * 2**20)
        self._prepare = prepare
        self._lock = threading.Condition()
        self._buffer: deque[_Item] = deque()
        self._bytes = 0
        self._failed = self._dropped = self._refused = self._commits = self._attempts = 0
        self._lost = 0
        self._closing = self._urgent = False
        self._failure: str | None = None
        self._retry_s, self._back_off_s = 0.0, _BACK_OFF_S[0]
        self._tickets = Tickets()
        folder.mkdir(parents=True, exist_ok=True)
        target = Target(folder.absolute(), int(rotate_mb * 2**20), rotate_s)
        if prepare is not None and isolate is not False:
            self._sink: Sink = Child(target, prepare)
        else:
            self._sink = Direct(target, prepare)
        self._thread = threading.Thread(target=self._run, name="segment-writer", daemon=True)
        self._thread.start()

    def append(self, item: Any, must: bool = False) -> int:
        """Add one item and return its ticket at once, before it is on disk; it may be changed afterwards.

        A request is never refused: when the buffer is full it is dropped with a count, and one that cannot
        be packed (no JSON, does not pickle) counts as failed; the ticket is then 0. With `must` both raise
        ServeError, and so does a failing disk. Raises ServeError when the writer is closed.
        """
        try:
            raw = packed(item, self._prepare)
        except Exception as error:  # noqa: BLE001 - pickling may raise anything; a request must not fail
            with self._lock:
                self._failed += 1
            if must:
                raise ServeError(f"the record cannot be written: {type(error).__name__}") from None
            return 0
        now_s = time.monotonic()
        with self._lock:
            if self._closing:
                raise ServeError(f"the experience log {self._folder} is closed")
            full = self._bytes + len(raw) > self._buffer_bytes
            if must and (full or (self._failure is not None and now_s < self._retry_s)):
                self._refused += 1
                reason = self._failure or "its buffer is full"
                raise ServeError(self._unwritable(reason))
            if full:
                self._dropped += 1
                return 0
            ticket = self._tickets.issue()
            self._buffer.append(_Item(ticket, raw, must, now_s))
            self._bytes += len(raw)
            if len(self._buffer) == 1:
                self._lock.notify_all()
            return ticket

    def durable(self, ticket: int, timeout_s: float) -> None:
        """Block until the record of `ticket` is on disk (or `prepare` did not want it).

        Raises ServeError when it could not be written, or is not written after `timeout_s`.
        """
        with self._lock:
            self._hurry()
            if self._lock.wait_for(lambda: self._tickets.is_settled(ticket), timeout_s):
                problem = self._tickets.problem(ticket)
            else:
                problem = self._failure or f"not on disk after {timeout_s:g} s"
        if problem is not None:
            raise ServeError(self._unwritable(problem))

    async def written(self, ticket: int) -> None:
        """`durable` for asyncio, without a thread; wrap it in `asyncio.timeout` for a deadline."""
        with self._lock:
            future = None if self._tickets.is_settled(ticket) else self._tickets.wait(ticket)
            if future is not None:
                self._hurry()
        problem = self._tickets.problem(ticket) if future is None else await future
        if problem is not None:
            raise ServeError(self._unwritable(problem))

    def flush(self) -> None:
        """Return when everything appended so far is on disk. Raises ServeError when it cannot be."""
        with self._lock:
            target, before = self._tickets.issued, self._attempts
            self._retry_s = 0.0
            self._hurry()
            self._lock.wait_for(
                lambda: (
                    self._tickets.settled >= target or (self._failure is not None and self._attempts > before)
                )
            )
            if self._tickets.settled < target:
                raise ServeError(self._unwritable(self._failure))

    def close(self) -> None:
        """Flush and close; idempotent. Raises ServeError when records could not be written."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self._thread.join()
        if self._lost:
            raise ServeError(self._unwritable(f"{self._failure}; {self._lost} records are lost"))

    @property
    def failed(self) -> int:
        """Records that could not be prepared, and were therefore not written (count)."""
        return self._failed

    @property
    def dropped(self) -> int:
        """Requests lost because the disk did not keep up (count)."""
        return self._dropped

    def state(self) -> WriterState:
        """All counts at one moment."""
        with self._lock:
            return WriterState(
                self._tickets.issued,
                self._tickets.settled,
                self._failed,
                self._dropped,
                self._refused,
                self._bytes,
                self._commits,
                self._failure,
            )

    def __enter__(self) -> "SegmentWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unwritable(self, reason: str | None) -> str:
        return f"the experience log {self._folder} cannot be written: {reason}"

    def _hurry(self) -> None:
        self._urgent = True
        self._lock.notify_all()

    def _run(self) -> None:
        try:
            while self._commit_next():
                pass
        finally:
            self._sink.close()

    def _commit_next(self) -> bool:
        """Wait until there is something to write, write it; false when closed and done."""
        with self._lock:
            self._lock.wait_for(lambda: self._buffer or self._closing, self._idle_s)
            if self._buffer:
                self._gather()
            elif self._closing:
                return False
            batch = self._take()
        try:
            failed = self._sink.commit([item.raw for item in batch])
        except Exception as error:  # noqa: BLE001 - this thread must live; the reason is told to all who wait
            reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            return self._postpone(batch, reason)
        if failed:
            log.warning(
                "%d records were not prepared and are left out: %s", len(failed), set(failed.values())
            )
        self._settle(batch, failed)
        return True

    def _gather(self) -> None:
        """Wait for an interval's worth; for the time of the next attempt when the disk fails."""
        if self._failure is None:
            due_s = self._buffer[0].at_s + self._gather_s
            self._lock.wait_for(lambda: self._closing or self._urgent, due_s - time.monotonic())
        else:
            while not self._closing and (rest_s := self._retry_s - time.monotonic()) > 0:
                self._lock.wait(rest_s)
        self._urgent = False

    def _take(self) -> list[_Item]:
        batch: list[_Item] = []
        limit, size = _BATCH_ITEMS if self._failure is None else _PROBE_ITEMS, 0
        while self._buffer and len(batch) < limit and size < _BATCH_BYTES:
            batch.append(self._buffer.popleft())
            size += len(batch[-1].raw)
        return batch

    def _settle(self, batch: list[_Item], failed: Failed) -> None:
        with self._lock:
            self._attempts += 1
            self._commits += bool(batch)
            self._failed += len(failed)
            self._tickets.lose(
                {batch[place].ticket: f"not prepared ({why})" for place, why in failed.items()}
            )
            self._bytes -= sum(len(item.raw) for item in batch)
            self._failure, self._back_off_s = None, _BACK_OFF_S[0]
            self._advance()

    def _postpone(self, batch: list[_Item], reason: str) -> bool:
        """Refuse what someone waits for, keep the requests for later; false when there is no later."""
        with self._lock:
            self._attempts += 1
            if self._failure is None:
                log.error("the experience log %s cannot be written: %s", self._folder, reason)
            self._failure = reason
            self._retry_s = time.monotonic() + self._back_off_s
            self._back_off_s = min(2 * self._back_off_s, _BACK_OFF_S[1])
            held = [*batch, *self._buffer]
            kept = [] if self._closing else [item for item in held if not item.must]
            lost = {item.ticket: reason for item in held if item.must or self._closing}
            if self._closing:
                self._lost = len(held)
            self._dropped += sum(not item.must for item in held) - len(kept)
            self._refused += sum(item.must for item in held)
            self._buffer = deque(kept)
            self._bytes = sum(len(item.raw) for item in kept)
            self._tickets.lose(lost)
            self._advance()
            return not self._closing

    def _advance(self) -> None:
        """Move the mark up to which all is settled, and wake whoever waits for it."""
        self._urgent |= self._tickets.advance(self._buffer[0].ticket if self._buffer else None)
        self._lock.notify_all()
