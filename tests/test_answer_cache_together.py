"""Many who ask the same at once: one call, whoever leaves."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from echo_ray.serve.cache import AnswerCache, Hit, Place, Question, Reply

PLACE = Place("v1", "u", "s", "f", (), b"")


def keep_all(rest: str, prefix: str, suffix: str) -> str:
    return rest


class Engine:
    """Answers when told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.cancelled = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> Reply[int]:
        self.calls += 1
        number = self.calls
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return Reply("text", number)


def together(
    scene: Callable[[AnswerCache[int], Engine, Callable[..., asyncio.Task[Any]]], Coroutine[Any, Any, None]],
) -> None:
    async def run() -> None:
        cache: AnswerCache[int] = AnswerCache(keep_all)
        engine = Engine()

        def start(**more: Any) -> asyncio.Task[Any]:
            return asyncio.create_task(cache.ask(Question(PLACE, "p", "s"), engine, **more))

        await asyncio.wait_for(scene(cache, engine, start), 20)
        assert {} == cache._flights

    asyncio.run(run())


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_three_at_once_are_one_call() -> None:
    async def scene(cache: AnswerCache[int], engine: Engine, start: Callable[..., asyncio.Task[Any]]) -> None:
        tasks = [start() for _ in range(3)]
        await settle()
        engine.go.set()
        found = await asyncio.gather(*tasks)
        assert [Hit.MISS, Hit.JOINED, Hit.JOINED] == [one.hit for one in found]
        assert Hit.EXACT == (await start()).hit
        assert (1, 0) == (engine.calls, engine.cancelled)
        assert Counter({Hit.JOINED: 2, Hit.MISS: 1, Hit.EXACT: 1}) == cache.hits

    together(scene)


def test_who_came_first_may_go_and_the_others_keep_the_work() -> None:
    async def scene(cache: AnswerCache[int], engine: Engine, start: Callable[..., asyncio.Task[Any]]) -> None:
        first, second, third = start(), start(), start()
        await settle()
        first.cancel()
        await settle()
        third.cancel()
        await settle()
        assert (True, True, False) == (first.cancelled(), third.cancelled(), second.done())
        engine.go.set()
        assert 1 == (await second).reply.value
        assert (1, 0) == (engine.calls, engine.cancelled)
        assert Hit.EXACT == (await start()).hit

    together(scene)


def test_when_all_have_gone_the_call_is_cancelled_and_a_newcomer_asks_anew() -> None:
    async def scene(cache: AnswerCache[int], engine: Engine, start: Callable[..., asyncio.Task[Any]]) -> None:
        tasks = [start(), start()]
        await settle()
        for task in tasks:
            task.cancel()
        late = start()
        await settle()
        assert 1 == engine.cancelled
        engine.go.set()
        assert 2 == (await late).reply.value
        assert 2 == engine.calls

    together(scene)


def test_an_error_reaches_all_and_is_not_kept() -> None:
    async def scene(cache: AnswerCache[int], engine: Engine, start: Callable[..., asyncio.Task[Any]]) -> None:
        engine.error = RuntimeError("broken")
        tasks = [start(), start()]
        await settle()
        engine.go.set()
        assert ["broken", "broken"] == [
            str(one) for one in await asyncio.gather(*tasks, return_exceptions=True)
        ]
        engine.error = None
        assert 2 == (await start(keep=lambda reply: False)).reply.value
        assert 3 == (await start()).reply.value
        assert 3 == (await start()).reply.value

    together(scene)


def test_a_call_that_somebody_else_cancels_is_taken_up_by_who_waits() -> None:
    async def scene(cache: AnswerCache[int], engine: Engine, start: Callable[..., asyncio.Task[Any]]) -> None:
        tasks = [start() for _ in range(3)]
        await settle()
        next(iter(cache._flights.values())).task.cancel()
        await settle()
        engine.go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert [2, 2] == [one.reply.value for one in found[1:]]  # type: ignore[union-attr]
        assert 2 == engine.calls

    together(scene)
