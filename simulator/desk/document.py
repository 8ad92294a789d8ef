"""An editor document with one cursor: the only place where simulated text changes.

Every change returns the `Edit` that describes it, so the edits of a document replay to its text. Each
character remembers where it came from, and spans of accepted text move with the edits around them, which is
how accepted characters are followed until the end. The editor closes brackets and quotes and indents by
itself (section 3.2). Offsets are characters. Not covered: selections that stay, several cursors.
"""

from array import array
from dataclasses import dataclass

from echo_ray import text as texts

ORIGINAL = 0
"""Origin of characters that stood there when the document was opened."""
TYPED = -1
"""Origin of characters that the user typed."""
AUTO = -2
"""Origin of what the editor inserted by itself: white space after Enter, closing brackets and quotes."""
PASTED = -3
"""Origin of pasted characters. Exposures have positive numbers."""
CLOSERS = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'", "`": "`"}
"""What the editor puts behind the cursor when the key is typed."""

_OPENERS = ("(", "[", "{")
_PYTHON_DEDENTS = ("return", "pass", "raise", "break", "continue")


@dataclass(frozen=True, slots=True)
class Edit:
    """`removed` at `at` became `inserted`."""

    at: int
    removed: str
    inserted: str


class Span:
    """A piece of a document that moves with the edits around it; text inserted at its borders is outside."""

    __slots__ = ("start", "stop")

    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop

    def moved(self, at: int, end: int, size: int) -> None:
        """`size` characters took the place of `[at, end)`."""
        if at >= self.stop and not at < self.start:
            return
        delta = size - (end - at)
        if end <= self.start:
            self.start += delta
            self.stop += delta
        elif at < self.start:
            self.start = at + size
            self.stop = max(self.stop + delta, self.start)
        else:
            self.stop = at + size if end > self.stop else self.stop + delta


class Document:
    """Text, cursor, and the origin of every character."""

    def __init__(self, text: str, cursor: int, language: str = "python") -> None:
        self.text = text
        self.cursor = cursor
        self._python = language == "python"
        self._unit = indent_unit(text)
        self._origin = array("i", [ORIGINAL]) * len(text)
        self._spans: list[Span] = []
        self._low, self._tail = len(text), len(text)  # edits happened in [low, len - tail)

    @property
    def left(self) -> str:
        """Text before the cursor."""
        return self.text[: self.cursor]

    @property
    def right(self) -> str:
        """Text after the cursor."""
        return self.text[self.cursor :]

    def insert(self, text: str, origin: int = TYPED) -> Edit:
        """Put `text` at the cursor and move behind it."""
        return self.replace(self.cursor, self.cursor, text, origin)

    def backspace(self, count: int = 1) -> Edit:
        """Remove up to `count` characters before the cursor."""
        return self.replace(max(0, self.cursor - count), self.cursor, "", TYPED)

    def replace(self, start: int, stop: int, text: str, origin: int = TYPED) -> Edit:
        """Put `text` in the place of `[start, stop)`; the cursor moves behind it."""
        edit = Edit(start, self.text[start:stop], text)
        self._low, self._tail = min(self._low, start), min(self._tail, len(self.text) - stop)
        self.text = self.text[:start] + text + self.text[stop:]
        self._origin[start:stop] = array("i", [origin]) * len(text)
        self.cursor = start + len(text)
        for span in self._spans:
            span.moved(start, stop, len(text))
        return edit

    def span(self, start: int, stop: int) -> Span:
        """Follow `[start, stop)` from now on."""
        self._spans.append(Span(start, stop))
        return self._spans[-1]

    def behind(self, count: int) -> None:
        """The editor put the last `count` characters by itself; the cursor goes before them."""
        self._automatic(self.cursor - count, self.cursor)
        self.cursor -= count

    def move(self, cursor: int) -> None:
        """Navigate; no text changes."""
        self.cursor = cursor

    def newline(self, outer: str = "") -> Edit:
        """Enter: a line break and the indentation that an editor adds by itself.

        As VS Code does, a line that holds nothing but automatic white space is emptied. `outer`, a line
        break and indentation, is put behind the cursor: Enter between two brackets.
        """
        line = texts.current_line(self.left)
        start = self.cursor - len(line)
        indent = self._next_indent(line)
        blank_auto = bool(line) and not line.strip() and AUTO in self._origin[start : self.cursor]
        if not blank_auto:
            start = self.cursor
        edit = self.replace(start, self.cursor, "\n" + indent + outer)
        self._automatic(self.cursor - len(indent) - len(outer), self.cursor)
        self.cursor -= len(outer)
        return edit

    def _automatic(self, start: int, stop: int) -> None:
        self._origin[start:stop] = array("i", [AUTO]) * (stop - start)

    def alive(self, origin: int) -> int:
        """Number of characters that came from `origin`, other than `ORIGINAL`, and still stand."""
        return self._edited_origins().count(origin)

    def accepted_alive(self, after: int = 0) -> int:
        """Number of characters that came from accepted suggestions above number `after` and still stand."""
        return sum(origin > after for origin in self._edited_origins())

    def _edited_origins(self) -> "array[int]":
        return self._origin[self._low : len(self.text) - self._tail]

    def _next_indent(self, line: str) -> str:
        indent, code = texts.indent_of(line), line.strip()
        opens = code.endswith(_OPENERS) or (self._python and code.endswith(":") and not code.startswith("#"))
        if opens:
            return indent + self._unit
        if self._python and code.split(" ")[0] in _PYTHON_DEDENTS:
            return indent.removesuffix(self._unit)
        return indent


def indent_unit(text: str) -> str:
    """One level of indentation of `text`: a tab, two or four spaces; four spaces when it has none."""
    widths = set()
    for line in text.split("\n"):
        if line.startswith("\t"):
            return "\t"
        width = len(line) - len(line.lstrip(" "))
        if line.strip() and width > 1:
            widths.add(width)
    return "  " if widths and min(widths) == 2 else "    "


def replay(text: str, edits: list[Edit]) -> str:
    """`text` after `edits`. Raises ValueError when an edit does not fit: then a change was not recorded."""
    for edit in edits:
        stop = edit.at + len(edit.removed)
        if text[edit.at : stop] != edit.removed:
            raise ValueError(f"at {edit.at} the text is {text[edit.at : stop]!r}, not {edit.removed!r}")
        text = text[: edit.at] + edit.inserted + text[stop:]
    return text
