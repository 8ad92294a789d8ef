"""BLEU of code (Papineni et al. 2002), by sacrebleu, over the tokens that code papers use.

- Tokens after Yin and Neubig 2017 (CoNaLa's reference scorer): every character that is neither an ASCII
  letter or digit nor `_` is a token of its own, camelCase is two tokens, both quotes are the same, white
  space divides and is nothing itself. Tokenizers for prose (sacrebleu's `13a`) unescape HTML and keep `a.b`
  together.
- Corpus BLEU, never a mean over sentences: 4-grams, counts summed over all samples, one brevity penalty, and
  sacrebleu's default smoothing (`exp`) of an order without a match. Orders that no answer is long enough for
  are left out (`effective_order`), so that a corpus of short texts that are all right scores 1.

Counts of one sample: matches of order 1..4, n-grams of the answer of order 1..4, tokens of the answer, tokens
of the target.
"""

import functools
import re
from collections.abc import Sequence

from sacrebleu.metrics.bleu import BLEU

ORDER = 4
BLEU_COUNTS = 2 * ORDER + 2
"""Length of the counts of a sample."""

_MARK = re.compile(r"([^A-Za-z0-9_])")
_CAMEL = re.compile(r"([a-z])([A-Z])")


def tokens(code: str) -> list[str]:
    """Tokens of `code` as CoNaLa's scorer has them."""
    spaced = _CAMEL.sub(r"\1 \2", _MARK.sub(r" \1 ", code))
    return spaced.replace('"', "`").replace("'", "`").split()


@functools.cache
def _scorer() -> BLEU:
    return BLEU(tokenize="none", effective_order=True, force=True)


def bleu_counts(target: str, answer: str) -> tuple[float, ...]:
    """What one sample adds to the counts of a corpus."""
    found = _scorer().sentence_score(" ".join(tokens(answer)), [" ".join(tokens(target))])
    return (*found.counts, *found.totals, found.sys_len, found.ref_len)


def bleu_of(counts: Sequence[float]) -> float:
    """BLEU (0..1) of summed `bleu_counts`; 1 when there is no token on either side."""
    *matches, answered, wanted = (round(count) for count in counts)
    if not answered and not wanted:
        return 1.0
    found = BLEU.compute_bleu(
        correct=matches[:ORDER],
        total=matches[ORDER:],
        sys_len=answered,
        ref_len=wanted,
        smooth_method="exp",
        effective_order=True,
    )
    return min(1.0, float(found.score) / 100)  # 100.00000000000004 is one


def bleu(targets: Sequence[str], answers: Sequence[str]) -> float:
    """Corpus BLEU (0..1) of the answers. Raises ValueError for lengths that differ."""
    rows = [bleu_counts(target, answer) for target, answer in zip(targets, answers, strict=True)]
    return bleu_of([sum(column) for column in zip(*rows, strict=True)] or [0] * BLEU_COUNTS)
