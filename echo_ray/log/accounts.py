"""The accounts of an import: what became of every row, by kind of record."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from echo_ray.errors import StageError
from echo_ray.log.contract import KINDS, OTHER


@dataclass(slots=True)
class Totals:
    """The accounts of an import, by kind of record."""

    read: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    merged: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    repeats: int = 0
    lines: int = 0
    example: dict[str, Any] | None = None

    def add_read(self, result: dict[str, Any]) -> None:
        """Add what `scatter` says of one file."""
        for name in ("read", "quarantined", "unknown"):
            getattr(self, name).update(result[name])
        self.lines += result["lines"]
        self.example = self.example or result["example"]

    def add_kept(self, result: dict[str, Any]) -> None:
        """Add what `gather` says of one partition."""
        for name in ("kept", "merged"):
            getattr(self, name).update(result[name])
        self.repeats += result["repeats"]

    def accounts(self) -> dict[str, dict[str, int]]:
        """Rows read, kept, merged and quarantined by kind."""
        names = ("read", "kept", "merged", "quarantined")
        return {kind: {name: getattr(self, name)[kind] for name in names} for kind in (*KINDS, OTHER)}

    def check(self) -> None:
        """Every row read is kept, merged or quarantined; raises StageError with the accounts otherwise."""
        for kind, account in self.accounts().items():
            if account["read"] != account["kept"] + account["merged"] + account["quarantined"]:
                raise StageError(f"rows were lost: the accounts of kind {kind} are {account}")

    def first(self) -> str:
        """What was wrong with the first line refused."""
        if self.example is None:
            return "the log holds events only" if self.read["event"] else "the files are empty"
        place = f"{self.example['file']}:{self.example['line']}"
        refused = self.quarantined.total()
        return f"{refused:,} lines refused, the first in {place}: {self.example['reason']}"

    def notes(self) -> dict[str, Any]:
        """What the manifest keeps."""
        return {
            "accounts": self.accounts(),
            "events": self.kept["event"],
            "duplicates": self.merged["request"],
            "repeats": self.repeats,
            "quarantined": self.quarantined.total(),
            "quarantine_lines": self.lines,
            "unknown_fields": dict(self.unknown),
        }
