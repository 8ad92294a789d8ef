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
