"""The Ray Serve deployments: one gateway behind all routes, one engine application per model version.

Engines are applications of their own, so that a version can come and go while the gateway runs.
"""

from pathlib import Path
from typing import Any

import echo_ray
from echo_ray.serve.config import ServeConfig
from echo_ray.serve.engine import EngineSettings, application_name, deployment
from echo_ray.serve.gateway import Gateway
from echo_ray.serve.lanes import Plan, lane

GATEWAY = "echo-ray"
"""Name of the gateway's application."""


class Front:
    """Ray Serve deployment of the gateway. One replica: arms and sessions need no shared state, but one
    writer keeps a session's records in order.
    """

    def __init__(self, config: ServeConfig, plan: Plan, settings: list[EngineSettings]) -> None:
        lanes = {item.version: lane(item, _handle(item.version)) for item in settings}
        self._gateway = Gateway(config, plan, lanes)

    def __serve_build_asgi_app__(self) -> Any:  # noqa: PLW3201 - Ray Serve's name
        from echo_ray.serve.routes import application

        return application(self._gateway)

    def flush(self) -> None:
        """Return when all records so far are on disk."""
        self._gateway.writer.flush()

    def __del__(self) -> None:
        """Ray Serve calls this when it stops the replica."""
        gateway = getattr(self, "_gateway", None)
        if gateway is not None:
            gateway.close()


def targets(config: ServeConfig, plan: Plan, settings: list[EngineSettings]) -> list[Any]:
    """What Ray Serve is to run: the engines, and the gateway in front of them; needs Ray."""
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
    return [
        *(engine_target(item) for item in settings),
        serve.RunTarget(target=front, name=GATEWAY, route_prefix="/"),
    ]


def engine_target(settings: EngineSettings) -> Any:
    """The application of one version's engine, reachable by handle only; needs Ray."""
    from ray import serve

    return serve.RunTarget(
        target=deployment(settings), name=application_name(settings.version), route_prefix=None
    )


def _handle(version: str) -> Any:
    from ray import serve

    return serve.get_deployment_handle("engine", application_name(version))
