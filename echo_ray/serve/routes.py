"""HTTP in front of the gateway: which path speaks which dialect, and what every reply carries.

Handlers are thin: let the caller in, read the body, let the dialect parse it, ask the gateway, let the
dialect answer. Whatever goes wrong is answered in the dialect's own error shape.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from echo_ray.dialects import infill, mistral, openai, tabby
from echo_ray.dialects.asked import JSON, Answered, Asked, Refusal
from echo_ray.schema import Kind
from echo_ray.serve.gateway import Gateway
from echo_ray.serve.who import Caller, Identity, identity, routed

JSON_TYPE = "application/json"
STREAM_TYPE = "text/event-stream"


class Dialect(Protocol):
    """What a module of `dialects` offers for completion requests."""

    def parse(self, body: JSON) -> Asked | Refusal: ...
    def answer(self, asked: Asked, answered: Answered) -> JSON: ...
    def error(self, refusal: Refusal) -> tuple[bytes, str]: ...


class Completions:
    """Answers completion requests in any dialect."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, request: Request, dialect: Any, body: JSON) -> Response:
        """The reply to a request whose body has been read and decoded."""
        gateway = self._gateway
        asked = dialect.parse(body)
        if isinstance(asked, Refusal):
            return refuse(dialect, asked)
        ts_ms = time_ms(request, gateway)
        if isinstance(ts_ms, Refusal):
            return refuse(dialect, ts_ms)
        who = identify(request, asked, ts_ms)
        arm = self._forced_arm(request)
        if isinstance(arm, Refusal):
            return refuse(dialect, arm)
        found = await gateway.complete(asked, who, ts_ms=ts_ms, gone=closed(request), arm=arm)
        if isinstance(found, Refusal):
            return refuse(dialect, found)
        return reply(dialect, asked, found)

    def _forced_arm(self, request: Request) -> str | None | Refusal:
        asked = request.headers.get("x-echo-arm") if self._gateway.config.trust_client else None
        arms = self._gateway.plan.versions
        if asked is not None and asked not in arms:
            return Refusal(400, f"X-Echo-Arm must be one of {', '.join(arms)}, got {asked!r:.40}")
        return asked


def reply(dialect: Any, asked: Asked, found: Answered) -> Response:
    """An answer in the dialect's shape, streamed if that was asked for.

    The answer is complete before its first byte leaves (post-processing needs all of it), so a stream is
    one body in the stream's shape.
    """
    headers = {"x-request-id": found.request_id, "x-echo-arm": found.arm, "x-echo-model": found.model}
    if not asked.stream:
        return Response(orjson.dumps(dialect.answer(asked, found)), 200, headers, JSON_TYPE)
    events = b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in dialect.chunks(asked, found))
    return Response(
        events + b"data: [DONE]\n\n", 200, headers | {"cache-control": "no-cache"}, STREAM_TYPE
    )


def refuse(dialect: Any, refusal: Refusal) -> Response:
    """A refusal in the dialect's shape."""
    body, kind = dialect.error(refusal)
    return Response(body, refusal.status, media_type=kind or None)


def identify(request: Request, asked: Asked, ts_ms: int) -> Identity:
    """Who sent `request`."""
    caller: Caller = request.scope.get("echo.caller") or Caller()
    peer = request.client.host if request.client else "unknown"
    named = request.scope.get("echo.named", {})
    query = dict(request.query_params) | named
    return identity(request.headers, query, asked, caller, peer, ts_ms)


def time_ms(request: Request, gateway: Gateway) -> int | Refusal:
    """When the request was sent, UTC milliseconds: now, or what a trusted client says."""
    given = request.headers.get("x-echo-ts-ms") if gateway.config.trust_client else None
    if given is None:
        return time.time_ns() // 1_000_000
    if not given.isascii() or not given.isdigit() or len(given) > 14:
        return Refusal(400, f"X-Echo-Ts-Ms must be UTC milliseconds, got {given!r:.40}")
    return int(given)


async def closed(request: Request) -> None:
    """Done when the client has closed its connection; the body must have been read."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return


def decode(raw: bytes) -> JSON | Refusal:
    """The JSON value in `raw`, or why there is none."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return Refusal(400, f"the body is not valid JSON: {error}")
