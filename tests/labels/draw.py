"""Draws the gaps that are to be labelled: `python -m tests.labels.draw > drawn.jsonl`.

A gap is a run of lines that a real commit added (of a corpus: neighbouring lines), with the cursor at a
random key position in it; what follows the cursor in the run is the commit. The shares are constants below.
Which gap comes out depends on the seed, the language and its number alone, never on what a cut looks like.
"""

import contextlib
import dataclasses
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from echo_ray import rng
from tests.labels import Label, sha
from tests.labels.sources import DATA, Place, blobs, cloned, git

SEED = 20_251
PER_LANGUAGE = {
    "python": 42,
    "javascript": 42,
    "typescript": 42,
    "vue": 40,
    "java": 40,
    "go": 40,
    "cpp": 42,
    "c": 34,
}
BUNDLES = {
    "python": ("pallets__flask", "encode__httpx"),
    "javascript": ("expressjs__express",),
    "typescript": ("elk-zone__elk", "vuejs__pinia"),
    "vue": ("elk-zone__elk", "vuejs__pinia"),
    "java": ("square__javapoet",),
    "go": ("spf13__cobra",),
    "cpp": ("google__leveldb", "open-source-parsers__jsoncpp"),
    "c": (),
}
ENDINGS = {
    "python": (".py",),
    "javascript": (".js", ".mjs", ".cjs", ".jsx"),
    "typescript": (".ts", ".mts", ".tsx"),
    "vue": (".vue",),
    "java": (".java",),
    "go": (".go",),
    "cpp": (".cc", ".cpp", ".h", ".hpp"),
    "c": (".c",),
}
FROM_CORPUS = 0.3
START, INSIDE = 0.45, 0.40
"""Shares of cursors at the start of a line's content and inside a line; the others stand at its end."""
CLOSED = 0.25
"""Share of gaps whose closing characters the editor had written."""
LONG = 0.75
"""Share of gaps that hold more than one line, whatever the commits are like."""
ENDED_EARLIER = 0.3
SHORT_RUNS_KEPT = 0.3
"""Share of the runs of one or two lines that are looked at, since most runs are so short."""
MOST_LINES = 40
MOST_CHARS = 4_000
_NOT_WRITTEN = re.compile(
    r"(^|/)(node_modules|vendor|deps|third_party|dist|build|fixtures|testdata|gtest|public)/|\.min\.|\.d\.ts$"
)
_HUNK = re.compile(rb"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", re.MULTILINE)
_TOKEN = re.compile(r"\w+|[^\w\s]|\s+")
_OPEN, _CLOSE, _QUOTES = "([{", ")]}", "\"'`"


@dataclasses.dataclass(frozen=True, slots=True)
class Gap:
    """Offsets of a gap in a text, see `Label`."""

    start: int
    stop: int
    closed: int
    resume: int


def gap(text: str, first: int, last: int, kind: str, closed: bool, draw: random.Random) -> Gap | None:
    """A gap of this kind in the lines `[first, last)`; None where they have none."""
    lines = text.split("\n")
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line) + 1)
    end = offsets[last] - 1
    start = _cursor(lines, offsets, first, last, kind, draw)
    if start is None or not text[start:end].strip():
        return None
    if closed:
        return _closed(text, min(offsets[first], start), start, end, draw)
    if draw.random() >= ENDED_EARLIER:
        stop = end + 1 if draw.random() < 0.1 and end < len(text) else end
        return Gap(start, stop, 0, stop)
    if draw.random() < 0.7:
        stops = [offset - 1 for offset in offsets[first + 1 : last] if offset - 1 > start]
    else:
        stops = [start + token.end() for token in _TOKEN.finditer(text[start:end])]
    if not stops:
        return None
    stop = draw.choice(stops)
    return Gap(start, stop, 0, end if draw.random() < 0.5 else stop)


def _cursor(
    lines: list[str], offsets: list[int], first: int, last: int, kind: str, draw: random.Random
) -> int | None:
    if kind == "end":
        row = draw.randrange(max(first - 1, 0), last)
        return offsets[row] + len(lines[row]) if lines[row].strip() else None
    written = [row for row in range(first, last) if lines[row].strip()]
    if not written:
        return None
    row = draw.choice(written)
    line = lines[row]
    indentation = len(line) - len(line.lstrip())
    if kind == "start":
        return offsets[row] + (0 if draw.random() < 0.12 else indentation)
    if draw.random() < 0.6:
        columns = [token.end() for token in _TOKEN.finditer(line) if indentation < token.end() < len(line)]
    else:
        columns = list(range(indentation + 1, len(line)))
    return offsets[row] + draw.choice(columns) if columns else None


def _closed(text: str, begin: int, start: int, end: int, draw: random.Random) -> Gap | None:
    """The gap inside the innermost bracket or quote that was opened before the cursor, as far as seen here.

    Brackets are counted without a look at strings: some gaps come out odd, as editors make odd ones too.
    """
    line = text[text.rfind("\n", 0, start) + 1 : start]
    quote = next((mark for mark in _QUOTES if line.count(mark) % 2), None)
    after = text[start:end]
    if quote is not None:
        at = after.find(quote, 0, (after + "\n").index("\n"))
    else:
        before = _depths(text[begin:start])
        at = _partner(after) if before else -1
    if at < 0:
        return None
    stop = start + len(after[:at].rstrip())
    past = start + at + 1
    while past < end and text[past] in _CLOSE + _QUOTES:
        past += 1
    rest = text[past : (text + "\n").index("\n", past)]
    keeps = any(mark in _CLOSE + _QUOTES for mark in rest) or draw.random() < 0.4
    return Gap(start, stop, past - stop, past if keeps else end)


