"""One Ray cluster per run: started here, stopped here, quiet on the terminal.

A local cluster is private (`address="local"`, its own temporary folder), so nothing here can touch a
cluster that somebody else started. Output of workers, vLLM and DeepSpeed stays in Ray's log files.
"""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from echo_ray.config import Config
from echo_ray.errors import ConfigError


class ClusterConfig(Config):
    """Where Ray runs."""

    address: str = "local"
    """`local` starts a private cluster that ends with the command; anything else is a Ray address."""
    logical_cpus: int = Field(8, ge=4)
    """CPU slots of a local cluster. More than the cores: Serve's replicas mostly wait (count)."""
    object_store_mb: int = Field(400, ge=80)
    """Shared memory for Ray objects of a local cluster (MiB)."""
    min_memory_gb: float = Field(6.0, ge=0)
    """Refuse to start a local cluster with less free memory than this (GiB); 0 never refuses."""


@contextlib.contextmanager
def running(config: ClusterConfig) -> Iterator[Path]:
    """Ray, connected; yields the folder that holds its logs. Nested use shares the outer cluster.

    Raises ConfigError when the machine has less than `min_memory_gb` free.
    """
    import ray

    if ray.is_initialized():
        yield log_folder()
        return
    check_memory(config.min_memory_gb)
    quiet()
    options = (
        {"address": "local", "num_cpus": config.logical_cpus, "include_dashboard": False}
        | {"object_store_memory": config.object_store_mb * 2**20}
        if config.address == "local"
        else {"address": config.address}
    )
    ray.init(
        **options,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=True,
        namespace="echo_ray",
        runtime_env={"env_vars": worker_environment()},
    )
    try:
        yield log_folder()
    finally:
        ray.shutdown()


def worker_environment() -> dict[str, str]:
    """Environment of every worker: no hub look-ups, no usage reports, no colour codes in log files."""
    return {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "echo_ray.serve.edge:middlewares",
        "DS_ACCELERATOR": os.environ.get("DS_ACCELERATOR", "cpu" if not has_gpu() else "cuda"),
    }


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA device, without importing torch."""
    return Path("/proc/driver/nvidia/gpus").is_dir() and any(Path("/proc/driver/nvidia/gpus").iterdir())


def log_folder() -> Path:
    """Folder with the log files of the connected cluster's session on this machine."""
    from ray._private.worker import global_worker

    node = global_worker.node
    return Path(node.get_logs_dir_path()) if node is not None else Path("/tmp/ray/session_latest/logs")


def quiet() -> None:
    """Keep library chatter off the terminal; warnings of our own code still show."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "1")
    # Ray gives its workers a nice value of 15, so any other program would starve the engines.
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    for name in ("ray", "ray.data", "ray.serve", "ray.train", "vllm", "deepspeed", "DeepSpeed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"ray|torch|transformers")


def check_memory(min_gb: float) -> None:
    """Raise ConfigError when less than `min_gb` GiB of memory is available on this machine."""
    available = available_memory_gb()
    if available < min_gb:
        raise ConfigError(
            f"only {available:.1f} GiB of memory are free and {min_gb:g} GiB are wanted: close other "
            "programs, or lower cluster.min_memory_gb"
        )


def available_memory_gb() -> float:
    """Memory that new programs can have without swapping (GiB), the container's limit included."""
    import psutil

    available = float(psutil.virtual_memory().available)
    limit = Path("/sys/fs/cgroup/memory.max")
    usage = Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and usage.is_file():
        text = limit.read_text().strip()
        if text.isdigit():
            available = min(available, float(text) - float(usage.read_text()))
    return available / 2**30
