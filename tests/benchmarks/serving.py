"""The gateway beside a bare vLLM server: same model, same engine settings, same prompts, one run.

Both servers are up all the time and take turns request by request (latency) and round by round (throughput),
so that whatever else the machine does hits both. The bare server gets the token ids that ours renders; what
ours does beside that (dialect, arm, template, post-processing, log) is its overhead.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from echo_ray import models
from echo_ray.prompts import FastTokenizer, template_for
from echo_ray.serve.config import ServeConfig
from echo_ray.serve.engine import BLOCK_TOKENS
from echo_ray.serve.preflight import free_port
from tests.benchmarks.figure import Figure

PAIRS = 300
ROUNDS = 3
REQUESTS = 160
"""Requests of one round of throughput."""
CLIENTS = (1, 8, 32)
MAX_TOKENS = 24
ABANDONED, GIVEN_UP_S = 16, 0.03
"""Requests that are given up together, and how long after they were sent."""

Ask = Callable[[int], Awaitable[dict[str, Any]]]


def figures() -> Iterator[Figure]:
    """Start both servers, measure, stop both."""
    with tempfile.TemporaryDirectory() as folder, _bare() as bare, _ours(Path(folder)) as ours:
        yield from asyncio.run(_measured(bare, ours))


async def _measured(bare: str, ours: str) -> list[Figure]:
    documents = _documents(
        4 * PAIRS + 2 * ROUNDS * len(CLIENTS) * REQUESTS + 64 + 9 * ROUNDS * (ABANDONED + 1)
    )
    config, tokenizer = ServeConfig(), FastTokenizer(models.BASE)
    template = template_for(tokenizer)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:

        async def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
            async with http.post(url, json=body) as reply:
                found: dict[str, Any] = await reply.json()
                assert 200 == reply.status, found
                return found

        async def ask_bare(number: int) -> dict[str, Any]:
            prefix, suffix = documents[number]
            tokens = template.render(tokenizer, prefix, suffix, config.context_tokens, config.suffix_share)
            body = {"model": "bare", "prompt": tokens, "max_tokens": MAX_TOKENS, "temperature": 0}
            return await post(bare, body | {"stop_token_ids": list(template.ends)})

        async def ask_ours(number: int) -> dict[str, Any]:
            prefix, suffix = documents[number]
            return await post(ours, {"prompt": prefix, "suffix": suffix, "max_tokens": MAX_TOKENS})

        numbers = iter(range(len(documents)))
        for _ in range(20):
            await ask_bare(next(numbers))
            await ask_ours(next(numbers))
        found = [*await _latency(ask_bare, ask_ours, numbers)]
        found += [await _throughput(ask_bare, ask_ours, numbers, clients) for clients in CLIENTS]
        found += await _keystrokes(post, ours)
        found += await _abandoned(ask_ours, numbers)
    return found


async def _latency(bare: Ask, ours: Ask, numbers: Iterator[int]) -> list[Figure]:
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(PAIRS):
        number = next(numbers)
        for name, ask in (("bare", bare), ("ours", ours)):
            began = time.perf_counter()
            # The same prompt for both: each has a prefix cache of its own, and neither has seen it.
            await ask(number)
            times[name].append((time.perf_counter() - began) * 1000)
    over = [ours_ms - bare_ms for bare_ms, ours_ms in zip(times["bare"], times["ours"], strict=True)]
    cuts = statistics.quantiles(over, n=100)
    slow = {name: statistics.quantiles(values, n=100)[98] for name, values in times.items()}
    return [
        Figure("overhead over the bare server, p50, ms", statistics.median(over), most=2.0),
        Figure("  p99 of the pairs' differences, ms", cuts[98]),
        Figure("  bare, p50, ms", statistics.median(times["bare"])),
        Figure("  bare, p99, ms", slow["bare"]),
        Figure("  ours, p50, ms", statistics.median(times["ours"])),
        Figure("  ours, p99, ms", slow["ours"]),
    ]


async def _throughput(bare: Ask, ours: Ask, numbers: Iterator[int], clients: int) -> Figure:
    spent: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(ROUNDS):
        chosen = [next(numbers) for _ in range(REQUESTS)]
        for name, ask in (("bare", bare), ("ours", ours)):
            todo = iter(chosen)

            async def client(todo: Iterator[int] = todo, ask: Ask = ask) -> None:
                for number in todo:
                    await ask(number)

            began = time.perf_counter()
            await asyncio.gather(*(client() for _ in range(clients)))
            spent[name].append(time.perf_counter() - began)
    ratio = statistics.median(a / b for a, b in zip(spent["bare"], spent["ours"], strict=True))
    rate = REQUESTS / statistics.median(spent["ours"])
    least = 0.85 if clients == max(CLIENTS) else None
    return Figure(f"throughput over the bare server, {clients} clients ({rate:.0f}/s)", ratio, least=least)


async def _keystrokes(post: Callable[..., Awaitable[dict[str, Any]]], ours: str) -> list[Figure]:
    """One developer types a function key by key, a request a key, in a file that is there already."""
    prefix, suffix = _documents(1, seed=7)[0]
    typed = "\n\ndef total(prices):\n    found = 0\n    for price in prices:\n        found += price.rate\n"
    cached = total = asked = 0
    for end in range(len(typed)):
        reply = await post(ours, {"prompt": prefix + typed[:end], "suffix": suffix, "max_tokens": MAX_TOKENS})
        usage = reply["usage"]
        total += usage["prompt_tokens"]
        cached += usage["prompt_tokens_details"]["cached_tokens"]
        asked += 1
    metrics = ours.replace("/v1/completions", "/metrics")
    async with aiohttp.ClientSession() as http, http.get(metrics) as reply:
        text = await reply.text()
    hits = sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("echo_cache_hits_total")
    )
    return [
        Figure("prompt tokens from the prefix cache, keystrokes, percent", 100 * cached / total, least=80),
        Figure("  of these requests answered without the engine, percent", 100 * hits / asked),
    ]


async def _abandoned(ask: Ask, numbers: Iterator[int]) -> list[Figure]:
    """What an answer takes behind requests that their clients have given up, and behind such that go on."""

    async def timed() -> float:
        began = time.perf_counter()
        await ask(next(numbers))
        return (time.perf_counter() - began) * 1000

    took: dict[str, list[float]] = {"idle": [], "given up": [], "going on": []}
    for _ in range(ROUNDS * 3):
        took["idle"].append(await timed())
        for kind in ("given up", "going on"):
            others = [asyncio.create_task(ask(next(numbers))) for _ in range(ABANDONED)]
            await asyncio.sleep(GIVEN_UP_S)
            if kind == "given up":
                for other in others:
                    other.cancel()
                await asyncio.wait(others)
            took[kind].append(await timed())
            await asyncio.gather(*others, return_exceptions=True)
    idle = statistics.median(took["idle"])
    return [
        Figure(
            f"answer behind {ABANDONED} requests, over an idle one, {kind}", statistics.median(times) / idle
        )
        for kind, times in took.items()
        if kind != "idle"
    ]


def _documents(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Contexts of about 350 tokens that share nothing but their words."""
    draw = random.Random(seed)
    names = ("price", "rate", "total", "item", "user", "order", "count", "value", "name", "index", "line")

    def line() -> str:
        a, b, c = (draw.choice(names) for _ in range(3))
        return f"    {a}_{draw.randrange(10**4)} = {b}.{c}({draw.choice(names)}, {draw.randrange(99)})"

    def block(lines: int) -> str:
        return "\n".join(
            [f"def {draw.choice(names)}_{draw.randrange(10**6)}(self):", *(line() for _ in range(lines))]
        )

    return [(f"{block(14)}\n    return ", f"\n\n{block(3)}\n") for _ in range(count)]


