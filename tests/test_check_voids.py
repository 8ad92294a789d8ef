from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import syntax
from echo_ray.checks import voids
from echo_ray.checks.case import PASS, Case, Finding, Verdict
from echo_ray.schema import Drop, LastEdit


def found(prefix: str, target: str, suffix: str = "", language: str = "python", **more: Any) -> Finding:
    return voids.check(Case(prefix, target, suffix, target, language, **more))


@pytest.mark.parametrize(
    ("language", "prefix", "suffix", "why"),
    [
        ("python", "x = ", "\ny = 2\n", "prefix ends in '=', nothing follows"),
        ("python", "x = foo(", "\n", "prefix ends in '(', 'x)' would repair it"),
        ("python", "def f(a):\n    ", "\n\ny = 2\n", "header without a body"),
        ("python", "x = a.", "\n", "prefix ends in '.', nothing follows"),
        ("python", "foo(a.", ")\n", "prefix ends in '.', 'x' would repair it"),
        ("python", "x = [y for y in ", "]\n", "prefix ends in 'in', 'x' would repair it"),
        ("javascript", "const x = ", ";\n", "prefix ends in '=', nothing follows"),
        ("go", "package a\nfunc f() {\n\tx := ", "\n}\n", "prefix ends in ':=', nothing follows"),
        ("ruby", "x = ", "\n", "prefix ends in '='"),
    ],
)
def test_an_empty_target_where_code_must_follow(language: str, prefix: str, suffix: str, why: str) -> None:
    finding = found(prefix, "", suffix, language)
    assert (Verdict.FAIL, Drop.VOID_MISSING, why) == (finding.verdict, finding.drop, finding.note)


@pytest.mark.parametrize(
    ("language", "prefix", "suffix"),
    [
        ("python", "x = 1\n", "y = 2\n"),
        ("python", "x = foo(", ")\n"),
        ("python", "x = ", "1\n"),
        ("python", "def f():\n    ", "return 1\n"),
        ("python", "x = {1: ", "2}\n"),
        ("python", "# the sum (", "\nx = 1\n"),
        ("python", 'def f():\n    """The sum of both.', '\n    """\n'),
        ("python", "x = ...", "\n"),
        ("python", "from a import *", "\n"),
        ("python", "x = 1,", "\n"),
        ("python", "x: ", "\n"),
        ("javascript", "const x =\n", "  foo();\n"),
        ("javascript", "if (a) {\n  ", "\n}\n"),
        ("ruby", "foo(", ")\n"),
    ],
)
def test_a_void_that_may_stay(language: str, prefix: str, suffix: str) -> None:
    assert found(prefix, "", suffix, language, prefix_complete=True) == PASS


@pytest.mark.parametrize(
    ("edit", "switch", "drop"),
    [
        (LastEdit.DELETED, "deletion", Drop.VOID_DELETION),
        (LastEdit.MOVED, "navigation", Drop.VOID_NAVIGATION),
    ],
)
def test_code_after_a_deletion_or_a_move(edit: LastEdit, switch: str, drop: Drop) -> None:
    case = Case("x = ", "1", "\n", "1", "python", last_edit=edit)
    assert drop == voids.check(case).drop
    assert PASS == voids.check(case, **{switch: False})
    assert PASS == voids.check(Case("x = 1", "", "\n", "", "python", last_edit=edit))


def test_code_after_other_edits_is_fine() -> None:
    for edit in (None, LastEdit.INSERTED, LastEdit.REPLACED, LastEdit.NONE):
        assert PASS == found("x = ", "1", "\n", last_edit=edit)


@pytest.mark.parametrize(
    ("language", "prefix", "target", "kind"),
    [
        ("python", "x = 1  # add ", "the first one", "comment"),
        ("python", "# Returns the mean", " of all values", "comment"),
        ("python", "# Returns the mean", "\n# of all values", "comment"),
        ("python", 'def f():\n    """Return the ', "mean of all values.", "docstring"),
        ("javascript", "// this is ", "not needed any more", "comment"),
        ("javascript", "/* this is\n   no ", "longer needed", "comment"),
        ("java", "class A {\n/**\n * Gives the ", "name of the user", "comment"),
        ("ruby", "  # add ", "the first one", "comment"),
    ],
)
def test_prose_in_a_comment(language: str, prefix: str, target: str, kind: str) -> None:
    suffix = {"java": "\n */\nint a;\n}\n", "javascript": "\n", "python": "\n"}.get(language, "\ny\n")
    suffix += {"docstring": '    """\n    return 1\n'}.get(kind, " */\n" if prefix.startswith("/*") else "")
    finding = found(prefix, target, suffix, language)
    assert (Drop.VOID_COMMENT, f"inside_{kind}") == (finding.drop, finding.rule)
    off = voids.check(Case(prefix, target, suffix, target, language), comment=False)
    assert off.drop is None


