"""What the target says again although the suffix says it, and special tokens written as text.

A model that does not look at the suffix goes on with it. Three ways, each told by a comparison of text first,
and by the tree only where the comparison is not enough:

1. Lines: the last lines of the target are the first lines of the suffix; the last of them may break off. Code
   repeats itself honestly (`}`, `return`, `i++;`), so the repeated lines must say something
   (`LEAST_WORD_CHARS` letters and digits; half of that at the same indentation behind a line that does not
   repeat), or the text must have fewer syntax errors without them. Measured on 7,808 real statements of
   seven languages: one is followed by itself.
2. The line: the target ends with what the rest of the cursor's line begins with. If that is all of the rest
   and says something, or if the text has fewer errors without it: a repetition.
3. Brackets and quotes: the same, where the repeated text only closes (an editor that closes brackets itself
   has them in the suffix).

Special tokens: those that open, divide and end the prompts of the published code models, unless the file
itself talks about them.

Not covered: repetition of the prefix; repetition with changes.
"""

import re

from echo_ray import text
from echo_ray.checks.case import NOT_APPLICABLE, PASS, Case, Finding, Verdict
from echo_ray.schema import Drop

LEAST_WORD_CHARS = 8
"""Letters and digits that repeated text must have to be more than a common ending (count)."""

REACH_CHARS = 400
"""Characters of the suffix that are compared, beyond the target's length."""

_CLOSERS = re.compile(r"[\s)\]};,>\"'`/]+\Z")
_LINE = re.compile(r"^[ \t]*(?=\S)", re.MULTILINE)
_TOKENS = re.compile(
    r"""<[|\uff5c](?:
          (?:fim|FIM)[_\u2581-](?:prefix|suffix|middle|pad|begin|hole|end|PREFIX|SUFFIX|MIDDLE)
        | endof(?:text|prompt|file) | (?:begin|end)[_\u2581]of[_\u2581](?:text|sentence|sequence)
        | (?:im|header|object_ref|box|quad|vision|turn|channel|message)_(?:start|end|id|sep)
        | (?:start|end)_header_id | eo[tms](?:_id)? | (?:begin|end)_of_(?:turn|sentence)
        | (?:repo|file|jupyter|issue|code)_?(?:name|separator|sep|start|end|output)
        | User | Assistant | EOT | user | assistant | system | endofturn | pad | padding
        | echo_spm | commit_(?:before|msg|after) | python_tag
        )[|\uff5c]>
      | <(?:fim[_-](?:prefix|suffix|middle|pad) | file_sep | repo_name | gh_stars | reponame | issue_start
        | commit_(?:before|msg|after) | jupyter_(?:start|text|code|output) | start_of_turn | end_of_turn
        | unused\d+ | EOD | empty_output | pr_(?:base|diff))>
      | \u2581?<(?:PRE|SUF|MID|EOT|BOS|EOS)> | \[/?INST\] | <</?SYS>>
      | \[(?:PREFIX|SUFFIX|MIDDLE)\] | </s>""",
    re.VERBOSE,
)
_MARKUP = frozenset(
    ("html", "vue", "javascriptreact", "typescriptreact", "svelte", "markdown", "javascript", "xml")
)


def sentinel(case: Case) -> Finding:
    """FAIL when the target holds a special token of a model, unless the context holds it too."""
    if not case.target:
        return NOT_APPLICABLE
    if "<" not in case.target and "[" not in case.target:
        return PASS
    for match in _TOKENS.finditer(case.target):
        token = match.group()
        if token.startswith("</s") and case.language in _MARKUP:
            continue  # a strikethrough
        word = token.strip("[]") if token[0] == "[" else token
        if word in case.prefix or word in case.suffix:
            continue
        return Finding(Verdict.FAIL, "special_token", Drop.SYNTAX_SENTINEL, *match.span(), note=token)
    return PASS


