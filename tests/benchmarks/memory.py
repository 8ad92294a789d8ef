"""Peak memory of every worker while a large raw log is mined: `python -m tests.benchmarks memory [GB]`.

The log is plain JSON Lines of many interleaved sessions, the hardest order for the shuffle. The real verb
runs on it (import, then mine) in its own process; the peak that the kernel keeps for each process (VmHWM,
shared object store included) is read until it ends. Takes minutes, and about 1.5 times the log on disk.
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from echo_ray.data import read_manifest
from tests.benchmarks import streams
from tests.benchmarks.figure import Figure

REQUESTS = 1000
"""Requests per session."""
_BYTES = 6250
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


def figures(gigabytes: float = 10.0) -> Iterator[Figure]:
    """Peak per worker against the bound of 2 GB, and how long it took."""
    with tempfile.TemporaryDirectory(prefix="echo-memory-") as name:
        source, output = Path(name, "raw"), Path(name, "out")
        sessions = max(1, round(gigabytes * 1e9 / _BYTES / REQUESTS))
        began = time.monotonic()
        size = streams.write(source, sessions, REQUESTS, files=16)
        yield Figure("raw log, GB", size / 1e9)
        yield Figure("raw log, requests", sessions * REQUESTS)
        yield Figure("writing it, s", time.monotonic() - began)
        began = time.monotonic()
        peaks = watched(
            [sys.executable, "-m", "jobs", "mine", f"mine.input={source}", f"mine.output={output}"]
        )
        yield Figure("import and mine, wall s, start of the cluster included", time.monotonic() - began)
        imported, mined = read_manifest(output / "log"), read_manifest(output)
        assert imported is not None
        assert mined is not None
        assert mined.rows_out == sessions * REQUESTS
        yield Figure("import, s", imported.seconds)
        yield Figure("import, partitions", imported.notes["partitions"])
        yield Figure("mine, s", mined.seconds)
        stored = sum(path.stat().st_size for path in (output / "log").glob("part-*.parquet"))
        yield Figure("raw bytes over the store's", size / stored)
        workers = [peak for peak, what in peaks if what.startswith("ray::")]
        yield Figure("workers seen", len(workers))
        yield Figure("peak of the largest worker, GB", max(workers) / 1e9, most=2.0)
        rest = [peak for peak, what in peaks if not what.startswith("ray::")]
        yield Figure("peak of the largest other process (driver, daemons), GB", max(rest) / 1e9)


def watched(command: list[str]) -> list[tuple[int, str]]:
    """Run `command`; (peak bytes, name) of it and of every process that came from it."""
    peaks: dict[int, tuple[int, str]] = {}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        root = psutil.Process(running.pid)
        while running.poll() is None:
            family = []
            try:
                family = [root, *root.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
            for process in family:
                look = _look(process.pid)
                if look is not None:
                    peak, name = look
                    before, old = peaks.get(process.pid, (0, ""))
                    # A worker is called `ray::IDLE` between tasks and after its function within one.
                    peaks[process.pid] = max(peak, before), name if name.startswith("ray::") else old or name
            time.sleep(0.2)
    if running.returncode:
        raise SystemExit(f"{command[2:4]} failed")
    return list(peaks.values())


def _look(pid: int) -> tuple[int, str] | None:
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
        name = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return (int(found[1]) * 1024, name.strip()) if found else None
