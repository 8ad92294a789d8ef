import random
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import schema
from echo_ray.schema import Drop
from echo_ray.stages import syntax
from echo_ray.stages.verify import VerifyConfig, check, verify

CONFIG = VerifyConfig()
TOKEN = "gh" + "p_" + "a1B2c3D4e5F6g7H8i9J0" + "k1L2m3N4o5P6q7R8"

FRAGMENTS = "if x:\n|    |foo(a, b)|\n|return |x = |[|}|(|)|'é😀'|\"|// c|;|# a word\n|obj."
TEXT = st.lists(st.sampled_from([*FRAGMENTS.split("|"), f'"{TOKEN}"']), max_size=8).map("".join)
ROW = st.fixed_dictionaries(
    {
        "prefix": TEXT,
        "target": TEXT.map(str.rstrip),
        "suffix": TEXT,
        "language": st.sampled_from([*sorted(syntax.GRAMMARS), "ruby"]),
        "drop": st.sampled_from([None, None, None, "too_long"]),
    }
)


def distilled(rows: Sequence[dict[str, Any]]) -> pa.Table:
    fill = {"user": "u", "session": "s", "file": "f", "ts_ms": 1, "end_ts_ms": 2, "snapshots": 1}
    full = []
    for number, row in enumerate(rows):
        target = None if row["drop"] else row["target"]
        more = {"sample_id": str(number), "commit": row["target"] + "\n", "cut_by": "line", "target": target}
        full.append(fill | row | more)
    return pa.Table.from_pylist(full, schema=schema.DISTILLED)


def verdict(prefix: str, target: str, suffix: str = "", language: str = "python", rest: str = "") -> Any:
    return check(prefix, target, target + rest, suffix, language, CONFIG)


@pytest.mark.parametrize(
    ("language", "prefix", "suffix", "why"),
    [
        ("python", "x = ", "\ny = 2\n", "prefix ends in '=', nothing follows"),
        ("python", "x = foo(", "\n", "prefix ends in '(', 'x)' would repair it"),
        ("python", "def f(a):\n    ", "\n\ny = 2\n", "header without a body"),
        ("python", "x = a.", "\n", "prefix ends in '.', nothing follows"),
        ("python", "x = [y for y in ", "]\n", "prefix ends in 'in', 'x' would repair it"),
        ("javascript", "const x = ", ";\n", "prefix ends in '=', 'x' would repair it"),
        ("go", "package a\nfunc f() {\n\tx := ", "\n}\n", "prefix ends in '=', 'x' would repair it"),
        ("ruby", "x = ", "\n", "prefix ends in '='"),
    ],
)
def test_an_empty_target_where_code_must_follow(language: str, prefix: str, suffix: str, why: str) -> None:
    assert verdict(prefix, "", suffix, language) == (Drop.VOID_CONFLICT, why)


