"""Syntax trees of half-written code, by VS Code language id (used by paper 4.3 and 4.4).

Every offset that enters or leaves this module counts characters; tree-sitter counts UTF-8 bytes, and
`Parsed` is the only place where the two meet. Trees never fail: broken code gives ERROR and MISSING
nodes, and most windows of a file have some, so an absolute count means little and callers compare two.

Vue files are parsed as the language of the `<script>` that the cursor is in, else as a Vue template
(tree-sitter's Vue grammar leaves scripts unparsed).

Not covered: names, types, anything that a grammar does not see; CSS inside Vue files; parsers are
cached per process and are not to be shared by threads.
"""

import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import tree_sitter_language_pack
from tree_sitter import Node

from echo_ray import text as lines

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

_CONTAINERS = frozenset(
    re.findall(
        r"\w+",
        """
        module program source_file translation_unit document block statement_list statement_block class_body
        interface_body enum_body enum_body_declarations annotation_type_body constructor_body
        compound_statement declaration_list field_declaration_list switch_block switch_block_statement_group
        switch_body switch_case switch_default expression_case communication_case type_case default_case
        case_statement import_spec_list preproc_if preproc_ifdef preproc_else preproc_elif
        linkage_specification
        """,
    )
)
"""Nodes whose children are statements. The names of the nine grammars do not contradict each other."""

_BODIES = frozenset(
    re.findall(
        r"\w+",
        """
        block statement_block class_body interface_body object_type enum_body annotation_type_body
        constructor_body compound_statement declaration_list field_declaration_list switch_block switch_body
        """,
    )
)
"""Nodes that hold the body of a compound statement."""

_ATOMS = re.compile(r"string|comment|char_literal|character_literal|rune_literal|regex$|text_block|heredoc")
"""Node types that are one token to us, whatever they contain: no cut may fall inside."""

_OPEN = {"(": ")", "[": "]", "{": "}", "${": "}", "{{": "}}"}
_CLOSE = frozenset(_OPEN.values())
_SCRIPT = re.compile(r"<script\b[^>]*>", re.IGNORECASE)
_SECTION = re.compile(r"<(script|template|style)\b", re.IGNORECASE)
_TOP_LEVEL = re.compile(r"^(?=[A-Za-z@])", re.MULTILINE)


class Token(NamedTuple):
    """One leaf of the tree, or one whole string or comment."""

    kind: str
    start: int
    stop: int


class Unit(NamedTuple):
    """A statement: where it starts and stops, and where its header line stops when it has a body."""

    start: int
    stop: int
    header: int | None
    broken: bool


class Parsed:
    """A text and its tree; `byte` and `char` translate offsets."""

    __slots__ = ("ascii", "data", "root", "text")

    def __init__(self, text: str, grammar: str) -> None:
        self.text = text
        self.ascii = text.isascii()
        # A lone surrogate cannot be encoded; "?" takes its place, so characters still correspond.
        self.data = text.encode("utf-8", "replace")
        self.root: Node = _parser(grammar).parse(self.data).root_node

    def byte(self, offset: int) -> int:
        """Byte offset of a character offset."""
        return offset if self.ascii else len(self.text[:offset].encode("utf-8", "replace"))

    def char(self, offset: int) -> int:
        """Character offset of a byte offset that lies between two characters."""
        return offset if self.ascii else len(self.data[:offset].decode("utf-8", "replace"))


class Around(NamedTuple):
    """`prefix + middle + suffix`, reduced to the window and language that was parsed."""

    prefix: str
    middle: str
    suffix: str
    language: str
    parsed: Parsed

    @property
    def cursor(self) -> int:
        """Where `middle` begins."""
        return len(self.prefix)


@functools.cache
def _parser(grammar: str) -> Any:
    return tree_sitter_language_pack.get_parser(grammar)


def parse(text: str, language: str) -> Parsed | None:
    """Tree of `text`, or None when the language has no grammar here."""
    grammar = GRAMMARS.get(language)
    return Parsed(text, grammar) if grammar else None


