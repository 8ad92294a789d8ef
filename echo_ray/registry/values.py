"""What a registry holds, as plain values: versions, lines of the history, and names of both."""

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from echo_ray.errors import ConfigError, SchemaError

CHAMPION = "champion"
"""The alias that serving follows unless told otherwise."""
ADD, PROMOTE, ROLLBACK, UNSET, ATTACH, REMOVE = "add", "promote", "rollback", "unset", "attach", "remove"
NOTE = "note"
"""What a line of the history can tell."""

_NUMBER = re.compile(r"[vV]?(\d{1,9})")
_CONTENT = re.compile(r"(?:.*-)?([0-9a-f]{10})")
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Version:
    """One model of a registry; nothing of it ever changes."""

    number: int
    content: str
    """Hash of configuration, tokenizer and weights, as `models.version` ends with it."""
    family: str
    """Name of its FIM template."""
    created_at: str
    by: str
    bytes: int
    """Of all files together."""
    files: dict[str, tuple[int, str]] = field(repr=False)
    """Size (bytes) and SHA-256 of every file."""
    source: str
    """Folder that it was added from."""
    echo_ray: str
    """Version of the program that added it."""
    trained_from: str | None
    """Content version that its training began with; None when nobody told."""
    parent: int | None
    """The version with that content, where the registry had one."""
    base: int | None
    """The first of its chain of parents."""
    data: str | None
    """Fingerprint of the data that it was trained on: of its packed samples' manifest."""
    training: str | None
    """Fingerprint of the training."""
    note: str
    """Why it was added."""
    folder: Path
    """Its folder in the registry."""

    @property
    def name(self) -> str:
        """`v7`."""
        return f"v{self.number}"

    @property
    def model(self) -> Path:
        """The model folder, for transformers, vLLM and `echo-ray serve`."""
        return self.folder / "model"

    def plain(self) -> dict[str, Any]:
        """Value of `version.json`."""
        value = asdict(self)
        del value["folder"]
        return value


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the history."""

    at: str
    by: str
    what: str
    version: int | None = None
    """Which version; of a rollback the one that the alias points to now, of an unset none."""
    alias: str | None = None
    before: int | None = None
    """What the alias pointed to."""
    figures: str | None = None
    """Name of the attached figures."""
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """The line as a JSON value, without what it does not tell."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "")}


def version_of(value: Any, folder: Path) -> Version:
    """The version that `version.json` in `folder` tells. Raises SchemaError when it does not tell one."""
    try:
        files = {name: (int(size), str(digest)) for name, (size, digest) in value["files"].items()}
        return Version(**{**value, "files": files, "folder": folder})
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise SchemaError(
            f"{folder / 'version.json'} is no record of a version ({' '.join(str(error).split())})"
        ) from None


def number_of(reference: str) -> int | None:
    """7 for `v7`, `v0007` and `7`; None for anything else."""
    found = _NUMBER.fullmatch(reference)
    return None if found is None else int(found[1])


def content_of(reference: str) -> str | None:
    """The hash at the end of a content version (`model-0123456789`, `0123456789`); None for anything else."""
    found = _CONTENT.fullmatch(reference)
    return None if found is None else found[1]


def check_alias(alias: str, key: str) -> str:
    """`alias`, where it is one. Raises ConfigError, naming the setting `key`, for words that mean something
    else: `v7` is a number, ten hexadecimal digits are content.
    """
    if not _ALIAS.fullmatch(alias):
        raise ConfigError(
            f"{key}={alias} is no alias: champion, challenger, or another word that begins with a-z, of a-z, "
            "0-9, - and _, of at most 64 characters"
        )
    if number_of(alias) is not None or content_of(alias) is not None:
        raise ConfigError(
            f"{key}={alias} would be taken for a version: name an alias such as champion or challenger"
        )
    return alias
