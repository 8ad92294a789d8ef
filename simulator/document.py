"""An editor document with one cursor: the only place where simulated text changes.

Every change returns the `Edit` that describes it, so the edits of a document replay to its text. Each
character remembers where it came from, which is how accepted characters are followed until the end.
Offsets are characters. Not covered: selections that stay, several cursors, undo, bracket auto-close
(section 3.2 has it on; here every bracket is typed).
"""

from array import array
from dataclasses import dataclass

from echo_ray import text as texts

ORIGINAL = 0
"""Origin of characters that stood there when the document was opened."""
TYPED = -1
"""Origin of characters that the user typed."""
AUTO = -2
"""Origin of white space that the editor inserted after Enter. Exposures have positive numbers."""

_OPENERS = ("(", "[", "{")
_PYTHON_DEDENTS = ("return", "pass", "raise", "break", "continue")


@dataclass(frozen=True, slots=True)
class Edit:
    """`removed` at `at` became `inserted`."""

    at: int
    removed: str
    inserted: str


class Document:
    """Text, cursor, and the origin of every character."""

    def __init__(self, text: str, cursor: int, language: str = "python") -> None:
        self.text = text
        self.cursor = cursor
        self._python = language == "python"
        self._unit = indent_unit(text)
        self._origin = array("l", [ORIGINAL]) * len(text)
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
        self._origin[start:stop] = array("l", [origin]) * len(text)
        self.cursor = start + len(text)
        return edit

    def move(self, cursor: int) -> None:
        """Navigate; no text changes."""
        self.cursor = cursor

    def newline(self) -> Edit:
        """Enter: a line break and the indentation that an editor adds by itself.

        As VS Code does, a line that holds nothing but automatic white space is emptied.
        """
        line = texts.current_line(self.left)
        start = self.cursor - len(line)
        indent = self._next_indent(line)
        blank_auto = bool(line) and not line.strip() and AUTO in self._origin[start : self.cursor]
        if not blank_auto:
            start = self.cursor
        edit = self.replace(start, self.cursor, "\n" + indent)
        for index in range(self.cursor - len(indent), self.cursor):
            self._origin[index] = AUTO
        return edit

    def alive(self, origin: int) -> int:
        """Number of characters that came from `origin`, other than `ORIGINAL`, and still stand."""
        return self._edited_origins().count(origin)

    def accepted_alive(self) -> int:
        """Number of characters that came from accepted suggestions and still stand."""
        return sum(origin > ORIGINAL for origin in self._edited_origins())

    def unbroken(self, origin: int) -> bool:
        """Whether the characters of `origin` still stand in one piece."""
        origins = self._edited_origins()
        count = origins.count(origin)
        first = origins.index(origin) if count else 0
        return count > 0 and origins[first : first + count].count(origin) == count

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
