"""Void conflicts (paper 4.4, boundary verification): silence where code was needed, code where silence was.

`mine` has set aside the voids that nobody observed, so the user wrote nothing where a target is empty. An
empty target is a conflict when the prefix ends in a construct that cannot be left empty (`=`, `(`, `.`, a
Python header's `:`) and nothing follows, or a one-word filler would repair the text.

Code conflicts with a context that calls for silence:

1. The user was deleting, or only moving the cursor, when the request was sent (`LastEdit`). What they wrote
   afterwards may be fine code; it is no reason to interrupt somebody who deletes or reads. The paper names
   both; whoever disagrees switches them off.
2. The cursor stands in the prose of a comment or docstring and the target goes on with prose. Code that is
   being commented out, and code on the line after a comment, is not prose.
3. The cursor stands right behind a statement that is complete and the target begins with a line break: the
   user went on to another line. Complete is what the tree of the text with its target says: in Java, C and
   C++ a statement ends in `;` or `}`, elsewhere the statement's node ends at the cursor. Headers, openers,
   commas, decorators, comments and docstrings ask for what follows and are not statements. Without a
   grammar a line that ends in `;` is UNSURE.

Not covered: conflicts that need understanding; voids inside a statement that happens to be complete.
"""

import re

from echo_ray import syntax, text
from echo_ray.checks import quoted
from echo_ray.checks.case import PASS, Case, Finding, Verdict
from echo_ray.checks.splice import lacks_body
from echo_ray.schema import Drop, LastEdit

_ASSIGNS = re.compile(r"(?:[-+*/%&|^:]|<<|>>|\?\?|\|\||&&|\*\*|//)?=")
_OPEN_END = re.compile(
    r"(?:[=(\[,.:+\-*/%&|<?]|\b(?:and|or|not|in|is|import|from|await|new|const|let|var))\Z"
)
_OPERATOR = re.compile(r"[=:+\-*/%&|<?.!^~>]{2,4}")
_CODE = re.compile(r"\w\(|[=;{}\[\]<>@\\]|\w\.\w|\w_\w|://|&&|\|\|")
_PLAIN = re.compile(r"[(\"'`]*[^\W\d_]+(?:['\u2019-][^\W\d_]+)*[)\"'`]*[.,:;!?]*\Z")
_COMMENT_BEFORE = re.compile(r"#|//|/\*|\*|<!--|--|%|;")
_COMMENT_LINE = re.compile(r"\s*(?:#|//|--|%|;)")
_UNFINISHED_END = tuple(",:([{=+-*/%&|<?.\\@!~^")
_NEEDS_SIGN = frozenset(("java", "c", "cpp"))


def check(
    case: Case, deletion: bool = True, navigation: bool = True, comment: bool = True, finished: bool = True
) -> Finding:
    """Whether the target's being empty, or not, fits the context; a switch for each rule about code."""
    if not case.target.strip():
        return _missing(case)
    if deletion and case.last_edit is LastEdit.DELETED:
        return Finding(Verdict.FAIL, "after_deletion", Drop.VOID_DELETION, note="the user was deleting")
    if navigation and case.last_edit is LastEdit.MOVED:
        return Finding(Verdict.FAIL, "after_navigation", Drop.VOID_NAVIGATION, note="the user was moving")
    if comment:
        found = _continues_comment(case)
        if found is not None:
            return found
    if finished:
        return _after_statement(case) or PASS
    return PASS


def _missing(case: Case) -> Finding:
    found = _calls_for_code(case)
    if found is None:
        return PASS
    rule, note = found
    return Finding(Verdict.FAIL, rule, Drop.VOID_MISSING, note=note)


def _calls_for_code(case: Case) -> tuple[str, str] | None:
    """(rule, words) when nothing is not enough at the cursor."""
    end = case.prefix[-400:].rstrip()
    ending = _OPEN_END.search(end[-20:])
    if ending is None:
        return None
    if quoted.inside(case):
        return None
    opener, same_line = ending.group(), "\n" not in case.prefix[len(case.prefix[:-400]) + len(end) :]
    rest = case.suffix.partition("\n")[0].strip()
    tree = case.context
    if tree is None:
        opened = not rest and same_line and opener in "=("
        return ("prefix_ends_open", f"prefix ends in {opener!r}") if opened else None
    stop = len(tree.prefix.rstrip())
    last = list(syntax.tokens(tree.parsed, stop - 1, stop))
    token = tree.parsed.text[last[-1].start : last[-1].stop] if last else ""
    if token != opener and (not _OPERATOR.fullmatch(token) or token in ("...", "++", "--", "=>", "*/")):
        return None  # the end of a comment, a string, a number
    if tree.language == "python" and not syntax.unclosed(tree.parsed, 0, stop):
        # The Python grammar reads over a line end after "=" and takes a header for a whole statement.
        if opener == ":":
            bare = lacks_body(tree.prefix.rstrip(), tree.suffix)
            return ("header_without_body", "header without a body") if bare else None
        star = opener == "*" and re.search(r"\bimport\s*\*\Z", end)
        if opener != "," and same_line and not rest.strip(")]};,") and not star:
            return "prefix_ends_open", f"prefix ends in {opener!r}, nothing follows"
        return None
    if same_line and _ASSIGNS.fullmatch(token) and not rest.strip(")]};,") and not _goes_on_below(case):
        # Where a line break is no end, the next statement would be taken for the value.
        return "prefix_ends_open", f"prefix ends in {token!r}, nothing follows"
    if not tree.errors:
        return None
    filler = " x" if opener.isalpha() else "x"
    for repair in (filler, filler + {"(": ")", "[": "]"}.get(opener, "")):
        if tree.spliced(repair).errors < tree.errors:
            return "prefix_ends_open", f"prefix ends in {opener!r}, {repair.strip()!r} would repair it"
    return None


