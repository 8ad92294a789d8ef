"""The real `tabby-agent` and Continue's adapters on the real service, and what the log holds afterwards."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.live import LONG, LONG_SUFFIX, PREFIX, SUFFIX, WRONG, Live
from tests.node import adapters, dev_data_faults, installed
from tests.tabby import FILE, REMOTE, Tabby, new_view

pytestmark = pytest.mark.ray

DOCUMENT, CURSOR = PREFIX + SUFFIX, len(PREFIX)
MARKS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
TEMPLATE = f"{MARKS[0]}{PREFIX}{MARKS[1]}{SUFFIX}{MARKS[2]}"
FIM = {"prompt": PREFIX, "suffix": SUFFIX, "max_tokens": 64, "temperature": 0.01, "stop": ["\n\n"]}


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    """Before the service is started: without Node nothing is."""
    installed()


def agent(live: Live, folder: Path, session: str, key: str | None = None) -> Tabby:
    return Tabby(live.url, key or live.keys["tabby"], folder, {"X-Echo-Session": session})


def from_tabby(live: Live, answer: Any, session: str, prefix: str = PREFIX) -> dict[str, Any]:
    """The record of what the agent got; the agent may cut white space at the end of what it was given."""
    who = live.pseudonyms("key-tabby", session, FILE, REMOTE)
    [choice] = answer["choices"]
    return live.expected(
        answer["id"], choice["text"], who, prefix=prefix, language="python", client="node",
        prefix_complete=True, suffix_complete=True,
    )  # fmt: skip


def test_tabby_reports_the_whole_life_of_a_completion(live: Live, tmp_path: Path) -> None:
    with agent(live, tmp_path, "sitting-life") as driven:
        answer = driven.complete(DOCUMENT, CURSOR)
        view = new_view()
        told = [
            driven.event("view", answer["id"], view),
            driven.event("select", answer["id"], view, elapsed=900, select_kind="line"),
            driven.event("select", answer["id"], view, elapsed=1812),
            driven.event("dismiss", answer["id"], view, elapsed=2200),
        ]
    assert [True] * 4 == told
    assert answer["choices"][0]["text"].strip()
    assert from_tabby(live, answer, "sitting-life") == live.request(request_id=answer["id"])
    event = {"user": live.names.user("key-tabby"), "accepted_chars": None}
    assert [
        event | {"type": "shown", "visible_ms": None},
        event | {"type": "partially_accepted", "visible_ms": 900},
        event | {"type": "accepted", "visible_ms": 1812},
        event | {"type": "dismissed", "visible_ms": 2200},
    ] == live.events(answer["id"])


def test_tabby_types_along_without_a_request_and_away_with_one(live: Live, tmp_path: Path) -> None:
    with agent(live, tmp_path, "sitting-typing") as driven:
        first = driven.complete(DOCUMENT, CURSOR)
        letter = first["choices"][0]["text"][0]
        along = driven.complete(PREFIX + letter + SUFFIX, CURSOR + 1)
        again = driven.complete(DOCUMENT, CURSOR, True)
        driven.event("view", along["id"])
        away = driven.complete(PREFIX + "zz" + SUFFIX, CURSOR + 2)
    assert (first["id"], {"start": CURSOR, "end": CURSOR + 1}) == (
        along["id"],
        along["choices"][0]["replaceRange"],
    )
    assert first == again
    session = live.names.session("sitting-typing")
    records = live.log(record="request", session=session)
    assert [PREFIX, PREFIX + "zz"] == [record["prefix"] for record in records]
    assert [first["id"], away["id"]] == [record["request_id"] for record in records]
    assert ["shown"] == [event["type"] for event in live.events(first["id"])]


def test_tabby_leaves_on_the_next_key(live: Live, tmp_path: Path) -> None:
    document, session = LONG + LONG_SUFFIX, "sitting-leaves"
    before = live.asked("tabby")
    with agent(live, tmp_path, session) as driven:
        answer = driven.abandon(document, len(LONG), lambda: live.until(lambda: live.asked("tabby") > before))
        live.until(lambda: live.log(session=live.names.session(session)))
        assert answer is None
        there = driven.complete(DOCUMENT, CURSOR)
    assert there["choices"]
    gone, stayed = live.log(record="request", session=live.names.session(session))
    assert (LONG, LONG_SUFFIX, False, None) == tuple(
        gone[name] for name in ("prefix", "suffix", "delivered", "proposal")
    )
    assert (there["id"], True) == (stayed["request_id"], stayed["delivered"])


def test_tabby_without_a_valid_key(live: Live, tmp_path: Path) -> None:
    before = len(live.log())
    with agent(live, tmp_path, "sitting-nobody", WRONG) as driven:
        assert driven.complete(DOCUMENT, CURSOR) is None
        assert driven.event("view", f"cmpl-{'0' * 32}") is False
    assert before == len(live.log())


def test_two_agents_of_one_key_are_one_user_in_two_sessions(live: Live, tmp_path: Path) -> None:
    records = []
    for session in ("sitting-one", "sitting-two"):
        with agent(live, tmp_path, session) as driven:
            records.append(live.request(request_id=driven.complete(DOCUMENT, CURSOR)["id"]))
    one, two = records
    assert (one["user"], one["file"]) == (two["user"], two["file"])
    assert one["session"] != two["session"]


CLIENTS = ("node-fetch", "OpenAI/JS", "node")
PROVIDERS = [
    ("mistral", "/v1/", "codestral-latest"),
    ("openai", "/v1/", "echo-fim"),
    ("deepseek", "/", "deepseek-coder"),
    ("vllm", "/v1/", "echo-fim"),
]
CASES: list[dict[str, Any]] = [
    {"provider": provider, "base": base, "model": model, "call": "fimStream", "body": FIM}
    for provider, base, model in PROVIDERS
]
CASES.append(
    CASES[1]
    | {
        "call": "completionStream",
        "body": {
            "prompt": TEMPLATE, "max_tokens": 64, "temperature": 0.01, "stop": [*MARKS, "<|endoftext|>"],
        },
    }
)  # fmt: skip


def said(chunk: dict[str, Any]) -> str:
    return "".join(
        choice["delta"]["content"] if "delta" in choice else choice["text"] for choice in chunk["choices"]
    )


def test_continue_is_answered_by_every_provider(live: Live) -> None:
    who = live.pseudonyms("key-continue")
    before = len(live.log(record="request", user=who["user"]))
    found = adapters(live.url, live.keys["continue"], CASES)
    assert [None] * len(CASES) == [each.get("error") for each in found]
    logged = [record["request_id"] for record in live.log(record="request", user=who["user"])][before:]
    for each, identifier in zip(found, logged, strict=True):
        text = "".join(map(said, each["chunks"]))
        assert text.strip()
        # The adapter for DeepSeek makes chunks of its own, without an id.
        assert {identifier, ""} >= {chunk["id"] for chunk in each["chunks"]}
        record = live.request(request_id=identifier)
        assert record.pop("client").startswith(CLIENTS)
        assert live.expected(identifier, text, who) == record


def test_continues_templated_prompt_names_the_file(live: Live) -> None:
    header = "# Path: util.py\n# def helper():\n#     return 1\n# lib/secret_plan.py\n"
    prompt = f"{MARKS[0]}{header}{PREFIX}{MARKS[1]}{SUFFIX}{MARKS[2]}"
    case = CASES[-1] | {"body": CASES[-1]["body"] | {"prompt": prompt}}
    [found] = adapters(live.url, live.keys["continue"], [case])
    [identifier] = {chunk["id"] for chunk in found["chunks"]}
    record = live.request(request_id=identifier)
    del record["client"]
    who = live.pseudonyms("key-continue", file="lib/secret_plan.py")
    assert live.expected(identifier, "".join(map(said, found["chunks"])), who) == record


def test_continue_without_a_valid_key(live: Live) -> None:
    before = len(live.log())
    for found in adapters(live.url, WRONG, CASES):
        assert ([], True) == (found["chunks"], "401" in found["error"] or "not valid" in found["error"]), (
            found
        )
    assert before == len(live.log())


def dev_data(text: str, **changes: Any) -> dict[str, Any]:
    """What Continue tells of a suggestion, every field that its schema names."""
    return {
        "timestamp": "2026-01-02T03:04:05.678Z", "userId": "person-con", "userAgent": "vscode/1.100.0",
        "selectedProfileId": "local", "eventName": "autocomplete", "schema": "0.2.0", "disable": False,
        "maxPromptTokens": 1024, "debounceDelay": 350, "maxSuffixPercentage": 0.2, "prefixPercentage": 0.3,
        "transform": True, "multilineCompletions": "auto", "slidingWindowPrefixPercentage": 0.75,
        "slidingWindowSize": 500, "useCache": True, "onlyMyCode": True, "useRecentlyEdited": True,
        "useImports": True, "accepted": True, "time": 120, "prefix": PREFIX, "suffix": SUFFIX,
        "prompt": PREFIX, "completion": text, "modelProvider": "mistral", "modelName": "codestral-latest",
        "cacheHit": False, "filepath": "file:///p/secret_plan.py", "gitRepo": REMOTE,
        "completionId": "client-1", "uniqueId": "machine-1",
    } | changes  # fmt: skip


@pytest.mark.parametrize(("accepted", "fate"), [(True, "accepted"), (False, "dismissed")])
def test_what_continue_says_joins_the_request(live: Live, accepted: bool, fate: str) -> None:
    # A place of its own, so that the text is not that of another test's request.
    prefix = PREFIX.replace("items", f"found_{fate}")
    [found] = adapters(live.url, live.keys["continue"], [CASES[0] | {"body": FIM | {"prompt": prefix}}])
    text, identifier = "".join(map(said, found["chunks"])), found["chunks"][0]["id"]
    data = dev_data(text, prefix=prefix, accepted=accepted)
    assert [[]] == dev_data_faults([data])
    body = {"name": "autocomplete", "data": data, "schema": "0.2.0", "level": "all", "profileId": "local"}
    first, again = (live.post("/v1/dev-data", body, "continue") for _ in range(2))
    assert (200, {"logged": 2, "outcome": "joined"}) == (first[0], json.loads(first[1]))
    assert (200, {"logged": 0, "outcome": "joined"}) == (again[0], json.loads(again[1]))
    events = live.events(identifier)
    assert ["shown", fate] == [event["type"] for event in events]
    assert {live.request(request_id=identifier)["user"]} == {event["user"] for event in events}
    assert [None, len(text) if accepted else None] == [event["accepted_chars"] for event in events]


def test_what_continue_says_of_other_things_is_taken_and_not_logged(live: Live) -> None:
    before = len(live.log())
    unknown = {"name": "autocomplete", "data": dev_data("never served"), "schema": "0.2.0", "level": "all"}
    assert 200 == live.post("/v1/dev-data", unknown, "continue")[0]
    assert 200 == live.post("/v1/dev-data", {"name": "chatInteraction", "data": {}}, "continue")[0]
    assert 401 == live.post("/v1/dev-data", unknown, WRONG)[0]
    assert before == len(live.log())
