"""Replay of workspace recordings and editing traces, against texts computed by hand."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from echo_ray.log import recordings, source
from echo_ray.log.recordings import Change, Edit, Refused

T0 = 1_700_000_000_000


def opened(content: str, name: int = 0, path: str = "src\\a.ts") -> list[dict[str, Any]]:
    return [
        {"kind": "documentEncountered", "id": name, "time": T0 + 9_000_000, "relativePath": path},
        {"kind": "setContent", "id": name, "time": T0 + 9_000_000, "content": content},
    ]


def changed(*edit: list[Any], at: int = 0, name: int = 0, **more: Any) -> dict[str, Any]:
    return {"kind": "changed", "id": name, "time": T0 + at, "edit": list(edit)} | more


def caret(*places: list[int], at: int = 0, name: int = 0) -> dict[str, Any]:
    return {"kind": "selectionChanged", "id": name, "time": T0 + at, "selection": list(places)}


def replay(folder: Path, log: list[Any]) -> list[Change | Refused]:
    path = folder / "some.recording.json"
    path.write_text(json.dumps({"log": log}), encoding="utf-8")
    return list(recordings.replay(path))


def trace(folder: Path, *txns: tuple[Any, ...], **more: Any) -> Path:
    value = {"startContent": "", "txns": [{"time": time, "patches": patches} for time, *patches in txns]}
    path = folder / "trace.json.gz"
    path.write_bytes(gzip.compress(json.dumps(value | more).encode()))
    return path


def documents(items: list[Change | Refused]) -> list[str]:
    return [item.document if isinstance(item, Change) else item.reason for item in items]


def test_all_ranges_of_an_entry_are_in_the_coordinates_before_it(tmp_path: Path) -> None:
    log = [*opened("let a = b;"), changed([4, 5, "long"], [8, 9, ""], [10, 10, "\n"])]
    (change,) = replay(tmp_path, log)
    assert isinstance(change, Change)
    assert "let long = ;\n" == change.document
    assert (Edit(4, 5, "long"), Edit(11, 12, ""), Edit(12, 12, "\n")) == change.edits
    assert (13, "let a = b;", 3) == (change.caret, change.before, change.number)


def test_patches_of_a_transaction_are_each_in_the_coordinates_the_one_before_left(tmp_path: Path) -> None:
    """The numbers of the test above, read as patches, are another text."""
    path = trace(
        tmp_path,
        ("2023-01-01T00:00:00Z", [0, 0, "let a = b;"]),
        ("2023-01-01T00:00:01Z", [4, 1, "long"], [8, 1, ""], [10, 0, "\n"]),
    )
    first, second = recordings.changes(path)
    assert ("let a = b;", 10) == (first.document, first.caret)
    assert "let long= \nb;" == second.document
    assert (Edit(4, 5, "long"), Edit(8, 9, ""), Edit(10, 10, "\n")) == second.edits


def test_offsets_of_a_recording_are_utf16_units_and_those_of_a_trace_are_characters(tmp_path: Path) -> None:
    (change,) = replay(tmp_path, [*opened("😀=1"), changed([2, 3, " = "]), caret([3, 3])])
    assert isinstance(change, Change)
    assert ("😀 = 1", 2, (Edit(1, 2, " = "),)) == (change.document, change.caret, change.edits)
    path = trace(tmp_path, ("2023-01-01T00:00:00Z", [0, 0, "😀=1"]), ("2023-01-01T00:00:01Z", [1, 1, ":"]))
    assert ["😀=1", "😀:1"] == [change.document for change in recordings.changes(path)]


def test_an_offset_inside_a_character_is_refused(tmp_path: Path) -> None:
    assert ["an offset splits a character"] == documents(
        replay(tmp_path, [*opened("😀"), changed([1, 1, "x"])])
    )


def test_entries_that_change_nothing_give_nothing(tmp_path: Path) -> None:
    log = [
        *opened("ab"),
        changed([0, 2, "ab"]),
        changed(),
        changed([1, 1, ""]),
        changed([0, 1, "ab"], [1, 2, ""]),
    ]
    (change,) = replay(tmp_path, [*log, changed([2, 2, "!"])])
    assert isinstance(change, Change)
    assert ("ab!", 7) == (change.document, change.number)


def test_a_log_is_replayed_by_position_and_its_clock_never_steps_back(tmp_path: Path) -> None:
    log = [*opened(""), changed([0, 0, "a"], at=50), changed([1, 1, "b"], at=20), changed([2, 2, "c"], at=70)]
    items = replay(tmp_path, log)
    assert ["a", "ab", "abc"] == documents(items)
    assert [T0 + 50, T0 + 50, T0 + 70] == [item.ts_ms for item in items if isinstance(item, Change)]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ([caret([1, 1], at=3)], 1),  # typing "()" leaves the caret inside
        ([{"kind": "documentEvent", "id": 0, "time": T0, "data": {}}, caret([1, 1])], 1),
        ([caret([1, 1], at=101)], 2),  # a later step of the user
        ([caret([0, 2])], 2),  # a selection
        ([caret([1, 1], [2, 2])], 2),  # two carets
        ([caret()], 2),  # an empty list
        ([caret([1, 1], name=1)], 2),  # another document
        ([changed([0, 2, "()"]), caret([1, 1])], 2),
        ([], 2),
    ],
)
def test_the_caret_is_what_the_editor_says_at_once(after: list[Any], expected: int, tmp_path: Path) -> None:
    first = replay(tmp_path, [*opened("", 1, "b.ts"), *opened(""), changed([0, 0, "()"]), *after])[0]
    assert isinstance(first, Change)
    assert expected == first.caret


def test_crlf_stays_and_counts_as_two(tmp_path: Path) -> None:
    (change,) = replay(tmp_path, [*opened("a\r\nb\r\n"), changed([3, 4, "b\r\nc"])])
    assert isinstance(change, Change)
    assert ("a\r\nb\r\nc\r\n", (Edit(4, 4, "\r\nc"),)) == (change.document, change.edits)


def test_a_backslash_path_is_the_same_file(tmp_path: Path) -> None:
    log = [
        *opened("x", 0, "src\\a.ts"),
        changed([0, 0, "1"]),
        *opened("y", 1, "src/a.ts"),
        changed([0, 0, "2"], name=1),
    ]
    files = {item.file for item in replay(tmp_path, log) if isinstance(item, Change)}
    assert {source.file_name("src/a.ts")} == files


def test_an_edit_out_of_bounds_loses_the_document_until_its_next_content(tmp_path: Path) -> None:
    log = [
        *opened("ab"),
        changed([1, 9, "x"]),
        changed([0, 0, "y"]),
        *opened("new")[1:],
        changed([3, 3, "!"]),
    ]
    expected = [
        "an edit ends at 9, the document at 2",
        "the document's content is not known here",
        "new!",
    ]
    assert expected == documents(replay(tmp_path, log))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("text", "the entry is text, expected an object"),
        (changed([0, 0, "x"], name=7), "document 7 was never encountered"),
        (changed([0, 0]), "an edit is not [position, position, text]"),
        (changed([2, 1, "x"]), "an edit is not [position, position, text]"),
        (changed([-1, 1, "x"]), "an edit is not [position, position, text]"),
        (changed([0, 2, "x"], [1, 2, "y"]), "two edits of one entry overlap"),
        ({"kind": "documentEncountered", "id": 1}, "field relativePath is missing"),
        ({"kind": "setContent", "id": 0}, "field content is missing"),
    ],
)
def test_a_bad_entry_is_refused_with_its_number(entry: Any, reason: str, tmp_path: Path) -> None:
    assert [Refused(3, reason)] == replay(tmp_path, [*opened("ab"), entry])


def test_what_the_format_may_grow_is_passed_over(tmp_path: Path) -> None:
    log = [*opened("a"), {"kind": "focused", "id": 5}, {}, changed([1, 1, "b"], at=-(2**60))]
    assert ["ab"] == documents(replay(tmp_path, log))


def test_an_accept_is_an_event_of_the_request_before_it(tmp_path: Path) -> None:
    accept = {"sourceId": "TextModel.setChangeReason", "source": "inlineSuggestion.accept", "v": 18}
    log = [
        {"kind": "header", "repoRootUri": "file:///home/jane/secret", "time": T0, "uuid": "u"},
        *opened("x = \n", path="jane\\a.py"),
        changed([4, 4, "f"], at=1, v=13),  # versions jump
        changed([0, 5, "x = f(y)"], at=5, v=18),  # replaces from the start of the line
        {"kind": "documentEvent", "id": 0, "time": T0 + 5, "data": accept},
        {"kind": "documentEvent", "id": 0, "time": T0 + 6, "data": accept | {"source": "snippet", "v": 13}},
    ]
    replay(tmp_path, log)
    first, event, second = (record for _, record in recordings.records(tmp_path / "some.recording.json"))
    assert isinstance(first, dict)
    assert isinstance(event, dict)
    assert isinstance(second, dict)
    assert ("x = f", "\n", True, "(y)") == tuple(
        first[key] for key in ("prefix", "suffix", "delivered", "proposal")
    )
    expected = (first["request_id"], "accepted", 3, T0 + 5)
    assert expected == tuple(event[key] for key in ("request_id", "type", "accepted_chars", "ts_ms"))
    expected = ("x = f(y)", False, None, "python")
    assert expected == tuple(second[key] for key in ("prefix", "delivered", "proposal", "language"))
    assert "jane" not in json.dumps([first, event, second])


def test_an_accept_elsewhere_than_at_the_caret_proposes_nothing(tmp_path: Path) -> None:
    accept = {"source": "inlineSuggestion.accept", "v": 2}
    log = [
        *opened("ab"),
        changed([2, 2, "c"], v=1),
        changed([0, 1, "X"], v=2),
        {"kind": "documentEvent", "id": 0, "time": T0, "data": accept},
    ]
    replay(tmp_path, log)
    first = next(record for _, record in recordings.records(tmp_path / "some.recording.json"))
    assert isinstance(first, dict)
    assert (True, None) == (first["delivered"], first["proposal"])


def test_an_accept_before_any_request_is_no_event(tmp_path: Path) -> None:
    accept = {
        "kind": "documentEvent",
        "id": 0,
        "time": T0,
        "data": {"source": "inlineSuggestion.accept", "v": 1},
    }
    replay(tmp_path, [*opened(""), changed([0, 0, "x"], v=1), accept])
    found = [record for _, record in recordings.records(tmp_path / "some.recording.json")]
    assert ["request"] == [record["record"] for record in found if isinstance(record, dict)]


def test_the_file_that_was_there_is_content_not_typing(tmp_path: Path) -> None:
    path = trace(
        tmp_path,
        ("1970-01-01T00:00:00.000Z", [0, 0, "old file"]),
        ("2020-10-18T07:27:11.000Z", [8, 0, "!"]),
        endContent="old file!",
    )
    ((number, record),) = recordings.records(path)
    assert isinstance(record, dict)
    assert (2, "old file!", "document") == (number, record["prefix"], record["file"])


def test_a_silence_of_half_an_hour_ends_the_session(tmp_path: Path) -> None:
    times = ("00:00:00", "00:30:00", "01:00:01", "00:59:00", "01:10:00")
    path = trace(tmp_path, *((f"2023-01-01T{time}Z", [0, 0, "x"]) for time in times))
    found = list(recordings.changes(path))
    sessions = [change.session for change in found]
    assert (sessions[0], sessions[2]) == (sessions[1], sessions[4])
    assert 2 == len(set(sessions))
    assert sorted(change.ts_ms for change in found) == [change.ts_ms for change in found]


@pytest.mark.parametrize(
    ("txns", "more", "reason"),
    [
        ([("2023-01-01", [0, 1, "x"])], {}, Refused(1, "an edit ends at 1, the document at 0")),
        ([("yesterday", [0, 0, "x"])], {}, Refused(1, "field time is 'yesterday', expected a time")),
        ([], {"endContent": "x"}, Refused(0, "the replay does not end in endContent")),
        ([], {"startContent": 5}, Refused(0, "field startContent is a number, expected text")),
    ],
)
def test_a_bad_trace_stops_where_it_is_bad(txns: Any, more: Any, reason: Refused, tmp_path: Path) -> None:
    assert [reason] == list(recordings.replay(trace(tmp_path, *txns, **more)))


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b'{"log": {}}', b"\x1f\x8bno", b'{"txns": 5}'])
def test_a_file_of_something_else_is_one_reason(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(raw)
    ((number, reason),) = recordings.records(tmp_path / "a.json")
    assert (0, True) == (number, isinstance(reason, str))
    assert str(tmp_path) not in reason
