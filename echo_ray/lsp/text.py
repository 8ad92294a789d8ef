r"""Positions of editors, offsets of Python, and the part of a document that is sent. Pure.

An editor names a place by line and by code units within the line, in an encoding that is agreed on at the
start (UTF-16 where nothing is said). Lines end with `\n`, `\r\n` or `\r` and nothing else: form feeds and
Unicode's line separators are text (LSP 3.18, "Text Documents"). Places beyond a line's or the document's
end mean that end; a place inside a character means the one before it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

_LINE_END = re.compile(r"\r\n|\r|\n")
_WIDTH: dict[str, Callable[[str], int]] = {
    "utf-8": lambda char: 1 if char < "\x80" else 2 if char < "\u0800" else 3 if char < "\U00010000" else 4,
    "utf-16": lambda char: 1 if char < "\U00010000" else 2,
    "utf-32": lambda char: 1,
}
DEFAULT_ENCODING = "utf-16"
"""What positions and lengths are counted in where nothing else was agreed on."""


@dataclass(frozen=True, slots=True)
class Window:
    r"""The text around a cursor, with `\n` as the only line end, and whether it reaches the ends."""

    prefix: str
    suffix: str
    prefix_complete: bool
    suffix_complete: bool


def units(text: str, encoding: str = DEFAULT_ENCODING) -> int:
    """Length of `text` in code units of `encoding`."""
    return len(text) if text.isascii() else sum(map(_WIDTH[encoding], text))


def chars(text: str, count: int, encoding: str = DEFAULT_ENCODING) -> int:
    """How many whole characters of `text` its first `count` code units hold."""
    if encoding == "utf-32" or text.isascii():
        return max(0, min(count, len(text)))
    width = _WIDTH[encoding]
    for index, char in enumerate(text):
        count -= width(char)
        if count < 0:
            return index
    return len(text)


def offset_at(text: str, line: int, character: int, encoding: str = DEFAULT_ENCODING) -> int:
    """Offset in `text` of an editor's position."""
    start = _line_start(text, line)
    if start is None:
        return len(text)
    return start + chars(text[start : _line_end(text, start)], character, encoding)


def window(text: str, offset: int, max_chars: int) -> Window:
    """At most `max_chars` of `text` around `offset`, whole lines where that leaves something.

    Half goes to either side; what one side does not need is the other's.
    """
    before, after = offset, len(text) - offset
    half = max_chars // 2
    left = min(before, max(half, max_chars - after))
    right = min(after, max_chars - left)
    prefix, suffix = text[offset - left : offset], text[offset : offset + right]
    if left < before and (end := _LINE_END.search(prefix)) and end.end() < len(prefix):
        prefix = prefix[end.end() :]
    if right < after and (cut := max(suffix.rfind("\n"), suffix.rfind("\r"))) >= 0:
        suffix = suffix[: cut + 1]
    return Window(_plain(prefix), _plain(suffix), left == before, right == after)


def _plain(text: str) -> str:
    r"""Text with `\n` as its line end, and without the half characters that cannot be sent."""
    text = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _line_start(text: str, line: int) -> int | None:
    if "\r" in text:
        ends = _LINE_END.finditer(text)
        for _ in range(line - 1):
            if next(ends, None) is None:
                return None
        last = next(ends, None) if line else None
        return 0 if not line else None if last is None else last.end()
    start = 0
    for _ in range(line):
        start = text.find("\n", start) + 1
        if not start:
            return None
    return start


def _line_end(text: str, start: int) -> int:
    end = _LINE_END.search(text, start)
    return end.start() if end else len(text)
