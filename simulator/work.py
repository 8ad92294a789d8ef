"""Work items: pieces of real files that a developer writes again (section 3.2).

A hole starts at the end of one line and stops at the end of another, so writing it begins with Enter, as
in an editor. The intent is the exact original text. Python is cut by syntax (`ast`), other languages by
indentation, which covers brace languages that are indented.
Not covered: a style layer between the repository's text and the intent (a later issue), work by commits,
deletion and refactoring items, lazy imports; the order of holes within a file is top-down.
"""

import ast
import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from echo_ray import text as texts
from echo_ray.errors import ConfigError
from simulator.config import SimulateConfig
from simulator.draws import Draws
from simulator.sources import SourceFile

MAX_BLOCK_LINES = 15
MAX_BODY_LINES = 40
_TRIES = 200  # files without a fitting hole are common among short ones


class HoleKind(StrEnum):
    """What is written."""

    BODY = "body"
    """The body of a function or method; its signature and docstring stand."""
    BLOCK = "block"
    """2 to 15 lines of consecutive statements."""
    STATEMENT = "statement"
    """One statement of at most 3 lines."""


MIX = ((HoleKind.BODY, 0.45), (HoleKind.BLOCK, 0.35), (HoleKind.STATEMENT, 0.20))
"""Shares of the kinds. The specification's mix [A] is 45 new blocks, 30 modified hunks, the rest new files,
tests and deletions; those are not covered, their share went to blocks and statements."""


@dataclass(frozen=True, slots=True)
class Hole:
    """`text[start:stop]` is missing; `text[start]` is a newline."""

    start: int
    stop: int
    kind: HoleKind


@dataclass(frozen=True, slots=True)
class WorkItem:
    """`intent` is to be written between `before` and `after`.

    Items of one visit to a file chain: the text after one is the text before the next.
    """

    key: str
    """Unique for the user; all draws of the item hang on it."""
    session: int
    visit: int
    """Number of the file opening, over all sessions; equal for items of one visit."""
    file: str
    """Pseudonym of the document."""
    language: str
    kind: HoleKind
    before: str
    intent: str
    after: str


def plan(config: SimulateConfig, files: Sequence[SourceFile], user: str) -> list[WorkItem]:
    """All work of `user`, in order. Raises ConfigError when the files offer nothing to write."""
    draws = Draws(config.seed, user)
    items: list[WorkItem] = []
    visit = 0
    for session in range(config.sessions_per_user):
        for _ in range(config.files_per_session):
            source, chosen = _choose(config, files, draws, visit)
            for number, hole in enumerate(chosen):
                after = _without(source.text, hole.stop, chosen[number + 1 :])
                items.append(
                    WorkItem(
                        key=f"{visit}:{number}:{source.pseudonym}:{hole.start}",
                        session=session,
                        visit=visit,
                        file=source.pseudonym,
                        language=source.language,
                        kind=hole.kind,
                        before=source.text[: hole.start],
                        intent=source.text[hole.start : hole.stop],
                        after=after,
                    )
                )
            visit += 1
    return items


@functools.lru_cache(maxsize=4096)
def holes(text: str, language: str, least_chars: int, most_chars: int) -> tuple[Hole, ...]:
    """All holes of `text` within the length limits; empty for Python that does not parse."""
    lines = text.split("\n")
    spans = _python_spans(text) if language == "python" else _indented_spans(lines)
    ends = [0]
    for line in lines:
        ends.append(ends[-1] + len(line) + 1)
    found = set()
    for first, last, kind in spans:  # lines, both included, counted from 0
        if not first:
            continue  # nothing stands before the hole, so there is no line end to start from
        start, stop = ends[first] - 1, ends[last + 1] - 1
        if least_chars <= stop - start <= most_chars and lines[last].strip():
            found.add((start, stop, kind))
    return tuple(Hole(*span) for span in sorted(found))


Span = tuple[int, int, HoleKind]


