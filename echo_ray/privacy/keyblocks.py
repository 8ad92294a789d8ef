"""Private keys over several lines, as far as a window shows them.

A key is followed from its first line to its last, or over lines of base64 while it is typed or where the
window ends; a window that begins inside a key is followed back to its start. Not covered: a key whose lines
are built from parts by code.
"""

import re
from collections.abc import Iterator

from echo_ray.checks.secret_rules import PRIVATE_KEY_BLOCK

_END = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----")
_TAIL = re.compile(r"[A-Za-z0-9+/=]{1,76}(?=[\s'\"`\\]|\Z)")
_BODY_LINE = re.compile(r"[\s'\"`+,;(]*[A-Za-z0-9+/]{40,}={0,2}(?:\\[nr])*[\s'\"`+,;)]*\Z")
_CUT_LINE = re.compile(r"[A-Za-z0-9+/]*={0,2}(?:\\[nr])*[\s'\"`+,;)]*\Z")
_BEGIN = "-----BEGIN " + "PRIVATE KEY-----"
_CUT_BEGIN = re.compile(
    r"(?!-----BEGIN )(?![^\n]{0,30}END )[A-Z0-9 ]{0,10}-{0,5}[A-Z0-9 ]{0,40}-{1,5}"
    r"(?=(?:\\[nr]|[\s'\"`+,]){1,20}[A-Za-z0-9+/]{40})"
)
_RUN = re.compile(r"[A-Za-z0-9+/=]{16}")
_EDGE = " \t\r\n'\"`,;\\.()"
_REACH_CHARS = 8_000


def spans(text: str, cursor: int) -> Iterator[tuple[int, int]]:
    """Where private keys stand in `text`, some perhaps twice; one that is typed reaches to the cursor."""
    begun = _CUT_BEGIN.match(text)
    if begun is not None:
        # The line is completed, so that a key is followed from it as from a whole one.
        moved = begun.end() - len(_BEGIN)
        for start, stop in _followed(_BEGIN + text[begun.end() :], cursor - moved):
            if start == 0 and stop + moved > begun.end():
                yield 0, stop + moved
    if "PRIVATE KEY" in text:
        yield from _followed(text, cursor)
        end = _END.search(text)
        if end is not None and "PRIVATE KEY" not in text[: end.start()]:
            begin = _back(text, end.start())
            if begin is not None:
                yield begin, end.end()
    head = _head(text)
    if head:
        yield 0, head


def _followed(text: str, cursor: int) -> Iterator[tuple[int, int]]:
    for match in PRIVATE_KEY_BLOCK.finditer(text):
        start, stop = match.span()
        if _END.search(match.group()) is None:
            tail = _TAIL.match(text, stop)
            if tail is not None and (tail.end() == cursor or _RUN.search(match.group())):
                stop = tail.end()
        yield start, start + len(text[start:stop].rstrip(_EDGE))


def _back(text: str, stop: int) -> int | None:
    """Start of the lines of base64 that end at `stop`; None when there are none."""
    low = max(0, stop - _REACH_CHARS)
    match = re.search(r"[A-Za-z0-9+/=\s'\"`,\\]*\Z", text[low:stop])
    if match is None or not _RUN.search(match.group()):
        return None
    return low + match.start()


def _head(text: str) -> int:
    """End of the lines at the start of `text` that are nothing but base64: at least two, else 0.

    The first one may be cut.
    """
    done, lines = 0, 0
    while done < len(text):
        stop = text.find("\n", done)
        stop = len(text) if stop < 0 else stop
        if (_BODY_LINE if lines else _CUT_LINE).match(text, done, stop) is None:
            break
        done, lines = min(len(text), stop + 1), lines + 1
    if lines < 2:
        return 0
    tail = _TAIL.match(text, done)
    alone = tail is not None and text[tail.end() : tail.end() + 1] in ("", "\n", "\\")
    return tail.end() if tail is not None and alone else len(text[:done].rstrip(_EDGE))
