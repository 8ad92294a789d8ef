r"""Pieces of a file that a developer writes again (section 3.2).

A hole starts at the end of one line and stops at the end of another, so writing it begins with Enter, as in
an editor. Python is cut by syntax (`ast`), other languages by indentation, which covers brace languages that
are indented.
Not covered: holes inside a line; files whose indentation tells nothing.
"""

import ast
import functools
import warnings
from dataclasses import dataclass
from enum import StrEnum

from echo_ray import text as texts

MAX_BLOCK_LINES = 15
MAX_BODY_LINES = 40


class HoleKind(StrEnum):
    """What is missing."""

    BODY = "body"
    """The body of a function or method; its signature and docstring stand."""
    BLOCK = "block"
    """2 to 15 lines of consecutive statements."""
    STATEMENT = "statement"
    """One statement of at most 3 lines."""


@dataclass(frozen=True, slots=True)
class Hole:
    """`text[start:stop]` is missing; `text[start]` is a newline."""

    start: int
    stop: int
    kind: HoleKind


@functools.lru_cache(maxsize=512)
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
        if not opens:
            continue
        extents = [
            (start, max(i for i in range(start, end) if depth[i] >= 0))
            for start, end in zip(opens, [*opens[1:], last + 1], strict=True)
        ]
        spans += _runs(extents)
    return spans
