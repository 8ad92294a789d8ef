"""What a question shows of a sample: a window around the cursor without credentials and personal data.

Whatever goes into a question may leave the machine, so both are blotted out here, for every kind of model.
The text around the cursor is searched as one piece, because a secret may begin before the cursor, and from
`MARGIN_CHARS` further out than is shown, because one may begin before the window. A blot has the length of
what it covers, so offsets stay. Windows begin at a line start that moves in steps, so that the next request
in the same file shares its beginning with this one and a prefix cache knows it.

Not covered: secrets that no detector knows; names of people and products in ordinary words.
"""

from typing import NamedTuple

from echo_ray.checks import personal, secrets

BEFORE_CHARS = 3_000
"""Text shown before the cursor, at most (characters)."""
AFTER_CHARS = 800
"""Text shown after the cursor, at most (characters)."""
STEP_CHARS = 1_000
"""The window's beginning moves in such steps (characters)."""
MARGIN_CHARS = 2_000
"""Text beyond the window that is searched for secrets too (characters)."""
BLOT = "*"


class View(NamedTuple):
    """The three texts of a sample as a question shows them."""

    before: str
    middle: str
    after: str


def view(prefix: str, middle: str, suffix: str) -> View:
    """The window around the cursor; `middle` is shown whole."""
    start = max(0, len(prefix) - BEFORE_CHARS)
    start = min(-(-start // STEP_CHARS) * STEP_CHARS, len(prefix))
    begin = max(0, start - MARGIN_CHARS)
    end = min(len(suffix), AFTER_CHARS)
    text = blotted(prefix[begin:] + middle + suffix[: end + MARGIN_CHARS])
    cursor = len(prefix) - begin
    before, after = text[start - begin : cursor], text[cursor + len(middle) :][:end]
    if start:
        before = before[before.find("\n") + 1 :]  # none: the whole of a very long line
    if end < len(suffix):
        after = after[: after.rfind("\n") + 1] or after
    return View(before, text[cursor : cursor + len(middle)], after)


def blotted(text: str) -> str:
    """`text` with every credential and personal datum covered, its length and line ends unchanged."""
    spans = [(found.start, found.stop) for scan in (secrets.scan, personal.scan) for found in scan(text)]
    for start, stop in spans:
        cover = "".join(character if character in "\r\n" else BLOT for character in text[start:stop])
        text = text[:start] + cover + text[stop:]
    return text
