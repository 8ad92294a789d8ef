"""Settings of the language server, from the command line and from the editor."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from echo_ray.config import Config, build
from echo_ray.errors import ConfigError

_ANOTHERS = ("editorInfo", "editorPluginInfo", "editorConfiguration", "networkProxy", "copilotIntegrationId")
"""Keys of `initializationOptions` that other clients send to every server of their dialect."""
_FIXED = ("tcp_port",)
"""Settings that are in use before an editor can speak."""


class LspConfig(Config):
    """Where the completion service is, and what of the editor's documents it is told."""

    url: str = "http://127.0.0.1:8000"
    """Address of the completion service."""
    api_key_env: str = "ECHO_RAY_API_KEY"
    """Environment variable that holds the key for the service; unset or empty sends no key."""
    user: str | None = Field(None, min_length=1)
    """Pseudonym that requests are logged under; none lets the service name the user by key or address."""
    timeout_ms: int = Field(5000, ge=1)
    """A completion that takes longer is given up (milliseconds)."""
    debounce_ms: int = Field(50, ge=0)
    """Automatic requests wait this long for the next keystroke before they are sent (milliseconds)."""
    max_chars: int = Field(200_000, ge=2)
    """Longest context that is sent, prefix and suffix together; larger documents are cut around the cursor
    (characters)."""
    snapshots: bool = True
    """Whether changes that no completion request shows are sent too; without them it is not known what became
    of a suggestion."""
    snapshot_ms: int = Field(1000, ge=1)
    """A snapshot is sent when the document has not changed for this long (milliseconds)."""
    queue_max: int = Field(1000, ge=1)
    """Events kept while the service is away; the oldest go first (count)."""
    tcp_port: int | None = Field(None, ge=0, le=65535)
    """Port on 127.0.0.1 to wait for one editor on, 0 any free one; none speaks over stdin and stdout."""
    exclude_language_ids: list[str] = Field(default_factory=list)
    """Documents of these languages are never sent (LSP language identifiers)."""
    exclude_paths: list[str] = Field(default_factory=list)
    """Files that match one of these patterns are never sent, besides the built-in ones (keys, `.env`)."""

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return url.rstrip("/")


def with_options(config: LspConfig, options: object) -> tuple[LspConfig, str | None]:
    """(`config` with the editor's `initializationOptions`, a sentence about what was refused).

    Settings stand at the top of the options or under `lsp`, with the names of `LspConfig`. What cannot be
    used is left as it was: an editor that starts must not fail.
    """
    if not isinstance(options, Mapping):
        return (
            config,
            None if options is None else "initializationOptions must be an object; nothing was used",
        )
    nested = options.get("lsp")
    given: dict[str, Any] = {key: value for key, value in options.items() if key not in ("lsp", *_ANOTHERS)}
    given |= nested if isinstance(nested, Mapping) else {}
    known = {
        key: value for key, value in given.items() if key in LspConfig.model_fields and key not in _FIXED
    }
    unknown = sorted(set(given) - set(known))
    fault = f"initializationOptions: {', '.join(unknown)} cannot be set there" if unknown else None
    try:
        return build(LspConfig, config.model_dump() | known, "initializationOptions"), fault
    except ConfigError as error:
        return config, str(error)
