"""When a change is sent that no completion request shows: once a burst of changes is over.

A document that changes is pending. It is sent when it has not changed for a while, at once when it is
saved, left or closed, and not at all when a completion request shows the same text.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from echo_ray.lsp.documents import Document


@dataclass(frozen=True, slots=True)
class Pending:
    """A document as it was after its last change (`ts_ms`, UTC milliseconds), and where that change ended."""

    document: Document
    cursor: int
    ts_ms: int


class Pacer:
    """Calls `send` at most once in `delay_s` per document, except for `flush`."""

    def __init__(self, delay_s: float, send: Callable[[Pending], None]) -> None:
        self._delay_s, self._send = delay_s, send
        self._pending: dict[str, Pending] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def changed(self, pending: Pending) -> None:
        """A document changed; its burst goes on."""
        uri = pending.document.uri
        self.forget(uri)
        self._pending[uri] = pending
        self._timers[uri] = asyncio.get_running_loop().call_later(self._delay_s, self.flush, uri)

    def shown(self, document: Document) -> Pending | None:
        """A request shows this text: what was pending for it, which is now forgotten. `put_back`
        it when the request was not taken.
        """
        pending = self._pending.get(document.uri)
        if pending is None or pending.document.text != document.text:
            return None
        self.forget(document.uri)
        return pending

    def put_back(self, pending: Pending | None) -> None:
        """A request was not taken: its text is pending again, unless a newer one is."""
        if pending is not None and pending.document.uri not in self._pending:
            self.changed(pending)

    def flush(self, uri: str) -> None:
        """Send what is pending of a document now."""
        pending = self._pending.get(uri)
        self.forget(uri)
        if pending is not None:
            self._send(pending)

    def flush_all(self) -> None:
        """Send everything that is pending."""
        for uri in list(self._pending):
            self.flush(uri)

    def forget(self, uri: str) -> None:
        """Nothing of this document is pending."""
        self._pending.pop(uri, None)
        timer = self._timers.pop(uri, None)
        if timer is not None:
            timer.cancel()
