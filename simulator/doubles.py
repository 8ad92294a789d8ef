"""A small real completion server on loopback over any engine, and a driver without a network.

`serving` is for tests and for measuring the simulator alone: it speaks the same HTTP as the gateway and
keeps what a gateway would log, one row per request in the production schema, aborted ones with `delivered`
false. Over HTTP an engine sees what was sent and no intent; `Remembering` gives it back to the oracle's
family from asks that were seen before. Not covered: the gateway's streaming, arms and refusals.
"""

import asyncio
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import orjson
from aiohttp import web

from echo_ray import schema
from echo_ray.schema import Kind
from simulator.engines import Engine
from simulator.steps import Answer, Ask, Report, Withdrawal
from simulator.truth import Tally, Truth

Step = Ask | Report | Withdrawal | Truth
_UNANSWERED_S = 3_600.0  # longer than any client waits


class Works(Protocol):
    """A developer: yields steps, is sent an answer after each ask, and returns a tally."""

    def run(self) -> Generator[Step, Answer | None, Tally]:
        """The whole work."""


class Driven(NamedTuple):
    """What one developer did, in order."""

    tally: Tally
    asks: list[Ask]
    truths: list[Truth]
    reports: list[Report | Withdrawal]


def drive(developer: Works, engine: Engine, shadow: Engine | None = None) -> Driven:
    """One developer's whole work answered in place; cancelled asks get no text, as over a network, and are
    not shown to the shadow.
    """
    flow = developer.run()
    asks, truths, reports = list[Ask](), list[Truth](), list[Report | Withdrawal]()
    answer: Answer | None = None
    while True:
        try:
            step = flow.send(answer)
        except StopIteration as stop:
            tally: Tally = stop.value
            return Driven(tally, asks, truths, reports)
        answer = None
        if isinstance(step, Ask):
            asks.append(step)
            answer = Answer(None if step.cancelled else engine.complete(step), model=engine.version)
            if shadow is not None and not step.cancelled:
                answer = replace(answer, shadow=Answer(shadow.complete(step), model=shadow.version))
        elif isinstance(step, Truth):
            truths.append(step)
        else:
            reports.append(step)


class Remembering:
    """`engine` behind HTTP with the intents of `asks`, for instance those of `drive` with the same engine.

    An ask is known by its user, prefix and suffix; one that was never seen keeps its empty intent.
    """

    def __init__(self, engine: Engine, asks: Iterable[Ask]) -> None:
        self.name, self.version = engine.name, engine.version
        self._engine = engine
        self._intents = {(ask.user, ask.prefix, ask.suffix): ask.intent for ask in asks}

    def complete(self, ask: Ask) -> str | None:
        """The engine's answer."""
        intent = self._intents.get((ask.user, ask.prefix, ask.suffix), ask.intent)
        return self._engine.complete(replace(ask, intent=intent))


@dataclass
class Double:
    """A running server: its address and what it logged, in the order of arrival."""

    engine: Engine
    delay_s: float
    """Real seconds before it answers."""
    fail_first: int = 0
    """Answer status 503 to this many requests first."""
    url: str = ""
    records: list[dict[str, Any]] = field(default_factory=list)
    """`schema.REQUEST` rows."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """Lifecycle events as they were posted."""

    async def complete(self, request: web.Request) -> web.Response:
        """`POST /v1/completions`."""
        if self.fail_first > 0:
            self.fail_first -= 1
            return web.Response(status=503, text="busy")
        body = orjson.loads(await request.read())
        record = _record(request, body, len(self.records))
        record["model"] = self.engine.version
        self.records.append(record)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)  # a closed connection cancels this handler here
        text = self.engine.complete(_ask(record))
        if text is None:
            await asyncio.sleep(_UNANSWERED_S)
            return web.Response(status=504)
        record |= {"proposal": text, "delivered": True, "latency_ms": 1000 * self.delay_s}
        reply = {
            "id": record["request_id"],
            "object": "text_completion",
            "created": 0,
            "model": record["model"],
            "choices": [{"index": 0, "text": text, "finish_reason": "stop"}],
        }
        return web.Response(body=orjson.dumps(reply), content_type="application/json")

    async def told(self, request: web.Request) -> web.Response:
        """`POST /v1/echo/events`: one event, a list, or `{"events": [...]}`."""
        body = orjson.loads(await request.read())
        events = body.get("events", [body]) if isinstance(body, dict) else body
        self.events += events
        return web.Response(body=orjson.dumps({"logged": len(events)}), content_type="application/json")


@contextmanager
def serving(engine: Engine, *, delay_s: float = 0.0, fail_first: int = 0) -> Iterator[Double]:
    """A server on a free loopback port, in a thread of its own, until the block ends."""
    double = Double(engine, delay_s, fail_first)
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def main() -> None:
        app = web.Application(client_max_size=16 * 1024**2)
        app.router.add_post("/v1/completions", double.complete)
        app.router.add_post("/v1/echo/events", double.told)
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
        "arm": head.get("X-Echo-Arm"),
        "client": head.get("User-Agent"),
    }


def _ask(record: dict[str, Any]) -> Ask:
    """What an engine behind HTTP knows of a request."""
    return Ask(
        request_id=record["request_id"],
        user=record["user"],
        session=record["session"],
        file=record["file"],
        language=record["language"],
        prefix=record["prefix"],
        suffix=record["suffix"],
        prefix_complete=record["prefix_complete"],
        suffix_complete=record["suffix_complete"],
        ts_ms=record["ts_ms"],
        kind=Kind(record["kind"]),
        client=record["client"] or "",
        cancelled=False,
        latency_ms=0.0,
        intent="",
    )
