"""Names that nothing defines, and names that are spelled otherwise everywhere else (paper 4.4, "variable
consistency").

A word of the target is looked at when it is neither known to the language nor written anywhere else in the
context: a substring search, no tree; nine of ten targets end here. Of the rest, the tree says what part each
plays (`names_roles`): a word that the target itself binds, a keyword argument, a key or an import is fine.

1. Inconsistent: one slip of the fingers (`names_near`) away from a name that the context writes at least
   twice, or once where the word has to be defined. Members count too: nobody knows whether `.vlaue` exists,
   but a file that says `.value` elsewhere means that.
2. Undefined: a used name that neither the context nor the target binds. Certain enough to FAIL:
   - Python, JavaScript, TypeScript and Vue scripts: any value, where the start of the file is seen (imports
     stand there), and the end too for calls, since functions may be defined below. Types of TypeScript may
     come from ambient declarations: UNSURE.
   - Java, Go, C, C++: lower-case variables outside calls. Package, header and inherited names are mostly
     types, functions and constants; those are UNSURE.
   - Windows: lower-case variables inside a function whose head is seen, for a local must be defined there.
   Everything else is UNSURE, so is a file that imports `*` or binds names at run time.

Measured on 7,514 real targets of seven languages, half in whole files, half in windows of 6 KB: 3 fail;
unsure are less than 1% in Python, JavaScript and TypeScript, 3 to 7% in Go, C++ and Java (types, functions).

Not covered: scopes (a name used elsewhere in the file counts as defined), definitions that come after the
use, whether a member exists.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from tree_sitter import Node

from echo_ray import syntax
from echo_ray.checks import names_near, quoted
from echo_ray.checks.case import NOT_APPLICABLE, PASS, Case, Finding, Verdict
from echo_ray.checks.names_known import KNOWN
from echo_ray.checks.names_roles import Role, languages, role
from echo_ray.schema import Drop

_WORD = re.compile(r"[^\W\d]\w*")
_WORD_PART = re.compile(r"\w+")
_SCRIPTS = frozenset(("javascript", "javascriptreact", "typescript", "typescriptreact", "vue"))
_DYNAMIC = {
    "python": re.compile(r"\bimport\s*\*|\bglobals\(\)\s*(?:\[|\.update)"),
    **dict.fromkeys(_SCRIPTS, re.compile(r"(?<![\w.])with\s*\(|/\*\s*globals?\b")),
    **dict.fromkeys(("go",), re.compile(r"^\s*\.\s+\"|\bimport\s+\.\s", re.MULTILINE)),
}
_IMPORTS_VUE = re.compile(r"from\s*['\"]vue['\"]")
_BEGINS = re.compile(
    r"(?:#!|#\s*-\*-|/\*|//|<!--|\"\"\"|'''|['\"]use |#\s"
    r"|(?:import|from|package|#include|#pragma|#ifndef|const|<script|<template)\b)"
)
"""First characters of a file that are unlikely to be the first of a window."""
_AMBIENT = re.compile(
    r"(?:HTML|SVG|CSS|DOM|RTC|WebGL|IDB|XML|Web|Media|Audio|Mutation|Intersection|Resize|Performance|Service|Text|URL|"
    r"File|Form|Abort|Message|Event|Request|Response|Headers|Blob|Image|Node|Element|Document|Custom|Mouse|Keyboard|"
    r"Touch|Pointer|Drag|Focus|Input|Clipboard|Broadcast|Worker|Shared|Storage|Notification|Readable|Writable|"
    r"Transform|Range|Selection|Animation|Option|Audio|Bun|Deno|NodeJS|JSX|React|Vue|Shadow|Path2D|Comment|Location|"
    r"Window|Iterator|Promise|Canvas|Offscreen|Gamepad|Bluetooth|Byte|Compression|Decompression)"
)
"""Beginnings of the names of browser and runtime interfaces."""
_FUNCTION = re.compile(
    r"function|method|lambda|arrow|constructor|generator|func_literal|class_definition|class_declaration"
)


class Use(NamedTuple):
    """A word of the target that stands nowhere else, and what it is used as; offsets in the target."""

    word: str
    start: int
    stop: int
    role: Role
    node: Node


def check(case: Case) -> Finding:
    """PASS, or the first misspelt or undefined name of the target; NOT_APPLICABLE without a grammar."""
    known = KNOWN.get(case.language)
    if not case.target or known is None:
        return NOT_APPLICABLE
    strange = _strange(case, known)
    if not strange or quoted.inside(case):
        return PASS
    tree = case.spliced
    if tree is None or tree.language not in languages():
        return NOT_APPLICABLE
    uses = _uses(tree, strange)
    if not uses:
        return PASS
    context = _Context(case, tree)
    unsure: Finding | None = None
    for use in uses:
        finding = _inconsistent(use, context, known) or _undefined(use, context)
        if finding is not None and finding.verdict is Verdict.FAIL:
            return finding
        unsure = unsure or finding
    return unsure or PASS


def _strange(case: Case, known: frozenset[str]) -> list[tuple[str, list[tuple[int, int]]]]:
    """Words of the target that are not `known` and stand nowhere in the context, with their spans; a word
    that the prefix begins or the suffix ends is one word.
    """
    before, target, after = case.prefix, case.target, case.suffix
    head = _word_end(before) if _in_word(target[:1]) else ""
    tail = _word_start(after) if _in_word(target[-1:]) else ""
    before, after = before[: len(before) - len(head)], after[len(tail) :]
    shift = -len(head)
    spans: dict[str, list[tuple[int, int]]] = {}
    for match in _WORD.finditer(head + target + tail):
        word = match.group()
        if word not in known:
            spans.setdefault(word, []).append((match.start() + shift, match.end() + shift))
    return [
        (word, places) for word, places in spans.items() if not (_holds(before, word) or _holds(after, word))
    ]


def _holds(text: str, word: str) -> bool:
    """Whether `word` stands in `text` as a whole word."""
    at, size = text.find(word), len(word)
    while at >= 0:
        if not _in_word(text[at - 1 : at]) and not _in_word(text[at + size : at + size + 1]):
            return True
        at = text.find(word, at + 1)
    return False


def _word_end(text: str) -> str:
    at = len(text)
    while at and _in_word(text[at - 1]):
        at -= 1
    return text[at:]


def _word_start(text: str) -> str:
    match = _WORD_PART.match(text)
    return match.group() if match else ""


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _uses(tree: syntax.Around, strange: Sequence[tuple[str, list[tuple[int, int]]]]) -> list[Use]:
    found: list[Use] = []
    parsed = tree.parsed
    for word, places in strange:
        uses = []
        for start, stop in places:
            low, high = parsed.byte(tree.cursor + start), parsed.byte(tree.cursor + stop)
            node = parsed.root.descendant_for_byte_range(low, high)
            if node is None or node.start_byte != low or node.end_byte != high or node.child_count:
                continue  # inside a string or a comment, or a part of an operator
            part = role(node, tree.language)
            if part is Role.BINDING:
                break
            if part is not Role.OTHER:
                uses.append(Use(word, start, stop, part, node))
        else:
            found += uses[:1]
    return sorted(found, key=lambda use: use.start)


class _Context:
    """What the context says about names, found out when first asked."""

    def __init__(self, case: Case, tree: syntax.Around) -> None:
        self.case = case
        self.tree = tree

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each word stands in the window beside the target (count)."""
        size = self.case.window_chars
        return Counter(_WORD.findall(f"{self.case.prefix[-size:]}\n{self.case.suffix[:size]}"))

    @cached_property
    def parts(self) -> frozenset[str]:
        """Parts of the context's words, in lower case."""
        return frozenset(part.lower() for word in self.counts for part in names_near.PART.findall(word))

    @cached_property
    def dynamic(self) -> bool:
        """Whether names may be bound in ways that no tree shows."""
        prefix = self.case.prefix
        if self.case.language == "vue" and "<script setup" in prefix and not _IMPORTS_VUE.search(prefix):
            return True  # a build that imports by itself
        pattern = _DYNAMIC.get(self.case.language)
        return pattern is not None and any(
            pattern.search(text) for text in (self.case.prefix, self.case.suffix)
        )

    @cached_property
    def start(self) -> bool:
        """Whether the start of the file is seen."""
        complete = self.case.prefix_complete
        return complete if complete is not None else _BEGINS.match(self.case.prefix) is not None

    @cached_property
    def end(self) -> bool:
        """Whether the end of the file is seen."""
        complete = self.case.suffix_complete
        return complete if complete is not None else self.start


