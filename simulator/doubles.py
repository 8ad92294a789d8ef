"""A small real completion server on loopback, for tests and for measuring the simulator alone.

It speaks the same HTTP as the gateway and keeps what a gateway would log, one row per request in the
production schema, aborted ones with `delivered` false. What it answers is a plain function of prefix and
suffix: `oracle`, `empty`, `wrong`, `ngram`. None of them is a model to compare results with.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from echo_ray import rng, schema
from simulator.assistant import Ask
from simulator.developer import Developer
from simulator.truth import Tally, Truth
from simulator.work import WorkItem

Behaviour = Callable[[str, str], str]
"""Proposal for (prefix, suffix)."""


def empty(prefix: str, suffix: str) -> str:
    """Silence, always."""
    return ""


def oracle(items: Iterable[WorkItem], max_lines: int = 1) -> Behaviour:
    """Knows the work: the rest of the line, or the next line at a line's end; then silence.

    Answers "" when the prefix is not on the way to an intent (a slip stands).
    """
    by_suffix: dict[str, list[WorkItem]] = {}
    for item in items:
        by_suffix.setdefault(item.after, []).append(item)

    def behave(prefix: str, suffix: str) -> str:
        for item in by_suffix.get(suffix, []):
            typed = prefix[len(item.before) :]
            if prefix.startswith(item.before) and item.intent.startswith(typed):
                rest = item.intent[len(typed) :]
                start = len(rest) - len(rest.lstrip("\n"))
                return rest[:start] + "\n".join(rest[start:].split("\n")[:max_lines])
        return ""

    return behave


def wrong(texts: list[str], seed: int = 0) -> Behaviour:
    """A line of some text, chosen without looking at the context."""
    lines = [line.strip() for text in texts for line in text.split("\n") if len(line.strip()) > 8]

    def behave(prefix: str, suffix: str) -> str:
        return rng.choice(lines, seed, prefix[-200:], len(prefix))

    return behave


def ngram(texts: Iterable[str], order: int = 8, max_chars: int = 60) -> Behaviour:
    """Continues with the character that followed the last `order` characters most recently in `texts`."""
    following: dict[str, str] = {}
    for text in texts:
        for index in range(order, len(text)):
            following[text[index - order : index]] = text[index]

    def behave(prefix: str, suffix: str) -> str:
        context, out = prefix[-order:], ""
        while len(out) < max_chars and (char := following.get(context)) and not (out and char == "\n"):
            out += char
            context = context[1:] + char
        return out

    return behave


def drive(developer: Developer, behaviour: Behaviour) -> tuple[Tally, list[Ask], list[Truth]]:
    """One developer's whole work answered in place, without a network."""
    flow, asks, truths = developer.run(), list[Ask](), list[Truth]()
    answer: str | None = None
    while True:
        try:
            step = flow.send(answer)
        except StopIteration as stop:
            tally: Tally = stop.value
            return tally, asks, truths
        answer = None
        if isinstance(step, Ask):
            asks.append(step)
            answer = behaviour(step.prefix, step.suffix)
        else:
            truths.append(step)


@dataclass
class Double:
    """A running server: its address and what it logged (`schema.REQUEST` rows, in the order of ends)."""

    behaviour: Behaviour
    delay_s: float
    """Real seconds before it answers."""
    fail_first: int = 0
    """Answer status 503 to this many requests first."""
    url: str = ""
    records: list[dict[str, Any]] = field(default_factory=list)

    async def complete(self, request: web.Request) -> web.Response:
        """`POST /v1/completions`."""
        if self.fail_first > 0:
            self.fail_first -= 1
            return web.Response(status=503, text="busy")
        body = orjson.loads(await request.read())
        record = _record(request, body, len(self.records))
        self.records.append(record)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)  # a closed connection cancels this handler here
        text = self.behaviour(body["prompt"], body["suffix"])
        record |= {"proposal": text, "delivered": True, "latency_ms": 1000 * self.delay_s}
        reply = {
            "id": record["request_id"],
            "object": "text_completion",
            "created": 0,
            "model": record["model"],
            "choices": [{"index": 0, "text": text, "finish_reason": "stop"}],
        }
        return web.Response(body=orjson.dumps(reply), content_type="application/json")


@contextmanager
def serving(behaviour: Behaviour, *, delay_s: float = 0.0, fail_first: int = 0) -> Iterator[Double]:
    """A server on a free loopback port, in a thread of its own, until the block ends."""
    double = Double(behaviour, delay_s, fail_first)
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def main() -> None:
        app = web.Application(client_max_size=16 * 1024**2)
        app.router.add_post("/v1/completions", double.complete)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        double.url = f"http://{host}:{port}"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    try:
        if not ready.wait(timeout=10):
            raise RuntimeError("the test server did not start within 10 s")
        yield double
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10)
        loop.close()


def _record(request: web.Request, body: dict[str, Any], number: int) -> dict[str, Any]:
    head = request.headers
    return schema.REQUEST_DEFAULTS | {
        "request_id": f"cmpl-{number}",
        "ts_ms": int(head["X-Echo-Ts-Ms"]),
        "user": head["X-Echo-User"],
        "session": head["X-Echo-Session"],
        "file": head["X-Echo-File"],
        "language": head["X-Echo-Language"],
        "prefix": body["prompt"],
        "suffix": body["suffix"],
        "prefix_complete": head.get("X-Echo-Prefix-Complete") != "false",
        "suffix_complete": head.get("X-Echo-Suffix-Complete") != "false",
        "delivered": False,
        "model": body.get("model"),
        "arm": head.get("X-Echo-Arm"),
        "client": head.get("User-Agent"),
    }
