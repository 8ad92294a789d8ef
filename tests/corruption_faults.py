"""How a target of the corruption suite is spoilt: pure functions of a text and a source of randomness."""

import re
from collections.abc import Sequence
from random import Random

from tree_sitter import Node

from tests.corruption_sources import Source, parser, words

SENTINELS = (
    "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|endoftext|>", "<|fim_pad|>", "<fim_prefix>",
    "<fim_suffix>", "<fim_middle>", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>",
    "<｜end▁of▁sentence｜>", "<PRE>", "<SUF>", "<MID>", "<EOT>", "▁<MID>", "[PREFIX]", "[SUFFIX]", "[MIDDLE]",
    "<|file_separator|>",
    "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|begin_of_text|>", "<|repo_name|>", "</s>", "<file_sep>",
)  # fmt: skip
"""What published code models write around and after a completion."""

_KEYWORDS = ("return", "if", "for", "while", "import", "const", "let", "func", "class", "else", "new", "def")
_NEIGHBOURS = dict(zip("abcdefghijklmnopqrstuvwxyz", "svxfrdghujkljbipwdeyycqzta", strict=True))
_PLACES = words(
    """arguments argument_list binary_operator binary_expression comparison_operator return_statement
    subscript subscript_expression index_expression unary_expression not_operator boolean_operator
    parenthesized_expression list tuple array conditional_expression ternary_expression"""
)
"""Nodes in which a word is used as a value, in every language."""
_LOCAL = re.compile(
    r"\b(?:const|let|var|int|auto|size_t|String)\s+([a-z]\w{4,})\b|^\s*([a-z]\w{4,}) :?= ", re.MULTILINE
)
_GLOBAL = words(
    """window document location history event status process console module exports require global
    screen parent frames origin assert expect performance crypto print input filter range round super
    object property format compile bytes float super staticmethod tuple sorted slice credits license
    copyright strip string error print println append panic close delete index"""
)


RESERVED = words(
    """and as assert async auto await bool boolean break byte catch char class const continue def
    default del delete do double elif else enum except export extends extern False final finally float
    for from func function go if import in int interface is lambda let long new nil None not null or
    package pass private protected public raise range return short signed static string struct super
    switch this throw throws True true false try type typeof unsigned using var void while with yield
    uint64_t std f r b"""
)
"""Words that need no declaration."""


def in_string(statement: str, offset: int) -> bool:
    """Whether `offset` may lie in a string or comment of a one-line statement."""
    before = re.sub(r"\\.", "", statement[:offset])
    return any(before.count(quote) % 2 for quote in "\"'`/") or "//" in before or "#" in before


def closing(statement: str) -> str:
    """The brackets that close what a statement's beginning has opened, innermost first."""
    opened: list[str] = []
    for character in re.sub(r"\"[^\"]*\"|'[^']*'", "", statement):
        if character in "([{":
            opened.append(")]}"["([{".index(character)])
        elif opened and character == opened[-1]:
            opened.pop()
    return "".join(reversed(opened))


def broken(target: str, random: Random) -> tuple[str, str] | None:
    """(kind, target) with one token lost, added or misspelt; None when the draw does not fit."""
    kind = random.choice(
        ("bracket_lost", "bracket_added", "quote_lost", "operator_doubled", "operand_lost", "keyword")
    )
    if kind == "bracket_lost":
        return _without(kind, target, r"[()\[\]{}]", random)
    if kind == "quote_lost":
        return _without(kind, target, "[\"'`]", random)
    if kind == "bracket_added":
        at = random.choice([found.end() for found in re.finditer(r"\w\b|[)\]]", target)] or [-1])
        bracket = random.choice("()[]{}")
        return (kind, target[:at] + bracket + target[at:]) if at >= 0 else None
    if kind == "operator_doubled":
        found = random.choice(
            [*re.finditer(r" (?:[=+*/<>]=?|&&|\|\||and|or|in|==|:=)(?= )", target)] or [None]
        )
        return (kind, target[: found.end()] + found.group() + target[found.end() :]) if found else None
    if kind == "operand_lost":
        found = random.choice([*re.finditer(r"(?<=[=+*/<>&|] )[\w.]+\b(?!\()", target)] or [None])
        return (kind, target[: found.start()] + target[found.end() :]) if found else None
    found = random.choice([*re.finditer(rf"\b(?:{'|'.join(_KEYWORDS)})\b(?= \w)", target)] or [None])
    if found is None:
        return None
    word = found.group()
    return kind, target[: found.start()] + word[:-2] + word[-1] + word[-2] + target[found.end() :]


