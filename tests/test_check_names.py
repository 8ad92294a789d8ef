from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import syntax
from echo_ray.checks import names, names_near
from echo_ray.checks.case import NOT_APPLICABLE, PASS, Case, Finding, Verdict
from echo_ray.schema import Drop

WHOLE: dict[str, Any] = {"prefix_complete": True, "suffix_complete": True}
WINDOW: dict[str, Any] = {"prefix_complete": False, "suffix_complete": False}


def found(language: str, prefix: str, target: str, suffix: str = "\n", **more: Any) -> Finding:
    return names.check(Case(prefix, target, suffix, target, language, **(more or WHOLE)))


@pytest.mark.parametrize(
    ("language", "prefix", "target", "suffix", "rule"),
    [
        ("python", "import os\n", "x = foo + 1", "\n", "variable"),
        ("python", "import os\n", "x = foo(1)", "\n", "call"),
        ("python", "import os\n", "x = foo.bar", "\n", "owner"),
        ("python", "", "def f(a: Foo): pass", "\n", "type"),
        ("python", "", "x = [a for b in range(3)]", "\n", "variable"),
        ("python", "x = na", "me + 1", "\n", "variable"),
        ("python", "x = ", "na", "me + 1\n", "variable"),
        ("python", "", "x = f'{foo}'", "\n", "variable"),
        ("javascript", "import a from 'a';\n", "const x = foo + 1;", "\n", "variable"),
        ("javascript", "import a from 'a';\n", "a({ foo });", "\n", "variable"),
        ("typescript", "import a from 'a';\n", "a(foo => bar);", "\n", "variable"),
        ("typescriptreact", "import a from 'a';\n", "const x = <a b={foo}/>;", "\n", "variable"),
        ("vue", "<script>\nexport default {\n  f() {\n", "return foo;", "\n}}\n</script>\n", "variable"),
        ("java", "class A { int f() {\n", "return foo + 1;", "\n}}\n", "variable"),
        ("go", "package a\nfunc f() int {\n", "return foo + 1", "\n}\n", "variable"),
        ("c", "int f() {\n", "return foo + 1;", "\n}\n", "variable"),
        ("cpp", "int f() {\n", "g(foo);", "\n}\nvoid g(int);\n", "variable"),
    ],
)
def test_a_name_that_nothing_defines(language: str, prefix: str, target: str, suffix: str, rule: str) -> None:
    finding = found(language, prefix, target, suffix)
    assert (Verdict.FAIL, Drop.NAME_UNDEFINED) == (finding.verdict, finding.drop)
    assert f"undefined_{rule}" == finding.rule
    assert finding.start is not None
    assert finding.stop is not None