def check(case: Case) -> Finding:
    """FAIL when the target ends with what the suffix begins with, and should not."""
    target = case.target.rstrip()
    ahead = case.suffix[: REACH_CHARS + len(target)]
    rest = ahead.partition("\n")[0].strip()
    ahead = ahead.lstrip()
    if not target or not ahead:
        return NOT_APPLICABLE
    at = _overlap(target, ahead)
    if at is None:
        at = None if rest else _same_lines(target, ahead)
        if at is None:
            return PASS
    found = _same_line(case, target, at, rest) if rest else _next_lines(case, target, at, ahead)
    return found or PASS


def _overlap(target: str, ahead: str) -> int | None:
    """Where the longest end of `target` that `ahead` begins with starts, at a word's start; None for none."""
    at = target.find(ahead[0])
    while at >= 0:
        if ahead.startswith(target[at:]) and not (at and _is_word(target[at]) and _is_word(target[at - 1])):
            return at
        at = target.find(ahead[0], at + 1)
    return None


def _same_lines(target: str, ahead: str) -> int | None:
    """The same by whole lines, their indentation and blank lines between them left out."""
    if "\n" not in target:
        return None
    lines = [line.strip() for line in ahead.split("\n") if line.strip()]
    starts = [match.start() for match in _LINE.finditer(target)]
    for number, start in enumerate(starts):
        own = [target[other:].partition("\n")[0].strip() for other in starts[number:]]
        if own == lines[: len(own)]:
            return start
    return None


def _same_line(case: Case, target: str, at: int, rest: str) -> Finding | None:
    repeated = target[at:]
    says = _says(repeated)
    if says >= LEAST_WORD_CHARS and len(repeated) >= len(rest):
        return _found(target, at, "rest_of_line")
    needless = _fewer_errors(case, target[:at])
    if not says and _CLOSERS.match(repeated):
        only = not target[:at].strip()
        return _found(target, at, "closers") if needless or (needless is None and only) else None
    return _found(target, at, "rest_of_line") if needless else None


def _next_lines(case: Case, target: str, at: int, ahead: str) -> Finding | None:
    before, repeated = target[:at], target[at:]
    if "\n" not in before:
        before = text.current_line(case.prefix) + before
    indent = before.rpartition("\n")[2]
    only = not target[:at].strip()
    closes = _CLOSERS.match(repeated) is not None
    if indent.strip() and not closes:
        return None  # the repeated text begins in the middle of a line: another line that ends alike
    if only and len(case.commit.rstrip()) > len(target):
        return None  # what the user wrote goes on before the suffix does
    said = _says(repeated)
    full = ahead[len(repeated) : len(repeated) + 1] in ("", "\n") or not ahead.startswith(repeated)
    alike = case.suffix[: case.suffix.find(ahead[0])].rpartition("\n")[2] == indent
    if said >= LEAST_WORD_CHARS and (full or not only):
        return _found(target, at, "next_lines")
    if said >= LEAST_WORD_CHARS // 2 and full and alike and not only:
        return _found(target, at, "next_lines")
    needless = _fewer_errors(case, target[:at]) if closes or not only else False
    if needless or (needless is None and closes and only):
        return _found(target, at, "closers" if closes else "next_lines")
    return None


def _says(repeated: str) -> int:
    return sum(map(_is_word, repeated))


def _fewer_errors(case: Case, shorter: str) -> bool | None:
    """Whether the text has fewer syntax errors with the `shorter` target; None without a grammar."""
    tree = case.spliced
    if tree is None:
        return None
    return bool(tree.errors) and tree.spliced(shorter).errors < tree.errors


def _found(target: str, at: int, rule: str) -> Finding:
    if rule != "closers":
        return Finding(Verdict.FAIL, rule, Drop.REPEAT_SUFFIX, at, len(target), "the suffix says it")
    note = f"the suffix has {' '.join(target[at:].split())[:40]!r}"
    return Finding(Verdict.FAIL, rule, Drop.REPEAT_BRACKETS, at, len(target), note)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
