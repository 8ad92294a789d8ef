"""Whether the lines of a target stand where code can stand (paper 4.4, "correctness").

A fault is a line of the target where no block is. Python: deeper than the statement before it in the same
block, or at a level that no line above has. Elsewhere: unlike both its neighbours, which agree.
Everywhere: tabs in a file of blanks, or the other way round. Lines inside brackets, strings and comments are
free.

Not covered: depth that fits a block, but not the one that was meant.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from echo_ray import syntax, text
from echo_ray.checks.case import NOT_APPLICABLE, PASS, Case, Finding, Verdict
from echo_ray.schema import Drop

_INDENTED = re.compile(r"(?:\t| {2,})[^\s*]")
_LINES = {"\t": re.compile(r"^\t[ \t]*[^\s*]", re.MULTILINE), " ": re.compile(r"^ {2,}[^\s*]", re.MULTILINE)}

_NEAR = 4_000
"""Characters on each side in which the file's way to indent is looked for."""

_ENOUGH = 5
"""Indented lines that make a way to indent clear."""


def check(case: Case) -> Finding:
    """FAIL when a line that the target begins stands at an indentation where no code can stand.

    NOT_APPLICABLE without a grammar, and when the target begins no line of code.
    """
    at_start = not text.current_line(case.prefix).strip()
    if not case.target.strip() or not (at_start or "\n" in case.target):
        return NOT_APPLICABLE
    mixed = _other_white_space(case, at_start)
    if mixed is not None:
        return mixed
    tree = case.spliced
    if tree is None:
        return NOT_APPLICABLE
    if tree.errors and syntax.error_spans(tree.parsed)[0][0] < tree.cursor:
        return PASS  # blocks may have other bounds than they seem to have
    levels: set[int] | None = None
    for unit in _own_lines(tree, case.target, at_start):
        if unit.above is None or unit.column == unit.above:
            continue
        if tree.language == "python":
            if levels is None:
                above = case.prefix + case.target[: max(0, unit.start - tree.cursor)]
                levels = {len(text.indent_of(line)) for line in above.split("\n")[:-1] if line.strip()}
            # A level that only the folded part of the prefix has is a level too.
            wrong = unit.column > unit.above or unit.column not in levels
        else:
            wrong = unit.below == unit.above
        if wrong:
            note = f"column {unit.column}, its neighbours {unit.above}"
            stop = min(unit.start - tree.cursor, len(case.target))
            start = min(max(0, unit.start - unit.column - tree.cursor), stop)
            return Finding(Verdict.FAIL, "unknown_level", Drop.SYNTAX_INDENT, start, stop, note)
    return PASS


class _Line(NamedTuple):
    """A statement that begins a line: its offset, column, and the columns of its neighbours that do."""

    start: int
    column: int
    above: int | None
    below: int | None


def _own_lines(tree: syntax.Around, target: str, at_start: bool) -> Iterator[_Line]:
    """Statements of the target that begin a line of it, and the first line of code below it."""
    offset = 0 if at_start else target.find("\n") + 1
    behind = f"{tree.middle}{tree.suffix}"[len(target) :]
    below = len(behind) - len(behind.lstrip())
    line_end = behind.find("\n", below)
    if "\n" in behind[:below]:
        target += behind[: line_end if line_end >= 0 else len(behind)]
    for line in target[offset:].split("\n"):
        code = line.lstrip(" \t")
        start = tree.cursor + offset + len(line) - len(code)
        offset += len(line) + 1
        if not code.strip():
            continue
        columns = syntax.columns(tree.parsed, start)
        if columns is not None:
            yield _Line(start, *columns)


def _other_white_space(case: Case, at_start: bool) -> Finding | None:
    """FAIL when the target indents with tabs and everything around it with blanks, or the other way round."""
    whole = text.current_line(case.prefix[-_NEAR:]) + case.target if at_start else case.target
    used = {line[0] for line in whole.split("\n")[0 if at_start else 1 :] if _INDENTED.match(line)}
    if len(used) != 1:
        return None
    around = f"{case.prefix[-_NEAR:].rpartition(chr(10))[0]}\n{case.suffix[:_NEAR].partition(chr(10))[2]}"
    mine = used.pop()
    if _LINES[mine].search(around):
        return None  # the first such line ends the search: this is the usual case
    other = "\t" if mine == " " else " "
    if len(_LINES[other].findall(around)) < _ENOUGH:
        return None
    names = {"\t": "tabs", " ": "blanks"}
    note = f"{names[mine]} in a file of {names[other]}"
    return Finding(Verdict.FAIL, "tabs_against_blanks", Drop.SYNTAX_INDENT, note=note)
