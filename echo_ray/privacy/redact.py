"""Secrets out of a request before it is written: placeholders that stay the same from key to key.

A request is looked at as the document that it shows: prefix and suffix joined, so that a secret around the
cursor is seen, then the proposal in its place. Order: the partial lines at the edges of an incomplete window
are cut off (they may be the end of a secret whose name is out of sight); private keys; every line by itself
(the detectors of `checks`, then `partial`); what Kingfisher sees over several lines.

A request whose cursor stands in a value that is or may become a secret is `withheld`: its text is not to be
stored at all. So no keystroke of a secret is, and neither does an anchor stand in one.

Keystrokes repeat almost all of their text, so what was found in a line is kept (bounded, by the text of the
line, in memory only). A line's result depends on the line and the kind of language alone, so the cache
changes nothing. Invariant: no detector finds anything in the result, and redacting it again changes nothing.

Not covered: what neither detectors nor `partial` cover; a secret that only a line out of sight gives away.
"""

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from echo_ray.checks import personal, placeholders, secrets
from echo_ray.checks.placeholders import PRIVATE_KEY, SECRET, placeholder
from echo_ray.privacy import keyblocks, partial

CACHED_LINES, CACHED_LONG_LINES = 32_768, 64
"""Lines whose result is kept: ordinary ones, and those longer than `LONG_CHARS`."""
LONG_CHARS, UNCACHED_CHARS = 500, 100_000
"""From which length on a line is a long one, and from which it is not kept at all."""
EDGE_CHARS = 2_000
"""How far from the edge of a window a line break is looked for."""

_ROUNDS = 4
_PLACEHOLDER_CHARS = 40
_ORPHAN = re.compile(r"[^\s'\"`]*['\"`]?")
_CUT_STRING = re.compile(r"[\w+/=.~:-]{8,}['\"`]")
_PIECE = re.compile(r"[^\s'\"`]+")
_NAMED = re.compile(r"[:;\w.-]*?\w{2,40}\s*=\s*(?=[^\s=]{6})")


class Span(NamedTuple):
    """A secret at `[start, stop)` and the placeholder that takes its place."""

    start: int
    stop: int
    text: str


class Redacted(NamedTuple):
    """A request without secrets; `withheld`: none of its text may be stored."""

    prefix: str
    suffix: str
    proposal: str | None
    prefix_complete: bool
    suffix_complete: bool
    withheld: bool
    counts: Counter[str]
    """Replaced secrets by kind of placeholder, those of the proposal included."""


