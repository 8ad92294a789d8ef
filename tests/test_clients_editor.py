"""`python -m jobs lsp`, driven by a pygls client, on the real service, and what the log holds afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pygls.exceptions import JsonRpcException

import echo_ray
from tests.editor import FOLDER, URI, Editor, editor
from tests.live import LONG, LONG_SUFFIX, PREFIX, SUFFIX, WRONG, Live

pytestmark = pytest.mark.ray

SOURCE = PREFIX + SUFFIX
LINE, CHARACTER = PREFIX.count("\n"), len(PREFIX.rpartition("\n")[2])
AGENT = f"echo-ray-lsp/{echo_ray.__version__}"
SHOWN, PARTIALLY = "textDocument/didShowCompletion", "textDocument/didPartiallyAcceptCompletion"


@asynccontextmanager
async def driven(live: Live, user: str, *settings: str, **more: Any) -> AsyncIterator[Editor]:
    # A slow machine is no reason for an empty answer here.
    async with editor(live.url, f"lsp.user={user}", "lsp.timeout_ms=20000", *settings, **more) as it:
        yield it


@pytest.fixture(autouse=True)
def key(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO_RAY_API_KEY", live.keys["lsp"])


def from_editor(
    live: Live, record: dict[str, Any], user: str, proposal: str | None, **more: Any
) -> dict[str, Any]:
    """The expected record of a whole document; only the editor process knows its session's name."""
    who = live.pseudonyms(user, file="src/a.py") | {"session": record["session"]}
    whole = {"prefix_complete": True, "suffix_complete": True, "language": "python", "client": AGENT}
    return live.expected(record["request_id"], proposal, who, **(whole | more))


@pytest.mark.parametrize(("trigger", "kind"), [(1, "manual"), (2, "automatic")])
def test_the_whole_life_of_a_completion(live: Live, trigger: int, kind: str) -> None:
    user = f"person-life-{kind}"

    async def scenario() -> tuple[str, str]:
        async with driven(live, user) as it:
            it.open(SOURCE)
            item = await it.ask(LINE, CHARACTER, kind=trigger)
            assert item is not None
            assert isinstance(item.insert_text, str)
            assert item.command is not None
            assert item.command.arguments is not None
            said = {"insertText": item.insert_text, "command": {"arguments": item.command.arguments}}
            it.notify(SHOWN, {"item": said})
            it.notify(PARTIALLY, {"item": said, "acceptedLength": 4})
            it.notify(PARTIALLY, {"item": said, "acceptedLength": 7})
            await it.execute(item.command.command, *item.command.arguments)
            return item.command.arguments[0], item.insert_text

    request_id, text = asyncio.run(scenario())
    assert len(text) > 7
    record = live.request(request_id=request_id)
    assert from_editor(live, record, user, text, kind=kind) == record
    events = live.events(request_id)
    assert [
        ("shown", None),
        ("partially_accepted", 4),
        ("partially_accepted", 7),
        ("accepted", len(text)),
    ] == [(event["type"], event["accepted_chars"]) for event in events]
    assert {live.names.user(user)} == {event["user"] for event in events}
    assert [True, False, False, False] == [event["visible_ms"] is None for event in events]


def test_the_older_copilot_dialect(live: Live) -> None:
    user = "person-copilot"
    position = {"line": LINE, "character": CHARACTER}
    asked = {"doc": {"uri": URI, "version": 1, "position": position}, "position": position}

    async def scenario() -> list[dict[str, Any]]:
        answers = []
        info = {"editorInfo": {"name": "Vim", "version": "9.0"}}
        async with driven(live, user, options=info) as it:
            it.open(SOURCE)
            for fate in ("notifyAccepted", "notifyRejected"):
                [answer] = (await it.request("getCompletions", asked))["completions"]
                await it.request("notifyShown", {"uuid": answer["uuid"]})
                told = {"uuids": [answer["uuid"]]} if fate == "notifyRejected" else {"uuid": answer["uuid"]}
                await it.request(fate, told)
                answers.append(answer)
        return answers

    taken, refused = asyncio.run(scenario())
    for answer, fate in ((taken, "accepted"), (refused, "dismissed")):
        record = live.request(request_id=answer["uuid"])
        expected = from_editor(live, record, user, answer["displayText"], client=f"{AGENT} Vim/9.0")
        assert expected | {"kind": record["kind"]} == record
        assert ["shown", fate] == [event["type"] for event in live.events(answer["uuid"])]
    assert taken["uuid"] != refused["uuid"]


