"""A service that logs what clients send and answers as they expect; conformance drivers are tried on it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Mode = Literal["good", "unauthorized", "no_choices", "no_text", "no_health", "no_setting"]
TEXT = "a + b"


@dataclass
class Stub:
    """`seen` holds every exchange: method, path, headers (lower case), body."""

    mode: Mode = "good"
    text: str = TEXT
    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)

    def at(self, path: str) -> list[dict[str, Any]]:
        """The exchanges of one path with its query."""
        return [exchange for exchange in self.seen if exchange["path"] == path]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any, bool]:
        """(status, reply, whether it is a stream) as the dialect of `path` has it."""
        number = len(self.seen)
        if self.mode == "unauthorized":
            return 401, {"error": {"message": "no such key"}}, False
        route = path.split("?")[0]
        if route == "/v1/health":
            if self.mode == "no_health":
                return 404, {}, False
            version = {"git_describe": "v0.30.0", "git_sha": "0", "build_date": "", "build_timestamp": ""}
            return 200, {"model": "echo", "device": "cuda", "version": version}, False
        if route == "/v1beta/server_setting" and self.mode != "no_setting":
            return 200, {"disable_client_side_telemetry": False}, False
        if route == "/v1/events":
            return 200, None, False
        named = {"id": f"cmpl-{number}", "created": 0, "model": "echo"}
        if route == "/v1/fim/completions":
            delta = {"role": "assistant", "content": self.text}
            return 200, named | {
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }, True  # fmt: skip
        if route in ("/v1/completions", "/beta/completions"):
            choices = [{"index": 0, "text": "" if self.mode == "no_text" else self.text}]
            if "segments" in body:
                return (
                    200,
                    {"id": named["id"], "choices": [] if self.mode == "no_choices" else choices},
                    False,
                )
            more = {"object": "text_completion", "choices": [choices[0] | {"finish_reason": "stop"}]}
            return 200, named | more, bool(body.get("stream"))
        return 404, {}, False


def _handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            raw = self._body()
            body = json.loads(raw) if raw else None
            headers = {name.lower(): value for name, value in self.headers.items()}
            stub.seen.append({"method": self.command, "path": self.path, "headers": headers, "body": body})
            status, reply, stream = stub.answer(self.command, self.path, body)
            data = b"" if reply is None else json.dumps(reply, separators=(",", ":")).encode()
            if stream:
                data = b"data: " + data + b"\n\ndata: [DONE]\n\n"
            try:
                self.send_response(status)
                self.send_header("content-type", "text/event-stream" if stream else "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        do_GET = do_POST = serve

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("content-length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def log_message(self, *_: Any) -> None:
            return

    return Handler


@contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    """Serve on a free local port; `stub.url` is its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(stub))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
