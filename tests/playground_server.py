"""A small real HTTP service behind the playground: the page, completions, events, the session's log.

Records are made and mined by the project's own functions; only the model is a table of texts.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from echo_ray.dialects import native
from echo_ray.playground import HEADERS, files
from echo_ray.serve import records
from echo_ray.serve.live import mined
from echo_ray.serve.who import NOBODY, Caller, identity

Model = Callable[[str], str]
"""The proposal for a prefix."""


def continuing(mark: str, text: str) -> Model:
    """A model that knows what follows the last `mark`: it proposes the rest of `text`."""

    def propose(prefix: str) -> str:
        begun = prefix.rpartition(mark)[2]
        return text[len(begun) :] if text.startswith(begun) else ""

    return propose


WORDS = "path.read_text()\n    return Counter(words(text))"
"""What the table knows: the end of the Python sample."""


@dataclass
class Service:
    """What the server is told and what it has seen."""

    propose: Model = field(default_factory=lambda: continuing("text = ", WORDS))
    key: str | None = None
    refusals: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    """(status, headers, message) for the next completions, first come, first refused."""
    hold: threading.Event | None = None
    """The first completion waits for it; `/test/release` sets it."""
    began: threading.Event = field(default_factory=threading.Event)
    """Set by the first completion; `/test/asked` waits for it."""
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Completion requests: headers in lower case and body."""
    events: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)

    def logged(self, session: str) -> dict[str, Any]:
        """What the session route answers."""
        mine = [record for record in self.log if record.get("session", session) == session]
        return {"records": mine[:-51:-1], "mined": mined(mine), "collect": "all"}


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    pages = files()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if address.path in pages:
                body, kind = pages[address.path]
                self.send(200, body, HEADERS | {"content-type": kind})
            elif address.path == "/v1/echo/session" and self.allowed():
                session = parse_qs(address.query)["session"][0]
                self.answer(200, service.logged(session))
            elif address.path == "/test/asked":
                assert service.began.wait(30)
                self.answer(200, {})
            elif address.path == "/test/release":
                assert service.hold is not None
                service.hold.set()
                self.answer(200, {})
            elif address.path != "/v1/echo/session":
                self.answer(404, {"error": {"message": "no such path"}})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if not self.allowed():
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            now_ms = time.time_ns() // 1_000_000
            who = identity(headers, {}, NOBODY, Caller(), "peer", now_ms)
            if self.path == "/v1/echo/events":
                found = native.events(body, who.user, now_ms)
                assert isinstance(found, list), found
                service.events += found
                service.log += [record | {"session": who.session} for record in found]
                self.answer(200, {"logged": len(found)})
                return
            service.asked.append({"headers": headers, "body": body})
            service.began.set()
            if service.refusals:
                status, more, message = service.refusals.pop(0)
                self.answer(status, {"error": {"message": message}}, more)
                return
            if service.hold is not None and len(service.asked) == 1:
                assert service.hold.wait(30)
            number = len(service.asked)
            proposal = service.propose(body["prompt"])
            service.log.append(
                records.request_record(
                    who, request_id=f"cmpl-{number}", ts_ms=now_ms, prefix=body["prompt"],
                    suffix=body["suffix"], delivered=True, proposal=proposal, model="echo-7b-3",
                    arm="candidate", latency_ms=12.5,
                ).record
            )  # fmt: skip
            reply = {"id": f"cmpl-{number}", "choices": [{"index": 0, "text": proposal}]}
            self.answer(200, reply, {"x-echo-arm": "candidate", "x-echo-model": "echo-7b-3"})

        def allowed(self) -> bool:
            given = self.headers.get("authorization")
            if service.key is None or given == f"Bearer {service.key}":
                return True
            self.answer(401, {"error": {"message": "a key is needed"}})
            return False

        def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            kind = {"content-type": "application/json"}
            self.send(status, json.dumps(body).encode(), (headers or {}) | kind)

        def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            try:
                self.send_response(status)
                for name, value in (headers | {"content-length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            return

    return Handler


@contextmanager
def serving(service: Service) -> Iterator[Service]:
    """Serve on a free local port; `service.url` is the page."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(service))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
