"""Other ways to write what a developer means, near to what a suggestion proposes: E(I) of section 3.5.

Lenient developers accept and keep a variant of their intent that means the same. `variants` aligns the tokens
of the suggestion with the beginning of the intent and collects these differences until they part:

- quotation marks of strings without quotes and escapes (Python, JavaScript, TypeScript, Vue scripts);
- the name of a local variable that the intent introduces (its first occurrence in the intent binds it, and
  neither the text before nor after has it), renamed bijectively throughout the intent;
- white space within a line between tokens that stay apart without it;
- the comma after the last element of a bracket that closes on a later line;
- semicolons at line ends of JavaScript and TypeScript;
- the order of keyword arguments of one Python call, when no value calls anything.

All of this is lexical, since both texts begin in the middle of a line and are no complete code; in doubt
there is no variant. None begins within a string or a comment. Not covered: names of parameters, functions,
fields, module-level variables and parts of destructured objects; names in f-strings and template literals
(such variables keep their names); differences of structure (`a += 1` and `a = a + 1`, imports, comments);
anything after the first difference of another kind. Order of keywords changes the order of evaluation and
of `**kwargs`, which counts as equivalent here.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from simulator.rules.equivalence_names import SCRIPTS, Edit, Token, renamable, tokens

MOST = 4
"""Most variants of one intent."""
_QUOTED = SCRIPTS | {"python"}
_C_LIKE = frozenset(("c", "cpp", "java"))
_LANGUAGES = _QUOTED | _C_LIKE | {"go"}
_CLOSERS = {")": "(", "]": "[", "}": "{"}
_PLAIN = re.compile(r"""(['"])([^'"\\\n]*)(['"]?)""")
_CONTINUES = re.compile(r"\s*(?:[(\[`/+\-*.,?:&|<>=%^]|in\b|instanceof\b|as\b|satisfies\b)")
_HEADER = re.compile(r"\s*(?:if|for|while|else|switch|function|do|try|with|class|async|interface|@)\b")


class _Open(NamedTuple):
    """An open bracket: the indices of its tokens, and how much was collected before it."""

    at: int
    of: int
    edits: int
    names: int


def variants(suggestion: str, intent: str, before: str, after: str, language: str) -> tuple[str, ...]:
    """At most four equivalents of `intent` (to be written between `before` and `after`) near `suggestion`.

    The first one follows the suggestion as far as possible. Empty when the suggestion is just the beginning
    of the intent, when they have nothing in common, or when nothing of the above applies.
    """
    if language not in _LANGUAGES or intent.startswith(suggestion.rstrip()):
        return ()
    heads = suggestion.lstrip(" \t")[:1], intent.lstrip(" \t")[:1]
    if heads[0] != heads[1] and _sort(heads[0]) != _sort(heads[1]):
        return ()  # the common case: nothing in common
    reach = int(1.25 * len(suggestion)) + 100
    theirs, ours = tokens(suggestion, language), tokens(intent[:reach], language)
    if reach < len(intent) and ours:
        ours.pop()  # perhaps cut
    found = _Alignment(theirs, ours, suggestion, intent, before, after, language)
    found.run()
    if not (found.edits or found.names) or not _is_code(before, language):
        return ()
    renames = [edit for name in found.names for edit in found.places[name]]
    candidates = [_applied(intent, [*found.edits, *renames])]
    if found.edits and renames:
        candidates += [_applied(intent, found.edits), _applied(intent, renames)]
    elif len(found.names) > 1:
        candidates.append(_applied(intent, found.places[next(iter(found.names))]))
    return tuple(dict.fromkeys(text for text in candidates if text != intent))[:MOST]


def _sort(char: str) -> str:
    """`_` for characters of words, a quotation mark for either, else the character."""
    if char.isalnum() or char in "_$":
        return "_"
    return '"' if char == "'" else char


@dataclass(slots=True)
class _Alignment:
    """The tokens of a suggestion and of an intent side by side, and what makes them equal."""

    theirs: list[Token]
    ours: list[Token]
    suggestion: str
    intent: str
    before: str
    after: str
    language: str
    edits: list[Edit] = field(default_factory=list)
    """Changes of the intent other than renames, in order."""
    names: dict[str, str] = field(default_factory=dict)
    """Names of the intent and what the suggestion calls them."""
    places: dict[str, list[Edit]] = field(default_factory=dict)
    open: list[_Open] = field(default_factory=list)

    def run(self) -> None:
        """Go on while the tokens are equal or equivalent."""
        i = j = 0
        while i < len(self.theirs) and j <= len(self.ours):
            a, b = self.theirs[i], self.ours[j] if j < len(self.ours) else None
            step = self._match(i, j, a, b) or self._mark(i, j, a, b) or self._reordered()
            if step is None:
                return
            i, j = step

    def _match(self, i: int, j: int, a: Token, b: Token | None) -> tuple[int, int] | None:
        if b is None or a.kind != b.kind or (a.text == b.text and a.text in self.names):
            return None
        size = len(self.edits)
        if a.gap != b.gap and not self._spaced(i, j, a, b):
            return None
        if not (a.text == b.text or self._string(i, a, b) or self._name(i, j, a, b)):
            del self.edits[size:]
            return None
        if a.text in _CLOSERS.values():
            self.open.append(_Open(i, j, size, len(self.names)))
        elif a.text in _CLOSERS and self.open:
            self.open.pop()
        return i + 1, j + 1

    def _spaced(self, i: int, j: int, a: Token, b: Token) -> bool:
        """Takes the suggestion's white space before a token when both ways it is the same token."""
        if a.kind == "line" or (a.kind == "comment" and a.gap and b.gap):
            return True  # white space at line ends counts as none
        if self.language in ("javascriptreact", "typescriptreact"):
            return False  # perhaps text between tags
        if j:
            last = self.ours[j - 1]
        elif self.before[-1:].isalnum() or self.before[-1:] == "_":
            last = Token("word", self.before[-1], 0, 0, "")
        else:
            return False  # may be indentation, or within an operator
        brackets = "()[]{},;"
        apart = last.text in brackets or b.text in brackets or (last.kind == "mark") != (b.kind == "mark")
        if last.kind in ("line", "comment") or not apart or "." in (last.text, b.text):
            return False
        if last.kind == "word" and b.text == "(" and self._macro(b):
            return False
        if self.language in SCRIPTS and "/" in self._line_until(b):
            return False  # perhaps a regular expression
        self.edits.append(Edit(b.start - len(b.gap), b.start, a.gap))
        return True

    def _line_until(self, token: Token) -> str:
        line = self.intent[: token.start].rpartition("\n")
        return line[2] if line[1] else self.before.rpartition("\n")[2] + line[2]

    def _macro(self, token: Token) -> bool:
        return self.language in ("c", "cpp") and self._line_until(token).lstrip().startswith("#")

    def _string(self, i: int, a: Token, b: Token) -> bool:
        """The same string between other marks; the suggestion may end within it."""
        if a.kind != "string" or self.language not in _QUOTED:
            return False
        one, other = _PLAIN.fullmatch(a.text), _PLAIN.fullmatch(b.text)
        if one is None or other is None or one[1] == other[1] or other[3] != other[1]:
            return False
        whole = one[3] == one[1] and one[2] == other[2]
        cut = not one[3] and i + 1 == len(self.theirs) and other[2].startswith(one[2])
        if whole or cut:
            self.edits += [
                Edit(b.start, b.start + 1, one[1]),
                Edit(b.stop - 1, b.stop, one[1]),
            ]
        return whole or cut

    def _name(self, i: int, j: int, a: Token, b: Token) -> bool:
        """Another name for a local variable."""
        if a.kind != "word":
            return False
        known = self.names.get(b.text)
        if known is not None:
            return known == a.text
        if (
            i + 1 == len(self.theirs)  # perhaps cut
            or (j == 0 and (self.before[-1:].isalnum() or self.before[-1:] == "_"))
            or a.text in self.names.values()
        ):
            return False
        places = renamable(b.text, a.text, self.intent, self.before, self.after, self.language)
        if not any(place.start == b.start for place in places):
            return False
        self.names[b.text], self.places[b.text] = a.text, places
        return True

    def _mark(self, i: int, j: int, a: Token, b: Token | None) -> tuple[int, int] | None:
        """A comma or semicolon that only one of the two has."""
        if a.text == ";" and self.language in SCRIPTS and (b is None or b.kind == "line"):
            last = self.ours[j - 1] if j else None
            stop = last.stop if last else 0
            if last and self._ends_statement(last, stop):
                self.edits.append(Edit(stop, stop, ";"))
                return i + 1, j
        if b is None:
            return None
        optional = b.text == ";" and self.language in SCRIPTS and a.kind == "line" and j
        if optional and self._ends_statement(self.ours[j - 1], b.stop):
            self.edits.append(Edit(b.start, b.stop, ""))
            return i, j + 1
        if a.text == "," and b.kind == "line" and self._last(self.theirs, i + 1, self.ours, j, j):
            stop = self.ours[j - 1].stop
            self.edits.append(Edit(stop, stop, ","))
            return i + 1, j
        if b.text == "," and a.kind == "line" and self._last(self.theirs, i, self.ours, j + 1, j):
            self.edits.append(Edit(b.start, b.stop, ""))
            return i, j + 1
        return None

    def _ends_statement(self, last: Token, stop: int) -> bool:
        """Whether a semicolon makes no difference after `last`, with the text going on at `stop`."""
        rest = self.intent[stop:] + self.after[:200]
        line = self._line_until(last)
        fine = last.kind in ("word", "number", "string") or last.text in (")", "]")
        if self.open and self.ours[self.open[-1].of].text != "{":
            return False
        newline = not rest or rest.startswith("\n")
        return fine and newline and not _CONTINUES.match(rest) and not _HEADER.match(line.lstrip(" \t}"))

    def _last(self, theirs: list[Token], i: int, ours: list[Token], j: int, comma: int) -> bool:
        """Whether both go on with a line end and the bracket's end, and may have a comma before."""
        if not self.open or i + 1 >= len(theirs) or j + 1 >= len(ours) or not comma:
            return False
        closer, opened = ours[j + 1].text, self.open[-1]
        if theirs[i].text != ours[j].text or theirs[i + 1].text != closer:
            return False
        if _CLOSERS.get(closer) != ours[opened.of].text or self.language == "go":
            return False
        if self.language in _C_LIKE:
            return closer == "}" and any(token.text == "," for token in ours[opened.of : comma])
        inside = ours[opened.of + 1 : comma]
        words = [token.text for token in inside]
        if not words or words[-1] == "," or "for" in words or ";" in words or "..." in "".join(words):
            return False  # generators, blocks, rest patterns
        called = opened.of > 0 and (ours[opened.of - 1].kind == "word" or ours[opened.of - 1].text in ")]")
        several = "," in words
        if closer == ")":
            return called or (several and self.language == "python")
        return several or (closer == "]" and not called)

    def _reordered(self) -> tuple[int, int] | None:
        """The same keyword arguments in another order, where the innermost bracket of both opens."""
        if self.language != "python" or not self.open:
            return None
        opened = self.open[-1]
        name = self.ours[opened.of - 1] if opened.of else None
        if self.ours[opened.of].text != "(" or name is None or name.kind != "word":
            return None
        if opened.names != len(self.names) or (
            opened.of > 1 and self.ours[opened.of - 2].text in ("def", "class")
        ):
            return None
        one, other = _arguments(self.theirs, opened.at), _arguments(self.ours, opened.of)
        if one is None or other is None or one[1] == other[1]:
            return None
        if sorted(one[1]) != sorted(other[1]) or len(set(one[1])) < len(one[1]):
            return None
        named = [part[1:2] == ("=",) and part[2:3] != ("=",) for part in other[1]]
        first = named.index(True) if True in named else len(named)
        if one[1][:first] != other[1][:first] or not all(named[first:]):
            return None
        del self.edits[opened.edits :]
        self.open.pop()
        start, stop = self.ours[opened.of].stop, self.ours[other[0]].start
        text = self.suggestion[self.theirs[opened.at].stop : self.theirs[one[0]].start]
        self.edits.append(Edit(start, stop, text))
        return one[0] + 1, other[0] + 1


