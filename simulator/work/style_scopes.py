"""Which local variables can be renamed without a change of meaning, by lexical scope (section 3.2).

Tree-sitter queries mark scopes, binding places and other identifiers; `renames` resolves every use to its
binding and asks a vocabulary for new names. A binding is renamed with all its uses or not at all. It stays
when it is an import, a function, a class, a parameter in Python (a caller may name it) or with an annotation
or a part of an object elsewhere, or named by `global`, `nonlocal` or a macro; when a
use of it is a shorthand property, a key of a Go literal, or in an inner class; when the outermost function
has a syntax error or calls `eval` or the like; when the new name occurs anywhere in its scope, or two would
get the same. These are all decisions about one function, so other functions keep their names whatever
changes here.

Not covered: names that only strings hold (`DataFrame.query("@x")`), token-pasting macros of other files,
inherited fields that a local variable hides in anonymous classes (those variables stay).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tree_sitter import Node

_JAVASCRIPT = """
(identifier) @id
(shorthand_property_identifier) @shorthand
(shorthand_property_identifier_pattern) @short_pattern
[(function_declaration) (function_expression) (generator_function) (generator_function_declaration)
 (arrow_function) (method_definition)] @function
[(function_declaration name: (identifier) @outer @fixed)
 (generator_function_declaration name: (identifier) @outer @fixed)]
(function_expression name: (identifier) @fixed)
(arrow_function parameter: (identifier) @argument)
(formal_parameters) @params
(assignment_pattern right: (_) @use)
(object_assignment_pattern right: (_) @use)
(computed_property_name) @use
[(statement_block) (for_statement) (for_in_statement) (catch_clause) (switch_body)
 (class_static_block)] @block
(class_body) @class
(lexical_declaration (variable_declarator name: (identifier) @bind))
(lexical_declaration (variable_declarator name: [(array_pattern) (object_pattern)] @pattern))
(variable_declaration (variable_declarator name: (identifier) @hoist))
(variable_declaration (variable_declarator name: [(array_pattern) (object_pattern)] @frozen))
(for_in_statement kind: "var" left: (_) @frozen)
(for_in_statement kind: ["const" "let"] left: (identifier) @bind)
(for_in_statement kind: ["const" "let"] left: [(array_pattern) (object_pattern)] @pattern)
(catch_clause parameter: (identifier) @bind)
(catch_clause parameter: [(array_pattern) (object_pattern)] @frozen)
(with_statement) @freeze
(call_expression function: (identifier) @dynamic)
"""
_JSX = """
(jsx_opening_element name: (identifier) @skip)
(jsx_closing_element name: (identifier) @skip)
(jsx_self_closing_element name: (identifier) @skip)
"""
_TYPESCRIPT = """
(type_identifier) @type
[(function_type) (constructor_type) (call_signature) (method_signature) (construct_signature)
 (abstract_method_signature) (function_signature)] @function
(function_signature name: (identifier) @outer @fixed)
(index_signature name: (identifier) @skip)
(required_parameter . pattern: (identifier) @argument)
(optional_parameter . pattern: (identifier) @argument)
(required_parameter . pattern: (rest_pattern (identifier) @argument))
(required_parameter value: (_) @use)
(optional_parameter value: (_) @use)
(type_annotation) @use
(decorator) @use
(enum_declaration name: (identifier) @fixed)
(internal_module) @freeze
"""
_C = """
(identifier) @id
(type_identifier) @type
[(function_definition declarator: (function_declarator))
 (function_definition declarator: (_ (function_declarator)))
 (function_definition declarator: (_ (_ (function_declarator))))] @function