@pytest.mark.parametrize(
    ("language", "prefix", "target", "suffix"),
    [
        ("python", "", "import foo", "\n"),
        ("python", "", "from foo import bar as baz", "\n"),
        ("python", "", "foo = 1", "\n"),
        ("python", "", "foo, (bar, *baz) = [1, (2, 3)]", "\n"),
        ("python", "", "def foo(bar, *baz, qux=1, **quux): return bar", "\n"),
        ("python", "", "class Foo: pass", "\n"),
        ("python", "", "for foo in range(3): print(foo)", "\n"),
        ("python", "", "x = [foo for foo in range(3)]", "\n"),
        ("python", "", "with open('a') as foo: pass", "\n"),
        ("python", "", "x = lambda foo: foo", "\n"),
        ("python", "", "if (foo := 1): print(foo)", "\n"),
        ("python", "", "print(sep='', end=str(1))", "\n"),
        ("python", "", "try: pass\nexcept ValueError as foo: pass", "\n"),
        ("python", "x = object()\n", "x.foo = x.bar()", "\n"),
        ("python", "", "x = 'foo bar'  # baz", "\n"),
        ("python", "", "print(foo)", "\nfoo = 1\n"),
        ("python", "match x:\n    ", "case Foo(bar=1): pass", "\n"),
        ("python", "x = __file__\n", "print(__name__, NotImplementedError)", "\n"),
        ("javascript", "", "const { foo, bar: baz, ...qux } = window;", "\n"),
        ("javascript", "", "import foo, { bar as baz } from 'qux';", "\n"),
        ("javascript", "", "x = { foo: 1, bar() {} };", "\n"),
        ("javascript", "", "[1].map((foo) => foo + 1);", "\n"),
        ("javascript", "", "try {} catch (foo) { console.log(foo) }", "\n"),
        ("javascript", "", "foo: for (const bar of []) { break foo; }", "\n"),
        ("javascript", "", "export { foo } from './bar';", "\n"),
        ("javascript", "", "if (typeof foo === 'undefined') {}", "\n"),
        ("javascript", "", "x = <div foo={1}/>;", "\n"),
        ("typescript", "", "interface Foo<T> { bar: T; baz(qux: T): void }", "\n"),
        ("typescript", "", "enum Foo { A, B }", "\n"),
        ("typescript", "", "const e = new HTMLElement();", "\n"),
        ("java", "", "import foo.bar.Baz;", "\n"),
        ("java", "class A {", "int foo(int bar) { return bar; }", "}\n"),
        ("java", "class A { void f(B b) {", "b.foo(x -> x + 1);", "}}\n"),
        ("java", "class A {", "@Foo(bar = 1) int x;", "}\n"),
        ("go", "package a\n", 'import foo "bar"', "\n"),
        ("go", "package a\nfunc f() {", "foo, bar := 1, 2", "}\n"),
        ("go", "package a\ntype T struct { F int }\nfunc f() {", "x := T{foo: 1}", "}\n"),
        ("go", "package a\n", "func (foo *T) Bar(baz int) (qux error) { return nil }", "type T int\n"),
        ("c", "", "#define FOO(bar) (bar)", "\n"),
        ("c", "", "static int foo(int bar, char *baz[]) { int qux = bar; return qux; }", "\n"),
        ("cpp", "int f() {", "for (auto& foo : {1, 2}) { auto [bar, baz] = foo; }", "}\n"),
        ("cpp", "int f() {", "std::foo(FOO_MAX); member_ = 1;", "}\n"),
        ("ruby", "", "foo = bar", "\n"),
    ],
)
def test_names_that_are_fine(language: str, prefix: str, target: str, suffix: str) -> None:
    assert found(language, prefix, target, suffix).verdict is not Verdict.FAIL


@pytest.mark.parametrize(
    ("language", "prefix", "target", "suffix"),
    [
        ("python", "from a import *\n", "x = foo", "\n"),
        ("java", "class A { void f() {", "foo();", "}}\n"),
        ("java", "class A { void f() {", "Foo.bar();", "}}\n"),
        ("go", "package a\nfunc f() {", "foo()", "}\n"),
        ("typescript", "import a from 'a';\n", "let x: Foo;", "\n"),
    ],
)
def test_names_that_may_come_from_elsewhere(language: str, prefix: str, target: str, suffix: str) -> None:
    finding = found(language, prefix, target, suffix)
    assert (Verdict.UNSURE, Drop.NAME_UNDEFINED) == (finding.verdict, finding.drop)


def test_windows() -> None:
    inside, outside = "def f(a):\n    b = a\n    ", "b = 1\n"
    assert Verdict.FAIL == found("python", inside, "return foo", **WINDOW).verdict
    assert Verdict.UNSURE == found("python", outside, "x = foo", **WINDOW).verdict
    assert Verdict.UNSURE == found("python", inside, "return foo()", **WINDOW).verdict
    half: dict[str, Any] = {"prefix_complete": True, "suffix_complete": False}
    assert Verdict.UNSURE == found("python", inside, "return foo()", **half).verdict
    assert Verdict.FAIL == found("python", inside, "return foo.bar", **half).verdict


def test_a_window_of_unknown_extent_begins_at_the_files_start_if_it_looks_so() -> None:
    unknown: dict[str, Any] = {"prefix_complete": None, "suffix_complete": None}
    assert Verdict.FAIL == found("python", "import os\nx = 1\n", "y = foo()", **unknown).verdict
    assert Verdict.UNSURE == found("python", "    x = 1\n", "y = foo()", **unknown).verdict


