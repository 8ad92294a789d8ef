"""What was offered to the user, and what clients report about it, turned into events. No I/O.

A suggestion is shown once, may be taken in parts (each report says how much in all), and ends once: it is
accepted or dismissed. Repeats and reports about unknown suggestions give nothing. Times are UTC
milliseconds and come from the caller.
"""

import uuid
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from echo_ray.lsp.text import chars, units

SHOWN, ACCEPTED = "shown", "accepted"
PARTIALLY_ACCEPTED, DISMISSED = "partially_accepted", "dismissed"
"""Types of events, those of `echo_ray.schema`: importing that loads Arrow, and an editor waits meanwhile."""
MAX_OFFERS = 1000
"""Suggestions remembered; reports about older ones are not understood."""


@dataclass(slots=True)
class Offer:
    """One suggestion, as long as clients may report about it."""

    request_id: str
    text: str
    """The proposal: what is new to the document."""
    insert_text: str
    """What the client was given: the proposal, behind text that stands in the document already."""
    shown_ms: int | None = None
    accepted_chars: int = 0
    ended: bool = False


class Book:
    """The suggestions of one editor."""

    def __init__(self) -> None:
        self._offers: OrderedDict[str, Offer] = OrderedDict()

    def offer(self, request_id: str, text: str, insert_text: str) -> None:
        """Remember a suggestion before the client has it."""
        self._offers[request_id] = Offer(request_id, text, insert_text)
        while len(self._offers) > MAX_OFFERS:
            self._offers.popitem(last=False)

    def find(self, item: Any) -> str | None:
        """Which suggestion an item is: by the command that it carries, else the newest with its text."""
        if not isinstance(item, dict):
            return None
        command = item.get("command")
        arguments = command.get("arguments") if isinstance(command, dict) else None
        named = arguments[0] if isinstance(arguments, list) and arguments else None
        if isinstance(named, str) and named in self._offers:
            return named
        newest = (
            offer for offer in reversed(self._offers.values()) if offer.insert_text == item.get("insertText")
        )
        return next((offer.request_id for offer in newest), None)

    def shown(self, request_id: Any, now_ms: int) -> dict[str, Any] | None:
        """The suggestion is on the screen."""
        offer = self._open(request_id)
        if offer is None or offer.shown_ms is not None:
            return None
        offer.shown_ms = now_ms
        return _event(offer, SHOWN, now_ms)

    def accepted(self, request_id: Any, now_ms: int) -> dict[str, Any] | None:
        """The user took all of it."""
        offer = self._open(request_id)
        if offer is None:
            return None
        offer.ended, offer.accepted_chars = True, len(offer.text)
        return _event(offer, ACCEPTED, now_ms, offer.accepted_chars)

    def partially_accepted(self, request_id: Any, length: Any, now_ms: int) -> dict[str, Any] | None:
        """The user has taken the first `length` UTF-16 units of the text that the client was given."""
        offer = self._open(request_id)
        if offer is None or not isinstance(length, int):
            return None
        if length >= units(offer.insert_text):
            return self.accepted(request_id, now_ms)
        typed = len(offer.insert_text) - len(offer.text)
        taken = chars(offer.insert_text, length) - typed
        if taken <= offer.accepted_chars:
            return None
        offer.accepted_chars = taken
        return _event(offer, PARTIALLY_ACCEPTED, now_ms, taken)

    def dismissed(self, request_id: Any, now_ms: int) -> dict[str, Any] | None:
        """The user sent it away; nothing when a part of it was taken before."""
        offer = self._open(request_id)
        if offer is None:
            return None
        offer.ended = True
        return None if offer.accepted_chars else _event(offer, DISMISSED, now_ms)

    def _open(self, request_id: Any) -> Offer | None:
        offer = self._offers.get(request_id) if isinstance(request_id, str) else None
        return None if offer is None or offer.ended else offer


def _event(offer: Offer, kind: str, now_ms: int, accepted_chars: int | None = None) -> dict[str, Any]:
    since = None if offer.shown_ms is None or kind == SHOWN else max(0, now_ms - offer.shown_ms)
    return {
        "id": uuid.uuid4().hex,
        "request_id": offer.request_id,
        "type": kind,
        "ts_ms": now_ms,
        "accepted_chars": accepted_chars,
        "visible_ms": since,
    }