def test_positions_behind_characters_of_two_units(live: Live) -> None:
    user, line = "person-utf16", 'name = "🙂é"; class Stack: pass'
    prefix = f"{line}\n{PREFIX}# 🙂 "

    async def scenario() -> None:
        async with driven(live, user) as it:
            it.open(prefix + SUFFIX)
            await it.ask(LINE + 1, CHARACTER + len("# 🙂 ") + 1)

    asyncio.run(scenario())
    record = live.request(user=live.names.user(user))
    assert (prefix, SUFFIX) == (record["prefix"], record["suffix"])


def test_snapshots_show_what_no_request_shows(live: Live) -> None:
    user = "person-snapshots"

    async def scenario() -> None:
        async with driven(live, user, "lsp.snapshots=true", "lsp.snapshot_ms=100000") as it:
            it.open(SOURCE)
            assert await it.ask(LINE, CHARACTER) is not None
            it.type("push", LINE, CHARACTER)
            it.notify("textDocument/didSave", {"textDocument": {"uri": URI}})
            it.type("(self)", LINE, CHARACTER + 4)  # sent when the editor leaves

    asyncio.run(scenario())
    first, *snapshots = live.log(record="request", user=live.names.user(user))
    typed = [PREFIX + "push", PREFIX + "push(self)"]
    assert [(prefix, SUFFIX) for prefix in typed] == [
        (record["prefix"], record["suffix"]) for record in snapshots
    ]
    for shown in snapshots:
        record = live.request(request_id=shown["request_id"])
        expected = from_editor(live, record, user, None, prefix=record["prefix"], delivered=False)
        assert expected == record
        assert first["session"] == record["session"]


def test_a_newer_request_and_a_cancelled_one_are_logged_as_not_delivered(live: Live) -> None:
    user = "person-leaves"
    line, character = LONG.count("\n"), len(LONG.rpartition("\n")[2])

    async def scenario() -> None:
        async with driven(live, user) as it:
            it.open(LONG + LONG_SUFFIX)
            before = live.asked("openai")
            older = it.ask_later(line, character)
            await asyncio.to_thread(live.until, lambda: live.asked("openai") > before)
            it.type("x", line, character)
            newer = it.ask_later(line, character + 1, msg_id="gone")
            await asyncio.to_thread(live.until, lambda: live.asked("openai") > before + 1)
            it.notify("$/cancelRequest", {"id": "gone"})
            assert await older is None
            with pytest.raises(JsonRpcException, match="cancel"):
                await newer

    asyncio.run(scenario())
    name = live.names.user(user)
    records = live.until(lambda: found if len(found := live.log(record="request", user=name)) == 2 else None)
    assert {(LONG, False, None), (LONG + "x", False, None)} == {
        (record["prefix"], record["delivered"], record["proposal"]) for record in records
    }


def test_a_file_of_secrets_is_neither_sent_nor_logged(live: Live) -> None:
    async def scenario() -> None:
        async with driven(live, "person-env", "lsp.snapshots=true", "lsp.snapshot_ms=1") as it:
            uri = f"{FOLDER}/.env"
            it.open("KEY=\n", uri, "dotenv")
            assert await it.ask(0, 4, uri=uri) is None
            it.type("x", 0, 4, uri)

    before = len(live.log())
    asyncio.run(scenario())
    assert before == len(live.log())


def test_a_wrong_key_is_said_once_and_nothing_is_logged(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO_RAY_API_KEY", WRONG)

    async def scenario() -> list[str]:
        async with driven(live, "person-wrong") as it:
            it.open(SOURCE)
            assert [None] * 3 == [await it.ask(LINE, CHARACTER) for _ in range(3)]
            return [(await it.told.get()).message for _ in range(it.told.qsize())]

    before = len(live.log())
    [said] = asyncio.run(scenario())
    assert "refuses the key in ECHO_RAY_API_KEY (HTTP 401)" in said
    assert before == len(live.log())
