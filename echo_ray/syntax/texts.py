"""Where strings and comments of many lines begin and end, told by counting their delimiters.

A window of a file that begins inside such a text takes prose for code. The delimiters before it tell: after
an odd number of triple quotes (or backticks) one is inside, unless the first of them already closed what a
client had cut off. Offsets count characters.

Not covered: delimiters that are themselves inside another string or comment.
"""

import re

_TICKS = frozenset({"go", "javascript", "javascriptreact", "typescript", "typescriptreact"})
_BEFORE_STRING = re.compile(r"(?:^|[=(\[{,:+%]|\breturn|\bin|\band|\bor|\bnot)\s*[rRbBuUfF]{0,2}\Z")


def out_of(prefix: str, start: int, language: str) -> tuple[int, tuple[int, int] | None]:
    """`start`, or the line after the string or comment that it lies in.

    Where that goes on to the cursor, the span of the line on which it begins is the second value.
    """
    for opening, closing in _texts(language):
        last = prefix.rfind(opening, 0, start)
        if last < 0:
            continue
        if opening == closing:
            first = prefix.find(opening, 0, start)
            inside = prefix.count(opening, 0, start) % 2 == _opens(prefix, first, opening)
        else:
            inside = last > prefix.rfind(closing, last, start)
        if not inside:
            continue
        end = prefix.find(closing, start)
        if end >= 0:
            newline = prefix.find("\n", end)
            return (newline + 1 if newline >= 0 else end + len(closing)), None
        return start, (prefix.rfind("\n", 0, last) + 1, min(prefix.find("\n", last) + 1, start))
    return start, None


def in_cut_off(prefix: str, suffix: str) -> bool:
    """Whether a Python prefix lies wholly in a string that begins before it, as the suffix tells."""
    if '"""' in prefix or "'" * 3 in prefix:
        return False
    found = re.search("\"\"\"|'''", suffix)
    line = "x\n" + prefix.rpartition("\n")[2]
    return found is not None and not _opens(line + suffix, len(line) + found.start(), found.group())


def _opens(text: str, at: int, quote: str) -> bool:
    """Whether the first triple quote (or backtick) of a text that may begin anywhere opens a string."""
    line = text.rfind("\n", 0, at) + 1
    rest = text[at + len(quote) : text.find("\n", at) if "\n" in text[at:] else len(text)]
    if not _BEFORE_STRING.search(text[line:at]):
        return quote == "`" and quote in rest
    if rest.strip(" \t);,."):
        return True
    if not line:
        return (count := text.count(quote)) == 1 or count % 2 == 0
    if all(not above or above[0] == "#" for above in text[:line].split("\n")):
        return True
    return text[:line].rstrip().endswith((":", "(", "=", ",", "{", "["))


def before(head: str, suffix: str, stop: int, language: str) -> tuple[int, tuple[int, int] | None]:
    """`stop`, or the line start before the string or comment that it lies in.

    Where that has begun before the suffix, the span of the line on which it ends is the second value.
    """
    for opening, closing in _texts(language):
        begun = suffix.rfind(opening, 0, stop)
        if opening == closing:
            inside = (head.count(opening) + suffix.count(opening, 0, stop)) % 2 == 1
        else:
            inside = begun > suffix.rfind(closing, 0, stop)
            if begun < 0 and suffix.find(closing, 0, stop) < 0:
                inside = head.rfind(opening) > head.rfind(closing)
        if not inside:
            continue
        begins = suffix.rfind("\n", 0, max(0, begun)) + 1
        if begins:
            return begins, None
        end = suffix.find(closing, stop)
        if end >= 0:
            newline = suffix.find("\n", end) + 1
            return stop, (suffix.rfind("\n", 0, end) + 1, newline or len(suffix))
    return stop, None


def _texts(language: str) -> tuple[tuple[str, str], ...]:
    """Delimiters of what may hold any characters over many lines."""
    if language == "python":
        return ('"""', '"""'), ("'''", "'''")
    if language == "vue":
        return (("<!--", "-->"),)
    return (("/*", "*/"), ("`", "`")) if language in _TICKS else (("/*", "*/"),)
