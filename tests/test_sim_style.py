"""The style layer: what changes, what must not, and that programs mean the same."""

import ast
import asyncio
import dis
import json
import re
import warnings
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from types import CodeType

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import syntax
from simulator.draws import Draws
from simulator.work.style import Marks, Pointers, Style, restyle, style
from simulator.work.style_names import RESERVED, Habit, renamed

CORPUS = Path(__file__).parents[2] / "shared" / "data" / "corpus"
LIBRARY = [path for module in (json, asyncio) for path in sorted(Path(module.__file__).parent.glob("*.py"))]
PLAIN = Style("", Marks.KEEP, Marks.KEEP, Pointers.KEEP, 0.0, Habit.PLAIN, 1)
USERS = [style(Draws(1, f"user {number}")) for number in range(12)]
EXTENSIONS = {".jsx": "javascriptreact", ".tsx": "typescriptreact", ".c": "c"}


def named(habit: Habit = Habit.PLAIN, **changes) -> list[Style]:
    return [Style("", Marks.KEEP, Marks.KEEP, Pointers.KEEP, 0.0, habit, key, **changes) for key in range(40)]


# An oracle for Python: the compiler. Code objects are equal but for the names of locals, bijectively.

UNIMPORTANT = {"MAKE_CELL", "COPY_FREE_VARS", "EXTENDED_ARG", "RESUME", "NOP", "CACHE", "PUSH_NULL"}
LOCAL = {*dis.haslocal, *dis.hasfree}
JUMPS = {*dis.hasjrel, *dis.hasjabs}


def compiled(text: str) -> CodeType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(text)
        for node in ast.walk(tree):  # the compiler arranges code by lines
            if hasattr(node, "lineno"):
                node.lineno = node.end_lineno = 1
                node.col_offset = node.end_col_offset = 0
        return compile(tree, "text", "exec", dont_inherit=True)


def difference(old: CodeType, new: CodeType, known: dict[str, str]) -> str | None:
    """Why `new` is not `old` with other names of locals; `known` maps the free variables."""
    one, other = (
        [item for item in dis.get_instructions(code) if item.opname not in UNIMPORTANT] for code in (old, new)
    )
    arguments = old.co_argcount + old.co_kwonlyargcount + bool(old.co_flags & 4) + bool(old.co_flags & 8)
    if len(one) != len(other) or old.co_varnames[:arguments] != new.co_varnames[:arguments]:
        return f"{old.co_name}: shape"
    names = {name: known[name] for name in old.co_freevars}
    names |= {name: name for name in old.co_varnames[:arguments]}
    nested = []
    for a, b in zip(one, other, strict=True):
        # Whether a call is compiled as a method call hangs on the names of imports.
        if a.opname != b.opname and {a.opname, b.opname} != {"LOAD_ATTR", "LOAD_METHOD"}:
            return f"{old.co_name}: {a.opname} {b.opname}"
        if a.opname == "LOAD_CLOSURE":
            continue  # in alphabetical order; the nested code says which is which
        if a.opcode in LOCAL:
            if names.setdefault(a.argval, b.argval) != b.argval:
                return f"{old.co_name}: {a.argval} is {names[a.argval]} and {b.argval}"
        elif isinstance(a.argval, CodeType):
            nested.append((a.argval, b.argval))
        elif a.opcode not in JUMPS and a.argval != b.argval:
            return f"{old.co_name}: {a.argval} {b.argval}"
    if len(set(names.values())) < len(names):
        return f"{old.co_name}: two are one"
    for a, b in nested:
        # Variables that only nested code uses are known by nothing but how it uses them.
        unknown = [name for name in a.co_freevars if name not in names]
        assert len(unknown) < 6, "too many to try"
        rest = set(b.co_freevars) - {names.get(name) for name in a.co_freevars}
        inner = [
            difference(a, b, names | dict(zip(unknown, order, strict=True)))
            for order in permutations(sorted(rest))
            if len(order) == len(unknown)
        ]
        if None not in inner:
            return inner[0] if inner else f"{a.co_name}: closure"
    return None


# An oracle for all languages: tokens are equal but for marks that are matters of taste.


