"""Where the writer's thread puts a batch: into a segment at once, or through a child process.

A record is made in three steps: the item as it was appended, what `prepare` makes of it, a line. With
`prepare` in the gateway's own process every Python instruction of it holds the interpreter lock that
requests need; a child process has its own. The child also outlives a killed gateway for as long as it
takes to write the batch that it got.

A batch whose child dies is given to a new child. A spare one waits, with everything imported: what a killed
gateway loses is what its child has not got, so the next child must not be long in coming. What the dead one
had written of it is taken back once the new one has synced it, so nothing is there twice. An item that kills
child after child (a crash in a library, an endless loop) is found by halving and dropped with a count.
"""

import logging
import pickle
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import orjson

from echo_ray.errors import ServeError
from echo_ray.log.segment_file import SegmentFile, undo
from echo_ray.log.segment_worker import Died, Worker

log = logging.getLogger(__name__)

Prepare: TypeAlias = Callable[[Any], Mapping[str, Any] | None]
"""Turns an appended item into the record to write; None writes nothing. Must pickle for a child."""
Failed: TypeAlias = dict[int, str]
"""Type of the exception by place in the batch. Never its message, which may quote the record."""

Place: TypeAlias = tuple[str, int] | None
"""Name and synced length of the segment that is open."""

_DEATHS = 2
"""How often an item alone may end a child until it is dropped."""


def new_token() -> str:
    """A part of file names that nobody else has."""
    return uuid.uuid4().hex[:12]


@dataclass(frozen=True, slots=True)
class Target:
    """Where segments are written, and when the next one begins."""

    folder: Path
    rotate_bytes: int
    rotate_s: float
    token: str = field(default_factory=new_token)

    def open(self) -> SegmentFile:
        """A writer of segments there; makes no file yet."""
        return SegmentFile(self.folder, self.rotate_bytes, self.rotate_s, self.token)


class Sink(Protocol):
    """Writes batches, one at a time."""

    def commit(self, batch: Sequence[bytes]) -> Failed:
        """Return when the batch is on disk; tells which items could not be prepared.

        Raises OSError when it cannot be written; nothing of it is on disk then.
        """
        ...

    def close(self) -> None:
        """Close the open segment; idempotent."""
        ...


def packed(item: Any, prepare: Prepare | None) -> bytes:
    """An item on its way to a sink: its line when nothing is left to prepare. May raise TypeError, and what
    pickling the item raises.
    """
    if prepare is None:
        return orjson.dumps(item, option=orjson.OPT_APPEND_NEWLINE)
    return pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)


def lines(
    batch: Sequence[bytes],
    prepare: Prepare | None,
    limit: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> tuple[bytes, Failed]:
    """The lines of a batch, without the items that could not be prepared; each is prepared in a `limit`."""
    if prepare is None:
        return b"".join(batch), {}
    made: list[bytes] = []
    failed: Failed = {}
    for place, raw in enumerate(batch):
        try:
            with limit():
                record = prepare(pickle.loads(raw))  # noqa: S301 - our own bytes
            if record is not None:
                made.append(orjson.dumps(dict(record), option=orjson.OPT_APPEND_NEWLINE))
        except Exception as error:  # noqa: BLE001 - whatever it is: this record only, and counted
            failed[place] = type(error).__name__
    return b"".join(made), failed


class Direct:
    """Prepares and writes in the calling thread."""

    def __init__(self, target: Target, prepare: Prepare | None) -> None:
        self._file = target.open()
        self._prepare = prepare

    def commit(self, batch: Sequence[bytes]) -> Failed:
        """See `Sink`."""
        data, failed = lines(batch, self._prepare)
        self._file.write(data)
        return failed

    def close(self) -> None:
        """See `Sink`."""
        self._file.close()


class Child:
    """Prepares and writes in a child process, which is replaced when it dies; a spare one is kept ready after
    the first batch.

    Raises ServeError when the child cannot be started, so that a service does not begin without a log.
    """

    def __init__(self, target: Target, prepare: Prepare, patience_s: float = 60.0) -> None:
        self._target = target
        self._prepare = pickle.dumps(prepare)
        self._patience_s = patience_s
        self._place: Place = None
        self._dead: dict[str, Place] = {}
        self._spare: Worker | None = None
        self.deaths = 0
        """Children that died (count)."""
        try:
            self._start()
        except OSError as error:
            raise ServeError(f"no process can write the experience log {target.folder}: {error}") from None

    @property
    def pid(self) -> int:
        """Process that writes now."""
        return self._worker.pid

    def commit(self, batch: Sequence[bytes]) -> Failed:
        """See `Sink`. When a child died on the way, an OSError may leave a part of the batch on disk."""
        failed: Failed = {}
        waiting = [(0, len(batch), 0)]
        while waiting:
            start, stop, deaths = waiting.pop()
            try:
                found = self._ask(batch[start:stop])
            except Died as death:
                self._replace(death)
                if deaths + 1 < _DEATHS:
                    waiting.append((start, stop, deaths + 1))
                elif stop - start > 1:
                    middle = (start + stop) // 2
                    waiting += [(middle, stop, _DEATHS - 1), (start, middle, _DEATHS - 1)]
                elif stop > start:
                    failed[start] = "the death of the process"
            else:
                failed.update({start + place: why for place, why in found.items()})
        for token, place in self._dead.items():
            undo(self._target.folder, token, place)
        self._dead = {}
        if self._spare is None:
            with suppress(OSError):  # tried again after the next batch
                self._spare = Worker(self._prepare, self._patience_s)
        return failed

    def close(self) -> None:
        """See `Sink`."""
        for worker in (self._spare, self._worker):
            if worker is not None:
                worker.close()
        self._spare = None

    def _ask(self, batch: Sequence[bytes]) -> Failed:
        answer = self._worker.call(list(batch))
        if answer[0] == "error":
            raise OSError(*answer[1:])
        failed: Failed = answer[1]
        self._place = answer[2]
        return failed

    def _start(self) -> None:
        """Raises OSError when there is no child that works."""
        if self._spare is not None:
            self._worker, self._spare = self._spare, None
            with suppress(OSError):  # it has died, too
                self._worker.open(self._target)
                return
        self._worker = Worker(self._prepare, self._patience_s)
        self._worker.open(self._target)

    def _replace(self, death: Died) -> None:
        log.warning("the process that writes %s is replaced: %s", self._target.folder, death)
        self._worker.kill()
        self.deaths += 1
        self._dead.setdefault(self._target.token, self._place)
        self._target = replace(self._target, token=new_token())
        self._place = None
        self._start()