@contextlib.contextmanager
def _bare() -> Iterator[str]:
    port = free_port("127.0.0.1")
    config = ServeConfig()
    command = [
        *(sys.executable, "-m", "tests.benchmarks.bare_server", "--model", str(models.BASE)),
        *("--served-model-name", "bare", "--port", str(port), "--dtype", "bfloat16", "--enforce-eager"),
        *("--max-model-len", str(config.context_tokens + config.max_tokens)),
        *("--max-num-seqs", str(config.max_concurrent), "--block-size", str(BLOCK_TOKENS)),
        *("--kv-cache-memory-bytes", str(int(config.kv_cache_gb * 2**30))),
        *("--enable-prefix-caching", "--uvicorn-log-level", "error", "--disable-log-stats"),
    ]
    changes = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    changes |= {"VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with _running(command, os.environ | changes, f"http://127.0.0.1:{port}/health"):
        yield f"http://127.0.0.1:{port}/v1/completions"


@contextlib.contextmanager
def _ours(folder: Path) -> Iterator[str]:
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "jobs", "serve", "serve.fast_ingress=true", f"serve.port={port}"]
    command.append(f"serve.log_dir={folder / 'log'}")
    with _running(command, dict(os.environ), f"http://127.0.0.1:{port}/health"):
        yield f"http://127.0.0.1:{port}/v1/completions"


@contextlib.contextmanager
def _running(command: Sequence[str], environment: dict[str, str], health: str) -> Iterator[None]:
    import urllib.error
    import urllib.request

    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            deadline_s = time.monotonic() + 300
            while True:
                try:
                    with urllib.request.urlopen(health, timeout=5):
                        break
                except (urllib.error.URLError, ConnectionError, TimeoutError):
                    if process.poll() is not None or time.monotonic() > deadline_s:
                        output.seek(0)
                        raise RuntimeError(output.read().decode()[-2000:]) from None
                    time.sleep(0.5)
            yield
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


if __name__ == "__main__":
    print(json.dumps([str(figure) for figure in figures()], indent=1))
