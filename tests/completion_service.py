"""A completion service that speaks the real one's contract over real HTTP, and misbehaves on purpose."""

import json
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

PATIENCE_S = 20.0
"""A wait that takes longer fails the test."""


@dataclass(slots=True)
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: Any
    answered: bool = False
    closed: bool = False
    """The client closed the connection before it was answered."""


@dataclass(frozen=True, slots=True)
class Act:
    """What the service does with one request."""

    text: str = "a + b"
    status: int = 200
    hold: threading.Event | None = None
    """Nothing is answered before this is set, unless the client leaves."""
    raw: bytes | None = None
    """Body to send instead of the service's own."""
    lost: bool = False
    """The request is taken, but the connection closes instead of an answer."""


@dataclass
class CompletionService:
    """Runs while it is entered; `stop` and `start` make it go away and come back at the same address."""

    behave: Callable[[Received, int], Act] = lambda received, number: Act()
    """(request, how many came before it on its path) to an act."""
    received: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._port, self._changed = 0, threading.Condition()
        self._http: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> "CompletionService":
        self.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                service._serve(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self._http = Server(("127.0.0.1", self._port), Handler)
        self._port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def of(self, path: str) -> list[Received]:
        """Requests so far at a path that ends like this."""
        with self._changed:
            return [received for received in self.received if received.path.endswith(path)]

    def events(self) -> list[dict[str, Any]]:
        """All events so far that were answered with success, in the order of their arrival."""
        taken = (received.body for received in self.of("/events") if received.answered)
        return [event for body in taken for event in body.get("events", [body])]

    def wait(self, done: Callable[[], bool]) -> None:
        """Return when `done`, looked at whenever a request comes or ends."""
        with self._changed:
            assert self._changed.wait_for(done, PATIENCE_S), [received.path for received in self.received]

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length") or 0)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        received = Received(handler.path, headers, json.loads(handler.rfile.read(length)))
        with self._changed:
            number = sum(other.path == received.path for other in self.received)
            self.received.append(received)
            self._changed.notify_all()
        act = self.behave(received, number)
        if act.hold is not None and not self._held(handler, act.hold, received):
            return
        if self._http is None or act.lost:  # gone away meanwhile
            handler.close_connection = True
            return
        body = act.raw if act.raw is not None else json.dumps(self._answer(received, act, number)).encode()
        with self._changed:
            received.answered = act.status < 300
        handler.send_response(act.status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
        with self._changed:
            self._changed.notify_all()

    def _held(self, handler: BaseHTTPRequestHandler, hold: threading.Event, received: Received) -> bool:
        """Whether the client still waits when it may be answered."""
        until = time.monotonic() + PATIENCE_S
        while not hold.wait(0.01) and time.monotonic() < until:
            if select.select([handler.connection], [], [], 0)[0]:
                handler.close_connection = True
                with self._changed:
                    received.closed = True
                    self._changed.notify_all()
                return False
        return True

    def _answer(self, received: Received, act: Act, number: int) -> dict[str, Any]:
        if act.status >= 300:
            return {"error": {"message": "no", "type": "server_error", "param": None, "code": act.status}}
        if not received.path.endswith("/completions"):
            return {"logged": 1}
        return {
            "id": f"cmpl-{number}",
            "object": "text_completion",
            "created": 1,
            "model": "v1",
            "choices": [{"text": act.text, "index": 0, "logprobs": None, "finish_reason": "stop"}],
        }