def _goes_on_below(case: Case) -> bool:
    """Whether the line below the cursor's is indented deeper, as the rest of a statement is."""
    below = next((line for line in case.suffix[:2_000].split("\n")[1:] if line.strip()), "")
    line = text.current_line(case.prefix[-2_000:])
    return len(text.indent_of(below)) > len(text.indent_of(line))


def _continues_comment(case: Case) -> Finding | None:
    line = text.current_line(case.prefix[-2_000:])
    body = _prose(case, line)
    if body is None:
        return None
    if case.language not in syntax.GRAMMARS:
        inside = _COMMENT_LINE.match(line) is not None
        kind = "comment"
    else:
        kind = _kind_at_cursor(case, line, body)
        inside = kind != ""
    if not inside:
        return None
    start = len(case.target) - len(case.target.lstrip())
    note = f"continues a {kind}"
    return Finding(Verdict.FAIL, f"inside_{kind}", Drop.VOID_COMMENT, start, start + len(body), note)


def _prose(case: Case, line: str) -> str | None:
    """The words that go on with a comment, if the target begins with prose; None when it does not."""
    first, newline, rest = case.target.partition("\n")
    if not first.strip():
        # On to the next line of the same comment: every line must be one, with the sign of the line before.
        sign = re.match(r"\s*(#|//|\*)", line)
        lines = [other.strip() for other in rest.split("\n") if other.strip()]
        if sign is None or not newline or not lines:
            return None
        if not all(other.startswith(sign.group(1)) for other in lines):
            return None
        first = lines[0].lstrip("#/* ")
    words = first.split()
    letters = re.search(r"[^\W\d_]{2}", first)
    if letters is None or not words:
        return None
    plain = sum(_PLAIN.match(word) is not None for word in words)
    if _CODE.search(first) and plain * 3 < len(words) * 2 + 3:
        return None
    return first.strip() if plain * 2 >= len(words) else None


def _kind_at_cursor(case: Case, line: str, body: str) -> str:
    """`comment`, `docstring` or nothing: what the cursor is in."""
    before = case.prefix
    if quoted.inside(case):
        return "docstring" if len(body.split()) > 1 else ""
    string = case.language == "python" and ('"""' in before or "'''" in before)
    if not _COMMENT_BEFORE.search(line) and not string and before.rfind("/*") <= before.rfind("*/"):
        return ""  # no comment can reach the cursor: saves the tree
    tree = case.spliced
    if tree is None:
        return ""
    cursor = tree.cursor
    if case.target.startswith("\n"):
        # A line comment ends before its line does: the cursor is at its end.
        cursor = len(tree.prefix.rstrip(" \t"))
        last = list(syntax.tokens(tree.parsed, cursor - 1, cursor))
        return "comment" if last and "comment" in last[-1].kind else ""
    if syntax.in_comment(tree.parsed, cursor):
        return "comment"
    if not string or tree.language != "python":
        return ""
    for token in syntax.tokens(tree.parsed, max(0, cursor - 1), cursor + 1):
        head = tree.parsed.text[max(0, token.start - 200) : token.start]
        opening = tree.parsed.text[token.start : token.start + 4].lstrip("rRuUbB")
        inside = token.start < cursor < token.stop and "string" in token.kind
        if inside and opening.startswith(('"""', "'''")) and re.search(r"(?:\A|[:\n])\s*\Z", head):
            return "docstring" if len(body.split()) > 1 else ""
    return ""


def _after_statement(case: Case) -> Finding | None:
    target = case.target.lstrip(" \t")
    if not target.startswith(("\n", "\r\n")) or case.suffix.partition("\n")[0].strip():
        return None
    line = text.current_line(case.prefix[-2_000:]).strip()
    if quoted.inside(case):
        return None
    if not line or line.endswith(_UNFINISHED_END) or line.startswith(("@", "#", "//", "*", "/*", "<!--")):
        return None
    note = "the line before the cursor is complete"
    if case.language not in syntax.GRAMMARS:
        if not line.endswith(";"):
            return None
        return Finding(Verdict.UNSURE, "after_statement", Drop.VOID_FINISHED, note=note)
    if case.language in _NEEDS_SIGN and not line.endswith((";", "}")):
        return None
    tree = case.spliced
    if tree is None or tree.language == "vue":
        return None
    stop = len(tree.prefix.rstrip(" \t"))
    unit = syntax.statement(tree.parsed, stop - 1)
    if unit is None or unit.stop != stop:
        return None
    last = list(syntax.tokens(tree.parsed, stop - 1, stop))
    if not last or "comment" in last[-1].kind or ("string" in last[-1].kind and last[-1].start == unit.start):
        return None
    if unit.broken:
        return Finding(Verdict.UNSURE, "after_statement", Drop.VOID_FINISHED, note=note)
    return Finding(Verdict.FAIL, "after_statement", Drop.VOID_FINISHED, note=note)
