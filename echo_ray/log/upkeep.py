"""Compaction and retention beside a running service: `python -m echo_ray.log.upkeep FOLDER ...`.

A child process of low priority does one round and ends, so the service pays for neither its memory nor its
interpreter lock, and may be killed or end at any time. A round that fails is logged and tried again later.
"""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from echo_ray.errors import EchoError

log = logging.getLogger(__name__)


class Upkeep:
    """Rounds of `rotate` and `expire` every `every_s`, the first one at once; `stop` ends them."""

    def __init__(self, folder: Path, every_s: float = 600.0, days: float | None = None) -> None:
        self._command = [
            *(sys.executable, "-P", "-m", "echo_ray.log.upkeep", str(folder)),
            *("--days", str(days or 0)),
        ]
        self._every_s = every_s
        self._stopped = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self.rounds = 0
        """Rounds that ended (count)."""
        self.problem: str | None = None
        """Why the last round failed."""
        self._thread = threading.Thread(target=self._run, name="log-upkeep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the round that runs, wherever it is, and begin no other; idempotent."""
        self._stopped.set()
        with self._lock:
            if self._process is not None:
                self._process.kill()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._round()
            self._stopped.wait(self._every_s)

    def _round(self) -> None:
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        with self._lock:
            if self._stopped.is_set():
                return
            try:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
                    start_new_session=True,
                )
            except OSError as error:
                self.problem = str(error)
                return
        told, problem = self._process.communicate()
        with self._lock:
            code, self._process = self._process.returncode, None
        if self._stopped.is_set():
            return
        self.rounds += 1
        self.problem = None if code == 0 else problem.strip().rpartition("\n")[2] or f"exit status {code}"
        if self.problem is not None:
            log.warning("the experience log was not compacted: %s", self.problem)
        else:
            log.info("experience log: %s", told.strip())


def main(arguments: Sequence[str]) -> int:
    """One round; prints what it did as one line of JSON."""
    parser = ArgumentParser(prog="python -m echo_ray.log.upkeep", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="folder of the experience log")
    parser.add_argument("--days", type=float, default=0, help="keep records so long; 0 is for ever (days)")
    parser.add_argument("--batch-mb", type=float, default=128, help="raw text that becomes one file (MB)")
    parser.add_argument("--keep-s", type=float, default=600, help="keep replaced segments so long (s)")
    parser.add_argument("--all", action="store_true", help="take closed segments of today too")
    chosen = parser.parse_args(arguments)
    from echo_ray.log.retention import expire
    from echo_ray.log.rotate import rotate

    try:
        rotated = rotate(chosen.folder, chosen.batch_mb, chosen.keep_s, everything=chosen.all)
        expired = expire(chosen.folder, chosen.days, time.time_ns() // 1_000_000)
    except (EchoError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(json.dumps({"rotated": asdict(rotated), "expired": asdict(expired)}) + "\n")
    return 0


if __name__ == "__main__":
    # Of this process alone: whoever calls `main` keeps their own.
    os.nice(19)
    import pyarrow as pa

    pa.set_cpu_count(1)
    sys.exit(main(sys.argv[1:]))
