"""What stands before every route: plain ASGI, so that nothing is buffered but the request's body.

In order, for each HTTP request: its `Host` (DNS rebinding), its `Origin` (other web sites), preflights (CORS
is off), its body by size, time and depth of JSON. A refusal is rendered in the dialect of the path. What
passes reaches the app with its body in one message, and with everything that comes after (`http.disconnect`)
as it comes. Every response gets security headers and a request id where the app set none; `scope["state"]`
holds `trace_id`, of the client's W3C `traceparent` or a new one.

Wrong content types are tolerated: curl says that everything is a form, and clients are curl. That is why
`Origin` is checked: a web page may send a form anywhere.

A client that goes away in the middle of its body has asked nothing: its request ends here, without a word.
Not covered: slow headers and the number of connections (the server's settings), compressed bodies (refused),
web sockets (passed on).
"""

import asyncio
import ipaddress
import re
import uuid
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import orjson

from echo_ray.dialects.asked import Refusal

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Flags: TypeAlias = npt.NDArray[np.bool_]
Headers: TypeAlias = list[tuple[bytes, bytes]]
Render: TypeAlias = Callable[[str, Refusal], tuple[bytes, str]]
"""(path, refusal) -> (body, content type)."""

SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""Headers of every response; one that the app sets itself stays."""

LINGER_S = 2.0
"""A refused body is read and thrown away for this time at most (seconds): a client that is still sending when
the connection closes never sees why."""

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_QUOTE, _BACKSLASH = b'"\\'
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a request may be."""

    max_body_bytes: int = 4 << 20
    body_timeout_s: float = 10.0
    """From the headers to the body's last byte."""
    max_depth: int = 64
    """Arrays and objects inside each other (count)."""
    hosts: frozenset[str] | None = None
    """Names that `Host` may have (`allowed_hosts`); None allows all."""


def allowed_hosts(listen: str, names: Iterable[str] = ()) -> frozenset[str] | None:
    """Names that `Host` may have for a service that listens on `listen`: on loopback its usual ones and
    `names`, elsewhere the same where `names` are given, and any where they are not.
    """
    given = {_host(name.encode()) for name in names}
    if not given and not _is_loopback(listen):
        return None
    return frozenset({"localhost", "127.0.0.1", "[::1]", _host(listen.encode()), *given} - {""})


class Guard:
    """ASGI middleware around `app`. `refused` is told the reason of every refusal (a short word)."""

    def __init__(
        self,
        app: App,
        bounds: Bounds,
        render: Render,
        refused: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._app, self._bounds, self._render, self._refused = app, bounds, render, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request, or whatever else the server says."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: Headers = [(name.lower(), value) for name, value in scope["headers"]]
        trace_id = _trace_id(_one(headers, b"traceparent"))
        scope = {**scope, "state": {**scope.get("state", {}), "trace_id": trace_id}}
        send = _dressed(send, trace_id)
        found = _unwanted(scope["method"], headers, self._bounds)
        if found is not None:
            await self._refuse(scope["path"], *found, receive, send)
            return
        body = await _body(receive, self._bounds)
        if isinstance(body, tuple):
            await self._refuse(scope["path"], *body, receive, send)
        elif body is not None and is_deeper(body, self._bounds.max_depth):
            told = f"the body is nested deeper than {self._bounds.max_depth} levels"
            await self._refuse(scope["path"], "depth", Refusal(400, told), None, send)
        elif body is not None:
            await self._app(scope, _replayed(body, receive), send)

    async def _refuse(
        self, path: str, reason: str, refusal: Refusal, receive: Receive | None, send: Send
    ) -> None:
        self._refused(reason)
        body, content_type = self._render(path, refusal)
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            # `receive` is given where some of the body may be on its way: what follows it is no request.
            *([(b"connection", b"close")] if receive else []),
        ]
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": receive is not None})
        if receive is not None:
            await _drained(receive)
            await send({"type": "http.response.body", "body": b""})


def is_deeper(raw: bytes, limit: int) -> bool:
    """Whether arrays and objects are more than `limit` levels deep in a body. Code is full of brackets, so a
    body that can be parsed is: that costs a tenth of `depth`.
    """
    if raw.count(b"[") + raw.count(b"{") <= limit:
        return False
    try:
        level: list[Any] = [orjson.loads(raw)]
    except orjson.JSONDecodeError:
        return depth(raw) > limit
    for _ in range(limit):
        level = [inner for item in level for inner in _inner(item)]
    return any(isinstance(item, dict | list) for item in level)


def _inner(item: Any) -> Iterable[Any]:
    return item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()


