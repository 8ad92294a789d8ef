"""The language server while its service is slow, refuses, goes away and comes back; nobody is disturbed."""

import asyncio
import threading

import pytest
from pygls.exceptions import JsonRpcException

from tests.completion_service import Act, CompletionService, Received
from tests.editor import URI, Editor, editor

SOURCE = "def f(a):\n    return \n"


def test_away_and_back_again_every_event_arrives_once_and_in_order() -> None:
    async def scenario(service: CompletionService) -> list[str]:
        async with editor(service.url) as it:
            it.open(SOURCE)
            for _ in range(3):
                await it.ask(1, 11)
            service.stop()
            for number in range(3):
                await it.request("notifyShown", {"uuid": f"cmpl-{number}"})
                await it.execute("echo.didAccept", f"cmpl-{number}")
                assert await it.ask(1, 11) is None
            service.start()
            assert await it.ask(1, 11) is not None  # the service is back, which wakes the queue
            await it.until(service, lambda: len(service.events()) == 6)
            service.stop()
            assert await it.ask(1, 11) is None
            service.start()
            return [(await it.told.get()).message for _ in range(it.told.qsize())]

    with CompletionService() as service:
        said = asyncio.run(scenario(service))
    events = [(event["type"], event["request_id"]) for event in service.events()]
    assert [(kind, f"cmpl-{n}") for n in range(3) for kind in ("shown", "accepted")] == events
    assert 6 == len({event["id"] for event in service.events()})
    assert 2 == len(said), said
    assert all("cannot be reached" in each for each in said)


def test_a_lost_answer_is_repeated_with_the_same_id() -> None:
    def behave(received: Received, number: int) -> Act:
        return Act(lost=received.path.endswith("/events") and number == 0)

    async def scenario(service: CompletionService) -> None:
        async with editor(service.url) as it:
            it.open(SOURCE)
            await it.ask(1, 11)
            await it.execute("echo.didAccept", "cmpl-0")
            await it.until(service, lambda: len(service.events()) == 1)

    with CompletionService(behave) as service:
        asyncio.run(scenario(service))
    first, second = (received.body for received in service.of("/events"))
    assert first == second


def test_an_event_that_is_refused_does_not_take_others_with_it() -> None:
    def behave(received: Received, number: int) -> Act:
        bodies = received.body.get("events", [received.body])
        bad = any(event.get("request_id") == "cmpl-1" for event in bodies)
        return Act(status=503 if number == 0 else 422 if bad else 200)

    def both(received: Received, number: int) -> Act:
        return behave(received, number) if received.path.endswith("/events") else Act()

    async def scenario(service: CompletionService) -> None:
        async with editor(service.url) as it:
            it.open(SOURCE)
            for number in range(3):
                await it.ask(1, 11)
                await it.execute("echo.didAccept", f"cmpl-{number}")

    with CompletionService(both) as service:
        asyncio.run(scenario(service))
    assert ["cmpl-0", "cmpl-2"] == [event["request_id"] for event in service.events()]


BAD = {
    "500": (Act(status=500), 1),
    "401": (Act(status=401), 1),
    "429": (Act(status=429), 0),
    "400": (Act(status=400), 0),
    "silence": (Act(text=""), 0),
    "html": (Act(raw=b"<html>"), 0),
    "shape": (Act(raw=b'{"id":1,"choices":[{}]}'), 0),
    "none": (Act(raw=b'{"id":"x","choices":[]}'), 0),
    "lost": (Act(lost=True), 0),
    "slow": (Act(hold=threading.Event()), 0),
}
"""What the service does, and how many warnings that is worth."""


def test_whatever_the_service_does_the_answer_is_null() -> None:
    acts = [act for bad, _ in BAD.values() for act in (bad, bad, Act())]

    async def scenario(service: CompletionService) -> dict[str, int]:
        said = {}
        async with editor(service.url, "lsp.timeout_ms=1000") as it:
            it.open(SOURCE)
            for name in BAD:
                before = it.told.qsize()
                assert [None, None] == [await it.ask(1, 11), await it.ask(1, 11)], name
                assert await it.ask(1, 11) is not None, name
                said[name] = it.told.qsize() - before
        return said

    with CompletionService(lambda received, number: acts[number]) as service:
        assert {name: count for name, (_, count) in BAD.items()} == asyncio.run(scenario(service))


def test_a_newer_request_ends_the_older_one_and_closes_its_connection() -> None:
    hold = threading.Event()

    def behave(received: Received, number: int) -> Act:
        return Act(hold=hold if number == 0 else None)

    async def scenario(service: CompletionService) -> None:
        async with editor(service.url) as it:
            it.open(SOURCE)
            older = it.ask_later(1, 11)
            await it.until(service, lambda: len(service.received) == 1)
            it.type("x", 1, 11)
            newer = await it.ask(1, 12)
            assert newer is not None
            assert await older is None
            await it.until(service, lambda: service.received[0].closed)

    with CompletionService(behave) as service:
        asyncio.run(scenario(service))
    assert ["    return ", "    return x"] == [
        received.body["prompt"].splitlines()[-1] for received in service.received
    ]


