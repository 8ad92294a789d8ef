"""Where a completion should end, read from its lines, indentation and brackets. Pure; no language is known.

Each function takes a completion and its context and returns what to keep. All are careful in the same way:
where the text alone cannot tell (strings over several lines, brackets that may be words), they keep.

Not covered: languages in which indentation says nothing; a statement that goes on after a blank line without
being indented.
"""

import re

from echo_ray.text import current_line

LEAST_WORD_CHARS = 8
"""Letters and digits that repeated text must have to be more than a common ending (count)."""

SURE_WORD_CHARS = 16
"""The same for one line that is repeated alone, and followed by something else (count)."""

ABOVE_LINES = 3
"""Lines above the cursor that a completion may not merely repeat (count)."""

MAX_HEADER_LINES = 20
"""How far up the opening bracket of what the cursor's line closes is looked for (count)."""

TAB_COLUMNS = 4
"""Width of a tab where it is compared with spaces."""

_BRACKETS = re.compile(r"[()\[\]{}]")
_CLOSES = {")": "(", "]": "[", "}": "{"}
_CLOSER = re.compile(r"\s*(?:[)\]}]|</|/>|-->|\*/|(?:end|fi|done|esac)\b)")
_LOOSE = re.compile(
    # Preprocessor lines and labels stand where they like.
    r"\s*(?:#\s*(?:if|el|end|def|undef|pragma|include|region|error|warning|line)\w*\b|\w[\w ]*:(?!:|=))"
)
_QUOTED = re.compile(
    r"\"\"\".*?\"\"\"|'''.*?'''|/\*.*?\*/|`(?:\\.|[^`\\])*`|(?P<open>(?:\"\"\"|'''|/\*|`).*)"
    r"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'",
    re.DOTALL,
)
_TAG = re.compile(r"\s*<([A-Za-z][\w.:-]*)")


def unmatched(text: str) -> int:
    """Brackets in `text` without a partner (count)."""
    lonely, opened = _unpaired(text)
    return len(lonely) + len(opened)


def caught_up(text: str, prefix: str, suffix: str) -> str:
    """`text` up to where it goes on with what the suffix begins with, whatever it says afterwards.

    Whole lines count, with their indentation. One is enough where `text` ends with it, else two must follow
    each other as in the suffix; together they must say something (`LEAST_WORD_CHARS`).
    """
    rest, *below = suffix.split("\n")
    rest = rest.strip()
    wanted = [line.rstrip() for line in below if line.strip()][:8]
    lines = text.split("\n")
    offset = 0
    for number, line in enumerate(lines):
        if rest:
            at = line.rstrip().rfind(rest)
            if at >= 0 and line.rstrip().endswith(rest) and not _inside_word(line[:at], rest):
                told = _run(lines[number + 1 :], wanted, _words(rest), 1)
                if told:
                    return text[: offset + at]
        elif wanted and line.strip() and (number or not current_line(prefix).strip()):
            whole = line if number else current_line(prefix) + line
            more = lines[number + 1 :]
            # What begins like the suffix may go on otherwise; what is begun twice is not.
            first = number == 0 and not _follows(more, wanted[1:])
            if whole.rstrip() == wanted[0] and not first and _run(more, wanted[1:], _words(whole), 1):
                return text[: max(0, offset - 1)]
        offset += len(line) + 1
    return text


def unit(text: str, prefix: str) -> str:
    """`text` up to the end of the block that the cursor is in: before the first line that is indented less
    than the cursor's, or that begins a second statement at its level after a blank line.

    A line that closes something belongs to the block, and the block ends with it. Nothing ends inside
    brackets that `text` opens, or inside strings and comments over several lines.
    """
    here = current_line(prefix)
    base = _statement_column(prefix) if here.strip() else None
    blank = ended = False
    offset = 0
    for number, line in enumerate(text.split("\n")):
        before, offset = text[:offset], offset + len(line) + 1
        if not line.strip():
            blank = blank or number > 0
            continue
        column = _column(line if number else here + line)
        if base is None:
            base = column
        elif number and column <= base and not _is_inside(before, text[len(before) :], prefix):
            closes = _CLOSER.match(line) is not None
            second = blank and bool(before.strip()) and not closes
            if (column < base and not closes and not _LOOSE.match(line)) or second or (ended and not closes):
                return before
            if column < base and closes:
                base, ended = column, True
        blank = False
    return text


def first_lines(text: str, max_lines: int) -> str:
    """The first `max_lines` lines of `text`, blank ones before its first line not counted."""
    lines = text.split("\n")
    lead = next((number for number, line in enumerate(lines) if line.strip()), 0)
    return "\n".join(lines[: lead + max_lines])


