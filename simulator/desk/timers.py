"""What can happen between two keys: the payloads of a desk's clock, and the suggestion they are about."""

from dataclasses import dataclass

from simulator.desk.clients import Touch
from simulator.desk.document import Document, Span

EXPIRE_MS = 10_000.0
"""An undecided or rejected suggestion goes after this long (section 3.3)."""

Place = tuple[str, int, int]
"""Frame, characters left, occurrence: the opportunity on which all draws of a suggestion hang."""


@dataclass(slots=True)
class Ghost:
    """A suggestion on the screen; `text` is what of it has not been typed yet."""

    exposure: int
    request_id: str
    place: Place
    text: str
    size: int
    """Characters when it was painted."""
    lines: int
    shown_ms: float
    decided: bool = False


@dataclass(frozen=True, slots=True)
class Debounce:
    """The plug-in has heard nothing since `touch`, the `edits`-th edit."""

    touch: Touch
    edits: int


@dataclass(frozen=True, slots=True)
class Response:
    """An answer arrives: for the cursor behind `left` in `document`, with `right_chars` behind it."""

    request_id: str
    text: str
    """"" when only the shadow has something to show."""
    shade: str
    """What the shadow engine would show; "" for nothing."""
    place: Place
    document: Document
    left: str
    right_chars: int


@dataclass(frozen=True, slots=True)
class Escape:
    """The user dismisses the suggestion."""

    exposure: int


@dataclass(frozen=True, slots=True)
class Expire:
    """The suggestion has been there for too long."""

    exposure: int


@dataclass(frozen=True, slots=True)
class Dismissed:
    """A plug-in that waits before it tells of a dismissal does so now."""

    request_id: str
    visible_ms: int


@dataclass(frozen=True, slots=True)
class Check:
    """A look, `after_s` seconds after an acceptance, at what became of the text that was taken."""

    document: Document
    span: Span
    taken: str
    item: str
    exposure: int
    after_s: int


Timer = Debounce | Response | Escape | Expire | Dismissed | Check
