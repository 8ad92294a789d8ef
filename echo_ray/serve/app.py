"""The Ray Serve deployments: one gateway behind all routes, one engine application per model version.

Engines are applications of their own, so that a version can come and go while the gateway runs.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import echo_ray
from echo_ray.access.keys import KeyRing
from echo_ray.errors import ServeError
from echo_ray.log.segment import SegmentWriter
from echo_ray.log.upkeep import Upkeep
from echo_ray.privacy.pseudonyms import key_path, load_key
from echo_ray.serve import recall
from echo_ray.serve.config import ServeConfig
from echo_ray.serve.control import Control
from echo_ray.serve.engine import EngineSettings, application_name, deployment
from echo_ray.serve.engines import Engines
from echo_ray.serve.gateway import Gateway
from echo_ray.serve.guard import Bounds, Guard, allowed_hosts
from echo_ray.serve.lanes import Plan, lane
from echo_ray.serve.records import Preparing
from echo_ray.serve.replies import render
from echo_ray.serve.routes import Routes
from echo_ray.serve.who import routed

GATEWAY = "echo-ray"
"""Name of the gateway's application."""


class Front:
    """Ray Serve deployment of the gateway. One replica: arms and sessions need no shared state, but one
    writer keeps a session's records in order.
    """

    def __init__(self, config: ServeConfig, plan: Plan, settings: list[EngineSettings]) -> None:
        # A replica that took over from one that crashed goes on with the plan of then.
        plan = recall.recalled(config) or plan
        settings = [
            settings[0].updated(model=Path(folder), version=version)
            for version, folder in plan.models.items()
        ]
        self._settings = settings
        lanes = {item.version: lane(item, engines(item.version)) for item in settings}
        key = load_key(key_path(config.privacy.key_file, config.resolved_log_dir))
        preparing = Preparing(config.privacy, key)
        writer = SegmentWriter(
            config.resolved_log_dir, config.flush_ms, prepare=preparing, isolate=config.privacy.redact
        )
        keys = KeyRing(config.keys_file) if config.keys_file else None
        self._upkeep = (
            Upkeep(config.resolved_log_dir, config.upkeep_s, config.privacy.retention_days)
            if config.upkeep_s
            else None
        )
        self._gateway = Gateway(config, plan, lanes, writer, preparing, keys)

    def __serve_build_asgi_app__(self) -> Any:
        """Ray Serve asks for the application once the replica is made."""
        control = Control(self._gateway, self._settings[0], start_engine, stop_engine)
        return front(self._gateway, control, "cuda" if self._settings[0].gpu else "cpu")

    def flush(self) -> None:
        """Return when all records so far are on disk."""
        self._gateway.writer.flush()

    def __del__(self) -> None:
        """Ray Serve calls this when it stops the replica."""
        gateway = getattr(self, "_gateway", None)
        if gateway is not None:
            if self._upkeep is not None:
                self._upkeep.stop()
            gateway.close()


def front(gateway: Gateway, control: Control, device: str) -> Any:
    """The ASGI application: the routes, behind the guard. `device` is `cpu` or `cuda`."""
    config = gateway.config
    bounds = Bounds(
        max_body_bytes=int(config.max_body_mb * 2**20),
        body_timeout_s=config.body_timeout_s,
        hosts=allowed_hosts(config.host, config.hosts),
    )
    return Named(
        Guard(Routes(gateway, control, device).application(), bounds, render, gateway.metrics.refused)
    )


class Named:
    """ASGI middleware that takes the user and session off the path (`/u/<user>/s/<session>/...`)."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on under its own path."""
        if scope["type"] == "http":
            sent = scope.get("raw_path")
            path, named = routed(quote(scope["path"]) if sent is None else sent.decode("latin-1"))
            if named:
                raw = path.encode("latin-1")
                scope = {**scope, "path": unquote(path), "raw_path": raw, "echo.named": named}
        await self._app(scope, receive, send)


def targets(config: ServeConfig, plan: Plan, settings: list[EngineSettings], logs: Any) -> list[Any]:
    """What Ray Serve is to run, with the logging `logs`: the engines, and the gateway in front of them; needs
    Ray.
    """
    from ray import serve

    front = serve.deployment(
        serve.ingress()(Front),
        name="gateway",
        num_replicas=1,
        max_ongoing_requests=10_000,
        ray_actor_options={
            "num_cpus": 1,
            "runtime_env": {"env_vars": {"PYTHONPATH": str(Path(echo_ray.__file__).parents[1])}},
        },
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=5,
    ).bind(config, plan, settings)
    behind = [
        serve.RunTarget(
            target=deployment(item),
            name=application_name(item.version),
            route_prefix=None,
            logging_config=logs,
        )
        for item in settings
    ]
    return [*behind, serve.RunTarget(target=front, name=GATEWAY, route_prefix="/", logging_config=logs)]


def start_engine(settings: EngineSettings) -> Engines:
    """A new version's engines, once they are healthy. Raises ServeError when it does not become so."""
    from ray import serve

    try:
        serve.run(deployment(settings), name=application_name(settings.version), route_prefix=None)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ServeError(f"the engine of {settings.version} could not be started: {reason[-300:]}") from error
    return engines(settings.version)


def stop_engine(version: str) -> None:
    """End a version's engine."""
    from ray import serve

    serve.delete(application_name(version))


def engines(version: str) -> Engines:
    """The engines of a version, which Ray has been told to run."""
    from ray import serve

    return Engines(version, serve.get_deployment_handle("engine", application_name(version)))
