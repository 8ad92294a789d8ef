"""The miner and the log against what they are compared with in the design."""

import io
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import schema
from echo_ray.rng import generator
from echo_ray.stages.mine import MineConfig, Snapshot, mine, mine_session
from tests.test_mine import reference

CONTEXT_CHARS = 6000


def stream(session: str, requests: int) -> Iterator[dict[str, object]]:
    """A developer typing through a 6 KB document: runs of keys, corrections, jumps to another place."""
    draws = generator(0, "bench", session)
    code = Path(mine.__code__.co_filename).read_text(encoding="utf-8")
    text = (code * (CONTEXT_CHARS // len(code) + 1))[:CONTEXT_CHARS]
    cursor = draws.randrange(len(text))
    for number in range(requests):
        draw = draws.random()
        if draw < 0.02:
            cursor = draws.randrange(len(text))
        elif draw < 0.11 and cursor:
            text, cursor = text[: cursor - 1] + text[cursor:], cursor - 1
        else:
            text, cursor = text[:cursor] + draws.choice("etaoin srhl\n") + text[cursor:], cursor + 1
        yield schema.REQUEST_DEFAULTS | {
            "request_id": f"{session}-{number}",
            "ts_ms": number * 300,
            "user": session,
            "session": session,
            "file": "a.py",
            "language": "python",
            "prefix": text[:cursor],
            "suffix": text[cursor:],
            "proposal": "pass",
        }


def table(sessions: int, requests: int) -> pa.Table:
    """Requests of several sessions, sorted as the log store keeps them."""
    rows = [row for number in range(sessions) for row in stream(f"s{number}", requests)]
    return pa.Table.from_pylist(rows, schema=schema.REQUEST)


def seconds(function: Callable[[], object], repeats: int = 5) -> float:
    """Median wall time after one warm call (s)."""
    function()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def snapshots(log: pa.Table) -> list[Snapshot]:
    """The rows of one session as the miner's rule sees them."""
    rows = log.select(["ts_ms", "file", "prefix", "suffix"]).to_pylist()
    return [
        Snapshot(i, row["ts_ms"], row["file"], row["prefix"] + row["suffix"], len(row["prefix"]))
        for i, row in enumerate(rows)
    ]


def figures() -> Iterator[tuple[str, float, str]]:
    """(what, figure, the design's bar)."""
    log = table(10, 2000)
    buffer = io.BytesIO()
    pq.write_table(log, buffer, compression="zstd")
    raw = sum(len(json.dumps(row)) + 1 for row in log.to_pylist())
    yield "log size, raw JSONL bytes over Parquet bytes", raw / buffer.tell(), "at least 30"

    reading = seconds(lambda: pq.read_table(io.BytesIO(buffer.getvalue())))
    mining = seconds(lambda: mine(pq.read_table(io.BytesIO(buffer.getvalue())), MineConfig()))
    yield "mining stage, requests/s on one core", log.num_rows / mining, "at least 100,000"
    yield "mining stage, time over merely reading the same Parquet", mining / reading, "at most 2"

    one = snapshots(table(1, 2000))
    ours = seconds(lambda: list(mine_session(one, 300)))
    pairwise = seconds(lambda: reference(one, 300), repeats=1)
    yield "mining rule, pairwise reference over ours, 2,000 requests", pairwise / ours, "at least 50"
    many = snapshots(table(1, 20_000))
    longer = seconds(lambda: list(mine_session(many, 300)), repeats=3)
    yield "mining rule, time at 10 times the requests", longer / ours, "at most 11"