class Redactor:
    """Replaces secrets under `key`, and personal data where wanted. Not safe to share between threads."""

    def __init__(self, key: bytes, personal_data: bool = True, cached: bool = True) -> None:
        self._key = key
        self._personal = personal_data
        self._line = lru_cache(CACHED_LINES)(self._spans) if cached else self._spans
        self._long = lru_cache(CACHED_LONG_LINES)(self._spans) if cached else self._spans
        self._key_block = placeholder(key, PRIVATE_KEY, "")

    def request(
        self,
        prefix: str,
        suffix: str,
        proposal: str | None,
        plain: bool = False,
        prefix_complete: bool = True,
        suffix_complete: bool = True,
    ) -> Redacted:
        """The request with placeholders. `plain`: values need no quotes in this file (`partial.is_plain`).

        Never raises, whatever the text.
        """
        counts: Counter[str] = Counter()
        prefix, suffix, inside = self._keys(prefix, suffix, counts)
        first = _first_kept(prefix, prefix_complete)
        if first:
            prefix, prefix_complete = prefix[first:], False
        if not suffix_complete:
            suffix = suffix[: _last_kept(suffix)]
        before, after, found = self._document(prefix, suffix, plain, counts)
        inside = inside or found
        if inside or proposal is None or not proposal:
            answer = proposal
        else:
            answer = self._answer(before, proposal, after, plain, counts)
        return Redacted(before, after, answer, prefix_complete, suffix_complete, inside, counts)

    def text(self, text: str, plain: bool = False) -> str:
        """A text by itself, such as a name."""
        counts: Counter[str] = Counter()
        return self._document(self._keys(text, "", counts)[0], "", plain, counts)[0]

    def _keys(self, prefix: str, suffix: str, counts: Counter[str]) -> tuple[str, str, bool]:
        """(prefix, suffix, whether the cursor stands in a key): private keys replaced."""
        found = keyblocks.spans(prefix + suffix, len(prefix))
        blocks = _merged(Span(*span, self._key_block) for span in found)
        if not blocks:
            return prefix, suffix, False
        _count(blocks, counts)
        return _replace(prefix, suffix, blocks)

    def _document(self, prefix: str, suffix: str, plain: bool, counts: Counter[str]) -> tuple[str, str, bool]:
        """(prefix, suffix, whether the cursor stands in a secret): the secrets of lines replaced."""
        above, break_above, left = prefix.rpartition("\n")
        right, break_below, below = suffix.partition("\n")
        line = left + right
        inside = partial.pending(line, len(left), plain, self._personal)
        found = self._find(line, plain)
        if found:
            _count(found, counts)
            left, right, touched = _replace(left, right, found)
            inside = inside or touched
        prefix = self._lines(above, plain, counts) + break_above + left
        suffix = right + break_below + self._lines(below, plain, counts)
        for _ in range(_ROUNDS):
            rest = self._formats(prefix + suffix)
            if not rest:
                break
            _count(rest, counts)
            prefix, suffix, touched = _replace(prefix, suffix, rest)
            inside = inside or touched
        return prefix, suffix, inside

    def _answer(self, prefix: str, proposal: str, suffix: str, plain: bool, counts: Counter[str]) -> str:
        """The proposal, with what it and the lines around it make a secret."""
        left, right = prefix[prefix.rfind("\n") + 1 :], suffix.partition("\n")[0]
        for _ in range(_ROUNDS):
            text = left + proposal + right
            found = []
            if "PRIVATE KEY" in proposal or "PRIVATE KEY" in prefix[-4_000:]:
                whole, offset = prefix + proposal + suffix, len(prefix) - len(left)
                blocks = keyblocks.spans(whole, len(prefix) + len(proposal))
                found += [Span(start - offset, stop - offset, self._key_block) for start, stop in blocks]
            offset = 0
            for line in text.split("\n"):
                found += [Span(a + offset, b + offset, name) for a, b, name in self._find(line, plain)]
                offset += len(line) + 1
            offset = len(prefix) - len(left)
            found += [
                Span(a - offset, b - offset, name) for a, b, name in self._formats(prefix + proposal + suffix)
            ]
            start, stop = len(left), len(left) + len(proposal)
            clipped = [
                Span(max(a, start) - start, min(b, stop) - start, name)
                for a, b, name in found
                if a < stop and b > start
            ]
            fresh = _merged(clipped)
            held = placeholders.spans(proposal)
            fresh = [span for span in fresh if not _within(held, span.start, span.stop)]
            if not fresh:
                return proposal
            _count(fresh, counts)
            proposal, _, _ = _replace(proposal, "", fresh)
        return placeholder(self._key, SECRET, proposal)

    def _lines(self, text: str, plain: bool, counts: Counter[str]) -> str:
        lines = text.split("\n")
        changed = False
        short = self._line
        for place, line in enumerate(lines):
            found = short(line, plain) if len(line) <= LONG_CHARS else self._find(line, plain)
            if found:
                _count(found, counts)
                lines[place] = _replace(line, "", found)[0]
                changed = True
        return "\n".join(lines) if changed else text

    def _find(self, line: str, plain: bool) -> tuple[Span, ...]:
        if len(line) <= LONG_CHARS:
            return self._line(line, plain)
        return self._long(line, plain) if len(line) <= UNCACHED_CHARS else self._spans(line, plain)

    def _spans(self, line: str, plain: bool) -> tuple[Span, ...]:
        """What is to be replaced in one line, in order, without overlaps; a function of its arguments."""
        if not line or line.isspace():
            return ()
        spans: list[Span] = []
        for _ in range(_ROUNDS):
            text = _replace(line, "", spans)[0] if spans else line
            held = placeholders.spans(text)
            found = []
            for start, stop, kind in self._detect(text, plain):
                if not _within(held, start, stop):
                    value = _narrowed(text, start, stop)
                    found.append((start, stop, kind) if _within(held, *value) else (*value, kind))
            if not found:
                return tuple(spans)
            spans = self._grown(line, spans, found)
        start = len(line) - len(line.lstrip())
        stop = len(line.rstrip())
        return (Span(start, stop, placeholder(self._key, SECRET, line[start:stop])),)

    def _detect(self, line: str, plain: bool) -> Iterable[tuple[int, int, str]]:
        for _, _, start, stop in secrets.scan(line):
            yield start, stop, SECRET
        for start, stop in partial.spans(line, plain):
            yield start, stop, SECRET
        if self._personal:
            for datum in personal.scan(line):
                yield datum.start, datum.stop, datum.kind

    def _formats(self, text: str) -> list[Span]:
        """What Kingfisher finds beyond placeholders."""
        found = secrets.scan_formats(text)
        if not found:
            return []
        held = placeholders.spans(text)
        fresh = [
            Span(start, stop, placeholder(self._key, SECRET, text[start:stop]))
            for _, start, stop in found
            if not _within(held, start, stop)
        ]
        return _merged(fresh)

    def _grown(self, line: str, spans: list[Span], found: list[tuple[int, int, str]]) -> list[Span]:
        """`spans` of `line` and what was found in the line with these replaced, as spans of `line`."""
        wanted = [(a, b, _kind(name)) for a, b, name in spans]
        for start, stop, kind in found:
            wanted.append((_back(start, spans, False), _back(stop, spans, True), kind))
        merged: list[tuple[int, int, str]] = []
        for start, stop, kind in sorted(wanted):
            if merged and start < merged[-1][1]:
                low, high, other = merged[-1]
                merged[-1] = (low, max(high, stop), kind if kind == other else SECRET)
            else:
                merged.append((start, stop, kind))
        return [Span(a, b, placeholder(self._key, kind, line[a:b])) for a, b, kind in merged]