def _python_spans(text: str) -> list[Span]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of the foreign file, not of this program
            tree = ast.parse(text)
    except (SyntaxError, RecursionError, ValueError):
        return []
    spans: list[Span] = []
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if isinstance(statements, list) and statements and isinstance(statements[0], ast.stmt):
                spans += _runs([_lines_of(statement) for statement in statements])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            spans += _body(node)
    return spans


def _body(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[Span]:
    statements = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    if not statements:
        return []
    first, last = _lines_of(statements[0])[0], (node.end_lineno or node.lineno) - 1
    shared = first <= node.lineno - 1  # `def f(): return 1`
    return [] if shared or last - first >= MAX_BODY_LINES else [(first, last, HoleKind.BODY)]


def _lines_of(statement: ast.stmt) -> tuple[int, int]:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
    return first - 1, (statement.end_lineno or statement.lineno) - 1


def _runs(extents: list[tuple[int, int]]) -> list[Span]:
    """Statements and runs of them that share no line with their neighbours."""
    spans: list[Span] = []
    for index, (first, last) in enumerate(extents):
        if index and extents[index - 1][1] >= first:
            continue
        if last - first < 3 and (index + 1 == len(extents) or extents[index + 1][0] > last):
            spans.append((first, last, HoleKind.STATEMENT))
        for later, (_, end) in enumerate(extents[index:], index):
            if end - first >= MAX_BLOCK_LINES:
                break
            free = later + 1 == len(extents) or extents[later + 1][0] > end
            if end > first and free:
                spans.append((first, end, HoleKind.BLOCK))
    return spans


def _indented_spans(lines: list[str]) -> list[Span]:
    """Bodies below a header line, and runs of lines at one depth, told by indentation alone."""
    spans: list[Span] = []
    depth = [len(texts.indent_of(line)) if line.strip() else -1 for line in lines]
    for header, own in enumerate(depth[:-1]):
        if own < 0 or depth[header + 1] <= own:
            continue
        first, last = header + 1, header + 1
        for index in range(first, len(lines)):
            if 0 <= depth[index] <= own:
                break
            last = index if depth[index] > own else last
        if last - first < MAX_BODY_LINES:
            spans.append((first, last, HoleKind.BODY))
        level = depth[first]
        starts = [index for index in range(first, last + 1) if depth[index] == level]
        closes = {index for index in starts if lines[index].strip()[0] in "})]"}
        opens = [index for index in starts if index not in closes]
        extents = [
            (start, max(i for i in range(start, end) if depth[i] >= 0))
            for start, end in zip(opens, [*opens[1:], last + 1], strict=True)
        ]
        spans += _runs(extents)
    return spans


def _choose(
    config: SimulateConfig, files: Sequence[SourceFile], draws: Draws, visit: int
) -> tuple[SourceFile, list[Hole]]:
    for attempt in range(_TRIES):
        source = files[int(draws.unit("file", visit, attempt) * len(files))]
        found = holes(source.text, source.language, config.min_intent_chars, config.max_intent_chars)
        if not found:
            continue
        chosen: list[Hole] = []
        for number in range(config.items_per_file):
            kind = _kind(draws.unit("kind", visit, number))
            free = [hole for hole in found if all(_apart(hole, other) for other in chosen)]
            pool = [hole for hole in free if hole.kind is kind] or free
            if pool:
                chosen.append(pool[int(draws.unit("hole", visit, number) * len(pool))])
        return source, sorted(chosen, key=lambda hole: hole.start)
    raise ConfigError(
        f"simulate.sources {config.sources} offer no code of {config.min_intent_chars} to "
        f"{config.max_intent_chars} characters to write; change simulate.min_intent_chars or max_intent_chars"
    )


def _kind(draw: float) -> HoleKind:
    for kind, share in MIX:
        if draw < share:
            return kind
        draw -= share
    return MIX[-1][0]


def _apart(one: Hole, other: Hole) -> bool:
    return one.stop < other.start or other.stop < one.start


def _without(text: str, start: int, later: Sequence[Hole]) -> str:
    """`text[start:]` with the holes `later` left out."""
    parts = []
    for hole in later:
        parts.append(text[start : hole.start])
        start = hole.stop
    return "".join([*parts, text[start:]])
