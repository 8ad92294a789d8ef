"""Variants of an intent: they mean the same, follow the suggestion, and come only where they apply."""

import ast
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.draws import Draws
from simulator.rules.distance import best_cut
from simulator.rules.equivalence import MOST, variants
from simulator.rules.equivalence_names import tokens
from simulator.work.style import restyle, style
from tests.test_sim_style import compiled, difference

DEF = "def f(a):\n    "
FUNCTION = "function f(a) {\n  "
C = "int f(int a) {\n  "
GO = "func f(a int) int {\n\t"
LIBRARY = sorted(Path(json.__file__).parent.glob("*.py"))

TAKEN = {
    "quotes": ("python", DEF, "b = 'c'\n", 'b = "c"\n    d = "e"', "b = 'c'\n    d = \"e\""),
    "quotes of a cut string": ("python", DEF, "b = 'c", 'b = "cd"\n', "b = 'cd'\n"),
    "name": ("python", DEF, "res = g(a)\n", "result = g(a)\n    return result", "res = g(a)\n    return res"),
    "name, not the attribute": (
        "python",
        DEF,
        "b = g(a)\n",
        "c = g(a)\n    c.c = 1",
        "b = g(a)\n    b.c = 1",
    ),
    "loop": (
        "python",
        DEF,
        "for it in a:\n",
        "for item in a:\n        g(item)",
        "for it in a:\n        g(it)",
    ),
    "targets": ("python", DEF, "b, d = a\n", "b, c = a\n    return b + c", "b, d = a\n    return b + d"),
    "white space": ("python", DEF, "g(1,b=2)\n", "g(1, b = 2)\n", "g(1,b=2)\n"),
    "keywords": ("python", DEF, "g(c=1, b=2)\n", "g(b=2, c=1)\n    h()", "g(c=1, b=2)\n    h()"),
    "comma": ("python", DEF, "g(\n        1,\n    )", "g(\n        1\n    )\n", "g(\n        1,\n    )\n"),
    "no comma": ("python", DEF, "b = [\n  1\n]", "b = [\n  1,\n]\n", "b = [\n  1\n]\n"),
    "semicolon": ("javascript", FUNCTION, "g(a);\n", "g(a)\n  h()\n", "g(a);\n  h()\n"),
    "no semicolon": ("typescript", FUNCTION, "g(a)\n  h()", "g(a);\n  h();\n", "g(a)\n  h();\n"),
    "constant": ("javascript", FUNCTION, "const b = 1\n", "const c = 1\n  g(c)\n", "const b = 1\n  g(b)\n"),
    "declaration": ("cpp", C, "int b = a;\n", "int c = a;\n  return c->c;", "int b = a;\n  return b->c;"),
    "short declaration": ("go", GO, "b := a\n", "c := a\n\treturn c", "b := a\n\treturn b"),
    "all": (
        "python",
        DEF,
        "res=g('b', d=1, c=2)\n",
        'result = g("b", c=2, d=1)\n    return result',
        "res=g('b', d=1, c=2)\n    return res",
    ),
}


@pytest.mark.parametrize(
    ("language", "before", "suggestion", "intent", "expected"), TAKEN.values(), ids=TAKEN
)
def test_what_counts_as_the_same(
    language: str, before: str, suggestion: str, intent: str, expected: str
) -> None:
    found = variants(suggestion, intent, before, "\n", language)
    assert expected in found
    assert best_cut(suggestion, expected)[1] < best_cut(suggestion, intent)[1]


