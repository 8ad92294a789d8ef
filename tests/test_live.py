"""What the live view says is mined: the miner's own samples, from whatever stands in the log."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.schema import Kind
from echo_ray.serve.live import NEWEST, TAIL_CHARS, mined
from echo_ray.stages.mine import MineConfig, mine
from tests.rows import request, table_of

TYPED = "x = foo + 1"


def session() -> list[dict[str, Any]]:
    """`TYPED` key by key between two lines; then a key far away, which closes the gaps."""
    rows = [
        request(f"r{n:02d}", 1000 * n, "a\nb\n" + TYPED[:n], "\nend", proposal="foo") | {"record": "request"}
        for n in range(len(TYPED) + 1)
    ]
    whole = f"a\nb\n{TYPED}\nend!"
    return [*rows, request("r99", 60_000, whole) | {"record": "request"}]


def test_a_session_is_shown_newest_first_with_what_was_left() -> None:
    found = mined(session())
    assert [f"r{n:02d}" for n in range(len(TYPED), -1, -1)] == [sample["request_id"] for sample in found]
    assert [TYPED[n:] for n in range(len(TYPED), -1, -1)] == [sample["commit"] for sample in found]
    assert {"anchor_edited"} == {sample["end_reason"] for sample in found}
    assert ("b\nx = ", "foo") == (found[-5]["prefix_tail"], found[-5]["proposal"])


def test_the_newest_request_says_nothing_yet() -> None:
    assert [] == mined(session()[:1])
    (sample,) = mined(session()[:2])
    assert ("r00", "x", "session_end") == (sample["request_id"], sample["commit"], sample["end_reason"])


def test_guesses_of_the_client_are_not_mined() -> None:
    rows = session()
    guess = rows[3] | {
        "request_id": "guess",
        "kind": Kind.SPECULATIVE.value,
        "prefix": rows[3]["prefix"] + "!",
    }
    assert mined(rows) == mined([*rows[:4], guess, *rows[4:]])


def test_what_came_long_before_does_not_change_what_is_shown() -> None:
    text = "value = compute(first, second)\n" * 6
    rows = [request(f"r{n:03d}", 1000 * n, text[:n], "\nend") for n in range(len(text))]
    random.Random(1).shuffle(rows)
    samples = {row["request_id"]: row for row in mine(table_of(rows), MineConfig()).to_pylist()}
    found = mined(rows)
    assert NEWEST - 1 == len(found)
    assert [sample["commit"] for sample in found] == [samples[row["request_id"]]["commit"] for row in found]


def test_other_records_and_repeats_change_nothing() -> None:
    rows = session()
    event = {"record": "event", "request_id": "r01", "ts_ms": 1, "user": "u", "type": "shown"}
    poor: list[Any] = [{}, {"record": "request"}, rows[2] | {"ts_ms": "2", "request_id": "bad"}, 7, None]
    mixed = [*rows, event, *poor, *rows[:3]]
    random.Random(3).shuffle(mixed)
    assert mined(rows) == mined(mixed)


def test_fields_that_a_record_leaves_out_have_the_defaults_of_the_contract() -> None:
    rows = session()
    needed = ("request_id", "ts_ms", "user", "session", "file", "prefix", "suffix", "proposal")
    assert mined(rows) == mined([{name: row[name] for name in needed} for row in rows])


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ab\n😀 ", max_size=200), min_size=1, max_size=6))
def test_it_is_what_the_stage_mines(texts: list[str]) -> None:
    rows = [request(f"r{n}", 1000 * n, text, "\n", proposal="a") for n, text in enumerate(texts)]
    samples = [row for row in mine(table_of(rows), MineConfig()).to_pylist() if row["drop"] is None]
    found = mined(rows)
    assert [(row["request_id"], row["commit"], row["end_reason"]) for row in reversed(samples)] == [
        (row["request_id"], row["commit"], row["end_reason"]) for row in found
    ]
    prefixes = {row["request_id"]: row["prefix"] for row in rows}
    for sample in found:
        tail = sample["prefix_tail"]
        assert len(tail) <= TAIL_CHARS
        assert prefixes[sample["request_id"]].endswith(tail)
        assert tail.count("\n") <= 1
