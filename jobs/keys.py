"""The service's API keys on the command line: `echo-ray keys list|add|revoke`."""

import json
from typing import Any

from echo_ray.access import keys
from echo_ray.errors import ConfigError
from jobs.keys_config import KeysConfig
from jobs.models_text import table
from jobs.settings import RunConfig

_HEAD = ("name", "tenant", "created (UTC)", "requests/s", "burst", "admin")


def run(config: RunConfig, command: str = "") -> None:
    """Verb `keys`."""
    settings = config.keys
    value, text = _ACTIONS[settings.action](settings)
    print(json.dumps(value, indent=1) if settings.format == "json" else text)


def _list(settings: KeysConfig) -> tuple[Any, str]:
    known = keys.load(settings.file) if settings.file.exists() else ()
    value = [_plain(key) for key in known]
    if not known:
        return value, f"{settings.file} holds no key yet: echo-ray keys add NAME makes one"
    return value, table(_HEAD, [_row(key) for key in known], right=(3, 4))


def _add(settings: KeysConfig) -> tuple[Any, str]:
    _named(settings)
    token, key = keys.issue(
        settings.name,
        settings.tenant,
        rate_per_s=settings.rate_per_s,
        burst=settings.burst,
        admin=settings.admin,
    )
    keys.add(settings.file, key)
    text = f"{token}\n\nThis is the only time that the key is shown; {settings.file} keeps its hash."
    return _plain(key) | {"key": token}, text


def _revoke(settings: KeysConfig) -> tuple[Any, str]:
    _named(settings)
    key = keys.revoke(settings.file, settings.name)
    return _plain(key), f"{key.name} is revoked; services that run follow within two seconds"


def _named(settings: KeysConfig) -> None:
    if not settings.name:
        raise ConfigError(f"keys.name is not set: echo-ray keys {settings.action} NAME")


def _plain(key: keys.Key) -> dict[str, Any]:
    return key.model_dump(exclude={"hash"})


def _row(key: keys.Key) -> tuple[str, ...]:
    rate = "" if key.rate_per_s is None else f"{key.rate_per_s:g}"
    burst = "" if key.burst is None else str(key.burst)
    created = key.created[:16].replace("T", " ")
    return key.name, key.tenant, created, rate, burst, "yes" if key.admin else ""


_ACTIONS = {"list": _list, "add": _add, "revoke": _revoke}