def indented(indent: str, target: str, random: Random) -> str:
    """A statement at the start of its line with an indentation that no block of the file has."""
    lines = target.split("\n")
    number = random.randrange(len(lines))
    lines[0] = indent + lines[0]
    lines[number] = random.choice((" ", "   ", "     ")) + lines[number]
    return "\n".join(lines)


def with_sentinel(target: str, random: Random) -> str:
    """`target` with a special token at its end or between two of its words."""
    token = random.choice(SENTINELS)
    at = random.choice([len(target), len(target), *(found.start() for found in re.finditer(r"\b", target))])
    return target[:at] + token + target[at:]


def undefined(source: Source, start: int, target: str, stranger: str, random: Random) -> str | None:
    """`target` with a used local name replaced by one of another file that stands nowhere in this one; None
    in a file that imports `*`, where nobody could tell.
    """
    text = source.text
    if re.search(r"import\s*\*", text):
        return None
    names: list[str] = sorted({name for pair in _LOCAL.findall(stranger) for name in pair if name} - _GLOBAL)
    names = [name for name in names if name not in text]
    uses: list[tuple[Node, str]] = []
    for node, word in _words(source, start, target):
        parent = node.parent
        used = parent is not None and parent.type in _PLACES
        once = len(re.findall(rf"\b{word}\b", target)) == 1
        if used and once and word[0].islower() and re.search(rf"\b{word}\b", text[source.start : start]):
            uses.append((node, word))
    if not uses or not names:
        return None
    node, word = random.choice(uses)
    at = node.start_byte + source.start - start
    return target[:at] + random.choice(names) + target[at + len(word) :]


def misspelt(source: Source, start: int, target: str, near: Sequence[str], random: Random) -> str | None:
    """`target` with one slip in a used name that the text near it writes at least twice as it should be."""
    uses: list[tuple[Node, str]] = []
    for node, word in _words(source, start, target):
        count = sum(len(re.findall(rf"\b{word}\b", part)) for part in near)
        parent = node.parent
        used = parent is not None and (
            parent.type in _PLACES
            or re.search(r"attribute\Z|member_expression|selector|field_expression|field_access", parent.type)
        )
        if used and count >= 2 and re.search(r"[A-Za-z]{5}", word):
            uses.append((node, word))
    if not uses:
        return None
    node, word = random.choice(uses)
    wrong = _slip(word, random)
    if wrong is None or wrong in source.text:
        return None
    at = node.start_byte + source.start - start
    return target[:at] + wrong + target[at + len(word) :]


def _slip(word: str, random: Random) -> str | None:
    """Two letters swapped, one left out, doubled or hit beside; inside a run of at least five letters."""
    run = random.choice([*re.finditer(r"[A-Z]?[a-z]{4,}", word)] or [None])
    if run is None or len(run.group()) < 5:
        return None
    at = random.randrange(run.start() + 1, run.end() - 2)
    kind = random.randrange(4)
    if kind == 0:
        wrong = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    elif kind == 1:
        wrong = word[:at] + word[at + 1 :]
    elif kind == 2:
        wrong = word[:at] + word[at] + word[at:]
    else:
        wrong = word[:at] + _NEIGHBOURS.get(word[at], "q") + word[at + 1 :]
    return wrong if wrong != word else None


def _words(source: Source, start: int, target: str) -> list[tuple[Node, str]]:
    """Name leaves of the real tree inside the target's span."""
    data = source.text[source.start : source.stop].encode()
    low = start - source.start
    stack, found = [parser(source.grammar).parse(data).root_node], []
    while stack:
        node = stack.pop()
        if node.end_byte <= low or node.start_byte >= low + len(target):
            continue
        stack += node.children
        inside = node.start_byte >= low and node.end_byte <= low + len(target)
        if inside and not node.child_count and node.type.endswith("identifier"):
            found.append((node, data[node.start_byte : node.end_byte].decode()))
    return sorted(found, key=lambda pair: pair[0].start_byte)


def _without(kind: str, target: str, pattern: str, random: Random) -> tuple[str, str] | None:
    at = random.choice([found.start() for found in re.finditer(pattern, target)] or [-1])
    return (kind, target[:at] + target[at + 1 :]) if at >= 0 else None
