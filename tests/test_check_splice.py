"""The splice and indentation rules, on written examples and on real statements, kept and broken."""

import random
import warnings
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import syntax
from echo_ray.checks import indentation, splice
from echo_ray.checks.case import Case, Finding, Verdict
from echo_ray.schema import Drop
from tests.test_cuts import LANGUAGE, LANGUAGES, TEXT, cases

PASS, FAIL = Verdict.PASS, Verdict.FAIL


def case(prefix: str, target: str, suffix: str = "", language: str = "python", rest: str = "") -> Case:
    return Case(prefix, target, suffix, target + rest, language)


def judged(*args: str) -> Finding:
    return splice.check(case(*args))


@pytest.mark.parametrize(
    ("language", "prefix", "target", "suffix", "rule"),
    [
        ("python", "x = ", "foo(a", "\ny = 1\n", "more_errors"),
        ("python", "", "def f(:", "\n    pass\n", "more_errors"),
        ("python", "", "if a:", "\nb = 1\n", "header_without_body"),
        ("python", "", "k, v = ", "\nb = 1\n", "nothing_follows"),
        ("python", "x = a", " and", "\nb = 1\n", "more_errors"),
        ("python", "f(a, 'b", "c)", "\nx = 1\n", "more_errors"),
        ("javascript", "const x = ", "foo(a));", "\n", "more_errors"),
        ("java", "class A {\n", "int f( { }", "\n}\n", "more_errors"),
        ("go", "package a\n", "func f() {", "\n", "more_errors"),
        ("cpp", "void f() {\n  ", "g(a[1);", "\n}\n", "more_errors"),
        ("vue", "<script>\n", "const a = (", "\n</script>\n", "more_errors"),
        # The half-typed line gives no credit: prefix + suffix is broken only because the target is missing.
        ("python", "a = 1\nx = ", "foo(", "\nb = 2\n", "more_errors"),
    ],
)
def test_a_target_that_breaks_the_syntax(
    language: str, prefix: str, target: str, suffix: str, rule: str
) -> None:
    found = judged(prefix, target, suffix, language)
    assert (FAIL, rule, Drop.SYNTAX_ERROR) == (found.verdict, found.rule, found.drop)
    assert found.start is None or 0 <= found.start <= (found.stop or 0) <= len(target)


@pytest.mark.parametrize(
    ("language", "prefix", "target", "suffix"),
    [
        ("python", "x = ", "foo(a)", "\ny = 1\n"),
        ("python", "x = (a +", "\n     b)", "\n"),
        ("python", "from a import ", "*", "\n"),
        ("python", "x = ", "...", "\n"),
        ("python", "def f(a", ", b=1", "):\n    pass\n"),
        ("javascript", "  }\n}\nfunction f() {\n  ", "a();", "\n}\n"),
        # Errors that are above the target, or that the context has too.
        ("python", "x = = 1\n\n\ny = ", "2", "\n"),
        ("javascript", "const a = ;\n\n", "b();", "\nc d e f;\n"),
        # A target on a line of its own does not finish the line above.
        ("python", "x = = 1", "\ny = 3", "\n"),
        # The line goes on behind the suffix's rest one day.
        ("python", "def f(", "a", ")\n"),
        ("python", "@app.route('", "/", "')\n\n\ndef g():\n    pass\n"),
        ("c", "int a; ", "// } why (", "\n"),
        ("typescript", "type A = {\n  ", "b: string", ";\n}\n"),
    ],
)
def test_a_target_that_fits(language: str, prefix: str, target: str, suffix: str) -> None:
    assert PASS == judged(prefix, target, suffix, language).verdict


@pytest.mark.parametrize(
    ("language", "target", "rest"),
    [
        ("python", "if a:", "\n    b\n    c\n"),
        ("python", "try:", "\n    b\nfinally:\n    c\n"),
        ("python", "x = [", "\n    1,\n    2"),
        ("javascript", "if (a) {", "\n  b();\n}\n"),
        ("javascript", "try {", "\n  b(\n"),
        ("javascript", "/**", "\n * a\n */\nb();\n"),
        ("java", "int f() {", "\n  return 1;\n}\n"),
    ],
)
def test_what_is_left_open_may_be_closed_by_the_rest_of_the_commit(
    language: str, target: str, rest: str
) -> None:
    prefix, suffix = ("class A {\n", "\n}\n") if language == "java" else ("", "\n")
    assert PASS == judged(prefix, target, suffix, language, rest).verdict
    assert FAIL == judged(prefix, target, suffix, language).verdict


