"""The older Copilot dialect, so that its editor plug-ins work unchanged: requests instead of item commands.

Source: the traffic of copilot.vim 1.26 and the public source of copilot.lua. Not covered: panels, chat and
edits elsewhere in the file (`textDocument/copilotInlineEdit`); nobody has to sign in anywhere.
"""

from typing import Any

import echo_ray
from echo_ray.lsp import documents
from echo_ray.lsp.documents import Place, part
from echo_ray.lsp.protocol import EchoServer
from echo_ray.lsp.session import Proposal

ACCEPT = "github.copilot.didAcceptCompletionItem"
"""The dialect's command for an accepted suggestion; its first argument is the suggestion's id."""


def greet(ls: EchoServer, options: Any) -> None:
    """Advertise the dialect's command to its own clients only: in other editors it may be somebody else's."""
    if part(options, "editorPluginInfo") is not None:
        late(ls)


def late(ls: EchoServer) -> None:
    """Understand the dialect's command, whether or not it was advertised."""
    if ACCEPT in ls.protocol.fm.commands:
        return

    @ls.command(ACCEPT)
    def accept(ls: EchoServer, *arguments: Any) -> None:
        ls.session.accepted(arguments[0] if arguments else None)


def register(made: EchoServer) -> None:
    """Add the dialect's requests to a server."""
    _completions(made)
    _reports(made)
    _account(made)


def _completions(made: EchoServer) -> None:
    last: dict[tuple[str, Place], dict[str, Any]] = {}

    @made.feature("getCompletions")
    async def completions(ls: EchoServer, params: Any) -> dict[str, Any]:
        uri, where = _asked(params)
        proposal = await ls.session.ask(uri, where, automatic=True)
        answer = {"completions": [] if proposal is None else [_choice(ls, proposal, where)]}
        last.clear()
        last[uri, where] = answer
        return answer

    @made.feature("getCompletionsCycling")
    async def cycling(ls: EchoServer, params: Any) -> dict[str, Any]:
        """There is one suggestion; asking again for the same place would log the same request twice."""
        return last.get(_asked(params), {"completions": []})


def _choice(ls: EchoServer, proposal: Proposal, where: Place) -> dict[str, Any]:
    """One suggestion. `text` replaces the line up to the cursor, because copilot.lua accepts words by
    counting from the line's start; `displayText` is what is new.
    """
    document, offset = proposal.document, proposal.offset
    start = documents.at(document.text, Place(where.line, 0))
    ls.session.offer(proposal, proposal.text)
    position = {"line": where.line, "character": where.character}
    return {
        "uuid": proposal.request_id,
        "text": document.text[start:offset] + proposal.text,
        "range": {"start": {"line": where.line, "character": 0}, "end": position},
        "displayText": proposal.text,
        "position": position,
        "docVersion": document.version,
    }


def _reports(made: EchoServer) -> None:
    @made.feature("notifyShown")
    def shown(ls: EchoServer, params: Any) -> str:
        ls.session.shown(part(params, "uuid"))
        return "OK"

    @made.feature("notifyAccepted")
    def accepted(ls: EchoServer, params: Any) -> str:
        which, length = part(params, "uuid"), part(params, "acceptedLength")
        if length is None:
            ls.session.accepted(which)
        else:
            ls.session.partially_accepted(which, length)
        return "OK"

    @made.feature("notifyRejected")
    def rejected(ls: EchoServer, params: Any) -> str:
        uuids = part(params, "uuids")
        for which in uuids if isinstance(uuids, list) else ():
            ls.session.dismissed(which)
        return "OK"


def _account(made: EchoServer) -> None:
    @made.feature("checkStatus")
    def status(ls: EchoServer, params: Any) -> dict[str, str]:
        return {"status": "OK", "user": _user(ls)}

    @made.feature("signInInitiate")
    def sign_in(ls: EchoServer, params: Any) -> dict[str, str]:
        return {"status": "AlreadySignedIn", "user": _user(ls)}

    @made.feature("signInConfirm")
    def confirm(ls: EchoServer, params: Any) -> dict[str, str]:
        return {"status": "OK", "user": _user(ls)}

    @made.feature("getVersion")
    def version(ls: EchoServer, params: Any) -> dict[str, str]:
        return {"version": echo_ray.__version__}

    @made.feature("setEditorInfo")
    def editor(ls: EchoServer, params: Any) -> str:
        return "OK"


def _asked(params: Any) -> tuple[str, Place]:
    """Address and position of a request, which stand in `doc` and, in newer clients, beside it as well."""
    doc = part(params, "doc")
    uri = documents.uri_of(doc) or documents.uri_of(part(params, "textDocument"))
    return uri, documents.place(part(doc, "position") or part(params, "position"))


def _user(ls: EchoServer) -> str:
    return ls.config.user or "echo-ray"
