"""True middles of real code: whole statements, the rest of one, blocks; and what models make of them."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from echo_ray import syntax

MAX_LINES = 12
WINDOW_CHARS = 6000


class Middle(NamedTuple):
    kind: str
    language: str
    prefix: str
    text: str
    suffix: str


def sources(folder: Path, per_language: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """(language, code) of files of a corpus, else of this repository."""
    paths = sorted(folder.glob("*.parquet"))
    for path in paths:
        code = pq.read_table(path, columns=["content"]).column(0).to_pylist()
        for text in random.Random(seed).sample(code, min(per_language, len(code))):
            yield path.stem, text
    if not paths:
        for path in sorted((Path(__file__).parents[1] / "echo_ray").rglob("*.py")):
            yield "python", path.read_text()


def middles(language: str, code: str, count: int, seed: int = 0) -> Iterator[Middle]:
    """Up to `count` places in a file; the whole file around each, or windows that begin at a line."""
    code = code.replace("\r\n", "\n")
    if len(code) > 60_000 or not code.strip():
        return
    parsed = syntax.parse(code, language)
    if parsed is None:
        return
    draw = random.Random(f"{seed} {len(code)} {code[:200]}")
    for _ in range(count):
        found = _middle(language, code, parsed, draw)
        if found is not None:
            yield found


def _middle(language: str, code: str, parsed: syntax.Parsed, draw: random.Random) -> Middle | None:
    starts = [at for at in range(len(code)) if at == 0 or code[at - 1] == "\n"]
    line = draw.choice(starts)
    start = line + len(code[line:]) - len(code[line:].lstrip(" \t"))
    if start >= len(code) or code[start] == "\n":
        return None
    unit = syntax.statement(parsed, start)
    if unit is None or unit.start != start or unit.stop > len(code):
        return None
    kind = draw.choice(["statement", "rest", "line", "block", "several"])
    stop = unit.stop
    if kind == "block":
        if unit.header is None or unit.header >= stop or code[unit.header : unit.header + 1] != "\n":
            return None
        start = unit.header
    for _ in range(2 * (kind == "several")):
        below = stop + len(code[stop:]) - len(code[stop:].lstrip(" \t\n"))
        more = syntax.statement(parsed, below) if "\n" == code[stop:below].strip(" \t") else None
        if (
            "\n\n" in code[stop - 1 : below]
            or more is None
            or more.start != below
            or code.rfind("\n", 0, below) + 1 + start - line != below
        ):
            break
        stop = more.stop
    if kind == "rest":
        first = min(stop, code.find("\n", start) % (len(code) + 1))
        start = draw.randrange(start, max(start + 1, first))
    if kind == "line":
        start = line  # the model writes the indentation itself
    text = code[start:stop].rstrip()
    if not text.strip() or text.count("\n") >= MAX_LINES:
        return None
    left = 0
    right = len(code)
    if draw.random() < 0.5:
        left = max([0, *(at for at in starts if at <= start - WINDOW_CHARS // 2)])
        right = min(len(code), stop + WINDOW_CHARS // 4)
    return Middle(kind, language, code[left:start], text, code[start + len(text) : right])


def corrupted(middle: Middle, draw: random.Random) -> str | None:
    """The middle, what follows it, and code from elsewhere in its file; None where nothing follows."""
    below = middle.suffix.split("\n")
    wanted = draw.randint(1, 4)
    stops = [number + 1 for number, line in enumerate(below) if line.strip()][:wanted]
    above = [line for line in middle.prefix.split("\n")[:-1] if line.strip()]
    if not stops or len(above) < 4:
        return None
    at = draw.randrange(len(above) - 2)
    return middle.text + "\n".join([*below[: stops[-1]], *above[at : at + 3]])
