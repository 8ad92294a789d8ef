"""Settings of `keys`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from echo_ray.config import Config


class KeysConfig(Config):
    """The API keys of the completion service."""

    action: Literal["list", "add", "revoke"] = "list"
    """What to do: `list`; `add NAME`, which prints the new key once; `revoke NAME`. A running service
    follows within two seconds."""
    file: Path = Path("runs/keys.yaml")
    """The keys file (YAML, or JSON when it is called `*.json`); it holds hashes, never a key."""
    name: str = ""
    """The key: letters, digits and `. _ @ -`, 64 at most."""
    tenant: str = "default"
    """Whose experience the requests with this key are; the same letters."""
    rate_per_s: float | None = Field(None, gt=0)
    """Requests a second in the long run that the key may make; none is the service's limit."""
    burst: int | None = Field(None, ge=1)
    """Requests at once that the key may make (count); none is the service's limit."""
    admin: bool = False
    """The key may also use the routes that are not for clients."""
    format: Literal["table", "json"] = "table"
    """`table` for people, `json` for machines."""
