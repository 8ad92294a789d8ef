"""Verb `serve`: answer completion requests and log them, until Ctrl-C."""

from echo_ray.cluster import running
from echo_ray.serve import launch, preflight
from jobs.settings import RunConfig


def serve(config: RunConfig, command: str) -> None:
    """Serve with the settings of the section `serve`; what can be refused is refused before Ray starts."""
    preflight.check_port(config.serve.host, config.serve.port)
    versions = {version for _, version in preflight.resolve(config.serve).values()}
    if config.cluster.address == "local":
        preflight.check_room(config.serve, len(versions), config.cluster.logical_cpus)
    launch.prepare_ingress(config.serve)
    with running(config.cluster):
        launch.serve_forever(config.serve)
