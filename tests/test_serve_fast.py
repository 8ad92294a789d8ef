"""The service behind HAProxy, started from the command line: every request that was sent is in the log."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests import tiny
from tests.benchmarks.live_service import Live, free_port, held

GIVEN_UP, ANSWERED = 20, 20


@pytest.mark.ray
def test_what_is_given_up_at_once_is_logged_too_and_the_service_ends_in_order(tmp_path: Path) -> None:
    model = tiny.write_model(tmp_path / "model", seed=1)
    with Live(tmp_path, model, free_port(), "serve.fast_ingress=true") as live:
        assert live.find("haproxy")
        answered = asyncio.run(_asked(live.url))
        assert 0 == live.stop()
    log = held(live.log)
    assert answered <= set(log.requests)
    assert (ANSWERED, GIVEN_UP + ANSWERED) == (len(answered), len(log.requests))
    assert ANSWERED <= log.delivered


async def _asked(url: str) -> set[str]:
    """Ids of the answered ones; between them a client hangs up as soon as it has sent its request."""
    answered = set()
    async with aiohttp.ClientSession(url) as session:
        for number in range(ANSWERED):
            body = {"prompt": f"def f{number}(a):\n    return ", "suffix": "\n", "max_tokens": 16}
            async with session.post("/v1/completions", json=body) as reply:
                answered.add(reply.headers["x-request-id"])
                await reply.read()
            await _hung_up(session, body | {"prompt": f"def g{number}(a):\n    return "})
    return answered


async def _hung_up(session: aiohttp.ClientSession, body: dict[str, object]) -> None:
    sent = asyncio.Event()
    config = aiohttp.TraceConfig()

    async def was_sent(*_: object) -> None:
        sent.set()

    config.on_request_chunk_sent.append(was_sent)
    async with aiohttp.ClientSession(session._base_url, trace_configs=[config]) as once:
        request = asyncio.create_task(once.post("/v1/completions", json=body))
        await sent.wait()
        await asyncio.sleep(0.005)
        request.cancel()
        await asyncio.wait([request])
