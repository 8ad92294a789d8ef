"""What of a text fits into a number of tokens: the end of a prefix, the start of a suffix, other files.

Texts are cut in characters before they are tokenized (at most `CHARS_PER_TOKEN` per token of the window are
kept), so a huge file costs no more than its window. Cuts fall on line starts and line ends where one is near.

The left edge of a prefix moves in steps of an eighth of the room, not with every key, and then on to the next
line start within one step: consecutive prompts of one keystroke stream begin alike, so a prefix cache answers
them. It follows from the text before the cursor alone, never from the request before.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from echo_ray.prompts.families import Files
from echo_ray.prompts.tokenizer import Tokenizer

CHARS_PER_TOKEN = 8
"""Characters of a text that are looked at per token of the window."""
STEPS = 8
"""Steps of the left edge in one window."""
SEAM_TOKENS = 2
"""Room kept free for a text that is tokenized again from a line start (tokens)."""
LEAST_SNIPPET_TOKENS = 16
"""Less than this of another file is left out (tokens)."""


class Snippet(NamedTuple):
    """Text of another file that may help."""

    path: str
    """Where it comes from, as the model should read it; empty when not known."""
    text: str
    """Whole lines, best."""


class _Whole:
    """Ids of a text whose tokenizer cannot say where tokens begin: cuts then fall between any two tokens."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    def start(self, token: int) -> None:
        return None


def _pieces(tokenizer: Tokenizer, text: str) -> Any:
    pieces = getattr(tokenizer, "pieces", None)
    if pieces is not None:
        return pieces(text)
    return _Whole(tokenizer.encode(text, add_special_tokens=False))


def leading_space(tokenizer: Tokenizer) -> str:
    """What the models of this tokenizer saw before every document."""
    return " " if getattr(tokenizer, "leading_space", False) else ""


def before_cursor(tokenizer: Tokenizer, text: str, room: int, max_tokens: int, space: str = "") -> list[int]:
    """Ids of the end of `text`, at most `room`; `space` stands before the whole of it.

    `max_tokens` is the whole window, by which characters are cut.
    """
    if room <= 0 or not text:
        return []
    window = CHARS_PER_TOKEN * max_tokens
    first = _in_steps(len(text) - window, window // STEPS)
    body = text[first:] if first else space + text
    found = _pieces(tokenizer, body)
    ids: list[int] = found.ids
    step = max(1, room // STEPS)
    if first == 0 and len(ids) <= room:
        return ids
    # From a line start the same text may be a token or two longer.
    cut = _in_steps(len(ids) - room + min(SEAM_TOKENS, room - 1), step)
    begin, last = found.start(cut), found.start(cut + step)
    if begin is not None:
        line = _line_start(text[max(0, first - 1) : first], body, begin)
        if 0 <= line <= last and line < len(body):
            whole = tokenizer.encode(body[line:], add_special_tokens=False)
            if len(whole) <= room:
                return whole
    return ids[cut:]


def after_cursor(tokenizer: Tokenizer, text: str, room: int, max_tokens: int) -> list[int]:
    """Ids of the start of `text`, at most `room`."""
    if room <= 0 or not text:
        return []
    body = text[: CHARS_PER_TOKEN * max_tokens]
    found = _pieces(tokenizer, body)
    ids: list[int] = found.ids
    if len(ids) <= room and len(body) == len(text):
        return ids
    keep = min(room, len(ids))
    end, near = found.start(keep), found.start(keep - keep // STEPS)
    if end is not None and body[end : end + 1] != "\n":
        line = body.rfind("\n", near, end)
        if line >= 0:
            whole = tokenizer.encode(body[: line + 1], add_special_tokens=False)
            if len(whole) <= room:
                return whole
    return ids[:keep]


def other_files(
    tokenizer: Tokenizer,
    files: Files,
    snippets: Sequence[Snippet],
    room: int,
    max_tokens: int,
    repository: str,
    path: str,
) -> tuple[list[int], list[int]]:
    """(ids before the prefix sentinel, ids after it) that tell of other files; together at most `room`.

    Snippets keep their order; one that does not fit loses its end, and what comes after it finds no room.
    """

    def text(content: str) -> list[int]:
        return tokenizer.encode(content, add_special_tokens=False) if content else []

    def token(name: str) -> list[int]:
        return [tokenizer.convert_tokens_to_ids(name)] if name else []

    def heading(of: str, space: str = "") -> list[int]:
        return text(space + files.heading.format(path=of)) if of else text(space)

    opening: list[int] = []
    if repository and files.repository:
        opening = [*token(files.repository), *text(repository + files.repository_tail)]
    loose = not files.before and not files.after  # all of it is text, which begins the prefix
    space = leading_space(tokenizer) if loose else ""
    here = heading(path)
    mark = token(files.before)
    left = room - len(opening) - len(mark) - len(here)
    shown: list[int] = []
    tail = [*text(files.tail), *token(files.after)]
    for snippet in snippets:
        head = [*token(files.before), *heading(snippet.path, "" if shown else space)]
        fits = left - len(head) - len(tail)
        if fits < LEAST_SNIPPET_TOKENS:
            break
        content = after_cursor(tokenizer, snippet.text, fits, max_tokens)
        if content:
            shown += [*head, *content, *tail]
            left -= len(head) + len(content) + len(tail)
    if not shown:
        return [], []
    before = [*opening, *shown, *mark]
    if loose:
        return [], [*before, *here]
    return (before, here) if files.inside else ([*before, *here], [])


def _in_steps(excess: int, step: int) -> int:
    """Least multiple of `step` that removes `excess`; 0 when there is none."""
    step = max(1, step)
    return -(-max(0, excess) // step) * step


def _line_start(before: str, body: str, place: int) -> int:
    """First line start of `body` at or after `place`, -1 when there is none; `before` stands before it."""
    if (body[place - 1] if place else before) == "\n":
        return place
    return body.find("\n", place) + 1 or -1