def test_requests_in_different_documents_do_not_end_each_other() -> None:
    hold = threading.Event()

    def behave(received: Received, number: int) -> Act:
        return Act(hold=hold if number == 0 else None)

    async def scenario(service: CompletionService) -> None:
        async with editor(service.url) as it:
            it.open(SOURCE)
            it.open(SOURCE, "file:///work/project/b.py")
            older = it.ask_later(1, 11)
            await it.until(service, lambda: len(service.received) == 1)
            assert await it.ask(1, 11, uri="file:///work/project/b.py") is not None
            hold.set()
            assert await older is not None

    with CompletionService(behave) as service:
        asyncio.run(scenario(service))


def test_the_protocols_cancellation_closes_the_connection() -> None:
    async def scenario(service: CompletionService) -> None:
        async with editor(service.url) as it:
            it.open(SOURCE)
            asked = it.ask_later(1, 11, msg_id="gone")
            await it.until(service, lambda: len(service.received) == 1)
            it.notify("$/cancelRequest", {"id": "gone"})
            with pytest.raises(JsonRpcException, match="cancel"):
                await asked
            await it.until(service, lambda: service.received[0].closed)

    with CompletionService(lambda received, number: Act(hold=threading.Event())) as service:
        asyncio.run(scenario(service))


def test_automatic_requests_wait_for_the_next_keystroke() -> None:
    async def scenario(service: CompletionService) -> None:
        async with editor(service.url, "lsp.debounce_ms=400") as it:
            it.open(SOURCE)
            asked = []
            for number in range(5):
                it.type("x", 1, 11 + number)
                asked.append(it.ask_later(1, 12 + number, kind=2))
            answers = await asyncio.gather(*asked)
            assert [True] * 4 + [False] == [answer is None for answer in answers]

    with CompletionService() as service:
        asyncio.run(scenario(service))
    assert 1 == len(service.received)
    assert service.received[0].body["prompt"].endswith("return xxxxx")


def test_what_is_queued_is_sent_before_the_editor_may_leave() -> None:
    async def scenario(service: CompletionService) -> None:
        async with editor(service.url, "lsp.snapshots=true", "lsp.snapshot_ms=100000") as it:
            it.open(SOURCE)
            await it.ask(1, 11)
            await it.execute("echo.didAccept", "cmpl-0")
            it.type("a + b", 1, 11)

    with CompletionService() as service:
        asyncio.run(scenario(service))
    assert ["accepted"] == [event["type"] for event in service.events()]
    (snapshot,) = service.of("/snapshots")
    assert "def f(a):\n    return a + b" == snapshot.body["prefix"]


def test_snapshots_show_what_no_request_shows() -> None:
    def prefixes(service: CompletionService) -> list[str]:
        return [received.body["prefix"] for received in service.of("/snapshots")]

    async def burst(it: Editor) -> None:
        for number, char in enumerate("abc"):
            it.type(char, 0, number)

    async def scenario(service: CompletionService) -> None:
        settings = ("lsp.snapshots=true", "lsp.snapshot_ms=300")
        async with editor(service.url, *settings) as it:
            it.open("\n")
            await burst(it)  # one burst, one snapshot
            await it.until(service, lambda: prefixes(service) == ["abc"])
            it.type("d", 0, 3)
            assert await it.ask(0, 4) is not None  # a request shows it
            it.type("e", 0, 4)
            it.notify("textDocument/didSave", {"textDocument": {"uri": URI}})
            await it.until(service, lambda: prefixes(service) == ["abc", "abcde"])
        async with editor(service.url, "lsp.snapshots=true", "lsp.snapshot_ms=100000") as it:
            it.open("\n")
            it.open("\n", "file:///b.py")
            it.type("1", 0, 0)
            it.notify("textDocument/didFocus", {"textDocument": {"uri": "file:///b.py"}})
            await it.until(service, lambda: len(prefixes(service)) == 3)
            it.type("2", 0, 0, "file:///b.py")
            it.notify("textDocument/didClose", {"textDocument": {"uri": "file:///b.py"}})
            await it.until(service, lambda: len(prefixes(service)) == 4)

    with CompletionService() as service:
        asyncio.run(scenario(service))
    assert ["abc", "abcde", "1", "2"] == prefixes(service)
    sent = service.of("/snapshots")
    assert {"id", "prefix", "suffix", "ts_ms"} == set(sent[0].body)
    times = [received.body["ts_ms"] for received in sent]
    assert sorted(times) == times
    files = [received.headers["x-echo-file"].rpartition("/")[2] for received in sent]
    assert ["a.py", "a.py", "a.py", "b.py"] == files
