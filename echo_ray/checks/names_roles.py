"""What part a word plays where it stands in a syntax tree: bound, used, a member, or none of these.

Only the node and its parents are looked at, so a role costs microseconds. Roles err on the side of silence: a
word in a place that is not understood, or beside a syntax error, has no role and is never found undefined.

Not covered: scopes (a name bound anywhere in a file is bound everywhere), languages without a grammar.
"""

from collections.abc import Callable
from enum import StrEnum

from tree_sitter import Node

from echo_ray.checks.names_known import words


class Role(StrEnum):
    """How a word is used."""

    BINDING = "binding"
    """Defines the name: assignment, parameter, import, declaration."""
    VARIABLE = "variable"
    """Uses the name as a value."""
    CALL = "call"
    """Calls the name as a function."""
    OWNER = "owner"
    """Stands before a dot."""
    TYPE = "type"
    """Names a type."""
    MEMBER = "member"
    """Stands behind a dot: whether it exists depends on a type that nobody knows."""
    OTHER = "other"
    """A keyword argument, a label, a key, an import, a part of a string."""


def role(node: Node, language: str) -> Role:
    """Role of a leaf of the tree of a `language` (VS Code identifier)."""
    parent = node.parent
    if parent is None or parent.is_error or node.is_error:
        return Role.OTHER
    return _ROLES[language](node, parent)


def languages() -> frozenset[str]:
    """The languages whose roles are known."""
    return frozenset(_ROLES)


def _is(parent: Node, field: str, node: Node) -> bool:
    return parent.child_by_field_name(field) == node


def _is_any(parent: Node, field: str, node: Node) -> bool:
    return node in parent.children_by_field_name(field)


def _use(node: Node, parent: Node, call: str, owner: str) -> Role:
    if parent.type == call and _is(parent, "function", node):
        return Role.CALL
    return Role.OWNER if parent.type == owner else Role.VARIABLE


_PYTHON_PATTERNS = words(
    "pattern_list tuple_pattern list_pattern list_splat_pattern dictionary_splat_pattern"
)
_PYTHON_BINDING = words(
    """parameters lambda_parameters typed_parameter list_splat_pattern dictionary_splat_pattern
    as_pattern_target global_statement nonlocal_statement aliased_import typevar_parameter
    type_parameter keyword_separator"""
)
_PYTHON_LEFT = frozenset(("assignment", "for_statement", "for_in_clause"))
_PYTHON_OTHER = words(
    """dotted_name keyword_pattern case_pattern class_pattern import_statement import_from_statement
    union_pattern splat_pattern escape_interpolation format_specifier relative_import member_type"""
)


def _python(node: Node, parent: Node) -> Role:
    if node.type != "identifier":
        return Role.OTHER
    kind = parent.type
    if kind == "attribute":
        return Role.MEMBER if _is(parent, "attribute", node) else Role.OWNER
    if kind in _PYTHON_BINDING:
        return Role.BINDING
    if kind in _PYTHON_OTHER:
        return Role.OTHER
    if _is(parent, "name", node):  # functions, classes, default parameters, named expressions
        return Role.OTHER if kind == "keyword_argument" else Role.BINDING
    outer, inner = parent, node
    while outer.type in _PYTHON_PATTERNS and outer.parent is not None:
        outer, inner = outer.parent, outer
    if outer.type in _PYTHON_LEFT and _is(outer, "left", inner):
        return Role.BINDING
    if outer.type in _PYTHON_PATTERNS or outer.type in _PYTHON_BINDING:
        return Role.BINDING
    if kind == "type":
        return Role.TYPE
    return _use(node, parent, "call", "")


_SCRIPT_BINDING = words(
    """formal_parameters required_parameter optional_parameter variable_declarator import_clause
    namespace_import import_specifier import_alias catch_clause function_declaration function_expression
    generator_function generator_function_declaration class_declaration class enum_declaration module
    internal_module function_signature index_signature type_predicate import_require_clause asserts
    abstract_class_declaration"""
)
_SCRIPT_OTHER = frozenset(
    ("nested_identifier", "nested_type_identifier", "meta_property", "namespace_export")
)


def _script(node: Node, parent: Node) -> Role:
    kind, place = node.type, parent.type
    if kind == "shorthand_property_identifier_pattern":
        return Role.BINDING
    if kind == "shorthand_property_identifier":
        return Role.VARIABLE
    if kind in ("property_identifier", "private_property_identifier"):
        return Role.MEMBER if place == "member_expression" else Role.OTHER
    if kind == "type_identifier":
        bound = _is(parent, "name", node) and place not in ("generic_type", "nested_type_identifier")
        if bound or place in ("infer_type", "type_parameter"):
            return Role.BINDING
        return Role.OTHER if place in _SCRIPT_OTHER else Role.TYPE
    if kind != "identifier" or place in _SCRIPT_OTHER:
        return Role.OTHER
    if place == "export_specifier":
        statement = parent.parent.parent if parent.parent is not None else None
        elsewhere = statement is None or statement.child_by_field_name("source") is not None
        return Role.VARIABLE if _is(parent, "name", node) and not elsewhere else Role.OTHER
    if place in ("required_parameter", "optional_parameter", "variable_declarator"):
        return Role.VARIABLE if _is(parent, "value", node) else Role.BINDING
    if place in _SCRIPT_BINDING or place in ("array_pattern", "rest_pattern"):
        return Role.BINDING
    if place == "pair_pattern":
        return Role.BINDING if _is(parent, "value", node) else Role.OTHER
    if place in (
        "assignment_pattern",
        "object_assignment_pattern",
        "assignment_expression",
        "for_in_statement",
    ):
        return Role.BINDING if _is(parent, "left", node) else Role.VARIABLE
    if place == "arrow_function":
        return Role.BINDING if _is(parent, "parameter", node) else Role.VARIABLE
    if place.startswith("jsx_") and place != "jsx_expression":
        return Role.TYPE if node.text is not None and node.text[:1].isupper() else Role.OTHER
    if place == "unary_expression" and parent.child(0) is not None and parent.children[0].type == "typeof":
        return Role.OTHER
    if place == "type_query":
        return Role.TYPE
    return _use(node, parent, "call_expression", "member_expression")


