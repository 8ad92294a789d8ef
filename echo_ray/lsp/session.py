"""One editor's session: its documents, what it asks the service, and what is reported about it.

Knows nothing of the protocol's messages, so both dialects of `server` and `copilot` share it.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from echo_ray.lsp import documents, text
from echo_ray.lsp.book import Book
from echo_ray.lsp.config import LspConfig
from echo_ray.lsp.documents import Document, Place
from echo_ray.lsp.outbox import Message, Outbox
from echo_ray.lsp.service import EVENTS, SNAPSHOTS, Service
from echo_ray.lsp.snapshots import Pacer, Pending

MAX_SNAPSHOTS = 64
"""Snapshots kept while the service is away; they are whole documents."""
EVENTS_A_CALL = 50
FLUSH_S = 2.0
"""An editor that closes waits no longer than this (seconds)."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A suggestion for `document` at `offset`."""

    request_id: str
    text: str
    document: Document
    offset: int


class Session:
    """What an editor did and gets; all methods belong to one event loop."""

    def __init__(
        self,
        config: LspConfig,
        key: str | None,
        agent: str,
        excluded: Callable[[str], bool],
        report: Callable[[str], None],
    ) -> None:
        self._config, self._excluded = config, excluded
        self.encoding = text.DEFAULT_ENCODING
        """What the editor counts positions in."""
        self.folders: set[str] = set()
        """Addresses of the workspace folders."""
        self.documents: dict[str, Document] = {}
        self.book = Book()
        self._name = f"lsp-{uuid.uuid4().hex[:16]}"
        self._focus = ""
        self._running: dict[str, asyncio.Task[Proposal | None]] = {}
        self._service = Service(config, key, agent, report, self._back)
        self._events = Outbox(self._service.deliver, config.queue_max, EVENTS_A_CALL)
        self._snapshots = Outbox(self._service.deliver, MAX_SNAPSHOTS)
        self._pacer = Pacer(config.snapshot_ms / 1000, self._snapshot)
        self._senders = [asyncio.create_task(box.run()) for box in (self._events, self._snapshots)]

    def open(self, document: Document | None) -> None:
        """A document is open, with this text."""
        if document is not None:
            self.documents[document.uri] = document

    def change(self, uri: str, version: Any, changes: Any) -> None:
        """A document changed; changes of a document that is not open are ignored."""
        before = self.documents.get(uri)
        if before is None:
            return
        document, cursor = documents.changed(before, version, changes, self.encoding)
        self.documents[uri] = document
        self.focus(uri)
        if document.text != before.text and self._config.snapshots and self._may_send(document):
            self._pacer.changed(Pending(document, cursor, _now_ms()))

    def focus(self, uri: str) -> None:
        """The user works in this document now."""
        if uri != self._focus:
            self._pacer.flush(self._focus)
            self._focus = uri

    def save(self, uri: str) -> None:
        """A document was written to disk."""
        self._pacer.flush(uri)

    def close(self, uri: str) -> None:
        """A document is no longer open."""
        self._pacer.flush(uri)
        self.documents.pop(uri, None)
        running = self._running.pop(uri, None)
        if running is not None:
            running.cancel()

    async def ask(self, uri: str, where: Place, automatic: bool) -> Proposal | None:
        """What the service proposes at a place. A newer request for the document ends this one with None."""
        document = self.documents.get(uri)
        if document is None or not self._may_send(document):
            return None
        self.focus(uri)
        older = self._running.pop(uri, None)
        if older is not None:
            older.cancel()
        offset = documents.at(document.text, where, self.encoding)
        task = asyncio.create_task(self._ask(document, offset, automatic))
        self._running[uri] = task
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            return None
        finally:
            if self._running.get(uri) is task:
                del self._running[uri]

    def offer(self, proposal: Proposal, insert_text: str) -> None:
        """The editor is about to be given a proposal, as the end of `insert_text`."""
        self.book.offer(proposal.request_id, proposal.text, insert_text)

    def shown(self, request_id: Any) -> None:
        """A suggestion is on the screen."""
        self._tell(self.book.shown(request_id, _now_ms()))

    def accepted(self, request_id: Any) -> None:
        """A suggestion was taken."""
        self._tell(self.book.accepted(request_id, _now_ms()))

    def partially_accepted(self, request_id: Any, length: Any) -> None:
        """The first `length` UTF-16 units of what the editor was given were taken."""
        self._tell(self.book.partially_accepted(request_id, length, _now_ms()))

    def dismissed(self, request_id: Any) -> None:
        """A suggestion was sent away."""
        self._tell(self.book.dismissed(request_id, _now_ms()))

    async def end(self) -> int:
        """Send what is left, for two seconds at most; returns how many messages are lost."""
        self._pacer.flush_all()
        for running in self._running.values():
            running.cancel()
        boxes = (self._events, self._snapshots)
        await asyncio.gather(*(box.flush(FLUSH_S) for box in boxes))
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        await self._service.close()
        return sum(len(box) + box.dropped for box in boxes)

    async def _ask(self, document: Document, offset: int, automatic: bool) -> Proposal | None:
        if automatic and self._config.debounce_ms:
            await asyncio.sleep(self._config.debounce_ms / 1000)
        shown = text.window(document.text, offset, self._config.max_chars)
        body: dict[str, Any] = {"prompt": shown.prefix, "suffix": shown.suffix}
        if self._config.user is not None:
            body["user"] = self._config.user
        kind = {"X-Echo-Kind": "automatic" if automatic else "manual"}
        pending = self._pacer.shown(document)
        answer = await self._service.complete(body, self._headers(document, shown) | kind)
        if answer is None:
            self._pacer.put_back(pending)
            return None
        return Proposal(answer.request_id, answer.text, document, offset) if answer.text else None

    def _tell(self, event: dict[str, Any] | None) -> None:
        if event is not None:
            self._events.put(Message(EVENTS, event, self._who()))

    def _snapshot(self, pending: Pending) -> None:
        document = pending.document
        shown = text.window(document.text, pending.cursor, self._config.max_chars)
        body = {
            "id": uuid.uuid4().hex,
            "prefix": shown.prefix,
            "suffix": shown.suffix,
            "ts_ms": pending.ts_ms,
        }
        self._snapshots.put(Message(SNAPSHOTS, body, self._headers(document, shown)))

    def _may_send(self, document: Document) -> bool:
        if document.language in self._config.exclude_language_ids:
            return False
        names = {documents.path_of(document.uri), documents.file_name(document.uri, self.folders)}
        return not any(map(self._excluded, names))

    def _headers(self, document: Document, shown: text.Window) -> dict[str, str]:
        return {
            **self._who(),
            "X-Echo-File": documents.header(documents.file_name(document.uri, self.folders)),
            "X-Echo-Language": documents.header(document.language),
            "X-Echo-Prefix-Complete": str(shown.prefix_complete).lower(),
            "X-Echo-Suffix-Complete": str(shown.suffix_complete).lower(),
        }

    def _who(self) -> dict[str, str]:
        user = {} if self._config.user is None else {"X-Echo-User": documents.header(self._config.user)}
        return {"X-Echo-Session": self._name} | user

    def _back(self) -> None:
        self._events.wake()
        self._snapshots.wake()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
