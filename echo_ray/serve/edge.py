"""One request id on every response: the gateway's, which is the id in the experience log.

Ray Serve's HTTP proxy adds an `x-request-id` of its own to whatever the gateway answers, and client libraries
join two headers of one name with a comma: what they then report is in no log. The proxy calls `middlewares`
when it starts, by the environment variable of which `cluster` sets the value. Not covered: a cluster on which
Serve ran before us.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.middleware import Middleware

_NAME = b"x-request-id"

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class OneRequestId:
    """ASGI middleware that passes on the first `x-request-id` of a response alone."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Answer one request."""

        async def sent(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _first_only(message.get("headers", ()))}
            await send(message)

        await self._app(scope, receive, sent)


def middlewares() -> list[Middleware]:
    """What Ray Serve's proxy puts around its application."""
    return [Middleware(OneRequestId)]


def _first_only(headers: Any) -> list[tuple[bytes, bytes]]:
    seen = False
    kept = []
    for name, value in headers:
        if name.lower() == _NAME:
            if seen:
                continue
            seen = True
        kept.append((name, value))
    return kept