@pytest.mark.parametrize(
    ("language", "prefix", "target"),
    [
        ("python", "request = 1\nprint(request)\n", "x = reqeust"),
        ("python", "request = 1\nprint(request)\n", "x = reuest"),
        ("python", "request = 1\nprint(request)\n", "x = requuest"),
        ("python", "request = 1\nprint(request)\n", "x = requezt.foo"),
        ("python", "a.response_code = a.response_code\n", "x = a.respnose_code"),
        ("javascript", "a.firstChild = b.firstChild;\n", "x = a.frstChild;"),
        ("java", "class A { int count; int f() { count++;", "return cuont;"),
        ("go", "package a\nfunc f(value int) {\n\tvalue++\n", "\tg(vlaue)"),
    ],
)
def test_a_slip(language: str, prefix: str, target: str) -> None:
    for extent in (WHOLE, WINDOW):
        finding = found(language, prefix, target, "\n", **extent)
        assert (Verdict.FAIL, Drop.NAME_INCONSISTENT) == (finding.verdict, finding.drop)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("items", "item"),
        ("item2", "item1"),
        ("Value", "value"),
        ("_value", "value"),
        ("rhs", "lhs"),
        ("getFoo", "setFoo"),
        ("text_a", "text_b"),
        ("left", "lent"),
        ("argv", "args"),
        ("Fatal", "Fatalf"),
        ("named", "names"),
        ("completely", "different"),
        ("value", "value"),
    ],
)
def test_words_of_their_own(word: str, name: str) -> None:
    assert [] == list(names_near.near(word, [name], frozenset))


def test_a_part_that_the_file_uses_elsewhere_is_right() -> None:
    assert ["fooPanel"] == list(names_near.near("fooPanol", ["fooPanel"], frozenset))
    assert [] == list(names_near.near("fooPanol", ["fooPanel"], lambda: {"panol"}))


WORD = st.text("abcXY_1é", min_size=1, max_size=6)


def distance(one: str, other: str) -> int:
    """Optimal string alignment distance, the textbook's way."""
    table = {(i, -1): i + 1 for i in range(-1, len(one))} | {(-1, j): j + 1 for j in range(-1, len(other))}
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a != b))
            if i and j and a == other[j - 1] and one[i - 1] == b:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[len(one) - 1, len(other) - 1]


@given(WORD, WORD)
def test_a_slip_is_distance_one(one: str, other: str) -> None:
    assert (distance(one, other) == 1) == (names_near.slip(one, other) is not None)


def test_nothing_to_check() -> None:
    assert NOT_APPLICABLE == found("python", "x = 1", "")
    assert NOT_APPLICABLE == found("plaintext", "x", "foo")
    assert PASS == found("python", "foo = 1\n", "x = foo")


TEXT = st.lists(
    st.sampled_from(
        [
            "foo",
            "bar",
            "fooo",
            "(",
            ")",
            " = ",
            ".",
            "\n",
            "    ",
            "import ",
            "def ",
            "'é😀'",
            "\ud800",
            '"""',
            "<",
            "=> ",
        ]
    )
    | st.text(max_size=4),
    max_size=10,
).map("".join)


@given(
    TEXT,
    TEXT,
    TEXT,
    st.sampled_from([*sorted(syntax.GRAMMARS), "ruby"]),
    st.sampled_from([True, False, None]),
)
@settings(deadline=None, max_examples=200)
def test_any_text_has_a_verdict(
    prefix: str, target: str, suffix: str, language: str, complete: bool | None
) -> None:
    finding = found(language, prefix, target, suffix, prefix_complete=complete, suffix_complete=complete)
    assert (finding.drop is not None) == (finding.verdict in (Verdict.FAIL, Verdict.UNSURE))
    if finding.verdict is Verdict.FAIL:
        assert finding.start is not None
        assert finding.stop is not None
        span = target[max(finding.start, 0) : finding.stop]
        assert span