def closed(text: str, prefix: str, suffix: str) -> str:
    """`text` without brackets that fit nowhere: up to a closing one without which everything is closed, and
    up to the last line behind which nothing that `text` opens is open.

    Where no line ends like this the text stays: the header of a block alone is a good answer.
    """
    lonely, opened = _unpaired(text)
    if lonely and unmatched(prefix + text + suffix):
        for at in lonely:
            if not unmatched(prefix + text[:at] + suffix):
                text = text[:at]
                opened = _unpaired(text)[1]
                break
    if not opened or not _opened(text) or "\n" not in text:
        return text
    if unmatched(prefix + text + suffix) <= unmatched(prefix + suffix):
        return text  # the suffix closes it
    end = text.rfind("\n")
    while end > 0:
        if text[:end].strip() and not _opened(text[:end]):
            return text[:end]
        end = text.rfind("\n", 0, end)
    return text


def repeats_above(text: str, prefix: str) -> bool:
    """Whether the cursor's line and `text` only say again what the last lines above say, in their order."""
    above = [line.strip() for line in prefix.rpartition("\n")[0].split("\n")[-40:] if line.strip()]
    said = [line.strip() for line in (current_line(prefix) + text).split("\n") if line.strip()]
    if not said or not above or sum(map(_words, said)) < LEAST_WORD_CHARS:
        return False
    last = above[-ABOVE_LINES:]
    if len(said) <= len(last):
        return said == last[-len(said) :]
    return any(
        said == (last[-size:] * (len(said) // size + 1))[: len(said)] for size in range(1, len(last) + 1)
    )


def _run(lines: list[str], wanted: list[str], words: int, count: int) -> bool:
    """Whether `lines` go on with `wanted` far enough, after `count` lines with `words` that did."""
    told = [line.rstrip() for line in lines if line.strip()]
    for line, other in zip(told, wanted, strict=False):
        last = line is told[-1]
        if line != other and not (last and other.startswith(line)):
            break
        words, count = words + _words(line), count + 1
    return words >= (LEAST_WORD_CHARS if count >= 2 or not told else SURE_WORD_CHARS)


def _follows(lines: list[str], wanted: list[str]) -> bool:
    """Whether `lines` say nothing but what `wanted` begins with; the last one may break off."""
    told = [line.rstrip() for line in lines if line.strip()]
    whole, last = told[:-1], "".join(told[-1:])
    return whole == wanted[: len(whole)] and "".join(wanted[len(whole) : len(told)]).startswith(last)


def _is_inside(before: str, after: str, prefix: str) -> bool:
    """Whether the end of `before` lies in brackets, or in a string, comment or element over several lines,
    that it opens itself, or in such a string or comment that `prefix` opens.
    """
    if _opened(before):
        return True
    fence = next((mark for mark in ('"""', "'''") if prefix.count(mark) % 2), None)
    if fence is not None and before.count(fence) % 2 == 0:
        return True
    comment = prefix.rfind("/*")
    if comment > prefix.rfind("*/") and "*/" not in before:
        return True
    if fence is None and any(found["open"] for found in _QUOTED.finditer(before)):
        return True
    tag = _TAG.match(current_line(prefix) + before)
    return tag is not None and f"</{tag[1]}" not in before and f"</{tag[1]}" in after


def _opened(text: str) -> bool:
    """Whether `text` opens a bracket that it does not close, with strings and without them."""
    return bool(_unpaired(text)[1] and _unpaired(_QUOTED.sub("", text))[1])


def _unpaired(text: str) -> tuple[list[int], list[int]]:
    """Offsets of (closing, opening) brackets in `text` without a partner."""
    opened: list[tuple[str, int]] = []
    lonely = []
    for found in _BRACKETS.finditer(text):
        bracket = found.group()
        if bracket not in _CLOSES:
            opened.append((bracket, found.start()))
        elif opened and opened[-1][0] == _CLOSES[bracket]:
            opened.pop()
        else:
            lonely.append(found.start())
    return lonely, [at for _, at in opened]


def _statement_column(prefix: str) -> int:
    """Where the cursor's line begins (columns), or the line that opens what this one closes, as the end of a
    header over several lines does.
    """
    start = prefix.rfind("\n") + 1
    for _ in range(MAX_HEADER_LINES):
        if not start or not _unpaired(_QUOTED.sub("", prefix[start:]))[0]:
            break
        start = prefix.rfind("\n", 0, start - 1) + 1
    return _column(prefix[start:].partition("\n")[0])


def _column(line: str) -> int:
    lead = line[: len(line) - len(line.lstrip(" \t"))]
    return len(lead.replace("\t", " " * TAB_COLUMNS))


def _words(line: str) -> int:
    return sum(map(str.isalnum, line))


def _inside_word(left: str, right: str) -> bool:
    return bool(left and right) and all(one.isalnum() or one == "_" for one in (left[-1], right[0]))
