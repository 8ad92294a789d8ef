"""Metrics of one answer: equal, nearly equal, silent, repeating, leaking.

- exact match: equal, white space at the very end aside (an editor removes it; indentation and line breaks
  before and inside count).
- first line: up to the end of the first line that holds text, line breaks and indentation before it included.
  What a user sees first decides whether they read on.
- edit similarity: 1 - Levenshtein distance / length of the longer text, in characters, by rapidfuzz: the
  definition in CrossCodeEval (Ding et al. 2023) and RepoBench (Liu et al. 2023). Their scripts call
  `fuzz.ratio`, which has another denominator; ours is what the papers say.
- suffix repetition and sentinel leaks: as `verify` tells them in training data (`checks.repeats`).

Exact match implies first line, and an edit similarity of 1.
"""

from rapidfuzz.distance import Levenshtein

from echo_ray.checks import repeats
from echo_ray.checks.case import Case, Verdict


def is_void(text: str) -> bool:
    """Whether `text` is silence: nothing, or white space alone."""
    return not text.strip()


def exact_match(target: str, answer: str) -> bool:
    """Whether both are the same, white space at the end aside."""
    return target.rstrip() == answer.rstrip()


def first_line_match(target: str, answer: str) -> bool:
    """Whether both begin with the same line, white space at its end aside."""
    return _first_line(target) == _first_line(answer)


def _first_line(text: str) -> str:
    begin = len(text) - len(text.lstrip())
    end = text.find("\n", begin)
    return (text if end < 0 else text[:end]).rstrip()


def edit_similarity(target: str, answer: str) -> float:
    """1 - Levenshtein distance / longer length, white space at the end aside; 1 for two blanks."""
    return float(Levenshtein.normalized_similarity(target.rstrip(), answer.rstrip()))


def suffix_repetition(answer: str, prefix: str, suffix: str, language: str) -> bool:
    """Whether `answer` says again what the suffix begins with."""
    case = Case(prefix=prefix, target=answer, suffix=suffix, commit=answer, language=language)
    return repeats.check(case).verdict is Verdict.FAIL


def sentinel_leak(answer: str, prefix: str = "", suffix: str = "", language: str = "plaintext") -> bool:
    """Whether `answer` holds a special token of a known model family that the file itself does not hold."""
    case = Case(prefix=prefix, target=answer, suffix=suffix, commit=answer, language=language)
    return repeats.sentinel(case).verdict is Verdict.FAIL
