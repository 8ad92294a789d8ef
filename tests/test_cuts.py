"""Cut rules, on written examples, on any text, on functions of seven languages and on real commits."""

import ast
import random
import re
import sysconfig
import textwrap
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import syntax
from echo_ray.stages.cuts import RULES, Limits, candidates, immediate
from simulator.work import edits
from simulator.work.sources import load
from tests.test_sim_work import config

CONFIG = Limits()
DATA = Path(__file__).parents[2] / "shared" / "data"
CORPUS = DATA / "corpus"
# Without the corpora there is still the standard library.
LANGUAGES = ["python", *(["javascript", "typescript", "vue", "java", "cpp", "go"] if CORPUS.is_dir() else [])]
BUNDLES = sorted((DATA / "repos").glob("*.bundle"))

FRAGMENTS = (
    "if x:\n|    |foo(a, b)|\n|\r\n|return |x = |[|]|{|}|(|)|'é😀'|\"|'''|// c|# c\n|;|,|else|\t|f(() => {"
    "|<p>|</p>|@|case 1:|\ud800|\0|/*|*/"
)
TEXT = st.lists(st.sampled_from([*FRAGMENTS.split("|"), "`${", "a" * 150]), max_size=12).map("".join)
LANGUAGE = st.sampled_from([*sorted(syntax.GRAMMARS), "ruby", "plaintext"])


def chosen(prefix: str, commit: str, suffix: str = "", language: str = "python") -> tuple[str, str] | None:
    cuts = candidates(prefix, commit, suffix, language, CONFIG)
    if not cuts:
        return None
    cut = cuts[immediate(cuts)]
    return commit[: cut.stop], cut.rule


