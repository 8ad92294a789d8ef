"""Client logs as records, line by line: Tabby's events and Continue's development data."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from echo_ray.dialects import tabby as tabby_dialect
from echo_ray.dialects.templated import _REPOSITORY_END, without_header
from echo_ray.log import foreign, source, tabby

NOON = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)
DAY = 86_400_000

SEGMENTS = {
    "prefix": "def add(a, b):\n    return ",
    "suffix": "\n",
    "filepath": "m.py",
    "git_url": "https://git.example.com/jane/proj.git",
}
COMPLETION = {
    "completion_id": "cmpl-1",
    "language": "python",
    "prompt": "<PRE> ... <SUF>... <MID>",
    "segments": SEGMENTS,
    "choices": [{"index": 0, "text": "a + b"}],
    "user_agent": "Node.js/v20 tabby-agent/1.9.0",
}
FATE = {"completion_id": "cmpl-1", "choice_index": 0}
SHOWN = {
    "timestamp": "2026-03-01T12:00:00.400Z",
    "userId": "",
    "userAgent": "vscode/1.100.0 (Continue/1.3.0)",
    "selectedProfileId": "local",
    "eventName": "autocomplete",
    "schema": "0.2.0",
    "time": 400,
    "prefix": "def add(a, b):\n    return ",
    "suffix": "\n",
    "prompt": "...",
    "completion": "a + b",
    "modelProvider": "vllm",
    "modelName": "echo",
    "cacheHit": False,
    "filepath": "file:///home/jane/proj/lib/m.py",
    "gitRepo": "jane/proj",
    "completionId": "c-1",
    "uniqueId": "machine-7",
}


def entry(kind: str, body: dict[str, Any], ts: Any = NOON, **more: Any) -> dict[str, Any]:
    return {"user": "jane@example.com", "ts": ts, "event": {kind: body}} | more


def read(name: str, folder: Path, *lines: Any) -> list[Any]:
    path = folder / "2026-03-01.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert name == foreign.sniff(path)
    return [record for _, record in foreign.records(path, name)]


def test_a_tabby_completion_is_a_request(tmp_path: Path) -> None:
    (record,) = read("tabby", tmp_path, entry("completion", COMPLETION))
    user = source.pseudonym("user", "jane@example.com")
    assert record == {
        "record": "request",
        "schema": "1",
        "request_id": "cmpl-1",
        "ts_ms": NOON,
        "user": user,
        "session": source.day_session(user, NOON),
        "file": source.file_name("m.py", SEGMENTS["git_url"]),
        "prefix": "def add(a, b):\n    return ",
        "suffix": "\n",
        "kind": "automatic",
        "language": "python",
        "prefix_complete": True,
        "suffix_complete": True,
        "delivered": True,
        "proposal": "a + b",
        "client": "Node.js/v20 tabby-agent/1.9.0",
    }
    assert "jane" not in json.dumps(record)


@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        ("view", {"view_id": "view-1-at-5"}, ("shown", None)),
        ("select", {"elapsed": 900}, ("accepted", 900)),
        ("select", {"kind": "line", "elapsed": 900}, ("partially_accepted", 900)),
        ("select", {"kind": None}, ("accepted", None)),
        ("dismiss", {"elapsed": 12}, ("dismissed", 12)),
    ],
)
def test_a_tabby_event_keeps_its_completion(kind: str, more: Any, expected: Any, tmp_path: Path) -> None:
    (record,) = read("tabby", tmp_path, entry(kind, FATE | more))
    assert ("event", "cmpl-1", NOON) == tuple(record[key] for key in ("record", "request_id", "ts_ms"))
    assert expected == (record["type"], record["visible_ms"])
    assert source.pseudonym("user", "jane@example.com") == record["user"]
    assert record["accepted_chars"] is None


def test_a_tabby_session_is_the_utc_day_of_one_user(tmp_path: Path) -> None:
    stamps = (NOON, NOON + DAY // 2 - 1, NOON + DAY // 2)
    lines = [entry("completion", COMPLETION | {"completion_id": str(ts)}, ts) for ts in stamps]
    other = entry("completion", COMPLETION, NOON, user="joe@example.com")
    sessions = [record["session"] for record in read("tabby", tmp_path, *lines, other)]
    assert sessions[0] == sessions[1]
    assert 3 == len(set(sessions))


def test_an_old_tabby_line_names_its_user_inside_or_nowhere(tmp_path: Path) -> None:
    old = {"ts": NOON, "event": {"completion": COMPLETION | {"user": "jane"}}}
    seen = {"ts": NOON, "event": {"view": FATE}}
    assert [source.pseudonym("user", "jane"), "unknown"] == [
        record["user"] for record in read("tabby", tmp_path, old, seen)
    ]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("<PRE> a = <SUF>\nb <MID>", ("a =", "\nb")),
        ("<fim_prefix>a<fim_suffix>b<fim_middle>", ("a", "b")),
        ("<|fim_prefix|>a\n<|fim_suffix|><|fim_middle|>", ("a\n", "")),
        ("<\uff5cfim\u2581begin\uff5c>a<\uff5cfim\u2581hole\uff5c>b<\uff5cfim\u2581end\uff5c>", ("a", "b")),
        ("[SUFFIX]b[PREFIX]a", ("a", "b")),
        ("a = ", ("a = ", "")),
    ],
)
def test_a_tabby_line_without_segments_is_read_back_from_the_prompt(
    prompt: str, expected: Any, tmp_path: Path
) -> None:
    body = {key: value for key, value in COMPLETION.items() if key != "segments"} | {"prompt": prompt}
    (record,) = read("tabby", tmp_path, entry("completion", body))
    assert (*expected, False, False) == tuple(
        record[key] for key in ("prefix", "suffix", "prefix_complete", "suffix_complete")
    )
    assert source.pseudonym("language", "python") == record["file"]


def test_tabby_windows_are_complete_below_twenty_lines(tmp_path: Path) -> None:
    sizes = [(18, 19), (19, 20)]
    lines = [
        entry("completion", COMPLETION | {"segments": {"prefix": "x\n" * above, "suffix": "y\n" * below}})
        for above, below in sizes
    ]
    found = [(r["prefix_complete"], r["suffix_complete"]) for r in read("tabby", tmp_path, *lines)]
    assert [(True, True), (False, False)] == found


@pytest.mark.parametrize(
    ("choices", "expected"),
    [([], ""), ([{"index": 1, "text": "b"}, {"index": 0, "text": "a"}], "a"), ([{"text": ""}], "")],
)
def test_a_tabby_proposal_is_the_first_choice(choices: Any, expected: str, tmp_path: Path) -> None:
    (record,) = read("tabby", tmp_path, entry("completion", COMPLETION | {"choices": choices}))
    assert expected == record["proposal"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (entry("chat_completion", {}), "event is chat_completion, expected a completion or its fate"),
        (entry("view", FATE, None), "field ts is missing"),
        (entry("view", FATE, 2**64 - 1), "field ts is out of range"),
        (entry("view", {}), "field completion_id is missing"),
        (entry("completion", COMPLETION | {"choices": 1}), "field choices is not a list"),
        (entry("completion", COMPLETION | {"segments": {}}), "field prefix is missing"),
        ({"ts": 1, "event": {}}, "event is empty, expected a completion or its fate"),
        ([1], "the line is a list, expected an object"),
    ],
)
def test_a_bad_tabby_line_is_a_reason(line: Any, reason: str, tmp_path: Path) -> None:
    found = read("tabby", tmp_path, entry("view", FATE), line, entry("dismiss", FATE))
    assert ["shown", reason, "dismissed"] == [x if isinstance(x, str) else x["type"] for x in found]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        (True, ("accepted", 400, 5, None)),
        (False, ("dismissed", 10_400, None, 10_000)),
        (None, None),
    ],
)
def test_a_continue_line_is_a_request_and_its_fate(
    accepted: Any, expected: Any, wrapped: bool, tmp_path: Path
) -> None:
    line: dict[str, Any] = SHOWN | {"accepted": accepted}
    if wrapped:
        line = {"name": "autocomplete", "data": line, "schema": "0.2.0", "level": "all", "profileId": "p"}
    request, shown, *fate = read("continue", tmp_path, line)
    user = source.pseudonym("user", "machine-7")
    assert request == {
        "record": "request",
        "schema": "1",
        "request_id": "c-1",
        "ts_ms": NOON,
        "user": user,
        "session": source.day_session(user, NOON),
        "file": source.file_name("file:///home/jane/proj/lib/m.py", "jane/proj"),
        "prefix": "def add(a, b):\n    return ",
        "suffix": "\n",
        "kind": "automatic",
        "language": "python",
        "prefix_complete": False,
        "suffix_complete": False,
        "delivered": True,
        "proposal": "a + b",
        "model": "echo",
        "latency_ms": 400.0,
        "client": "vscode/1.100.0 (Continue/1.3.0)",
    }
    assert ("c-1", "shown", NOON + 400) == (shown["request_id"], shown["type"], shown["ts_ms"])
    found = [(e["type"], e["ts_ms"] - NOON, e["accepted_chars"], e["visible_ms"]) for e in fate]
    assert ([] if expected is None else [expected]) == found
    assert "jane" not in json.dumps([request, shown, *fate])


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("\n# lib/m.py\nx = 1", "x = 1"),
        ("\n# m.py\nx", "x"),
        ("# Path: lib/other.py\n# def f():\n# \n#     pass\n# lib/m.py\nx", "x"),
        ("# Path: a.py\n# b\n# Path: c.py\n# d\n# lib/m.py\n# lib/m.py\nx", "# lib/m.py\nx"),
        ("+++++ lib/other.py \nbody\n\n+++++ lib/m.py\nx", "x"),
        (f"<|repo_name|>p\n<|file_sep|>o.py\nbody\n<|file_sep|>lib/m.py{_REPOSITORY_END}x", "x"),
        # not Continue's header, or not surely
        ("# lib/m.py\nx", "# lib/m.py\nx"),
        ("\n# other.py\nx", "\n# other.py\nx"),
        ("# Path: a.py\n# b\nc\n# lib/m.py\nx", "# Path: a.py\n# b\nc\n# lib/m.py\nx"),
        ("\n\n# lib/m.py\nx", "\n\n# lib/m.py\nx"),
        ("\n# lib/m.py", "\n# lib/m.py"),
        ("", ""),
        ("\n", "\n"),
        ("# ", "# "),
    ],
)
def test_only_the_header_that_continue_wrote_is_stripped(prefix: str, expected: str) -> None:
    assert expected == without_header(prefix, "file:///home/jane/proj/lib/m.py")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prefix": None}, "field prefix is missing; level noCode logs no text"),
        ({"suffix": None}, "field suffix is missing"),
        ({"completion": 5}, "field completion is a number, expected text"),
        ({"timestamp": "soon"}, "field timestamp is 'soon', expected a time"),
        ({"eventName": "chatInteraction"}, "event is 'chatInteraction', expected 'autocomplete'"),
        ({"time": "fast"}, "field time is text, expected a whole number"),
    ],
)
def test_a_bad_continue_line_is_a_reason(changes: Any, reason: str, tmp_path: Path) -> None:
    found = read("continue", tmp_path, SHOWN, SHOWN | changes)
    assert reason == found[-1]


def test_every_tabby_kind_is_known() -> None:
    assert {"completion", "chat_completion", *tabby_dialect.EVENTS} == set(tabby.KINDS)