def errors(text: str, language: str) -> int | None:
    """Number of ERROR and MISSING nodes in `text`; None when the language has no grammar here."""
    parsed = parse(text, language)
    if parsed is None:
        return None
    found = count_errors(parsed.root)
    if language == "vue":
        for opened in _SCRIPT.finditer(text):
            script = text[opened.end() :].partition("</script>")[0]
            found += count_errors(Parsed(script, GRAMMARS[_script_language(opened.group())]).root)
    return found


def count_errors(root: Node) -> int:
    """Number of ERROR and MISSING nodes below `root`; subtrees without any are not visited."""
    found, stack = 0, [root]
    while stack:
        node = stack.pop()
        if node.has_error:
            found += node.is_error or node.is_missing
            stack.extend(node.children)
    return found


def around(prefix: str, middle: str, suffix: str, language: str, window_chars: int) -> Around | None:
    """Parse the surroundings of a gap; None when the language has no grammar here.

    At most `window_chars` characters are kept on each side. A window that starts inside a multi-line
    string turns the string inside out: code looks like text. When the gap seems to lie in such a
    string, the text up to the supposed opening quote is left out if this gives fewer errors.
    """
    prefix, suffix, language = _embedded(prefix, suffix, language)
    if language not in GRAMMARS:
        return None
    prefix, suffix = _clip(prefix, window_chars), lines.head(suffix, window_chars)
    parsed = Parsed(prefix + middle + suffix, GRAMMARS[language])
    node = _atom(parsed, len(prefix))
    if node is not None and "string" in node.type and parsed.root.has_error:
        start, cursor = parsed.char(node.start_byte), len(prefix)
        if start < cursor and "\n" in prefix[start:]:
            opening = node.child(0) if node.child_count else None
            rest = prefix[parsed.char(opening.end_byte) if opening else start + 1 :]
            again = Parsed(rest + middle + suffix, GRAMMARS[language])
            if count_errors(again.root) < count_errors(parsed.root):
                prefix, parsed = rest, again
    return Around(prefix, middle, suffix, language, parsed)


def in_comment(parsed: Parsed, offset: int) -> bool:
    """Whether the character before `offset` belongs to a comment that goes on at `offset`."""
    node = _atom(parsed, offset)
    return node is not None and "comment" in node.type


def tokens(parsed: Parsed, start: int, stop: int) -> Iterator[Token]:
    """Tokens that overlap `[start, stop)`, in order; zero-width (MISSING) ones are left out."""
    low, high = parsed.byte(start), parsed.byte(stop)
    stack = [parsed.root]
    while stack:
        node = stack.pop()
        if node.end_byte <= low or node.start_byte >= high or node.start_byte == node.end_byte:
            continue
        if node.child_count and not _is_atom(node):
            stack.extend(reversed(node.children))
        else:
            yield Token(node.type, parsed.char(node.start_byte), parsed.char(node.end_byte))


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


def statement(parsed: Parsed, offset: int) -> Unit | None:
    """Smallest statement, clause or declaration that starts at or contains `offset`."""
    node = _statement_node(parsed, offset)
    if node is None:
        return None
    stop = parsed.char(node.end_byte)
    # `;` and `,` are siblings of some statements (fields, members); `:` of C++ access specifiers.
    if parsed.text[stop : stop + 1] in (";", ",", ":") and not parsed.text[stop - 1 : stop].isspace():
        stop += 1
    header = _header_end(parsed, node, parsed.byte(offset))
    return Unit(parsed.char(node.start_byte), stop, header, node.has_error)


def expressions(parsed: Parsed, offset: int) -> list[int]:
    """Ends of the parts of the statement at `offset` that start at or contain it, shortest first."""
    outer = _statement_node(parsed, offset)
    node = _atom(parsed, offset + 1) or _leaf(parsed, offset)
    ends: list[int] = []
    while outer is not None and node is not None and node != outer:
        if node.is_named and not node.has_error and node.type not in _BODIES:
            ends.append(parsed.char(node.end_byte))
        node = node.parent
    return sorted(set(ends))


def block_end(parsed: Parsed, offset: int) -> int | None:
    """End of the innermost body that contains `offset`, its closing bracket included."""
    node = _leaf(parsed, offset)
    while node is not None and (node.type not in _BODIES or node.has_error):
        node = node.parent
    return None if node is None else parsed.char(node.end_byte)


