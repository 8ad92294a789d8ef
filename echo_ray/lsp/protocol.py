"""pygls, made lenient and quiet: what editors really send is accepted, and errors are not shown to them.

pygls keeps documents by `str.splitlines`, which knows ten line ends where LSP knows three, so documents are
kept by `Session` instead, and the messages about them reach its handlers as plain JSON.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lsprotocol import types as t
from pygls.exceptions import JsonRpcException, JsonRpcServerNotInitialized
from pygls.lsp.server import LanguageServer
from pygls.protocol import (
    JsonRPCNotification,
    JsonRPCRequestMessage,
    LanguageServerProtocol,
    default_converter,
    lsp_method,
)

import echo_ray
from echo_ray.lsp.config import LspConfig
from echo_ray.lsp.session import Session

log = logging.getLogger(__name__)

Excluding = Callable[[Sequence[str]], Callable[[str], bool]]
"""Patterns besides the built-in ones to a function that says which paths are never sent; ValueError when they
are none."""

_PLAIN = frozenset(
    {
        t.TEXT_DOCUMENT_DID_OPEN,
        t.TEXT_DOCUMENT_DID_CHANGE,
        t.TEXT_DOCUMENT_DID_SAVE,
        t.TEXT_DOCUMENT_DID_CLOSE,
        t.TEXT_DOCUMENT_INLINE_COMPLETION,
        t.WORKSPACE_DID_CHANGE_CONFIGURATION,
    }
)
"""Messages that handlers get as plain JSON: old clients leave out or misuse some of their fields."""
MALFORMED = "echo/malformed"
"""Where messages go that do not fit their type; requests are answered with an error, the rest is ignored."""


class EchoProtocol(LanguageServerProtocol):
    """LSP as `server` needs it; `ended` is set by the message `exit`."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.ended = threading.Event()
        self.exit_status = 1

    def get_message_type(self, method: str) -> Any:  # type: ignore[override]  # there it is cached
        """Type of a message, None for plain JSON."""
        return None if method in _PLAIN else super().get_message_type(method)

    def structure_message(self, data: dict[str, Any]) -> Any:
        """A message from JSON; one that does not fit its type is renamed `MALFORMED`."""
        try:
            return super().structure_message(data)
        except JsonRpcException:
            log.warning("a message %s is not what LSP says", data.get("method", "without a method"))
            if "method" not in data:
                raise
            if "id" in data:
                return JsonRPCRequestMessage(data["id"], MALFORMED, "2.0", None)
            return JsonRPCNotification(MALFORMED, "2.0", None)

    @lsp_method(t.EXIT)
    def lsp_exit(self, *arguments: Any) -> None:  # type: ignore[override]  # there it yields
        """End the reading loop; whoever runs it leaves the process."""
        self.exit_status = 0 if self._shutdown else 1
        self.ended.set()

    @lsp_method(t.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: Any) -> None:
        """Hand a message about a document to its handler."""
        self._hand(t.TEXT_DOCUMENT_DID_OPEN, params)

    @lsp_method(t.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: Any) -> None:
        """Hand a message about a document to its handler."""
        self._hand(t.TEXT_DOCUMENT_DID_CHANGE, params)

    @lsp_method(t.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: Any) -> None:
        """Hand a message about a document to its handler."""
        self._hand(t.TEXT_DOCUMENT_DID_CLOSE, params)

    def _hand(self, method: str, params: Any) -> None:
        self.fm.features[method](params)


class EchoServer(LanguageServer):
    """One editor's server, as handlers get it."""

    protocol: EchoProtocol

    def __init__(self, config: LspConfig, environ: Mapping[str, str], excluding: Excluding) -> None:
        super().__init__(
            "echo-ray", echo_ray.__version__, protocol_cls=EchoProtocol, converter_factory=_converter
        )
        self.config, self.environ, self.excluding = config, environ, excluding
        self.live: Session | None = None
        """The session, between `initialize` and `shutdown`."""
        self.counts_kinds_from_0 = False
        """Whether the client's library numbers trigger kinds from 0."""

    @property
    def session(self) -> Session:
        """The session; outside of one a message is answered with the error that LSP names."""
        if self.live is None:
            raise JsonRpcServerNotInitialized()
        return self.live

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Errors are for whoever reads the log, never for the screen."""
        log.error("%s", type(error).__name__)

    def say(self, sentence: str) -> None:
        """Show the user one sentence."""
        self.window_show_message(t.ShowMessageParams(type=t.MessageType.Warning, message=sentence))


def _converter() -> Any:
    """The converter of pygls, with plain JSON where no type is known."""
    made = default_converter()  # type: ignore[no-untyped-call]
    for kind in (JsonRPCRequestMessage, JsonRPCNotification):
        made.register_structure_hook(kind, _plain)
    return made


def _plain(data: dict[str, Any], kind: type) -> Any:
    named = {"method": data["method"], "jsonrpc": data["jsonrpc"], "params": data.get("params")}
    return kind(id=data["id"], **named) if kind is JsonRPCRequestMessage else kind(**named)
