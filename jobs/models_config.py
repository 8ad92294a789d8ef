"""Settings of `models`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from echo_ray.config import Config


class ModelsConfig(Config):
    """The model registry: versions that never change, and the aliases that point at them."""

    action: Literal["list", "show", "add", "promote", "rollback", "unset", "attach", "verify", "remove"] = (
        "list"
    )
    """What to do: `list`; `show VERSION`; `add FOLDER`; `promote VERSION [ALIAS]`; `rollback [ALIAS]`, back
    to the version before; `unset [ALIAS]`, which then points nowhere; `attach VERSION FILE`, figures of
    `evaluate`; `verify [VERSION]`, whether a byte has changed; `remove VERSION`, whose number stays taken."""
    registry: Path = Path("runs/models")
    """Folder of the registry, on a local or a network file system that all its users see."""
    version: str = ""
    """A version of the registry: its number (`v3`), an alias, or the name of its content. With `rollback`:
    only while the alias points to this one."""
    alias: str = "champion"
    """The alias that is moved: `champion`, `challenger`, or another word of a-z, 0-9, - and _."""
    folder: Path | None = None
    """What is added: the output folder of a training, or a model folder."""
    figures: Path | None = None
    """What is attached: `evaluate.json`, or its folder."""
    note: str = Field("", max_length=1000)
    """Why, in a few words; kept in the registry's history."""
    verify: bool = True
    """Read a version's bytes again before an alias is moved to it, and refuse one that has changed."""
    link: bool = True
    """Add the weights of a training by hard link where the file system can, which takes no space; they become
    read-only where they lie. Everything else is copied: others may write into it."""
    format: Literal["table", "json"] = "table"
    """`table` for people, `json` for machines."""
