"""LSP 3.18 in front of a `Session`: documents, inline completions, and what clients report about them.

An answer is never an error: where there is nothing to propose, or the service is away, it is null.
"""

import logging
from collections.abc import Mapping
from typing import Any

from lsprotocol import types as t
from pygls.exceptions import JsonRpcInvalidParams

import echo_ray
from echo_ray.lsp import copilot, documents
from echo_ray.lsp.config import LspConfig, with_options
from echo_ray.lsp.documents import Place, part
from echo_ray.lsp.protocol import MALFORMED, EchoServer, Excluding
from echo_ray.lsp.session import Proposal, Session

log = logging.getLogger(__name__)

ACCEPT = "echo.didAccept"
"""Command that a client runs when a suggestion was accepted; its first argument is the suggestion's id."""


def server(config: LspConfig, environ: Mapping[str, str], excluding: Excluding) -> EchoServer:
    """A server with all its handlers."""
    made = EchoServer(config, environ, excluding)
    _life(made)
    _documents(made)
    _completions(made)
    copilot.register(made)
    return made


def _life(made: EchoServer) -> None:
    @made.feature(t.INITIALIZE)
    def initialize(ls: EchoServer, params: t.InitializeParams) -> None:
        options = params.initialization_options
        ls.config, fault = with_options(ls.config, options)
        config = ls.config
        key = ls.environ.get(config.api_key_env, "").strip() or None
        if key is not None and not (key.isascii() and key.isprintable()):
            key, fault = None, f"{config.api_key_env} holds no key: it is not one line of ASCII"
        try:
            excluded = ls.excluding(config.exclude_paths)
        except ValueError as error:
            excluded, fault = (lambda path: True), f"lsp.exclude_paths: {error}; no file is sent"
        session = ls.live = Session(
            config,
            key,
            _agent(params),
            excluded,
            ls.say,
        )
        encoding = ls.workspace.position_encoding
        session.encoding = encoding.value if isinstance(encoding, t.PositionEncodingKind) else str(encoding)
        session.folders |= {folder.uri for folder in params.workspace_folders or ()}
        if not session.folders and params.root_uri:
            session.folders.add(params.root_uri)
        copilot.greet(ls, options)
        if fault is not None:
            ls.say(f"echo-ray: {fault}")

    @made.feature(t.INITIALIZED)
    def initialized(ls: EchoServer, params: t.InitializedParams) -> None:
        copilot.late(ls)

    @made.feature(t.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def folders(ls: EchoServer, params: t.DidChangeWorkspaceFoldersParams) -> None:
        ls.session.folders -= {folder.uri for folder in params.event.removed}
        ls.session.folders |= {folder.uri for folder in params.event.added}

    @made.feature(t.WORKSPACE_DID_CHANGE_CONFIGURATION)
    def configuration(ls: EchoServer, params: Any) -> None:
        """Settings are read once, from `initializationOptions`."""

    @made.feature(MALFORMED)
    def malformed(ls: EchoServer, params: Any) -> None:
        raise JsonRpcInvalidParams()

    @made.feature(t.SHUTDOWN)
    async def shutdown(ls: EchoServer, params: Any) -> None:
        await end(ls)


async def end(ls: EchoServer) -> None:
    """End the session, if there is one; what was queued is sent, for two seconds at most."""
    session, ls.live = ls.live, None
    if session is not None and (lost := await session.end()):
        log.warning("%d messages did not reach the service", lost)


def _documents(made: EchoServer) -> None:
    @made.feature(t.TEXT_DOCUMENT_DID_OPEN)
    def opened(ls: EchoServer, params: Any) -> None:
        ls.session.open(documents.opened(part(params, "textDocument")))

    @made.feature(t.TEXT_DOCUMENT_DID_CHANGE)
    def changed(ls: EchoServer, params: Any) -> None:
        item = part(params, "textDocument")
        ls.session.change(documents.uri_of(item), part(item, "version"), part(params, "contentChanges"))

    @made.feature(t.TEXT_DOCUMENT_DID_SAVE, t.SaveOptions(include_text=False))
    def saved(ls: EchoServer, params: Any) -> None:
        ls.session.save(documents.uri_of(part(params, "textDocument")))

    @made.feature(t.TEXT_DOCUMENT_DID_CLOSE)
    def closed(ls: EchoServer, params: Any) -> None:
        ls.session.close(documents.uri_of(part(params, "textDocument")))

    @made.feature("textDocument/didFocus")
    def focused(ls: EchoServer, params: Any) -> None:
        ls.session.focus(documents.uri_of(part(params, "textDocument")))


def _completions(made: EchoServer) -> None:
    @made.feature(t.TEXT_DOCUMENT_INLINE_COMPLETION, t.InlineCompletionOptions())
    async def inline(ls: EchoServer, params: Any) -> t.InlineCompletionList | None:
        session = ls.session
        context = part(params, "context")
        where = documents.place(part(params, "position"))
        proposal = await session.ask(
            documents.uri_of(part(params, "textDocument")), where, not _invoked(ls, context)
        )
        if proposal is None:
            return None
        item = _item(session, proposal, where, part(context, "selectedCompletionInfo"))
        return None if item is None else t.InlineCompletionList(items=[item])

    @made.command(ACCEPT)
    def accept(ls: EchoServer, *arguments: Any) -> None:
        ls.session.accepted(arguments[0] if arguments else None)

    @made.feature("textDocument/didShowCompletion")
    def shown(ls: EchoServer, params: Any) -> None:
        ls.session.shown(ls.session.book.find(part(params, "item")))

    @made.feature("textDocument/didPartiallyAcceptCompletion")
    def partially(ls: EchoServer, params: Any) -> None:
        which = ls.session.book.find(part(params, "item"))
        ls.session.partially_accepted(which, part(params, "acceptedLength"))


def _item(session: Session, proposal: Proposal, where: Place, selected: Any) -> t.InlineCompletionItem | None:
    """The proposal as an item. While the client's own list has an entry selected, only what goes on from
    that entry can be seen, and it must replace the same range; anything else is None. The model is not
    asked with the entry in its context: the log would show text that nobody had written.
    """
    start, typed = where, ""
    span, wanted = part(selected, "range"), part(selected, "text")
    if isinstance(span, Mapping) and isinstance(wanted, str):
        start = documents.place(span.get("start"))
        begin = documents.at(proposal.document.text, start, session.encoding)
        typed = proposal.document.text[begin : proposal.offset]
        if not f"{typed}{proposal.text}".startswith(wanted):
            return None
    text = f"{typed}{proposal.text}"
    session.offer(proposal, text)
    return t.InlineCompletionItem(
        insert_text=text,
        range=t.Range(t.Position(start.line, start.character), t.Position(where.line, where.character)),
        command=t.Command(title="", command=ACCEPT, arguments=[proposal.request_id, 0]),
    )


def _invoked(ls: EchoServer, context: Any) -> bool:
    """Whether the user asked. LSP says 1, invoked, and 2, automatic; libraries before 3.18 said 0 and 1."""
    kind = part(context, "triggerKind")
    ls.counts_kinds_from_0 = ls.counts_kinds_from_0 or kind == 0
    return bool(kind == (0 if ls.counts_kinds_from_0 else 1))


def _agent(params: t.InitializeParams) -> str:
    """User agent: this server, and the editor as it names itself."""
    names = [f"echo-ray-lsp/{echo_ray.__version__}"]
    if params.client_info is not None:
        names.append(f"{params.client_info.name}/{params.client_info.version or 'unknown'}")
    options = params.initialization_options
    for key in ("editorInfo", "editorPluginInfo"):
        info = part(options, key)
        if isinstance(part(info, "name"), str):
            names.append(f"{info['name']}/{part(info, 'version') or 'unknown'}")
    return " ".join(documents.header(name) for name in names)
