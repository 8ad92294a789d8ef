"""Settings of what the experience log may hold. Pure values; they become the section `privacy`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from echo_ray.config import Config
from echo_ray.privacy import paths


def _named(value: Any) -> Any:
    # YAML 1.1 reads a bare `off` as false.
    return "off" if value is False else value


LevelName = Annotated[Literal["off", "metrics", "no_code", "all"], BeforeValidator(_named)]
"""Names of `levels.Level`."""


class PrivacyConfig(Config):
    """What of a completion request may be stored. Of several settings that apply, the strictest wins."""

    collect: LevelName = "all"
    """How much of every request is stored: `all`; `no_code`: who, when, which model and what became of the
    proposal, but no text; `metrics`: nothing, only counters rise; `off`: nothing at all."""
    tenants: dict[str, LevelName] = Field(default_factory=dict)
    """Levels of single tenants, by name; a tenant is never above `collect`."""
    users: dict[str, LevelName] = Field(default_factory=dict)
    """Levels of single users, by the name that they send or by their pseudonym; never above `collect`."""
    repositories: dict[str, LevelName] = Field(default_factory=dict)
    """Levels of repositories, by glob over host and path without scheme and `.git`, as in
    `git.example.com/payroll/*`; `*` also crosses slashes; case does not matter; never above `collect`."""
    exclude: list[str] = Field(default_factory=list)
    """Files that are completed but never logged, as lines of a `.gitignore`, added to the built-in ones
    (`.env*`, keys, certificates, credentials, state files); `!name` takes one back."""
    redact: bool = True
    """Replace credentials by placeholders before anything is written, and store no text of a request that
    was sent while the cursor stood in a value that may become one."""
    personal: bool = True
    """Replace e-mail addresses of persons, telephone, card and identity numbers and public addresses too;
    needs `redact`."""
    pseudonyms: bool = True
    """Replace user, session and file names by keyed hashes; a file keeps its extension. Without this, names
    are stored as clients send them."""
    key_file: Path | None = None
    """File with the secret key of placeholders and pseudonyms, made on the first start; none is a file beside
    the log's folder. Replicas that share the file give the same pseudonyms; without it they are final."""
    retention_days: float | None = Field(None, gt=0)
    """Records older than this are removed from the log (days); none keeps them."""

    @field_validator("exclude")
    @classmethod
    def _patterns(cls, value: list[str]) -> list[str]:
        for pattern in value:
            if fault := paths.pattern_fault(pattern):
                raise ValueError(f"{pattern!r} is no pattern of a .gitignore: {fault}")
        return value
