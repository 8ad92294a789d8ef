"""From settings to a model that can be asked: what is refused before Ray starts, and what a worker builds."""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from echo_ray import models
from echo_ray.chooser import Backend
from echo_ray.errors import ConfigError
from echo_ray.llm import openai_api, vllm_engine
from echo_ray.llm.asking import Asker
from echo_ray.llm.config import Kind, LlmConfig
from echo_ray.llm.journal import Journal, Meter

CONNECT_S = 5.0
"""Patience with an endpoint before the job starts (seconds)."""


def check(kind: Kind, config: LlmConfig, section: str) -> None:
    """Raise ConfigError or SchemaError, one sentence that names the key of `section` to change, for settings
    that cannot work: no model, a broken model folder, no key, an endpoint that nothing listens at.
    """
    if not config.model:
        wanted = (
            "the folder of a model" if kind == "vllm" else "the name that the endpoint knows the model by"
        )
        raise ConfigError(f"{section}.model is not set: give {wanted}")
    if kind == "vllm":
        models.check_files(Path(config.model), f"{section}.model")
        return
    if config.base_url is None:
        raise ConfigError(f"{section}.base_url is not set: give the address of an OpenAI-compatible endpoint")
    if config.api_key_env is not None and not os.environ.get(config.api_key_env):
        raise ConfigError(
            f"the environment variable {section}.api_key_env={config.api_key_env} is not set: it holds the "
            "key of the endpoint"
        )
    try:
        address = urlsplit(config.base_url)
        host, port = address.hostname, address.port or (443 if address.scheme == "https" else 80)
    except ValueError:
        host, port = None, 0
    if not host or address.scheme not in ("http", "https"):
        raise ConfigError(f"{section}.base_url={config.base_url} is not an http(s) address")
    if address.username is not None or address.password is not None:
        raise ConfigError(
            f"{section}.base_url holds a password: put it into a variable ({section}.api_key_env)"
        )
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError as error:
        raise ConfigError(
            f"nothing answers at {section}.base_url={config.base_url} ({error}): start it there, or change "
            "the address"
        ) from None


def version(kind: Kind, config: LlmConfig) -> str:
    """Immutable name of the model's content for a folder; the name itself for an endpoint's model."""
    assert config.model is not None
    return models.version(Path(config.model)) if kind == "vllm" else config.model


def environment(kind: Kind, config: LlmConfig) -> dict[str, str]:
    """Variables of a worker's process."""
    return vllm_engine.environment(config) if kind == "vllm" else {}


def chooser(kind: Kind, config: LlmConfig, section: str, model_version: str, folder: Path) -> Asker:
    """The model with its journal and purse in `folder`. Imports the backend: call it in the worker only."""
    backend: Backend
    if kind == "vllm":
        backend = vllm_engine.VllmBackend(config, model_version)
    else:
        backend = openai_api.OpenAiBackend(config, section)
    meter = Meter(folder, config.max_requests, config.max_tokens)
    return Asker(backend, config, section, Journal(folder), meter)
