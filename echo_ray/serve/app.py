"""The gateway: HTTP in front of the arms' engines, and the experience log behind them.

Per request: resolve who asks, pick the arm, render the prompt to token ids, call one engine once,
clean the answer, reply, and append one record. The record is written in every case, also when the
client has gone (`delivered` false): cancelled requests carry most of a developer's keystrokes.
Not covered: dialects other than OpenAI's, authentication, and TLS; put a proxy in front for those.
"""

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from ray.exceptions import RayError

import echo_ray
from echo_ray.errors import ServeError
from echo_ray.log.segment import SegmentWriter
from echo_ray.prompts import FastTokenizer, Template, template_for
from echo_ray.serve import dialect, policy, records
from echo_ray.serve.arms import assign
from echo_ray.serve.config import ServeConfig
from echo_ray.serve.dialect import Completion, Refusal
from echo_ray.serve.engine import Answer, EngineSettings

log = logging.getLogger("ray.serve")  # reaches the replica's log file

api = FastAPI(openapi_url=None)
"""Routes of the gateway."""


@dataclass(frozen=True, slots=True)
class _Lane:
    """All that one arm needs to answer: its engine, its tokenizer and its sentinels."""

    version: str
    engine: Any
    tokenizer: FastTokenizer
    template: Template
    stop_ids: tuple[int, ...]


class Gateway:
    """Ray Serve deployment behind all routes. One replica: arms and sessions need no shared state, but
    one writer keeps a session's records in order.
    """

    def __init__(self, config: ServeConfig, settings: list[EngineSettings], engines: dict[str, Any]) -> None:
        self._config = config
        self._weights = {name: arm.weight for name, arm in config.resolved_arms.items()}
        self._lanes = {item.arm: _lane(item, engines[item.arm]) for item in settings}
        self._created_s = int(time.time())
        self._max_model_len = settings[0].max_model_len
        self._log = SegmentWriter(config.resolved_log_dir, config.flush_ms)

    @api.post("/v1/completions")
    async def completions(self, request: Request) -> Response:
        """OpenAI legacy completions with `suffix`."""
        started = time.perf_counter()
        parsed = dialect.parse(await request.body())
        if isinstance(parsed, Refusal):
            return _refuse(parsed)
        ts_ms = self._time_ms(request)
        if isinstance(ts_ms, Refusal):
            return _refuse(ts_ms)
        who = records.identity(request.headers, parsed.user, _peer(request), ts_ms)
        arm = self._arm(request, who.user)
        if isinstance(arm, Refusal):
            return _refuse(arm)
        lane = self._lanes[arm]
        request_id = f"cmpl-{uuid.uuid4().hex}"
        delivered, proposal, latency_ms = False, None, None
        try:
            result = await self._ask(lane, parsed)
            if isinstance(result, Refusal):
                return _refuse(result, request_id, arm, lane.version)
            proposal = policy.proposal(
                result.text, parsed.prefix, parsed.suffix, parsed.stop, result.finish_reason != "length"
            )
            if policy.confidence(result.text, result.log_probs) < self._config.silence_below:
                proposal = ""
            usage = dialect.Usage(result.prompt_tokens, result.completion_tokens, result.cached_tokens)
            body = dialect.answer(
                request_id, lane.version, ts_ms // 1000, proposal, result.finish_reason, usage
            )
            # A client that left while the engine worked is noticed here even when nothing was cancelled.
            delivered = not await request.is_disconnected()
            latency_ms = (time.perf_counter() - started) * 1000
            return _reply(body, parsed, arm, lane.version, request_id)
        finally:
            self._log.append(
                records.request_record(
                    who,
                    request_id=request_id,
                    ts_ms=ts_ms,
                    prefix=parsed.prefix,
                    suffix=parsed.suffix,
                    delivered=delivered,
                    proposal=proposal,
                    model=lane.version,
                    arm=arm,
                    latency_ms=latency_ms,
                )
            )

    @api.post("/v1/echo/events")
    async def events(self, request: Request) -> Response:
        """Native lifecycle events: one, a list, or `{"events": [...]}`; logged all or not at all."""
        body = dialect.decode(await request.body())
        if isinstance(body, Refusal):
            return _refuse(body)
        now_ms = self._time_ms(request)
        if isinstance(now_ms, Refusal):
            return _refuse(now_ms)
        user = body.get("user") if isinstance(body, dict) else None
        who = records.identity(
            request.headers, user if isinstance(user, str) else None, _peer(request), now_ms
        )
        found = records.event_records(body, who.user, now_ms)
        if isinstance(found, Refusal):
            return _refuse(found)
        for record in found:
            self._log.append(record)
        return _json({"logged": len(found)})

    @api.get("/v1/models")
    async def models(self) -> Response:
        """The versions that the arms serve."""
        versions = {arm: lane.version for arm, lane in self._lanes.items()}
        return _json(dialect.models(versions, self._created_s, self._max_model_len))

    @api.get("/health")
    async def health(self) -> Response:
        """200 when every engine answers its health check within 5 s; 503 names those that do not."""
        waiting = {arm: lane.engine.check_health.remote() for arm, lane in self._lanes.items()}
        done = await asyncio.gather(*map(_healthy, waiting.values()))
        bad = [arm for arm, healthy in zip(waiting, done, strict=True) if not healthy]
        if bad:
            return _refuse(Refusal(503, f"engines not ready: {', '.join(bad)}", "service_unavailable"))
        return _json({"status": "ok", "arms": {arm: lane.version for arm, lane in self._lanes.items()}})

    def flush(self) -> None:
        """Return when all records so far are on disk."""
        self._log.flush()

    def __del__(self) -> None:
        """Ray Serve calls this when it stops the replica."""
        log = getattr(self, "_log", None)
        if log is not None:
            log.close()

    async def _ask(self, lane: _Lane, wanted: Completion) -> Answer | Refusal:
        config = self._config
        tokens = _prompt(lane, config, wanted.prefix, wanted.suffix)
        call = lane.engine.propose.remote(
            tokens,
            min(wanted.max_tokens or config.max_tokens, config.max_tokens),
            config.temperature if wanted.temperature is None else wanted.temperature,
            wanted.stop,
            lane.stop_ids,
            wanted.seed,
        )
        try:
            async with asyncio.timeout(config.deadline_s):
                answer: Answer = await call
        except TimeoutError:
            call.cancel()
            return Refusal(504, f"no answer within {config.deadline_s:g} s", "timeout")
        except asyncio.CancelledError:
            call.cancel()
            raise
        except RayError as error:
            log.exception("the engine of %s failed", lane.version)
            reason = str(error).strip().rpartition("\n")[2]
            return Refusal(503, f"the engine of {lane.version} failed: {reason[:300]}", "server_error")
        if answer.error is not None:
            kind = "invalid_request_error" if answer.status < 500 else "server_error"
            return Refusal(answer.status, answer.error, kind)
        return answer

    def _time_ms(self, request: Request) -> int | Refusal:
        given = request.headers.get("x-echo-ts-ms") if self._config.trust_client else None
        if given is None:
            return time.time_ns() // 1_000_000
        if not given.isascii() or not given.isdigit() or len(given) > 14:
            return Refusal(400, f"X-Echo-Ts-Ms must be UTC milliseconds, got {given!r:.40}")
        return int(given)

    def _arm(self, request: Request, user: str) -> str | Refusal:
        asked = request.headers.get("x-echo-arm") if self._config.trust_client else None
        if asked is None:
            return assign(user, self._weights, self._config.salt)
        if asked not in self._lanes:
            return Refusal(400, f"X-Echo-Arm must be one of {', '.join(self._lanes)}, got {asked!r:.40}")
        return asked


