r"""A user's way of writing, applied to whole files: latent intent is not the repository's text (section 3.2).

`restyle` rewrites quotes, trailing commas, semicolons, pointer marks, names of local variables and the
density of comments on a syntax tree, so that no model is judged on a string that it may have been trained
on. It is a pure function of text, language and `Style`. Every decision hangs on what it is about (a name, a
comment's first line), never on a place, so two versions of a file that are restyled alike differ where the
versions differ.

The result means the same: Python keeps its abstract syntax tree but for names of local variables, other
languages the corresponding tokens. When the result has more syntax errors than the text, the text comes back.
Our choice [A]: how many users have which preference, and the vocabulary (`style_names`). The users' own
utility functions (the last item of the layer in section 3.2) are not covered: to split code into functions
needs types and effects that a syntax tree does not show. Strings with a prefix, an escape, or either quote,
docstrings, comments after code, licence headers and comments that tools read stay; templates and styles of
Vue files too; so does the whole text in other languages than those of `echo_ray.syntax`.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import tree_sitter_language_pack
from tree_sitter import Node, Query, QueryCursor

from echo_ray import rng, syntax
from simulator.draws import Draws, weighted
from simulator.work import style_scopes
from simulator.work.style_names import Habit, renamed
from simulator.work.style_queries import QUERIES
from simulator.work.style_scopes import Edit

MOST_DROPPED = 0.8
"""Largest share of comments that a user leaves out; shares are uniform below it [A]."""
DOC_FACTOR = 0.5
"""Documentation comments are left out this much more rarely [A]."""


class Marks(StrEnum):
    """What the user does with marks that the language leaves to taste."""

    ADD = "add"
    REMOVE = "remove"
    KEEP = "keep"


class Pointers(StrEnum):
    """On which side of a declared pointer or reference the space stands."""

    LEFT = "left"
    """`char* name`."""
    RIGHT = "right"
    """`char *name`."""
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Style:
    """Preferences of one user."""

    quote: str
    "Quotation mark of strings; empty: as it stands."
    commas: Marks
    """After the last element of a bracket that closes on a line of its own."""
    semicolons: Marks
    """At line ends of JavaScript and TypeScript."""
    pointers: Pointers
    """C and C++."""
    dropped: float
    """Share of whole-line comments that the user does not write, in [0, 1]."""
    habit: Habit
    """How names without a synonym change."""
    key: int
    """Chooses the words and the comments."""


def style(draws: Draws) -> Style:
    """The preferences of the user `draws.user`."""
    return Style(
        quote=weighted(draws.unit("style quote"), (("'", 0.4), ('"', 0.4), ("", 0.2))),
        commas=weighted(
            draws.unit("style commas"), ((Marks.ADD, 0.4), (Marks.REMOVE, 0.4), (Marks.KEEP, 0.2))
        ),
        semicolons=weighted(
            draws.unit("style semicolons"), ((Marks.ADD, 0.4), (Marks.REMOVE, 0.3), (Marks.KEEP, 0.3))
        ),
        pointers=weighted(
            draws.unit("style pointers"),
            ((Pointers.LEFT, 0.4), (Pointers.RIGHT, 0.4), (Pointers.KEEP, 0.2)),
        ),
        dropped=MOST_DROPPED * draws.unit("style comments"),
        habit=weighted(
            draws.unit("style habit"), ((Habit.SHORT, 0.45), (Habit.LONG, 0.45), (Habit.PLAIN, 0.1))
        ),
        key=int(draws.unit("style key") * 2**53),
    )


def restyle(text: str, language: str, style: Style) -> str:
    r"""`text`, a whole file in a VS Code `language` with `\n` line ends, as the user would have written."""
    if language == "vue":
        parts, last = [], 0
        for start, stop, inner in _scripts(text):
            parts += [text[last:start], restyle(text[start:stop], inner, style)]
            last = stop
        result = "".join([*parts, text[last:]])
        # Scripts that hold `</script>` in strings end early, and then anything may be a "script".
        return (
            text if (syntax.errors(result, language) or 0) > (syntax.errors(text, language) or 0) else result
        )
    grammar = syntax.GRAMMARS.get(language)
    parsed = syntax.parse(text, language)
    if grammar is None or parsed is None or parsed.data != text.encode("utf-8", "surrogatepass"):
        return text
    edits = sorted(_edits(parsed, language, grammar, style))
    if not edits:
        return text
    pieces, at = [], 0
    for start, stop, new in edits:
        assert start >= at, "two edits of one place"
        pieces += [parsed.data[at:start], new]
        at = stop
    result = b"".join([*pieces, parsed.data[at:]]).decode()
    again = syntax.parse(result, language)
    assert again is not None
    return text if syntax.count_errors(again.root) > syntax.count_errors(parsed.root) else result


_JS_FORM = """
(string) @string
(jsx_attribute (string) @not_string)
[(array) (object) (arguments)] @list
(call_expression function: (import) arguments: (arguments) @not_list)
[(expression_statement) (lexical_declaration) (variable_declaration) (return_statement) (throw_statement)
 (break_statement) (continue_statement) (import_statement)] @statement
