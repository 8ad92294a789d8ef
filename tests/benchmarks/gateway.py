"""What a request costs the gateway itself: CPU time of its process and of its log's writer, no engine.

The whole path over HTTP: dialect, identity, arm, prompt, cache, post-processing, record, default privacy. The
engine answers at once. CPU time does not depend on what else the machine does; how many requests a second one
gateway can take follows from it.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import psutil

from echo_ray import models
from echo_ray.privacy.config import PrivacyConfig
from tests import gateways
from tests.benchmarks.figure import Figure
from tests.benchmarks.streams import modules

WARM, REQUESTS, CLIENTS = 300, 3000, 16
PREFIX_CHARS, SUFFIX_CHARS = 4500, 1500


def figures() -> Iterator[Figure]:
    """Milliseconds per request."""
    command = [sys.executable, "-m", "tests.benchmarks.gateway"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        url = process.stdout.readline().strip()
        gateway = psutil.Process(process.pid)
        asyncio.run(_load(url, 0, WARM))
        before = _spent(gateway)
        asyncio.run(_load(url, WARM, REQUESTS))
        after = _spent(gateway)
        process.stdin.close()
    own, writer = ((b - a) * 1000 / REQUESTS for a, b in zip(before, after, strict=True))
    yield Figure("gateway, CPU per request of 6 KB, ms", own)
    yield Figure("  requests a second that one core of it would take", 1000 / own)
    yield Figure("  its log's writer, CPU per request, ms", writer)


def _spent(gateway: psutil.Process) -> tuple[float, float]:
    """CPU seconds of the gateway, and of the processes under it."""
    below = [process.cpu_times() for process in gateway.children(recursive=True)]
    own = gateway.cpu_times()
    return own.user + own.system, sum(times.user + times.system for times in below)


async def _load(url: str, first: int, count: int) -> None:
    texts, numbers = modules(), iter(range(first, first + count))

    async def client(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            text = texts[number % len(texts)]
            at = 7 * number % max(1, len(text) - SUFFIX_CHARS)
            body = {
                "prompt": text[max(0, at - PREFIX_CHARS) : at],
                "suffix": text[at : at + SUFFIX_CHARS],
                "user": f"u{number % 100}",
            }
            async with session.post(f"{url}/v1/completions", json=body) as reply:
                assert 200 == reply.status, await reply.text()
                await reply.read()

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))


def _serve() -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = gateways.Engine()
        with (
            gateways.service(
                models.BASE,
                Path(folder, "log"),
                engine,
                PrivacyConfig(),
                isolate=True,
                flush_ms=100,
                context_tokens=448,
                cache_s=30,
            ) as service,
            gateways.listening(service) as url,
        ):
            print(url, flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    _serve()