def words(text: str, language: str) -> Iterator[tuple[str, str]]:
    """Tokens without comments, optional marks, and which mark quotes."""
    parsed = syntax.parse(text, language)
    assert parsed is not None
    found = [
        (token.kind, parsed.text[token.start : token.stop])
        for token in syntax.tokens(parsed, 0, len(text))
        if "comment" not in token.kind
    ]
    for index, (kind, value) in enumerate(found):
        following = found[index + 1][1] if index + 1 < len(found) else ""
        if value == "," and following in (")", "]", "}"):
            continue
        if value == ";" and language.startswith(("java", "type")) and language != "java":
            continue
        if re.fullmatch(r"""(['"])[^'"\\\n]*\1""", value):
            value = f"'{value[1:-1]}'"
        elif "string" in kind:
            value = re.sub(
                r"\{.*\}", "{}", value, flags=re.DOTALL
            )  # names within are the parser's tokens, too
        yield kind, value


def changed_words(old: str, new: str, language: str) -> set[tuple[str, str]]:
    """Pairs of identifiers that differ; nothing else does."""
    one, other = list(words(old, language)), list(words(new, language))
    assert [kind for kind, _ in one] == [kind for kind, _ in other]
    pairs = {(*a, b[1]) for a, b in zip(one, other, strict=True) if a != b}
    assert {kind for kind, _, _ in pairs} <= {"identifier"}
    return {(a, b) for _, a, b in pairs}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_python_means_the_same(path: Path) -> None:
    text = path.read_text()
    for user in USERS[:4]:
        result = restyle(text, "python", user)
        assert difference(compiled(text), compiled(result), {}) is None


