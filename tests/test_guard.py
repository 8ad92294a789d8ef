"""What stands before every route, with a real server and raw sockets."""

import asyncio
import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import uvicorn

from echo_ray.dialects.asked import Refusal
from echo_ray.serve.guard import Bounds, Guard, allowed_hosts

REFUSED: Counter[str] = Counter()
SEEN: list[bytes] = []
GONE = threading.Event()
STARTED = threading.Event()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it got; `/wait` waits for the client to go."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    message = await receive()
    assert not message.get("more_body")
    SEEN.append(message["body"])
    if scope["path"] == "/wait":
        STARTED.set()
        message = await receive()
        if message["type"] == "http.disconnect":
            GONE.set()
        return
    told = {"bytes": len(message["body"]), "trace": scope["state"]["trace_id"]}
    headers = [(b"access-control-allow-origin", b"*"), (b"content-type", b"application/json")]
    if scope["path"] == "/page":
        headers.append((b"Content-Security-Policy", b"default-src 'self'"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps(told)})


def render(path: str, refusal: Refusal) -> tuple[bytes, str]:
    return (b"", "text/plain") if path == "/tabby" else (refusal.message.encode(), "text/x-told")


BOUNDS = Bounds(
    max_body_bytes=1 << 20,
    body_timeout_s=0.4,
    max_depth=20,
    hosts=allowed_hosts("127.0.0.1", ["echo.example.com"]),
)


@pytest.fixture(scope="module", params=["httptools", "h11"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    guarded = Guard(app, BOUNDS, render, lambda reason: REFUSED.update([reason]))
    config = uvicorn.Config(guarded, http=request.param, log_level="critical", lifespan="on", ws="none")  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(30)
    listening.close()
    assert not thread.is_alive()


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        yield client


def head(port: int, length: int | None, *more: str, path: str = "/", method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *more]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def reply(client: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (the first of a name) and body of one response."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        part = client.recv(65536)
        assert part, raw
        raw += part
    start, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = start.decode().split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers.setdefault(name.lower(), value)
    while len(body) < int(headers.get("content-length", 0)):
        body += client.recv(65536)
    if headers.get("transfer-encoding") == "chunked":
        while not body.endswith(b"0\r\n\r\n"):
            body += client.recv(65536)
        body = body.partition(b"\r\n")[2].rpartition(b"\r\n0\r\n")[0]
    return int(first.split()[1]), headers, body


def asked(port: int, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    with connected(port) as client:
        client.sendall(raw)
        return reply(client)


def test_bodies_arrive_whole_in_any_form(port: int) -> None:
    body = orjson.dumps({"prompt": "x" * 300_000})
    status, _, told = asked(port, head(port, len(body)) + body)
    assert (200, len(body)) == (status, orjson.loads(told)["bytes"])
    assert body == SEEN[-1]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:9], body[9:]))
    assert 200 == asked(port, head(port, None, "Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n")[0]
    assert body == SEEN[-1]
    form = "Content-Type: application/x-www-form-urlencoded"  # what curl -d says
    assert 200 == asked(port, head(port, 2, form) + b"{}")[0]
    assert 200 == asked(port, head(port, None, method="GET"))[0]
    assert 200 == asked(port, head(port, 9) + b"not json[")[0]  # the app says what is wrong with it


def test_a_body_that_is_too_large_is_refused_whatever_its_headers_say(port: int) -> None:
    before = REFUSED["size"]
    large = b"x" * (10 << 20)
    status, headers, told = asked(port, head(port, len(large)) + large)
    assert (413, "text/x-told", "close") == (status, headers["content-type"], headers["connection"])
    assert b"the body is larger than 1 MiB (serve.max_body_mb)" == told
    chunk = b"%x\r\n%b\r\n" % (len(large), large)
    assert 413 == asked(port, head(port, None, "Transfer-Encoding: chunked") + chunk + b"0\r\n\r\n")[0]
    exact = b"x" * (1 << 20)
    assert 200 == asked(port, head(port, len(exact)) + exact)[0]
    assert 413 == asked(port, head(port, 10**17, "Expect: 100-continue"))[0]
    assert 3 == REFUSED["size"] - before


def test_a_slow_body_is_refused_in_time(port: int) -> None:
    status, headers, told = asked(port, head(port, 100) + b"{")
    assert (408, "close", b"the body did not arrive within 0.4 s") == (status, headers["connection"], told)
    assert (408, b"") == asked(port, head(port, 100, path="/tabby"))[::2]


def test_deep_json_is_refused_before_it_is_parsed(port: int) -> None:
    deep = b'{"a":' * 21
    told = b"the body is nested deeper than 20 levels"
    assert (400, told) == asked(port, head(port, len(deep)) + deep)[::2]
    text = orjson.dumps({"prompt": '[{"' * 1000})
    assert 200 == asked(port, head(port, len(text)) + text)[0]
    # The connection stays open for the next request.
    with connected(port) as client:
        for _ in range(2):
            client.sendall(head(port, len(deep)) + deep)
            assert 400 == reply(client)[0]


def test_clients_that_go_away_are_seen_by_the_app_and_half_bodies_are_not(port: int) -> None:
    for end in (socket.SHUT_WR, socket.SHUT_RDWR):
        GONE.clear()
        STARTED.clear()
        with connected(port) as client:
            client.sendall(head(port, 2, path="/wait") + b"{}")
            assert STARTED.wait(20)
            client.shutdown(end)
            assert GONE.wait(20)
    seen = len(SEEN)
    with connected(port) as client:
        client.sendall(head(port, 100) + b"half")
        client.shutdown(socket.SHUT_WR)
        assert b"" == client.recv(100)
    assert 200 == asked(port, head(port, 2) + b"{}")[0]
    assert seen + 1 == len(SEEN)


def test_a_wrong_content_length_harms_nobody(port: int) -> None:
    with connected(port) as client:
        # Longer than told: the rest is no request, and the server may say so first.
        client.sendall(head(port, 2) + b"{}garbage\r\n\r\n")
        assert reply(client)[0] in (200, 400)
    for length in ("-1", "1e3", "99999999999999999999999", "2\r\nContent-Length: 3"):
        raw = head(port, None).replace(b"\r\n\r\n", f"\r\nContent-Length: {length}\r\n\r\n".encode())
        assert asked(port, raw)[0] in (400, 413)
    assert 200 == asked(port, head(port, 2) + b"{}")[0]


def test_every_response_has_the_security_headers_and_none_for_other_sites(port: int) -> None:
    for raw in (head(port, None, method="GET"), head(port, 99 << 20)):
        _, headers, _ = asked(port, raw)
        assert "nosniff" == headers["x-content-type-options"]
        assert "DENY" == headers["x-frame-options"]
        assert "no-referrer" == headers["referrer-policy"]
        assert "same-origin" == headers["cross-origin-resource-policy"]
        assert "no-store" == headers["cache-control"]
        assert headers["content-security-policy"].startswith("default-src 'none';")
        assert 32 == len(headers["x-trace-id"])
        assert not [name for name in headers if name.startswith("access-control-")]
    page = asked(port, head(port, None, path="/page", method="GET"))[1]
    assert "default-src 'self'" == page["content-security-policy"]


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Origin: https://evil.example"], 403),
        (["Origin: null"], 403),
        (["Sec-Fetch-Site: cross-site"], 403),
        (["Sec-Fetch-Site: same-origin"], 200),
        (["Origin: http://127.0.0.1:1234"], 200),
        (["Origin: vscode-file://vscode-app"], 200),
        (["Content-Encoding: gzip"], 415),
        (["Content-Encoding: identity"], 200),
    ],
)
def test_pages_of_other_sites_may_not_ask(port: int, lines: list[str], status: int) -> None:
    assert status == asked(port, head(port, 2, *lines) + b"{}")[0]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST.:80", 200),
        ("[::1]:8000", 200),
        ("echo.example.com", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost\r\nHost: evil.example", 400),
        ("", 403),
    ],
)
def test_names_that_a_loopback_service_answers_to(port: int, host: str, status: int) -> None:
    raw = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    assert status == asked(port, raw)[0]