def test_where_there_is_nothing_to_check() -> None:
    assert Verdict.NOT_APPLICABLE == judged("x = ", "foo((", "\n", "ruby").verdict
    assert Verdict.NOT_APPLICABLE == judged("x = ", "", "\n").verdict
    assert Verdict.NOT_APPLICABLE == indentation.check(case("x = ", "1", "\n")).verdict


def test_tolerance_is_a_number_of_errors() -> None:
    broken = case("x = ", "foo(a", "\ny = 1\n")
    assert [FAIL, PASS] == [splice.check(broken, tolerance).verdict for tolerance in (0, 9)]


def test_the_span_is_where_the_first_error_is() -> None:
    found = judged("a = 1\n", "b = c d", "\ne = 2\n")
    assert found.start is not None
    assert "b = c d"[found.start : found.stop] in ("d", "c", "c d")


@pytest.mark.parametrize(
    ("language", "prefix", "target", "suffix", "verdict"),
    [
        ("python", "def f():\n    a = 1\n", "      b = 2", "\n    c = 3\n", FAIL),
        ("python", "def f():\n    a = 1\n", "  b = 2", "\n", FAIL),
        ("python", "def f():\n    a = 1\n", "         b = 2", "\n    c = 3\n", FAIL),
        ("python", "def f():\n    if a:\n        b = 1\n", "      c = 2", "\n    d = 3\n", FAIL),
        ("python", "def f():\n    ", "     a = 1", "\n    b = 2\n", FAIL),
        ("python", "def f():\n    a = 1\n", "    b = 2", "\n    c = 3\n", PASS),
        ("python", "def f():\n    a = 1\n", "b = 2", "\n", PASS),
        ("python", "def f():\n    if a:\n        b = 1\n", "    c = 2", "\n", PASS),
        ("python", "def f(", "\n      a,\n   b,\n):\n    pass", "\n", PASS),
        ("python", "", "x = '''\n a\n   b\n'''", "\n", PASS),
        ("python", "", "# a\n   # b\nx = 1", "\n", PASS),
        ("javascript", "function f() {\n  a();\n", "     b();", "\n  c();\n}\n", FAIL),
        ("javascript", "function f() {\n  a();\n", "  b()\n    .c();", "\n  d();\n}\n", PASS),
        ("cpp", "class A {\n  int a;\n", " public:\n  int b;", "\n  int c;\n};\n", PASS),
        ("c", "void f() {\n  a();\n", "err:\n  b();", "\n  c();\n}\n", PASS),
        ("python", "if a:\n" + "    b\n" * 5, "\tc", "\n    d\n", FAIL),
        ("go", "package a\n\nfunc f() {\n" + "\tb()\n" * 5, "    c()", "\n\td()\n}\n", FAIL),
        ("go", "package a\n\nfunc f() {\n" + "\tb()\n" * 5, "\tc()", "\n\td()\n}\n", PASS),
        ("java", "class A {\n" + "    int b;\n" * 5, "    /**\n     * c\n     */\n    int d;", "\n}\n", PASS),
    ],
)
def test_indentation(language: str, prefix: str, target: str, suffix: str, verdict: Verdict) -> None:
    found = indentation.check(case(prefix, target, suffix, language))
    assert verdict == found.verdict
    assert (verdict is FAIL) == (found.drop is Drop.SYNTAX_INDENT)


@given(TEXT, TEXT, TEXT, TEXT, LANGUAGE)
@settings(deadline=None)
def test_a_verdict_is_a_function_of_the_sample(
    prefix: str, target: str, rest: str, suffix: str, language: str
) -> None:
    one = Case(prefix, target, suffix, target + rest, language)
    first = splice.check(one), indentation.check(one)
    splice.check(Case(suffix, rest, prefix, rest, language))  # what was parsed in between leaves no trace
    other = Case(prefix, target, suffix, target + rest, language)
    assert first == (splice.check(other), indentation.check(other))
    # Which check asks first does not matter either.
    third = Case(prefix, target, suffix, target + rest, language)
    assert third.context is None or third.context.errors >= 0
    assert first[::-1] == (indentation.check(third), splice.check(third))
    for finding in first:
        if finding.start is not None:
            assert 0 <= finding.start <= (finding.stop or 0) <= len(target)


