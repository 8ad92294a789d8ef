"""What the parts of an erasure hand to each other: who is erased, what was found, what is to be done."""

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ERASED = "erased"
"""Stands where a row of somebody else named an erased sample."""
QUARANTINE = "quarantine.jsonl"
"""Lines of a log that were no records."""
IDS = ("sample_id", "request_id", "key")
"""Fields that name a sample where a record names no person."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who is erased."""

    user: str
    owners: frozenset[str] = frozenset()
    """Their marks in exports."""
    ids: frozenset[str] = frozenset()
    """Ids of their samples; needed only where rows of others, or of nobody, name them."""


@dataclass(slots=True)
class Found:
    """What of one file is the person's."""

    rows: int = 0
    """Rows, lines or entries to be removed."""
    cleaned: int = 0
    """Rows of others that name one of the person's samples, and quarantined lines that lose their text."""
    drops: Counter[str] = field(default_factory=Counter)
    """Removed rows by drop reason, quarantined ones by kind."""
    trained: int = 0
    """Removed rows without a reason."""
    ids: set[str] = field(default_factory=set)
    """Ids of the removed rows."""
    named: set[str] = field(default_factory=set)
    """Those of `Person.ids` by which rows were found."""
    others: int = 0
    """Lines that stay, of a file of lines."""

    def __bool__(self) -> bool:
        return bool(self.rows or self.cleaned)


@dataclass(slots=True)
class Plan:
    """An erasure, as plain values; paths are relative to its folder."""

    user: str
    salt: str
    at: str
    """When it was begun, UTC."""
    rewrite: dict[str, int | None] = field(default_factory=dict)
    """Files to rewrite, with the number of input rows that they are to tell (None: leave it)."""
    attributed: list[str] = field(default_factory=list)
    """Quarantines whose unattributable lines lose their text."""
    replace: dict[str, str] = field(default_factory=dict)
    """Small files with their new text: manifests, markers."""
    delete: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    removed: dict[str, dict[str, int]] = field(default_factory=dict)
    """Rows removed by folder and kind."""
    models: list[dict[str, Any]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """Sentences about what is left to a person."""

    @property
    def person(self) -> Person:
        """Who is erased, for the files."""
        return Person(self.user, frozenset(self.owners), frozenset(self.ids))

    @property
    def work(self) -> int:
        """Files to be changed (count)."""
        return len(self.rewrite) + len(self.delete) + len(self.replace)


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A file to write that takes the place of `path` when it is whole and on the disk."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        shutil.copymode(path, part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
