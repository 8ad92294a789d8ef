"""Intent-aligned truncation: from the raw commit CN to the target (paper 4.3).

A commit holds everything that the user wrote before leaving the gap; the target is its beginning, up to
the end of the immediate logical unit. Syntax and line structure propose where a unit may end
(`candidates`); a teacher only chooses one of them. Invariant: the target is a prefix of the commit up to
trailing white space (`accept`), leading text is kept exactly.

Our choice: the paper's teacher is a large language model. The default here is `SyntaxTeacher`, which
needs none: the smallest complete statement that starts at or contains the cursor; for a compound
statement its header line, or header and body when the whole is at most `header_lines` lines (on one
line when the cursor is in the middle of a line). A language model fits the same `Teacher` protocol.
Our choice: a unit that is over the limits is cut to its first line; if even that is too long the sample
is dropped as `too_long`.

Not covered: formatting ("readability" in the paper), which would change what the user wrote; intent
that spans several statements; trailing comments on the same line are left out of a statement.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa
from pydantic import Field

from echo_ray import schema, text
from echo_ray.config import Config
from echo_ray.schema import Drop
from echo_ray.stages import extend, require, rows, syntax


class DistilConfig(Config):
    """Settings of `distil`."""

    input: Path | None = None
    """Folder of mined samples."""
    output: Path | None = None
    """Folder for the distilled samples."""
    max_lines: int = Field(6, ge=1)
    """A target has at most this many lines, leading blank ones not counted."""
    max_chars: int = Field(200, ge=1)
    """A target has at most this many characters, leading white space included."""
    header_lines: int = Field(3, ge=1)
    """A compound statement (`if`, `for`, `def`, ...) of at most this many lines is proposed as a whole;
    of a longer one the header line is the unit."""
    window_chars: int = Field(8_000, ge=200)
    """Characters on each side of the cursor that the parser sees."""


class Cut(NamedTuple):
    """A place where the target may end: `stop` is an offset in the commit, `rule` says what ends there."""

    stop: int
    rule: str


class Teacher(Protocol):
    """Chooses one of the candidates; may answer with the text of a target instead."""

    name: str | None
    """Written to `cut_by`; None lets the rule of the chosen cut stand there."""

    def choose(self, prefix: str, commit: str, suffix: str, language: str, cuts: Sequence[Cut]) -> str | int:
        """Index into `cuts` (never empty), or the target as text."""
        ...


class SyntaxTeacher:
    """The immediate logical unit by syntax alone: statement, else line, else expression, else block."""

    name: str | None = None

    def choose(self, prefix: str, commit: str, suffix: str, language: str, cuts: Sequence[Cut]) -> int:
        """Index of the preferred cut."""
        # Of several expressions the longest, which reaches furthest without leaving the statement.
        return min(
            range(len(cuts)), key=lambda index: (_PREFERENCE.index(cuts[index].rule), -cuts[index].stop)
        )


_PREFERENCE = ("statement", "line", "expression", "block")
_SYNTAX_TEACHER = SyntaxTeacher()
_CLOSERS_ONLY = re.compile(r"[\s)\]};,]*\Z")


def candidates(prefix: str, commit: str, suffix: str, language: str, config: DistilConfig) -> list[Cut]:
    """Places where the target may end, shortest first, one rule for each (paper 4.3).

    No cut lies inside a token, a string, or brackets that the commit itself closes, except the
    first-line cut of a unit that is over the limits. Empty when nothing is within the limits.
    """
    start = len(commit) - len(commit.lstrip())
    if start == len(commit):
        return []
    # What lies beyond the limits of a target matters only to tell where the first unit ends.
    shown = commit[: start + config.window_chars]
    tree = syntax.around(prefix, shown, suffix, language, config.window_chars)
    found = _by_lines(commit, start) if tree is None else _by_tree(tree, start, config)
    cuts: dict[int, str] = {}
    for rule in _PREFERENCE:
        for cut in found:
            stop = len(commit[: cut.stop].rstrip())
            if cut.rule == rule and start < stop and _fits(commit[:stop], config):
                cuts.setdefault(stop, rule)
    if not any(rule in ("statement", "line") for rule in cuts.values()):
        first = len(commit[: _newline(commit, start)].rstrip())
        if _fits(commit[:first], config):
            cuts.setdefault(first, "line")
    return [Cut(stop, cuts[stop]) for stop in sorted(cuts)]


def choose_syntax(prefix: str, commit: str, suffix: str, language: str, config: DistilConfig) -> Cut | None:
    """The cut at the end of the immediate logical unit; None when no cut is within the limits."""
    cuts = candidates(prefix, commit, suffix, language, config)
    return cuts[_SYNTAX_TEACHER.choose(prefix, commit, suffix, language, cuts)] if cuts else None


def accept(answer: str, commit: str) -> str | Drop:
    """The target that a teacher's `answer` stands for, or TEACHER_REWROTE (paper 4.3).

    The answer must be a prefix of `commit` up to trailing white space and must not end inside a word.
    An empty answer to a commit that is not empty is a rewrite too: silence is not what the user did.
    """
    target = answer.rstrip()
    if not commit.startswith(target) or (not target and commit.strip()):
        return Drop.TEACHER_REWROTE
    if target and _in_word(target[-1]) and _in_word(commit[len(target) : len(target) + 1]):
        return Drop.TEACHER_REWROTE
    return target


def refine(
    prefix: str,
    commit: str,
    suffix: str,
    language: str,
    config: DistilConfig,
    teacher: Teacher = _SYNTAX_TEACHER,
) -> tuple[str, str] | Drop:
    """(target, cut_by) of one sample, or why it has none."""
    if not commit.strip():
        return "", "void"
    cuts = candidates(prefix, commit, suffix, language, config)
    if not cuts:
        return Drop.TOO_LONG
    chosen = teacher.choose(prefix, commit, suffix, language, cuts)
    if isinstance(chosen, int):
        cut = cuts[chosen]
        return commit[: cut.stop], teacher.name or cut.rule
    target = accept(chosen, commit)
    return target if isinstance(target, Drop) else (target, teacher.name or "teacher")


def distil(table: pa.Table, config: DistilConfig, teacher: Teacher = _SYNTAX_TEACHER) -> pa.Table:
    """SAMPLE rows to DISTILLED rows; rows that already have a `drop` keep a null target."""
    require(table, schema.SAMPLE, "distil")
    drops: list[str | None] = table.column("drop").to_pylist()
    targets: list[str | None] = [None] * len(drops)
    cut_by: list[str | None] = [None] * len(drops)
    names = ("prefix", "commit", "suffix", "language")
    for row, (prefix, commit, suffix, language) in enumerate(rows(table, names)):
        if drops[row] is not None:
            continue
        result = refine(prefix, commit, suffix, language, config, teacher)
        if isinstance(result, Drop):
            drops[row] = result.value
        else:
            targets[row], cut_by[row] = result
    return extend(table, schema.DISTILLED, {"drop": drops, "target": targets, "cut_by": cut_by})


def _by_tree(tree: syntax.Around, start: int, config: DistilConfig) -> list[Cut]:
    """Cuts that the syntax tree proposes, not yet limited; offsets are in the commit."""
    parsed, cursor = tree.parsed, tree.cursor
    commit, begin, end = tree.middle, tree.cursor + start, tree.cursor + len(tree.middle)
    cuts: list[Cut] = []
    line = syntax.line_end(parsed, begin, end)
    if line is None or line > begin + config.max_chars or _lines(commit[: line - cursor]) > config.max_lines:
        # Brackets stay open beyond the limits, or beyond the commit itself.
        if line is not None or _lines(commit) > config.max_lines:
            line = cursor + _newline(commit, start)
        else:
            line = end
    cuts.append(Cut(line - cursor, "line"))
    unit = syntax.statement(parsed, begin)
    if unit is None or unit.broken:
        return cuts
    if unit.stop <= end:
        stop, size = unit.stop - cursor, _lines(commit[: unit.stop - cursor])
        if unit.header is None or size <= (config.header_lines if _at_line_start(tree, start) else 1):
            cuts.append(Cut(stop, "statement"))
        else:
            cuts = [Cut(unit.header - cursor, "line"), Cut(stop, "block")]
    elif unit.header is None or unit.header > end:
        # The suffix goes on with the statement; if it only closes it, the commit completes it.
        closes = _CLOSERS_ONLY.match(parsed.text[end : unit.stop])
        whole = Cut(len(commit), "statement" if closes else "expression")
        cuts = [whole] if line == end else [*cuts, whole]
    else:
        cuts = [Cut(unit.header - cursor, "line")]
    limit = min(end, unit.stop)
    cuts += [Cut(stop - cursor, "expression") for stop in syntax.expressions(parsed, begin) if stop < limit]
    block = syntax.block_end(parsed, begin)
    if block is not None and block <= end:
        cuts.append(Cut(block - cursor, "block"))
    return cuts


def _at_line_start(tree: syntax.Around, start: int) -> bool:
    return "\n" in tree.middle[:start] or not text.current_line(tree.prefix).strip()


def _by_lines(commit: str, start: int) -> list[Cut]:
    """Cuts for languages without a grammar: balanced line, and block by indentation."""
    depth, quote, stop = 0, "", len(commit)
    for offset in range(start, len(commit)):
        character = commit[offset]
        if character == "\n":
            quote = ""  # a string that spans lines is rarer than an apostrophe in prose
            if depth <= 0:
                stop = offset
                break
        elif quote:
            if character == quote and commit[offset - 1] != "\\":
                quote = ""
        elif character in "\"'`":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
    else:
        stop = len(commit) if depth <= 0 else _newline(commit, start)
    cuts = [Cut(stop, "line")]
    indent = len(text.indent_of(commit[commit.rfind("\n", 0, start) + 1 : stop]))
    end = stop
    while end < len(commit):
        after = _newline(commit, end + 1)
        body = commit[end + 1 : after]
        if body.strip() and len(text.indent_of(body)) <= indent:
            break
        end = after
    if end > stop:
        cuts.append(Cut(end, "block"))
    return cuts


def _fits(target: str, config: DistilConfig) -> bool:
    return len(target) <= config.max_chars and _lines(target) <= config.max_lines


def _lines(target: str) -> int:
    return target.strip().count("\n") + 1


def _newline(commit: str, start: int) -> int:
    newline = commit.find("\n", start)
    return newline if newline >= 0 else len(commit)


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"
