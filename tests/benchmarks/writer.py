"""The write side of the log: what a request pays for it, what the disk gets, how small it becomes."""

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from echo_ray.log.rotate import Batch, rotate
from echo_ray.log.segment import SegmentWriter
from tests.benchmarks import streams
from tests.benchmarks.figure import Figure, seconds

RECORDS = 5000
RATE, SECONDS, BURN_US = 500, 6, 300
"""Load of the comparison: records per second, its length, and what preparing one of them costs."""


def burn(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Prepare a record as slowly as a thorough search for secrets, holding the interpreter lock."""
    end = time.thread_time() + BURN_US / 1e6
    while time.thread_time() < end:
        pass
    return item


def figures() -> Iterator[Figure]:
    """Microseconds, syncs, records per second, and the latency that the writer costs an asyncio process."""
    rows = list(streams.stream("u0", streams.modules(), RECORDS))
    for what, prepare in (("no prepare: orjson", None), ("prepare in a child: pickle", burn)):
        with tempfile.TemporaryDirectory() as name, SegmentWriter(Path(name), prepare=prepare) as writer:
            costs = sorted(appending(writer, rows[:1500]))
        yield Figure(f"append of 6 KB, mean us ({what})", statistics.mean(costs), most=100)
        yield Figure("  median us", costs[len(costs) // 2])
        yield Figure("  99th percentile us", costs[int(len(costs) * 0.99)])
    yield from _throughput(rows)
    yield from _rotation()
    for isolate in (False, True):
        where = "a child process" if isolate else "a thread"
        with tempfile.TemporaryDirectory() as name:
            late, cpu_s = asyncio.run(_lateness(Path(name), rows, isolate))
        yield Figure(f"event loop late, mean us: {RATE}/s, prepare of {BURN_US} us in {where}", late[0])
        yield Figure("  99th percentile us", late[1])
        yield Figure("  99.9th percentile us", late[2])
        yield Figure("  CPU of the serving process, share of a core", cpu_s / SECONDS)
    with tempfile.TemporaryDirectory() as name:
        late, cpu_s = asyncio.run(_lateness(Path(name), [], isolate=None))
        yield Figure("event loop late without a writer, 99th percentile us", late[1])
        yield Figure("  CPU of the serving process, share of a core", cpu_s / SECONDS)


def _rotation() -> Iterator[Figure]:
    """A day of a small team: long sessions, their keystrokes interleaved as they arrive."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with SegmentWriter(folder, rotate_mb=16, buffer_mb=1024) as writer:
            for line in streams.lines(20, 1000):
                writer.append(orjson.loads(line))
        segments = len(list(folder.glob("segment-*")))
        done: list[Batch] = []
        took = seconds(lambda: done.extend(rotate(folder, keep_s=0, everything=True).batches))
        [batch] = done
        assert 20_000 == batch.requests
        yield Figure(
            f"bytes of {segments} segments over their Parquet's",
            batch.bytes_before / batch.bytes_after,
            least=30,
        )
        yield Figure("  compaction on one core, requests/s", batch.requests / took)


def appending(writer: SegmentWriter, rows: list[dict[str, Any]]) -> list[float]:
    """Microseconds that each append takes, at 500 records/s so that the writer works meanwhile."""
    costs = []
    for row in rows:
        began = time.perf_counter()
        writer.append(row)
        costs.append((time.perf_counter() - began) * 1e6)
        time.sleep(1 / RATE)
    return costs


def _throughput(rows: list[dict[str, Any]]) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as name, SegmentWriter(Path(name)) as writer:
        began = time.perf_counter()
        for row in rows:
            writer.append(row)
        writer.flush()
        yield Figure(
            "records/s of 6 KB to disk, one thread appending", len(rows) / (time.perf_counter() - began)
        )

        async def one(number: int) -> None:
            for _ in range(20):
                await writer.written(writer.append({"n": number}, must=True))

        async def all_events() -> None:
            await asyncio.gather(*map(one, range(50)))

        before = writer.state().commits
        began = time.perf_counter()
        asyncio.run(all_events())
        took = time.perf_counter() - began
        commits = writer.state().commits - before
        yield Figure("acknowledged events/s, 50 clients that wait for each", 1000 / took)
        yield Figure("  fsyncs/s", commits / took)
        yield Figure("  events per fsync", 1000 / commits)


async def _lateness(
    folder: Path, rows: list[dict[str, Any]], isolate: bool | None
) -> tuple[tuple[float, float, float], float]:
    """How late (us: mean, 99th, 99.9th percentile) a timer of the loop fires while it appends `RATE`/s."""
    late: list[float] = []
    writer = None if isolate is None else SegmentWriter(folder, prepare=burn, isolate=isolate)
    draws, began, cpu = random.Random(0), time.perf_counter(), time.process_time()
    due, number = began, 0
    while due < began + SECONDS:
        due += draws.expovariate(RATE)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        late.append((time.perf_counter() - due) * 1e6)
        if writer is not None:
            writer.append(rows[number % len(rows)])
        number += 1
    cpu_s = time.process_time() - cpu
    if writer is not None:
        writer.close()
    late.sort()
    return (statistics.mean(late), late[int(len(late) * 0.99)], late[int(len(late) * 0.999)]), cpu_s