def _within(held: list[tuple[int, int]], start: int, stop: int) -> bool:
    return any(low <= start and stop <= high for low, high in held)


def _kind(name: str) -> str:
    return name.removeprefix("REDACTED_").rpartition("_")[0]


def _count(spans: Iterable[Span], counts: Counter[str]) -> None:
    for span in spans:
        counts[_kind(span.text)] += 1


def _back(place: int, spans: list[Span], is_stop: bool) -> int:
    """Where `place` of the line with `spans` replaced stands in the line itself."""
    moved = 0
    for start, stop, name in spans:
        begin = start + moved
        if place <= begin:
            break
        if place < begin + len(name):
            return stop if is_stop else start
        moved += len(name) - (stop - start)
    return place - moved


def _replace(left: str, right: str, spans: Iterable[Span]) -> tuple[str, str, bool]:
    """(left, right, whether the border between them stands in a span or at the end of one)."""
    text, border, touched = left + right, len(left), False
    parts: list[str] = []
    done = size = 0
    cut = None
    for start, stop, name in spans:
        if cut is None and start >= border:
            cut = size + border - done
        parts += [text[done:start], name]
        size += start - done + len(name)
        done = stop
        touched = touched or start < border <= stop
        if cut is None and stop >= border:
            cut = size
    if cut is None:
        cut = size + border - done
    whole = "".join((*parts, text[done:]))
    return whole[:cut], whole[cut:], touched


def _merged(spans: Iterable[Span]) -> list[Span]:
    """In order, without overlaps; of two that overlap, both places and the name of the first."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start < merged[-1].stop:
            merged[-1] = merged[-1]._replace(stop=max(merged[-1].stop, span.stop))
        elif span.start < span.stop:
            merged.append(span)
    return merged


def _narrowed(line: str, start: int, stop: int) -> tuple[int, int]:
    """The value in a finding that has its name and quotes in it; what is left out is looked at again."""
    pieces = list(_PIECE.finditer(line, start, stop))
    if len(pieces) > 1 or (pieces and pieces[0].span() != (start, stop)):
        start, stop = max((piece.span() for piece in pieces), key=lambda span: (span[1] - span[0], span[0]))
    named = _NAMED.match(line, start, stop)
    return (named.end() if named else start), stop


def _first_kept(prefix: str, complete: bool) -> int:
    """Where the prefix begins without the part of a line at its start."""
    if complete and _CUT_STRING.match(prefix) is None:
        return 0
    line = prefix.find("\n", 0, EDGE_CHARS)
    if line >= 0:
        return line + 1
    orphan = _ORPHAN.match(prefix, 0, EDGE_CHARS)
    return orphan.end() if orphan is not None and (len(prefix) > orphan.end() or orphan.end() >= 8) else 0


def _last_kept(suffix: str) -> int:
    """Where the suffix ends without the part of a line at its end."""
    line = suffix.rfind("\n", -EDGE_CHARS)
    return line + 1 if line >= 0 else len(suffix)