@given(TEXT, TEXT, st.sampled_from(sorted(set(syntax.GRAMMARS) - {"python"})))
@settings(deadline=None)
def test_a_target_without_errors_around_it_passes(prefix: str, suffix: str, language: str) -> None:
    one = case(prefix, ("x", "x = 1", "x()")[len(prefix + suffix) % 3], suffix, language)
    if one.spliced is not None and one.spliced.errors == 0:
        assert PASS == splice.check(one).verdict


def test_huge_and_strange_samples() -> None:
    huge = "x = [\n" + "    'abc', 1.5,\n" * 12_000 + "]\n"
    assert PASS == splice.check(Case(huge, "y = 1", "\n" + huge, "y = 1\n" + huge, "python")).verdict
    assert FAIL == splice.check(Case(huge, "y = (", "\n" + huge, "y = (", "python")).verdict
    for language in sorted(syntax.GRAMMARS):
        strange = Case("\ud800\0" * 99, "\ud800(\0", "\0é" * 99, "\ud800(\0\n", language)
        assert splice.check(strange).verdict in Verdict
        assert indentation.check(strange).verdict in Verdict


def broken(target: str, draw: random.Random) -> str | None:
    """`target` with a bracket or quote lost, added or doubled."""
    spots = [at for at, character in enumerate(target) if character in "()[]{}\"'`"]
    kind = draw.choice(("lost", "added", "doubled"))
    if kind == "added":
        at = draw.randrange(len(target) + 1)
        return target[:at] + draw.choice("()[]{}\"'") + target[at:]
    if not spots:
        return None
    at = draw.choice(spots)
    return target[:at] + (target[at] * 2 if kind == "doubled" else "") + target[at + 1 :]


def compiles(source: str, language: str) -> bool:
    if language != "python":
        return syntax.errors(source, language) == 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "file", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def windows(prefix: str, suffix: str) -> Iterator[tuple[str, str]]:
    """The whole file, and lines of 6 KB and 3 KB around the gap."""
    yield prefix, suffix
    for before, after in ((3_500, 2_500), (1_800, 1_200)):
        start = prefix.find("\n", max(0, len(prefix) - before - 1)) + 1 if len(prefix) > before else 0
        stop = suffix.rfind("\n", 0, after) + 1 if len(suffix) > after else len(suffix)
        yield prefix[start:], suffix[: stop or len(suffix)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_real_statements_kept_and_broken(language: str) -> None:
    draw = random.Random(f"splice {language}")
    verdicts: Counter[tuple[str, Verdict]] = Counter()
    for found in cases(language, 100):
        after = found.commit[len(found.statement) :] + found.suffix
        start = draw.choice((0, draw.randrange(len(found.statement))))
        before, target = found.prefix + found.statement[:start], found.statement[start:]
        spoilt = None
        if compiles(found.prefix + found.commit + found.suffix, found.language):
            spoilt = broken(target, draw)
        if spoilt is not None and (not spoilt.strip() or compiles(before + spoilt + after, found.language)):
            spoilt = None
        for prefix, suffix in windows(before, after):
            kept = Case(prefix, target.rstrip(), suffix, target.rstrip(), found.language)
            verdicts["kept", splice.check(kept).verdict] += 1
            verdicts["kept", indentation.check(kept).verdict] += 1
            if spoilt is not None:
                bad = Case(prefix, spoilt.rstrip(), suffix, spoilt.rstrip(), found.language)
                verdicts["broken", splice.check(bad).verdict] += 1
    lost, caught = verdicts["kept", FAIL], verdicts["broken", FAIL]
    total = sum(count for (kind, _), count in verdicts.items() if kind == "broken")
    print(f"{language}: {lost} of 300 kept lost, {caught} of {total} broken caught")
    assert lost <= 3
    assert caught >= 0.93 * total


def test_macros_in_front_of_declarations_are_no_errors() -> None:
    before = "extern int first;\nLIB_API bool one(const arena* a);\n"
    good = "LIB_API bool two(const arena* a, const arena* b);"
    assert Verdict.FAIL is not splice.check(Case(before, good, "\nint last;\n", good, "cpp")).verdict
    bad = good.replace(");", ";")
    assert Verdict.FAIL is splice.check(Case(before, bad, "\nint last;\n", bad, "cpp")).verdict