def corpus_files() -> list[tuple[str, str, str]]:
    files = []
    for table in sorted(CORPUS.glob("*.parquet")):
        read = pq.ParquetFile(table).read_row_group(0, columns=["path", "content"])
        for index in range(0, len(read), max(1, len(read) // 15)):
            path, text = read["path"][index].as_py(), read["content"][index].as_py()
            if len(text) < 20_000:
                files.append((EXTENSIONS.get(Path(path).suffix, table.stem), path, text))
    return files


@pytest.mark.parametrize(
    ("language", "path", "text"),
    [pytest.param(*file, id=f"{file[0]}-{file[1].replace('/', '-')}") for file in corpus_files()],
)
def test_real_files_keep_their_tokens(language: str, path: str, text: str) -> None:
    for user in USERS[:3]:
        result = restyle(text, language, user)
        assert restyle(text, language, user) == result
        before, after = syntax.errors(text, language), syntax.errors(result, language)
        assert before is not None
        assert after is not None
        assert after <= before
        if language != "vue" and not before:
            new_names = [new for _, new in changed_words(text, result, language)]
            assert not RESERVED & set(new_names)


SCOPES = {
    "python parameter": ("python", "def f(value):\n    return value\n", "", "value"),
    "python local": ("python", "def f():\n    result = 1\n    return result\n", "result", ""),
    "python module": ("python", "result = 1\n\ndef f():\n    return result\n", "", "result"),
    "python global": ("python", "def f():\n    global result\n    result = 1\n", "", "result"),
    "python nonlocal": (
        "python",
        "def f():\n    count = 1\n    def g():\n        nonlocal count\n        count = 2\n",
        "",
        "count",
    ),
    "python closure": ("python", "def f():\n    result = 1\n    return lambda: result\n", "result", ""),
    "python attribute": ("python", "def f(a):\n    a.result = 1\n    return a.result\n", "", "result"),
    "python keyword": ("python", "def f():\n    return g(result=1)\n", "", "result"),
    "python class": ("python", "def f():\n    class A:\n        result = 1\n    return A\n", "", "result"),
    "python dump": ("python", "def f():\n    result = 1\n    return f'{result=}'\n", "", "result"),
    "python f-string": ("python", "def f():\n    result = 1\n    return f'{result!r}'\n", "result", ""),
    "python locals": ("python", "def f():\n    result = 1\n    return locals()\n", "", "result"),
    "python import": ("python", "def f():\n    import result\n    return result\n", "", "result"),
    "python match": (
        "python",
        "def f(a):\n    match a:\n        case [result]: return result\n",
        "",
        "result",
    ),
    "python default": (
        "python",
        "def f():\n    result = 1\n    def g(a=result):\n        result = 2\n        return result\n",
        "result",
        "",
    ),
    "python taken": (
        "python",
        "def f():\n    result = res = ret = out = outcome = 1\n    return result\n",
        "",
        "result",
    ),
    "javascript local": ("javascript", "function f() { const result = 1; return result }", "result", ""),
    "javascript module": ("javascript", "const result = 1; function f() { return result }", "", "result"),
    "javascript shorthand": (
        "javascript",
        "function f() { const result = 1; return { result } }",
        "",
        "result",
    ),
    "javascript key": ("javascript", "function f() { return { result: 1 }.result }", "", "result"),
    "javascript pattern": (
        "javascript",
        "function f(a) { const { result } = a; return result }",
        "",
        "result",
    ),
    "javascript value": (
        "javascript",
        "function f(a) { const { b: result } = a; return result }",
        "result",
        "",
    ),
    "javascript var": (
        "javascript",
        "function f(a) { if (a) { var result = 1 } return result }",
        "result",
        "",
    ),
    "javascript parameter": ("javascript", "function f(result) { return result }", "result", ""),
    "javascript swap": (
        "javascript",
        "function f(a) { let result = 1; { [result, a] = [a, result] } return result }",
        "result",
        "",
    ),
    "typescript property": (
        "typescript",
        "class A { constructor(private result: B) { f(result) } }",
        "",
        "result",
    ),
    "typescript function type": (
        "typescript",
        "function f(value: (a: A) => B) { const c = (d: A) => value(d); return c }",
        "value",
        "",
    ),
    "typescript element": (
        "typescriptreact",
        "function f() { const value = 1; return <value>{value}</value> }",
        "",
        "<value>",
    ),
    "java field": ("java", "class A { int result; int f() { return result; } }", "", "result"),
    "java local": (
        "java",
        "class A { int f() { int result = 1; return this.result + result; } }",
        "",
        "this.result",
    ),
    "java method": ("java", "class A { int f() { int c = result(); return c; } }", "", "result"),
    "java annotated": ("java", "class A { int f(@Name String value) { return g(value); } }", "", "value"),
    "java inner": (
        "java",
        "class A { B f() { int result = 1; return new B() { int g() { return result; } }; } }",
        "",
        "result",
    ),
    "c macro": ("c", "#define G g(result)\nint f() { int result = 1; return G; }\n", "", "result"),
    "c field": ("c", "int f(struct a *b) { int c = b->result; return c; }\n", "", "result"),
    "c local": ("c", "int f() { int *result = g(); return *result; }\n", "result", ""),
    "cpp exported class": (
        "cpp",
        "class EXPORT A {\n  int result;\n  A() : result(1) {}\n};\n",
        "",
        "result",
    ),
    "cpp capture": (
        "cpp",
        "int f() { int result = 1; return [&result] { return result; }(); }\n",
        "result",
        "",
    ),
    "cpp prototype": ("cpp", "int f() { int c = 1; A b(value); return value + c; }\n", "", "value"),
    "go local": ("go", "package a\n\nfunc f() int {\n\tresult := 1\n\treturn result\n}\n", "result", ""),
    "go key": ("go", "package a\n\nfunc f() T {\n\tvalue := 1\n\treturn T{value: 2}\n}\n", "", "value"),
    "go receiver": ("go", "package a\n\nfunc (value T) f() int {\n\treturn value.a\n}\n", "", "value"),
}


@pytest.mark.parametrize(("language", "text", "goes", "stays"), SCOPES.values(), ids=SCOPES)
def test_only_locals_are_renamed_and_wholly(language: str, text: str, goes: str, stays: str) -> None:
    results = [restyle(text, language, user) for user in named()]

    def counts(word: str) -> set[int]:
        return {len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", result)) for result in results}

    if goes:
        assert counts(goes) == {0, len(re.findall(rf"\b{goes}\b", text))}
    if stays:
        assert counts(stays) == {text.count(stays)}


def test_go_reads_the_outer_variable_in_a_declaration() -> None:
    text = "package a\n\nvar result = 1\n\nfunc f() int {\n\tresult := result\n\treturn result\n}\n"
    results = {restyle(text, "go", user) for user in named()}
    assert any(re.search(r"\t(?!result)\w+ := result\n", result) for result in results)
    assert all(result.count("var result = 1") == 1 for result in results)


def test_java_use_before_the_declaration_is_the_field() -> None:
    text = "class A { void f() { g(result); int result = 1; h(result); } }"
    results = {restyle(text, "java", user) for user in named()}
    assert len(results) > 1
    assert all("g(result)" in result for result in results)
    assert not any("h(result)" in result for result in results if result != text)


def test_quotes_of_plain_strings_follow_the_user() -> None:
    single, double = (Style(**{**fields(PLAIN), "quote": quote}) for quote in "'\"")
    text = (
        'def f():\n    """Doc."""\n    "alone"\n'
        '    return ["a", b"b", "it\'s", f"{c["d"]}", "\\n", "e" "f"]\n'
    )
    result = restyle(text, "python", single)
    assert '    return [\'a\', b"b", "it\'s", f"{c["d"]}", "\\n", \'e\' \'f\']\n' in result
    assert '    """Doc."""\n    "alone"\n' in result
    assert restyle(result, "python", double) == text
    script = 'const a = ["b", \'c"d\', `e`]; const g = <h i="j">k</h>;\n'
    assert "const a = ['b', 'c\"d', `e`]; const g = <h i=\"j\">k</h>;\n" == restyle(
        script, "javascript", single
    )
    assert 'int a = f("b");\n' == restyle('int a = f("b");\n', "c", single)


def fields(user: Style) -> dict:
    return {name: getattr(user, name) for name in Style.__dataclass_fields__}


@pytest.mark.parametrize(
    ("language", "without", "with_comma"),
    [
        ("python", "f(\n    a,\n    b\n)\n", "f(\n    a,\n    b,\n)\n"),
        ("python", "a = [\n    1  # one\n]\n", "a = [\n    1,  # one\n]\n"),
        ("python", "def f(\n    a, *b\n): pass\n", "def f(\n    a, *b,\n): pass\n"),
        ("javascript", "f({\n  a: 1,\n  b\n})\n", "f({\n  a: 1,\n  b,\n})\n"),
        ("typescript", "const a = [\n  1\n]\n", "const a = [\n  1,\n]\n"),
    ],
)
def test_commas_come_and_go(language: str, without: str, with_comma: str) -> None:
    add, remove = (Style(**{**fields(PLAIN), "commas": commas}) for commas in (Marks.ADD, Marks.REMOVE))
    for text in (without, with_comma):
        assert with_comma == restyle(text, language, add)
        assert without == restyle(text, language, remove)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "a = (\n    1,\n)\n"),
        ("python", "a = f(\n    b for b in c\n)\n"),
        ("python", "a = [\n    b for b in c\n]\n"),
        ("python", "a = (\n    1 + 2\n)\n"),
        ("javascript", "const a = [1,,\n]\n"),
        ("javascript", "const {\n  a,\n  ...b\n} = c\n"),
        ("javascript", "import(\n  'a'\n)\n"),
        ("go", "package a\n\nvar b = []int{\n\t1,\n}\n"),
    ],
)
def test_commas_that_matter_stay(language: str, text: str) -> None:
    for commas in (Marks.ADD, Marks.REMOVE):
        assert text == restyle(text, language, Style(**{**fields(PLAIN), "commas": commas}))


