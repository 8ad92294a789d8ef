"""Code that harms whoever runs it (paper 4.4, "Safety").

Three looks at the lines of the target, in this order: commands that do harm wherever they are run; calls
that run, load or send something, when the statement also decodes, downloads or reads what is private
(definitions of its names within `DEFINITION_REACH_CHARS` before it included); GuardDog's rules from malicious
packages. The tables are in `malice_commands`, `malice_flows` and `malice_rules`.

Our choice: dual-use tools (`eval(x)`, `subprocess.run(cmd, shell=True)`, `pickle.load(f)`, `rm -rf build`)
pass; commands in comments are UNSURE, since they are advice or examples; a request that carries private data
is harmful only when it names a foreign host. Bandit was measured and left out: it grades bad practice, so
that `subprocess.run(cmd, shell=True)` and `hashlib.md5` are its `high`, and of 33 harmful Python statements
none is (16 low, 12 medium, 5 nothing).

Invariant: the prefilter (`malice_rules.search`) loses nothing.

Not covered: harm through correct use of a library (a backdoor in a permission check), payloads that are put
together over several functions, obfuscation beyond encodings.
"""

import itertools
import re
from collections.abc import Iterator

from echo_ray import syntax
from echo_ray.checks import lines
from echo_ray.checks.case import NOT_APPLICABLE, PASS, Case, Check, Finding, Verdict
from echo_ray.checks.malice_commands import COMMANDS
from echo_ray.checks.malice_flows import FLOWS
from echo_ray.checks.malice_rules import GUARDDOG_FAIL, GUARDDOG_UNSURE, search
from echo_ray.checks.secret_rules import fold

DEFINITION_REACH_CHARS = 2_000
"""How far before the target the definition of a name is looked for."""

MAX_SINKS = 100
"""Calls of one kind that are followed in one target; only generated text has more."""

STATEMENT_CHARS = 1_500
"""Longest statement that is looked at as a whole; of longer ones the lines of the target are."""

_COMMENT = re.compile(r"\s*(?:#(?!\s*define|\s*include)|//|/?\*|<!--|--\s)")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")


def check(case: Case) -> Finding:
    """FAIL for harmful code that shares a character with the target, UNSURE for what may be, else PASS."""
    if not case.target:
        return NOT_APPLICABLE
    place = lines.around(case)
    unsure = PASS
    hits = search(place.text)
    if not hits.needles and not hits.packages:
        return PASS
    for finding in (*_commands_and_flows(case, place, hits.needles), *_packages(place, hits.packages)):
        if finding.verdict is Verdict.FAIL:
            return finding
        unsure = unsure if unsure.verdict is Verdict.UNSURE else finding
    return unsure


def _commands_and_flows(case: Case, place: lines.Lines, present: frozenset[str]) -> Iterator[Finding]:
    for rule, drop, needed, pattern in COMMANDS:
        if present.isdisjoint(needed):
            continue
        for match in pattern.finditer(place.text):
            span = place.span(*match.span())
            if span is not None:
                begin = place.text.rfind("\n", 0, match.start()) + 1
                comment = _COMMENT.match(place.text, begin, match.start() + 1) is not None
                note = f"{Check.MALICE}, in a comment" if comment else str(Check.MALICE)
                yield Finding(Verdict.UNSURE if comment else Verdict.FAIL, rule, drop, *span, note)
    before, reach = case.prefix[-DEFINITION_REACH_CHARS:], ""
    for flow in FLOWS:
        if present.isdisjoint(flow.needles):
            continue
        for match in itertools.islice(flow.sink.finditer(place.text), MAX_SINKS):
            span = place.span(*match.span())
            # A sink that stands before the target is harmful when the target feeds it.
            if (
                span is None
                and match.start() < place.start
                and "\n" not in place.text[match.end() : place.start]
            ):
                span = (0, place.stop - place.start)
            if span is None:
                continue
            reach = reach or fold(before + place.text)
            if not any(hint in reach for hint in flow.hints):
                break
            text = _with_definitions(before, place, match.start(), _statement(case, place, match.start()))
            if all(part.search(text) for part in flow.with_):
                yield Finding(Verdict.FAIL, flow.rule, flow.drop, *span, str(Check.MALICE))


def _packages(place: lines.Lines, packages: tuple[tuple[str, int, int], ...]) -> Iterator[Finding]:
    for name, start, stop in packages:
        span = place.span(start, stop)
        if span is not None:
            drop = GUARDDOG_FAIL.get(name)
            verdict = Verdict.UNSURE if drop is None else Verdict.FAIL
            rule = name.removeprefix("threat_")
            yield Finding(verdict, rule, drop or GUARDDOG_UNSURE[name], *span, f"{Check.MALICE}, GuardDog")


def _statement(case: Case, place: lines.Lines, offset: int) -> str:
    """The statement around `offset` of the lines, as far as a grammar tells; short lines are taken whole."""
    if len(place.text) <= STATEMENT_CHARS and place.text.count("\n") <= 2:
        return place.text
    tree = case.spliced
    if tree is not None:
        start = tree.cursor + offset - place.start
        unit = syntax.statement(tree.parsed, max(0, start))
        if unit is not None and unit.stop - unit.start <= STATEMENT_CHARS:
            return tree.parsed.text[unit.start : unit.stop]
    begin = place.text.rfind("\n", 0, offset) + 1
    end = place.text.find("\n", offset)
    end = end if end >= 0 else len(place.text)
    return place.text[max(begin, offset - STATEMENT_CHARS // 2) : min(end, offset + STATEMENT_CHARS)]


def _with_definitions(before: str, place: lines.Lines, offset: int, statement: str) -> str:
    """`statement` and the lines before `offset` that assign to one of its names."""
    before = (before + place.text[place.start : max(place.start, offset)])[-DEFINITION_REACH_CHARS:]
    parts = [statement]
    for name in dict.fromkeys(_WORD.findall(statement[:STATEMENT_CHARS])):
        definition = re.search(
            rf"(?<![\w$.]){re.escape(name)}\s*(?:,\s*\w+\s*)?(?::\s*\w+\s*)?:?=(?!=)[^\n]*", before
        )
        if definition is not None:
            parts.append(definition.group())
    return "\n".join(parts)
