import ast
import random
import re
import sysconfig
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import schema
from echo_ray.errors import SchemaError
from echo_ray.schema import Drop
from echo_ray.stages import syntax
from echo_ray.stages.distil import (
    Cut,
    DistilConfig,
    SyntaxTeacher,
    accept,
    candidates,
    choose_syntax,
    distil,
    refine,
)

CONFIG = DistilConfig()
CORPUS = Path(__file__).parents[2] / "shared" / "data" / "corpus"
# Without the corpora there is still the standard library.
LANGUAGES = ["python", *(["javascript", "typescript", "vue", "java", "cpp", "go"] if CORPUS.is_dir() else [])]

FRAGMENTS = (
    "if x:\n|    |foo(a, b)|\n|\r\n|return |x = |[|]|{|}|(|)|'é😀'|\"|'''|// c|# c\n|;|,|else|\t|f(() => {"
)
FRAGMENT = st.sampled_from([*FRAGMENTS.split("|"), "`${", "a" * 150, "/*", "*/"])
TEXT = st.lists(FRAGMENT, max_size=12).map("".join)
LANGUAGE = st.sampled_from([*sorted(syntax.GRAMMARS), "ruby", "plaintext"])
ROW = st.fixed_dictionaries(
    {
        "prefix": TEXT,
        "commit": TEXT,
        "suffix": TEXT,
        "language": LANGUAGE,
        "drop": st.sampled_from([None, None, None, "unobserved"]),
    }
)


def sample_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    fill = {"user": "u", "session": "s", "file": "f", "ts_ms": 1, "end_ts_ms": 2, "snapshots": 1}
    full = [fill | {"sample_id": str(n), "request_id": str(n)} | row for n, row in enumerate(rows)]
    return pa.Table.from_pylist(full, schema=schema.SAMPLE)


def chosen(prefix: str, commit: str, suffix: str = "", language: str = "python") -> tuple[str, str] | None:
    cut = choose_syntax(prefix, commit, suffix, language, CONFIG)
    return None if cut is None else (commit[: cut.stop], cut.rule)


@pytest.mark.parametrize(
    ("language", "prefix", "commit", "suffix", "expected"),
    [
        ("python", "x = fo", "o(1)\ny = 2\n", "", ("o(1)", "statement")),
        ("python", "x = foo(", "a, b", ")\n", ("a, b", "statement")),
        ("python", "x = foo(", "a, b", ", c)\n", ("a, b", "expression")),
        ("python", "x = 1", "\ny = (2,\n  3)\nz\n", "", ("\ny = (2,\n  3)", "statement")),
        ("python", "", "if a:\n    b\nc\n", "", ("if a:\n    b", "statement")),
        ("python", "", "if a:\n    b\n    c\n    d\ne\n", "", ("if a:", "line")),
        ("python", "if ", "a:\n    b\nc\n", "", ("a:", "line")),
        ("python", "if a:\n    b\n", "else:\n    c\n    d\n    e\n", "", ("else:", "line")),
        ("python", "", "x = [\n" + "  1,\n" * 9 + "]\n", "", ("x = [", "line")),
        ("python", "é = ", "'ü😀'  \r\ny = 2\r\n", "", ("'ü😀'", "statement")),
        ("python", "", "# why\nx = 1\n", "", ("# why", "statement")),
        ("javascript", "{\nif (a) {\nb;\n", "} else {\nc;\nd;\n}\n", "}", ("} else {", "line")),
        ("javascript", "", "const f = (a) => {\n  b;\n  c;\n  d;\n};\n", "", ("const f = (a) => {", "line")),
        ("javascript", "a", "\n  .b()\n  .c();\nd();\n", "", ("\n  .b()\n  .c();", "statement")),
        ("typescript", "interface A {\n  ", "a: string;\n  b: B;", "\n}\n", ("a: string;", "statement")),
        ("java", "class A {\n", "@B\nint f() {\n  a();\n  return 1;\n}\n", "}", ("@B\nint f() {", "line")),
        (
            "go",
            "package a\nfunc f() {\n",
            "if e {\nreturn\n}\nx()\n",
            "}\n",
            ("if e {\nreturn\n}", "statement"),
        ),
        ("ruby", "begin\n  ", "foo(1,\n   2)\n  bar\n", "end", ("foo(1,\n   2)", "line")),
        ("vue", "<script>\n", "let a = 1\nlet b = 2", "\n</script>", ("let a = 1", "statement")),
    ],
)
def test_immediate_logical_unit(
    language: str, prefix: str, commit: str, suffix: str, expected: tuple[str, str]
) -> None:
    assert chosen(prefix, commit, suffix, language) == expected


