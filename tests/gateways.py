"""A whole gateway in this process with an engine of our own in place of vLLM, asked over ASGI."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import uvicorn

from echo_ray.access.keys import KeyRing
from echo_ray.errors import ServeError
from echo_ray.log.segment import SegmentWriter
from echo_ray.privacy.config import PrivacyConfig
from echo_ray.serve.app import front
from echo_ray.serve.config import ServeConfig
from echo_ray.serve.control import Control
from echo_ray.serve.engine import EngineSettings
from echo_ray.serve.gateway import Gateway
from echo_ray.serve.lanes import Plan, lane
from echo_ray.serve.proposals import Answer, Choice, Prompt
from echo_ray.serve.records import Preparing

GOOD = Answer((Choice("first + second\n", "stop"),), 10, 4, 0)
AS_SENT = PrivacyConfig(redact=False, personal=False, pseudonyms=False)


class Engine:
    """Answers every proposal with `result` after `delay_s`; remembers what it was asked."""

    lines = 1

    def __init__(self, result: Any = GOOD, delay_s: float = 0.0) -> None:
        self.result, self.delay_s, self.cancelled = result, delay_s, 0
        self.asked: list[Any] = []

    async def propose(self, prompt: Prompt, session: str) -> Answer:
        self.asked.append(prompt)
        try:
            return await self.check_health()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def check_health(self) -> Any:
        await asyncio.sleep(self.delay_s)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def close(self) -> None:
        """Nothing to close."""


@dataclass
class Response:
    """One reply."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Service:
    """A gateway, its routes, and its log."""

    gateway: Gateway
    app: Any
    log: Path
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)

    async def ask(
        self,
        path: str,
        body: Any = None,
        headers: Mapping[str, str | bytes] | None = None,
        *,
        method: str | None = None,
        leave_after_s: float | None = None,
    ) -> Response:
        """One request to a percent-encoded path; with `leave_after_s` the client hangs up then."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        plain, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method or ("GET" if body is None else "POST"),
            "path": unquote(plain),
            "raw_path": plain.encode(),
            "query_string": query.encode(),
            "headers": [(b"host", b"localhost")]
            + [
                (name.encode(), value if isinstance(value, bytes) else value.encode())
                for name, value in (headers or {}).items()
            ],
            "client": ("1.2.3.4", 5),
            "scheme": "http",
            "server": ("localhost", 80),
        }
        messages = [{"type": "http.request", "body": raw, "more_body": False}]
        found, done = Response(), asyncio.Event()

        async def receive() -> Any:
            if messages:
                return messages.pop(0)
            if leave_after_s is None:
                await done.wait()
            else:
                await asyncio.sleep(leave_after_s)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                found.status = message["status"]
                found.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                found.body += message.get("body", b"")
                if not message.get("more_body"):
                    done.set()

        await self.app(scope, receive, send)
        return found

    def records(self) -> list[dict[str, Any]]:
        """What is on disk of all that was asked so far."""
        self.gateway.writer.flush()
        lines = [line for path in self.log.glob("*.jsonl") for line in path.read_bytes().splitlines()]
        return [json.loads(line) for line in lines]


@contextlib.contextmanager
def listening(service: Service) -> Iterator[str]:
    """Address of `service` behind a real HTTP server."""
    server = uvicorn.Server(uvicorn.Config(service.app, log_level="critical", lifespan="off", ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def service(
    model: Path,
    log: Path,
    engine: Engine,
    privacy: PrivacyConfig = AS_SENT,
    broken: bool = False,
    isolate: bool = False,
    loaded: threading.Event | None = None,
    **changes: Any,
) -> Iterator[Service]:
    """A service of one arm `base` with version `m-1`; further versions share `engine` once they are `loaded`,
    or do not start when they are `broken`.
    """
    config = ServeConfig(
        **{"log_dir": log, "model": model, "flush_ms": 1, "context_tokens": 64, "cache_s": 0} | changes,
        privacy=privacy,
    )
    settings = EngineSettings(
        model=model, version="m-1", max_model_len=112, max_concurrent=1, threads=1,
        kv_cache_bytes=1, gpu=0, gpu_memory_share=0,
    )  # fmt: skip
    preparing = Preparing(config.privacy, b"k" * 32)
    plan = Plan({"base": "m-1"}, {"base": 1.0}, models={"m-1": str(model)})
    with SegmentWriter(log, config.flush_ms, prepare=preparing, isolate=isolate) as writer:
        keys = KeyRing(config.keys_file) if config.keys_file else None
        gateway = Gateway(config, plan, {"m-1": lane(settings, engine)}, writer, preparing, keys)
        made = Service(gateway, None, log)

        def start(settings: EngineSettings) -> Engine:
            made.started.append(settings.version)
            if loaded is not None:
                assert loaded.wait(20)
            if broken:
                raise ServeError(f"the engine of {settings.version} could not be started")
            return engine

        made.app = front(gateway, Control(gateway, settings, start, made.stopped.append), "cpu")
        yield made
