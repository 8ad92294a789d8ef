"""The miner against merely reading, against pairwise comparison, and against itself on ten times the log."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import schema
from echo_ray.data import Unit
from echo_ray.link_table import link_table
from echo_ray.log import partition
from echo_ray.rng import generator
from echo_ray.stages.mine import MineConfig, mine
from tests.benchmarks import streams
from tests.benchmarks.figure import Figure, in_turn, seconds

SESSIONS, REQUESTS = 20, 1000
"""One partition as the store makes them: about 128 MB of raw text."""
PAIRWISE = 2000
"""Requests of the session that the pairwise references look at."""
DOCUMENT_CHARS = 6000
_CONFIG = MineConfig()


class Stored(NamedTuple):
    """A partition of the log store and how it came to be."""

    path: Path
    raw_bytes: int
    scatter_s: float
    gather_s: float


def stored(folder: Path, sessions: int, requests: int) -> Stored:
    """Raw JSON Lines through the two workers of the real import, into one partition."""
    size = streams.write(folder / "raw", sessions, requests, files=1)
    job: dict[str, Any] = {"fragments": str(folder / "fragments"), "partitions": 1, "format": "auto"}
    raw, name = Unit("00000", (str(folder / "raw" / "log-000.jsonl"),)), Unit("part-0000", ())
    scatter_s = seconds(lambda: partition.scatter(raw, job))
    gather_s = seconds(lambda: partition.gather(name, job | {"output": str(folder / "log")}))
    return Stored(folder / "log" / "part-0000.parquet", size, scatter_s, gather_s)


def figures() -> Iterator[Figure]:
    """Issue 3's bars on time, all on one core."""
    with tempfile.TemporaryDirectory() as name:
        yield from _reading(stored(Path(name), SESSIONS, REQUESTS).path)
    yield from _pairwise()
    yield from _growth()


def _reading(path: Path) -> Iterator[Figure]:
    def read() -> pa.Table:
        return pq.read_table(path, use_threads=False)

    rows = read().num_rows
    assert mine(read(), _CONFIG).num_rows == rows == SESSIONS * REQUESTS
    reading, both = in_turn(read, lambda: mine(read(), _CONFIG), repeats=15)
    yield Figure("mining a stored partition, reading included, requests/s", rows / both, least=100_000)
    yield Figure("the same, time over merely reading all columns", both / reading, most=2)
    yield Figure("  merely reading, us per request", reading / rows * 1e6)
    yield Figure("  mining without reading, us per request", (both - reading) / rows * 1e6)


def typing(requests: int) -> pa.Table:
    """One session in one whole document of 6 KB (so that anchors can be compared by text)."""
    draws = generator(0, "bench", "pairwise")
    text = "".join(streams.modules())[:DOCUMENT_CHARS]
    cursor, rows = draws.randrange(len(text)), []
    for number in range(requests):
        text, cursor = streams.keystroke(draws, text, cursor)
        identity = {"request_id": f"r-{number}", "user": "u", "session": "s", "file": "f"}
        context = {"ts_ms": number * 300, "prefix": text[:cursor], "suffix": text[cursor:]}
        rows.append(schema.REQUEST_DEFAULTS | identity | context)
    return pa.Table.from_pylist(rows, schema=schema.REQUEST)


class Snapshot(NamedTuple):
    """One request as a naive miner sees it."""

    ts_ms: int
    file: str
    document: str
    cursor: int


Naive = tuple[str, str, int, int]
"""Commit, reason of its end, time of the last snapshot in which the gap stood, number of these."""


def snapshots(log: pa.Table) -> list[Snapshot]:
    """The session's requests with their documents."""
    columns = (log[name].to_pylist() for name in ("ts_ms", "file", "prefix", "suffix"))
    return [Snapshot(ts, file, a + b, len(a)) for ts, file, a, b in zip(*columns, strict=True)]


