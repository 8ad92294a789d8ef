"""HTTP in front of the gateway: which path speaks which dialect, and what every reply carries.

Handlers are thin: let the caller in, read the body, let the dialect parse it, ask the gateway, let the
dialect answer. Whatever goes wrong is answered in the dialect's own error shape.
"""

import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from echo_ray import playground
from echo_ray.dialects import infill, mistral, openai, tabby
from echo_ray.dialects.asked import JSON, Refusal
from echo_ray.dialects.body import decode
from echo_ray.errors import EchoError
from echo_ray.schema import Kind
from echo_ray.serve import door, openapi
from echo_ray.serve.control import Control
from echo_ray.serve.door import Caller
from echo_ray.serve.gateway import Gateway
from echo_ray.serve.intake import Intake
from echo_ray.serve.replies import json_reply, refuse, render, reply

log = logging.getLogger("ray.serve")  # reaches the replica's log file

FAILED = "the service failed at this request; its log file says where"

Handler = Callable[[Request, JSON, Caller], Awaitable[Response]]
"""Answers a request whose sender was let in and whose body was decoded (None for GET)."""


class Routes:
    """The service's paths, bound to one gateway."""

    def __init__(self, gateway: Gateway, control: Control, device: str) -> None:
        self._gateway = gateway
        self._control = control
        self._intake = Intake(gateway)
        self._device = device

    def application(self) -> Starlette:
        """All routes as one ASGI application."""
        intake, control = self._intake, self._control
        posts: dict[str, tuple[Any, Handler]] = {
            "/v1/completions": (openai, self._openai_or_tabby),
            "/v1/engines/{engine}/completions": (openai, self._openai_or_tabby),
            "/beta/completions": (openai, self._complete(openai)),
            "/v1/fim/completions": (mistral, self._complete(mistral)),
            "/infill": (infill, self._complete(infill)),
            "/v1/events": (tabby, intake.tabby_event),
            "/v1/dev-data": (openai, intake.continue_data),
            "/v1/echo/events": (openai, intake.native_events),
            "/v1/echo/snapshots": (openai, intake.snapshot),
        }
        gets: dict[str, tuple[Any, Handler]] = {
            "/v1/models": (openai, self._models),
            "/v1/health": (tabby, self._tabby_health),
            "/v1beta/server_setting": (tabby, _plain(tabby.server_setting())),
            "/v1beta/models": (tabby, self._tabby_models),
            "/v1/echo/session": (openai, intake.session),
            "/v1/echo/arms": (openai, control.show),
        }
        routes = [
            Route(path, self._guarded(*how, body=True), methods=["POST"]) for path, how in posts.items()
        ]
        routes += [Route(path, self._guarded(*how), methods=["GET"]) for path, how in gets.items()]
        routes += [
            Route("/v1/health", self._guarded(tabby, self._tabby_health), methods=["POST"]),
            Route(
                "/v1/echo/arms", self._guarded(openai, control.change, body=True, admin=True), methods=["PUT"]
            ),
            Route("/health", self._health),
            Route("/metrics", self._metrics),
            Route("/openapi.json", _document(openapi.spec())),
        ]
        routes += [Route(path, _static(*found)) for path, found in playground.files().items()]
        app = Starlette(routes=routes, exception_handlers={HTTPException: _nowhere})
        # A redirect would lose the user and session that the path began with, and most clients' bodies.
        app.router.redirect_slashes = False
        return app

    def _guarded(
        self, dialect: Any, handler: Handler, *, body: bool = False, admin: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        """`handler` behind the door; a refusal is rendered in `dialect`."""

        async def endpoint(request: Request) -> Response:
            value = decode(await request.body()) if body else None
            spoken = tabby if handler == self._openai_or_tabby and tabby.claims(value) else dialect
            try:
                caller = door.admit(request, self._gateway, admin=admin)
                if isinstance(caller, Refusal):
                    return refuse(spoken, caller, request)
                if isinstance(value, Refusal):
                    return refuse(spoken, value, request)
                return await handler(request, value, caller)
            except EchoError as error:
                return refuse(spoken, Refusal(503, str(error), "service_unavailable"), request)
            except Exception as error:  # noqa: BLE001 - a fault of ours; its message may quote the request
                where = "".join(traceback.format_tb(error.__traceback__))
                log.error("a request failed with %s:\n%s", type(error).__name__, where)
                return refuse(spoken, Refusal(500, FAILED, "server_error"), request)

        return endpoint

    async def _openai_or_tabby(self, request: Request, body: JSON, caller: Caller) -> Response:
        return await self._complete(tabby if tabby.claims(body) else openai)(request, body, caller)

    def _complete(self, dialect: Any) -> Handler:
        """The handler of completion requests in `dialect`."""
        name = dialect.__name__.rpartition(".")[2]

        async def handler(request: Request, body: JSON, caller: Caller) -> Response:
            gateway = self._gateway
            asked = dialect.parse(body)
            if isinstance(asked, Refusal):
                return refuse(dialect, asked, request)
            ts_ms = door.time_ms(request, gateway.config)
            if isinstance(ts_ms, Refusal):
                return refuse(dialect, ts_ms, request)
            arm = door.forced_arm(request, gateway)
            if isinstance(arm, Refusal):
                return refuse(dialect, arm, request)
            who = door.identify(request, asked, caller, ts_ms)
            if asked.kind is Kind.WARMUP:
                # The client only wants the server awake: no engine, no record.
                return reply(dialect, asked, gateway.silence(asked, who, ts_ms))
            asked = self._intake.classified(name, door.said_kind(request, asked), who)
            found = await gateway.complete(
                asked, who, dialect=name, ts_ms=ts_ms, gone=door.closed(request), arm=arm
            )
            if isinstance(found, Refusal):
                return refuse(dialect, found, request)
            self._intake.answered(name, asked, who, found, ts_ms)
            return reply(dialect, asked, found)

        return handler

    async def _models(self, request: Request, body: JSON, caller: Caller) -> Response:
        gateway = self._gateway
        config = gateway.config
        limit = config.context_tokens + config.max_tokens
        return json_reply(openai.models(gateway.plan.versions, gateway.created_s, limit, config.aliases))

    async def _tabby_health(self, request: Request, body: JSON, caller: Caller) -> Response:
        versions = ", ".join(self._gateway.plan.versions.values())
        return json_reply(tabby.health(versions, "cuda" if self._device == "cuda" else "cpu"))

    async def _tabby_models(self, request: Request, body: JSON, caller: Caller) -> Response:
        return json_reply(tabby.models(list(self._gateway.plan.versions.values())))

    async def _health(self, request: Request) -> Response:
        """200 when every engine answers its health check within 5 s; 503 names those that do not."""
        bad = await self._gateway.unhealthy()
        if bad:
            return refuse(
                openai, Refusal(503, f"engines not ready: {', '.join(bad)}", "service_unavailable"), request
            )
        return json_reply({"status": "ok", "arms": dict(self._gateway.plan.versions)})

    async def _metrics(self, request: Request) -> Response:
        return Response(self._gateway.rendered_metrics(), media_type="text/plain; version=0.0.4")


async def _nowhere(request: Request, error: Exception) -> Response:
    """A path or method that there is not, in the dialect that the path tells."""
    assert isinstance(error, HTTPException)
    told = (
        f"{request.method:.20} {request.url.path!r:.80} is not served here: most clients need the address "
        "with /v1; /openapi.json lists all"
    )
    body, kind = render(request.url.path, Refusal(error.status_code, told, "not_found_error"))
    return Response(body, error.status_code, error.headers, kind or None)


def _plain(body: Any) -> Handler:
    async def handler(request: Request, _: JSON, caller: Caller) -> Response:
        return json_reply(body)

    return handler


def _document(body: Any) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return json_reply(body)

    return endpoint


def _static(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return Response(content, headers=playground.HEADERS, media_type=kind)

    return endpoint
