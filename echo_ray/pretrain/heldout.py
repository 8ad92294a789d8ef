"""Held-out report of base models: which texts are scored, and what is said about the scores.

Two questions about files that were never trained on, per language:

- bits per byte: -log2 p of spans of text, left to right, over the spans' UTF-8 bytes. A span is `SPAN` bytes
  on a grid through its file; the model sees at most `CONTEXT` bytes before it, from a line start.
- exact match: the share of gaps, at the places where `corpus.gap` puts a developer's cursor, for which greedy
  fill-in-the-middle gives exactly the missing text and then ends, by the length of that text. Empty gaps (a
  cursor where nothing is missing) are a figure of their own, silence: they would flatter a mute model.

Comparable across tokenizers: every model is scored on the same characters and sees the same characters around
them (cut by bytes, not by tokens; a byte-level tokenizer makes at most 1,024 tokens of any of it), and a span
or gap is tokenized apart from what surrounds it, so that it begins at a token for everybody.

Draws are keyed by the seed and by what is drawn. A file is a cluster: intervals of bits per byte and of
paired differences are the delta method over files (`echo_ray.metrics`), those of shares are Wilson's. Not
covered: repositories that the training files do not come from; held-out files are siblings of training files,
so the figures say how models compare, not how either does on unknown projects.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from echo_ray import metrics
from echo_ray.pretrain import corpus
from echo_ray.pretrain.sources import SourceFile
from echo_ray.rng import generator, unit

SPAN = 512
"""Bytes of one scored span, whole characters."""
CONTEXT = 512
"""Most bytes before a span that a model sees."""
PREFIX, SUFFIX = 600, 200
"""Most bytes before and after a gap that a model sees."""
TARGET = 200
"""Longest gap (bytes); a longer one is drawn again."""
LENGTHS = (("1-8", 8), ("9-20", 20), ("21-50", 50), ("51-100", 100), ("over 100", TARGET))
"""Bands of gap length by their upper end (characters); the empty gap, where silence is right, is its own."""
SILENCE = "silence"
"""Name of the band of empty gaps."""
LINES = ("one line", "several lines")
"""The two kinds of gaps that are not empty."""


@dataclass(frozen=True, slots=True)
class Span:
    """Text to be scored left to right, after `context`."""

    file: str
    language: str
    context: str
    text: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Text to be guessed between `prefix` and `suffix`."""

    file: str
    language: str
    prefix: str
    suffix: str
    target: str

    @property
    def band(self) -> str:
        """Name of its band of length."""
        return next((name for name, most in LENGTHS if 0 < len(self.target) <= most), SILENCE)

    @property
    def kind(self) -> str:
        """`silence`, or one of LINES."""
        return LINES["\n" in self.target] if self.target else SILENCE


@dataclass(frozen=True, slots=True)
class Scores:
    """What one model made of the spans and gaps, in their order."""

    model: str
    span_nats: list[float]
    """-log p of each span's text, nats."""
    gap_nats: list[float]
    """-log p of each gap's text and its end, nats."""
    exact: list[bool]
    """Whether greedy decoding gave exactly the gap's text and then ended."""


