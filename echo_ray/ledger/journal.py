"""The journal of an erasure: what is going to be changed, written before anything is and removed at the end.

While it lies in a folder, the folder's files and manifests may say different things, and the person is only
partly gone; the same command goes on from it. It names the person, since the files still do.
"""

import json
import os
from pathlib import Path
from typing import Any

NAME = ".erasing.json"
"""File name in the folder that the erasure was given."""


def pending(root: Path) -> dict[str, Any] | None:
    """The erasure that was cut short in `root`; None when there is none."""
    try:
        found: dict[str, Any] = json.loads((root / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def write(root: Path, plan: dict[str, Any]) -> None:
    """Keep `plan`: whole or not at all, and on the disk before this returns."""
    part = root / f"{NAME}.part"
    try:
        with part.open("w", encoding="utf-8") as file:
            json.dump(plan, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(root / NAME)
    finally:
        part.unlink(missing_ok=True)


def remove(root: Path) -> None:
    """The erasure is done."""
    (root / NAME).unlink(missing_ok=True)
