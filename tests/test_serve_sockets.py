"""Clients that are slow, rude or gone, with a real server and raw sockets: the others are answered."""

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from tests import gateways, tiny
from tests.gateways import Engine, Service
from tests.test_guard import connected, head, reply

PROMPT = "def add(first, second):\n    return "
BODY = json.dumps({"prompt": PROMPT, "suffix": "\n"}).encode()
POST = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
PATHS = ("/v1/completions", "/v1/fim/completions", "/infill", "/v1/events", "/v1/echo/events")


@dataclass
class Running:
    service: Service
    port: int

    def request(self, *more: str, path: str = "/v1/completions", length: int | None = len(BODY)) -> bytes:
        return head(self.port, length, *more, path=path)

    def answers(self) -> None:
        with connected(self.port) as client:
            client.sendall(self.request() + BODY)
            status, _, body = reply(client)
        assert (200, "first + second") == (status, json.loads(body)["choices"][0]["text"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("sockets"))


@pytest.fixture(params=["httptools", "h11"])
def running(model: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    with gateways.service(model, tmp_path, Engine(delay_s=0.02), body_timeout_s=0.3) as service:
        config = uvicorn.Config(
            service.app, http=request.param, log_level="critical", lifespan="on", ws="none"
        )
        server = uvicorn.Server(config)
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(256)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        made = Running(service, listening.getsockname()[1])
        yield made
        made.answers()
        server.should_exit = True
        thread.join(30)
        listening.close()
        assert not thread.is_alive()


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_does_not_come_is_refused_in_the_path_s_dialect(running: Running, path: str) -> None:
    with connected(running.port) as client:
        client.sendall(running.request(path=path) + BODY[:10])
        status, _, body = reply(client)
    assert 408 == status
    assert body == b"" if path == "/v1/events" else json.loads(body)
    assert [] == running.service.records()


def test_many_who_never_finish_their_headers_keep_nobody_waiting(running: Running) -> None:
    slow = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(100)]
    for number, client in enumerate(slow):
        client.sendall(running.request()[: 5 + number])
    running.answers()
    for client in slow:
        client.close()


def test_who_goes_in_the_middle_of_a_body_has_asked_nothing(running: Running) -> None:
    for part in (BODY[:1], BODY[:-1]):
        with connected(running.port) as client:
            client.sendall(running.request() + part)
            client.shutdown(socket.SHUT_WR)
            assert b"" == client.recv(1000)
    running.answers()
    assert 1 == len(running.service.records())


def test_who_closes_after_the_body_is_logged_as_not_delivered_or_as_answered(running: Running) -> None:
    for _ in range(5):
        with connected(running.port) as client:
            client.sendall(running.request() + BODY)
            client.shutdown(socket.SHUT_WR)
            said = client.recv(100_000)
        assert said == b"" or b"first + second" in said
    running.answers()
    records = running.service.records()
    assert all(record["prefix"] == PROMPT for record in records)
    assert all(record["delivered"] == (record["proposal"] is not None) for record in records)


def test_connections_that_are_reset(running: Running) -> None:
    for bytes_sent in (0, 10, len(running.request()), len(running.request()) + 5, 10_000):
        with connected(running.port) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall((running.request() + BODY)[:bytes_sent])
    running.answers()


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 5000,
        b"GET\r\n\r\n",
        b"POST /v1/completions HTTP/9.9\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n"
        b"ffffffffffffffff\r\nx",
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /v1/completions HTTP/1.1\r\n: empty\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"GET http://evil.example.com/v1/models HTTP/1.1\r\nHost: evil.example.com\r\n\r\n",
        b"GET /u/%zz/s/%/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/models?\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http_or_hardly_any(running: Running, raw: bytes) -> None:
    with connected(running.port) as client:
        said = b""
        # The server may have hung up before all was sent.
        with contextlib.suppress(OSError):
            client.sendall(raw)
            client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            said = client.recv(100_000)
    # Nothing, or a refusal; of what is well-formed an answer.
    assert not said or said.split()[1][:1] in (b"2", b"4"), said
    running.answers()


def test_several_requests_at_once_on_one_connection(running: Running) -> None:
    with connected(running.port) as client:
        client.sendall((running.request() + BODY) * 4 + running.request("Connection: close") + BODY)
        said = b""
        while part := client.recv(100_000):
            said += part
    assert 5 == said.count(b"HTTP/1.1 200") == said.count(b"first + second")
    assert 5 == len(running.service.records())
