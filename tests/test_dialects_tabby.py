"""Tabby's dialect as its agent speaks it, and our own lifecycle events."""

from typing import Any

import pytest

from echo_ray.dialects import native, tabby
from echo_ray.dialects.asked import Answered, Asked, Refusal, Usage
from echo_ray.log.tabby import records as imported
from echo_ray.prompts import Snippet
from echo_ray.schema import EVENT, EventType, Kind

AGENT = {
    "language": "python",
    "segments": {
        "prefix": "def add(a, b):\n    return ",
        "suffix": "\n",
        "filepath": "m.py",
        "git_url": "https://git.example.com/team/proj.git",
    },
}
EVENT_BODY = {"type": "view", "completion_id": "cmpl-1", "choice_index": 0, "view_id": "view-1-at-5"}
NOW = 1_772_366_400_000


def parsed(body: Any) -> Asked:
    asked = tabby.parse(body)
    assert isinstance(asked, Asked), asked
    return asked


def segments(**more: Any) -> dict[str, Any]:
    return AGENT | {"segments": AGENT["segments"] | more}  # type: ignore[operator]


def test_a_body_of_the_agent() -> None:
    assert parsed(AGENT) == Asked(
        prefix="def add(a, b):\n    return ",
        suffix="\n",
        file="m.py",
        repository="https://git.example.com/team/proj.git",
        language="python",
        prefix_complete=True,
        suffix_complete=True,
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (AGENT, True),
        ({"segments": None}, True),
        ({"debug_options": {"raw_prompt": "x"}}, True),
        ({"prompt": "x"}, False),
        ({"prompt": "x", "debug_options": {"raw_prompt": None}}, False),
        ({"debug_options": "x"}, False),
        ([], False),
        (None, False),
    ],
)
def test_its_completions_are_told_from_those_of_openai(body: Any, expected: bool) -> None:
    assert expected is tabby.claims(body)


def test_null_means_absent() -> None:
    nulls: dict[str, Any] = dict.fromkeys(
        ("user", "debug_options", "temperature", "seed", "mode", "language")
    )
    inner = dict.fromkeys(("suffix", "filepath", "git_url", "declarations", "clipboard", "edit_history"))
    asked = parsed(nulls | {"segments": {"prefix": "x", **inner}})
    assert Asked("x", "", prefix_complete=True, suffix_complete=True) == asked


def test_asking_again_at_another_temperature_is_manual() -> None:
    assert (Kind.MANUAL, 0.8) == (parsed(AGENT | {"temperature": 0.8}).kind, 0.8)
    assert Kind.AUTOMATIC is parsed(AGENT | {"temperature": 0.1}).kind


@pytest.mark.parametrize(("above", "below", "expected"), [(18, 19, (True, True)), (19, 20, (False, False))])
def test_windows_are_complete_below_twenty_lines(above: int, below: int, expected: Any) -> None:
    asked = parsed(segments(prefix="x\n" * above, suffix="y\n" * below))
    assert expected == (asked.prefix_complete, asked.suffix_complete)


def test_other_files_come_as_snippets_declarations_first() -> None:
    asked = parsed(
        segments(
            relevant_snippets_from_recently_opened_files=[{"filepath": "r.py", "body": "r", "score": 1.0}],
            relevant_snippets_from_changed_files=[
                {"filepath": "c.py", "body": "class C: ...", "score": 0.5},
                {"filepath": "m.py", "body": AGENT["segments"]["prefix"]},  # type: ignore[index]
                {"filepath": "e.py", "body": " \n"},
                {"filepath": "n.py", "body": None},
                {"body": "loose()"},
                "x",
            ],
            declarations=[{"filepath": "file:///d.py", "body": "def d(): ..."}, {"body": "class C: ..."}],
        )
    )
    expected = [("file:///d.py", "def d(): ..."), ("", "class C: ..."), ("", "loose()")]
    assert [Snippet(*item) for item in expected] == list(asked.snippets)


def test_a_raw_prompt_is_read_back() -> None:
    asked = parsed({"language": "c", "debug_options": {"raw_prompt": "<PRE> a = <SUF>\nb <MID>"}})
    assert ("a =", "\nb", "c", False) == (asked.prefix, asked.suffix, asked.language, asked.prefix_complete)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"segments": {}},
        {"segments": []},
        segments(prefix=5),
        segments(suffix="\ud800"),
        AGENT | {"mode": "next_edit_suggestion"},
        AGENT | {"temperature": "hot"},
        {"debug_options": {"raw_prompt": 5}},
    ],
)
def test_a_refusal_is_a_bare_400(body: Any) -> None:
    refusal = tabby.parse(body)
    assert isinstance(refusal, Refusal)
    assert (400, (b"", "text/plain")) == (refusal.status, tabby.error(refusal))


def test_a_reply_is_what_the_agent_expects() -> None:
    answered = Answered("cmpl-1", "v", "base", 1, ("a + b",), ("stop",), Usage(1, 2, 0), 5.0)
    expected = {"id": "cmpl-1", "choices": [{"index": 0, "text": "a + b"}], "mode": "standard"}
    assert expected == tabby.answer(parsed(AGENT), answered)