def _inconsistent(use: Use, context: _Context, known: frozenset[str]) -> Finding | None:
    if len(use.word) < names_near.LEAST_CHARS:
        return None
    least = 2 if use.role in (Role.MEMBER, Role.TYPE) else 1
    names = [name for name, count in context.counts.items() if count >= least]
    close = sorted(names_near.near(use.word, names, lambda: context.parts))
    if not close:
        return None
    note = f"{use.word} is {close[0]} elsewhere"
    if context.counts[close[0]] < 2 and not (context.start or _function_seen(use, context)):
        return Finding(Verdict.UNSURE, "near_name", Drop.NAME_INCONSISTENT, use.start, use.stop, note)
    return Finding(Verdict.FAIL, "near_name", Drop.NAME_INCONSISTENT, use.start, use.stop, note)


def _undefined(use: Use, context: _Context) -> Finding | None:
    if use.role is Role.MEMBER:
        return None
    verdict = Verdict.FAIL if not context.dynamic and _certain(use, context) else Verdict.UNSURE
    note = f"nothing defines {use.word}"
    return Finding(verdict, f"undefined_{use.role}", Drop.NAME_UNDEFINED, use.start, use.stop, note)


def _certain(use: Use, context: _Context) -> bool:
    language, word = context.case.language, use.word
    local = word[0].islower() and not word.isupper()
    if language == "python" or language in _SCRIPTS:
        if language in _SCRIPTS and (use.role is Role.TYPE or _AMBIENT.match(word)):
            return False
        if context.start and (context.end or use.role is not Role.CALL):
            return True
    elif word.endswith("_"):
        return False  # a member of a class that another file declares
    return local and use.role is Role.VARIABLE and (context.start or _function_seen(use, context))


def _function_seen(use: Use, context: _Context) -> bool:
    """Whether the name stands in a function whose head is in the window."""
    node = use.node.parent
    while node is not None:
        if _FUNCTION.search(node.type):
            return True
        node = node.parent
    return False
