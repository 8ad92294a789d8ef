"""From the model's raw text to the proposal that a client sees (the paper's C1). Pure and small.

In order: cut at the first stop string or leaked sentinel, drop a last line that the token limit cut, fit the
indentation to the document (`margins`), cut where the text has caught up with the suffix and where the
cursor's block ends (`shape`), cut what repeats the text after the cursor and brackets that fit nowhere, be
silent where the lines above are merely said again, drop trailing white space where the line ends, and turn
white space alone into silence (`""`). `confidence` tells how sure the model is, for services that stay silent
when it is not.

Not covered: code that legitimately contains a sentinel as text: its completion ends there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from echo_ray.prompts import LEAKS
from echo_ray.serve import margins, shape

SENTINELS = LEAKS
"""Control tokens of the families in `prompts`; as text they mean that the model has left its answer."""

MAX_LINES = 16
"""Lines of a proposal at most, where nothing else is said (count)."""

MIN_WORDS_CHARS = 2
"""Shortest repetition with a letter or digit in it that is cut; a single `x` repeats by chance."""

REACH_CHARS = 32_000
"""How far around the cursor anything is looked at: most clients send less."""

WINDOW_CHARS = 2000
"""How far around the cursor brackets are counted for `overlap`."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to show, and what was wrong with what the model said."""

    text: str
    """`""` is silence."""
    leaked: bool
    """The model wrote a control token as text."""
    cut: str | None
    """What decided where the text ends: `stop`, `sentinel`, `limit` (of tokens), `caught_up` (with the
    suffix), `unit`, `lines`, `overlap`, `brackets` or `repeat` (of the lines above); None for the model
    itself."""


def refine(
    raw: str,
    prefix: str,
    suffix: str,
    stop: Sequence[str] = (),
    finished: bool = True,
    max_lines: int = MAX_LINES,
) -> Proposal:
    """What to show for the model's `raw` text between `prefix` and `suffix`.

    `finished` is false when the model ran into the token limit: then its last line is cut wherever the limit
    fell, and goes if complete lines stand before it.
    """
    prefix, suffix = prefix[-REACH_CHARS:], suffix[:REACH_CHARS]
    cut: str | None = None

    def shorter(kept: str, reason: str) -> str:
        nonlocal cut
        if kept != text:
            cut = reason
        return kept

    text = raw
    text = shorter(_cut_at_first(text, stop), "stop")
    text = shorter(_cut_at_first(text, SENTINELS), "sentinel")
    if not finished and text == raw and text.rpartition("\n")[0].strip():
        text = shorter(text.rpartition("\n")[0], "limit")
    text = margins.fitted(text, prefix, suffix)
    text = shorter(shape.caught_up(text, prefix, suffix), "caught_up")
    text = shorter(shape.unit(text, prefix), "unit")
    text = shorter(shape.first_lines(text, max_lines), "lines")
    text = shorter(text[: len(text) - overlap(text, prefix, suffix)], "overlap")
    text = shorter(shape.closed(text, prefix, suffix), "brackets")
    if shape.repeats_above(text, prefix):
        text = shorter("", "repeat")
    # Before code on the same line, trailing white space is part of the answer ("import os\n|import sys").
    if not text.strip() or not suffix.split("\n", 1)[0].strip():
        text = text.rstrip()
    return Proposal(text, any(mark in raw for mark in SENTINELS), cut)


def proposal(raw: str, prefix: str, suffix: str, stop: Sequence[str] = (), finished: bool = True) -> str:
    """The text alone of what `refine` makes."""
    return refine(raw, prefix, suffix, stop, finished).text


def confidence(text: str, log_probs: Sequence[tuple[int, float]]) -> float:
    """Geometric mean of the probabilities of the tokens that begin the model's raw `text`, to the end of its
    first line with text; 1 when nothing is known. What a user sees first decides whether it is worth showing.
    """
    begin = len(text) - len(text.lstrip())
    end = text.find("\n", begin)
    seen = [value for offset, value in log_probs if end < 0 or offset <= end]
    return math.exp(sum(seen) / len(seen)) if seen else 1.0


def overlap(text: str, prefix: str, suffix: str) -> int:
    """Length of the tail of `text` that repeats the start of `suffix` and should be cut.

    The longest repetition wins that starts and ends at word boundaries and does not leave brackets
    less balanced than they were; a repetition of punctuation alone must leave them better balanced.
    Balance looks `WINDOW_CHARS` around the cursor and counts brackets in strings and comments too.
    """
    trimmed = text.rstrip()
    for candidate in (text, trimmed) if trimmed != text else (text,):
        for size in range(min(len(candidate), len(suffix)), 0, -1):
            shared = suffix[:size]
            if not candidate.endswith(shared) or not shared.strip():
                continue
            kept = candidate[: len(candidate) - size]
            if _inside_word(kept, shared) or _inside_word(shared, suffix[size:]):
                continue
            before, after = prefix[-WINDOW_CHARS:], suffix[:WINDOW_CHARS]
            gain = shape.unmatched(before + candidate + after) - shape.unmatched(before + kept + after)
            words = any(map(str.isalnum, shared)) and len(shared.strip()) >= MIN_WORDS_CHARS
            if gain > 0 or (gain == 0 and words):
                return len(text) - len(kept)
    return 0


def _inside_word(left: str, right: str) -> bool:
    return bool(left and right) and _is_word(left[-1]) and _is_word(right[0])


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _cut_at_first(text: str, marks: Sequence[str]) -> str:
    found = [position for mark in marks if mark and (position := text.find(mark)) >= 0]
    return text[: min(found)] if found else text