def test_candidates_name_each_rule() -> None:
    commit = "a(1).b + 1\n    return a\n"
    found = candidates("def f():\n    c = ", commit, "", "python", CONFIG)
    assert [(commit[: cut.stop], cut.rule) for cut in found] == [
        ("a", "expression"),
        ("a(1)", "expression"),
        ("a(1).b", "expression"),
        ("a(1).b + 1", "statement"),
        ("a(1).b + 1\n    return a", "block"),
    ]


def test_block_by_indentation_without_a_grammar() -> None:
    commit = "if a\n  b\n  c\nd\n"
    found = candidates("", commit, "", "ruby", CONFIG)
    assert [(commit[: cut.stop], cut.rule) for cut in found] == [
        ("if a", "line"),
        ("if a\n  b\n  c", "block"),
    ]


@pytest.mark.parametrize(
    ("answer", "commit", "expected"),
    [
        ("x = 1", "x = 1\ny = 2\n", "x = 1"),
        ("x = 1\n\n", "x = 1\ny = 2\n", "x = 1"),
        ("  x = 1", "  x = 1", "  x = 1"),
        ("", "  \n", ""),
        ("x = 2", "x = 1\n", Drop.TEACHER_REWROTE),
        ("x = 1", " x = 1\n", Drop.TEACHER_REWROTE),
        ("x = 1 + 2", "x = 1", Drop.TEACHER_REWROTE),
        ("retu", "return 1", Drop.TEACHER_REWROTE),
        ("", "return 1", Drop.TEACHER_REWROTE),
    ],
)
def test_a_teacher_may_cut_and_not_rewrite(answer: str, commit: str, expected: str | Drop) -> None:
    assert accept(answer, commit) == expected


class Writes:
    """A teacher that answers with text."""

    name = "writes"

    def __init__(self, answer: str) -> None:
        self.answer = answer

    def choose(self, prefix: str, commit: str, suffix: str, language: str, cuts: Sequence[Cut]) -> str:
        return self.answer


class Last:
    """A teacher that takes the longest cut."""

    name = "last"

    def choose(self, prefix: str, commit: str, suffix: str, language: str, cuts: Sequence[Cut]) -> int:
        return len(cuts) - 1


@pytest.mark.parametrize(
    ("commit", "teacher", "expected"),
    [
        (" \n\t", SyntaxTeacher(), ("", "void")),
        ("x" * 201, SyntaxTeacher(), Drop.TOO_LONG),
        ("x = 1\ny", Writes("x = 1\n"), ("x = 1", "writes")),
        ("x = 1\ny", Writes("x=1"), Drop.TEACHER_REWROTE),
        ("x = 1\ny = 2", Last(), ("x = 1", "last")),
    ],
)
def test_refine(commit: str, teacher: Any, expected: tuple[str, str] | Drop) -> None:
    assert refine("", commit, "", "python", CONFIG, teacher) == expected


def test_stage_marks_every_row() -> None:
    table = sample_table(
        [
            {"prefix": "x = ", "suffix": "", "commit": "1\ny\n", "language": "python"},
            {"prefix": "x = ", "suffix": "", "commit": "1", "language": "python", "drop": "unobserved"},
            {"prefix": "", "suffix": "", "commit": "é" * 201, "language": "python"},
            {"prefix": "", "suffix": "", "commit": "", "language": "python"},
        ]
    )
    result = distil(table, CONFIG)
    assert result.schema == schema.DISTILLED
    assert result.column("target").to_pylist() == ["1", None, None, ""]
    assert result.column("cut_by").to_pylist() == ["statement", None, None, "void"]
    assert result.column("drop").to_pylist() == [None, "unobserved", "too_long", None]


