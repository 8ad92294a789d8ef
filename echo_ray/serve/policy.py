"""From the model's raw text to the proposal that a client sees (the paper's C1). Pure and small.

In order: cut at the first stop string or leaked sentinel, drop a last line that the token limit cut,
cut what repeats the text after the cursor, drop trailing white space where the line ends, and turn white
space alone into silence (`""`). `confidence` tells how sure the model is, for services that stay silent
when it is not. Not covered: code that legitimately contains a sentinel as text: its completion ends there.
"""

import math
import re
from collections.abc import Sequence

from echo_ray.prompts import LEAKS

SENTINELS = LEAKS
"""Control tokens of the families in `prompts`; as text they mean that the model has left its answer."""

MIN_WORDS_CHARS = 2
"""Shortest repetition with a letter or digit in it that is cut; a single `x` repeats by chance."""

WINDOW_CHARS = 2000
"""How far around the cursor brackets are counted."""

_BRACKETS = re.compile(r"[()\[\]{}]")
_CLOSES = {")": "(", "]": "[", "}": "{"}


def proposal(raw: str, prefix: str, suffix: str, stop: Sequence[str] = (), finished: bool = True) -> str:
    """What to show for the model's `raw` text between `prefix` and `suffix`; `""` is silence.

    `finished` is false when the model ran into the token limit: then its last line is cut wherever the
    limit fell, and goes if complete lines stand before it.
    """
    text = _cut_at_first(raw, (*stop, *SENTINELS))
    if not finished and text == raw and text.rpartition("\n")[0].strip():
        text = text.rpartition("\n")[0]
    text = text[: len(text) - overlap(text, prefix, suffix)]
    # Before code on the same line, trailing white space is part of the answer ("import os\n|import sys").
    if not text.strip() or not suffix.split("\n", 1)[0].strip():
        text = text.rstrip()
    return text


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
            gain = _unmatched(before + candidate + after) - _unmatched(before + kept + after)
            words = any(map(str.isalnum, shared)) and len(shared.strip()) >= MIN_WORDS_CHARS
            if gain > 0 or (gain == 0 and words):
                return len(text) - len(kept)
    return 0


def _inside_word(left: str, right: str) -> bool:
    return bool(left and right) and _is_word(left[-1]) and _is_word(right[0])


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _unmatched(text: str) -> int:
    """Brackets in `text` without a partner."""
    opened: list[str] = []
    lonely = 0
    for bracket in _BRACKETS.findall(text):
        if bracket not in _CLOSES:
            opened.append(bracket)
        elif opened and opened[-1] == _CLOSES[bracket]:
            opened.pop()
        else:
            lonely += 1
    return lonely + len(opened)


def _cut_at_first(text: str, marks: Sequence[str]) -> str:
    found = [position for mark in marks if mark and (position := text.find(mark)) >= 0]
    return text[: min(found)] if found else text
