"""The labelled corruption suite: what verification must refuse, and what it must let through.

Every case is real code (`corruption_sources`): a file is cut at a place where a developer could stand, and
either the real text is the target (clean), or the target or the circumstances are spoilt in one known way.
The label comes from how a case was made and from whole files that compile or do not (Python: the
interpreter's own parser; otherwise tree-sitter's error count of the whole file), never from the rules of
`echo_ray.checks`; the issue's text says what is a fault. Half of the contexts are whole files, half windows
of 4,500 + 1,500 characters that start anywhere, also in the middle of a word; the flags that say so are
given or left out. Everything follows from the repositories' names and one seed.

Faults (group: kinds):
- void: code after a deletion, code after navigation, prose of a comment, code after a finished statement
  (from its end over the line end), nothing where the file does not compile without something.
- syntax: a bracket or quote lost or added, an operator doubled, an operand lost, a keyword misspelt, a wrong
  indentation, a special token of a model; all but the last must not compile.
- name: in whole files that import no `*` a used local name is replaced by one of another file that stands
  nowhere in this one (Java, Go, C and C++: variables only, since functions and types of a package need no
  definition in the file); everywhere a name that the context writes at least twice gets one slip.
- repeat: the target goes on with the suffix's next lines, with the rest of the suffix's line, or with the
  closers that the suffix has.
- secret, pii, malicious: a statement gives way to one of `corruption_safety`.
Clean: the same sites with the real text, begun at a statement, inside one, behind a header or opener, with
the closers left in the suffix; voids behind statements, on blank lines and in comments; harmless statements
that look like faults (`corruption_safety.lookalikes`).

Not covered: faults that need a type checker or two files; names replaced by another name of the same file;
slips in names of fewer than five letters; docstring prose; semantic bugs; languages without a corpus here.
"""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from echo_ray import rng
from echo_ray.schema import LastEdit
from tests import corruption_drafts as drafts
from tests import corruption_faults as faults
from tests import corruption_safety
from tests.corruption_drafts import WINDOW, Draft, Maker
from tests.corruption_safety import Payload
from tests.corruption_sources import LANGUAGES, SEED, Site, Source, compiles, sites, sources

GROUPS = ("void", "syntax", "name", "repeat", "secret", "pii", "malicious")
IDS = {"c": "cpp"}
"""Languages of payloads whose files lie in another corpus."""
_CHECKS = {group: group for group in GROUPS} | {"sentinel": "syntax", "malice": "malicious"}
_MARKUP = re.compile(r"^[ \t]*(<[\w-]+[^<>\n]*/>)$", re.MULTILINE)


class Labelled(NamedTuple):
    """One case: a sample, and whether it is clean or which fault it has."""

    name: str
    group: str
    """`clean`, or what is wrong: the category that a `drop` should begin with."""
    kind: str
    language: str
    prefix: str
    target: str
    suffix: str
    commit: str
    prefix_complete: bool | None
    suffix_complete: bool | None
    last_edit: str | None

    def row(self) -> dict[str, Any]:
        """As a row of distilled samples."""
        values = self._asdict() | {"sample_id": self.name}
        return {key: value for key, value in values.items() if key not in ("name", "group", "kind")}


def failed(checks: Sequence[Mapping[str, Any]] | None) -> set[str]:
    """The groups whose checks failed, given a row's column `checks`."""
    return {_CHECKS[check["check"]] for check in checks or () if check["verdict"] == "fail"}


def suite(files: int = 60, even: bool = True) -> list[Labelled]:
    """All cases from up to `files` files of each language; `even` chooses the half of the repositories."""
    found: list[Labelled] = []
    for language in LANGUAGES:
        taken = [(source, sites(source)) for source in sources(language, files, even)]
        taken = [(source, places) for source, places in taken if len(places) >= 4]
        for number, (source, places) in enumerate(taken):
            random = rng.generator(SEED, "suite", source.name)
            stranger = taken[(number + 7) % len(taken)][0].text
            found += _of_file(source, places, random, stranger)
        found += _planted(language, taken)
    return found


