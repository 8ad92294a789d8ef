from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.stages import syntax

GOOD = {
    "python": "def f(x):\n    return [x, 'é😀']\n",
    "javascript": "const f = (x) => { return `a${x}b`; };\n",
    "javascriptreact": "const A = () => <div>{x}</div>;\n",
    "typescript": "interface A { a: string; b(): void }\n",
    "typescriptreact": "const A = (p: P) => <B c={p.d} />;\n",
    "vue": '<template>\n<p>{{ a }}</p>\n</template>\n<script lang="ts">\nconst a: number = 1\n</script>\n',
    "java": "class A { int f(int x) { return x; } }\n",
    "c": "int f(int x) { return x; }\n",
    "cpp": "struct A { auto f() const -> int { return 1; } };\n",
    "go": "package a\n\nfunc f(x int) int {\n\treturn x\n}\n",
}

TEXT = st.text(alphabet="ab1 =():{}[]\n\r\t'\"`#/*é😀\ud800.;,", max_size=60)
LANGUAGE = st.sampled_from([*sorted(syntax.GRAMMARS), "ruby"])


@pytest.mark.parametrize("language", sorted(syntax.GRAMMARS))
def test_every_language_has_a_grammar(language: str) -> None:
    assert syntax.errors(GOOD[language], language) == 0


@pytest.mark.parametrize("language", sorted(set(syntax.GRAMMARS) - {"vue"}))
def test_a_lost_bracket_is_an_error(language: str) -> None:
    cut = max(GOOD[language].rfind(bracket) for bracket in ")}]>")
    assert syntax.errors(GOOD[language][:cut] + GOOD[language][cut + 1 :], language)


def test_a_missing_token_is_an_error() -> None:
    assert syntax.errors("f(a", "javascript") == 1


def test_unknown_language_is_not_judged() -> None:
    assert syntax.errors("begin end", "ruby") is None
    assert syntax.around("a", "b", "c", "ruby", 1000) is None


def test_lone_surrogates_and_crlf_do_not_disturb() -> None:
    assert syntax.errors("x = '\ud800é'\r\ny = 2\r\n", "python") == 0


@given(TEXT, LANGUAGE)
@settings(deadline=None)
def test_offsets_survive_the_way_to_bytes_and_back(source: str, language: str) -> None:
    parsed = syntax.parse(source, language)
    if parsed is None:
        assert language == "ruby"
        return
    for offset in range(len(source) + 1):
        assert parsed.char(parsed.byte(offset)) == offset


@given(TEXT, LANGUAGE)
@settings(deadline=None)
def test_tokens_are_ordered_and_apart(source: str, language: str) -> None:
    parsed = syntax.parse(source, language)
    if parsed is None:
        return
    found = list(syntax.tokens(parsed, 0, len(source)))
    assert all(token.start < token.stop for token in found)
    assert all(a.stop <= b.start for a, b in pairwise(found))


def test_strings_and_comments_are_one_token() -> None:
    source = "x = 'a\\n(' # ) b\n"
    parsed = syntax.parse(source, "python")
    assert parsed is not None
    found = [source[token.start : token.stop] for token in syntax.tokens(parsed, 0, len(source))]
    assert found == ["x", "=", "'a\\n('", "# ) b"]


@pytest.mark.parametrize(
    ("language", "before", "after", "line"),
    [
        ("python", "y = ", "f(1,\n  2)\nz\n", "f(1,\n  2)"),
        ("python", "y = ", "'é😀(' + a[\n 0]\r\nz\n", "'é😀(' + a[\n 0]\r"),
        ("python", "f(", "a,\n  b)\n", "a,"),
        ("python", "", '"""a\n(\n"""\nb\n', '"""a\n(\n"""'),
        ("javascript", "", "const a = `x\n${b}\n`;\nc\n", "const a = `x\n${b}\n`;"),
        ("cpp", "", "#define A 1\nint b;\n", "#define A 1"),
        ("go", "package a\n", "var b = []int{\n1,\n}\nvar c int\n", "var b = []int{\n1,\n}"),
    ],
)
def test_logical_line(language: str, before: str, after: str, line: str) -> None:
    source = before + after
    parsed = syntax.parse(source, language)
    assert parsed is not None
    assert syntax.line_end(parsed, len(before), len(source)) == len(before) + len(line)