_JAVA_OTHER = words(
    """scoped_identifier package_declaration import_declaration labeled_statement break_statement
    continue_statement switch_label module_declaration annotation marker_annotation
    annotation_argument_list"""
)


def _java(node: Node, parent: Node) -> Role:
    kind, place = node.type, parent.type
    if kind == "type_identifier":
        return Role.BINDING if place == "type_parameter" else Role.TYPE
    if kind != "identifier" or place in _JAVA_OTHER:
        return Role.OTHER
    if place == "method_invocation":
        if _is(parent, "name", node):
            return Role.CALL if parent.child_by_field_name("object") is None else Role.MEMBER
        return Role.OWNER
    if place == "field_access":
        return Role.MEMBER if _is(parent, "field", node) else Role.OWNER
    if place == "method_reference":
        return Role.OWNER if parent.child(0) == node else Role.MEMBER
    if place == "element_value_pair":
        return Role.OTHER if _is(parent, "key", node) else Role.VARIABLE
    if place == "lambda_expression":
        return Role.BINDING if _is(parent, "parameters", node) else Role.VARIABLE
    if place in (
        "inferred_parameters",
        "catch_formal_parameter",
        "spread_parameter",
        "record_pattern_component",
    ):
        return Role.BINDING
    if _is(parent, "name", node):
        return Role.BINDING
    return Role.VARIABLE


_GO_BINDING = words(
    """var_spec const_spec parameter_declaration variadic_parameter_declaration function_declaration
    type_parameter_declaration"""
)
_GO_LEFT = frozenset(("short_var_declaration", "range_clause", "receive_statement", "type_switch_statement"))


def _go(node: Node, parent: Node) -> Role:
    kind, place = node.type, parent.type
    if kind == "field_identifier":
        return Role.MEMBER if place == "selector_expression" else Role.OTHER
    if kind == "type_identifier":
        if place in ("type_spec", "type_alias"):
            return Role.BINDING if _is(parent, "name", node) else Role.TYPE
        return Role.OTHER if place == "qualified_type" else Role.TYPE
    if kind != "identifier":
        return Role.OTHER
    if place in _GO_BINDING:
        return Role.BINDING if _is_any(parent, "name", node) else Role.VARIABLE
    if place == "expression_list" and parent.parent is not None:
        outer = parent.parent
        if outer.type in _GO_LEFT and (_is(outer, "left", parent) or _is(outer, "alias", parent)):
            return Role.BINDING
        return Role.VARIABLE
    if place == "literal_element" and parent.parent is not None and parent.parent.type == "keyed_element":
        return Role.OTHER if parent.parent.child(0) == parent else Role.VARIABLE
    if place == "selector_expression":
        return Role.OWNER
    return _use(node, parent, "call_expression", "selector_expression")


_C_OTHER = words(
    """preproc_def preproc_function_def preproc_params preproc_call preproc_ifdef preproc_if
    preproc_elif preproc_defined qualified_identifier attribute attribute_specifier goto_statement
    labeled_statement field_initializer template_function namespace_definition using_declaration
    alias_declaration binary_operator attributed_statement gnu_asm_expression lambda_capture_initializer
    field_designator concatenated_string"""
)


def _c(node: Node, parent: Node) -> Role:
    kind, place = node.type, parent.type
    if kind == "field_identifier":
        return Role.MEMBER if place == "field_expression" else Role.OTHER
    if kind == "type_identifier":
        return Role.BINDING if _is(parent, "name", node) and place.endswith("specifier") else Role.TYPE
    if kind != "identifier" or place in _C_OTHER:
        return Role.OTHER
    if _is(parent, "value", node) or _is(parent, "size", node) or _is(parent, "default_value", node):
        return Role.VARIABLE
    if place.endswith("declarator") or place in ("enumerator", "structured_binding_declarator"):
        return Role.BINDING
    if place.endswith(("declaration", "for_range_loop", "function_definition")):
        return Role.VARIABLE if _is(parent, "right", node) else Role.BINDING
    return _use(node, parent, "call_expression", "field_expression")


_ROLES: dict[str, Callable[[Node, Node], Role]] = {
    "python": _python,
    **dict.fromkeys(("javascript", "javascriptreact", "typescript", "typescriptreact"), _script),
    "java": _java,
    "go": _go,
    "c": _c,
    "cpp": _c,
}
