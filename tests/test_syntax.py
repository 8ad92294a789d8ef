from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from echo_ray import syntax
from echo_ray.syntax import window

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


LINES = st.lists(
    st.sampled_from(
        [
            "def f(a,\n      b):",
            "    if x:",
            "        y = {",
            "    }",
            '    """Text',
            '    """',
            "}",
            "/* a",
            " * b",
            " */",
            "`",
            "class A {",
            "  b() {",
            "  }",
            "#if A",
            "#endif",
            "namespace a {",
            "}  // namespace a",
            "<p>",
            "</p>",
            "",
            "x = 1" * 20,
            "é😀" * 40,
        ]
    ),
    max_size=60,
).map("\n".join)


@given(LINES, LINES, LINES, LANGUAGE, st.integers(1, 400))
@example('    """Text\n    """', "", "", "python", 7)
@settings(deadline=None)
def test_a_window_only_leaves_out(prefix: str, middle: str, suffix: str, language: str, near: int) -> None:
    before = window.before(prefix, language, 8_000, near)
    after = window.after(before, middle, suffix, language, 8_000, near)
    assert before == window.before(prefix, language, 8_000, near)
    assert before.endswith(prefix.rpartition("\n")[2][-near:])
    assert after.startswith(suffix.partition("\n")[0][:near])
    if len(prefix) <= near:
        assert prefix == before
    # Apart from a frame and closing brackets at the edges, every line is one of the file's.
    known = {*prefix.split("\n"), "class A {", "x = {"}
    assert all(line in known or prefix.endswith(line) for line in before.split("\n"))
    known = set(suffix.split("\n"))
    assert all(
        line in known or not line.strip(")]}") or suffix.startswith(line) for line in after.split("\n")
    )


@pytest.mark.parametrize(
    ("language", "prefix", "suffix", "kept_before", "kept_after"),
    [
        (
            "python",
            "class A:\n    def f(\n        self,\n    ):\n"
            + "        a = 1\n" * 90
            + "        if b:\n            ",
            "\n" + "        c = 1\n" * 60 + "    def g(self):\n        pass\n",
            "class A:\n    def f(\n    ):\n        a = 1\n",
            "        c = 1\n",
        ),
        (
            "javascript",
            "describe('a', () => {\n" + "  b();\n" * 200 + "  c(function () {\n    ",
            "\n" + "    d();\n" * 60 + "  });\n" + "  e();\n" * 60 + "});\n",
            "describe('a', () => {\n  b();\n",
            "    d();\n  });\n});\n",
        ),
        (
            "java",
            "class A\n        extends B {\n"
            + "    int c;\n\n" * 90
            + "    void f(int a,\n            int b) {\n"
            + "        g();\n" * 90,
            "        h();\n" * 60 + "    }\n\n" + "    int d;\n" * 60 + "}\n",
            "class A\n        extends B {\n    void f(int a,\n            int b) {\n        g();\n",
            "        h();\n    }\n}\n",
        ),
        (
            "python",
            '"""A\n\nb (\n"""\n\n\ndef f():\n    """C\n' + "    d [\n" * 200 + '    """\n    ',
            "\n",
            "def f():\n    ",
            "\n",
        ),
        (
            "python",
            'def f():\n    """C\n' + "    d [\n" * 200 + "    e",
            "\n" + "    f {\n" * 90 + '    """\n    return 1\n',
            'def f():\n    """C\n    d [\n',
            '    f {\n    """\n',
        ),
        (
            "c",
            "#ifdef A\nint a;\n" + "int b(void);\n" * 30,
            "int c;\n" * 90 + "#endif\n",
            "#ifdef A\n",
            "#endif\n",
        ),
        ("cpp", "namespace a {\n" + "int b();\n" * 200, "\n}  // namespace a\n", "int b();\n", "\n"),
    ],
)
def test_windows_are_little_files(
    language: str, prefix: str, suffix: str, kept_before: str, kept_after: str
) -> None:
    tree = syntax.around(prefix, "x", suffix, language, 8_000)
    assert tree is not None
    assert tree.prefix.startswith(kept_before)
    assert tree.suffix.endswith(kept_after)
    assert len(tree.prefix) <= 1_000
    assert len(tree.suffix) <= 500
    assert 0 == tree.spliced("x()" if language != "cpp" else "").errors or language in ("java", "c")


@pytest.mark.parametrize(
    ("language", "prefix"),
    [
        ("java", "    int a;\n" + "    void f() {\n        g();\n    }\n\n" * 40 + "    "),
        ("typescript", "  async f() {\n    g();\n  }\n\n" * 40 + "  "),
        ("javascript", "  f() {\n    g();\n  },\n" * 60 + "  "),
    ],
)
def test_members_without_their_class_get_a_frame(language: str, prefix: str) -> None:
    member = "h() {\n    i();\n  }" if language == "javascript" else "void h() { }"
    if language == "typescript":
        member = "h(): void { }"
    suffix = ("," if language == "javascript" else "\n") + prefix * 2
    tree = syntax.around(prefix, member, suffix, language, 8_000)
    assert tree is not None
    assert 0 == tree.errors


@given(TEXT, TEXT, TEXT, TEXT, LANGUAGE)
@settings(deadline=None)
def test_an_edited_tree_is_of_the_edited_text(
    prefix: str, middle: str, suffix: str, other: str, language: str
) -> None:
    tree = syntax.around(prefix, middle, suffix, language, 8_000)
    if tree is None:
        return
    before = (tree.errors, str(tree.parsed.root))
    again = tree.spliced(other)
    assert tree.prefix + other + tree.suffix == again.parsed.text
    assert again.parsed.data == again.parsed.text.encode("utf-8", "replace")
    fresh = syntax.parse(again.parsed.text, tree.language)
    assert fresh is not None
    assert (fresh.errors == 0) == (again.errors == 0)
    assert before == (tree.errors, str(tree.parsed.root))
    assert len(syntax.error_spans(again.parsed)) == again.errors


def test_edits_of_characters_of_many_bytes() -> None:
    tree = syntax.around("é = '😀'\nb = ", "'ü'", "\nc = 'ß'\n", "python", 8_000)
    assert tree is not None
    again = tree.spliced("f(\n  '€😀',\n)")
    assert str(again.parsed.root) == str(syntax.Parsed(again.parsed.text, "python").root)
    assert again.parsed.root.end_point == syntax.Parsed(again.parsed.text, "python").root.end_point


def test_columns_of_neighbours() -> None:
    parsed = syntax.parse("if a:\n    b\n      # c\n    d; e\n    f(\n  1)\n", "python")
    assert parsed is not None
    source = parsed.text
    assert (4, 4, None) == syntax.columns(parsed, source.index("d;"))
    assert None is syntax.columns(parsed, source.index("e\n"))
    assert None is syntax.columns(parsed, source.index("1)"))
    assert (4, None, None) == syntax.columns(parsed, source.index("f("))
