"""Where a target may end: candidate cuts of a commit by syntax and line structure (paper 4.3).

Syntax proposes the ends of expressions, statements, header lines and blocks; lines and indentation do so for
languages without a grammar. Invariant: a cut is an offset in the commit, so a target is its prefix by
construction. A teacher (`distil`) only chooses one of the cuts.

Our choice: the immediate logical unit is what is left of the smallest statement, comment or element of markup
that starts at or contains the cursor, as far as a person reads it at a glance. What counts is the size of the
whole, with the part before the cursor and the part that the suffix has:

- what has a body (compound statements, `case`, elements, calls that end in a function) is one unit of at most
  `header_lines` lines, else its header line is;
- so are comment lines one below the other and block comments, else one line of them is;
- another statement is one unit of at most `max_lines` lines and `max_chars` characters; of a larger one it is
  the largest part around the cursor (a call, a literal, a tag) that is no larger, to the end of its logical
  line;
- brackets that close what was open before the cursor are one unit when the commit holds nothing else, and so
  is an end tag.

A unit that is over the limits is cut to its first line; if even that is too long there is no cut.

Not covered: intent that spans several statements; a comment behind a statement on its line is left out.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field

from echo_ray import syntax, text
from echo_ray.config import Config


class Limits(Config):
    """How much a person verifies in seconds (paper 4.3, "Human-Cognitive Alignment")."""

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


RULES = ("statement", "line", "expression", "block")
"""Rules of a cut, most preferred first."""
_COMMENT = re.compile("#|//|/[*]|<!--|--")
_LINE_COMMENT = re.compile("#|//")
_END_TAG = re.compile(r"</[\w.:-]*\s*>")
_MARKUP = frozenset({"vue", "javascript", "javascriptreact", "typescriptreact"})
_CLOSERS_ONLY = re.compile(r"[\s)\]};,]*\Z")


def immediate(cuts: Sequence[Cut]) -> int:
    """Index of the immediate logical unit in `cuts` (not empty): statement, else line, expression, block."""
    # Of several expressions the longest, which reaches furthest without leaving the statement.
    return min(range(len(cuts)), key=lambda index: (RULES.index(cuts[index].rule), -cuts[index].stop))


def candidates(prefix: str, commit: str, suffix: str, language: str, config: Limits) -> list[Cut]:
    """Places where the target may end, shortest first, one rule for each (paper 4.3).

    No cut lies inside a token, a string, or brackets that the commit itself closes, except the
    first-line cut of a unit that is over the limits. Empty when nothing is within the limits.
    """
    start = len(commit) - len(commit.lstrip())
    if start == len(commit):
        return []
    # What lies beyond the limits of a target only tells where the first unit ends: it may be folded.
    shown = text.head(commit, start + 2 * config.max_chars)
    after = commit[len(shown) :] + suffix[: config.window_chars]
    tree = syntax.around(prefix, shown, after, language, config.window_chars)
    found = _by_lines(commit, start) if tree is None else _by_tree(tree, start, config)
    cuts: dict[int, str] = {}
    for rule in RULES:
        for cut in found:
            stop = len(commit[: cut.stop].rstrip())
            if cut.rule == rule and start < stop and _fits(commit[:stop], config):
                cuts.setdefault(stop, rule)
    if not any(rule in ("statement", "line") for rule in cuts.values()):
        first = len(commit[: _newline(commit, start)].rstrip())
        if _fits(commit[:first], config):
            cuts.setdefault(first, "line")
    return [Cut(stop, cuts[stop]) for stop in sorted(cuts)]


def _by_tree(tree: syntax.Around, start: int, config: Limits) -> list[Cut]:
    """Cuts that the syntax tree proposes, not yet limited; offsets are in the commit."""
    parsed, cursor = tree.parsed, tree.cursor
    begin, end = cursor + start, cursor + len(tree.middle)
    if _CLOSERS_ONLY.match(tree.middle, start):
        return [Cut(len(tree.middle), "statement")]
    tag = _END_TAG.match(tree.middle, start)
    if tag is not None and tree.language in _MARKUP:
        return [Cut(tag.end(), "statement")]
    comment = _comment(tree, begin, config)
    if comment is not None:
        return [Cut(min(comment, end) - cursor, "statement")]
    unit = syntax.statement(parsed, begin)
    if unit is None or unit.broken:
        return [Cut(_logical_line(parsed, begin, begin, end, config) - cursor, "line")]
    first, stop = min(unit.start, begin), min(unit.stop, end)
    # The suffix may go on with the statement; if it only closes it, the commit completes it.
    complete = unit.stop <= end or _CLOSERS_ONLY.match(parsed.text[end : unit.stop])
    whole = Cut(stop - cursor, "statement" if complete else "expression")
    if unit.header is not None and _lines(parsed.text[first : unit.stop]) > config.header_lines:
        header = _without_comment(parsed, begin, unit.header) if unit.header <= end else end
        cuts = [Cut(header - cursor, "line"), Cut(stop - cursor, "block")]
    elif unit.header is not None or _fits(parsed.text[first : unit.stop], config):
        cuts = [whole]
        if "\n" in parsed.text[begin:stop]:
            line = _logical_line(parsed, begin, begin, end, config)
            if line < stop:
                cuts = [Cut(line - cursor, "line"), Cut(stop - cursor, "statement")]
            if unit.header is not None and unit.header < stop:
                cuts.append(Cut(_without_comment(parsed, begin, unit.header) - cursor, "line"))
    else:
        line = _logical_line(parsed, begin, begin, end, config)
        part = _largest_part(parsed, begin, config)
        if part is not None and part > line:
            line = _logical_line(parsed, begin, part, end, config)
        cuts = [Cut(line - cursor, "line"), Cut(stop - cursor, "block")]
    cuts += [Cut(at - cursor, "expression") for at in syntax.expressions(parsed, begin) if at < stop]
    block = syntax.block_end(parsed, begin)
    if block is not None and block <= end:
        cuts.append(Cut(block - cursor, "block"))
    return cuts


def _logical_line(parsed: syntax.Parsed, begin: int, reached: int, end: int, config: Limits) -> int:
    """End of the line that goes on at `reached`: where brackets opened since are closed, or, when these or a
    string stay open beyond the limits, of the first line. A comment behind it is left out.
    """
    newline = parsed.text.find("\n", reached, end)
    first = newline if newline >= 0 else end
    text_around = syntax.atom(parsed, begin)
    if text_around is not None and not _fits(parsed.text[text_around.start : text_around.stop], config):
        return first
    line = syntax.line_end(parsed, reached, end)
    if line is None:
        line = end if _fits(parsed.text[begin:end], config) else first
    elif not _fits(parsed.text[begin:line], config):
        line = first
    return _without_comment(parsed, begin, line)


def _without_comment(parsed: syntax.Parsed, begin: int, stop: int) -> int:
    line = max(begin, parsed.text.rfind("\n", 0, stop) + 1)
    if not _COMMENT.search(parsed.text, line, stop):
        return stop
    last = stop
    for token in syntax.tokens(parsed, line, stop):
        if "comment" in token.kind and token.start > begin and token.stop >= stop:
            last = token.start
    return last


def _largest_part(parsed: syntax.Parsed, begin: int, config: Limits) -> int | None:
    """End of the largest part of the statement around `begin` that is within the limits as a whole."""
    stops = [
        stop
        for start, stop in syntax.enclosing(parsed, begin)
        if start < begin and _fits(parsed.text[start:stop], config)
    ]
    return max(stops, default=None)


def _comment(tree: syntax.Around, begin: int, config: Limits) -> int | None:
    """End of the comment that starts at or contains `begin`: all of it where it is small, else one line."""
    found = syntax.comment(tree.parsed, begin)
    if found is None:
        return None
    source = tree.parsed.text
    newline = source.find("\n", begin)
    first = stop = min(found.stop, newline if newline >= 0 else len(source))
    marker = _LINE_COMMENT.match(source, found.start)
    if marker is None:
        return found.stop if _lines(source[found.start : found.stop]) <= config.header_lines else first
    number, line = 1, source.rfind("\n", 0, found.start) + 1
    if source[line : found.start].strip():
        return first  # behind a statement
    while number <= config.header_lines and line:
        above = source.rfind("\n", 0, line - 1) + 1
        if not source[above:line].lstrip().startswith(marker.group()):
            break
        number, line = number + 1, above
    while number <= config.header_lines and stop < len(source):
        newline = source.find("\n", stop + 1)
        below = newline if newline >= 0 else len(source)
        if not source[stop + 1 : below].lstrip().startswith(marker.group()):
            break
        number, stop = number + 1, below
    return stop if number <= config.header_lines else first


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


def _fits(target: str, config: Limits) -> bool:
    return len(target) <= config.max_chars and _lines(target) <= config.max_lines


def _lines(target: str) -> int:
    return target.strip().count("\n") + 1


def _newline(commit: str, start: int) -> int:
    newline = commit.find("\n", start)
    return newline if newline >= 0 else len(commit)