def test_stage_refuses_a_table_of_another_kind() -> None:
    with pytest.raises(SchemaError, match="commit"):
        distil(sample_table([]).drop_columns(["commit"]), CONFIG)


def test_empty_table() -> None:
    assert distil(sample_table([]), CONFIG).schema == schema.DISTILLED


@given(st.lists(ROW, max_size=6), st.integers(0, 6))
@settings(deadline=None)
def test_stage_is_one_to_one(rows: list[dict[str, Any]], cut: int) -> None:
    table = sample_table(rows)
    result = distil(table, CONFIG)
    kept = [name for name in schema.SAMPLE.names if name != "drop"]
    assert result.select(kept).equals(table.select(kept))
    for before, after in zip(table.to_pylist(), result.to_pylist(), strict=True):
        assert before["drop"] in (None, after["drop"])
        assert (after["target"] is None) == (after["drop"] is not None)
        if after["target"] is not None:
            assert after["commit"].startswith(after["target"])
            assert after["target"] == after["target"].rstrip()
            assert (after["target"] == "") == (after["commit"].strip() == "")
            assert len(after["target"]) <= CONFIG.max_chars
    parts = [distil(table.slice(0, cut), CONFIG), distil(table.slice(cut), CONFIG)]
    assert pa.concat_tables(parts).equals(result)


@given(TEXT, TEXT, TEXT, LANGUAGE, st.integers(1, 4), st.integers(1, 60))
@settings(deadline=None)
def test_candidates_stay_within_the_limits(
    prefix: str, commit: str, suffix: str, language: str, max_lines: int, max_chars: int
) -> None:
    config = DistilConfig(max_lines=max_lines, max_chars=max_chars)
    found = candidates(prefix, commit, suffix, language, config)
    assert [cut.stop for cut in found] == sorted({cut.stop for cut in found})
    for cut in found:
        target = commit[: cut.stop]
        assert target == target.rstrip() != ""
        assert len(target) <= max_chars
        assert target.strip().count("\n") < max_lines


class Case(NamedTuple):
    prefix: str
    commit: str
    suffix: str
    language: str
    statement: str


FUNCTIONS = {
    "function_definition",
    "function_declaration",
    "method_declaration",
    "method_definition",
    "constructor_declaration",
}


def sources(language: str, draw: random.Random) -> list[tuple[str, str]]:
    """(path, content) of some files: from the corpus where there is one, else the standard library."""
    file = CORPUS / f"{language}.parquet"
    if file.is_file():
        batches = list(pq.ParquetFile(file).iter_batches(500, columns=["path", "content"]))
        rows = [row for batch in draw.sample(batches, 2) for row in batch.to_pylist()]
        return [(row["path"], row["content"]) for row in draw.sample(rows, len(rows))]
    if language != "python":
        return []
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    return [(path.name, path.read_text("utf-8", "replace")) for path in draw.sample(paths, 80)]


