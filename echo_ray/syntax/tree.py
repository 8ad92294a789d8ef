"""Trees of half-written code, errors in them, and their tokens.

Every offset that enters or leaves counts characters; tree-sitter counts UTF-8 bytes, and `Parsed` is the only
place where the two meet. Trees never fail: broken code gives ERROR and MISSING nodes.

`Parsed.edited` parses a changed text at a fraction of the cost. A broken text may get another tree from an
edit than from scratch (other counts in 3 of 6,300 windows of real code), so whoever compares counts takes
both from the same chain of edits: then they are a function of the row alone.

Not covered: names, types, anything that a grammar does not see. Parsers are cached per process and are not to
be shared by threads.
"""

import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import tree_sitter_language_pack
from tree_sitter import Node, Tree

GRAMMARS = {
    "python": "python",
    "javascript": "javascript",
    "javascriptreact": "javascript",
    "typescript": "typescript",
    "typescriptreact": "tsx",
    "vue": "vue",
    "java": "java",
    "c": "c",
    "cpp": "cpp",
    "go": "go",
}
"""VS Code language id to tree-sitter grammar (JSX is part of the JavaScript grammar)."""

_ATOMS = re.compile(r"string|comment|char_literal|character_literal|rune_literal|regex$|text_block|heredoc")
"""Node types that are one token to us, whatever they contain: no cut may fall inside."""

OPEN = {"(": ")", "[": "]", "{": "}", "${": "}", "{{": "}}"}
_CLOSE = frozenset(OPEN.values())


class Token(NamedTuple):
    """One leaf of the tree, or one whole string or comment."""

    kind: str
    start: int
    stop: int


class Parsed:
    """A text and its tree; `byte` and `char` translate offsets."""

    __slots__ = ("_errors", "ascii", "data", "grammar", "root", "text", "tree")

    def __init__(self, text: str, grammar: str, edited: Tree | None = None) -> None:
        """Parse `text`; `edited` is the tree of a text before, told how this one differs."""
        self.text = text
        self.grammar = grammar
        self.ascii = text.isascii()
        # A lone surrogate cannot be encoded; "?" takes its place, so characters still correspond.
        self.data = text.encode("utf-8", "replace")
        parser = _parser(grammar)
        self.tree: Tree = parser.parse(self.data) if edited is None else parser.parse(self.data, edited)
        self.root: Node = self.tree.root_node
        self._errors: int | None = None

    @property
    def errors(self) -> int:
        """Number of ERROR and MISSING nodes."""
        if self._errors is None:
            self._errors = count_errors(self.root)
        return self._errors

    def byte(self, offset: int) -> int:
        """Byte offset of a character offset."""
        return offset if self.ascii else len(self.text[:offset].encode("utf-8", "replace"))

    def char(self, offset: int) -> int:
        """Character offset of a byte offset that lies between two characters."""
        return offset if self.ascii else len(self.data[:offset].decode("utf-8", "replace"))

    def edited(self, start: int, stop: int, replacement: str) -> "Parsed":
        """This text with `[start, stop)` replaced, parsed from this tree, which stays as it is."""
        first, old = self.byte(start), self.byte(stop)
        text = self.text[:start] + replacement + self.text[stop:]
        new = first + len(replacement.encode("utf-8", "replace"))
        begin, end = _point(self.data, first), _point(self.data, old)
        rows = replacement.count("\n")
        line = len(replacement[replacement.rfind("\n") + 1 :].encode("utf-8", "replace"))
        tree = self.tree.copy()
        tree.edit(first, old, new, begin, end, (begin[0] + rows, line if rows else begin[1] + line))
        return Parsed(text, self.grammar, tree)


@functools.cache
def _parser(grammar: str) -> Any:
    return tree_sitter_language_pack.get_parser(grammar)


def _point(data: bytes, offset: int) -> tuple[int, int]:
    return data.count(b"\n", 0, offset), offset - data.rfind(b"\n", 0, offset) - 1


def parse(text: str, language: str) -> Parsed | None:
    """Tree of `text`, or None when the language has no grammar here."""
    grammar = GRAMMARS.get(language)
    return Parsed(text, grammar) if grammar else None


def count_errors(root: Node) -> int:
    """Number of ERROR and MISSING nodes below `root`; subtrees without any are not visited."""
    found, stack = 0, [root]
    while stack:
        node = stack.pop()
        if node.has_error:
            found += node.is_error or node.is_missing
            stack.extend(node.children)
    return found