(parameter_list) @params
(parameter_declaration declarator: (identifier) @argument)
(array_declarator size: (_) @use)
[(compound_statement) (for_statement) (if_statement) (while_statement) (switch_statement)] @block
(field_declaration_list) @class
(declaration declarator: (identifier) @bind)
(init_declarator declarator: (identifier) @bind)
(pointer_declarator declarator: (identifier) @bind)
(array_declarator declarator: (identifier) @bind)
(function_declarator declarator: (identifier) @ban)
(parenthesized_declarator) @frozen
(enumerator name: (identifier) @ban)
(preproc_def name: (identifier) @ban)
(preproc_function_def) @frozen
(preproc_arg) @macro
((declaration (storage_class_specifier) @_storage) @frozen (#eq? @_storage "extern"))
"""
QUERIES = {
    "python": """
(identifier) @id
[(function_definition) (lambda)] @function
[(list_comprehension) (set_comprehension) (dictionary_comprehension) (generator_expression)] @comprehension
(list_comprehension body: (_) . (for_in_clause right: (_) @outer))
(set_comprehension body: (_) . (for_in_clause right: (_) @outer))
(dictionary_comprehension body: (_) . (for_in_clause right: (_) @outer))
(generator_expression body: (_) . (for_in_clause right: (_) @outer))
(class_definition body: (block) @class)
(class_definition name: (identifier) @fixed)
(function_definition name: (identifier) @outer @fixed)
(function_definition return_type: (_) @outer)
[(parameters) (lambda_parameters)] @params
(default_parameter value: (_) @outer @use)
(typed_default_parameter value: (_) @outer @use)
(typed_default_parameter type: (_) @outer @use)
(typed_parameter type: (_) @outer @use)
(assignment left: (identifier) @bind)
(augmented_assignment left: (identifier) @bind)
(pattern_list (identifier) @bind)
(tuple_pattern (identifier) @bind)
(list_pattern (identifier) @bind)
(list_splat_pattern (identifier) @bind)
(for_statement left: (identifier) @bind)
(for_in_clause left: (identifier) @bind)
(as_pattern_target (identifier) @bind)
(as_pattern_target [(tuple) (list)] @frozen)
(named_expression name: (identifier) @hoist)
(dotted_name (identifier) @fixed)
(aliased_import alias: (identifier) @fixed)
(case_pattern) @frozen
(keyword_argument name: (identifier) @skip)
(attribute attribute: (identifier) @skip)
(global_statement (identifier) @everywhere)
(nonlocal_statement (identifier) @everywhere)
(interpolation "=") @frozen
(call function: (identifier) @dynamic)
(exec_statement) @freeze
""",
    "javascript": _JAVASCRIPT
    + _JSX
    + """
(class_declaration name: (identifier) @fixed)
(formal_parameters (identifier) @argument)
(formal_parameters (assignment_pattern left: (identifier) @argument))
(formal_parameters (rest_pattern (identifier) @argument))
""",
    "typescript": _JAVASCRIPT + _TYPESCRIPT,
    "tsx": _JAVASCRIPT + _JSX + _TYPESCRIPT,
    "java": """
(identifier) @id
(type_identifier) @type
[(method_declaration) (constructor_declaration) (compact_constructor_declaration) (lambda_expression)
 (static_initializer)] @function
(lambda_expression parameters: (identifier) @argument)
(inferred_parameters (identifier) @argument)
(formal_parameter . type: (_) name: (identifier) @argument)
(formal_parameter . (modifiers . "final" .) name: (identifier) @argument)
(spread_parameter (variable_declarator name: (identifier) @argument))
[(formal_parameters) (inferred_parameters)] @params
(annotation_argument_list) @use
[(block) (constructor_body) (for_statement) (enhanced_for_statement) (try_with_resources_statement)
 (catch_clause) (switch_block)] @block
[(class_body) (interface_body) (enum_body) (annotation_type_body)] @class
(local_variable_declaration declarator: (variable_declarator name: (identifier) @bind))
(enhanced_for_statement name: (identifier) @bind)
(resource name: (identifier) @bind)
(catch_formal_parameter name: (identifier) @bind)
(field_declaration declarator: (variable_declarator name: (identifier) @fixed))
(instanceof_expression name: (identifier) @ban)
[(type_pattern) (record_pattern) (switch_label)] @frozen
(method_declaration name: (identifier) @skip)
(method_invocation name: (identifier) @skip)
(field_access field: (identifier) @skip)
(method_reference (_) "::" (identifier) @skip)
(scoped_identifier name: (identifier) @skip)
(labeled_statement . (identifier) @ban)
(break_statement (identifier) @ban)
(continue_statement (identifier) @ban)
(element_value_pair key: (identifier) @skip)
(annotation name: (identifier) @skip)
(marker_annotation name: (identifier) @skip)
""",
    "c": _C,
    "cpp": _C
    + """
(lambda_expression) @function
(optional_parameter_declaration declarator: (identifier) @argument)
(optional_parameter_declaration default_value: (_) @use)
[(template_argument_list) (decltype)] @use
[(for_range_loop) (catch_clause)] @block
(reference_declarator (identifier) @bind)
(for_range_loop declarator: (identifier) @bind)
(structured_binding_declarator (identifier) @bind)
(lambda_capture_initializer left: (identifier) @ban)
(qualified_identifier name: (identifier) @skip)
(namespace_identifier) @type
""",
    "go": """
(identifier) @id
[(type_identifier) (package_identifier)] @type
[(function_declaration) (method_declaration) (func_literal)] @function
(parameter_list) @params
(parameter_declaration name: (identifier) @argument)
(variadic_parameter_declaration name: (identifier) @argument)
(method_declaration receiver: (parameter_list) @frozen)
(function_type) @frozen
(array_type length: (_) @use)
[(block) (if_statement) (for_statement) (expression_switch_statement) (type_switch_statement)
 (expression_case) (type_case) (default_case) (communication_case)] @block
[(short_var_declaration) (var_spec) (const_spec) (range_clause)] @late
(short_var_declaration left: (expression_list (identifier) @bind))
(var_spec name: (identifier) @bind)
(const_spec name: (identifier) @bind)
(range_clause left: (expression_list (identifier) @bind) ":=")
(receive_statement left: (expression_list (identifier) @bind) ":=")
(receive_statement right: (_) @outer)
(type_switch_statement alias: (expression_list (identifier) @bind))
(type_switch_statement initializer: (_) alias: (expression_list (identifier) @ban))
(type_switch_statement !initializer value: (_) @outer)
(keyed_element key: (literal_element (identifier) @shorthand))
""",
}
"""What `renames` needs to know about each grammar. Ranges: `function`, `comprehension`, `block` and `class`
are scopes; `params` are bound in their function, `pattern` in its scope; `use` holds expressions within
them; `outer` lies in the scope around; `late` binds at its end; names in `frozen` stay in this function,
`freeze` keeps all names of it. Identifiers: see `_ROLES`."""

_RANGES = (
    "function",
    "comprehension",
    "block",
    "class",
    "params",
    "pattern",
    "frozen",
    "late",
    "outer",
    "use",
)
_SCOPES = frozenset(("function", "comprehension", "block", "class"))
_ROLES = ("id", "type", "short_pattern", "shorthand", "argument", "bind", "hoist", "fixed", "ban", "skip")
"""Roles of identifiers, the later ones win: a use, a type name, parts of shorthand objects, bindings of the
function's parameters, of the nearest scope, of the nearest function, bindings that keep their names, names
that stay within this function, and identifiers that are no variables."""
_DYNAMIC = frozenset((b"locals", b"eval", b"exec", b"vars", b"dir", b"execfile"))
_POSITIONAL = frozenset(("java", "c", "cpp", "go"))
"""Grammars of languages in which a local variable exists from its declaration on."""

Edit = tuple[int, int, bytes]
"""`[start, stop)` (bytes) becomes this."""


@dataclass(slots=True, eq=False)
class _Scope:
    kind: str
    start: int
    stop: int
    parent: "_Scope | None"
    unit: "_Scope | None"
    """The outermost function around; None at the top level."""
    names: "dict[bytes, _Variable]" = field(default_factory=dict)
    banned: set[bytes] = field(default_factory=set)
    frozen: bool = False


@dataclass(slots=True, eq=False)
class _Variable:
    name: bytes
    scope: _Scope
    since: int
    """Byte from which on the name means this variable."""
    fixed: bool = False
    places: list[tuple[int, int]] = field(default_factory=list)


_Frame = tuple[int, _Scope, str, int]
"""End of a range, its scope, what identifiers in it are (`params`, `pattern`, `frozen` or empty), and the
byte at which bindings in it take effect."""


def renames(
    found: dict[str, list[Node]], data: bytes, grammar: str, rename: Callable[[str], str]
) -> list[Edit]:
    """Edits that give the local variables the names that `rename` finds, where that is safe.

    `found`: what `QUERIES[grammar]` captures in `data`.
    """
    scopes = _Scopes(grammar, len(data))
    scopes.read(found, data)
    return scopes.edits(rename)


class _Scopes:
    """All scopes and variables of one file."""

    def __init__(self, grammar: str, size: int) -> None:
        self._python = grammar == "python"
        self._positional = grammar in _POSITIONAL
        self._sealed = grammar in ("java", "c", "cpp")  # inner classes may hide names by inheritance
        self._top = _Scope("class" if self._python else "block", 0, size, None, None)
        self._variables: list[_Variable] = []
        self._uses: list[tuple[bytes, int, int, _Scope, bool]] = []
        self._everywhere: set[bytes] = set()
        self._positions: dict[bytes, list[int]] = {}

    def read(self, found: dict[str, list[Node]], data: bytes) -> None:
        """Take in all scopes and identifiers, then resolve the uses."""
        self._everywhere.update(data[n.start_byte : n.end_byte] for n in found.get("everywhere", ()))
        for node in found.get("macro", ()):
            self._everywhere.update(_words(data[node.start_byte : node.end_byte]))
        roles: dict[int, tuple[int, str]] = {}
        for role in _ROLES:
            for node in found.get(role, ()):
                roles[node.start_byte] = node.end_byte, role
        events: list[tuple[int, int, int, str, bool]] = [
            (start, -stop, len(_RANGES), role, False) for start, (stop, role) in roles.items()
        ]
        for order, kind in enumerate(_RANGES):
            broken = kind == "function"
            events += [
                (n.start_byte, -n.end_byte, order, kind, broken and n.has_error) for n in found.get(kind, ())
            ]
        dynamic = {
            n.start_byte for n in found.get("dynamic", ()) if data[n.start_byte : n.end_byte] in _DYNAMIC
        } | {n.start_byte for n in found.get("freeze", ())}
        events += [(start, -start, -1, "freeze", False) for start in dynamic]
        events.sort()
        self._walk(events, data)
        for name, start, stop, scope, keep in self._uses:
            self._resolve(name, start, stop, scope, keep)

    def _walk(self, events: Iterable[tuple[int, int, int, str, bool]], data: bytes) -> None:
        stack: list[_Frame] = [(self._top.stop + 1, self._top, "", -1)]
        for start, minus_stop, order, kind, broken in events:
            stop = -minus_stop
            while stack[-1][0] <= start:
                stack.pop()
            _, scope, mode, late = stack[-1]
            if order == len(_RANGES):
                self._identifier(data[start:stop], start, stop, kind, scope, mode, late)
            elif kind in _SCOPES:
                inner = _Scope(kind, start, stop, scope, scope.unit)
                if inner.unit is None and kind in ("function", "comprehension"):
                    inner.unit = inner
                if inner.unit is not None:
                    inner.unit.frozen |= broken
                stack.append((stop, inner, "", -1))
            elif kind == "freeze":
                if scope.unit is not None:
                    scope.unit.frozen = True
            elif kind == "outer":
                stack.append((stop, scope.parent or scope, mode, late))
            elif kind == "late":
                stack.append((stop, scope, mode, stop))
            elif kind == "params" and (mode or scope.kind != "function"):
                stack.append((stop, scope, "frozen", late))  # of a function type or a prototype
            else:
                stack.append((stop, scope, "" if kind == "use" else kind, late))

    def _identifier(
        self, name: bytes, start: int, stop: int, role: str, scope: _Scope, mode: str, late: int
    ) -> None:
        if role == "skip":
            return
        self._positions.setdefault(name, []).append(start)
        if role == "type" or role == "ban" or mode == "frozen":
            if scope.unit is not None:
                scope.unit.banned.add(name)
            if mode != "frozen":
                return
        if mode == "params":
            role = "fixed" if self._python or role not in ("argument", "bind") else "bind"
        elif role == "short_pattern":
            role = "fixed" if mode == "pattern" else "shorthand"
        elif mode == "pattern" and role == "id":
            role = "bind"
        elif mode == "frozen" and role == "argument":
            role = "id"
        if role in ("id", "shorthand", "ban", "type"):
            self._uses.append((name, start, stop, scope, role == "shorthand"))
            return
        if role == "hoist":
            while scope.kind in ("block", "comprehension") and scope.parent is not None:
                scope = scope.parent
        variable = scope.names.get(name)
        since = max(start, late) if self._positional else 0
        if variable is None:
            variable = scope.names[name] = _Variable(name, scope, since)
            self._variables.append(variable)
        variable.since = min(variable.since, since)
        variable.places.append((start, stop))
        if role == "fixed" or scope.kind == "class":
            variable.fixed = True
            if scope.kind == "class" and scope.unit is not None:
                scope.unit.banned.add(name)

    def _resolve(self, name: bytes, start: int, stop: int, scope: _Scope, keep: bool) -> None:
        at: _Scope | None = scope
        crossed = False
        while at is not None:
            variable = at.names.get(name)
            hidden = self._python and crossed and at.kind == "class"
            if variable is not None and not hidden and variable.since <= start:
                variable.places.append((start, stop))
                if keep or (crossed and self._sealed):
                    variable.fixed = True
                return
            crossed = crossed or at.kind == "class" or (self._python and at is scope)
            at = at.parent

    def edits(self, rename: Callable[[str], str]) -> list[Edit]:
        """All places of all variables that change their names."""
        wanted: dict[bytes, list[_Variable]] = {}
        for variable in self._variables:
            unit, name = variable.scope.unit, variable.name
            if variable.fixed or unit is None or unit.frozen or name in unit.banned:
                continue
            if name in self._everywhere or not name.isascii():
                continue
            new = rename(name.decode()).encode()
            if new != name and new not in self._everywhere and not self._occurs(new, variable.scope):
                wanted.setdefault(new, []).append(variable)
        return [
            (start, stop, new)
            for new, variables in wanted.items()
            for variable in _without_rivals(variables)
            for start, stop in variable.places
        ]

    def _occurs(self, name: bytes, scope: _Scope) -> bool:
        positions = self._positions.get(name)
        if positions is None:
            return False
        index = bisect_left(positions, scope.start)
        return index < len(positions) and positions[index] < scope.stop


def _without_rivals(variables: list[_Variable]) -> list[_Variable]:
    """Those whose scope overlaps no scope of a variable with another old name."""
    if all(variable.name == variables[0].name for variable in variables):
        return variables
    rivals: set[int] = set()
    ordered = sorted(variables, key=lambda variable: (variable.scope.start, -variable.scope.stop))
    for index, one in enumerate(ordered):
        for other in ordered[index + 1 :]:
            if other.scope.start >= one.scope.stop:
                break
            if other.name != one.name:
                rivals |= {id(one), id(other)}
    return [variable for variable in ordered if id(variable) not in rivals]


def _words(text: bytes) -> Iterable[bytes]:
    return bytes(byte if chr(byte).isalnum() or byte == 95 else 32 for byte in text).split()