@pytest.mark.parametrize(
    ("language", "prefix", "suffix"),
    [
        ("python", "x = 1\n", "y = 2\n"),
        ("python", "x = foo(", ")\n"),
        ("python", "x = ", "1\n"),
        ("python", "def f():\n    ", "return 1\n"),
        ("python", "x = {1: ", "2}\n"),
        ("python", "# the sum (", "\nx = 1\n"),
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
    assert verdict(prefix, "", suffix, language) == (None, "void")


@pytest.mark.parametrize(
    ("language", "prefix", "target"),
    [
        ("python", "x = 1  # add ", "the first one"),
        ("python", "# Returns the mean", " of all values"),
        ("javascript", "// this is ", "not needed any more"),
        ("java", "class A {\n/**\n * Gives the ", "name of the user"),
        ("ruby", "  # add ", "the first one"),
    ],
)
def test_prose_in_a_comment(language: str, prefix: str, target: str) -> None:
    suffix = "\n */\nint a;\n}\n" if language == "java" else "\ny\n"
    assert verdict(prefix, target, suffix, language) == (Drop.VOID_CONFLICT, "continues a comment")


@pytest.mark.parametrize(
    ("prefix", "target"),
    [
        ("# the mean", "\nmean = sum(xs)"),
        ("# x = ", "foo(a, b)"),
        ("x = '# ", "the first one'"),
        ("x = ", "the_first"),
    ],
)
def test_code_near_a_comment_is_no_prose(prefix: str, target: str) -> None:
    assert verdict(prefix, target, "\ny\n")[0] is None


def test_brackets_that_the_suffix_has() -> None:
    assert verdict("x = foo(a", ")", ")\n") == (Drop.VOID_CONFLICT, "suffix already has ')'")
    assert verdict("foo(a", ");", "\n);\n", "javascript")[0] == Drop.VOID_CONFLICT
    assert verdict("foo(a", ")", ")\n", "ruby")[0] == Drop.VOID_CONFLICT


def test_brackets_that_are_needed_twice() -> None:
    prefix = "function f() {\n  if (a) {\n    b();\n  "
    assert verdict(prefix, "}", "\n}\n", "javascript") == (None, "errors 0")
    assert verdict("x = foo(bar(a", ")", ")\n") == (None, "errors 0")


@pytest.mark.parametrize(
    ("language", "prefix", "target", "suffix"),
    [
        ("python", "x = ", "foo(a", "\ny = 1\n"),
        ("python", "", "def f(:", "\n    pass\n"),
        ("python", "", "if a:", "\nb = 1\n"),
        ("javascript", "const x = ", "foo(a));", "\n"),
        ("java", "class A {\n", "int f( { }", "\n}\n"),
        ("go", "package a\n", "func f() {", "\n"),
        ("vue", "<script>\n", "const a = (", "\n</script>\n"),
    ],
)
def test_a_target_that_breaks_the_syntax(language: str, prefix: str, target: str, suffix: str) -> None:
    drop, evidence = verdict(prefix, target, suffix, language)
    assert drop == Drop.SYNTAX
    assert "context 0" in evidence or evidence == "header without a body"


def test_the_half_typed_line_gives_no_credit() -> None:
    # prefix + suffix alone has an error too, but only because the target is not there yet.
    assert verdict("a = 1\nx = ", "foo(", "\nb = 2\n")[0] == Drop.SYNTAX


def test_errors_elsewhere_are_forgiven() -> None:
    assert verdict("  }\n}\nfunction f() {\n  ", "a();", "\n}\n", "javascript")[0] is None


@pytest.mark.parametrize(
    ("language", "target", "rest"),
    [
        ("python", "if a:", "\n    b\n    c\n"),
        ("python", "try:", "\n    b\nfinally:\n    c\n"),
        ("javascript", "if (a) {", "\n  b();\n}\n"),
        ("java", "int f() {", "\n  return 1;\n}\n"),
    ],
)
def test_a_header_line_may_stay_open_when_the_commit_goes_on(language: str, target: str, rest: str) -> None:
    prefix, suffix = ("class A {\n", "\n}\n") if language == "java" else ("", "\n")
    assert verdict(prefix, target, suffix, language, rest)[0] is None
    assert verdict(prefix, target, suffix, language)[0] == Drop.SYNTAX


def test_credentials() -> None:
    assert verdict("key = ", f'"{TOKEN}"', "\n") == (Drop.SECRET, "GitHub Token on line 1")
    assert verdict(f'key = "{TOKEN[:9]}', f'{TOKEN[9:]}"', "\n")[0] == Drop.SECRET
    assert verdict(f'a("{TOKEN}", ', "b)", "\n")[0] is None  # it is the context's, not the target's


def test_checks_can_be_switched_off() -> None:
    off = VerifyConfig(void=False, syntax=False, secrets=False)
    assert check("x = ", "", "", "\n", "python", off) == (None, "void")
    assert check("x = ", f'("{TOKEN}"', "", "\n", "python", off) == (None, "unchecked")


def test_languages_without_a_grammar() -> None:
    assert verdict("x = ", "foo((", "\n", "ruby") == (None, "no grammar")


def test_stage_marks_every_row() -> None:
    rows = [
        {"prefix": "x = ", "target": "1", "suffix": "\n", "language": "python", "drop": None},
        {"prefix": "x = ", "target": "", "suffix": "\n", "language": "python", "drop": None},
        {"prefix": "x = ", "target": "(", "suffix": "\n", "language": "python", "drop": None},
        {"prefix": "x = ", "target": f"'{TOKEN}'", "suffix": "\n", "language": "python", "drop": None},
        {"prefix": "x = ", "target": "1", "suffix": "\n", "language": "python", "drop": "too_long"},
    ]
    result = verify(distilled(rows), CONFIG)
    assert result.schema == schema.VERIFIED
    assert result.column("drop").to_pylist() == [None, "void_conflict", "syntax", "secret", "too_long"]
    assert result.column("evidence").to_pylist()[0] == "errors 0"
    assert result.column("evidence").to_pylist()[4] is None
    assert TOKEN not in str(result.column("evidence"))


@given(st.lists(ROW, max_size=6), st.integers(0, 6))
@settings(deadline=None)
def test_stage_is_one_to_one(rows: list[dict[str, Any]], cut: int) -> None:
    table = distilled(rows)
    result = verify(table, CONFIG)
    kept = [name for name in schema.DISTILLED.names if name != "drop"]
    assert result.select(kept).equals(table.select(kept))
    for before, after in zip(table.to_pylist(), result.to_pylist(), strict=True):
        assert before["drop"] in (None, after["drop"])
        assert (after["evidence"] is None) == (before["drop"] is not None)
    parts = [verify(table.slice(0, cut), CONFIG), verify(table.slice(cut), CONFIG)]
    assert pa.concat_tables(parts).equals(result)


@given(TEXT, TEXT, st.sampled_from(sorted(syntax.GRAMMARS)))
@settings(deadline=None)
def test_a_target_that_adds_no_error_is_never_a_syntax_drop(prefix: str, suffix: str, language: str) -> None:
    target = random.Random(prefix + suffix).choice(["x", "x = 1", "x()"])
    drop, _ = verdict(prefix, target, suffix, language)
    tree = syntax.around(prefix, target, suffix, language, CONFIG.window_chars)
    assert tree is not None
    if syntax.count_errors(tree.parsed.root) == 0:
        assert drop != Drop.SYNTAX
