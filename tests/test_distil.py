"""The stage `distil`: one target per row by rule or by a teacher, and bad input that costs its row alone."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import rng, schema, syntax
from echo_ray.chooser import DROPS, Failure, Question, Reply, failed
from echo_ray.errors import SchemaError
from echo_ray.schema import Drop
from echo_ray.stages.distil import DistilConfig, accept, distil

CONFIG = DistilConfig()

FRAGMENTS = (
    "if x:\n|    |foo(a, b)|\n|\r\n|return |x = |[|]|{|}|(|)|'é😀'|\"|'''|// c|# c\n|;|,|else|\t|f(() => {"
    "|\0|\u2028"
)
FRAGMENT = st.sampled_from([*FRAGMENTS.split("|"), "`${", "a" * 150, "/*", "*/"])
TEXT = st.lists(FRAGMENT, max_size=12).map("".join)
ROW = st.fixed_dictionaries(
    {
        "prefix": TEXT,
        "commit": TEXT,
        "suffix": TEXT,
        "language": st.sampled_from([*sorted(syntax.GRAMMARS), "ruby", "plaintext", None]),
        "drop": st.sampled_from([None, None, None, "unobserved"]),
    }
)
MANY = "x = foo(a.b, c)\ny = 2\nz = 3\n"
"""A commit with several candidate cuts."""


class Keyed:
    """A teacher that answers by the sample's id; ids that begin with a failure's name fail."""

    name = "keyed:1"

    def __init__(self) -> None:
        self.heard: list[Question] = []

    def ask(self, questions: Sequence[Question]) -> list[Reply]:
        self.heard += questions
        return [self._reply(question) for question in questions]

    def _reply(self, question: Question) -> Reply:
        for failure in Failure:
            if question.key.startswith(failure.value):
                return failed(failure, "as asked")
        return Reply(rng.digest(question.key) % question.choices)


def sample_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    fill = {"user": "u", "session": "s", "file": "f", "ts_ms": 1, "end_ts_ms": 2, "snapshots": 1}
    fill |= {"prefix": "", "suffix": "", "language": "python"}
    full = [fill | {"sample_id": str(n), "request_id": str(n)} | row for n, row in enumerate(rows)]
    return pa.Table.from_pylist(full, schema=schema.SAMPLE)


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
    assert expected == accept(answer, commit)


def test_stage_marks_every_row() -> None:
    table = sample_table(
        [
            {"prefix": "x = ", "commit": "1\ny\n"},
            {"prefix": "x = ", "commit": "1", "drop": "unobserved"},
            {"commit": "é" * 201},
            {"commit": ""},
            {"commit": " \n\t"},
        ]
    )
    result = distil(table, CONFIG)
    assert schema.DISTILLED == result.schema
    assert ["1", None, None, "", ""] == result["target"].to_pylist()
    assert ["statement", None, None, "void", "void"] == result["cut_by"].to_pylist()
    assert [None, "unobserved", "teacher_no_cut", None, None] == result["drop"].to_pylist()


def test_a_teacher_is_asked_only_where_there_is_a_choice() -> None:
    rows = [
        {"commit": MANY},
        {"commit": ""},
        {"commit": MANY, "drop": "unobserved"},
        {"commit": "é" * 201},
        {"prefix": "x = ", "commit": "1\n"},
        {"commit": MANY},
    ]
    teacher = Keyed()
    result = distil(sample_table(rows), CONFIG, teacher)
    assert ["0", "5"] == [question.key for question in teacher.heard]
    assert ["keyed:1", "void", None, None, "statement", "keyed:1"] == result["cut_by"].to_pylist()


@pytest.mark.parametrize("failure", list(Failure))
def test_a_teacher_that_fails_costs_that_row_only(failure: Failure) -> None:
    table = sample_table([{"commit": MANY}, {"commit": MANY, "sample_id": failure.value}, {"commit": MANY}])
    result = distil(table, CONFIG, Keyed())
    assert [None, DROPS[failure].value, None] == result["drop"].to_pylist()
    assert DROPS[failure].value.startswith("teacher_")
    targets, cut_by = result["target"].to_pylist(), result["cut_by"].to_pylist()
    assert (None, None) == (targets[1], cut_by[1])
    assert MANY.startswith(targets[0])
    assert MANY.startswith(targets[2])


def test_the_question_shows_every_candidate_whole() -> None:
    teacher = Keyed()
    result = distil(
        sample_table([{"prefix": "import a\n", "suffix": "# end", "commit": MANY}]), CONFIG, teacher
    )
    (question,), (cuts,) = teacher.heard, result["cuts"].to_pylist()
    assert len(cuts) == question.choices > 1
    for number, cut in enumerate(cuts, 1):
        assert f"<answer {number}>\n{MANY[: cut['stop']]}\n</answer {number}>" in question.prompt
    assert "import a\n" == question.prompt[slice(*question.before)]
    assert "# end" == question.prompt[slice(*question.after)]


KEY = "AKIA" + "QWERTYUIOPASDFGH"


@pytest.mark.parametrize(
    ("prefix", "commit", "suffix"),
    [
        (f'key = "{KEY}"\n', MANY, ""),
        ("", f'key = f("{KEY}", a)\ny = 2\n', ""),
        ("", MANY, f'key = "{KEY}"\n'),
        (f'key = f("{KEY[:9]}', f'{KEY[9:]}", a.b)\ny = 2\n', ""),
        (f'key = "{KEY}"\n' + "x = 1\n" * 400, MANY, ""),
    ],
)
def test_no_credential_is_put_into_a_question(prefix: str, commit: str, suffix: str) -> None:
    teacher = Keyed()
    row = {"prefix": prefix, "commit": commit, "suffix": suffix}
    result = distil(sample_table([row]), CONFIG, teacher)
    (question,) = teacher.heard
    for part in (KEY, KEY[:9], KEY[9:]):
        assert part not in question.prompt
    # Only what the model sees is covered.
    assert commit.startswith(result["target"].to_pylist()[0])


@pytest.mark.parametrize("teacher", [None, Keyed()])
def test_bad_input_costs_its_row_alone(teacher: Keyed | None) -> None:
    good = {"commit": MANY, "sample_id": "good"}
    bad = [
        {"commit": "f(a.b, " + "x, " * 70_000 + ")\n"},
        {"commit": "x = 1\n" * 35_000},
        {"commit": "(" * 200_000},
        {"commit": "\0\u2028\ufffd\U0010ffff = 1\n\ud7ff"},
        {"commit": "begin\n  a\n  b\nend\n", "language": "brainfuck"},
        {"commit": MANY, "language": None},
        {"commit": None},
        {"commit": MANY, "prefix": None},
        {"commit": MANY, "suffix": None},
        {"commit": "a" * 200_000, "prefix": "(" * 50_000, "suffix": ")" * 50_000},
    ]
    alone = distil(sample_table([good]), CONFIG, teacher).to_pylist()[0]
    for row in bad:
        first, _, last = distil(sample_table([good, row, good]), CONFIG, teacher).to_pylist()
        assert [alone["target"]] * 2 == [first["target"], last["target"]]


def test_stage_refuses_a_table_of_another_kind() -> None:
    with pytest.raises(SchemaError, match="commit"):
        distil(sample_table([]).drop_columns(["commit"]), CONFIG)


@pytest.mark.parametrize("teacher", [None, Keyed()])
def test_empty_table(teacher: Keyed | None) -> None:
    assert schema.DISTILLED == distil(sample_table([]), CONFIG, teacher).schema


@given(st.lists(ROW, max_size=6), st.integers(0, 6), st.booleans())
@settings(deadline=None)
def test_stage_is_one_to_one(rows: list[dict[str, Any]], cut: int, taught: bool) -> None:
    teacher = Keyed() if taught else None
    table = sample_table(rows)
    result = distil(table, CONFIG, teacher)
    kept = [name for name in schema.SAMPLE.names if name not in ("drop", "language")]
    assert result.select(kept).equals(table.select(kept))
    for before, after in zip(table.to_pylist(), result.to_pylist(), strict=True):
        assert before["drop"] in (None, after["drop"])
        assert (after["target"] is None) == (after["drop"] is not None)
        if after["target"] is not None:
            assert after["commit"].startswith(after["target"])
            assert after["target"] == after["target"].rstrip()
            assert (after["target"] == "") == (after["commit"].strip() == "")
            assert len(after["target"]) <= CONFIG.max_chars
            assert after["cut_by"] is not None
    parts = [distil(part, CONFIG, teacher) for part in (table.slice(0, cut), table.slice(cut))]
    assert pa.concat_tables(parts).equals(result)