def test_health_names_a_model_and_a_version_that_has_settings() -> None:
    body = tabby.health("echo-2", "cuda")
    assert ("echo-2", "cuda") == (body["model"], body["device"])
    assert (0, 9, 0) < tuple(map(int, body["version"]["git_describe"].removeprefix("v").split(".")))
    assert {"disable_client_side_telemetry": False} == tabby.server_setting()
    assert {"completion": ["v"], "chat": []} == tabby.models(["v"])


@pytest.mark.parametrize(
    ("changes", "query", "expected"),
    [
        ({}, None, ("shown", None)),
        ({"type": "select", "elapsed": 812}, None, ("accepted", 812)),
        ({"type": "select", "elapsed": 900}, "line", ("partially_accepted", 900)),
        ({"type": "select", "elapsed": 900, "select_kind": "line"}, None, ("partially_accepted", 900)),
        ({"type": "select", "select_kind": None}, "", ("accepted", None)),
        ({"type": "dismiss", "elapsed": 1200}, None, ("dismissed", 1200)),
        ({"type": "dismiss"}, "line", ("dismissed", None)),
        ({"type": "select", "elapsed": -5}, None, ("accepted", None)),
    ],
)
def test_an_event_is_a_record(changes: Any, query: str | None, expected: Any) -> None:
    (record,) = tabby.events(EVENT_BODY | changes, query, "jane", NOW)
    assert {"record", *EVENT.names} == set(record)
    assert ("cmpl-1", NOW, "jane", None) == (
        record["request_id"],
        record["ts_ms"],
        record["user"],
        record["accepted_chars"],
    )
    assert expected == (record["type"], record["visible_ms"])


@pytest.mark.parametrize("changes", [{"type": "like"}, {"type": None}, {"completion_id": ""}, {"type": []}])
def test_an_unknown_event_is_refused(changes: Any) -> None:
    refusal = tabby.events(EVENT_BODY | changes, None, "jane", NOW)
    assert isinstance(refusal, Refusal)
    assert 400 == refusal.status


def test_an_event_of_another_choice_is_no_record() -> None:
    assert [] == tabby.events(EVENT_BODY | {"choice_index": 1}, None, "jane", NOW)


def test_the_import_of_its_log_and_the_service_agree(tmp_path: Any) -> None:
    """What the service makes of a call is what the importer makes of Tabby's own log of it."""
    import orjson

    lines = [
        {"completion": {"completion_id": "cmpl-1", "choices": [], **AGENT}},
        {"select": {"completion_id": "cmpl-1", "kind": "line", "elapsed": 900}},
    ]
    path = tmp_path / "day.json"
    path.write_bytes(b"\n".join(orjson.dumps({"ts": NOW, "event": line}) for line in lines))
    (_, request), (_, event) = imported(path)
    assert isinstance(request, dict)
    assert isinstance(event, dict)
    asked = parsed(AGENT)
    for name in ("prefix", "suffix", "language", "prefix_complete", "suffix_complete"):
        assert getattr(asked, name) == request[name]
    select = EVENT_BODY | {"type": "select", "elapsed": 900}
    assert [event] == tabby.events(select, "line", "unknown", NOW)


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: [one], lambda one: {"events": [one]}])
def test_a_native_event_may_use_either_name(wrap: Any) -> None:
    contract = {"request_id": "r", "type": "accepted", "accepted_chars": 5, "visible_ms": 90}
    other = {"completion_id": "r", "type": "accepted", "accepted_length": 5, "elapsed_ms": 90}
    ignored = {"view_id": "v", "session": "s", "file": "f", "document": "text"}
    expected = {"record": "event", "ts_ms": NOW, "user": "jane"} | contract
    for body in (contract, other, other | ignored, other | contract):
        assert [expected] == native.events(wrap(body), "jane", NOW)
    said = {"ts_ms": 7, "user": "joe"}
    assert [expected | said] == native.events(wrap(contract | said), "jane", NOW)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "events must be a list of 1 to 1000 events"),
        ([{}] * 1001, "events must be a list of 1 to 1000 events"),
        ("x", "events must be a list of 1 to 1000 events"),
        ({"events": None}, "events must be a list of 1 to 1000 events"),
        ([5], "events[0]: the body must be a JSON object, got 5"),
        ({"type": "shown"}, "events[0]: request_id must be a non-empty string, got None"),
        ({"request_id": "r", "type": "liked"}, "events[0]: type must be one of shown, accepted, "),
        ({"completion_id": "", "type": "shown"}, "events[0]: completion_id must be a non-empty string"),
        (
            {"request_id": "r", "type": "accepted", "accepted_length": -1},
            "events[0]: accepted_length must be a whole number from 0 to",
        ),
        ({"request_id": "r", "type": "shown", "ts_ms": 2**64}, "events[0]: ts_ms must be a whole number"),
    ],
)
def test_a_bad_native_event_is_refused_with_its_place(body: Any, message: str) -> None:
    refusal = native.events(body, "jane", NOW)
    assert isinstance(refusal, Refusal)
    assert refusal.message.startswith(message)


def test_all_events_of_a_call_are_taken_or_none() -> None:
    good = [{"request_id": "r", "type": str(kind)} for kind in EventType]
    found = native.events(good, "jane", NOW)
    assert isinstance(found, list)
    assert [str(kind) for kind in EventType] == [record["type"] for record in found]
    assert isinstance(native.events([*good, {"request_id": "r"}], "jane", NOW), Refusal)
