"""Who may come in, and what a request says of itself before its body is understood."""

import time
from dataclasses import replace

from starlette.requests import Request

from echo_ray.access.limits import retry_after
from echo_ray.access.tokens import authenticate
from echo_ray.dialects.asked import Asked, Refusal
from echo_ray.schema import Kind
from echo_ray.serve.config import ServeConfig
from echo_ray.serve.gateway import Gateway
from echo_ray.serve.who import Caller, Identity, identity

__all__ = ["Caller", "admit", "closed", "forced_arm", "identify", "said_kind", "time_ms"]


def admit(request: Request, gateway: Gateway, *, admin: bool = False) -> Caller | Refusal:
    """Who sends `request`, or why it is not answered: no key, a wrong one, or too many requests."""
    key = authenticate(request.headers, gateway.keys, admin)
    if isinstance(key, Refusal):
        gateway.metrics.refused(key.type)
        return key
    if gateway.limits is not None:
        wait_s = gateway.limits.wait_s(key, _peer(request))
        if wait_s > 0:
            gateway.metrics.refused("rate_limited")
            request.scope["echo.retry_after"] = retry_after(wait_s)
            return Refusal(429, f"too many requests: try again in {wait_s:.1f} s", "rate_limit_error")
    return Caller() if key is None else Caller(key.name, key.tenant, key.admin)


def identify(request: Request, asked: Asked, caller: Caller, ts_ms: int) -> Identity:
    """Whose request it is: `who.identity` with what the address says."""
    named = dict(request.query_params) | request.scope.get("echo.named", {})
    return identity(request.headers, named, asked, caller, _peer(request), ts_ms)


def time_ms(request: Request, config: ServeConfig) -> int | Refusal:
    """When the request was sent, UTC milliseconds: now, or what a trusted client says."""
    given = request.headers.get("x-echo-ts-ms") if config.trust_client else None
    if given is None:
        return time.time_ns() // 1_000_000
    if not given.isascii() or not given.isdigit() or len(given) > 14:
        return Refusal(400, f"X-Echo-Ts-Ms must be UTC milliseconds, got {given!r:.40}")
    return int(given)


def forced_arm(request: Request, gateway: Gateway) -> str | Refusal | None:
    """The arm that a trusted client asks for."""
    asked = request.headers.get("x-echo-arm") if gateway.config.trust_client else None
    arms = gateway.plan.versions
    if asked is not None and asked not in arms:
        return Refusal(400, f"X-Echo-Arm must be one of {', '.join(arms)}, got {asked!r:.40}")
    return asked


def said_kind(request: Request, asked: Asked) -> Asked:
    """`asked` with the kind that an editor of ours names in `X-Echo-Kind`: `automatic` or `manual`."""
    kind = request.headers.get("x-echo-kind")
    if asked.kind is Kind.AUTOMATIC and kind == Kind.MANUAL.value:
        return replace(asked, kind=Kind.MANUAL)
    return asked


async def closed(request: Request) -> None:
    """Done when the client has closed its connection; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _peer(request: Request) -> str:
    return request.client.host if request.client else "unknown"