(export_statement !declaration) @statement
(comment) @comment
"""
_FORM = {
    "python": """
(string) @string
(interpolation (_) @hole)
(module [(string) @not_string (concatenated_string (string) @not_string)])
(block [(string) @not_string (concatenated_string (string) @not_string)])
[(list) (dictionary) (set) (tuple) (argument_list) (parameters)] @list
(comment) @comment
""",
    "javascript": _JS_FORM,
    "typescript": _JS_FORM.replace("(jsx_attribute (string) @not_string)\n", ""),
    "tsx": _JS_FORM,
    "c": "(pointer_declarator) @pointer (comment) @comment",
    "cpp": "[(pointer_declarator) (reference_declarator)] @pointer (comment) @comment",
    "java": "[(line_comment) (block_comment)] @comment",
}
_PLAIN_STRING = re.compile(rb"""(['"])[^'"\\\n]*\1""")
_SCRIPT = re.compile(r"<script\b([^>]*)>", re.IGNORECASE)
_CAMEL = frozenset(syntax.GRAMMARS) - {"python", "c", "cpp"}
_KEPT = re.compile(
    r"""copyright|licen[cs]e|spdx|all\ rights\ reserved|permission\ is\ hereby|@preserve|^/\*!
    |^\#!|coding[:=]|^\#\s*type:|noqa|nosec|pylint|mypy|pyright|ruff|flake8|isort|pragma|\bfmt:|yapf|black:
    |eslint|jshint|jslint|tslint|biome|prettier|@ts-|@type|@flow|istanbul|c8\ |v8\ ignore|sourcemap
    |webpack|@vite|@vue|@jsx|^///\s*<|^/\*\s*global|^//\s*\#?(?:end)?region|use\ strict|turbopack
    |nolint|clang-|iwyu|lint\.|cppcheck|lcov|coverage|fall-?\s?through|checkstyle|nosonar|noinspection
    |@formatter|^//[a-z]+:|^//\s*\+|^//\s*(?:unordered\ )?output:|^//export|vim:|-\*-|generated|do\ not\ edit
    |todo-?format|keep[- ]sorted|^\#\s*(?:end)?region""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
"""Comments that a law or a tool reads."""
_STATEMENT_LISTS = frozenset(
    ("program", "statement_block", "switch_case", "switch_default", "export_statement")
)
_STARTS_ANEW = re.compile(rb"(?!(?:in|instanceof|as|satisfies|with|assert|of)\b)[A-Za-z_$@{}\"']")
"""What cannot go on the statement of the line before, whatever that is."""
_TYPE_END = re.compile(rb"[A-Za-z0-9_>]")
_SPACED_TYPE = re.compile(rb"[A-Za-z0-9_>] ")
_NAME = re.compile(rb"[A-Za-z_]")
_SPACED_NAME = re.compile(rb" [A-Za-z_]")
_GO_DECLARATION = re.compile(rb"(?:func|type|var|const|package)\b")


@functools.cache
def _query(grammar: str) -> Query:
    language: Any = tree_sitter_language_pack.get_language(grammar)
    return Query(language, QUERIES[grammar] + _FORM.get(grammar, "(comment) @comment"))


def _edits(parsed: syntax.Parsed, language: str, grammar: str, style: Style) -> Iterator[Edit]:
    found = QueryCursor(_query(grammar)).captures(parsed.root)

    def rename(name: str) -> str:
        return renamed(name, language in _CAMEL, style.key, style.habit)

    yield from style_scopes.renames(found, parsed.data, grammar, rename)
    if style.quote:
        yield from _quotes(found, parsed.data, style.quote.encode())
    if style.semicolons is not Marks.KEEP:
        yield from _semicolons(found, parsed.data, style.semicolons)
    if style.pointers is not Pointers.KEEP:
        yield from _pointers(found, parsed.data, style.pointers)
    if style.commas is not Marks.KEEP:
        yield from _commas(found, parsed.data, style.commas)
    yield from _comments(found, parsed.data, grammar, style)


def _quotes(found: dict[str, list[Node]], data: bytes, quote: bytes) -> Iterator[Edit]:
    """Swaps the marks of strings that both marks can enclose."""
    kept = {node.start_byte for node in found.get("not_string", ())}
    holes = _outermost(found.get("hole", ()))  # Python before 3.12 allows no second mark in there
    for node in found.get("string", ()):
        start, stop = node.start_byte, node.end_byte
        if data[start : start + 1] == quote or start in kept or not _PLAIN_STRING.fullmatch(data[start:stop]):
            continue
        if not any(first <= start < last for first, last in holes):
            yield start, start + 1, quote
            yield stop - 1, stop, quote


def _commas(found: dict[str, list[Node]], data: bytes, commas: Marks) -> Iterator[Edit]:
    """Adds or removes the last comma of brackets that close on a line of their own."""
    kept = {node.start_byte for node in found.get("not_list", ())}
    holes = _outermost(found.get("hole", ()))
    for node in found.get("list", ()):
        if node.start_point[0] == node.end_point[0] or node.has_error or node.start_byte in kept:
            continue
        closer = data.rfind(b"\n", node.start_byte, node.end_byte)
        if data[closer + 1 : node.end_byte - 1].strip() or any(a <= node.start_byte < b for a, b in holes):
            continue
        parts = [child for child in node.children if "comment" not in child.type]
        if len(parts) < 3 or parts[-1].is_named:
            continue
        last = parts[-2]
        if last.is_named and commas is Marks.ADD and not last.type.endswith("separator"):
            yield last.end_byte, last.end_byte, b","
        single = node.type == "tuple" and sum(part.is_named for part in parts) == 1
        if last.type == "," and commas is Marks.REMOVE and parts[-3].is_named and not single:
            yield last.start_byte, last.end_byte, b""


def _semicolons(found: dict[str, list[Node]], data: bytes, semicolons: Marks) -> Iterator[Edit]:
    """Adds or removes semicolons where automatic insertion makes no difference."""
    for node in found.get("statement", ()):
        # A node may end behind comments and white space, where the parser inserts the semicolon.
        parts = [part for part in node.children if part.type != "comment" and part.end_byte > part.start_byte]
        if node.has_error or node.parent is None or node.parent.type not in _STATEMENT_LISTS or not parts:
            continue
        stop = parts[-1].end_byte
        ended = parts[-1].type == ";"
        rest = data[stop : _line_stop(data, stop)].strip()
        if rest and not rest.startswith(b"//"):
            continue
        if semicolons is Marks.ADD and not ended:
            if data[stop - 1 : stop] != b"}" or node.type != "export_statement":
                yield stop, stop, b";"
        elif semicolons is Marks.REMOVE and ended and len(parts) > 1:
            following = node.next_sibling
            while following is not None and following.type == "comment":
                following = following.next_sibling
            if following is None or _STARTS_ANEW.match(data, following.start_byte):
                yield stop - 1, stop, b""


def _pointers(found: dict[str, list[Node]], data: bytes, pointers: Pointers) -> Iterator[Edit]:
    """Moves the space of `char *name`, where only one name is declared."""
    for node in found.get("pointer", ()):
        start, stop = node.start_byte, node.start_byte + (2 if data[node.start_byte + 1] in b"&*" else 1)
        parent = node.parent
        if parent is None or node.has_error or len(parent.children_by_field_name("declarator")) > 1:
            continue
        outer = parent.parent if parent.type == "init_declarator" else None
        if outer is not None and len(outer.children_by_field_name("declarator")) > 1:
            continue
        around = data[start - 2 : start], data[stop : stop + 2]
        if pointers is Pointers.RIGHT and _TYPE_END.match(around[0], 1) and _SPACED_NAME.match(around[1]):
            yield start, start, b" "
            yield stop, stop + 1, b""
        elif pointers is Pointers.LEFT and _SPACED_TYPE.match(around[0]) and _NAME.match(around[1]):
            yield start - 1, start, b""
            yield stop, stop, b" "


def _comments(found: dict[str, list[Node]], data: bytes, grammar: str, style: Style) -> Iterator[Edit]:
    """Removes whole-line comments, neighbouring lines together."""
    if not style.dropped or (grammar == "go" and b'import "C"' in data):
        return  # the comment before `import "C"` is code
    for first, last in _blocks(found.get("comment", ()), data):
        start, stop = _line_start(data, first.start_byte), _line_stop(data, last.end_byte)
        text = data[first.start_byte : last.end_byte].decode()
        if not data[:start].strip() or _KEPT.search(text) or data[:start].endswith(b"\\\n"):
            continue
        parent = first.parent
        if parent is None or all("comment" in child.type for child in parent.named_children):
            continue
        doc = text.startswith(("/**", "///", "//!")) or (
            grammar == "go" and first.start_point[1] == 0 and _GO_DECLARATION.match(data, stop) is not None
        )
        share = style.dropped * (DOC_FACTOR if doc else 1.0)
        if rng.unit(style.key, "comment", text.split("\n", 1)[0].strip()) < share:
            if data[:start].endswith(b"\n\n") and data[stop : stop + 1] == b"\n":
                stop += 1  # one blank line stays where there were two
            yield start, stop, b""


def _blocks(comments: list[Node] | tuple[()], data: bytes) -> list[tuple[Node, Node]]:
    """First and last of each run of comments that have their lines to themselves."""
    blocks: list[tuple[Node, Node]] = []
    for node in sorted(comments, key=lambda node: node.start_byte):
        start, stop = _line_start(data, node.start_byte), _line_stop(data, node.end_byte)
        if data[start : node.start_byte].strip() or data[node.end_byte : stop].strip():
            continue
        near = blocks and _line_stop(data, blocks[-1][1].end_byte) == start
        if near and blocks[-1][1].start_point[1] == node.start_point[1]:
            blocks[-1] = blocks[-1][0], node
        else:
            blocks.append((node, node))
    return blocks


def _line_start(data: bytes, offset: int) -> int:
    return data.rfind(b"\n", 0, offset) + 1


def _line_stop(data: bytes, offset: int) -> int:
    """Start of the next line; a node may include its line end (some grammars' comments do)."""
    if data[offset - 1 : offset] == b"\n":
        return offset
    found = data.find(b"\n", offset)
    return len(data) if found < 0 else found + 1


def _outermost(nodes: list[Node] | tuple[()]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for start, stop in sorted((node.start_byte, node.end_byte) for node in nodes):
        if not spans or start >= spans[-1][1]:
            spans.append((start, stop))
    return spans


def _scripts(text: str) -> Iterator[tuple[int, int, str]]:
    """Where the scripts of a Vue file begin and end, and their languages."""
    at = 0
    while (opened := _SCRIPT.search(text, at)) is not None:
        at = text.find("</script>", opened.end())
        if at < 0:
            return
        named = re.search(r"""lang\s*=\s*['"](\w+)['"]""", opened[1])
        inner = {"ts": "typescript", "tsx": "typescriptreact"}.get(named[1] if named else "", "javascript")
        yield opened.end(), at, inner