def until_break(log: pa.Table) -> list[Naive]:
    """Naive: for each request, look at the later snapshots of its file until an anchor no longer stands.

    Anchors are compared by text alone, so an edit that leaves the same text behind is not seen.
    """
    session, results = snapshots(log), []
    for number, opened in enumerate(session):
        left, right = opened.document[: opened.cursor], opened.document[opened.cursor :]
        last, count, reason, before = opened, 0, "session_end", opened
        for now in session[number + 1 :]:
            if now.ts_ms - before.ts_ms > _CONFIG.idle_s * 1000:
                reason = "idle"
                break
            before = now
            if now.file != opened.file:
                continue
            stands = now.document.startswith(left) and now.document.endswith(right)
            if not stands or len(now.document) < len(left) + len(right):
                reason = "anchor_edited"
                break
            last, count = now, count + 1
        commit = last.document[len(left) : len(last.document) - len(right)]
        results.append((commit, reason, last.ts_ms, count))
    return results


def all_pairs(log: pa.Table) -> list[Naive]:
    """Pairwise: the same, but each request is compared with every later snapshot, broken before or not."""
    session, results = snapshots(log), []
    for number, opened in enumerate(session):
        left, right = opened.document[: opened.cursor], opened.document[opened.cursor :]
        last, count, reason, before = opened, 0, "session_end", opened
        for now in session[number + 1 :]:
            idle = now.ts_ms - before.ts_ms > _CONFIG.idle_s * 1000
            before = now
            if now.file != opened.file:
                continue
            left_stands, right_stands = now.document.startswith(left), now.document.endswith(right)
            stands = left_stands and right_stands and len(now.document) >= len(left) + len(right)
            if reason == "session_end" and (idle or not stands):
                reason = "idle" if idle else "anchor_edited"
            elif reason == "session_end":
                last, count = now, count + 1
        commit = last.document[len(left) : len(last.document) - len(right)]
        results.append((commit, reason, last.ts_ms, count))
    return results


def _pairwise() -> Iterator[Figure]:
    log = typing(PAIRWISE)
    linked = link_table(log)
    expected = all_pairs(log)
    assert expected == until_break(log)
    columns = ("commit", "end_reason", "end_ts_ms", "snapshots")
    for table in (log, linked):
        samples = mine(table, _CONFIG)
        found = zip(*(samples[name].to_pylist() for name in columns), strict=True)
        same = sum(a == b for a, b in zip(expected, found, strict=True))
    yield Figure("outcomes on which the pairwise reference by text and ours agree, share", same / PAIRWISE)
    whole, rule, broken = in_turn(
        lambda: mine(log, _CONFIG), lambda: mine(linked, _CONFIG), lambda: until_break(log), repeats=15
    )
    pairs = in_turn(lambda: all_pairs(log), repeats=3)[0]
    yield Figure(f"pairwise reference over ours, {PAIRWISE:,} requests, links made", pairs / whole, least=50)
    yield Figure("  the same, links stored", pairs / rule)
    yield Figure("  reference that stops at the break, over ours with links made", broken / whole)
    yield Figure("  the same, links stored", broken / rule)
    yield Figure("  pairwise reference, us per pair", pairs / (PAIRWISE * (PAIRWISE - 1) / 2) * 1e6)
    yield Figure("  ours with links made, us per request", whole / PAIRWISE * 1e6)
    yield Figure("  ours with links stored, us per request", rule / PAIRWISE * 1e6)


def _growth() -> Iterator[Figure]:
    """Ten times the log, for three developers each: ten times as long, or ten such sessions."""
    texts, users = streams.modules(), ("g0", "g1", "g2")

    def tables(requests: int, *sessions: str) -> list[pa.Table]:
        """One table per user; its sessions are the same requests under other names: the same work each."""
        made = []
        for user in users:
            rows = list(streams.stream(user, texts, requests))
            copies = [row | {"session": session} for session in sessions for row in rows]
            made.append(pa.Table.from_pylist(copies, schema=schema.REQUEST))
        return made

    def mined(logs: list[pa.Table]) -> None:
        for log in logs:
            mine(log, _CONFIG)

    few = tables(2000, "a")
    for what, many in (
        ("one session, 2,000 -> 20,000 requests", tables(20_000, "a")),
        ("1 -> 10 sessions of 2,000 requests", tables(2000, *"abcdefghij")),
    ):
        for how, short, long in (
            (f"links and rule: time at 10 times the log, {what}", few, many),
            ("  rule alone", list(map(link_table, few)), list(map(link_table, many))),
        ):
            once, tenfold = in_turn(partial(mined, short), partial(mined, long), repeats=3)
            yield Figure(how, tenfold / once, most=11)
