"""Real commits with the immediate unit that a reader saw in them; the rule and the story stand in README.md.

`immediate.jsonl` holds coordinates and labels, never code: the texts are read from the data folder beside the
checkout, and where it is absent there are no cases.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.labels import sources
from tests.labels.sources import Place

FILE = Path(__file__).parent / "immediate.jsonl"
HELD_OUT = 10
"""Labels of each language, its last ones, that nobody reads who improves the rules."""


@dataclass(frozen=True, slots=True)
class Label:
    """One line of `immediate.jsonl`. All offsets count characters of the file's text."""

    id: str
    language: str
    source: str
    """Bundle or corpus, relative to the data folder."""
    commit: str
    """Commit of the bundle, or repository of the corpus."""
    path: str
    start: int
    """Where the cursor stood."""
    stop: int
    """Where the commit ends."""
    closed: int
    """Characters after `stop` that the editor had closed by itself: they stand in the suffix."""
    resume: int
    """Where the suffix goes on after these: text between was written later, and elsewhere than in the gap."""
    sha: str
    """BLAKE2b of the text, 8 bytes, hexadecimal."""
    cut: int
    """The label: length of the immediate unit in characters of the commit."""
    also: int | None = None
    """A second length that is as right."""

    @property
    def place(self) -> Place:
        """The file that the label points at."""
        return Place(self.source, self.commit, self.path)


@dataclass(frozen=True, slots=True)
class Case:
    """What stood around a gap, what was written into it, and how much of it was needed at once."""

    id: str
    language: str
    prefix: str
    commit: str
    suffix: str
    cut: int
    also: int | None


def labels() -> list[Label]:
    """All labels, whether or not their data is there."""
    return [Label(**json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines()]


def held_out() -> frozenset[str]:
    """Ids of the labels that are for measuring only."""
    grouped: dict[str, list[str]] = {}
    for label in labels():
        grouped.setdefault(label.id.split("-")[0], []).append(label.id)
    return frozenset(name for names in grouped.values() for name in names[-HELD_OUT:])


def sha(text: str) -> str:
    """Hash by which a label knows the text that it was made on."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def case(label: Label, text: str) -> Case:
    """The gap that `label` describes in `text`."""
    return Case(
        label.id,
        label.language,
        text[: label.start],
        text[label.start : label.stop],
        text[label.stop : label.stop + label.closed] + text[label.resume :],
        label.cut,
        label.also,
    )


@cache
def texts() -> dict[Place, str]:
    """The texts of all labels whose data is there."""
    return sources.contents(sorted({label.place for label in labels()}))


def cases() -> list[Case]:
    """Every label whose data is there, in the order of the file."""
    return [case(label, texts()[label.place]) for label in labels() if label.place in texts()]