def _leaf(parsed: Parsed, offset: int) -> Node | None:
    byte = parsed.byte(offset)
    return parsed.root.descendant_for_byte_range(byte, byte + 1)


def _is_atom(node: Node) -> bool:
    return node.is_named and _ATOMS.search(node.type) is not None and node.type != "concatenated_string"


def _atom(parsed: Parsed, offset: int) -> Node | None:
    """The outermost string or comment that both the characters beside `offset` belong to."""
    byte = parsed.byte(offset)
    node = parsed.root.descendant_for_byte_range(max(byte - 1, 0), min(byte + 1, len(parsed.data)))
    found = None
    while node is not None:
        if _is_atom(node) and node.start_byte < byte < node.end_byte:
            found = node
        node = node.parent
    return found


def _balance(stack: list[str], kind: str) -> None:
    if kind in _OPEN:
        stack.append(_OPEN[kind])
    elif kind in _CLOSE and stack:
        stack.pop()


def _statement_node(parsed: Parsed, offset: int) -> Node | None:
    byte, node = parsed.byte(offset), _leaf(parsed, offset)
    while node is not None and node.parent is not None:
        kind, parent = node.type, node.parent.type
        clause = kind.endswith("_clause") and node.start_byte == byte
        stray = parent == "ERROR" and kind.endswith(("_statement", "_definition"))
        if (
            node.is_named
            and kind not in _CONTAINERS
            and (parent in _CONTAINERS or clause or stray or kind.endswith("comment"))
        ):
            return node
        node = node.parent
    return None


def _header_end(parsed: Parsed, node: Node, byte: int) -> int | None:
    """End of the line on which the first multi-line body after `byte` opens."""
    stack = [node]
    while stack:
        inner = stack.pop()
        if inner.end_byte <= byte:
            continue
        if inner.type in _BODIES and inner.start_byte >= byte and inner is not node:
            opening = _opening(parsed, inner)
            newline = parsed.data.find(b"\n", opening)
            if 0 <= newline < inner.end_byte:
                return parsed.char(newline)
            continue
        stack.extend(reversed(inner.children))
    return None


def _opening(parsed: Parsed, body: Node) -> int:
    """Byte at which a body opens: its bracket, or the colon before a Python block."""
    sibling = body.prev_sibling
    while sibling is not None and sibling.type == "comment":
        sibling = sibling.prev_sibling
    braced = parsed.data[body.start_byte : body.start_byte + 1] == b"{"
    if sibling is not None and sibling.type == ":" and not braced:
        return sibling.start_byte
    return body.start_byte


def _embedded(prefix: str, suffix: str, language: str) -> tuple[str, str, str]:
    """The script around the cursor of a Vue file and its language; anything else unchanged."""
    if language != "vue":
        return prefix, suffix, language
    opened = next(reversed(list(_SCRIPT.finditer(prefix))), None)
    closed = suffix.find("</script>")
    if opened is None:
        # The window may start inside the script: then it sees the end tag and no section before it.
        after = _SECTION.search(suffix)
        inside = not _SECTION.search(prefix) and closed >= 0 and (after is None or closed < after.start())
        return (prefix, suffix[:closed], "typescript") if inside else (prefix, suffix, language)
    if "</script>" in prefix[opened.end() :]:
        return prefix, suffix, language
    inner = suffix[:closed] if closed >= 0 else suffix
    return prefix[opened.end() :], inner, _script_language(opened.group())


def _script_language(tag: str) -> str:
    found = re.search(r"""lang\s*=\s*['"](tsx?)['"]""", tag)
    if found is None:
        return "javascript"
    return "typescriptreact" if found.group(1) == "tsx" else "typescript"


def _clip(prefix: str, window_chars: int) -> str:
    """End of `prefix`, from a top-level line where the first half of the window has one."""
    if len(prefix) <= window_chars:
        return prefix
    cut = lines.tail(prefix, window_chars)
    start = _TOP_LEVEL.search(cut, 1, max(1, len(cut) // 2))
    return cut[start.start() :] if start else cut
