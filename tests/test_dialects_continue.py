"""Continue's development data joined to what was served: which request, which events, and when."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.dialects.asked import Refusal
from echo_ray.dialects.continue_dev import Join, Logged, Outcome

SERVED_MS = 1_772_366_400_000
PREFIX, SUFFIX, TEXT = "def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n", "a + b"
DATA: dict[str, Any] = {
    "timestamp": "2026-03-01T12:00:00.400Z",
    "userId": "",
    "userAgent": "vscode/1.100.0 (Continue/1.3.0)",
    "eventName": "autocomplete",
    "schema": "0.2.0",
    "accepted": True,
    "time": 400,
    "prefix": PREFIX,
    "suffix": SUFFIX,
    "prompt": "...",
    "completion": TEXT,
    "modelProvider": "vllm",
    "modelName": "echo",
    "cacheHit": False,
    "filepath": "file:///home/jane/proj/lib/m.py",
    "gitRepo": "jane/proj",
    "completionId": "c-1",
    "uniqueId": "machine-7",
}


def posted(**changes: Any) -> dict[str, Any]:
    return {
        "name": "autocomplete",
        "data": DATA | changes,
        "schema": "0.2.0",
        "level": "all",
        "profileId": "p",
    }


def joined(prefix: str = PREFIX, suffix: str = SUFFIX, text: str = TEXT) -> Join:
    join = Join()
    join.served("cmpl-1", "jane", SERVED_MS, prefix, suffix, text)
    return join


def logged(join: Join, body: Any, now_ms: int) -> Logged:
    found = join.log(body, now_ms)
    assert isinstance(found, Logged), found
    return found


def brief(found: Logged) -> list[tuple[Any, ...]]:
    names = ("request_id", "user", "type", "accepted_chars", "visible_ms")
    return [(e["ts_ms"] - SERVED_MS, *(e[name] for name in names)) for e in found.records]


def test_an_accept_is_shown_then_accepted() -> None:
    found = logged(joined(), posted(), SERVED_MS + 3000)
    assert Outcome.JOINED is found.outcome
    assert [
        (400, "cmpl-1", "jane", "shown", None, None),
        (3000, "cmpl-1", "jane", "accepted", 5, 2600),
    ] == brief(found)


def test_a_dismissal_arrives_ten_seconds_after_it_was_shown() -> None:
    found = logged(joined(), posted(accepted=False, time=9_000_000), SERVED_MS + 12_000)
    assert [
        (2000, "cmpl-1", "jane", "shown", None, None),
        (12_000, "cmpl-1", "jane", "dismissed", None, 10_000),
    ] == brief(found)


def test_nothing_is_logged_twice_and_an_accept_may_come_late() -> None:
    join = joined()
    types = []
    for accepted in (False, False, True, True):
        types += [e["type"] for e in logged(join, posted(accepted=accepted), SERVED_MS + 11_000).records]
    assert ["shown", "dismissed", "accepted"] == types


def test_a_body_without_an_envelope_is_the_data() -> None:
    assert 2 == len(logged(joined(), DATA, SERVED_MS).records)


@pytest.mark.parametrize(
    "changes",
    [
        {"prefix": "\n# lib/m.py\n" + PREFIX},
        {"prefix": "# Path: o.py\n# x\n# lib/m.py\n" + PREFIX},
        {"prefix": "+++++ o.py\nx\n\n+++++ lib/m.py\n" + PREFIX},
        {"completion": "a +"},
        {"completion": "a + b\n"},
        {"timestamp": "soon"},
        {"timestamp": None, "time": None},
        {"timestamp": "0001-01-01T00:00:00+23:59"},
        {"time": "slow"},
        {"filepath": 5},
    ],
)
def test_what_continue_changes_does_not_matter(changes: Any) -> None:
    assert "cmpl-1" == joined().match(DATA | changes)


def test_windows_of_other_lengths_are_the_same_place() -> None:
    above = "".join(f"line_{number} = {number}\n" for number in range(200))
    assert "cmpl-1" == joined(above + PREFIX).match(DATA | {"prefix": above[900:] + PREFIX})
    assert "cmpl-1" == joined(PREFIX).match(DATA | {"prefix": above + PREFIX})
    assert "cmpl-1" == joined(suffix="").match(DATA | {"suffix": "\n"})


@pytest.mark.parametrize(
    "changes",
    [
        {"prefix": "def sub(a, b):\n    return "},
        {"prefix": PREFIX + " "},
        {"suffix": "x" + SUFFIX},
        {"suffix": "\n\nother()\n"},
        {"completion": "a - b"},
        {"completion": "a + b + c"},
        {"completion": " "},
        {"completion": 5},
        {"suffix": 5},
    ],
)
def test_another_place_or_text_is_no_match(changes: Any) -> None:
    join = joined()
    assert None is join.match(DATA | changes)
    assert ([], Outcome.UNMATCHED) == logged(join, posted(**changes), SERVED_MS)


def test_of_several_the_same_text_then_the_nearest_time_counts() -> None:
    join = Join()
    for number in range(3):
        join.served(f"cmpl-{number}", "jane", SERVED_MS + number * 60_000, PREFIX, SUFFIX, TEXT)
    join.served("longer", "jane", SERVED_MS + 20_000, PREFIX, SUFFIX, TEXT + " + c")
    stamps = {0: "12:00:20.400", 1: "12:01:20", 2: "12:59:00"}
    for number, stamp in stamps.items():
        assert f"cmpl-{number}" == join.match(DATA | {"timestamp": f"2026-03-01T{stamp}Z"})
    assert "cmpl-2" == join.match(DATA | {"timestamp": None})


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (posted(prefix=None, suffix=None, prompt=None, completion=None), Outcome.NO_CODE),
        ({"name": "chatInteraction", "data": {}}, Outcome.OTHER),
        ({"data": {"eventName": "quickEdit"}}, Outcome.OTHER),
        ({}, Outcome.NO_CODE),
    ],
)
def test_what_cannot_be_joined_is_counted(body: Any, outcome: Outcome) -> None:
    assert ([], outcome) == logged(joined(), body, SERVED_MS)


@pytest.mark.parametrize("body", [None, [], 5, {"data": []}, {"data": None}])
def test_what_is_no_event_is_refused(body: Any) -> None:
    assert isinstance(joined().log(body, SERVED_MS), Refusal)


def test_silence_is_not_remembered_and_memory_is_bounded() -> None:
    join = Join(total=10)
    join.served("silent", "jane", SERVED_MS, PREFIX, SUFFIX, " \n")
    for number in range(50):
        join.served(f"cmpl-{number}", "jane", SERVED_MS, f"x{number} = ", "", "5")
    assert 10 == len(join._served)
    found = [join.match({"prefix": f"x{number} = ", "completion": "5"}) for number in (39, 40, 49)]
    assert [None, "cmpl-40", "cmpl-49"] == found


@given(
    prefix=st.text(max_size=300),
    suffix=st.text(max_size=300),
    text=st.text(min_size=1, max_size=50).filter(str.strip),
    now_ms=st.integers(0, 2**45),
    accepted=st.sampled_from([True, False, None, 1]),
    spent=st.integers() | st.floats() | st.none(),
)
def test_whatever_was_served_is_found_and_its_times_are_in_order(
    prefix: str, suffix: str, text: str, now_ms: int, accepted: Any, spent: Any
) -> None:
    join = Join()
    join.served("r", "u", SERVED_MS, prefix, suffix, text)
    body = {"prefix": prefix, "suffix": suffix, "completion": text, "accepted": accepted, "time": spent}
    found = logged(join, body, now_ms)
    assert Outcome.JOINED is found.outcome
    times = [record["ts_ms"] for record in found.records]
    assert sorted(times) == times
    assert times[0] >= SERVED_MS
