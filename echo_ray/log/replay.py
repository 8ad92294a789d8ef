"""Changes of documents in one form, whatever log they come from: sequential, minimal edits.

Coordinates are characters, half-open. A recording gives all ranges of an entry in UTF-16 units of the
document before it; `in_sequence` rewrites them. Minimising an edit changes no text, only how large the
edit claims to be: editors report accepts, popup completions and formatters as replacements of more than
they change, and an edit that is too large seems to touch text that stood still.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from echo_ray.edits import Edit, apply
from echo_ray.log.source import Malformed
from echo_ray.text import common_prefix, common_suffix


@dataclass(frozen=True, slots=True)
class Change:
    """One entry that changed a document: `apply(before, edits) == document`.

    `before` differs from the file's last `document` only where the log set the whole content anew.
    """

    number: int
    user: str
    session: str
    file: str
    language: str
    ts_ms: int
    before: str
    edits: tuple[Edit, ...]
    """Sequential: each in the coordinates that the one before left. Minimal, never a no-op."""
    document: str
    caret: int
    accepted: bool = False
    """The entry is the acceptance of an inline suggestion."""


class Refused(NamedTuple):
    """An entry that could not be replayed."""

    number: int
    reason: str


def minimise(document: str, start: int, stop: int, new: str) -> Edit | None:
    """The edit without the text that it replaces by itself, first at its start, then at its end.

    None when nothing is left. Where the text repeats its surroundings, the change ends up rightmost.
    """
    old = document[start:stop]
    head = common_prefix(old, new)
    tail = common_suffix(old[head:], new[head:])
    edit = Edit(start + head, stop - tail, new[head : len(new) - tail])
    return edit if edit.text or edit.start < edit.stop else None


def tuples(value: Any, counted: bool) -> list[tuple[int, int, str]]:
    """Checked `[start, stop, text]` tuples; `counted`: the second number is a length."""
    found = []
    for item in value if isinstance(value, list) else [value]:
        match item:
            case [int(start), int(second), str(new)] if start >= 0 and second >= (0 if counted else start):
                found.append((start, start + second if counted else second, new))
            case _:
                raise Malformed("an edit is not [position, position, text]")
    return found


def in_sequence(before: str, value: Any) -> list[tuple[int, int, str]]:
    """Simultaneous edits in UTF-16 units of `before` as sequential edits in characters, first place first."""
    ordered = sorted(tuples(value, counted=False), key=lambda item: item[:2])
    places = characters(before, [place for item in ordered for place in item[:2]])
    found, done, shift = [], 0, 0
    for start, stop, (*_, new) in zip(places[::2], places[1::2], ordered, strict=True):
        if start < done:
            raise Malformed("two edits of one entry overlap")
        found.append((start + shift, stop + shift, new))
        done, shift = stop, shift + len(new) - (stop - start)
    return found


def applied(document: str, edits: Iterable[tuple[int, int, str]]) -> tuple[str, tuple[Edit, ...]]:
    """Document after sequential edits, and those edits minimised, without no-ops."""
    small = []
    for start, stop, new in edits:
        if stop > len(document):
            raise Malformed(f"an edit ends at {stop}, the document at {len(document)}")
        edit = minimise(document, start, stop, new)
        if edit is not None:
            small.append(edit)
            document = apply(document, [edit])
    return document, tuple(small)


def characters(document: str, units: list[int]) -> list[int]:
    """Character offsets of UTF-16 offsets. Raises Malformed."""
    if document.isascii() or max(document) <= "\uffff":
        return units
    encoded = document.encode("utf-16-le")
    if max(units, default=0) * 2 > len(encoded):
        raise Malformed(f"an offset is {max(units)}, the document ends at {len(encoded) // 2}")
    try:
        return [len(encoded[: 2 * unit].decode("utf-16-le")) for unit in units]
    except UnicodeDecodeError:
        raise Malformed("an offset splits a character") from None
