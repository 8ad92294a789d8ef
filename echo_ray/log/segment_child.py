"""The process that prepares and writes for another one; started by `segment_worker.Worker`.

It loads what prepares, waits until it is told where to write, which for a spare one may be long, and reads
batches until the pipe ends. That ends when the parent closes it or is killed: a batch that came in whole is
then still written. One item has `ITEM_S`; an endless one is dropped like one that raises.
"""

import pickle
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from echo_ray.log.segment_sink import Prepare, Target, lines

ITEM_S = 10.0
"""Longest time that one item may take to prepare (s)."""


def main(descriptor: int) -> None:
    """Serve the parent at the other end of `descriptor`."""
    signal.signal(signal.SIGALRM, _too_long)
    with Connection(descriptor) as pipe:
        try:
            _serve(pipe)
        except (EOFError, OSError):
            return  # the parent has closed the pipe, or is gone


def _serve(pipe: Connection) -> None:
    problem = None
    try:
        prepare: Prepare = pickle.loads(pipe.recv_bytes())  # noqa: S301 - our own parent
    except (EOFError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to say it
        problem = f"prepare cannot be loaded: {error}"
    target: Target = pickle.loads(pipe.recv_bytes())  # noqa: S301
    _send(pipe, problem)
    if problem is not None:
        return
    file = target.open()
    try:
        while True:
            batch = pickle.loads(pipe.recv_bytes())  # noqa: S301
            data, failed = lines(batch, prepare, _limit)
            try:
                file.write(data)
            except OSError as error:
                _send(pipe, ("error", error.errno, error.strerror))
            else:
                _send(pipe, ("done", failed, file.place))
    finally:
        file.close()


def _send(pipe: Connection, message: Any) -> None:
    pipe.send_bytes(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))


@contextmanager
def _limit() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_REAL, ITEM_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TimeoutError


if __name__ == "__main__":
    main(int(sys.argv[1]))
