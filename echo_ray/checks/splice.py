"""Whether a target fits syntactically between its prefix and suffix (paper 4.4, "correctness").

`check`: prefix + target + suffix may not have more syntax errors than the context had, that is prefix +
suffix as they are or without the line that the cursor is on, whichever has fewer: the half-typed line is what
the target is there to finish. And where there are errors, none may touch the target that does not begin above
it in the context too. All trees of a sample come from one window and one chain of edits (`syntax.Around`), so
that what is broken elsewhere is broken in all of them alike.

Our choice: tolerance 0. Any slack for broken windows lets more bad targets through than good ones. Instead,
a target that would be refused is looked at again; each way removes a cause of false alarms in real streams:

- One that is shorter than its commit may leave something open, as a header line does: it is judged with that
  closed, with the first thing that could follow put in, or with the whole commit in its place.
- One that begins with a line break does not finish the cursor's line, so that line may stay as it is; a
  comment breaks nothing; nobody is blamed for errors above, or for a line that is unfinished behind the
  suffix's rest of it (`def f(<target>)` without a colon yet).
- Where the context is broken, error recovery may count another number of errors for the same damage: the
  lines of the target with the headers that enclose them are free of errors then (the smallest window).

- In C and C++ macros in front of declarations are blanked out; and what the window left out may have misled
  it: a whole context that parses without an error is free of them.

What the Python grammar lets pass is added: a header without a body, an operator at the end of a line.

Measured on 700 statements of seven languages with the cursor at their start or inside, in whole files and in
lines of 6 KB and 3 KB around: 0.14% of the good ones are refused; of those with a bracket or quote lost,
added or doubled that no longer parse, 97% are found.

Not covered: what is grammatical and still no program (a `return` outside of a function, a wrong type).
"""

import re
from collections.abc import Iterator

from echo_ray import syntax, text
from echo_ray.checks.case import NOT_APPLICABLE, PASS, Case, Finding, Verdict
from echo_ray.schema import Drop

