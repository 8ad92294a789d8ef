"""Source files to fill-in-the-middle training sequences (for `pretrain` only).

A file belongs to training or to the held-out set by the hash of its name. An example puts a gap where a
developer's cursor would be (end of an identifier, after punctuation, at a line start) and ends it where
a completion would (end of line, closing bracket, end of block); the three parts are tokenized apart,
as they are at serving time. Examples are trimmed far from the cursor until they fill sequences exactly,
so there is no padding to speak of. Not covered: de-duplication; the corpora are expected to be clean.
"""

import random
import re
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from echo_ray import sealed
from echo_ray.errors import ConfigError
from echo_ray.prompts import Template, Tokenizer
from echo_ray.rng import generator, unit
from echo_ray.text import indent_of

_SKIP = re.compile(
    r"(^|/)(tests?|testing|idle_test|lib2to3|benchmarks?|site-packages|turtledemo|pydoc_data)/|(^|/)test_"
)
_BOUNDARY = re.compile(r"(?<=[\w)\]}\"'])(?=\W)|(?<=[(\[{,=:.])|(?<=\s)(?=\S)")
_CLOSERS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of code: a name that is stable across machines, and its text."""

    name: str
    text: str


def read(sources: Sequence[str], extensions: Sequence[str]) -> list[SourceFile]:
    """Every code file of the sources, in name order. Raises ConfigError for a source that is not there."""
    files: list[SourceFile] = []
    for source in sources:
        found = list(_read_one(source, tuple(extensions)))
        if not found:
            raise ConfigError(f"pretrain.sources: {source} holds no file that ends in {'/'.join(extensions)}")
        files.extend(found)
    return sorted(files, key=lambda file: file.name)


def _read_one(source: str, extensions: tuple[str, ...]) -> Iterator[SourceFile]:
    root = Path(sysconfig.get_paths()["stdlib"]) if source == "stdlib" else Path(source).expanduser()
    if root.suffix == ".parquet" and root.is_file():
        import pyarrow.parquet as pq

        table = pq.read_table(root, columns=["repo", "path", "content"])
        for repo, path, text in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
            if path.endswith(extensions) and not _SKIP.search(path):
                yield SourceFile(f"{repo}/{path}", text)
    elif root.is_dir():
        sealed.refuse(root, "pretrain.sources")
        for file in sorted(root.rglob("*")):
            path = file.relative_to(root).as_posix()
            if path.endswith(extensions) and not _SKIP.search(path) and file.is_file():
                text = file.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")
                if 200 <= len(text) <= 200_000:
                    yield SourceFile(f"{source}/{path}", text)
    else:
        raise ConfigError(f"pretrain.sources: {source} is neither a folder nor a Parquet file nor `stdlib`")


def split(
    files: Sequence[SourceFile], heldout_share: float, seed: int
) -> tuple[list[SourceFile], list[SourceFile]]:
    """(training files, held-out files) by the hash of each name; adding files moves no other file."""
    heldout = [file for file in files if unit(seed, "heldout", file.name) < heldout_share]
    names = {file.name for file in heldout}
    return [file for file in files if file.name not in names], heldout


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


def sequences(
    files: Sequence[SourceFile],
    length: int,
    tokenizer: Tokenizer,
    template: Template,
    fim_share: float,
    seed: int,
    start: int = 0,
) -> Iterator[list[int]]:
    """Endless full sequences of `length` token ids; sequence number n depends on `seed` and n alone.

    Files are drawn in proportion to their size, so every character is equally likely to be a cursor.
    """
    import bisect
    from itertools import accumulate

    ends = list(accumulate(len(file.text) for file in files))
    number = start
    while True:
        stream = generator(seed, "sequence", number)
        ids: list[int] = []
        while length - len(ids) >= 48:
            room = length - len(ids)
            budget = min(room, stream.choice((128, 256, 384, 512, 512)))
            budget = room if room - budget < 48 else budget
            text = files[bisect.bisect_right(ends, stream.randrange(ends[-1]))].text
            ids.extend(example(text, budget, tokenizer, template, fim_share, stream))
        yield ids + [template.end] * (length - len(ids))
        number += 1
