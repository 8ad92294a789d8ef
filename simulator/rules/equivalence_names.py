"""Tokens of pieces of code, and the names of local variables in them, for `simulator.rules.equivalence`.

Pieces begin and end anywhere, so nothing here parses: a name counts as a local variable when the piece binds
it before any other use, in a line that lies in the body of a function by its indentation.
"""

import re
from functools import cache
from typing import NamedTuple

from echo_ray.text import indent_of
from simulator.work.style_names import RESERVED

SCRIPTS = frozenset(("javascript", "javascriptreact", "typescript", "typescriptreact", "vue"))
"""Languages that are JavaScript for a lexer."""
_LOOK_BACK = 1000
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_NOT_TYPES = (
    r"(?:return|else|new|throw|delete|goto|case|default|package|import|using|public|private|protected)"
)


class Token(NamedTuple):
    """A word, string, comment, mark of one character, or run of line ends."""

    kind: str
    """`word`, `number`, `string`, `comment`, `line` (line ends with the indentation after them), `mark`."""
    text: str
    start: int
    stop: int
    gap: str
    """White space before it."""


class Edit(NamedTuple):
    """`[start, stop)` of a text becomes `text`."""

    start: int
    stop: int
    text: str


@cache
def _pattern(language: str) -> re.Pattern[str]:
    if language == "python":
        string = r"\"\"\"(?:.|\n)*?(?:\"\"\"|\Z)|'''(?:.|\n)*?(?:'''|\Z)"
        comment = r"\#[^\n]*"
    else:
        string = r"`(?:[^`\\]|\\.|\\\n)*`?" if language in SCRIPTS or language == "go" else r"(?!)"
        comment = r"//[^\n]*|/\*(?:.|\n)*?(?:\*/|\Z)"
    return re.compile(
        rf"""[ \t]*(?:
        (?P<line>(?:\n[ \t]*)+)
        |(?P<comment>{comment})
        |(?P<string>{string}|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?)
        |(?P<word>[^\W\d][\w$]*|\$[\w$]*)
        |(?P<number>\d[\w.]*)
        |(?P<mark>\S|\Z))""",
        re.VERBOSE,
    )


def tokens(text: str, language: str) -> list[Token]:
    """All tokens of `text`; strings and comments may be cut by its end."""
    found = []
    for match in _pattern(language).finditer(text):
        kind = match.lastgroup or "mark"
        start, stop = match.span(kind)
        if start < stop:
            found.append(Token(kind, text[start:stop], start, stop, text[match.start() : start]))
    return found


def renamable(name: str, new: str, intent: str, before: str, after: str, language: str) -> list[Edit]:
    """Edits that rename the local variable `name`, which `intent` introduces; empty when it is none."""
    if not (_IDENTIFIER.fullmatch(new) and _IDENTIFIER.fullmatch(name)) or {name, new} & RESERVED:
        return []
    if "locals(" in intent or "eval(" in intent or _find(name, before) >= 0 or _find(name, after) >= 0:
        return []
    if any(_find(new, text) >= 0 for text in (before, intent, after)):
        return []
    head = before.rpartition("\n")[2]
    text = head + intent
    first = _find(name, text)
    spans = (match.span(match.lastindex or 0) for match in _binding(language).finditer(text))
    if not any(start <= first < stop for start, stop in spans):
        return []
    if language != "go" and not _local(text[:first], before[: len(before) - len(head)], language):
        return []
    if language == "python" and _unclosed(text[:first], before[: len(before) - len(head)]):
        return []  # a keyword argument
    code = tokens(intent, language)
    edits, depth = [], 0
    for index, token in enumerate(code):
        depth += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
        if token.kind == "string" and _find(name, token.text) >= 0:
            formatted = index and code[index - 1].kind == "word" and not token.gap
            if formatted or token.text[0] == "`":
                return []
        if token.text != name:
            continue
        use = _use(code, index, depth, language)
        if use is None:
            return []
        if use:
            edits.append(Edit(token.start, token.stop, new))
    return edits


def _use(code: list[Token], index: int, depth: int, language: str) -> bool | None:
    """Whether the word is the variable, or an attribute or the like; None when one cannot tell."""
    last = code[index - 1].text if index else ""
    following = code[index + 1].text if index + 1 < len(code) else ""
    if last == "." or (last == ">" and index > 1 and code[index - 2].text == "-"):
        return False
    if language == "python":
        keyword = following == "=" and (index + 2 >= len(code) or code[index + 2].text != "=")
        return None if keyword and depth > 0 else True
    if last in ("{", ",") and following in (",", "}", ":"):
        return None  # shorthand, key
    beyond = code[index + 2].text if index + 2 < len(code) else ""
    typed = last in ("const", "let", "var") or (language == "go" and beyond == "=")
    return None if following == ":" and not typed else True


def _find(word: str, text: str) -> int:
    """Where `word` first occurs as a whole word; -1 where it does not."""
    at = text.find(word)
    while at >= 0:
        stop = at + len(word)
        left, right = text[at - 1 : at], text[stop : stop + 1]
        if not (left.isalnum() or left == "_" or right.isalnum() or right == "_"):
            return at
        at = text.find(word, stop)
    return -1


def _unclosed(until: str, above: str) -> bool:
    """Whether a bracket is open at the end of `above + until`, looking back `_LOOK_BACK` characters."""
    depth = 0
    for char in reversed((above + until)[-_LOOK_BACK:]):
        depth += (char in ")]}") - (char in "([{")
        if depth < 0:
            return True
    return False


@cache
def _binding(language: str) -> re.Pattern[str]:
    """Finds bindings of local variables; the last group of a match holds their names."""
    if language == "python":
        form = r"^[ \t]*(\w+(?:,[ ]*\w+)*)[ ]*=(?!=)|\bfor[ ]+\(?(\w+(?:,[ ]*\w+)*)\b|\bas[ ]+(\w+)\b"
    elif language in SCRIPTS:
        form = r"\b(?:const|let|var)[ ]+(\w+)\b"
    elif language == "go":
        form = r"\b(\w+(?:,[ ]*\w+)*)[ ]*:="
    else:
        form = rf"^[ \t]*(?!{_NOT_TYPES}\b)(?:[\w.:]+(?:<[^;=()]*>)?(?:\[\])*[ *&]+)+(\w+)[ ]*(?:=(?!=)|;)"
    return re.compile(form, re.MULTILINE)


def _local(until: str, above: str, language: str) -> bool:
    """Whether the last line of `until`, with the lines `above`, is in the body of a function."""
    lines = (above + until).split("\n")
    depth = len(indent_of(lines.pop()))
    while lines and depth:
        line = lines.pop()
        own = len(indent_of(line))
        if own >= depth or own == len(line):
            continue
        line, depth = line.strip(), own
        if language == "python":
            if line.startswith(("def ", "async def ")):
                return True
            if line.startswith("class "):
                return False
            depth += line[0] in ")]}"  # the header of a function may begin in an earlier line like this
        elif re.match(r"(?:export\s+)?(?:\w+\s+)*(?:class|struct|interface|enum|union|namespace)\b", line):
            return False
        elif re.search(r"=>\s*\{?$|\)[^;]*\{$", line):
            return True
    return False