def spans(files: Sequence[SourceFile], per_language: int, seed: int) -> list[Span]:
    """At most `per_language` spans of each language, drawn from a grid over its files without replacement."""
    drawn: dict[str, list[tuple[float, SourceFile, int]]] = defaultdict(list)
    for file in files:
        for number in range(max(1, len(file.text.encode()) // SPAN)):
            drawn[file.language].append((unit(seed, "span", file.name, number), file, number))
    chosen: list[Span] = []
    for language in sorted(drawn):
        nearest = sorted(drawn[language], key=lambda item: item[0])[:per_language]
        chosen.extend(_span(file, number) for _, file, number in nearest)
    return chosen


def _span(file: SourceFile, number: int) -> Span:
    raw = file.text.encode()
    begin, end = (_character(raw, place) for place in (number * SPAN, (number + 1) * SPAN))
    before = _last(raw[:begin].decode(), CONTEXT)
    return Span(file.name, file.language, before, raw[begin:end].decode())


def _character(raw: bytes, place: int) -> int:
    """Start of the character that the byte at `place` belongs to."""
    while 0 < place < len(raw) and raw[place] & 0xC0 == 0x80:
        place -= 1
    return min(place, len(raw))


def _last(text: str, size: int) -> str:
    """Last `size` bytes of `text`, from a line start if the cut has one before its last line."""
    if len(text.encode()) <= size:
        return text
    cut = text.encode()[-size:].decode(errors="ignore")
    newline = cut.find("\n")
    return cut[newline + 1 :] if 0 <= newline < len(cut) - 1 else cut


def gaps(files: Sequence[SourceFile], per_language: int, seed: int) -> list[Gap]:
    """`per_language` gaps of each language, every character of its files equally likely to be in a draw."""
    chosen: list[Gap] = []
    for language in sorted({file.language for file in files}):
        drawn = corpus.Drawn([file for file in files if file.language == language], {language: 1.0})
        number = 0
        for _ in range(per_language):
            found = None
            while found is None:
                found, number = _gap(drawn, language, seed, number), number + 1
            chosen.append(found)
    return chosen


def _gap(drawn: corpus.Drawn, language: str, seed: int, number: int) -> Gap | None:
    stream = generator(seed, "gap", language, number)
    file = drawn.file(stream)
    start, stop = corpus.gap(file.text, stream)
    target = file.text[start:stop]
    if len(target.encode()) > TARGET:
        return None
    suffix = file.text[stop : stop + SUFFIX].encode()[:SUFFIX].decode(errors="ignore")
    # 600 characters are at least 600 bytes, so the tail is enough and a long file costs nothing.
    prefix = _last(file.text[max(0, start - PREFIX - 1) : start], PREFIX)
    return Gap(file.name, language, prefix, suffix, target)


def report(
    spans: Sequence[Span], gaps: Sequence[Gap], scores: Sequence[Scores], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything said about the models, for `heldout.json`: `facts`, and figures per model and language.

    With two models, the first against the second, differences are paired by span or gap and clustered by
    file.
    """
    languages = sorted({span.language for span in spans} | {gap.language for gap in gaps})
    result: dict[str, Any] = dict(facts) | {
        "rule": {
            "span_bytes": SPAN,
            "context_bytes": CONTEXT,
            "prefix_bytes": PREFIX,
            "suffix_bytes": SUFFIX,
            "target_bytes": TARGET,
        },
        "models": {one.model: _model(one, spans, gaps, languages) for one in scores},
    }
    if len(scores) == 2:
        result["difference"] = {
            "of": [one.model for one in scores],
            "languages": {name: _difference(scores[0], scores[1], spans, gaps, name) for name in languages},
        }
    return result


def _model(
    scores: Scores, spans: Sequence[Span], gaps: Sequence[Gap], languages: Sequence[str]
) -> dict[str, Any]:
    bits = [nats / math.log(2) for nats in scores.span_nats]
    per_language: dict[str, Any] = {}
    for language in languages:
        y, n = _by_file(spans, bits, [len(span.text.encode()) for span in spans], language)
        gap_bits = [nats / math.log(2) for nats in scores.gap_nats]
        gap_y, gap_n = _by_file(gaps, gap_bits, [len(gap.target.encode()) for gap in gaps], language)
        per_language[language] = {
            "files": len(y),
            "spans": sum(span.language == language for span in spans),
            "bits_per_byte": metrics.rate(y, n),
            "bits_per_byte_ci95": _finite(metrics.interval(y, n)),
            "gap_bits_per_byte": metrics.rate(gap_y, gap_n),
            "exact": share(_where(gaps, scores.exact, language, LINES)),
            "silence": share(_where(gaps, scores.exact, language, (SILENCE,))),
            "by_length": _by_length(gaps, scores.exact, language),
        }
    return {
        "languages": per_language,
        "exact": share(_where(gaps, scores.exact, None, LINES)),
        "by_length": _by_length(gaps, scores.exact),
        "single_line": share(_where(gaps, scores.exact, None, LINES[:1])),
        "multi_line": share(_where(gaps, scores.exact, None, LINES[1:])),
    }


def _by_length(gaps: Sequence[Gap], exact: Sequence[bool], language: str | None = None) -> dict[str, Any]:
    names = [SILENCE, *(name for name, _ in LENGTHS)]
    return {name: share(_where(gaps, exact, language, (name,))) for name in names}


def _where(
    gaps: Sequence[Gap], exact: Sequence[bool], language: str | None, of: Collection[str]
) -> list[bool]:
    """Outcomes of the gaps whose band or kind is one of `of`, in one language or in all."""
    return [
        hit
        for gap, hit in zip(gaps, exact, strict=True)
        if language in (None, gap.language) and (gap.band in of or gap.kind in of)
    ]


def _by_file(
    items: Sequence[Span | Gap], y: Iterable[float], n: Iterable[float], language: str
) -> tuple[list[float], list[float]]:
    """Sums of `y` and `n` per file of `language`, in file order."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for item, above, below in zip(items, y, n, strict=True):
        if item.language == language:
            sums[item.file][0] += above
            sums[item.file][1] += below
    return [sums[file][0] for file in sorted(sums)], [sums[file][1] for file in sorted(sums)]


def share(hits: Sequence[bool]) -> dict[str, Any]:
    """`{n, hits, share, ci95}` with Wilson's 95% interval; share and interval are None without trials."""
    n, k = len(hits), sum(hits)
    if n == 0:
        return {"n": 0, "hits": 0, "share": None, "ci95": None}
    z = 1.959963984540054
    middle, spread = k + z * z / 2, z * math.sqrt(k * (n - k) / n + z * z / 4)
    low, high = (middle - spread) / (n + z * z), (middle + spread) / (n + z * z)
    return {"n": n, "hits": k, "share": k / n, "ci95": [max(0.0, low), min(1.0, high)]}


def _difference(
    new: Scores, old: Scores, spans: Sequence[Span], gaps: Sequence[Gap], language: str
) -> dict[str, Any]:
    sizes = [len(span.text.encode()) for span in spans]
    bits = [
        _by_file(spans, [nats / math.log(2) for nats in one.span_nats], sizes, language) for one in (old, new)
    ]
    full = [float(gap.target != "") for gap in gaps]
    exact = [
        _by_file(gaps, [hit * one for hit, one in zip(scores.exact, full, strict=True)], full, language)
        for scores in (old, new)
    ]
    return {"bits_per_byte": _paired(*bits), "exact": _paired(*exact)}


def _paired(old: tuple[list[float], list[float]], new: tuple[list[float], list[float]]) -> dict[str, Any]:
    """`{estimate, ci95}` of new minus old, files as clusters."""
    from scipy import stats

    if len(old[0]) < 2:
        return {"estimate": metrics.rate(*new) - metrics.rate(*old), "ci95": None}
    estimate, se, freedom = (float(value) for value in metrics.delta(*old, *new, paired=True))
    half = float(stats.t.ppf(0.975, freedom)) * se
    # Files that do not vary at all say nothing about their spread; a width of zero would claim certainty.
    return {"estimate": estimate, "ci95": _finite((estimate - half, estimate + half)) if half else None}


def _finite(pair: tuple[float, float]) -> list[float] | None:
    return list(pair) if all(map(math.isfinite, pair)) else None