@pytest.mark.parametrize(
    ("prefix", "target"),
    [
        ("# the mean", "\nmean = sum(xs)"),
        ("# x = ", "foo(a, b)"),
        ("#", " x = foo(a)"),
        ("x = '# ", "the first one'"),
        ("x = ", "the_first"),
        ("x = '''# ", "the first one'''"),
    ],
)
def test_code_near_a_comment_is_no_prose(prefix: str, target: str) -> None:
    assert PASS == found(prefix, target, "\ny\n")


@pytest.mark.parametrize(
    ("language", "prefix", "target", "suffix"),
    [
        ("python", "x = foo(1)", "\ny = 2", "\n"),
        ("python", "def f():\n    return 1", "\n\n\ndef g():\n    pass", "\n"),
        ("python", "import a", "\nimport b", "\n"),
        ("python", "for x in y:\n    foo(x)", "\n    bar(x)", "\nbaz()\n"),
        ("javascript", "const a = b", "\nfoo(a)", "\n"),
        ("javascript", "foo(a);  ", "\nfoo(b);", "\n"),
        ("javascript", "if (a) {\n  b();\n}", "\nc();", "\n"),
        ("java", "class A {\n  int a;", "\n  int b;", "\n}\n"),
        ("java", "class A { void f() {\n  g();", "\n  h();", "\n}}\n"),
        ("c", "int f() {\n  a = 1;", "\n  return a;", "\n}\n"),
        ("go", "package a\nfunc f() {\n\tx := 1", "\n\tg(x)", "\n}\n"),
    ],
)
def test_code_on_the_line_after_a_finished_statement(
    language: str, prefix: str, target: str, suffix: str
) -> None:
    assert Drop.VOID_FINISHED == found(prefix, target, suffix, language).drop
    assert PASS == voids.check(Case(prefix, target, suffix, target, language), finished=False)


@pytest.mark.parametrize(
    ("language", "prefix", "target", "suffix"),
    [
        ("python", "x = foo(1)\n", "y = 2", "\n"),
        ("python", "x = foo(", "\n    1,\n)", "\n"),
        ("python", "if x:", "\n    y()", "\n"),
        ("python", "@cached", "\ndef f():\n    pass", "\n"),
        ("python", 'def f():\n    """The sum."""', "\n    return 1", "\n"),
        ("python", "x = [1,", "\n2]", "\n"),
        ("python", "x = (a +", "\n     b)", "\n"),
        ("python", "x = a", "\n", "b\n"),
        ("python", "x = 1", " + 2", "\n"),
        ("javascript", "if (a) {", "\n  b();", "\n}\n"),
        ("javascript", "foo(a)", "\n  .then(b)", "\n"),
        ("javascript", "const a = {\n  b: 1,", "\n  c: 2", "\n}\n"),
        ("java", "class A {\n  @Override", "\n  void f() {}", "\n}\n"),
        ("cpp", "TEST(A, B)", "\n{\n}", "\n"),
        ("go", "package a\nfunc f() {", "\n\tg()", "\n}\n"),
    ],
)
def test_what_goes_on_is_not_finished(language: str, prefix: str, target: str, suffix: str) -> None:
    assert found(prefix, target, suffix, language).drop is None


def test_without_a_grammar_a_semicolon_is_a_hint() -> None:
    finding = found("foo();", "\nbar();", "\n", "rust")
    assert (Verdict.UNSURE, Drop.VOID_FINISHED) == (finding.verdict, finding.drop)
    assert PASS == found("foo", "\nbar", "\n", "rust")


TEXT = st.lists(
    st.sampled_from(
        [
            "if x:\n",
            "    ",
            "foo(a, b)",
            "\n",
            "x = ",
            "}",
            "'é😀'",
            "\ud800",
            '"',
            '"""',
            "// c",
            "/*",
            "obj.",
            "\x00",
        ]
    )
    | st.text(max_size=4),
    max_size=8,
).map("".join)


@given(
    TEXT, TEXT, TEXT, st.sampled_from([*sorted(syntax.GRAMMARS), "ruby"]), st.sampled_from([None, *LastEdit])
)
@settings(deadline=None, max_examples=150)
def test_any_text_has_a_verdict(prefix: str, target: str, suffix: str, language: str, edit: LastEdit) -> None:
    finding = found(prefix, target, suffix, language, last_edit=edit)
    assert (finding.drop is None) == (finding.verdict is Verdict.PASS)
    if finding.start is not None and finding.stop is not None:
        assert 0 <= finding.start <= finding.stop <= len(target)


@pytest.mark.parametrize("language", ["javascript", "typescript", "java", "go", "c", "cpp"])
def test_an_assignment_calls_for_a_value_unless_it_stands_below(language: str) -> None:
    start = {"go": "total := ", "java": "class A { void f() {\nint total = "}.get(language, "total = ")
    case = Case(start, "", "\ncall();\n", "", language)
    assert Drop.VOID_MISSING == voids.check(case).drop
    below = Case(start, "", "\n    call();\n", "", language)
    assert voids.check(below).drop is None
