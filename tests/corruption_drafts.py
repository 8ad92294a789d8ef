"""How a case of the corruption suite is made from a place in a real file: one function for each way.

A maker takes a file, its sites and a source of randomness and returns a draft, or None where the draw does
not fit; it is drawn again then. Clean drafts keep the real text. What each fault is, and what is left out,
says `tests.corruption`.
"""

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from echo_ray.schema import LastEdit
from tests import corruption_faults as faults
from tests.corruption_sources import Site, Source, compiles

WINDOW = (4_500, 1_500)
"""Characters of a window before and after the cursor."""


class Draft(NamedTuple):
    """A whole file with a gap: `[start, stop)` gives way to `target`; a null commit is the target."""

    kind: str
    start: int
    stop: int
    target: str
    commit: str | None = None
    last_edit: LastEdit | None = None
    whole: bool | None = None
    """Only as whole file (true), only as window (false)."""


Maker = Callable[[Source, Sequence[Site], Random], Draft | None]


# Clean drafts: the real text at natural places.


def _unit(source: Source, site: Site) -> tuple[str, str]:
    """Target and commit of a site: a long compound statement is aimed at by its header."""
    text = source.text
    if site.header is not None:
        return text[site.start : site.header].rstrip(), text[site.start : site.stop]
    return text[site.start : site.stop], text[site.start : site.stop]