@pytest.mark.parametrize(
    ("language", "prefix", "commit", "suffix", "expected"),
    [
        ("python", "x = fo", "o(1)\ny = 2\n", "", ("o(1)", "statement")),
        ("python", "x = foo(", "a, b", ")\n", ("a, b", "statement")),
        ("python", "x = foo(", "a, b", ", c)\n", ("a, b", "expression")),
        ("python", "x = 1", "\ny = (2,\n  3)\nz\n", "", ("\ny = (2,\n  3)", "statement")),
        ("python", "", "if a:\n    b\nc\n", "", ("if a:\n    b", "statement")),
        ("python", "", "if a:\n    b\n    c\n    d\ne\n", "", ("if a:", "line")),
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
        # Compound statements: header and body up to three lines, the part before the cursor included.
        ("python", "if ", "a:\n    b\nc\n", "", ("a:\n    b", "statement")),
        ("python", "if ", "a:\n    b\n    c\n    d\ne\n", "", ("a:", "line")),
        ("python", "if a", ":\n    b\nc\n", "", (":\n    b", "statement")),
        ("javascript", "", "if (a) {\n  b();", "\n}\n", ("if (a) {\n  b();", "statement")),
        (
            "javascript",
            "",
            "it('a', () => {\n  b();\n});\nc();\n",
            "",
            ("it('a', () => {\n  b();\n});", "statement"),
        ),
        (
            "javascript",
            "",
            "export default {\n  data() {\n    return {\n      a,\n      b,\n      c\n    };\n  }\n};\n",
            "",
            ("export default {", "line"),
        ),
        (
            "java",
            "class A {\nvoid f() {\n",
            "if (a) { // why\n  b();\n  c();\n  d();\n}\n",
            "}\n}",
            ("if (a) {", "line"),
        ),
        (
            "c",
            "void f() {\nswitch (a) {\n",
            "case 1:\n  b();\n  c();\n  break;\ncase 2:\n  d();\n",
            "}\n}\n",
            ("case 1:", "line"),
        ),
        (
            "go",
            "package a\nfunc f() {\nswitch a {\n",
            "default:\n\tb()\n}",
            "\n}\n",
            ("default:\n\tb()", "statement"),
        ),
        # Comments: up to three lines are one unit, of more there is one line.
        ("python", "", "# a\n# b\nx = 1\n", "", ("# a\n# b", "statement")),
        ("python", "# a", "\n# b\n# c\nx\n", "", ("\n# b\n# c", "statement")),
        ("python", "# a\n# b\n", "# c\n# d\nx\n", "", ("# c", "statement")),
        ("go", "package a\n// a ", "b\n// c\nvar d int\n", "", ("b\n// c", "statement")),
        ("java", "", "/**\n * a\n * b\n */\nclass C {}\n", "", ("/**", "statement")),
        ("javascript", "", "/* a\n b */\nc();\n", "", ("/* a\n b */", "statement")),
        ("python", "", "x = 1  # why\ny\n", "", ("x = 1", "statement")),
        # Larger statements: the largest part around the cursor that is small, else one line.
        (
            "python",
            "x = {\n" + "    'a': 1,\n" * 9 + "    'b': f(",
            "1,\n        2),\n    'c': 3,\n",
            "}\n",
            ("1,\n        2),", "line"),
        ),
        (
            "python",
            "x = {\n" + "    'a': 1,\n" * 9 + "    ",
            "'b': 2,\n    'c': 3,\n",
            "}\n",
            ("'b': 2,", "line"),
        ),
        ("python", 'x = """' + "a\n" * 9, 'b\nc\n"""\ny\n', "", ("b", "line")),
        ("go", "package a\n\nimport (\n", '\t"a"\n\t"b"\n', ")\n", ('\t"a"', "statement")),
        # Only what closes: all brackets, one tag.
        ("javascript", "f(g(() => {\n  a();\n", "}))", "\nb();\n", ("}))", "statement")),
        ("vue", "<template>\n<p>\n<b>\n", "</b>\n</p>\n", "</template>\n", ("</b>", "statement")),
        # Decorators, elements of markup, text that the suffix goes on with.
        ("python", "@", "cache\ndef f():\n    return 1\n", "", ("cache", "statement")),
        (
            "vue",
            "<template>\n  ",
            "<p>\n    a\n  </p>\n  <b/>",
            "\n</template>\n",
            ("<p>\n    a\n  </p>", "statement"),
        ),
        ("vue", "<template>\n", "<p>\n<b/>\n<b/>\n</p>\n", "</template>\n", ("<p>", "line")),
        (
            "javascriptreact",
            "const A = () => (\n  ",
            "<p>\n    {b}\n    {c}\n    {d}\n  </p>\n",
            ")\n",
            ("<p>", "line"),
        ),
        ("typescript", "f(a", ", b", ", c);\n", (", b", "expression")),
        ("python", "", "\ud800x = 1\ny\n", "", ("\ud800x = 1", "line")),
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


@given(TEXT, TEXT, TEXT, LANGUAGE, st.integers(1, 4), st.integers(1, 60))
@settings(deadline=None)
def test_candidates_stay_within_the_limits(
    prefix: str, commit: str, suffix: str, language: str, max_lines: int, max_chars: int
) -> None:
    limits = Limits(max_lines=max_lines, max_chars=max_chars)
    found = candidates(prefix, commit, suffix, language, limits)
    assert [cut.stop for cut in found] == sorted({cut.stop for cut in found})
    assert {cut.rule for cut in found} <= set(RULES)
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
        unit = chosen(prefix, case.commit, case.suffix[:window], case.language)
        if unit is None:
            verdicts["too long"] += 1
            continue
        target = unit[0]
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


class Gap(NamedTuple):
    """What a commit of a repository put into one place of a file."""

    prefix: str
    commit: str
    suffix: str
    language: str


def gaps(bundle: Path | None) -> Iterator[Gap]:
    """The texts that the newest commits of a repository added, with the file around them.

    Without a repository the ends of functions of the standard library.
    """
    if bundle is None:
        yield from (Gap(*case[:4]) for case in cases("python", 150))
        return
    names = ["python", "javascript", "typescript", "vue", "java", "cpp", "go"]
    settings = config(bundle, languages=names, max_commits=60)
    for commit in load(settings, "train").commits:
        for change in commit.changes:
            before = edits.document(change.parent)
            for run in edits.changes(change.parent, change.child):
                for edit in run.edits:
                    if edit.text.strip():
                        yield Gap(before[: edit.start], edit.text, before[edit.stop :], change.language)


@pytest.mark.parametrize("bundle", BUNDLES or [None], ids=lambda path: path.stem if path else "library")
def test_cuts_of_real_commits(bundle: Path | None) -> None:
    found = list(islice(gaps(bundle), 150))  # 1,350 of nine repositories
    without = 0
    for gap in found:
        cuts = candidates(*gap, CONFIG)
        without += not cuts
        for cut in cuts:
            target = gap.commit[: cut.stop]
            assert gap.commit.startswith(target)
            assert target == target.rstrip() != ""
            assert len(target) <= CONFIG.max_chars
            assert target.strip().count("\n") < CONFIG.max_lines
            after = gap.commit[cut.stop : cut.stop + 1]
            assert not (after.isidentifier() and target[-1].isidentifier()), "a cut inside a word"
    print(f"{bundle}: {len(found)} commits, {without} without a cut")
    assert found
    assert without <= 0.03 * len(found)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_cut_does_not_depend_on_what_is_far_away(language: str) -> None:
    """The window is folded: what it leaves out of a whole file must not move the cut."""
    found = cases(language, 60)
    same = 0
    for case in found:
        near = chosen(case.prefix, case.commit, case.suffix, case.language)
        tree = syntax.around(case.prefix, case.commit, case.suffix, case.language, 10**6, (10**6, 10**6))
        assert tree is not None
        whole = chosen(tree.prefix, case.commit, tree.suffix, tree.language)
        same += near == whole
    assert same >= 0.97 * len(found)


def test_huge_commits() -> None:
    huge = "x = [\n" + "    'abc', 1.5,\n" * 12_000 + "]\n"
    assert ("x = [", "line") == chosen("", huge)
    assert ("y = 1", "statement") == chosen(huge, "y = 1\n" + huge, huge)
    assert None is chosen("", "x" * 200_000)
    assert None is chosen("", "(" * 200_000, "", "javascript")
