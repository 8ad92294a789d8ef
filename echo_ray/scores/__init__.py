"""Text metrics: how close an answer comes to the target, computed as code papers do.

Everything is a share in 0..1. Counts of samples add up (`bleu_counts`, `code_counts`), and the figure of a
corpus is a function of their sum (`bleu_of`, `code_bleu_of`), so resampled users need no second look at any
text.

Void targets (blank: silence was right) have no text to come close to, and their number would decide what
comes out: `summary` leaves them out; `is_void` tells them.

Not covered: metrics that run the code, or that ask a model.
"""

from collections.abc import Sequence

from echo_ray.scores.code import CODE_COUNTS, LANGUAGES, code_bleu, code_bleu_of, code_counts
from echo_ray.scores.ngrams import BLEU_COUNTS, bleu, bleu_counts, bleu_of, tokens
from echo_ray.scores.texts import (
    edit_similarity,
    exact_match,
    first_line_match,
    is_void,
    sentinel_leak,
    suffix_repetition,
)

__all__ = [
    "BLEU_COUNTS",
    "CODE_COUNTS",
    "LANGUAGES",
    "bleu",
    "bleu_counts",
    "bleu_of",
    "code_bleu",
    "code_bleu_of",
    "code_counts",
    "edit_similarity",
    "exact_match",
    "first_line_match",
    "is_void",
    "sentinel_leak",
    "suffix_repetition",
    "summary",
    "tokens",
]


def summary(targets: Sequence[str], answers: Sequence[str], languages: Sequence[str]) -> dict[str, float]:
    """`exact_match`, `edit_similarity`, `bleu`, `code_bleu` over the targets that are not void (shares).

    A figure that does not exist has no key: all of them when every target is void, `code_bleu` when CodeBLEU
    knows none of the languages. Raises ValueError for lengths that differ.
    """
    chosen = [row for row in zip(targets, answers, languages, strict=True) if not is_void(row[0])]
    if not chosen:
        return {}
    found = {
        "exact_match": sum(exact_match(target, answer) for target, answer, _ in chosen) / len(chosen),
        "edit_similarity": sum(edit_similarity(target, answer) for target, answer, _ in chosen) / len(chosen),
        "bleu": bleu([target for target, _, _ in chosen], [answer for _, answer, _ in chosen]),
    }
    code = [counts for row in chosen if (counts := code_counts(*row)) is not None]
    if code:
        found["code_bleu"] = code_bleu_of([sum(column) for column in zip(*code, strict=True)])
    return found
