"""Start and stop the completion service on the connected Ray cluster.

Everything that can be refused is refused before Ray deploys anything (`preflight`). `Service` stops what it
started, and a process may start services one after another.
"""

import logging
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from echo_ray.errors import ServeError
from echo_ray.privacy.notice import notice
from echo_ray.serve import recall
from echo_ray.serve.config import ServeConfig
from echo_ray.serve.lanes import Plan
from echo_ray.serve.preflight import check_port, engine_settings, free_port, resolve

log = logging.getLogger(__name__)

Progress = Callable[[str, float], None]
"""Called about once a second while waiting: what is being waited for, seconds so far."""


class Service:
    """A running service; leaving the `with` block stops it."""

    def __init__(self, config: ServeConfig, versions: dict[str, str], start_s: float, handle: Any) -> None:
        self.url = f"http://{_reachable(config.host)}:{config.port}"
        """Base address, without `/v1`."""
        self.arms = versions
        """Immutable model version by arm."""
        self.log_dir = config.resolved_log_dir
        """Folder that requests are logged in."""
        self.start_s = start_s
        """Seconds from the call of `start` to a healthy service."""
        self._handle = handle
        self._stopped = False

    def flush(self) -> None:
        """Return when every request answered so far is on disk."""
        self._handle.flush.remote().result(timeout_s=30)

    def stop(self) -> None:
        """Flush the log, delete the application and shut Ray Serve down; idempotent."""
        if self._stopped:
            return
        self._stopped = True
        try:
            self.flush()
        finally:
            _shut_down()

    def __enter__(self) -> "Service":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(config: ServeConfig, progress: Progress | None = None) -> Service:
    """Deploy the service on the Ray cluster that this process is connected to and wait until healthy.

    Call it inside `cluster.running(...)`. Raises ConfigError or SchemaError for a busy port or a model
    that cannot be served, and ServeError when the service does not become healthy in time.
    """
    began = time.monotonic()
    if config.port == 0:
        config = config.updated(port=free_port(config.host))
    check_port(config.host, config.port)
    resolved = resolve(config)
    import ray
    from ray import serve
    from ray.serve.config import HTTPOptions
    from ray.serve.schema import LoggingConfig

    from echo_ray.serve.app import GATEWAY, targets

    if not ray.is_initialized():
        raise ServeError("Ray is not running: call serve inside cluster.running(...)")
    _hush()
    settings = engine_settings(config, resolved, gpus=int(ray.cluster_resources().get("GPU", 0)))
    plan = Plan(
        versions={name: version for name, (_, version) in resolved.items()},
        weights={name: arm.weight for name, arm in config.resolved_arms.items()},
        salt=config.salt,
        models={version: str(folder) for folder, version in resolved.values()},
    )
    recall.forget(config)
    quiet = LoggingConfig(log_level="WARNING", enable_access_log=False)
    try:
        serve.start(http_options=HTTPOptions(host=config.host, port=config.port), logging_config=quiet)
        # The wait is our own: it has a deadline and reports progress.
        serve.run_many(
            targets(config, plan, settings, quiet),
            wait_for_ingress_deployment_creation=False,
            wait_for_applications_running=False,
        )
        _wait_healthy(config, began, progress)
        handle = serve.get_app_handle(GATEWAY)
    except BaseException:
        _shut_down()
        raise
    return Service(config, dict(plan.versions), time.monotonic() - began, handle)


def serve_forever(config: ServeConfig) -> None:
    """Serve until Ctrl-C or SIGTERM, then flush and stop; prints where the service and its log are."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    with start(config, progress=_print_progress) as service:
        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            _say(f"\nserving at {service.url}/v1 after {service.start_s:.0f} s; Ctrl-C ends it")
            for arm, version in service.arms.items():
                _say(f"  arm {arm}: {version}")
            _say(notice(config.privacy, service.log_dir))
            ended.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    _say(f"stopped; the experience log is in {service.log_dir}")


def prepare_ingress(config: ServeConfig) -> None:
    """Choose Ray Serve's ingress; call it before Ray starts: its processes read it from the environment."""
    if not config.fast_ingress:
        return
    # Fixed ports would keep a second service off this machine.
    ports = {f"RAY_SERVE_HAPROXY_{name}_PORT": str(free_port("127.0.0.1")) for name in ("METRICS", "STATS")}
    os.environ.update(
        ports
        | {
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            # Fewer threads in each replica, which otherwise wait for one another at every hop.
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            # Two things that go with it do us harm: this process has no event loop to call the gateway from,
            # and an error must not wait for a thousand others to reach the log file.
            "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "1",
            "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
            "RAY_SERVE_HAPROXY_NBTHREAD": "1",
            "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
            # One gateway: there is nobody to hand its connections to.
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
        }
    )


def _wait_healthy(config: ServeConfig, began: float, progress: Progress | None) -> None:
    from ray import serve

    url = f"http://{_reachable(config.host)}:{config.port}/health"
    while True:
        waited_s = time.monotonic() - began
        failed = [app for app in serve.status().applications.values() if app.status == "DEPLOY_FAILED"]
        if failed:
            reason = " ".join(failed[0].message.split())
            raise ServeError(f"the completion service could not be deployed: {reason[-600:]}")
        if _answers(url):
            return
        if waited_s > config.start_timeout_s:
            raise ServeError(
                f"the completion service is not healthy after {waited_s:.0f} s; its log files are in Ray's "
                "log folder; raise serve.start_timeout_s if the model is large"
            )
        if progress is not None:
            progress("loading models", waited_s)
        time.sleep(0.5)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=6) as reply:  # noqa: S310 - our own http address
            return bool(reply.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _hush() -> None:
    """Keep Ray Serve's progress and Ray's remarks about its own actors off the terminal.

    Ray prints to stdout, for instance, that Serve's controller died when it was told to. Errors that
    matter to us arrive as exceptions, and all of it stays in Ray's log files.
    """
    from ray._private import worker

    def to_debug_log(data: dict[str, Any], ignore_prefix: bool) -> None:
        for line in data["lines"]:
            log.debug("ray: %s", line)

    worker.print_to_stdstream = to_debug_log
    logging.getLogger("ray.serve").setLevel(logging.ERROR)


def _shut_down() -> None:
    from ray import serve

    serve.shutdown()


def _reachable(host: str) -> str:
    """Address to reach a listener on `host` from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the command line's own output


def _print_progress(what: str, seconds: float) -> None:
    print(f"\r{what}: {seconds:.0f} s", end="", flush=True)  # noqa: T201