def _of_file(source: Source, places: Sequence[Site], random: Random, stranger: str) -> Iterator[Labelled]:
    makers: dict[str, Sequence[Maker]] = {
        "clean": (
            *(drafts.statement, drafts.statement, drafts.middle, drafts.middle, drafts.behind),
            *(drafts.header, drafts.inner, drafts.silence, drafts.silence, drafts.still),
        ),
        "void": (
            *(drafts.deletion, drafts.navigation, drafts.prose, drafts.finished),
            *(drafts.missing, drafts.missing),
        ),
        "syntax": (drafts.broken, drafts.broken, drafts.broken, drafts.indented, drafts.sentinel),
        "name": (functools.partial(drafts.undefined, stranger=stranger), drafts.misspelt, drafts.misspelt),
        "repeat": (drafts.again, drafts.rest, drafts.closed_twice),
    }
    for group, chosen in makers.items():
        for number, maker in enumerate(chosen):
            draft = next(filter(None, (maker(source, places, random) for _ in range(12))), None)
            if draft is not None:
                yield _labelled(f"{source.name}#{group}{number}", group, source, draft, random)


def _planted(language: str, taken: Sequence[tuple[Source, list[Site]]]) -> Iterator[Labelled]:
    """The statements of `corruption_safety` in real files, behind a line that declares the names they use."""
    groups = {group: corruption_safety.payloads(group) for group in corruption_safety.CATEGORIES}
    groups["clean"] = corruption_safety.lookalikes()
    if not taken:
        return
    for group, payloads in groups.items():
        for number, payload in enumerate(payloads):
            if IDS.get(payload.language, payload.language) != language:
                continue
            random = rng.generator(SEED, "planted", group, language, number)
            tried = (_plant(random.choice(taken)[0], payload, random, group) for _ in range(20))
            found = next(filter(None, tried), None)
            if found is not None:
                yield _labelled(f"{found[0].name}#{group}-{number}", group, *found, random)


def _plant(source: Source, payload: Payload, random: Random, group: str) -> tuple[Source, Draft] | None:
    if payload.text.startswith("<"):
        line = random.choice([*_MARKUP.finditer(source.text)] or [None])
        return line and (source, Draft(payload.kind, line.start(1), line.end(1), payload.text))
    if source.language == "c" and payload.language == "cpp":
        return None
    source = _declaring(source, payload.text)
    places = [site for site in sites(source) if not re.search("import|include|package", site.kind)]
    if not places:
        return None
    site = random.choice(places)
    target = payload.text.replace("\n", "\n" + drafts.indent(source.text, site.start))
    text = source.text[: site.start] + target + source.text[site.stop :]
    if not compiles(text, source, source.start, len(source.text) - source.stop):
        return None
    return source, Draft(payload.kind, site.start, site.stop, target, whole=group == "clean" or None)


def _declaring(source: Source, statement: str) -> Source:
    """The file with one more line, which declares every name that `statement` uses."""
    words = re.findall(r"(?<![\w.])[^\W\d]\w*", re.sub(r"(['\"]).*?\1", "", statement))
    words += re.findall(r"\{([^\W\d]\w*)", statement)  # of templates
    names = ", ".join(sorted({word for word in words if word not in faults.RESERVED}))
    if not names:
        return source
    line, first = {
        "python": (f"from .names import {names}\n", r"^(?:import|from)\b"),
        "java": (f"import static names.{names.replace(', ', '; import static names.')};\n", r"^import\b"),
        "go": (f"\nvar {names} = names()\n", r"\Z"),
        "c": (f"extern int {names};\n", r"(?<=\n)\n"),
        "cpp": (f"extern int {names};\n", r"(?<=\n)\n"),
    }.get(source.grammar, (f"import {{ {names} }} from './names';\n", r"^(?:import|const|export)\b"))
    place = re.compile(first, re.MULTILINE).search(source.text, source.start, source.stop)
    at = place.start() if place else source.start
    text = source.text[:at] + line + source.text[at:]
    return source._replace(text=text, stop=source.stop + len(line))


def _labelled(name: str, group: str, source: Source, draft: Draft, random: Random) -> Labelled:
    before, after = source.text[: draft.start], source.text[draft.stop :]
    whole = random.random() < 0.5 if draft.whole is None else draft.whole
    prefix, suffix = (before, after) if whole else (before[-WINDOW[0] :], after[: WINDOW[1]])
    told = random.random() < 0.7
    commit = draft.target if draft.commit is None else draft.commit
    edit = draft.last_edit or random.choice((None, LastEdit.INSERTED, LastEdit.REPLACED))
    return Labelled(
        name,
        group,
        draft.kind,
        source.language,
        prefix,
        draft.target,
        suffix,
        commit,
        len(prefix) == len(before) if told else None,
        len(suffix) == len(after) if told else None,
        None if edit is None else edit.value,
    )