def _arguments(code: list[Token], at: int) -> tuple[int, list[tuple[str, ...]]] | None:
    """Where the bracket at `at` closes, and its arguments; None when it does not or when one calls."""
    parts: list[tuple[str, ...]] = []
    part: list[str] = []
    depth = 0
    for index in range(at + 1, len(code)):
        text, kind = code[index].text, code[index].kind
        if kind == "comment" or text in ("(", "for", "await", "yield", "lambda", "*"):
            return None
        if text in ")]}" and kind == "mark":
            if not depth:
                return index, [*parts, tuple(part)]
            depth -= 1
        depth += text in ("[", "{")
        if text == "," and not depth:
            parts.append(tuple(part))
            part = []
        elif kind != "line":
            plain = _PLAIN.fullmatch(text) if kind == "string" else None
            part.append(f"'{plain[2]}'" if plain and plain[3] == plain[1] else text)
    return None


def _applied(text: str, edits: list[Edit]) -> str:
    parts, at = [], 0
    for start, stop, new in sorted(edits):
        if start < at:
            return text  # a rename within replaced arguments
        parts += [text[at:start], new]
        at = stop
    return "".join([*parts, text[at:]])


def _is_code(before: str, language: str) -> bool:
    """Whether what follows `before` is outside of strings and comments, as far as one can see."""
    line = before.rpartition("\n")[2]
    code = tokens(line, language)
    if code:
        last = code[-1]
        if last.kind == "comment" and not last.text.endswith("*/"):
            return False
        if last.kind == "string" and (len(last.text) < 2 or last.text[-1] != last.text[0]):
            return False
    if language == "python":
        return before.count('"""') % 2 == 0 and before.count("'''") % 2 == 0
    if before.rfind("/*") > before.rfind("*/"):
        return False
    if language == "vue" and before.rfind("<script") <= before.rfind("</script"):
        return False
    return language not in SCRIPTS or before.count("`") % 2 == 0
