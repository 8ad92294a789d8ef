"""Captured `/infill` traffic: shapes of an exchange, who asked, which requests are not the user's."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.log import exchange, foreign, llamacpp, source

NOW = 1_772_366_400_000
BODY = {"input_prefix": "def add(a, b):\n", "prompt": "    return ", "input_suffix": "\n", "n_predict": 128}
ADDRESS = "http://localhost:8012/infill"


def read(folder: Path, *lines: Any) -> list[Any]:
    path = folder / "capture.log"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert "llamacpp" == foreign.sniff(path)
    return [record for _, record in foreign.records(path, "llamacpp")]


def har(folder: Path, *entries: Any) -> list[Any]:
    path = folder / "capture.har"
    log = {"version": "1.2", "creator": {"name": "x", "version": "1"}, "entries": list(entries)}
    path.write_text(json.dumps({"log": log}, indent=2), encoding="utf-8")
    assert "llamacpp" == foreign.sniff(path)
    return list(foreign.records(path, "llamacpp"))


def asked(
    prefix: str, answer: str | None = None, suffix: str = "", at: int = 0, **more: Any
) -> dict[str, Any]:
    body = {"input_prefix": "", "prompt": prefix, "input_suffix": suffix, "n_predict": 128}
    response = None if answer is None else {"content": answer}
    return {"ts_ms": NOW + at, "path": "/infill", "body": body | more, "response": response}


def kinds(records: list[Any]) -> list[str]:
    return [record if isinstance(record, str) else record["kind"] for record in records]


@pytest.mark.parametrize(
    "line",
    [
        {"ts_ms": NOW, "path": "/infill", "body": BODY, "response": {"content": "a + b"}},
        {
            "ts_ms": NOW,
            "url": f"{ADDRESS}?x=1",
            "request": BODY,
            "response": [{"content": "a + b"}, {"content": "c"}],
        },
        {"time": NOW / 1000, "json": BODY, "response": '{"content":"a + b","stop":true}'},
        {
            "timestamp": "2026-03-01T12:00:00Z",
            "body": json.dumps(BODY),
            "path": "/infill",
            "response": "a + b",
        },
        {
            "timestamp": "2026-03-01T13:00:00+01:00",
            "body": BODY,
            "response": {"status": 200, "body": '{"content":"a + b"}'},
        },
        {
            "time": NOW,
            **BODY,
            "response": 'data: {"content":"a +"}\n\ndata: {"content":" b","stop":true}\n\ndata: [DONE]\n',
        },
        {
            "time": NOW * 1000,
            **BODY,
            "response": [{"content": "a + ", "stop": False}, {"content": "b", "stop": True}],
        },
    ],
)
def test_every_shape_of_a_line_is_the_same_request(line: Any, tmp_path: Path) -> None:
    (record,) = read(tmp_path, line)
    assert record["request_id"].startswith("infill-")
    del record["request_id"]
    assert record == {
        "record": "request",
        "schema": "1",
        "ts_ms": NOW,
        "user": "unknown",
        "session": source.day_session("unknown", NOW),
        "file": "document",
        "prefix": "def add(a, b):\n    return ",
        "suffix": "\n",
        "kind": "automatic",
        "language": "plaintext",
        "prefix_complete": True,
        "suffix_complete": True,
        "delivered": True,
        "proposal": "a + b",
        "model": None,
        "latency_ms": None,
        "client": None,
    }


@pytest.mark.parametrize("response", [None, {}, {"error": {"code": 503}}, {"status": 500, "body": ""}, []])
def test_what_was_not_answered_was_not_delivered(response: Any, tmp_path: Path) -> None:
    (record,) = read(tmp_path, {"ts_ms": NOW, "body": BODY, "response": response})
    assert (False, None) == (record["delivered"], record["proposal"])


def test_a_har_file_gives_its_infill_entries(tmp_path: Path) -> None:
    request = {"method": "POST", "url": ADDRESS, "headers": [{"name": "User-Agent", "value": "curl/7"}]}
    whole = {
        "startedDateTime": "2026-03-01T12:00:00.000Z",
        "time": 41.5,
        "request": request | {"postData": {"mimeType": "application/json", "text": json.dumps(BODY)}},
        "response": {"status": 200, "content": {"text": '{"content":"a + b"}'}},
    }
    coded = base64.b64encode(b'{"content":"a"}').decode()
    packed = whole | {"response": {"status": 200, "content": {"text": coded, "encoding": "base64"}}}
    aborted = whole | {"response": {"status": 0, "content": {"size": 0}}, "time": -1}
    health = whole | {"request": request | {"url": "http://localhost:8012/health"}}
    found = har(tmp_path, whole, packed, aborted, health, "text", whole | {"request": request})
    (_, first), (_, second), (_, third), *reasons = found
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert isinstance(third, dict)
    keys = ("ts_ms", "proposal", "delivered", "latency_ms", "client")
    assert (NOW, "a + b", True, 41.5, "curl/7") == tuple(first[key] for key in keys)
    assert ("a", True) == (second["proposal"], second["delivered"])
    assert (None, False, None) == (third["proposal"], third["delivered"], third["latency_ms"])
    assert [
        (4, "endpoint is 'health', expected 'infill'"),
        (5, "the entry is text, expected an object"),
        (6, "the request's body is null, expected an object"),
    ] == reasons


@pytest.mark.parametrize(
    ("more", "user", "session", "file"),
    [
        ({"user": "jane", "session": "s", "file": "a/b.py"}, ("user", "jane"), "s", "a/b.py"),
        ({"headers": {"X-Echo-User": "jane", "x-echo-session": "s"}}, ("user", "jane"), "s", None),
        ({"headers": [{"name": "Authorization", "value": "Bearer k"}]}, ("bearer", "k"), None, None),
        ({"headers": {"Authorization": "Bearer "}}, None, None, None),
        ({"url": "http://h/u/jane/s/7/infill"}, ("user", "jane"), "7", None),
        ({"path": "/infill?user=joe&session=q&file=c.ts"}, ("user", "joe"), "q", "c.ts"),
        (
            {"path": "/u/jane/s/7/infill?user=joe", "headers": {"X-Echo-User": "jim"}},
            ("user", "jim"),
            "7",
            None,
        ),
        ({"url": "http://[bad/infill"}, None, None, None),
    ],
)
def test_identity_comes_from_the_first_place_that_names_it(
    more: Any, user: Any, session: Any, file: Any, tmp_path: Path
) -> None:
    (record,) = read(tmp_path, {"ts_ms": NOW, "body": BODY, **more})
    who = "unknown" if user is None else source.pseudonym(*user)
    where = source.day_session(who, NOW) if session is None else source.pseudonym("session", who, session)
    name = "document" if file is None else source.file_name(file)
    assert (who, where, name) == (record["user"], record["session"], record["file"])
    assert "jane" not in json.dumps(record)


@pytest.mark.parametrize(("above", "below", "expected"), [(255, 63, (True, True)), (256, 64, (False, False))])
def test_a_full_window_is_not_a_whole_document(above: int, below: int, expected: Any, tmp_path: Path) -> None:
    (record,) = read(tmp_path, asked("x\n" * above, suffix="y\n" * below))
    assert expected == (record["prefix_complete"], record["suffix_complete"])


def test_warm_ups_ask_for_nothing_or_hold_nothing(tmp_path: Path) -> None:
    lines = [asked("x", n_predict=0), asked("", n_predict=128), asked("x", n_predict=1)]
    assert ["warmup", "warmup", "automatic"] == kinds(read(tmp_path, *lines))


def test_a_client_that_sends_both_limits_says_which_requests_are_speculative(tmp_path: Path) -> None:
    """llama.vim: 250 ms for the user; more on top of a suggestion; even before its first 250 in the file."""
    lines = [
        asked("x = f(", "", t_max_predict_ms=1000),
        asked("x", " = 1", t_max_predict_ms=250),
        asked("x = 1", "\n", t_max_predict_ms=1000),
        asked("x = 1", "\n", t_max_predict_ms=250),  # the user typed along: the limit decides
        asked("", t_max_predict_ms=1, n_predict=0),
    ]
    expected = ["speculative", "automatic", "speculative", "automatic", "warmup"]
    assert expected == kinds(read(tmp_path, *lines))


def test_one_limit_or_another_client_says_nothing(tmp_path: Path) -> None:
    vim, code = {"User-Agent": "curl/7"}, {"User-Agent": "node"}
    lines = [
        asked("x", t_max_predict_ms=250) | {"headers": vim},
        asked("y", t_max_predict_ms=250) | {"headers": vim},
        asked("z", t_max_predict_ms=500) | {"headers": code},
        asked("", t_max_predict_ms=1, n_predict=0) | {"headers": vim},
    ]
    assert ["automatic", "automatic", "automatic", "warmup"] == kinds(read(tmp_path, *lines))


def test_a_context_with_its_completion_is_speculative(tmp_path: Path) -> None:
    """llama.vscode: one limit for all, so the text decides; white space aside, chains included."""
    lines = [
        asked("a = ", "b +\n", "\n"),
        asked("a = b +", " c", "\n"),  # trailing line end cut
        asked("a = b + c", "\nd", "\n"),  # on top of a speculative request
        asked("a =b+c\n\nd", None, "\n"),  # white space differs
        asked("a = b +", None, "x\n"),  # another suffix
        asked("a = b + e", None, "\n"),
    ]
    expected = ["automatic", "speculative", "speculative", "speculative", "automatic", "automatic"]
    assert expected == kinds(read(tmp_path, *lines))


def test_every_choice_may_be_followed_but_silence_is_not(tmp_path: Path) -> None:
    lines = [
        asked("a = ") | {"response": [{"content": "b"}, {"content": "c"}, {"content": " \n"}]},
        asked("a = c"),
        asked("a = "),  # asked again after an empty choice: the user, not a guess
    ]
    assert ["automatic", "speculative", "automatic"] == kinds(read(tmp_path, *lines))


def test_the_whole_line_may_stand_before_a_completion(tmp_path: Path) -> None:
    """llama.vim takes the rest of the line into the prefix and leaves the suffix its line end."""
    lines = [asked("f(", "x)", ")\nrest\n"), asked("f()x)", None, "\nrest\n")]
    assert ["automatic", "speculative"] == kinds(read(tmp_path, *lines))


def test_expectations_belong_to_one_session(tmp_path: Path) -> None:
    lines = [
        asked("a", "b") | {"session": "1"},
        asked("ab") | {"session": "2"},
        asked("ab") | {"session": "1"},
    ]
    assert ["automatic", "automatic", "speculative"] == kinds(read(tmp_path, *lines))


def test_a_window_that_slid_is_still_recognised(tmp_path: Path) -> None:
    lines = [f"value_{i} = compute({i})\n" for i in range(300)]
    first, later = "".join(lines[:256]), "".join(lines[2:258])
    found = read(tmp_path, asked(first, "".join(lines[256:258])), asked(later.removesuffix("\n")))
    assert ["automatic", "speculative"] == kinds(found)


def test_remembered_expectations_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llamacpp, "_REMEMBERED", 4)
    lines = [asked("a", "b"), *(asked(f"x{i}", "y") for i in range(4)), asked("ab"), asked("x3y")]
    assert ["automatic", "speculative"] == kinds(read(tmp_path, *lines))[-2:]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"ts_ms": NOW, "path": "/health", "body": {}}, "endpoint is 'health', expected 'infill'"),
        ({"ts_ms": NOW, "path": "/infill", "body": {"prompt": "x"}}, "field input_prefix is missing"),
        ({"ts_ms": NOW, "path": "/infill", "body": "x"}, "the request's body is text, expected an object"),
        ({"path": "/infill", "body": BODY}, "field ts_ms is missing"),
        ({"ts_ms": NOW, "body": BODY | {"prompt": [1, 2]}}, "field prompt is a list, expected text"),
        ({"ts_ms": NOW, "body": BODY | {"input_suffix": 1}}, "field input_suffix is a number, expected text"),
        ({"ts_ms": 1.5, "body": BODY}, "field ts_ms is a number, expected a whole number"),
    ],
)
def test_a_bad_exchange_is_a_reason(line: Any, reason: str, tmp_path: Path) -> None:
    assert reason == read(tmp_path, asked("x"), line)[1]


def test_the_same_exchange_has_the_same_name_wherever_it_stands(tmp_path: Path) -> None:
    names = [record["request_id"] for record in read(tmp_path, asked("x"), asked("x", at=1), asked("x"))]
    assert (names[0], True) == (names[2], names[0] != names[1])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["content", "body", "text", "stop", "encoding", "name"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(JSON)
def test_answers_and_headers_take_anything(value: Any) -> None:
    assert all(isinstance(text, str) for text in exchange.answers(value))
    assert all(exchange.headers_of(value).values())


def test_an_answer_in_endless_envelopes_is_none() -> None:
    value: Any = "x"
    for _ in range(900):
        value = {"body": value}
    assert [] == exchange.answers(value)