def error_spans(parsed: Parsed) -> list[tuple[int, int]]:
    """Spans of the ERROR and MISSING nodes, in order of position; the latter are empty."""
    found: list[tuple[int, int]] = []
    stack = [parsed.root]
    while stack:
        node = stack.pop()
        if node.has_error:
            if node.is_error or node.is_missing:
                found.append((node.start_byte, node.end_byte))
            stack.extend(node.children)
    return [(parsed.char(start), parsed.char(stop)) for start, stop in sorted(found)]


def in_comment(parsed: Parsed, offset: int) -> bool:
    """Whether the character before `offset` belongs to a comment that goes on at `offset`."""
    node = atom_node(parsed, offset)
    return node is not None and "comment" in node.type


def atom(parsed: Parsed, offset: int) -> Token | None:
    """The outermost string or comment that goes on at `offset`."""
    node = atom_node(parsed, offset)
    return None if node is None else _token(parsed, node)


def comment(parsed: Parsed, offset: int) -> Token | None:
    """The comment that starts at `offset` or goes on there."""
    byte = parsed.byte(offset)
    node: Node | None = parsed.root.descendant_for_byte_range(byte, min(byte + 1, len(parsed.data)))
    while node is not None and "comment" not in node.type:
        node = node.parent
    return None if node is None or node.start_byte > byte else _token(parsed, node)


def tokens(parsed: Parsed, start: int, stop: int) -> Iterator[Token]:
    """Tokens that overlap `[start, stop)`, in order; zero-width (MISSING) ones are left out."""
    low, high = parsed.byte(start), parsed.byte(stop)
    stack = [_covering(parsed, low, high)]
    while stack:
        node = stack.pop()
        if node.end_byte <= low or node.start_byte >= high or node.start_byte == node.end_byte:
            continue
        if node.child_count and not _is_atom(node):
            stack.extend(reversed(node.children))
        else:
            yield _token(parsed, node)


def line_end(parsed: Parsed, start: int, stop: int) -> int | None:
    """End of the logical line that begins at `start`: the first newline before `stop` at which every
    bracket opened since `start` is closed. None when there is no such newline.
    """
    stack: list[str] = []
    last = start
    for token in tokens(parsed, start, stop):
        gap = parsed.text.find("\n", last, token.start)
        if gap >= 0 and not stack:
            return gap
        if token.kind.endswith("text") or parsed.text[token.start : token.stop].isspace():
            newline = parsed.text.find("\n", max(token.start, start), min(token.stop, stop))
            if newline >= 0 and not stack:
                return newline
        _balance(stack, token.kind)
        last = max(last, token.stop)
    gap = parsed.text.find("\n", last, stop)
    return gap if gap >= 0 and not stack else None


def unclosed(parsed: Parsed, start: int, stop: int) -> str:
    """Closing brackets for those that `[start, stop)` opens and does not close, innermost first."""
    stack: list[str] = []
    for token in tokens(parsed, start, stop):
        if token.start >= start:
            _balance(stack, token.kind)
    return "".join(reversed(stack))


def leaf(parsed: Parsed, offset: int) -> Node | None:
    """The smallest node at `offset`."""
    byte = parsed.byte(offset)
    return parsed.root.descendant_for_byte_range(byte, byte + 1)


def atom_node(parsed: Parsed, offset: int) -> Node | None:
    """The outermost string or comment that both the characters beside `offset` belong to."""
    byte = parsed.byte(offset)
    node = parsed.root.descendant_for_byte_range(max(byte - 1, 0), min(byte + 1, len(parsed.data)))
    found = None
    while node is not None:
        if _is_atom(node) and node.start_byte < byte < node.end_byte:
            found = node
        node = node.parent
    return found


def _token(parsed: Parsed, node: Node) -> Token:
    return Token(node.type, parsed.char(node.start_byte), parsed.char(node.end_byte))


def _covering(parsed: Parsed, low: int, high: int) -> Node:
    """The smallest node that holds all of `[low, high)`, or the string or comment that it is part of."""
    found = parsed.root.descendant_for_byte_range(low, max(low, min(high, parsed.root.end_byte)))
    if found is None:
        return parsed.root
    node: Node | None = found
    while node is not None:
        if _is_atom(node):
            found = node
        node = node.parent
    return found


def _is_atom(node: Node) -> bool:
    return _is_atom_kind(node.type) and node.is_named


@functools.cache
def _is_atom_kind(kind: str) -> bool:
    return _ATOMS.search(kind) is not None and kind != "concatenated_string"


def _balance(stack: list[str], kind: str) -> None:
    if kind in OPEN:
        stack.append(OPEN[kind])
    elif kind in _CLOSE and stack:
        stack.pop()
