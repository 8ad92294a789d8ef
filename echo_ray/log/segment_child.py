"""The process that prepares and writes for another one; started by `segment_sink.Child`.

It reads batches until the pipe ends, which it does when the parent closes it or is killed: a batch that
came in whole is then still written. One item has `ITEM_S`; an endless one is dropped like one that raises.
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
    target: Target
    target, raw = pickle.loads(pipe.recv_bytes())  # noqa: S301 - our own parent
    try:
        prepare: Prepare = pickle.loads(raw)  # noqa: S301
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to say it
        _send(pipe, f"prepare cannot be loaded: {error}")
        return
    _send(pipe, None)
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