def test_logical_line_needs_a_newline() -> None:
    parsed = syntax.parse("f(a,\n", "python")
    assert parsed is not None
    assert syntax.line_end(parsed, 0, 5) is None


def unit(language: str, before: str, after: str) -> tuple[str, str | None]:
    parsed = syntax.parse(before + after, language)
    assert parsed is not None
    found = syntax.statement(parsed, len(before))
    assert found is not None
    text = before + after
    return text[found.start : found.stop], None if found.header is None else text[found.start : found.header]


@pytest.mark.parametrize(
    ("language", "before", "after", "expected"),
    [
        ("python", "a\n", "b = 'é'\nc\n", ("b = 'é'", None)),
        ("python", "b = fo", "o(1)\nc\n", ("b = foo(1)", None)),
        ("python", "", "if a:  # why\n    b\n    c\nd\n", ("if a:  # why\n    b\n    c", "if a:  # why")),
        ("python", "if a:\n    b\n", "else:\n    c\n", ("else:\n    c", "else:")),
        ("typescript", "interface A {\n  ", "a: string;\n  b: B;\n}\n", ("a: string;", None)),
        ("javascript", "function f() {\n", "if (a) {\nb();\n}\n}\n", ("if (a) {\nb();\n}", "if (a) {")),
        ("cpp", "struct A {\n", "public:\n  int b;\n};\n", ("public:", None)),
        ("java", "class A {\n", "int b;\nint c;\n}\n", ("int b;", None)),
        ("go", "package a\nfunc f() {\n\t", "b := 1\n\tc()\n}\n", ("b := 1", None)),
    ],
)
def test_statement(language: str, before: str, after: str, expected: tuple[str, str | None]) -> None:
    assert unit(language, before, after) == expected


def test_unclosed_brackets_are_closed_innermost_first() -> None:
    source = "f(a)[{b: ("
    parsed = syntax.parse(source, "javascript")
    assert parsed is not None
    assert syntax.unclosed(parsed, 0, len(source)) == ")}]"


@pytest.mark.parametrize(
    ("prefix", "suffix", "language"),
    [
        ("<template/>\n<script>\nlet a", "\n</script>\n<style>", "javascript"),
        ('<script setup lang="ts">\nlet a', "\n</script>", "typescript"),
        ("let a", "\n</script>\n<template></template>", "typescript"),
        ("<script></script>\n<template>\n<p>", "</p></template>", "vue"),
        ("<template>\n<p>", "</p></template>\n<script></script>", "vue"),
    ],
)
def test_vue_is_read_as_the_section_around_the_cursor(prefix: str, suffix: str, language: str) -> None:
    tree = syntax.around(prefix, " = 1", suffix, "vue", 1000)
    assert tree is not None
    assert tree.language == language
    assert "script" not in tree.parsed.text or language == "vue"


def test_errors_count_the_scripts_of_a_vue_file() -> None:
    assert syntax.errors("<template></template>\n<script>\nlet a = (\n</script>\n", "vue")


def test_a_window_that_starts_inside_a_docstring_is_turned_right_side_out() -> None:
    prefix = 'of a docstring.\n    """\n    a = 1\n    if a:\n        '
    tree = syntax.around(prefix, "b = 2", '\n\ndef g():\n    """Doc."""\n    return 1\n', "python", 4000)
    assert tree is not None
    assert unit("python", tree.prefix, tree.middle + tree.suffix)[0] == "b = 2"


def test_windows_start_at_a_top_level_line() -> None:
    prefix = "".join(f"def f{n}():\n    return {n}\n\n" for n in range(100))
    tree = syntax.around(prefix, "x = 1", "\n" * 2000, "python", 400)
    assert tree is not None
    assert tree.prefix.startswith("def f")
    assert len(tree.prefix) <= 400
    assert len(tree.suffix) <= 400


def test_cursor_in_comment() -> None:
    parsed = syntax.parse("x = 1 # add ", "python")
    assert parsed is not None
    assert [syntax.in_comment(parsed, offset) for offset in (0, 6, 7, 9)] == [False, False, True, True]
