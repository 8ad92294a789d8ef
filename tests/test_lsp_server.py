"""The language server as a real LSP 3.18 client sees it, and what the service is told meanwhile."""

import asyncio
import json
import subprocess
import sys

import pytest
from lsprotocol import types as t
from pygls.exceptions import JsonRpcException

from tests.completion_service import Act, CompletionService
from tests.editor import URI, editor

SOURCE = "def f(a):\n    return \n\nprint(f(1))\n"


def test_the_life_of_a_suggestion() -> None:
    async def scenario(service: CompletionService) -> None:
        async with editor(service.url, "lsp.user=u1") as it:
            assert it.capabilities.inline_completion_provider is not None
            assert it.capabilities.execute_command_provider is not None
            assert ["echo.didAccept"] == list(it.capabilities.execute_command_provider.commands)
            it.open(SOURCE)
            item = await it.ask(1, 11)
            assert item is not None
            assert "a + b" == item.insert_text
            assert t.Range(t.Position(1, 11), t.Position(1, 11)) == item.range
            it.notify("textDocument/didShowCompletion", {"item": {"insertText": item.insert_text}})
            assert item.command is not None
            await it.execute(item.command.command, *item.command.arguments or [])
            await it.execute("github.copilot.didAcceptCompletionItem", "cmpl-0")  # said twice, counted once

    with CompletionService() as service:
        asyncio.run(scenario(service))
    (asked,) = service.of("/completions")
    assert {"prompt": "def f(a):\n    return ", "suffix": "\n\nprint(f(1))\n", "user": "u1"} == asked.body
    wanted = {
        "x-echo-user": "u1",
        "x-echo-file": "src/a.py",
        "x-echo-language": "python",
        "x-echo-prefix-complete": "true",
        "x-echo-suffix-complete": "true",
        "x-echo-kind": "manual",
    }
    assert wanted == {name: asked.headers.get(name) for name in wanted}
    assert asked.headers["x-echo-session"].startswith("lsp-")
    assert "authorization" not in asked.headers
    shown, accepted = service.events()
    assert ("shown", "cmpl-0", None, None) == _told(shown)
    assert ("accepted", "cmpl-0", 5) == _told(accepted)[:3]
    assert accepted["visible_ms"] >= 0
    assert accepted["ts_ms"] >= shown["ts_ms"]
    headers = [received.headers for received in service.of("/events")]
    assert {asked.headers["x-echo-session"]} == {each["x-echo-session"] for each in headers}