def statement(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    site = random.choice(places)
    target, commit = _unit(source, site)
    if site.header is None and random.random() < 0.3:
        return Draft("statement", site.start, site.after, target, source.text[site.start : site.after])
    return Draft("statement", site.start, site.stop, target, commit)


def middle(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    site = random.choice(places)
    target, commit = _unit(source, site)
    first = target.partition("\n")[0]
    cuts = [found.start() for found in re.finditer(r"\b|(?<=[(\[{,=.])", first)]
    cut = random.choice([*cuts, *range(1, len(first))] or [0])
    if not 0 < cut < len(first) or first[:cut].strip() in ("", "return"):
        return None
    return Draft("middle", site.start + cut, site.stop, target[cut:], commit[cut:])


def behind(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    """The cursor stands behind the header or opener, the target starts with the line break."""
    site = random.choice(places)
    line = source.text.rfind("\n", 0, site.start)
    before = source.text[:line].rstrip(" ") if line > 0 else ""
    if not re.search(r"[^\s{(:][ \t]*[{(]\Z|[\w)\]]:\Z", before) or before[-1:] != source.text[line - 1]:
        return None
    if _commented(source.text, line):
        return None
    target, commit = _unit(source, site)
    gap = source.text[line : site.start]
    return Draft("behind_header", line, site.stop, gap + target, gap + commit)


def header(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    headed = [site for site in places if site.header is not None]
    if not headed:
        return None
    site = random.choice(headed)
    target, commit = _unit(source, site)
    return Draft("header", site.start, site.stop, target, commit)


def inner(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    """The arguments of a call whose closing bracket the editor has set."""
    site = random.choice(places)
    target = _unit(source, site)[0]
    found = random.choice([*re.finditer(r"(?<=\w\()([^()\n]{3,})(?=\))", target)] or [None])
    if found is None or target[: found.start()].count('"') % 2 or target[: found.start()].count("'") % 2:
        return None
    start = site.start + found.start()
    return Draft("arguments", start, start + len(found.group()), found.group())


def silence(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    """Nothing is missing: behind a statement, or on an empty line above one."""
    site = random.choice(places)
    edit = random.choice((None, LastEdit.INSERTED, LastEdit.DELETED, LastEdit.MOVED))
    if random.random() < 0.6:
        return Draft("void_behind", site.stop, site.stop, "", last_edit=edit)
    above = source.text.rfind("\n", 0, site.start)
    blank = above > 0 and source.text[above - 1] == "\n" and not _commented(source.text, above)
    return Draft("void_blank", above, above, "", last_edit=edit) if blank else None


def still(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    """Nothing is missing at the end of a comment."""
    found = random.choice(_comments(source) or [None])
    return None if found is None else Draft("void_comment", found.end(), found.end(), "")


# Faults.


def deletion(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    draft = random.choice((statement, middle))(source, places, random)
    return draft and draft._replace(kind="deletion", last_edit=LastEdit.DELETED)


def navigation(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    draft = random.choice((statement, middle))(source, places, random)
    return draft and draft._replace(kind="navigation", last_edit=LastEdit.MOVED)


def prose(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    found = random.choice(_comments(source) or [None])
    if found is None:
        return None
    words = [word.start() for word in re.finditer(r" (?=[A-Za-z])", found.group())]
    cut = found.start() + random.choice(words[1:-1] or [0])
    if cut == found.start():
        return None
    return Draft("comment", cut, found.end(), source.text[cut : found.end()])


def finished(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    site = random.choice(places)
    simple = re.search(r"statement|declaration|assignment|call", site.kind) and site.header is None
    if not simple or site.after == site.stop or re.search(r"(?:method|function|class|interface)", site.kind):
        return None
    if "\n" in source.text[site.start : site.stop] or site.after - site.stop > 200:
        return None
    target = source.text[site.stop : site.after]
    return Draft("finished", site.stop, site.after, target) if target.count("\n") <= 6 else None


def missing(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    site = random.choice(places)
    if site.header is not None or "\n" in source.text[site.start : site.stop]:
        return None
    statement = source.text[site.start : site.stop]
    found = random.choice(
        [*re.finditer(r"(?:[^=!<>]=|[+*/(]|(?<!\.)\.(?!\.)|\b(?:and|or|in|return)\b) ?", statement)] or [None]
    )
    if found is None:
        return None
    # What the editor has closed behind the cursor stays.
    closing = faults.closing(statement[: found.end()])
    rest = re.search(rf"{re.escape(closing)}[;,]?\Z", statement)
    if rest is None or rest.start() <= found.end() or faults.in_string(statement, found.end()):
        return None
    return _unless_compiles(source, Draft("missing", site.start + found.end(), site.start + rest.start(), ""))


def broken(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    draft = random.choice((statement, middle))(source, places, random)
    if draft is None or draft.commit is None or not draft.commit.startswith(draft.target):
        return None
    spoilt = faults.broken(draft.target, random)
    if spoilt is None:
        return None
    kind, target = spoilt
    if not target.strip():
        return None
    return _unless_compiles(
        source, draft._replace(kind=kind, target=target, commit=target + draft.commit[len(draft.target) :])
    )


def indented(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    if source.grammar != "python":
        return None
    draft = statement(source, places, random)
    if draft is None or draft.commit is None:
        return None
    line = source.text.rfind("\n", 0, draft.start) + 1
    target = faults.indented(source.text[line : draft.start], draft.target, random)
    commit = target + draft.commit[len(draft.target) :]
    return _unless_compiles(source, Draft("indent", line, draft.stop, target, commit))


def sentinel(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    draft = random.choice((statement, middle))(source, places, random)
    if draft is None:
        return None
    target = faults.with_sentinel(draft.target, random)
    return draft._replace(kind="sentinel", target=target, commit=target)


def undefined(source: Source, places: Sequence[Site], random: Random, stranger: str) -> Draft | None:
    draft = statement(source, places, random)
    target = draft and faults.undefined(source, draft.start, draft.target, stranger, random)
    if draft is None or target is None:
        return None
    commit = target + (draft.commit or "")[len(draft.target) :]
    return draft._replace(kind="undefined", target=target, commit=commit, whole=True)


def misspelt(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    draft = random.choice((statement, middle))(source, places, random)
    if draft is None:
        return None
    near = source.text[max(0, draft.start - WINDOW[0]) : draft.start], source.text[draft.stop :][: WINDOW[1]]
    target = faults.misspelt(source, draft.start, draft.target, near, random)
    if target is None:
        return None
    return draft._replace(
        kind="inconsistent", target=target, commit=target + (draft.commit or "")[len(draft.target) :]
    )


def again(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    """The target goes on with the next statement, which the suffix has."""
    site = random.choice(places)
    following = source.text[site.stop : site.after]
    if site.header is not None or len(re.findall(r"\w", following)) < 8 or following.count("\n") > 4:
        return None
    if following.strip() == source.text[site.start : site.stop].strip():
        return None
    draw = random.random()
    if draw < 0.3:
        return Draft("suffix_only", site.start, site.stop, following.strip())
    if draw < 0.5:
        # The model ran out of tokens in the middle of the repetition.
        words = [found.end() for found in re.finditer(r"\w+", following)]
        following = following[: random.choice(words[len(words) // 2 :])]
        if len(re.findall(r"\w", following)) < 8:
            return None
    return Draft("suffix_lines", site.start, site.stop, source.text[site.start : site.stop] + following)


def rest(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    """The target says the rest of the line, which the suffix has."""
    site = random.choice(places)
    statement = source.text[site.start : site.stop]
    cuts = [found.end() for found in re.finditer(r"[=(,] ?", statement)]
    if "\n" in statement or not cuts:
        return None
    cut = random.choice(cuts)
    if len(re.findall(r"\w", statement[cut:])) < 5 or faults.in_string(statement, cut):
        return None
    start = site.start + cut
    return _unless_compiles(source, Draft("suffix_rest", start, start, statement[cut:]))


def closed_twice(source: Source, places: Sequence[Site], random: Random) -> Draft | None:
    """The editor has closed the bracket or quote, the target closes it again."""
    site = random.choice(places)
    statement = source.text[site.start : site.stop]
    closers = re.search(r"[)\]};\"'`]*[)\]}\"'`][;,]?\Z", statement)
    if "\n" in statement or closers is None:
        return None
    opened = [found.end() for found in re.finditer(r"[(\[{\"'`]", statement[: closers.start()])]
    if not opened:
        return None
    cut = random.choice(opened)
    target = statement[cut:]
    kept = random.randrange(closers.start(), len(statement.rstrip(";,")))
    return _unless_compiles(source, Draft("brackets", site.start + cut, site.start + kept, target))


def _unless_compiles(source: Source, draft: Draft) -> Draft | None:
    """`draft` if the whole file is broken with its target, with its whole commit, and with the brackets
    closed that the target opens: a header that is only not finished is no fault.
    """
    closed = draft.target + (" pass" if draft.target.endswith(":") else "") + faults.closing(draft.target)
    for middle in sorted({draft.target, closed, draft.target if draft.commit is None else draft.commit}):
        text = source.text[: draft.start] + middle + source.text[draft.stop :]
        if compiles(text, source, source.start, len(source.text) - source.stop):
            return None
    return draft


def _comments(source: Source) -> list[re.Match[str]]:
    """Prose of at least five words in line comments that stand alone on their lines."""
    sign = "#" if source.grammar == "python" else "//"
    pattern = re.compile(rf"^[ \t]*{sign} [A-Z][a-z]+(?: [A-Za-z][a-z'-]*,?){{4,}}[.:]?$", re.MULTILINE)
    found = list(pattern.finditer(source.text, source.start, source.stop))
    return [match for match in found if _commented(source.text, match.end())]


def _commented(text: str, offset: int) -> bool:
    line = text[text.rfind("\n", 0, offset) + 1 : offset].lstrip()
    quoted = text.count('"""', 0, offset) % 2 or text.count("'''", 0, offset) % 2
    return line.startswith(("#", "//", "*", "/*")) and not quoted


def indent(text: str, offset: int) -> str:
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    return line[: len(line) - len(line.lstrip())]
