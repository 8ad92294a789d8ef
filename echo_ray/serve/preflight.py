"""What can be refused before Ray deploys anything: the port, the model folders, the context length, the room.

And what follows from a configuration that was not refused: which versions are served, by which engines.
"""

import socket
from pathlib import Path

from echo_ray import models
from echo_ray.access.keys import KeyRing
from echo_ray.errors import ConfigError
from echo_ray.privacy.pseudonyms import key_path, load_key
from echo_ray.serve.config import ServeConfig
from echo_ray.serve.engine import ENGINE_SLOTS, EngineSettings


def check_port(host: str, port: int) -> None:
    """Raise ConfigError when `host`:`port` cannot be listened on."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(
                f"port {port} is busy on {host} ({reason}): stop what uses it, or change serve.port"
            ) from None


def check_room(config: ServeConfig, versions: int, cpu_slots: int) -> None:
    """Raise ConfigError when a cluster that cannot grow has too few slots for the engines of `versions`."""
    wanted = 1 + ENGINE_SLOTS * versions * config.replicas
    if wanted > cpu_slots:
        raise ConfigError(
            f"serve.replicas={config.replicas} for {versions} model(s) wants {wanted} CPU slots, and the "
            f"local cluster has {cpu_slots}: set cluster.logical_cpus={wanted}"
        )


def free_port(host: str) -> int:
    """A TCP port of `host` that is free now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def resolve(config: ServeConfig) -> dict[str, tuple[Path, str]]:
    """Checked model folder and version of every arm. Raises ConfigError or SchemaError naming the key, also
    for a file of keys that cannot be used.
    """
    if config.keys_file is not None:
        KeyRing(config.keys_file)
    secret = key_path(config.privacy.key_file, config.resolved_log_dir)
    if secret.exists():
        load_key(secret)
    wanted = config.context_tokens + config.max_tokens
    resolved = {}
    for name, arm in config.resolved_arms.items():
        own = name in config.arms and config.arms[name].model is not None
        key = f"serve.arms.{name}.model" if own else "serve.model"
        folder = (arm.model or models.BASE).absolute()
        models.check(folder, key)
        limit = models.context_limit(folder)
        if limit is not None and wanted > limit:
            raise ConfigError(
                f"serve.context_tokens + serve.max_tokens is {wanted}, and {folder} can read {limit} tokens: "
                "lower serve.context_tokens"
            )
        resolved[name] = (folder, models.version(folder))
    return resolved


def engine_settings(
    config: ServeConfig, resolved: dict[str, tuple[Path, str]], gpus: int
) -> list[EngineSettings]:
    """Settings of every version's engine, those of arms with one version once. Engines share a GPU equally
    when there are fewer GPUs than engines, with `spare_engines` for versions that come later.
    """
    folders = {version: folder for folder, version in resolved.values()}
    engines = len(folders) * config.most_replicas + config.spare_engines
    per_gpu = max(1, -(-engines // gpus)) if gpus else 0
    return [
        EngineSettings(
            model=folder,
            version=version,
            max_model_len=config.context_tokens + config.max_tokens,
            max_concurrent=config.max_concurrent,
            threads=config.cpus,
            kv_cache_bytes=int(config.kv_cache_gb * 2**30),
            gpu=1 / per_gpu if gpus else 0.0,
            gpu_memory_share=config.gpu_memory_share / per_gpu if gpus else 0.0,
            speculative_tokens=config.speculative_tokens,
            replicas=config.replicas,
            max_replicas=config.most_replicas,
            prompts_per_replica=config.prompts_per_replica,
        )
        for version, folder in folders.items()
    ]
