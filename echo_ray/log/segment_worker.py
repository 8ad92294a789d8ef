"""One process that prepares and writes (`segment_child`), and the pipe to it."""

import contextlib
import os
import pickle
import subprocess
import sys
from multiprocessing import Pipe
from typing import Any


class Died(Exception):
    """The process is gone, or has not answered for too long."""


class Worker:
    """Starts the process at once; it loads `prepare` (pickled) and waits for `open`.

    Raises OSError when no process can be started.
    """

    def __init__(self, prepare: bytes, patience_s: float) -> None:
        self._patience_s = patience_s
        ours, theirs = Pipe()
        self._pipe = ours
        with theirs:
            command = [sys.executable, "-P", "-m", "echo_ray.log.segment_child", str(theirs.fileno())]
            paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
            try:
                # A session of its own: Ctrl-C in a terminal is for the gateway, which closes it in order.
                self._process = subprocess.Popen(
                    command,
                    pass_fds=(theirs.fileno(),),
                    env=os.environ | {"PYTHONPATH": paths},
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError:
                ours.close()
                raise
        with contextlib.suppress(OSError):  # it is gone already: whoever opens it is told
            ours.send_bytes(prepare)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def open(self, target: Any) -> None:
        """Let it write to `target`. Raises OSError when it does not work, and ends it."""
        try:
            problem = self.call(target)
        except Died as death:
            problem = str(death)
        if problem is not None:
            self.kill()
            raise OSError(problem)

    def call(self, message: Any) -> Any:
        """Its answer to `message`. Raises Died."""
        try:
            self._pipe.send_bytes(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))
            if not self._pipe.poll(self._patience_s):
                raise Died(f"no answer in {self._patience_s:g} s")
            return pickle.loads(self._pipe.recv_bytes())  # noqa: S301 - our own child
        except (EOFError, OSError) as error:
            raise Died(type(error).__name__) from None

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self._pipe.close()

    def close(self) -> None:
        """Let it end; at once when that takes too long."""
        self._pipe.close()
        try:
            self._process.wait(self._patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