def test_semicolons_where_the_parser_inserts_them() -> None:
    add, remove = (Style(**{**fields(PLAIN), "semicolons": marks}) for marks in (Marks.ADD, Marks.REMOVE))
    bare = (
        "import a from 'b'\nconst c = 1 // one\nfunction f() {\n  return c\n}\nfor (let i = 0; i < 1;) {}\n"
    )
    full = bare.replace("'b'", "'b';").replace("= 1", "= 1;").replace("return c", "return c;")
    assert full == restyle(bare, "javascript", add)
    assert bare == restyle(full, "javascript", remove)
    for risky in ("a = b;\n(c)()\n", "a = b;\n[c] = d\n", "a = b;\n`c`\n", "if (a) b();\nelse c()\n"):
        assert risky.split("\n")[0] in restyle(risky, "javascript", remove)


def test_pointers_lean_to_the_users_side() -> None:
    left, right = (Style(**{**fields(PLAIN), "pointers": side}) for side in (Pointers.LEFT, Pointers.RIGHT))
    one, other = (
        "int f(const A& a, char* b) { B* c = a.d * e; }\n",
        "int f(const A &a, char *b) { B *c = a.d * e; }\n",
    )
    assert other == restyle(one, "cpp", right)
    assert one == restyle(other, "cpp", left)
    assert "int *a, *b;\n" == restyle("int *a, *b;\n", "c", left)