def depth(raw: bytes) -> int:
    """How deep arrays and objects are inside each other in JSON text. Of text that is no JSON, at least what
    stands before its first fault counts, which is all that a parser sees.

    Arithmetic on the places of quotes and brackets, so that no body costs more than its length says.
    """
    data = np.frombuffer(raw, np.uint8)
    steps = _STEPS[data]
    if not steps.any():
        return 0
    quotes = np.flatnonzero(data == _QUOTE)
    quoted = np.zeros(data.size, np.uint8)
    quoted[quotes[~_escaped(data, quotes)]] = 1
    steps[np.cumsum(quoted, dtype=np.uint8) % 2 == 1] = 0  # parity survives the overflow of a byte
    level = np.cumsum(steps, dtype=np.int32)
    below = np.flatnonzero(level < 0)  # more closed than opened: a parser stops there
    return int(level[: below[0] if below.size else None].max(initial=0))


def _escaped(data: npt.NDArray[np.uint8], quotes: npt.NDArray[np.intp]) -> Flags:
    """Whether an odd number of backslashes stands before each of the `quotes` (offsets in `data`)."""
    slashes = np.flatnonzero(data == _BACKSLASH)
    if not slashes.size:
        return np.zeros(quotes.size, bool)
    begins = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)  # of runs of backslashes
    last = np.searchsorted(slashes, quotes) - 1
    near = (last >= 0) & (slashes[last] == quotes - 1)
    start = slashes[begins[np.searchsorted(begins, np.maximum(last, 0), side="right") - 1]]
    odd: Flags = near & ((quotes - start) % 2 == 1)
    return odd


def _unwanted(method: str, headers: Headers, bounds: Bounds) -> tuple[str, Refusal] | None:
    """(reason, refusal) for what the headers alone say."""
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1:
        return "host", Refusal(400, "the request has more than one Host header")
    host = _host(hosts[0]) if hosts else ""
    if bounds.hosts is not None and hosts and host not in bounds.hosts:
        told = f"the service does not answer for the host {host!r:.60}: add it to serve.hosts"
        return "host", Refusal(403, told, "permission_error")
    if _is_foreign(headers, host):
        return "origin", Refusal(403, "requests from other web sites are not answered", "permission_error")
    if method == "OPTIONS" and _one(headers, b"access-control-request-method") is not None:
        return "cors", Refusal(403, "cross-origin requests are not answered", "permission_error")
    coding = _one(headers, b"content-encoding")
    if coding not in (None, b"", b"identity"):
        return "coding", Refusal(415, f"the body must not be compressed, got {coding!r:.40}")
    length = _one(headers, b"content-length") or b"0"
    if not length.isdigit() or len(length) > 18:
        return "length", Refusal(400, f"Content-Length must be a number of bytes, got {length!r:.40}")
    if int(length) > bounds.max_body_bytes:
        return _too_large(bounds)
    return None


def _too_large(bounds: Bounds) -> tuple[str, Refusal]:
    told = f"the body is larger than {bounds.max_body_bytes / (1 << 20):g} MiB (serve.max_body_mb)"
    return "size", Refusal(413, told)


async def _body(receive: Receive, bounds: Bounds) -> bytes | tuple[str, Refusal] | None:
    """The whole body, why there is none, or None when the client has gone."""
    parts: list[bytes] = []
    left = bounds.max_body_bytes
    try:
        async with asyncio.timeout(bounds.body_timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                part = message.get("body", b"")
                left -= len(part)
                if left < 0:
                    return _too_large(bounds)
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        told = f"the body did not arrive within {bounds.body_timeout_s:g} s"
        return "slow", Refusal(408, told, "timeout")


async def _drained(receive: Receive) -> None:
    try:
        async with asyncio.timeout(LINGER_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _dressed(send: Send, trace_id: str) -> Send:
    """`send` that adds the headers of every response, and takes CORS headers away."""

    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [
                (name, value)
                for name, value in message.get("headers", ())
                if not name.lower().startswith(b"access-control-")
            ]
            there = {name.lower() for name, _ in own}
            more = [*SECURITY, (b"x-trace-id", trace_id.encode())]
            message = {**message, "headers": [*own, *(item for item in more if item[0] not in there)]}
        await send(message)

    return dressed


def _is_foreign(headers: Headers, host: str) -> bool:
    """Whether a browser sends this for a page of another site. Programs send neither header."""
    if _one(headers, b"sec-fetch-site") in (b"cross-site", b"same-site"):
        return True
    origin = _one(headers, b"origin")
    if origin is None:
        return False
    try:
        parts = urlsplit(origin.decode("latin-1"))
    except ValueError:
        return True
    # `null` is what pages without an origin of their own send. Editors' own schemes are no web sites.
    if parts.scheme not in ("http", "https"):
        return origin.strip().lower() == b"null"
    return _host(parts.netloc.encode("latin-1")) != host


def _one(headers: Headers, name: bytes) -> bytes | None:
    return next((value.strip() for key, value in headers if key == name), None)


def _host(value: bytes) -> str:
    """Name in a `Host` header, without port and final dot; IPv6 addresses in brackets."""
    text = value.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    if text.count(":") > 1:
        return f"[{text}]"
    return text.partition(":")[0].removesuffix(".")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def _trace_id(traceparent: bytes | None) -> str:
    found = _TRACEPARENT.fullmatch((traceparent or b"").decode("latin-1"))
    return found.group(1) if found else uuid.uuid4().hex
