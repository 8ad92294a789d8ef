"""Keyed pseudonyms, and the one secret that they rest on.

HMAC-SHA256 of domain and name under a key that never enters the log: without it nobody can try names, with
it every replica gives the same pseudonym. Domains keep a user from being matched with a session of that
name. Our choice: 64 bits; among a million names the chance of one collision is 3e-8.

Not covered: rotation of the key (all pseudonyms and placeholders change with it); what times and code say
about their author.
"""

import contextlib
import hmac
import os
import re
import secrets
import stat
from functools import lru_cache
from pathlib import Path

from echo_ray.errors import ConfigError

KEY_BYTES = 32
"""Length of a new key; the least that is accepted is half of it."""

_HEX_CHARS = 16
_CACHED = 4_096
_EXTENSION = re.compile(r"[^/\\]\.([A-Za-z][A-Za-z0-9+]{0,9})\Z")


class Pseudonyms:
    """Names of people, sessions, files and tenants as 16 hexadecimal digits."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._hash = lru_cache(_CACHED)(self._hashed)

    def user(self, name: str) -> str:
        """A person."""
        return self._hash("user", name)

    def session(self, name: str, *more: str) -> str:
        """A session, or a part of one that `more` names."""
        return self._hash("session", name, *more)

    def tenant(self, name: str) -> str:
        """An organisation."""
        return self._hash("tenant", name)

    def file(self, path: str, repository: str = "") -> str:
        """A document; the extension stays, since it tells the language, and nothing else."""
        ending = _EXTENSION.search(path)
        return self._hash("file", path, repository) + (f".{ending[1].lower()}" if ending else "")

    def request(self, request_id: str) -> str:
        """An identifier that a client made up."""
        return self._hash("request", request_id)

    def _hashed(self, domain: str, *values: str) -> str:
        # Lengths keep ("a", "bc") from being ("ab", "c").
        parts = (value.encode("utf-8", "surrogatepass") for value in values)
        message = b"".join(b"%d:%s" % (len(part), part) for part in parts)
        digest = hmac.digest(self._key, domain.encode() + b"\0" + message, "sha256")
        return digest.hex()[:_HEX_CHARS]


def key_path(key_file: Path | None, log_dir: Path) -> Path:
    """Where the key lies: outside the folder of the log, so that a copy of the log does not carry it."""
    return key_file if key_file is not None else log_dir.parent / f"{log_dir.name}.key"


def load_key(path: Path) -> bytes:
    """The key in `path`; a missing file is made first, with mode 0600, complete or not at all.

    Raises ConfigError for a file that others can read, that is too short, or that cannot be read or made.
    """
    try:
        if not path.exists():
            _create(path)
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read().strip()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"serve.privacy.key_file={path} cannot be used ({reason}): name a file that this "
            "service may write"
        ) from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise ConfigError(
            f"serve.privacy.key_file={path} has mode {stat.S_IMODE(mode):04o}, so others can read "
            "it: chmod 600 it or name another serve.privacy.key_file"
        )
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES // 2:
        raise ConfigError(
            f"serve.privacy.key_file={path} must hold at least {KEY_BYTES} hexadecimal digits, got "
            f"{len(text)} characters: restore the file, or name another serve.privacy.key_file for new "
            "pseudonyms"
        )
    return key


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(KEY_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # A link fails where another replica was first, and then its key is the one that counts.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
