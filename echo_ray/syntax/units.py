"""Statements, expressions and blocks of a tree: the parts of code that people think in.

Not covered: units of languages that have no grammar here; CSS and text between the tags of markup.
"""

import re
from typing import NamedTuple

from tree_sitter import Node

from echo_ray.syntax.tree import OPEN, Parsed, atom_node, leaf

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

_CASES = frozenset(
    {
        "switch_case",
        "switch_default",
        "expression_case",
        "default_case",
        "communication_case",
        "type_case",
        "case_statement",
        "switch_block_statement_group",
    }
)
"""Parts of a `switch`: statements follow each other in them, and each begins with a header of its own."""

_ELEMENTS = frozenset({"element", "jsx_element", "jsx_self_closing_element", "self_closing_tag"})
"""Nodes of markup that are units where they begin."""

_FREE = re.compile(r"comment|preproc|label|access_specifier|^case|ERROR|text")
"""Node types that stand at any column."""


class Unit(NamedTuple):
    """A statement: where it starts and stops, and where its header line stops when it has a body."""

    start: int
    stop: int
    header: int | None
    broken: bool


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
    node = atom_node(parsed, offset + 1) or leaf(parsed, offset)
    ends: list[int] = []
    while outer is not None and node is not None and node != outer:
        if node.is_named and not node.has_error and node.type not in _BODIES:
            ends.append(parsed.char(node.end_byte))
        node = node.parent
    return sorted(set(ends))


def enclosing(parsed: Parsed, offset: int) -> list[tuple[int, int]]:
    """Spans of the parts of the statement around `offset` that it lies in, smallest first."""
    outer = _statement_node(parsed, offset)
    node, byte = leaf(parsed, offset), parsed.byte(offset)
    spans: list[tuple[int, int]] = []
    while outer is not None and node is not None and node != outer:
        if node.start_byte < byte < node.end_byte and node.type not in _BODIES:
            spans.append((parsed.char(node.start_byte), parsed.char(node.end_byte)))
        node = node.parent
    return spans


def block_end(parsed: Parsed, offset: int) -> int | None:
    """End of the innermost body that contains `offset`, its closing bracket included."""
    node = leaf(parsed, offset)
    while node is not None and (node.type not in _BODIES or node.has_error):
        node = node.parent
    return None if node is None else parsed.char(node.end_byte)


def columns(parsed: Parsed, offset: int) -> tuple[int, int | None, int | None] | None:
    """Columns (characters) of the statement that starts at `offset` and of its neighbours in the same block.

    None when no statement starts there, or not as the first thing on its line, or it is a label, a comment or
    something of the preprocessor; a neighbour is None likewise, and where it is broken.
    """
    node = _statement_node(parsed, offset)
    if node is None or node.start_byte != parsed.byte(offset) or node.parent is None:
        return None
    column = _column(parsed, node)
    if column is None or node.parent.type not in _CONTAINERS or node.parent.type in _CASES:
        return None
    above, below = node.prev_named_sibling, node.next_named_sibling
    while above is not None and _FREE.search(above.type):
        above = above.prev_named_sibling
    while below is not None and _FREE.search(below.type):
        below = below.next_named_sibling
    return (
        column,
        None if above is None else _column(parsed, above),
        None if below is None else _column(parsed, below),
    )


def _column(parsed: Parsed, node: Node) -> int | None:
    start = parsed.char(node.start_byte)
    line = parsed.text.rfind("\n", 0, start) + 1
    own = parsed.text[line:start].isspace() or line == start
    return None if not own or node.has_error or _FREE.search(node.type) else start - line


def _statement_node(parsed: Parsed, offset: int) -> Node | None:
    byte, node = parsed.byte(offset), leaf(parsed, offset)
    while node is not None and node.parent is not None:
        kind, parent = node.type, node.parent.type
        clause = node.start_byte == byte and (kind.endswith("_clause") or kind in _CASES or kind in _ELEMENTS)
        if kind == "decorator" and node.start_byte < byte:
            return node
        clause = clause or (kind.endswith("_spec") and _in_group(node))
        stray = parent == "ERROR" and kind.endswith(("_statement", "_definition"))
        if (
            node.is_named
            and (kind not in _CONTAINERS or clause)
            and (parent in _CONTAINERS or clause or stray or kind.endswith("comment"))
        ):
            return node
        node = node.parent
    return None


def _in_group(spec: Node) -> bool:
    """Whether a Go declaration is one of several in brackets."""
    parent = spec.parent
    return parent is not None and any(child.type == "(" for child in parent.children[:2])


def _header_end(parsed: Parsed, node: Node, byte: int) -> int | None:
    """End of the line on which the first multi-line body after `byte` opens."""
    if node.type in _CASES or node.type in _ELEMENTS:
        return _line_after(parsed, node, byte)
    stack = [node]
    while stack:
        inner = stack.pop()
        if inner.end_byte <= byte:
            continue
        if inner.type in _BODIES and inner.start_byte >= byte and inner is not node:
            opening = _opening(parsed, inner)
            if _in_literal(parsed, inner, node, byte, opening):
                return None
            newline = parsed.data.find(b"\n", opening)
            if 0 <= newline < inner.end_byte:
                return parsed.char(newline)
            continue
        stack.extend(reversed(inner.children))
    return None


def _in_literal(parsed: Parsed, body: Node, node: Node, byte: int, opening: int) -> bool:
    """Whether a bracket that opened after `byte` and on a line above the body's holds the body."""
    outer = body.parent
    while outer is not None and outer != node:
        first = outer.child(0)
        opened = first is not None and first.type in OPEN and first.start_byte >= byte
        if opened and first is not None and parsed.data.find(b"\n", first.start_byte, opening) >= 0:
            return True
        outer = outer.parent
    return False


def _line_after(parsed: Parsed, node: Node, byte: int) -> int | None:
    """End of the line on which the header of a `case` (to its colon) or an element (its first tag) ends."""
    opening: Node | None = node.child(0)
    if node.type in _CASES:
        opening = next((child for child in node.children if child.type in (":", "->")), None)
        label = node.child(0)
        if opening is None and label is not None and label.type == "switch_label":
            opening = label
    if opening is None or opening.end_byte <= byte:
        return None
    newline = parsed.data.find(b"\n", opening.end_byte)
    return parsed.char(newline) if 0 <= newline < node.end_byte else None


def _opening(parsed: Parsed, body: Node) -> int:
    """Byte at which a body opens: its bracket, or the colon before a Python block."""
    sibling = body.prev_sibling
    while sibling is not None and sibling.type == "comment":
        sibling = sibling.prev_sibling
    braced = parsed.data[body.start_byte : body.start_byte + 1] == b"{"
    if sibling is not None and sibling.type == ":" and not braced:
        return sibling.start_byte
    return body.start_byte