_HEADER = re.compile(r"\s*(?:if|elif|else|for|while|def|class|with|try|except|finally|match|case|async)\b")
_OPERATOR_END = re.compile(
    r"(?:[+\-*/%&|^@<>=!:]=|//=?|\*\*=?|<<|>>|[=+\-*/%&|<>.^~]|\b(?:and|or|not|in|is))\Z"
)
_STAR_IMPORT = re.compile(r"\bimport\s*\*\Z")
_OPEN_END = re.compile(r"[(\[{,]\Z")
_MACRO = re.compile(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b(?=[ \t\n]+[A-Za-z_])")
"""What reads as a macro in front of a declaration: `UPB_API bool f();`."""

_TRY = re.compile(r"\btry\b[^\n{]*\{\s*\Z")
_DO = re.compile(r"\bdo\s*\{\s*\Z")


def check(case: Case, tolerance: int = 0) -> Finding:
    """FAIL when the target adds more than `tolerance` syntax errors.

    NOT_APPLICABLE without a target or a grammar.
    """
    if not case.target.strip():
        return NOT_APPLICABLE
    tree = case.spliced
    if tree is None:
        return NOT_APPLICABLE
    if tree.language == "python":  # whose grammar lets these pass
        before = tree.prefix + case.target
        if not case.goes_on and case.target.endswith(":") and lacks_body(before, case.suffix):
            return _fail(case, tree, "header_without_body", "nothing is indented below the header")
        if _stops_short(tree, case):
            return _fail(case, tree, "nothing_follows", "an operator ends the line")
    if not tree.errors:
        return PASS
    return _compared(case, tree, tolerance)


def _compared(case: Case, tree: syntax.Around, tolerance: int) -> Finding:
    """The finding when there are errors somewhere: those of the context, or the target's own."""
    if max(stop for _, stop in syntax.error_spans(tree.parsed)) <= tree.prefix.rfind("\n"):
        return Finding(Verdict.PASS, note="errors above the target only")
    if _is_comment(tree, case.target):
        return Finding(Verdict.PASS, note="a comment")
    cut, context = case.cut, case.context
    assert cut is not None, "there is a tree of what the user wrote, hence of its beginning"
    assert context is not None, "and of nothing"
    limit = _context_errors(case, context)
    known = {start for start, _ in syntax.error_spans(context.parsed)}
    note = f"errors {cut.errors}, context {limit}"
    if _fits(cut, case.target, known, limit, tolerance):
        return Finding(Verdict.PASS, note=note)
    if any(_fits(longer, case.target, known, limit, tolerance) for longer in _longer(case, tree, cut)):
        return Finding(Verdict.PASS, note=f"{note}, none when completed")
    if context.errors:
        if _fits_alone(case):
            return Finding(Verdict.PASS, note=f"{note}, none in its lines")
        if any(_fits(end, case.target, known, limit, tolerance) for end in _finished_behind(cut)):
            return Finding(Verdict.PASS, note=f"{note}, none when the line is finished behind it")
    if _fits_without_macros(cut, context, case.target):
        return Finding(Verdict.PASS, note=f"{note}, none without macros")
    if _fits_whole(case, tree):
        return Finding(Verdict.PASS, note=f"{note}, none in the whole context")
    return _fail(case, cut, "more_errors", note)


def _fits_without_macros(cut: syntax.Around, context: syntax.Around, target: str) -> bool:
    """Whether the target fits when macros in front of declarations, which the C grammars do not know, are
    blanked out.
    """
    if cut.language not in ("c", "cpp"):
        return False
    plain, bare = _plain(cut), _plain(context)
    known = {start for start, _ in syntax.error_spans(bare.parsed)}
    return _fits(plain, target, known, bare.errors, 0)


def _plain(tree: syntax.Around) -> syntax.Around:
    blanked = _MACRO.sub(lambda macro: " " * len(macro.group()), tree.parsed.text)
    parsed = syntax.parse(blanked, tree.language)
    assert parsed is not None, "the language has a grammar: there is a tree already"
    return syntax.Around(tree.prefix, tree.middle, tree.suffix, tree.language, parsed)


def _fits_whole(case: Case, tree: syntax.Around) -> bool:
    """Whether all that is known of the file parses without an error: what was left out misled the window."""
    if tree.language != case.language:
        return False  # a script in a page
    size = case.window_chars
    whole = case.prefix[-size:] + case.target + case.gap + case.suffix[:size]
    return syntax.errors(whole, case.language) == 0


def _is_comment(tree: syntax.Around, target: str) -> bool:
    """Whether nothing but the end of a comment stands in the target."""
    start = tree.cursor + len(target) - len(target.lstrip())
    stop = tree.cursor + len(target.rstrip())
    found = syntax.comment(tree.parsed, start)
    return found is not None and found.stop >= stop and "\n" not in tree.parsed.text[stop : found.stop]


def _fits(tree: syntax.Around, target: str, known: set[int], limit: int, tolerance: int) -> bool:
    """Whether there are no more errors than the context has, and these elsewhere.

    An error that covers the target is elsewhere when it starts above its line, where the context has one too.
    """
    if tree.errors <= tolerance:
        return True
    if tree.errors > limit + tolerance:
        return False
    low, high = tree.cursor + len(target) - len(target.lstrip()), tree.cursor + len(target)
    line = tree.parsed.text.rfind("\n", 0, low) + 1
    return all(
        start > high or stop < low or (start < line and start in known)
        for start, stop in syntax.error_spans(tree.parsed)
    )


def _stops_short(tree: syntax.Around, case: Case) -> bool:
    """Whether the target's last line, outside of all brackets, ends in an operator."""
    stop = tree.cursor + len(case.target.rstrip())
    ending = _OPERATOR_END.search(tree.parsed.text, max(0, stop - 8), stop)
    behind = tree.parsed.text[stop:].partition("\n")[0].strip()
    if ending is None or (behind and behind[0] != "#"):
        return False
    if tree.errors and syntax.error_spans(tree.parsed)[0][0] < tree.cursor:
        return False  # what looks like code may be text
    last = list(syntax.tokens(tree.parsed, stop - 1, stop))
    if (
        not last
        or last[-1].kind != ending.group()
        or _STAR_IMPORT.search(text.current_line(tree.parsed.text[:stop]))
    ):
        return False
    return not syntax.unclosed(tree.parsed, 0, stop)


def lacks_body(before: str, suffix: str) -> bool:
    """Whether the Python header at the end of `before` is followed by nothing that is indented below it."""
    rest, _, below = suffix.partition("\n")
    line = text.current_line(before)
    if rest.strip() or not _HEADER.match(line):
        return False
    following = next((line for line in below.splitlines() if line.strip()), "")
    return len(text.indent_of(following)) <= len(text.indent_of(line))


def _fail(case: Case, tree: syntax.Around, rule: str, note: str) -> Finding:
    start, stop = _touched(tree, case.target) or (None, None)
    return Finding(Verdict.FAIL, rule, Drop.SYNTAX_ERROR, start, stop, note)


def _touched(tree: syntax.Around, target: str) -> tuple[int, int] | None:
    """The part of the target that the first error which touches it covers."""
    low, high = tree.cursor, tree.cursor + len(target)
    for start, stop in syntax.error_spans(tree.parsed):
        if start <= high and stop >= low:
            return max(start, low) - low, min(max(stop, low), high) - low
    return None


def _finished_behind(tree: syntax.Around) -> Iterator[syntax.Around]:
    """The text with something that could follow what the suffix has on the target's last line."""
    rest = tree.suffix.partition("\n")[0]
    if not rest.strip():
        return
    at = len(tree.prefix) + len(tree.middle) + len(rest)
    indent = text.indent_of(text.current_line(tree.prefix))
    for end in (
        (": pass", " x", f"\n{indent}def x(): pass") if tree.language == "python" else (" {}", ";", " x;")
    ):
        parsed = tree.parsed.edited(at, at, end)
        yield syntax.Around(tree.prefix, tree.middle, tree.suffix, tree.language, parsed)


def _fits_alone(case: Case) -> bool:
    """Whether the lines that the target is on, with the headers around them, have no error."""
    newline = case.suffix.find("\n")
    near = len(text.current_line(case.prefix)), newline + 1 if newline >= 0 else len(case.suffix)
    middle = case.target + case.gap
    tree = syntax.around(
        case.prefix, middle, case.suffix, case.language, case.window_chars, near, case.commit
    )
    return tree is not None and not tree.parsed.root.has_error


def _context_errors(case: Case, context: syntax.Around) -> int:
    """Errors of the context as it is, or without the cursor's line, whichever are fewer."""
    if not context.errors or case.target.lstrip(" \t\r").startswith("\n"):
        return context.errors
    line = context.prefix.rfind("\n") + 1
    newline = context.suffix.find("\n")
    stop = len(context.prefix) + (newline if newline >= 0 else len(context.suffix))
    return min(context.errors, context.parsed.edited(line, stop, "").errors)


def _longer(case: Case, tree: syntax.Around, cut: syntax.Around) -> Iterator[syntax.Around]:
    """Texts that begin with the target and go on as the commit does, or as it may have gone on."""
    if not case.goes_on:
        return
    yield tree
    target = case.target
    closing = syntax.unclosed(cut.parsed, cut.cursor, cut.cursor + len(target))
    if cut.language == "python" and target.endswith(":"):
        closing += " pass"
    if target.rfind("/*") > target.rfind("*/"):
        closing += " */"
    if _TRY.search(target):
        closing += " finally {}"
    elif _DO.search(target):
        closing += " while (x);"
    if closing:
        yield cut.spliced(target + closing + case.gap)
    if _OPEN_END.search(target) and "\n" in case.gap:
        yield cut.spliced(target + " x" + closing + case.gap)
    if len(tree.middle) < len(case.commit) <= case.window_chars:
        yield cut.spliced(case.commit)
