"""Source files to fill-in-the-middle training sequences (for `pretrain` only).

An example puts a gap where a developer's cursor would be (end of an identifier, after punctuation, at a
line start) and ends it where a completion would (end of line, closing bracket, end of block); the three
parts are tokenized apart, as they are at serving time. Examples are trimmed far from the cursor until they
fill sequences exactly, so there is no padding to speak of. Not covered: masks between the examples of one
sequence.
"""

import bisect
import random
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate

from echo_ray.pretrain.sources import SourceFile
from echo_ray.prompts import Template, Tokenizer
from echo_ray.rng import generator
from echo_ray.text import indent_of

_BOUNDARY = re.compile(r"(?<=[\w)\]}\"'])(?=\W)|(?<=[(\[{,=:.])|(?<=\s)(?=\S)")
_CLOSERS = {"(": ")", "[": "]", "{": "}"}


def gap(text: str, random_stream: random.Random) -> tuple[int, int]:
    """`[start, stop)` of the text that a developer at `start` would type next.

    Our choice, in shares: rest of the line 45 %, inside the next bracket pair 12 %, rest of the block (at
    most 5 lines) 23 %, a few words 12 %, nothing at the end of a line 8 %.
    """
    lines = _line_spans(text)
    begin, end = lines[random_stream.randrange(len(lines))]
    line = text[begin:end]
    if not line.strip():
        return end, end
    kind = random_stream.random()
    if kind < 0.08:
        return end, end
    start = begin + _cursor(line, random_stream)
    if kind < 0.20:
        opener = next((i for i in range(start, end) if text[i] in _CLOSERS), None)
        if opener is not None:
            close = text.find(_CLOSERS[text[opener]], opener + 1, opener + 200)
            if close > 0:
                return opener + 1, close
    if kind < 0.32:
        stops = [m.start() for m in _BOUNDARY.finditer(text, start + 1, min(len(text), start + 60))]
        return start, random_stream.choice(stops) if stops else end
    if kind < 0.55:
        return start, _block_end(text, lines, begin, random_stream.randint(2, 5))
    return start, end


def _line_spans(text: str) -> list[tuple[int, int]]:
    spans, begin = [], 0
    for line in text.split("\n"):
        spans.append((begin, begin + len(line)))
        begin += len(line) + 1
    return spans


def _cursor(line: str, random_stream: random.Random) -> int:
    indent = len(indent_of(line))
    place = random_stream.random()
    if place < 0.45:
        return indent
    if place < 0.85:
        stops = [m.start() for m in _BOUNDARY.finditer(line, indent)]
        if stops:
            return random_stream.choice(stops)
    return random_stream.randint(indent, max(indent, len(line) - 1))


def _block_end(text: str, lines: list[tuple[int, int]], begin: int, max_lines: int) -> int:
    index = next(i for i, span in enumerate(lines) if span[0] == begin)
    indent = len(indent_of(text[lines[index][0] : lines[index][1]]))
    stop = lines[index][1]
    for low, high in lines[index + 1 : index + max_lines]:
        line = text[low:high]
        if line.strip() and len(indent_of(line)) < indent:
            break
        if line.strip():
            stop = high
    return stop


def example(
    text: str, budget: int, tokenizer: Tokenizer, template: Template, fim_share: float, stream: random.Random
) -> list[int]:
    """One example of at most `budget` tokens: fill-in-the-middle, or plain text, each with an end token."""
    if stream.random() >= fim_share:
        begin = text.rfind("\n", 0, stream.randrange(len(text))) + 1
        ids = tokenizer.encode(text[begin : begin + 8 * budget], add_special_tokens=False)
        return ids[:budget] if len(ids) >= budget else [*ids, template.end]
    start, stop = gap(text, stream)
    middle = tokenizer.encode(text[start:stop], add_special_tokens=False)[: budget // 2]
    share = stream.choice((0.0, 0.1, 0.2, 0.3, 0.3))
    prompt = template.render(tokenizer, text[:start], text[stop:], budget - len(middle) - 1, share)
    return [*prompt, *middle, template.end]


class Sequences:
    """Endless full sequences of `length` token ids; sequence number n depends on `seed` and n alone.

    A language is drawn by its share, then a file in proportion to its size, so every character of a language
    is equally likely to be a cursor. A language that no file is in is left out.
    """

    def __init__(
        self,
        files: Sequence[SourceFile],
        length: int,
        tokenizer: Tokenizer,
        template: Template,
        fim_share: float,
        shares: Mapping[str, float],
        seed: int,
    ) -> None:
        self._drawn = Drawn(files, shares)
        self._length = length
        self._tokenizer, self._template = tokenizer, template
        self._fim_share, self._seed = fim_share, seed

    def __getitem__(self, number: int) -> list[int]:
        """Sequence `number`, from 0."""
        stream = generator(self._seed, "sequence", number)
        ids: list[int] = []
        while (room := self._length - len(ids)) >= 48:
            budget = min(room, stream.choice((128, 256, 384, 512, 512)))
            budget = room if room - budget < 48 else budget
            text = self._drawn.file(stream).text
            ids.extend(example(text, budget, self._tokenizer, self._template, self._fim_share, stream))
        return ids + [self._template.end] * (self._length - len(ids))


class Drawn:
    """Files by language, each drawn in proportion to its size. Raises ValueError without any file."""

    def __init__(self, files: Sequence[SourceFile], shares: Mapping[str, float]) -> None:
        own = {
            name: [file for file in files if file.language == name and file.text] for name in sorted(shares)
        }
        self._files = {name: found for name, found in own.items() if found}
        if not self._files:
            raise ValueError("no file to draw from")
        self._names = list(self._files)
        self._shares = list(accumulate(shares[name] for name in self._names))
        self._ends = {
            name: list(accumulate(len(file.text) for file in found)) for name, found in self._files.items()
        }

    def file(self, stream: random.Random) -> SourceFile:
        """The next file that `stream` points at."""
        name = self._names[bisect.bisect_right(self._shares, stream.random() * self._shares[-1])]
        ends = self._ends[name]
        return self._files[name][bisect.bisect_right(ends, stream.randrange(ends[-1]))]
