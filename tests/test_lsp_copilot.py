"""The older Copilot dialect, with the messages that copilot.vim 1.26 and copilot.lua send."""

import asyncio
from typing import Any

from tests.completion_service import Act, CompletionService
from tests.editor import URI, editor

SOURCE = "def f(a):\n    return \n"
COPILOT = {
    "editorInfo": {"name": "Vim", "version": "9.0.1378"},
    "editorPluginInfo": {"name": "copilot.vim", "version": "1.26.0"},
}


def _params(line: int, character: int) -> dict[str, Any]:
    position = {"line": line, "character": character}
    doc = {
        "uri": URI,
        "version": 3,
        "insertSpaces": True,
        "tabSize": 4,
        "indentSize": 4,
        "position": position,
    }
    return {"doc": doc, "textDocument": {"uri": URI, "version": 3}, "position": position}


def test_a_session_of_the_classic_plug_in() -> None:
    text = "a + b\n    # 🙂"

    async def scenario(service: CompletionService) -> None:
        async with editor(service.url, options=COPILOT) as it:
            assert it.capabilities.execute_command_provider is not None
            commands = it.capabilities.execute_command_provider.commands
            assert "github.copilot.didAcceptCompletionItem" in commands
            assert {"status": "OK", "user": "echo-ray"} == await it.request("checkStatus", {})
            assert "AlreadySignedIn" == (await it.request("signInInitiate", {}))["status"]
            assert "version" in await it.request("getVersion", {})
            assert "OK" == await it.request("setEditorInfo", COPILOT)
            it.notify("workspace/didChangeConfiguration", {"settings": {"http": {"proxy": None}}})
            it.open("\n")
            it.replace(SOURCE)
            answer = await it.request("getCompletions", _params(1, 11))
            (choice,) = answer["completions"]
            assert {
                "uuid": "cmpl-0",
                "text": f"    return {text}",
                "displayText": text,
                "range": {"start": {"line": 1, "character": 0}, "end": {"line": 1, "character": 11}},
                "position": {"line": 1, "character": 11},
                "docVersion": 2,
            } == choice
            assert answer == await it.request("getCompletionsCycling", _params(1, 11))
            assert {"completions": []} == await it.request("getCompletionsCycling", _params(0, 0))
            await it.request("notifyShown", {"uuid": "cmpl-0"})
            await it.request("notifyShown", {"uuid": "cmpl-0"})
            await it.request("notifyAccepted", {"uuid": "cmpl-0", "acceptedLength": 4})
            await it.request("notifyAccepted", {"uuid": "cmpl-0"})
            await it.request("getCompletions", _params(1, 11))
            await it.request("notifyShown", {"uuid": "cmpl-1"})
            await it.request("notifyRejected", {"uuids": ["cmpl-1", "cmpl-0", "unknown", None]})

    with CompletionService(lambda received, number: Act(text)) as service:
        asyncio.run(scenario(service))
    assert 2 == len(service.of("/completions"))
    assert (
        "Vim/9.0.1378%20copilot.vim/1.26.0".replace("%20", " ") in service.received[0].headers["user-agent"]
    )
    events = [(event["request_id"], event["type"], event["accepted_chars"]) for event in service.events()]
    assert [
        ("cmpl-0", "shown", None),
        ("cmpl-0", "partially_accepted", 4),
        ("cmpl-0", "accepted", len(text)),
        ("cmpl-1", "shown", None),
        ("cmpl-1", "dismissed", None),
    ] == events


def test_copilot_lua_counts_from_the_start_of_the_line() -> None:
    async def scenario(service: CompletionService) -> None:
        async with editor(service.url, options=COPILOT | {"editorPluginInfo": {"name": "copilot.lua"}}) as it:
            it.open(SOURCE)
            answer = await it.request("getCompletions", _params(1, 11) | {"_": True})
            length = len(answer["completions"][0]["text"])
            await it.request("notifyAccepted", {"uuid": "cmpl-0", "acceptedLength": length})

    with CompletionService() as service:
        asyncio.run(scenario(service))
    (event,) = service.events()
    assert ("accepted", 5) == (event["type"], event["accepted_chars"])


def test_nothing_to_propose_is_an_empty_list() -> None:
    async def scenario(service: CompletionService) -> None:
        async with editor(service.url) as it:
            for params in (_params(1, 11), None, [], {"doc": 1}, {"doc": {"uri": URI, "position": "x"}}):
                assert {"completions": []} == await it.request("getCompletions", params)

    with CompletionService() as service:
        asyncio.run(scenario(service))
    assert [] == service.received
