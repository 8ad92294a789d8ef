"""Raw logs, whole commits, accepted text: what stands in place of gap extraction and truncation."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray import schema
from echo_ray.controls.raw import next_text, raw_log
from echo_ray.controls.targets import WholeConfig, accepted_text, whole_commits
from echo_ray.edits import View
from echo_ray.errors import SchemaError
from echo_ray.schema import Drop
from echo_ray.stages.mine import MineConfig, mine
from tests.rows import request, table_of
from tests.study_rows import samples


def typed(text: str, suffix: str = "\nend") -> pa.Table:
    """Mined samples of somebody who types `text` key by key; the last request stands behind it."""
    rows = [request(f"r{n:03d}", n * 100, text[:n], suffix) for n in range(len(text) + 1)]
    return mine(table_of(rows), MineConfig())


def test_raw_targets_are_fragments_where_mining_finds_what_was_left() -> None:
    mined = typed("call(a)")
    raw = raw_log(mined)
    assert "call(a)" == mined["commit"][0].as_py()
    assert [*"call(a)", ""] == raw.table["commit"].to_pylist()
    assert [None] * 7 + [Drop.UNOBSERVED.value] == raw.table["drop"].to_pylist()
    assert {"rows": 8, "text": 7, "void": 0, "last": 1, "lost": 0} == raw.counts


def test_what_was_deleted_a_moment_later_is_a_raw_target_all_the_same() -> None:
    states = ["", "wrong", "", "right"]
    mined = mine(table_of([request(f"r{n}", n * 100, text) for n, text in enumerate(states)]), MineConfig())
    assert ["wrong", "", "right", ""] == raw_log(mined).table["commit"].to_pylist()
    assert "right" == mined["commit"][0].as_py()


def test_what_entered_from_the_own_proposal_is_the_models() -> None:
    rows = [
        request("a", 0, "", proposal="return x"),
        request("b", 900, "return x"),
        request("c", 1800, "return x;"),
    ]
    raw = raw_log(mine(table_of(rows), MineConfig())).table
    assert ["return x", ";", ""] == raw["commit"].to_pylist()
    assert [(8, 0), (0, 1), (0, 0)] == list(
        zip(raw["model_chars"].to_pylist(), raw["human_chars"].to_pylist(), strict=True)
    )


def test_files_and_sessions_are_streams_of_their_own() -> None:
    rows = [
        request("a", 0, "", file="one"),
        request("b", 100, "other", file="two"),
        request("c", 200, "x", file="one"),
        request("d", 300, "y", file="one", session="later"),
    ]
    raw = raw_log(mine(table_of(rows), MineConfig())).table
    found = dict(zip(raw["sample_id"].to_pylist(), raw["commit"].to_pylist(), strict=True))
    assert {"a": "x", "b": "", "c": "", "d": ""} == found
    assert 3 == raw["drop"].to_pylist().count(Drop.UNOBSERVED.value)


@pytest.mark.parametrize(
    ("now", "then", "wanted"),
    [
        (View("ab", "cd"), View("abX", "cd"), "X"),
        (View("ab", "cd"), View("ab", "cd"), ""),
        (View("ab", "cd"), View("a", "cd"), ""),  # deleted before the cursor
        (View("ab", "cd"), View("ab", "d"), ""),  # deleted behind it
        (View("ab", "cd\nef"), View("ab", "cd\nXef"), ""),  # typed elsewhere
        (View("f(", ")"), View("f(x, y", ")"), "x, y"),
        (View("aaaa", "zzzz", False, False), View("qqqq", "wwww", False, False), None),  # nothing shared
    ],
)
def test_the_step_to_the_next_request(now: View, then: View, wanted: str | None) -> None:
    assert wanted == next_text(now, then)


@given(st.text("ab\n(", max_size=8), st.text("ab\n(", max_size=8), st.text("xyz", max_size=5))
def test_an_insertion_at_the_cursor_is_the_target(prefix: str, suffix: str, text: str) -> None:
    assert text == next_text(View(prefix, suffix), View(prefix + text, suffix))


def test_whole_commits_are_cut_by_the_sequence_only() -> None:
    table = samples(
        [
            {"sample_id": "a", "commit": "one()\ntwo()\n\n"},
            {"sample_id": "b", "commit": " \n "},
            {"sample_id": "c", "commit": "x" * 50},
            {"sample_id": "d", "commit": "", "drop": Drop.UNOBSERVED.value},
        ]
    )
    found = whole_commits(table, WholeConfig(max_chars=20))
    assert ["one()\ntwo()", "", "x" * 20, None] == found.table["target"].to_pylist()
    assert [None, None, None, Drop.UNOBSERVED.value] == found.table["drop"].to_pylist()
    assert {"rows": 4, "void": 1, "cut": 1} == found.counts
    assert schema.DISTILLED == found.table.schema


def test_accepted_text_is_the_part_of_the_own_proposal_that_was_taken() -> None:
    rows: list[dict[str, Any]] = [
        {"sample_id": "a", "proposal": "return x\n", "accepted_chars": 9, "commit": "return x + 1"},
        {"sample_id": "b", "proposal": "return x", "accepted_chars": 6, "commit": "return"},
        {"sample_id": "c", "proposal": "no", "accepted_chars": 0, "commit": "yes"},
        {"sample_id": "d", "proposal": None, "accepted_chars": None, "commit": "yes"},
    ]
    found = accepted_text(samples(rows))
    assert ["return x", "return", None, None] == found.table["target"].to_pylist()
    assert ["return x", "return", "yes", "yes"] == found.table["commit"].to_pylist()
    assert [None, None, Drop.CONTROL_UNUSED.value, Drop.CONTROL_UNUSED.value] == found.table[
        "drop"
    ].to_pylist()
    assert {"rows": 4, "used": 2, "unused": 2} == found.counts


def test_a_missing_column_is_named() -> None:
    table = pa.table({"sample_id": ["a"]})
    for control in (raw_log, accepted_text):
        with pytest.raises(SchemaError, match="lacks the columns"):
            control(table)
