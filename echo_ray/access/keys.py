"""API keys: what a keys file says, and whose a key is.

A keys file is a list of `Key` in YAML (or JSON, by its name). It holds hashes, never a key. `KeyRing` keeps
it in memory, looks for a change at most once a second, and goes on with the keys it has when the changed file
is faulty: a typing error must not lock a company out. What is added or revoked thus counts a second later.

The only module of `access` that touches files. Not covered: expiry dates; revoke the key instead.
"""

import contextlib
import fcntl
import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson
import yaml
from pydantic import Field, field_validator

from echo_ray.config import Config, build
from echo_ray.errors import ConfigError

log = logging.getLogger(__name__)

PREFIX = "ek_"
"""How keys begin, so that secret scanners can tell them."""

CHECK_S = 1.0
"""A keys file is looked at no more often than this (seconds)."""

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"
_Signature = tuple[int, int, int]


class Key(Config):
    """One key: who has it and what it allows. The key itself is known to its owner only."""

    name: str = Field(pattern=_NAME)
    """Unique; what `revoke` takes."""
    tenant: str = Field("default", pattern=_NAME)
    """Whose experience the requests are."""
    hash: str = Field(pattern="^[0-9a-f]{64}$")
    """SHA-256 of the key in hexadecimal digits."""
    created: str = ""
    """When it was made (UTC, ISO 8601)."""
    rate_per_s: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Requests a second in the long run; none is the service's own limit."""
    burst: int | None = Field(None, ge=1)
    """Requests at once; none is the service's own limit."""
    admin: bool = False
    """May use the routes that are not for clients."""

    @field_validator("created", mode="before")
    @classmethod
    def _plain_time(cls, value: Any) -> Any:
        # YAML reads a time without quotes as a time.
        return value.isoformat() if isinstance(value, date) else value


def digest(token: str) -> str:
    """Hash of a key as files keep it (hexadecimal).

    A plain SHA-256 is enough: a key has 256 random bits, so that nobody finds it by trying; slow hashes and
    salts protect what people make up. A slow one would also let anybody keep the service busy.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def issue(
    name: str,
    tenant: str = "default",
    *,
    rate_per_s: float | None = None,
    burst: int | None = None,
    admin: bool = False,
) -> tuple[str, Key]:
    """A new key and what the file says about it. Raises ConfigError for a bad name or limit."""
    token = PREFIX + secrets.token_urlsafe(32)
    made = datetime.now(UTC).isoformat(timespec="seconds")
    told = {"name": name, "tenant": tenant, "hash": digest(token), "created": made, "admin": admin}
    return token, build(Key, told | {"rate_per_s": rate_per_s, "burst": burst}, source="keys")


def load(path: Path) -> tuple[Key, ...]:
    """The keys of a file. Raises ConfigError with one sentence for whatever is wrong with it."""
    return _read(path)[0]


def add(path: Path, key: Key) -> None:
    """Add `key` to a file, which is made when it does not exist. Raises ConfigError for a name in use."""
    with _alone(path):
        known = load(path) if path.exists() else ()
        if any(one.name == key.name for one in known):
            raise ConfigError(
                f"keys.name={key.name} is in use in {path}: revoke it first or take another name"
            )
        _write(path, (*known, key))


def revoke(path: Path, name: str) -> Key:
    """Remove the key called `name`. Raises ConfigError when there is none."""
    with _alone(path):
        known = load(path)
        found = [one for one in known if one.name == name]
        if not found:
            names = ", ".join(one.name for one in known) or "no key"
            raise ConfigError(f"keys.name={name} is no key of {path}, which has {names}")
        _write(path, tuple(one for one in known if one.name != name))
        return found[0]


def owner(keys: tuple[Key, ...], token: str) -> Key | None:
    """Whose key `token` is. The time does not depend on which key matches, or whether any does."""
    wanted = digest(token).encode()
    found: Key | None = None
    for key in keys:
        if hmac.compare_digest(key.hash.encode(), wanted):
            found = key
    return found


class KeyRing:
    """The keys of a file, as it is now. Not for several threads at once.

    Raises ConfigError at the start for a faulty file; later faults are logged, kept in `fault`, and change
    nothing else.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._now = now
        self._keys, self._signature = _read(path)
        self._next_s = now() + CHECK_S
        self.fault: str | None = None

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys that are valid now."""
        if self._now() >= self._next_s:
            self._next_s = self._now() + CHECK_S
            self._refresh()
        return self._keys

    def owner(self, token: str) -> Key | None:
        """Whose key `token` is, None for nobody's."""
        return owner(self.keys, token)

    def _refresh(self) -> None:
        try:
            if _signature(self._path.stat()) == self._signature:
                return
            self._keys, self._signature = _read(self._path)
        except (ConfigError, OSError) as error:
            said = str(error)
            if said != self.fault:
                log.error("%s; the %d keys from before stay valid", said, len(self._keys))
            self.fault = said
            return
        self.fault = None
        log.warning("%s has changed: %d keys are valid", self._path, len(self._keys))


def _read(path: Path) -> tuple[tuple[Key, ...], _Signature]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            raw = file.read()
    except OSError as error:
        raise ConfigError(
            f"the keys file {path} cannot be read ({error.strerror or error}): change its path, or make it "
            "with echo-ray keys add NAME"
        ) from None
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(f"the keys file {path} can be written by others (mode {mode:04o}): chmod 600 it")
    tree = _parsed(path, raw)
    if not isinstance(tree, list):
        raise ConfigError(f"the keys file {path} must be a list of keys, got {type(tree).__name__}")
    for number, entry in enumerate(tree):
        # Said without the value: it may be a key that somebody put here by mistake.
        if not isinstance(entry, dict) or not re.fullmatch("[0-9a-f]{64}", str(entry.get("hash"))):
            raise ConfigError(
                f"the keys file {path}: keys[{number}].hash must be a SHA-256 of 64 hexadecimal digits, as "
                "echo-ray keys add NAME writes it"
            )
    keys = tuple(build(Key, entry, source=f"{path}, keys[{number}]") for number, entry in enumerate(tree))
    for what in ("name", "hash"):
        value, count = next(iter(Counter(getattr(key, what) for key in keys).most_common(1)), ("", 0))
        if count > 1:
            raise ConfigError(
                f"the keys file {path} has {what} {value:.64} {count} times: remove all but one"
            )
    return keys, _signature(status)


def _parsed(path: Path, raw: bytes) -> Any:
    try:
        if path.suffix == ".json":
            return orjson.loads(raw)
        return yaml.safe_load(raw) or []
    except (orjson.JSONDecodeError, yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        first = str(error).split("\n", 1)[0]
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise ConfigError(f"the keys file {path} is not valid {kind}: {first}") from None


def _signature(status: os.stat_result) -> _Signature:
    # A file that is replaced twice within a tick of the clock has another number.
    return status.st_mtime_ns, status.st_ino, status.st_size


def _write(path: Path, keys: tuple[Key, ...]) -> None:
    """Replace the file at once, readable by its owner only."""
    plain = [key.model_dump() for key in keys]
    if path.suffix == ".json":
        raw = orjson.dumps(plain, option=orjson.OPT_INDENT_2) + b"\n"
    else:
        raw = yaml.safe_dump(plain, sort_keys=False).encode()
    target = path.resolve()
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"the keys file {path} cannot be written: {error.strerror or error}") from None


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other process changes the file meanwhile; its folder is the lock, which leaves nothing behind."""
    folder = path.resolve().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ConfigError(f"the keys file {path} cannot be made: {error.strerror or error}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        os.fsync(handle)
    finally:
        os.close(handle)
