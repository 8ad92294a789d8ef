"""The white space at the start of a completion's lines, made to fit the document. Pure.

Two faults of models: they write the cursor's indentation a second time, and they indent with spaces where the
document has tabs (or the other way round). Only what is plain is changed: a document that mixes both, or has
fewer than `LEAST_LINES` indented lines, says nothing.

Not covered: another number of spaces per level; strings over several lines in a completion that is converted.
"""

import re
from math import gcd

from echo_ray.text import current_line, indent_of

LEAST_LINES = 3
"""Indented lines of one style that make a document's style (count)."""

REACH_CHARS = 8000
"""How far around the cursor the document's style is read."""

DEFAULT_COLUMNS = 4
"""Width of a level where the text does not tell."""

_INDENTED = re.compile(r"^(\t| {2,})[ \t]*(?=\S)", re.MULTILINE)
_OPENS = re.compile(r"(?:[^\w\s;)\]}\"'`]|\b(?:and|or|not|in|is|return|then|do|else|begin|of))\s*$")
_GOES_ON = re.compile(r"(?:[^\w\s\"'`@#({\[<$~!]|(?:and|or|if|else|for|in|is|not)\b)")


def fitted(text: str, prefix: str, suffix: str) -> str:
    """`text` with both faults repaired."""
    return _in_style(_begun(text, prefix), prefix, suffix)


def _begun(text: str, prefix: str) -> str:
    """`text` without indentation that the cursor's line has already."""
    here = current_line(prefix)
    lead = indent_of(text)
    if not here or here.strip() or lead != here or not text[len(lead) :].strip():
        return text
    above = next((line for line in reversed(prefix.split("\n")[:-1]) if line.strip()), "")
    # One level deeper is right below what opens a block, or where the line above goes on.
    deeper = _OPENS.search(above) or _GOES_ON.match(text[len(lead) :])
    return text if indent_of(above) != here or deeper else text[len(lead) :]


def _in_style(text: str, prefix: str, suffix: str) -> str:
    """`text` with the indentation of its later lines in tabs or spaces, as in the document."""
    head, newline, rest = text.partition("\n")
    own = _style(rest, 1)
    around = _style(prefix[-REACH_CHARS:] + "\n" + suffix[:REACH_CHARS], LEAST_LINES)
    if own is None or around is None or own == around:
        return text
    if around == "\t":
        width = _level(rest) or DEFAULT_COLUMNS

        def convert(found: re.Match[str]) -> str:
            levels, spare = divmod(len(found.group()), width)
            return "\t" * levels + " " * spare
    else:
        width = _level(prefix[-REACH_CHARS:] + "\n" + suffix[:REACH_CHARS]) or DEFAULT_COLUMNS

        def convert(found: re.Match[str]) -> str:
            return found.group().replace("\t", " " * width)

    return head + newline + _INDENTED.sub(convert, rest)


def _style(text: str, least: int) -> str | None:
    """The first character of all indented lines; None when they differ or are fewer than `least`."""
    leads = [found.group(1)[0] for found in _INDENTED.finditer(text)]
    return leads[0] if len(leads) >= least and len(set(leads)) == 1 else None


def _level(text: str) -> int:
    """Spaces of one level (count), 0 when the text does not tell."""
    widths = [len(found.group()) for found in _INDENTED.finditer(text)]
    common = gcd(*widths) if widths else 0
    return common if common in (2, 3, 4, 8) else 0
