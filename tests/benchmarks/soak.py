"""Minutes of mixed load on the real service: `python -m tests.benchmarks.soak 30 [CLIENTS] [PER_SECOND]`.

Simulated clients of every dialect type through source text, ask, stream, go away in the middle of an answer,
tell what became of proposals, send snapshots and bodies that are wrong. What is asked of the service: nothing
but the wrong bodies is refused, no process grows, and the log holds a row for every request: exactly one of
each that was answered, at most one of each that was given up, none of a warm-up.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.benchmarks.figure import TITLE, Figure
from tests.benchmarks.live_service import Live, free_port, held
from tests.benchmarks.streams import modules

ROLES = ("gateway", "writer", "engine", "core", "proxy", "haproxy")
WARM_SHARE = 0.25
"""Share of the time after which memory is read for the first time: imports, caches of lines and answers."""
WRONG: tuple[Any, ...] = (
    b"{",
    b"\xff",
    b"[]",
    {"prompt": 1},
    {"prompt": "x", "n": 99},
    {"segments": {}},
    b"null",
)
GONE_AFTER_S = (0.002, 0.05)
"""When a client that goes away does so."""


@dataclass(slots=True)
class Tally:
    """What happened."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Answers by what was sent and status; 0: the connection broke."""
    answered: set[str] = field(default_factory=set)
    """Ids of completions."""
    latency_ms: list[float] = field(default_factory=list)
    """Of answered completions."""
    gone: int = 0
    """Completions that the client gave up."""
    told: int = 0
    """Events that were acknowledged, of kinds that are always logged."""
    snapshots: int = 0


class Developer:
    """One client that types through a module, over its own connection."""

    def __init__(self, number: int, session: aiohttp.ClientSession, tally: Tally, text: str) -> None:
        self._session, self._tally, self._text = session, tally, text
        self._draws = random.Random(number)
        self._name = f"dev{number}"
        self._dialect = ("openai", "stream", "tabby", "mistral", "infill", "deepseek", "path")[number % 7]
        self._cursor = self._draws.randrange(100, max(101, len(text) - 2000))

    async def work(self, until_s: float, pause_s: float) -> None:
        """Until `until_s` (monotonic seconds), with pauses of `pause_s` on average."""
        await asyncio.sleep(self._draws.random() * pause_s)
        while time.monotonic() < until_s:
            await self._step()
            await asyncio.sleep(self._draws.expovariate(1 / pause_s))

    async def _step(self) -> None:
        chance = self._draws.random()
        if chance < 0.04:
            await self._send("wrong", "/v1/completions", self._draws.choice(WRONG))
        elif chance < 0.06:
            if await self._send("snapshot", "/v1/echo/snapshots", {"prefix": self._text[: self._cursor]}):
                self._tally.snapshots += 1
        elif chance < 0.07:
            await self._send("warm-up", "/infill", {"input_prefix": "a", "input_suffix": "b", "n_predict": 0})
        elif chance < 0.08:
            for path in ("/v1/models", "/v1/health", "/metrics", "/health"):
                await self._send("get", path, None)
        else:
            await self._complete(leaves=chance < 0.18)
        self._cursor += self._draws.randrange(1, 6)
        if self._cursor > len(self._text) - 500:
            self._cursor = 100

    async def _complete(self, leaves: bool) -> None:
        path, body = self._asked()
        if leaves:
            try:
                async with asyncio.timeout(self._draws.uniform(*GONE_AFTER_S)):
                    await self._answered(path, body)
            except TimeoutError:
                self._tally.gone += 1
            return
        found = await self._answered(path, body)
        if found and self._draws.random() < 0.4:
            await self._tell(found)

    async def _answered(self, path: str, body: Any) -> str | None:
        began = time.perf_counter()
        headers = await self._send("completion", path, body)
        if headers is None:
            return None
        self._tally.latency_ms.append((time.perf_counter() - began) * 1000)
        found = str(headers["x-request-id"])
        self._tally.answered.add(found)
        return found

    async def _tell(self, name: str) -> None:
        if self._dialect == "tabby":
            done = await self._send("event", "/v1/events", {"type": "view", "completion_id": name})
        else:
            done = await self._send("event", "/v1/echo/events", {"request_id": name, "type": "shown"})
        self._tally.told += done is not None

    def _asked(self) -> tuple[str, Any]:
        before = self._text[max(0, self._cursor - 2000) : self._cursor]
        after = self._text[self._cursor : self._cursor + 800]
        body = {"prompt": before, "suffix": after, "max_tokens": 12}
        if self._dialect == "tabby":
            segments = {"prefix": before, "suffix": after, "filepath": "m.py"}
            return "/v1/completions", {"language": "python", "segments": segments}
        if self._dialect == "infill":
            head, _, line = before.rpartition("\n")
            infill = {"input_prefix": f"{head}\n", "prompt": line, "input_suffix": after, "n_predict": 12}
            return "/infill", infill | {"t_max_predict_ms": 250}
        if self._dialect == "mistral":
            return "/v1/fim/completions", body | {"model": "m"}
        if self._dialect == "deepseek":
            return "/beta/completions", body
        if self._dialect == "path":
            return f"/u/{self._name}/s/{self._name}-1/v1/completions", body
        return "/v1/completions", body | {"stream": self._dialect == "stream"}

    async def _send(self, what: str, path: str, body: Any) -> Any:
        """Headers of a good answer, None of another."""
        raw = {"data": body} if isinstance(body, bytes) else {"json": body}
        headers = {"X-Echo-User": self._name, "X-Echo-Session": f"{self._name}-1", "X-Echo-File": "m.py"}
        method = self._session.get(path) if body is None else self._session.post(path, headers=headers, **raw)
        try:
            async with method as reply:
                await reply.read()
                self._tally.statuses[what, reply.status] += 1
                return reply.headers if reply.status == 200 else None
        except aiohttp.ClientError:
            self._tally.statuses[what, 0] += 1
            return None


