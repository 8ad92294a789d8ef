"""Where the writer's thread puts a batch: into a segment at once, or through a child process.

A record is made in three steps: the item as it was appended, what `prepare` makes of it, a line. With
`prepare` in the gateway's own process every Python instruction of it holds the interpreter lock that
requests need; a child process has its own. The child also outlives a killed gateway for as long as it
takes to write the batch that it got.

A batch whose child dies is given to a new child. What the dead one had written of it is taken back once
the new one has synced it, so nothing is there twice. An item that kills child after child (a crash in a
library, an endless loop) is found by halving and dropped with a count.
"""

import logging
import os
import pickle
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import orjson

from echo_ray.errors import ServeError
from echo_ray.log.segment_file import SegmentFile, undo

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


class _Died(Exception):
    """The child is gone, or has not answered for too long."""


class Child:
    """Prepares and writes in a child process, which is replaced when it dies.

    Raises ServeError when the child cannot be started, so that a service does not begin without a log.
    """

    def __init__(self, target: Target, prepare: Prepare, patience_s: float = 60.0) -> None:
        self._target = target
        self._prepare = pickle.dumps(prepare)
        self._patience_s = patience_s
        self._place: Place = None
        self._dead: dict[str, Place] = {}
        self.deaths = 0
        """Children that died (count)."""
        try:
            self._start()
        except OSError as error:
            raise ServeError(f"no process can write the experience log {target.folder}: {error}") from None

    @property
    def pid(self) -> int:
        """Process that writes now."""
        return self._process.pid

    def commit(self, batch: Sequence[bytes]) -> Failed:
        """See `Sink`. When a child died on the way, an OSError may leave a part of the batch on disk."""
        failed: Failed = {}
        waiting = [(0, len(batch), 0)]
        while waiting:
            start, stop, deaths = waiting.pop()
            try:
                found = self._ask(batch[start:stop])
            except _Died as death:
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
        return failed

    def close(self) -> None:
        """See `Sink`."""
        self._pipe.close()
        try:
            self._process.wait(self._patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, batch: Sequence[bytes]) -> Failed:
        answer = self._call(list(batch))
        if answer[0] == "error":
            raise OSError(*answer[1:])
        failed: Failed = answer[1]
        self._place = answer[2]
        return failed

    def _call(self, message: Any) -> Any:
        try:
            self._pipe.send_bytes(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))
            if not self._pipe.poll(self._patience_s):
                raise _Died(f"no answer in {self._patience_s:g} s")
            return pickle.loads(self._pipe.recv_bytes())  # noqa: S301 - our own child
        except (EOFError, OSError) as error:
            raise _Died(type(error).__name__) from None

    def _start(self) -> None:
        """Raises OSError when there is no child that works."""
        ours, theirs = Pipe()
        with theirs:
            self._pipe = ours
            command = [sys.executable, "-P", "-m", "echo_ray.log.segment_child", str(theirs.fileno())]
            paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
            # A session of its own: Ctrl-C in a terminal is for the gateway, which closes its child in order.
            self._process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                env=os.environ | {"PYTHONPATH": paths},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            problem = self._call((self._target, self._prepare))
        except _Died as death:
            problem = str(death)
        if problem is not None:
            self._process.kill()
            self._process.wait()
            ours.close()
            raise OSError(problem)

    def _replace(self, death: _Died) -> None:
        log.warning("the process that writes %s is replaced: %s", self._target.folder, death)
        self._process.kill()
        self._process.wait()
        self._pipe.close()
        self.deaths += 1
        self._dead.setdefault(self._target.token, self._place)
        self._target = replace(self._target, token=new_token())
        self._place = None
        self._start()
