"""A chat-completion endpoint that answers by rule and misbehaves on purpose, over real HTTP."""

import contextlib
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple


class Act(NamedTuple):
    """What the server does with one request."""

    text: str | None = None
    """Content of the answer; None: the number that `right` gives."""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    """Time before anything is sent."""
    raw: bytes | None = None
    """Body to send instead of a chat completion."""
    drip: float = 0.0
    """Time between single bytes of the body."""
    close: bool = False
    """Close the connection without a word."""


GOOD = Act()
Behaviour = Callable[[str, int], Act]
"""(prompt, how often it was asked before) to an act."""


def right(prompt: str, choices: int) -> int:
    """The server's own answer to a prompt, 1 to `choices`."""
    return hashlib.blake2b(prompt.encode()).digest()[0] % choices + 1


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # the default of 5 turns connections away that come together


class Server:
    """Runs while it is entered; `stop` and `start` make it die and come back at the same address."""

    def __init__(self, behave: Behaviour = lambda prompt, before: GOOD, port: int = 0) -> None:
        self.behave = behave
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.times: list[float] = []
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.most_open = 0
        self._open = 0
        self._lock = threading.Lock()
        self._port = port
        self._http: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server._serve(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._http = _Http(("127.0.0.1", self._port), Handler)
        self._port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        assert self._http is not None
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["content-length"])))
        prompt = body["messages"][-1]["content"]
        with self._lock:
            act = self.behave(prompt, self.asked[prompt])
            self.asked[prompt] += 1
            self.bodies.append(body)
            self.keys.append(request.headers["authorization"])
            self.times.append(time.monotonic())
            self._open += 1
            self.most_open = max(self.most_open, self._open)
        try:
            time.sleep(act.seconds)
        finally:
            with self._lock:
                self._open -= 1
                if act.status == 200 and not act.close and act.raw is None:
                    self.answered[prompt] += 1
        with contextlib.suppress(OSError):  # the client has gone
            self._answer(request, act, prompt, body)

    def _answer(self, request: BaseHTTPRequestHandler, act: Act, prompt: str, body: dict[str, Any]) -> None:
        if act.close:
            request.close_connection = True
            request.connection.close()
            return
        if act.raw is not None:
            raw = act.raw
        elif act.status != 200:
            raw = json.dumps({"error": {"message": "mind your step", "type": "x", "code": "y"}}).encode()
        else:
            text = act.text
            if text is None:
                number = right(prompt, choices(body))
                text = json.dumps({"answer": number}) if "response_format" in body else str(number)
            raw = json.dumps(
                {
                    "id": "x",
                    "object": "chat.completion",
                    "created": 1,
                    "model": body["model"],
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": "stop",
                            "message": {"role": "assistant", "content": text},
                        }
                    ],
                    "usage": {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102},
                }
            ).encode()
        request.send_response(act.status)
        for name, value in (("content-type", "application/json"), *act.headers):
            request.send_header(name, value)
        request.send_header("content-length", str(len(raw)))
        request.end_headers()
        for part in (raw[n : n + 1] for n in range(len(raw))) if act.drip else (raw,):
            request.wfile.write(part)
            time.sleep(act.drip)


def choices(body: dict[str, Any]) -> int:
    """How many answers a request offers."""
    if "response_format" in body:
        schema = body["response_format"]["json_schema"]["schema"]
        return len(schema["properties"]["answer"]["enum"])
    if "structured_outputs" in body:
        return len(body["structured_outputs"]["choice"])
    return 3