def test_parts_are_counted_in_characters_and_a_part_is_not_dismissed() -> None:
    text = "'👍🏽 ' + 變數 + b"

    async def scenario(service: CompletionService) -> None:
        async with editor(service.url) as it:
            it.open(SOURCE)
            item = await it.ask(1, 11)
            assert item is not None
            told = {"item": {"insertText": item.insert_text, "command": {"arguments": ["cmpl-0", 0]}}}
            for end in (3, 4, 8):  # the first emoji is two characters and four UTF-16 units
                length = len(text[:end].encode("utf-16-le")) // 2
                it.notify("textDocument/didPartiallyAcceptCompletion", told | {"acceptedLength": length})
            it.notify("textDocument/didPartiallyAcceptCompletion", told | {"acceptedLength": 2})
            await it.request("notifyRejected", {"uuids": ["cmpl-0"]})

    with CompletionService(lambda received, number: Act(text)) as service:
        asyncio.run(scenario(service))
    assert [("partially_accepted", "cmpl-0", end, None) for end in (3, 4, 8)] == [
        _told(event) for event in service.events()
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_positions_are_understood_in_every_encoding(encoding: str) -> None:
    line = "x = '🙂' + 名前 + 'é' + "

    async def scenario(service: CompletionService) -> None:
        async with editor(service.url, encodings=[encoding]) as it:
            assert encoding == it.capabilities.position_encoding
            it.open(f"# 注釈 \x0c \u2028 no line ends here\r\n{line}z\r\ny = 2\r\n")
            size = len(line.encode(f"{encoding}-le" if encoding != "utf-8" else "utf-8"))
            await it.ask(1, size // {"utf-8": 1, "utf-16": 2, "utf-32": 4}[encoding])

    with CompletionService() as service:
        asyncio.run(scenario(service))
    (asked,) = service.of("/completions")
    assert f"# 注釈 \x0c \u2028 no line ends here\n{line}" == asked.body["prompt"]
    assert "z\ny = 2\n" == asked.body["suffix"]


def test_old_libraries_number_their_kinds_from_0_and_leave_things_out() -> None:
    async def scenario(service: CompletionService) -> None:
        async with editor(service.url) as it:
            it.open(SOURCE)
            for context in ({"triggerKind": 1}, {"triggerKind": 0}, {"triggerKind": 1}, None):
                params = {"textDocument": {"uri": URI}, "position": {"line": 1, "character": 11}}
                await it.request(
                    "textDocument/inlineCompletion",
                    params | ({} if context is None else {"context": context}),
                )

    with CompletionService() as service:
        asyncio.run(scenario(service))
    kinds = [received.headers["x-echo-kind"] for received in service.of("/completions")]
    assert ["manual", "manual", "automatic", "automatic"] == kinds


@pytest.mark.parametrize(
    ("selected", "expected"), [("return x", None), ("return a", "return a + b"), ("return", "return a + b")]
)
def test_only_what_extends_the_selected_entry_is_offered(selected: str, expected: str | None) -> None:
    async def scenario(service: CompletionService) -> t.InlineCompletionItem | None:
        async with editor(service.url) as it:
            it.open(SOURCE)
            span = t.Range(t.Position(1, 4), t.Position(1, 11))
            return await it.ask(1, 11, selected_completion_info=t.SelectedCompletionInfo(span, selected))

    with CompletionService() as service:
        item = asyncio.run(scenario(service))
    assert "def f(a):\n    return " == service.of("/completions")[0].body["prompt"]
    assert expected == (None if item is None else item.insert_text)
    if item is not None:
        assert t.Range(t.Position(1, 4), t.Position(1, 11)) == item.range


def test_nothing_is_sent_of_files_that_are_kept_out() -> None:
    async def scenario(service: CompletionService) -> None:
        settings = (
            "lsp.snapshots=true",
            "lsp.exclude_language_ids=[latex]",
            "lsp.exclude_paths=['*.secret']",
        )
        async with editor(service.url, *settings) as it:
            for name in (".env", "server.key", "a.secret", "b.tex"):
                uri = f"file:///work/project/{name}"
                it.open("a = 1\n", uri, "latex" if name == "b.tex" else "plaintext")
                it.type("b", 0, 0, uri)
                assert await it.ask(0, 1, uri=uri) is None

    with CompletionService() as service:
        asyncio.run(scenario(service))
    assert [] == service.received


def test_a_huge_document_is_cut_around_the_cursor() -> None:
    lines = [f"value_{number} = {number}\n" for number in range(250_000)]
    text = "".join(lines)
    assert len(text) > 5_000_000

    async def scenario(service: CompletionService) -> None:
        async with editor(service.url, "lsp.max_chars=10000") as it:
            it.open(text)
            it.type("x", 125_000, 0)
            await it.ask(125_000, 1)

    with CompletionService() as service:
        asyncio.run(scenario(service))
    (asked,) = service.of("/completions")
    prefix, suffix = asked.body["prompt"], asked.body["suffix"]
    assert ("false", "false") == tuple(
        asked.headers[f"x-echo-{end}-complete"] for end in ("prefix", "suffix")
    )
    assert 9_900 < len(prefix) + len(suffix) <= 10_000
    assert "".join([*lines[:125_000], "x"]).endswith("\n" + prefix)
    assert "".join(lines[125_000:]).startswith(suffix)


def test_the_editor_sets_settings_and_hears_of_wrong_ones() -> None:
    async def scenario(service: CompletionService) -> list[str]:
        options = {"lsp": {"user": "from-editor", "tcp_port": 1}, "usr": "x", "editorInfo": {"name": "E"}}
        async with editor(service.url, options=options) as it:
            it.open(SOURCE)
            await it.ask(1, 11)
            return [(await it.told.get()).message]

    with CompletionService() as service:
        said = asyncio.run(scenario(service))
    assert ["echo-ray: initializationOptions: tcp_port, usr cannot be set there"] == said
    (asked,) = service.of("/completions")
    assert "from-editor" == asked.headers["x-echo-user"]
    assert asked.headers["user-agent"].startswith("echo-ray-lsp/")


def test_only_messages_reach_stdout_and_bad_ones_are_answered() -> None:
    def frame(message: object) -> bytes:
        body = json.dumps(message).encode()
        return b"Content-Length: %d\r\n\r\n" % len(body) + body

    asked = [
        {"id": 1, "method": "textDocument/inlineCompletion", "params": []},
        {"id": 2, "method": "initialize", "params": {"capabilities": {}}},
        {"id": 3, "method": "textDocument/inlineCompletion", "params": "?"},
        {"id": 4, "method": "workspace/executeCommand", "params": {"arguments": 1}},
        {"id": 5, "method": "nobody/knows", "params": None},
        {"method": "textDocument/didChange", "params": {"textDocument": 1, "contentChanges": "x"}},
        {"id": 6, "method": "getCompletions", "params": None},
        {"id": 7, "method": "shutdown"},
        {"method": "exit"},
    ]
    done = subprocess.run(
        [sys.executable, "-m", "jobs", "lsp", "lsp.url=http://127.0.0.1:9"],
        input=b"".join(frame({"jsonrpc": "2.0", **message}) for message in asked),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    answers, rest = {}, done.stdout
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        size = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        message = json.loads(rest[:size])
        answers[message.get("id")], rest = message, rest[size:]
    codes = {number: answers[number].get("error", {}).get("code") for number in range(1, 8)}
    assert {1: -32002, 2: None, 3: None, 4: -32602, 5: -32601, 6: None, 7: None} == codes
    assert {None} == {answers[3]["result"], answers[7]["result"]}
    assert b"Traceback" not in done.stderr


def test_an_unknown_command_is_refused_and_an_unknown_suggestion_ignored() -> None:
    async def scenario(service: CompletionService) -> None:
        async with editor(service.url) as it:
            await it.execute("echo.didAccept", "cmpl-unknown", 0)
            await it.execute("echo.didAccept")
            with pytest.raises(JsonRpcException):
                await it.execute("echo.nothing")

    with CompletionService() as service:
        asyncio.run(scenario(service))
    assert [] == service.received


def _told(event: dict[str, object]) -> tuple[object, ...]:
    return event["type"], event["request_id"], event["accepted_chars"], event["visible_ms"]