def _depths(text: str) -> list[str]:
    stack: list[str] = []
    for mark in text:
        if mark in _OPEN:
            stack.append(mark)
        elif mark in _CLOSE and stack:
            stack.pop()
    return stack


def _partner(text: str) -> int:
    depth = 0
    for at, mark in enumerate(text):
        depth += (mark in _OPEN) - (mark in _CLOSE)
        if depth < 0:
            return at
    return -1


Draw = Callable[[random.Random], tuple[Place, str, tuple[int, int]] | None]


def _of_history(clone: Path, source: str, endings: tuple[str, ...]) -> Draw:
    log = git(
        clone, "log", "--no-merges", "--no-renames", "--diff-filter=AM", "--name-only", "--format=%x00%H"
    )
    changed = []
    for entry in log.decode().split("\0")[1:]:
        commit, *paths = entry.split()
        changed += [
            (commit, path) for path in paths if path.endswith(endings) and not _NOT_WRITTEN.search(path)
        ]
    changed.sort()

    def drawn(draw: random.Random) -> tuple[Place, str, tuple[int, int]] | None:
        place = Place(source, *draw.choice(changed))
        shown = git(clone, "show", "--format=", "--unified=0", "--no-renames", place.commit, "--", place.path)
        hunks = [(int(first), int(count or 1)) for first, count in _HUNK.findall(shown)]
        first, count = draw.choice([hunk for hunk in hunks if hunk[1]] or [(0, 0)])
        if not count or (count <= 2 and draw.random() >= SHORT_RUNS_KEPT):
            return None
        if count > MOST_LINES:
            lines = draw.randint(4, MOST_LINES)
            first += draw.randint(0, count - lines)
            count = lines
        return place, blobs(clone, [place])[0], (first - 1, first - 1 + count)

    return drawn


def _of_corpus(corpus: Path, source: str, endings: tuple[str, ...]) -> Draw:
    names = pq.read_table(corpus, columns=["repo", "path"]).to_pylist()
    rows = [row for row, name in enumerate(names) if name["path"].endswith(endings)]
    texts = pq.read_table(corpus, columns=["content"]).column("content")

    def drawn(draw: random.Random) -> tuple[Place, str, tuple[int, int]] | None:
        row = draw.choice(rows)
        text = texts[row].as_py()
        lines = text.count("\n")
        first = draw.randrange(lines)
        return (
            Place(source, names[row]["repo"], names[row]["path"]),
            text,
            (first, min(first + draw.randint(1, 14), lines)),
        )

    return drawn


def _gaps(language: str, histories: list[Draw], corpus: Draw, count: int) -> Iterator[Label]:
    seen: set[str] = set()
    for number in range(count):
        wanted = rng.generator(SEED, language, number)
        share = wanted.random()
        kind = "start" if share < START else "inside" if share < START + INSIDE else "end"
        closed, long = wanted.random() < CLOSED, wanted.random() < LONG
        source = corpus if not histories or wanted.random() < FROM_CORPUS else wanted.choice(histories)
        attempt = 0
        while True:
            attempt += 1
            draw = rng.generator(SEED, language, number, attempt)
            found = source(draw)
            if found is None or "\r" in found[1] or "\ufffd" in found[1]:
                continue
            place, text, (first, last) = found
            made = gap(text, first, last, kind, closed, draw)
            if made is None:
                continue
            commit = text[made.start : made.stop]
            if not commit.strip() or len(commit) > MOST_CHARS or commit.strip() in seen:
                continue
            if long and "\n" not in commit.strip() and attempt < 60:
                continue
            seen.add(commit.strip())
            yield Label(
                f"{language}-{number:02d}",
                _identifier(language, place.path),
                place.source,
                place.commit,
                place.path,
                made.start,
                made.stop,
                made.closed,
                made.resume,
                sha(text),
                cut=0,
            )
            break


def _identifier(language: str, path: str) -> str:
    return {".tsx": "typescriptreact", ".jsx": "javascriptreact"}.get(Path(path).suffix, language)


def drawn(languages: Iterable[str] = PER_LANGUAGE, data: Path = DATA) -> Iterator[Label]:
    """All gaps of `languages`; their `cut` is 0: not labelled yet."""
    for language in languages:
        with contextlib.ExitStack() as stack:
            histories = []
            for name in BUNDLES[language]:
                source = f"repos/{name}.bundle"
                clone = stack.enter_context(cloned(data / source))
                histories.append(_of_history(clone, source, ENDINGS[language]))
            source = f"corpus/{'cpp' if language == 'c' else language}.parquet"
            corpus = _of_corpus(data / source, source, ENDINGS[language])
            yield from _gaps(language, histories, corpus, PER_LANGUAGE[language])


if __name__ == "__main__":
    for label in drawn():
        print(
            json.dumps({key: value for key, value in dataclasses.asdict(label).items() if value is not None})
        )
