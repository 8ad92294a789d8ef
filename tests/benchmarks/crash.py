"""Kill -9 of a process that writes the log under load: what was promised is there, and how much else went.

`python -m tests.benchmarks.crash 50` prints the figures of 50 kills; `tests/test_segment_crash.py` does 20.
"""

import asyncio
import itertools
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from echo_ray.log.segment import SegmentWriter
from echo_ray.log.segment_sink import Child

FLUSH_MS = 100
CLIENTS = 10
"""Clients that send an event 50 ms after the last was acknowledged: one nearly always waits."""
_TEXT = "x" * 6000


@dataclass(frozen=True, slots=True)
class Kill:
    """What one kill left."""

    requests: int
    """Appended, as far as the process could still say."""
    events: int
    """Acknowledged."""
    missing_requests: int
    missing_events: int
    overtaken: int
    """Missing requests that were appended before an event that was acknowledged."""
    lost_ms: float
    """Age of the oldest missing request when the process was killed."""
    slowest_ms: float
    """Longest that an event waited to be acknowledged (or for the kill): preparing, writing and one fsync."""
    strange: int
    """Lines other than the last of a file that are no records, records that are there twice."""


def same(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Prepare nothing, in a child process."""
    return item


async def load(folder: Path, isolate: bool, clients: int) -> None:
    """Requests as fast as 500/s and events that wait; says on stdout what was appended and acknowledged."""
    writer = SegmentWriter(folder, FLUSH_MS, rotate_mb=0.5, prepare=same if isolate else None)

    def say(*what: object) -> None:
        os.write(1, (" ".join(map(str, what)) + "\n").encode())

    async def events(worker: int) -> None:
        for number in range(1_000_000):
            began = time.monotonic()
            say("ask", f"e{worker}-{number}", began)
            ticket = writer.append({"id": f"e{worker}-{number}", "record": "event"}, must=True)
            await writer.written(ticket)
            say("event", f"e{worker}-{number}", time.monotonic())
            await asyncio.sleep(random.expovariate(20))

    async def requests() -> None:
        for number in range(1_000_000):
            at = time.monotonic()
            writer.append({"id": f"r{number}", "text": _TEXT})
            say("request", f"r{number}", at)
            await asyncio.sleep(0.002)

    say("writer", writer._sink.pid if isinstance(writer._sink, Child) else os.getpid())
    await asyncio.gather(requests(), *map(events, range(clients)))


def kill(folder: Path, isolate: bool, clients: int, draws: random.Random) -> Kill:
    """Start such a process, kill it at some moment, and compare what it said with what is on disk."""
    folder.mkdir(parents=True)
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.crash",
        "load",
        str(folder),
        str(int(isolate)),
        str(clients),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        said = bytearray(process.stdout.readline())
        # Not the process itself but its child may be the one who writes.
        writing = os.pidfd_open(int(said.split()[1]))
        wanted = draws.randrange(20, 200)
        while said.count(b"request") < wanted and select.select([process.stdout], [], [], 60)[0]:
            said += os.read(process.stdout.fileno(), 1 << 16)
        killed_s = time.monotonic()
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read()
        select.select([writing], [], [])
        os.close(writing)
    told = [line.split() for line in bytes(said).decode().splitlines()[1:]]
    when: dict[str, dict[str, float]] = {"request": {}, "ask": {}, "event": {}}
    for what, name, at in (parts for parts in told if len(parts) == 3):
        when[what][name] = float(at)
    waits = [when["event"].get(name, killed_s) - at for name, at in when["ask"].items()]
    promised = max((when["ask"][name] for name in when["event"]), default=0.0)
    found, strange = [], 0
    for path in folder.glob("segment-*.jsonl"):
        *lines, _torn = path.read_bytes().split(b"\n")
        for line in lines:
            try:
                found.append(orjson.loads(line)["id"])
            except (orjson.JSONDecodeError, KeyError):
                strange += 1
    there = set(found)
    lost = [at for name, at in when["request"].items() if name not in there]
    return Kill(
        len(when["request"]),
        len(when["event"]),
        len(lost),
        sum(name not in there for name in when["event"]),
        sum(at < promised for at in lost),
        (killed_s - min(lost)) * 1000 if lost else 0.0,
        max(waits, default=0.0) * 1000,
        strange + len(found) - len(there),
    )


def main(kills: int) -> None:
    """Kill so many, half of them with a child that writes, half without events, and print what was lost."""
    draws = random.Random(0)
    for isolate, clients in itertools.product((False, True), (0, CLIENTS)):
        with tempfile.TemporaryDirectory() as name:
            done = [kill(Path(name, str(number)), isolate, clients, draws) for number in range(kills // 4)]
        lost = sorted(found.lost_ms for found in done)
        events, gone = sum(found.events for found in done), sum(found.missing_events for found in done)
        requests, missing = sum(f.requests for f in done), sum(f.missing_requests for f in done)
        where = "a child process" if isolate else "a thread"
        print(f"writing in {where}, {clients} clients with events: {len(done)} kills")
        print(f"  acknowledged events {events}, missing {gone}")
        print(f"  requests {requests}, missing {missing}")
        print(f"  oldest missing, ms before the kill: median {lost[len(lost) // 2]:.0f}, most {lost[-1]:.0f}")
        print(f"  longest wait of an event, ms: {max(found.slowest_ms for found in done):.0f}")
        print(f"  lines that are no records or twice: {sum(found.strange for found in done)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        from tests.benchmarks import crash  # what a child process can import

        asyncio.run(crash.load(Path(sys.argv[2]), sys.argv[3] == "1", int(sys.argv[4])))
    else:
        main(int(sys.argv[1]))