def soak(minutes: float, clients: int, rate: float, settings: tuple[str, ...] = ()) -> Iterator[Figure]:
    """Run it; the figures. `rate` is steps of all clients per second."""
    from tests import tiny

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = tiny.write_model(folder / "model", seed=1)
        with Live(folder, model, free_port(), *settings) as live:
            tally, memory = asyncio.run(_load(live, minutes * 60, clients, clients / rate))
            status = live.stop()
        yield from _figures(tally, memory, minutes)
        found = held(live.log)
        snapshots = sum(name.startswith("snap-") for name in found.requests)
        rows = len(found.requests) - snapshots
        yield Figure("rows of requests in the log", rows)
        yield Figure("  of answered ones, missing", len(tally.answered - set(found.requests)), most=0)
        yield Figure("  beside answered ones, of given up ones", rows - len(tally.answered), most=tally.gone)
        yield Figure("  given up by clients", tally.gone)
        yield Figure("rows of snapshots, missing", tally.snapshots - snapshots, most=0)
        yield Figure("rows of events, missing", tally.told - sum(found.events.values()), most=0)
        yield Figure("rows that are there again, torn or strange", _spoilt(found), most=0)
        yield Figure("exit status of the service", status, most=0)


def _spoilt(found: Any) -> int:
    return int(sum(found.requests.values()) - len(found.requests) + found.torn + found.strange)


async def _load(
    live: Live, seconds: float, clients: int, pause_s: float
) -> tuple[Tally, list[dict[str, float]]]:
    tally, memory, texts = Tally(), list[dict[str, float]](), modules()
    ends = time.monotonic() + seconds
    # A connection each, as editors have.
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(live.url, connector=connector, timeout=timeout) as session:
        work = [
            asyncio.create_task(Developer(one, session, tally, texts[one % len(texts)]).work(ends, pause_s))
            for one in range(clients)
        ]
        await asyncio.sleep(seconds * WARM_SHARE)
        while time.monotonic() < ends:
            memory.append(await asyncio.to_thread(_sizes, live))
            await asyncio.sleep(min(10.0, max(0.0, ends - time.monotonic())))
        await asyncio.gather(*work)
    memory.append(_sizes(live))
    return tally, memory


def _sizes(live: Live) -> dict[str, float]:
    """Private memory by role (MB)."""
    sizes = {}
    for role in ROLES:
        try:
            sizes[role] = live.find(role, 0).memory_full_info().uss / 1e6
        except (LookupError, psutil.Error):  # another kind of ingress
            continue
    return sizes


def _figures(tally: Tally, memory: list[dict[str, float]], minutes: float) -> Iterator[Figure]:
    for (what, status), count in sorted(tally.statuses.items()):
        yield Figure(f"{what}, status {status}", count, most=0 if status >= 500 or status == 0 else None)
    right = {"wrong": range(400, 500)}
    odd = [
        count
        for (what, status), count in tally.statuses.items()
        if status and status not in right.get(what, range(200, 201))
    ]
    yield Figure("answers that were not to be expected", sum(odd), most=0)
    ordered = sorted(tally.latency_ms)
    yield Figure("completions answered per second", len(ordered) / minutes / 60)
    for share in (0.5, 0.99):
        yield Figure(f"latency at {share:.0%}, ms", ordered[int(len(ordered) * share)])
    for role in memory[0]:
        start, end = memory[0][role], memory[-1].get(role, 0.0)
        yield Figure(f"memory of the {role}, MB after the warm-up", start)
        yield Figure("  MB at the end over that", end / start, most=1.05)
        half = memory[len(memory) // 2].get(role, 0.0)
        yield Figure("  of that in the last half, MB (bounded caches fill and stop)", end - half)


def main(minutes: float, clients: int = 200, rate: float = 60.0) -> None:
    """Print the figures of one run."""
    print(TITLE)
    for figure in soak(minutes, clients, rate):
        print(figure, flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), *map(int, sys.argv[2:3]), *map(float, sys.argv[3:4]))
