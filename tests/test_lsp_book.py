"""Lifecycles of suggestions, and the queue that carries their events."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.dialects import native
from echo_ray.errors import ConfigError
from echo_ray.lsp.book import ACCEPTED, DISMISSED, MAX_OFFERS, PARTIALLY_ACCEPTED, SHOWN, Book
from echo_ray.lsp.config import LspConfig, with_options
from echo_ray.lsp.outbox import Message, Outbox, Sent
from echo_ray.schema import EventType

REPORTS = st.lists(
    st.tuples(st.sampled_from(["shown", "accepted", "partial", "dismissed"]), st.integers(-3, 20)),
    max_size=12,
)


@given(st.text(max_size=8), st.text(min_size=1, max_size=8), REPORTS)
def test_any_reports_make_one_sensible_life(typed: str, text: str, reports: list[tuple[str, int]]) -> None:
    book, events = Book(), []
    book.offer("r", text, typed + text)
    for now_ms, (what, length) in enumerate(reports):
        match what:
            case "partial":
                events.append(book.partially_accepted("r", length, now_ms))
            case "shown":
                events.append(book.shown("r", now_ms))
            case "accepted":
                events.append(book.accepted("r", now_ms))
            case _:
                events.append(book.dismissed("r", now_ms))
    told = [event for event in events if event is not None]
    kinds = [event["type"] for event in told]
    ends = [kind for kind in kinds if kind in ("accepted", "dismissed")]
    parts = [event["accepted_chars"] for event in told if event["type"] == "partially_accepted"]
    assert kinds.count("shown") <= 1
    assert len(ends) <= 1
    assert ends == [] or kinds[-1] == ends[0]
    assert parts == sorted(set(parts))
    assert all(0 < part < len(text) for part in parts)
    assert not (parts and "dismissed" in kinds)
    assert set(kinds) <= set(EventType)
    if told:  # the service takes them all
        assert len(told) == len(native.events({"events": told}, "u", 0))  # type: ignore[arg-type]


def test_the_types_are_those_of_the_data_contract() -> None:
    assert set(EventType) == {SHOWN, ACCEPTED, PARTIALLY_ACCEPTED, DISMISSED}


def test_the_oldest_suggestions_are_forgotten() -> None:
    book = Book()
    for number in range(MAX_OFFERS + 1):
        book.offer(f"r{number}", "x", "x")
    assert book.accepted("r0", 1) is None
    assert book.accepted("r1", 1) is not None
    assert f"r{MAX_OFFERS}" == book.find({"insertText": "x"})


@pytest.mark.parametrize("item", [None, 1, {}, {"insertText": "y"}, {"command": {"arguments": [[]]}}])
def test_an_item_that_nobody_offered_is_nothing(item: Any) -> None:
    book = Book()
    book.offer("r", "x", "x")
    assert book.find(item) is None
    assert book.shown(book.find(item), 1) is None


def _message(number: int) -> Message:
    return Message("/events", {"id": number}, {})


@given(
    st.lists(st.sampled_from([Sent.TAKEN, Sent.LATER, Sent.NEVER]), max_size=30),
    st.integers(1, 12),
    st.integers(1, 5),
)
def test_a_queue_keeps_order_and_counts_what_it_loses(said: list[Sent], count: int, batch: int) -> None:
    answers = iter(said)
    taken: list[int] = []

    async def send(messages: Sequence[Message]) -> Sent:
        answer = next(answers, Sent.TAKEN)
        if answer is Sent.TAKEN:
            taken.extend(message.body["id"] for message in messages)
        if answer is Sent.LATER:
            box.wake()
        return answer

    async def scenario() -> None:
        nonlocal box
        box = Outbox(send, limit=8, batch=batch)
        for number in range(count):
            box.put(_message(number))
        sender = asyncio.create_task(box.run())
        while len(box):
            await asyncio.sleep(0)
        assert 0 == await box.flush(1.0)
        sender.cancel()

    box = Outbox(send, 1)
    asyncio.run(scenario())
    assert sorted(set(taken)) == taken
    assert count == len(taken) + box.dropped
    assert box.dropped >= max(0, count - 8)


def test_a_flush_does_not_wait_for_a_service_that_is_away() -> None:
    tries = 0

    async def send(messages: Sequence[Message]) -> Sent:
        nonlocal tries
        tries += 1
        return Sent.LATER

    async def scenario() -> int:
        box = Outbox(send, 8)
        box.put(_message(1))
        sender = asyncio.create_task(box.run())
        left = await box.flush(1e6)
        sender.cancel()
        return left

    assert 1 == asyncio.run(scenario())
    assert 1 == tries


def test_the_editors_settings_are_checked_like_all_others() -> None:
    base = LspConfig(max_chars=10)
    assert (base, None) == with_options(base, None)
    assert (base.updated(user="u"), None) == with_options(base, {"user": "u", "editorInfo": {}})
    same, fault = with_options(base, {"max_chars": 0})
    assert base == same
    assert fault is not None
    assert "max_chars" in fault
    assert "must be an object" in (with_options(base, [1])[1] or "")
    with pytest.raises(ValueError, match="http"):
        LspConfig(url="localhost:8000")
    assert issubclass(ConfigError, ValueError)