def test_comments_are_left_out_together_and_by_what_they_say() -> None:
    text = "# Licence.\n\nimport a\n\n# One\n# two\n\nb = 1  # noqa\n# type: ignore\nc = 2\n# three\nd = 3\n"
    silent = [Style(**{**fields(PLAIN), "dropped": 1.0, "key": key}) for key in range(3)]
    for user in silent:
        assert "# Licence.\n\nimport a\n\nb = 1  # noqa\n# type: ignore\nc = 2\nd = 3\n" == restyle(
            text, "python", user
        )
    half = [Style(**{**fields(PLAIN), "dropped": 0.5, "key": key}) for key in range(400)]
    kept = [
        ("# One\n# two" in out, "# three" in out) for user in half if (out := restyle(text, "python", user))
    ]
    assert {(True, True), (True, False), (False, True), (False, False)} == set(kept)
    assert 0.4 < sum(first for first, _ in kept) / len(kept) < 0.6
    assert "try { a() } catch (e) {\n  // b\n}\n" == restyle(
        "try { a() } catch (e) {\n  // b\n}\n", "javascript", silent[0]
    )


def test_scripts_of_vue_files_alone_change() -> None:
    text = '<template>\n  <p :a="\'b\'">c</p>\n</template>\n<script lang="ts">\nconst d: E = "f"\n</script>\n'
    user = Style(**{**fields(PLAIN), "quote": "'", "semicolons": Marks.ADD})
    assert text.replace('"f"', "'f';") == restyle(text, "vue", user)


@pytest.mark.parametrize("number", range(4))
def test_versions_of_a_file_differ_where_they_differed(number: int) -> None:
    """A statement that a commit adds is all that the restyled commit adds."""
    source = LIBRARY[number].read_text()
    ends = [match.end() for match in re.finditer(r"^        return \w+.*\n", source, re.MULTILINE)]
    for user in USERS[:6]:
        parent = restyle(source, "python", user).split("\n")
        for end in ends[:8]:
            child = restyle(source[:end] + '        added_call("x")\n' + source[end:], "python", user).split(
                "\n"
            )
            new = [line for line in child if "added_call(" in line]
            assert len(new) == 1
            child.remove(new[0])
            assert parent == child


@given(
    st.text(alphabet="ab =():{}[]\n\t'\"#/*,;é\ud800.`<>$&", max_size=80),
    st.sampled_from(sorted(syntax.GRAMMARS)),
)
@settings(deadline=None)
def test_any_text_comes_back_and_no_worse(text: str, language: str) -> None:
    for user in USERS[:3]:
        result = restyle(text, language, user)
        before, after = syntax.errors(text, language), syntax.errors(result, language)
        assert before is not None
        assert after is not None
        assert after <= before


def test_other_languages_stay() -> None:
    assert "x = 'a'" == restyle("x = 'a'", "ruby", USERS[0])


def test_users_differ_and_are_the_same_every_time() -> None:
    users = [style(Draws(3, str(number))) for number in range(400)]
    assert users == [style(Draws(3, str(number))) for number in range(400)]
    assert 400 == len({user.key for user in users})
    for mark, share in (("'", 0.4), ('"', 0.4), ("", 0.2)):
        assert share == pytest.approx(sum(user.quote == mark for user in users) / 400, abs=0.08)
    assert 0.4 == pytest.approx(sum(user.dropped for user in users) / 400, abs=0.05)


@given(st.from_regex(r"[a-z]{1,8}(_[a-z]{1,8}){0,2}", fullmatch=True), st.booleans(), st.integers(0, 99))
def test_new_names_are_names(name: str, camel: bool, key: int) -> None:
    for habit in Habit:
        new = renamed(name, camel, key, habit)
        assert new.isidentifier()
        assert new == name or new not in RESERVED
        assert Habit.PLAIN is not habit or new in (name, renamed(new, camel, key, habit))


def test_one_user_has_one_word_for_a_thing() -> None:
    for key in range(20):
        assert 1 == len({renamed(name, False, key, Habit.SHORT) for name in ("result", "res", "ret", "out")})
    assert 3 <= len({renamed("result", False, key, Habit.SHORT) for key in range(60)})
    assert "usrMsgs" != renamed("user_messages", True, 1, Habit.SHORT)
    assert "user_msgs" == renamed("user_messages", True, 1, Habit.SHORT)
    assert "sourceIndex" == renamed("srcIdx", True, 1, Habit.LONG)
