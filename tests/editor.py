"""An editor without a window: a pygls client that drives `python -m jobs lsp` over stdin and stdout."""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

from lsprotocol import types as t
from pygls.lsp.client import LanguageClient
from pygls.protocol import JsonRPCResponseMessage

from tests.completion_service import CompletionService

FOLDER = "file:///work/project"
URI = f"{FOLDER}/src/a.py"


class Editor:
    """What an editor says and hears."""

    def __init__(self, client: LanguageClient, told: asyncio.Queue[t.ShowMessageParams]) -> None:
        self.client, self.told = client, told
        self.capabilities = t.ServerCapabilities()
        self._version = 1

    def open(self, text: str, uri: str = URI, language: str = "python") -> None:
        item = t.TextDocumentItem(uri, language, self._version, text)
        self.client.text_document_did_open(t.DidOpenTextDocumentParams(item))

    def replace(self, text: str, uri: str = URI) -> None:
        self.notify("textDocument/didChange", self._change(uri) | {"contentChanges": [{"text": text}]})

    def type(self, text: str, line: int, character: int, uri: str = URI) -> None:
        here = {"line": line, "character": character}
        change = {"range": {"start": here, "end": here}, "text": text}
        self.notify("textDocument/didChange", self._change(uri) | {"contentChanges": [change]})

    def _change(self, uri: str) -> dict[str, Any]:
        self._version += 1
        return {"textDocument": {"uri": uri, "version": self._version}}

    def notify(self, method: str, params: Any) -> None:
        # As plain JSON: what old clients send does not fit the types of this client's library.
        self.client.protocol._send_data({"jsonrpc": "2.0", "method": method, "params": params})

    async def request(self, method: str, params: Any) -> Any:
        """The result of a request, both as plain JSON."""
        number, answer = uuid.uuid4().hex, Future[Any]()
        self.client.protocol._request_futures[number] = answer
        self.client.protocol._send_data({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        return await asyncio.wait_for(asyncio.wrap_future(answer), timeout=30)

    def ask_later(
        self,
        line: int,
        character: int,
        kind: int = 1,
        msg_id: str | None = None,
        uri: str = URI,
        **context: Any,
    ) -> asyncio.Future[Any]:
        params = t.InlineCompletionParams(
            context=t.InlineCompletionContext(t.InlineCompletionTriggerKind(kind), **context),
            text_document=t.TextDocumentIdentifier(uri),
            position=t.Position(line, character),
        )
        asked = self.client.protocol.send_request_async(t.TEXT_DOCUMENT_INLINE_COMPLETION, params, msg_id)
        return asyncio.ensure_future(asyncio.wait_for(asked, timeout=30))

    async def ask(self, line: int, character: int, **named: Any) -> t.InlineCompletionItem | None:
        """The only item of the answer, None for null."""
        result = await self.ask_later(line, character, **named)
        return None if result is None else result.items[0]

    async def execute(self, command: str, *arguments: Any) -> None:
        await self.client.workspace_execute_command_async(
            t.ExecuteCommandParams(command=command, arguments=list(arguments))
        )

    async def until(self, service: CompletionService, done: Callable[[], bool]) -> None:
        await asyncio.to_thread(service.wait, done)


def _plain(data: dict[str, Any], kind: type) -> Any:
    return kind(id=data["id"], result=data.get("result"), jsonrpc=data["jsonrpc"])


@asynccontextmanager
async def editor(
    url: str, *settings: str, options: Any = None, encodings: list[str] | None = None
) -> AsyncIterator[Editor]:
    """A driven server process, shut down as editors do at the end."""
    client = LanguageClient("driver", "1")
    told: asyncio.Queue[t.ShowMessageParams] = asyncio.Queue()

    @client.feature(t.WINDOW_SHOW_MESSAGE)
    def show(params: t.ShowMessageParams) -> None:
        told.put_nowait(params)

    client.protocol._converter.register_structure_hook(JsonRPCResponseMessage, _plain)
    given = (f"lsp.url={url}", "lsp.debounce_ms=0", "lsp.snapshots=false", *settings)
    await client.start_io(sys.executable, "-m", "jobs", "lsp", *given)
    driven = Editor(client, told)
    capabilities = t.ClientCapabilities(general=t.GeneralClientCapabilities(position_encodings=encodings))
    result = await client.initialize_async(
        t.InitializeParams(
            capabilities=capabilities,
            initialization_options=options,
            workspace_folders=[t.WorkspaceFolder(FOLDER, "project")],
        )
    )
    driven.capabilities = result.capabilities
    client.initialized(t.InitializedParams())
    try:
        yield driven
    finally:
        await client.shutdown_async(None)
        client.exit(None)
        assert client._server is not None
        assert 0 == await client._server.wait()
        await client.stop()
