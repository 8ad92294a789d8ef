"""Syntax trees of half-written code, by VS Code language id (used by paper 4.3 and 4.4).

Offsets count characters. Trees never fail: broken code gives ERROR and MISSING nodes, and most windows of a
file have some, so an absolute count means little and callers compare two, from the same window (`Around`).

Vue files are parsed as the language of the `<script>` that the cursor is in, else as a Vue template
(tree-sitter's Vue grammar leaves scripts unparsed).

Not covered: names, types, anything that a grammar does not see; CSS inside Vue files.
"""

import re

from echo_ray import text as lines
from echo_ray.syntax import texts, window
from echo_ray.syntax.tree import (
    GRAMMARS,
    Parsed,
    atom_node,
    parse,
)

_SCRIPT = re.compile(r"<script\b[^>]*>", re.IGNORECASE)
_TAG_LINE = re.compile(r"^\s*</?[A-Za-z]|^\s*/?>\s*$", re.MULTILINE)
_SECTION = re.compile(r"<(script|template|style)\b", re.IGNORECASE)


class Around:
    """`prefix + middle + suffix`, reduced to the window and language that was parsed."""

    __slots__ = ("language", "middle", "parsed", "prefix", "suffix")

    def __init__(self, prefix: str, middle: str, suffix: str, language: str, parsed: Parsed) -> None:
        self.prefix = prefix
        self.middle = middle
        self.suffix = suffix
        self.language = language
        self.parsed = parsed

    @property
    def cursor(self) -> int:
        """Where `middle` begins."""
        return len(self.prefix)

    @property
    def errors(self) -> int:
        """Number of ERROR and MISSING nodes in the window."""
        return self.parsed.errors

    def spliced(self, middle: str) -> "Around":
        """The same window with another middle, parsed from this tree."""
        if middle == self.middle:
            return self
        parsed = self.parsed.edited(self.cursor, self.cursor + len(self.middle), middle)
        return Around(self.prefix, middle, self.suffix, self.language, parsed)


def around(
    prefix: str,
    middle: str,
    suffix: str,
    language: str,
    window_chars: int,
    near: tuple[int, int] = (window.NEAR_BEFORE, window.NEAR_AFTER),
    filling: str | None = None,
) -> Around | None:
    """Parse the surroundings of a gap; None when the language has no grammar here.

    About `window_chars` characters are looked at on each side, and of these only what `syntax_window` leaves
    is parsed; `near` says how much before and after the cursor it keeps whole, `filling` what really stands
    in the gap when `middle` is only the beginning of it. Should the window still start inside a multi-line
    string, code looks like text: when the gap seems to lie in such a string, the text up to the supposed
    opening quote is left out if this gives fewer errors.
    """
    prefix, suffix, language = _embedded(prefix, suffix, language)
    if language not in GRAMMARS:
        return None
    if language == "python" and texts.in_cut_off(prefix, suffix):
        prefix = f'"""\n{lines.tail(prefix, near[0])}'
    else:
        prefix = window.before(prefix, language, window_chars, near[0])
    filled = middle if filling is None else filling
    suffix = window.after(prefix, filled, suffix, language, window_chars, near[1])
    parsed = Parsed(prefix + middle + suffix, GRAMMARS[language])
    if parsed.root.has_error:
        node = atom_node(parsed, len(prefix))
        if node is not None and "string" in node.type:
            start, cursor = parsed.char(node.start_byte), len(prefix)
            if start < cursor and "\n" in prefix[start:]:
                opening = node.child(0) if node.child_count else None
                rest = prefix[parsed.char(opening.end_byte) if opening else start + 1 :]
                again = Parsed(rest + middle + suffix, GRAMMARS[language])
                if again.errors < parsed.errors:
                    prefix, parsed = rest, again
    return Around(prefix, middle, suffix, language, parsed)


def errors(text: str, language: str) -> int | None:
    """Number of ERROR and MISSING nodes in `text`; None when the language has no grammar here."""
    parsed = parse(text, language)
    if parsed is None:
        return None
    found = parsed.errors
    if language == "vue":
        for opened in _SCRIPT.finditer(text):
            script = text[opened.end() :].partition("</script>")[0]
            found += Parsed(script, GRAMMARS[_script_language(opened.group())]).errors
    return found


def _embedded(prefix: str, suffix: str, language: str) -> tuple[str, str, str]:
    """The script around the cursor of a Vue file and its language; anything else unchanged."""
    if language != "vue":
        return prefix, suffix, language
    opened = next(reversed(list(_SCRIPT.finditer(prefix))), None)
    closed = suffix.find("</script>")
    if opened is None:
        # The window may start inside the script: then it sees the end tag and no section before it.
        after = _SECTION.search(suffix)
        if _SECTION.search(prefix) or (after is not None and (closed < 0 or after.start() < closed)):
            return prefix, suffix, language
        inside = closed >= 0 or not _looks_like_markup(prefix, suffix)
        return (
            (prefix, suffix[:closed] if closed >= 0 else suffix, "typescript")
            if inside
            else (prefix, suffix, language)
        )
    if "</script>" in prefix[opened.end() :]:
        return prefix, suffix, language
    inner = suffix[:closed] if closed >= 0 else suffix
    return prefix[opened.end() :], inner, _script_language(opened.group())


def _looks_like_markup(prefix: str, suffix: str) -> bool:
    near = prefix[-window.NEAR_BEFORE :] + suffix[: window.NEAR_AFTER]
    return not near.strip() or _TAG_LINE.search(near) is not None


def _script_language(tag: str) -> str:
    found = re.search(r"""lang\s*=\s*['"](tsx?)['"]""", tag)
    if found is None:
        return "javascript"
    return "typescriptreact" if found.group(1) == "tsx" else "typescript"