def test_preflights_are_refused_and_other_options_are_the_app_s(port: int) -> None:
    preflight = head(port, None, "Access-Control-Request-Method: POST", method="OPTIONS")
    assert 403 == asked(port, preflight)[0]
    assert 200 == asked(port, head(port, None, method="OPTIONS"))[0]


def test_a_sane_traceparent_is_taken_over(port: int) -> None:
    def traced(value: str) -> bool:
        _, headers, body = asked(port, head(port, 2, f"traceparent: {value}") + b"{}")
        assert headers["x-trace-id"] == orjson.loads(body)["trace"]
        return headers["x-trace-id"] == "4bf92f3577b34da6a3ce929d0e0e4736"

    assert traced("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    assert not traced("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01")
    assert not traced("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    assert not traced("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01; x")


def test_hosts_by_address() -> None:
    assert None is allowed_hosts("0.0.0.0")
    assert None is allowed_hosts("10.1.2.3")
    assert "[::1]" in (allowed_hosts("::1") or ())
    assert "box" in (allowed_hosts("0.0.0.0", ["box:8000"]) or ())


def test_a_cancelled_request_is_cancelled_in_the_app() -> None:
    async def run() -> list[str]:
        told: list[str] = []

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            try:
                told.append("started")
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told.append("cancelled")
                raise

        async def receive() -> Any:
            return {"type": "http.request", "body": b"{}"}

        async def send(message: Any) -> None:
            told.append(message["type"])

        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        task = asyncio.create_task(Guard(slow, BOUNDS, render)(scope, receive, send))
        while not told:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return told

    assert ["started", "cancelled"] == asyncio.run(run())