REFUSED = {
    "verbatim": ("python", DEF, "b = 1", "b = 1\n    c = 2"),
    "nothing in common": ("python", DEF, "raise b", "return c"),
    "within a string": ("python", DEF + "b = 'c ", "d=1'\n", "d = 1'\n"),
    "within a docstring": ("python", DEF + '"""\n    ', "b=1\n", "b = 1\n"),
    "within a comment": ("python", DEF + "# ", "b=1\n", "b = 1\n"),
    "within a template": ("javascript", FUNCTION + "g(`\n", "b=1\n", "b = 1\n"),
    "within a block comment": ("java", "/* ", "b=1;\n", "b = 1;\n"),
    "vue template": ("vue", "<template>\n  ", "b=1\n", "b = 1\n"),
    "unknown language": ("ruby", "", "b=1\n", "b = 1\n"),
    "quotes of a character": ("java", C, 'char b = "c";\n', "char b = 'c';\n"),
    "quotes of an escape": ("python", DEF, "b = '\\n'\n", 'b = "\\n"\n'),
    "a name of before": ("python", "def f(a, c):\n    ", "b = 1\n", "c = 1\n"),
    "a name of after": ("python", DEF, "b = 1\n", "after = 1\n"),
    "the new name of before": ("python", "def f(b):\n    ", "b = 1\n", "c = 1\n"),
    "the new name in use": ("python", DEF, "b = g()\n", "c = g()\n    return b + c"),
    "a built-in": ("python", DEF, "list = g()\n", "c = g()\n    return c"),
    "used first": ("python", DEF, "g(b)\n", "g(c)\n    c = 1"),
    "module level": ("python", "", "b = g()\n", "c = g()\n"),
    "class level": ("python", "class A:\n    ", "b = g()\n", "c = g()\n"),
    "cut": ("python", DEF, "b", "c = g()\n"),
    "rest of a word": ("python", DEF + "re", "s = 1\n", "sult = 1\n"),
    "f-string": ("python", DEF, "b = g()\n", "c = g()\n    return f'{c}'"),
    "keyword of a call": ("python", DEF, "b = g()\n", "c = g()\n    return h(c=c)"),
    "keyword in an open call": ("python", DEF + "g(\n        ", "b=1\n", "c=1\n    )\n"),
    "shorthand": ("javascript", FUNCTION, "const b = 1\n", "const c = 1\n  return { c }"),
    "field": ("java", "class A {\n  ", "int b = 1;\n", "int c = 1;\n"),
    "single tuple": ("python", DEF, "b = (\n  1,\n)", "b = (\n  1\n)"),
    "generator": ("python", DEF, "g(\n  b for b in a,\n)", "g(\n  b for b in a\n)"),
    "continued line": ("javascript", FUNCTION, "g(a);\n", "g(a)\n    .h()\n"),
    "bracket after": ("javascript", FUNCTION, "g(a)\n[b]", "g(a);\n[b]"),
    "empty loop": ("javascript", FUNCTION, "if (a);\n", "if (a)\n  h()\n"),
    "order of calls": ("python", DEF, "g(c=h(), b=i())\n", "g(b=i(), c=h())\n"),
    "order of positions": ("python", DEF, "g(c, b)\n", "g(b, c)\n"),
    "order of parameters": ("python", "", "def g(c=1, b=2):\n", "def g(b=2, c=1):\n"),
    "operators": ("python", DEF, "a - -b\n", "a --b\n"),
    "macro": ("c", "", "#define G (a)\n", "#define G(a)\n"),
    "regular expression": ("javascript", FUNCTION, "g(/a,b/)\n", "g(/a, b/)\n"),
    "text between tags": ("javascriptreact", FUNCTION, "<p>a,b</p>\n", "<p>a, b</p>\n"),
    "indentation": ("python", DEF, "if a:\n        b()", "if a:\n      b()"),
}


@pytest.mark.parametrize(("language", "before", "suggestion", "intent"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_count(language: str, before: str, suggestion: str, intent: str) -> None:
    assert () == variants(suggestion, intent, before, "\n    after(1)\n", language)


def functions() -> list[tuple[str, int, int]]:
    """Python texts, and where the bodies of their functions start and stop."""
    found = []
    for path in LIBRARY:
        text = path.read_text()
        starts = [0]
        for line in text.split("\n"):
            starts.append(starts[-1] + len(line) + 1)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.body[-1].end_lineno is not None:
                first = node.body[0]
                at = starts[first.lineno - 1] + first.col_offset
                found.append((text, at, starts[node.body[-1].end_lineno] - 1))
    return found


def test_variants_of_real_functions_are_the_same_program() -> None:
    """What other users would have written is suggested; every variant keeps the program."""
    count = 0
    for text, start, stop in functions():
        intent = text[start:stop]
        old = compiled(text)
        for number in range(10):
            other = restyle(text, "python", style(Draws(5, str(number))))
            anchor = re.findall(r"\w+", intent)[0]
            for place in re.finditer(rf"\b{anchor}\b", other):
                for version in variants(
                    other[place.start() : place.start() + 200], intent, text[:start], text[stop:], "python"
                ):
                    count += 1
                    assert difference(old, compiled(text[:start] + version + text[stop:]), {}) is None
    assert count > 40


def shape(text: str, language: str) -> list[str]:
    """Tokens without what may differ: marks of strings, optional marks, names, white space."""
    kinds = []
    for token in tokens(text, language):
        if token.kind == "line" or token.text in (",", ";"):
            continue
        kinds.append(token.text if token.kind in ("mark", "number") else token.kind)
    return kinds


PIECES = st.lists(
    st.sampled_from(
        ["res", "out", "a", "b", " ", "=", " = ", "(", ")", ", ", ",", "'x'", '"x"', "\n    ", "f", ".", ";"]
    ),
    max_size=14,
).map("".join)


@given(PIECES, PIECES, st.sampled_from(["python", "javascript", "java", "go", "vue"]))
def test_variants_have_the_tokens_of_the_intent(suggestion: str, intent: str, language: str) -> None:
    before = DEF if language == "python" else FUNCTION
    found = variants(suggestion, intent, before, "\n", language)
    assert found == variants(suggestion, intent, before, "\n", language)
    assert len(found) <= MOST
    assert len(set(found)) == len(found)
    assert intent not in found
    for version in found:
        assert sorted(shape(intent, language)) == sorted(shape(version, language))  # keywords may move


@given(PIECES, PIECES, PIECES)
def test_renames_are_bijective(suggestion: str, head: str, rest: str) -> None:
    intent = f"value = {head}\n    {rest}"
    for version in variants(f"other = {suggestion}", intent, DEF, "\n", "python"):
        old, new = (
            [token.text for token in tokens(text, "python") if token.kind == "word"]
            for text in (intent, version)
        )
        if sorted(shape(intent, "python")) == shape(version, "python") or len(old) == len(new):
            pairs = set(zip(old, new, strict=True))
            assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@given(PIECES, PIECES)
def test_a_suggestion_that_is_the_intent_needs_no_variant(start: str, rest: str) -> None:
    assert () == variants(start, start + rest, DEF, "", "python")