def application(config: ServeConfig, settings: list[EngineSettings]) -> Any:
    """The whole Ray Serve application: one gateway bound to one engine per arm; needs Ray."""
    from ray import serve

    from echo_ray.serve.engine import deployment

    return serve.deployment(
        serve.ingress(api)(Gateway),
        name="gateway",
        num_replicas=1,
        max_ongoing_requests=10_000,
        ray_actor_options={
            "num_cpus": 1,
            "runtime_env": {"env_vars": {"PYTHONPATH": str(Path(echo_ray.__file__).parents[1])}},
        },
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=5,
    ).bind(config, settings, {item.arm: deployment(item) for item in settings})


def _lane(item: EngineSettings, engine: Any) -> _Lane:
    tokenizer = FastTokenizer(item.model)
    template = template_for(tokenizer)
    return _Lane(item.version, engine, tokenizer, template, template.ends)


def _prompt(lane: _Lane, config: ServeConfig, prefix: str, suffix: str) -> list[int]:
    """What the engine is sent: the prompt that `pack` trains on."""
    return lane.template.render(lane.tokenizer, prefix, suffix, config.context_tokens, config.suffix_share)


async def _healthy(call: Any) -> bool:
    try:
        async with asyncio.timeout(5):
            await call
    except (RayError, TimeoutError, ServeError):
        return False
    return True


def _peer(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, "application/json")


def _identified(request_id: str, arm: str, version: str) -> dict[str, str]:
    return {"x-request-id": request_id, "x-echo-arm": arm, "x-echo-model": version}


def _refuse(refusal: Refusal, *identified: str) -> Response:
    headers = _identified(*identified) if identified else None
    return Response(refusal.body(), refusal.status, headers, "application/json")


def _reply(body: dict[str, Any], asked: Completion, arm: str, version: str, request_id: str) -> Response:
    headers = _identified(request_id, arm, version)
    if not asked.stream:
        return _json(body, headers=headers)
    # The answer is complete before its first byte leaves (post-processing needs all of it), so the
    # stream is one body in the stream's shape.
    stream = b"".join(dialect.events(body, asked.include_usage))
    return Response(stream, 200, headers | {"cache-control": "no-cache"}, "text/event-stream")