def cases(language: str, number: int) -> list[Case]:
    """Cursor at the start of a random statement of a random function; the commit is its rest."""
    draw = random.Random(f"distil {language}")
    found: list[Case] = []
    for path, content in sources(language, draw):
        name, before, body, after = language, "", content, ""
        if path.endswith(".tsx"):
            name = "typescriptreact"
        elif path.endswith(".c"):
            name = "c"
        elif language == "vue":
            opened = re.search(r"<script[^>]*>", content)
            if opened is None:
                continue
            close = content.find("</script>", opened.end())
            before, body, after = content[: opened.end()], content[opened.end() : close], content[close:]
            name = "typescript" if "ts" in opened.group() else "javascript"
        parsed = syntax.parse(body, name)
        if parsed is None or parsed.root.has_error or len(body) > 60_000:
            continue
        inner = [node for node in _below(parsed.root) if node.type in FUNCTIONS]
        spots = [
            (node, function)
            for function in draw.sample(inner, min(1, len(inner)))
            for node in _below(function)
            if node.type.endswith(("_statement", "_declaration"))
            and node != function
            and node.parent.type.endswith(("block", "body", "statement_list", "compound_statement"))
        ]
        if spots:
            node, function = draw.choice(spots)
            start, stop = parsed.char(node.start_byte), parsed.char(function.end_byte)
            statement = body[start : parsed.char(node.end_byte)]
            language_id = "vue" if language == "vue" else name
            found.append(
                Case(before + body[:start], body[start:stop], body[stop:] + after, language_id, statement)
            )
        if len(found) == number:
            break
    return found


def _below(node: Any) -> list[Any]:
    found, stack = [], [node]
    while stack:
        inner = stack.pop()
        found.append(inner)
        stack.extend(inner.children)
    return found


def complete_python(prefix: str, target: str) -> bool:
    """Whether Python's own parser takes the target for a unit, a header line with a dummy body."""
    column = len(prefix) - prefix.rfind("\n") - 1
    unit = textwrap.indent(textwrap.dedent(" " * column + target), "  ")
    for tail in ("", " pass", " pass\n  finally: pass", "\n   case _: pass"):
        try:
            ast.parse(f"async def f():\n while 1:\n{unit}{tail}\n")
        except SyntaxError:
            continue
        return True
    return False


def complete_braces(target: str, language: str) -> bool:
    """Whether the target parses inside an otherwise empty function; braces of a header line are closed."""
    name = "typescript" if language == "vue" else language
    tails = [""]
    if target.endswith(("{", ":")):
        parsed = syntax.parse(target, name)
        assert parsed is not None
        closing = syntax.unclosed(parsed, 0, len(target))
        tails += [closing, closing + " finally {}", closing + " while (1);", closing + " catch (...) {}"]
    frames = {
        "java": [
            "class A { void f() { %s } }",
            "class A { void f() { switch (1) { %s } } }",
            "class A { %s }",
        ],
        "go": ["package a\nfunc f() {\nfor {\n%s\n}\n}\n", "package a\nfunc f() {\nswitch {\n%s\n}\n}\n"],
        "c": ["void f() { switch (1) { %s } }"],
        "cpp": ["void f() { switch (1) { %s } }", "struct A { %s };"],
    }.get(name, ["async function* f() { while (1) { %s } }", "class A { %s }"])
    return any(syntax.errors(frame % (target + tail), name) == 0 for frame in frames for tail in tails)


@pytest.mark.parametrize("window", [None, 2500])
@pytest.mark.parametrize("language", LANGUAGES)
def test_targets_of_real_code_are_complete_units(language: str, window: int | None) -> None:
    found = cases(language, 43)  # 301 functions of seven languages
    assert len(found) == 43
    verdicts: Counter[str] = Counter()
    for case in found:
        prefix = case.prefix if window is None else case.prefix[-window:]
        cut = choose_syntax(prefix, case.commit, case.suffix[:window], case.language, CONFIG)
        if cut is None:
            verdicts["too long"] += 1
            continue
        target = case.commit[: cut.stop]
        python = case.language == "python"
        if complete_python(prefix, target) if python else complete_braces(target, case.language):
            verdicts["complete"] += 1
        elif len(case.statement) > CONFIG.max_chars or case.statement.count("\n") >= CONFIG.max_lines:
            # A statement without a body that is over the limits: its first line, by our choice.
            assert target == case.commit[: len(target)].partition("\n")[0].rstrip()
            verdicts["first line"] += 1
        else:
            verdicts["broken"] += 1
    within = verdicts["complete"] + verdicts["broken"]
    print(f"{language} window={window}: {dict(verdicts)}")
    assert verdicts["complete"] >= 0.95 * within
    assert within >= 0.8 * len(found)
