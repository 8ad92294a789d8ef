"""Which replica answers which session, and what happens when one goes away; the lines are real."""

import asyncio
import collections
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.exceptions import RayActorError

from echo_ray.errors import ServeError
from echo_ray.serve import engines as module
from echo_ray.serve.engines import BOUND, Engines, choose
from echo_ray.serve.proposals import Answer, Prompt
from echo_ray.serve.wire import Listener, Where

PROMPT = Prompt("m-1", [1, 2, 3], 8, 0.0, 1.0, 1, (), (), None)


@dataclass
class Standing:
    """A replica as `choose` sees it."""

    where: Where
    able: bool
    running: int


def standing(name: str, running: int = 0, able: bool = True) -> Standing:
    return Standing(Where(name, "", 0, ""), able, running)


replica_lists = st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=8).map(
    lambda drawn: [standing(f"r{n}", running, able) for n, (running, able) in enumerate(drawn)]
)


@given(replica_lists, st.text())
def test_an_able_replica_is_found_when_there_is_one_and_no_bound_is_broken(
    replicas: list[Standing], session: str
) -> None:
    able = [replica for replica in replicas if replica.able]
    found = choose(replicas, session)
    assert (found is None) is (not able)
    if found is not None:
        assert found.able
        total = sum(replica.running for replica in able)
        assert len(able) == 1 or found.running + 1 <= math.ceil(BOUND * (total + 1) / len(able))


@given(st.integers(2, 8), st.integers(0, 7))
def test_only_the_sessions_of_a_replica_that_goes_move(count: int, gone: int) -> None:
    replicas = [standing(f"r{n}") for n in range(count)]
    sessions = [f"s{n}" for n in range(100)]
    before = {session: choose(replicas, session).where.replica for session in sessions}
    lost = replicas.pop(gone % count).where.replica
    for session in sessions:
        after = choose(replicas, session).where.replica
        assert after == before[session] or before[session] == lost


def test_sessions_spread_evenly() -> None:
    replicas = [standing(f"r{n}") for n in range(4)]
    counts = collections.Counter(choose(replicas, f"session {n}").where.replica for n in range(4000))
    # Binomial: 1,000 each with a standard deviation of 27.
    assert all(abs(count - 1000) < 135 for count in counts.values())


class Handle:
    """Ray Serve's handle of a deployment whose replicas are `alive`; calls go round in turn."""

    def __init__(self) -> None:
        self.alive: list[Where] = []
        self.through_ray = 0
        self._turn = 0
        self.where, self.propose, self.check_health = (
            Method(self._where), Method(self._propose), Method(self._where)
        )  # fmt: skip

    async def _where(self) -> Where:
        if not self.alive:
            raise RayActorError
        self._turn += 1
        return self.alive[self._turn % len(self.alive)]

    async def _propose(self, prompt: Prompt) -> Answer:
        await self._where()
        self.through_ray += 1
        return Answer(prompt_tokens=-1)


class Method:
    def __init__(self, call: Any) -> None:
        self._call = call

    def remote(self, *arguments: Any) -> Any:
        return asyncio.ensure_future(self._call(*arguments))


class Fleet:
    """Replicas in this process: real listeners, each of which says its number."""

    def __init__(self) -> None:
        self.handle = Handle()
        self.listeners: dict[str, Listener] = {}
        self.poison: set[int] = set()
        self.asked: list[str] = []

    async def start(self, name: str) -> None:
        async def answer(prompt: Prompt) -> Answer:
            self.asked.append(name)
            if prompt.tokens[0] in self.poison:
                raise ConnectionError
            return Answer(prompt_tokens=int(name))

        listener = self.listeners[name] = Listener(answer)
        self.handle.alive.append(await listener.open(name, "127.0.0.1"))

    async def stop(self, name: str) -> None:
        self.handle.alive = [where for where in self.handle.alive if where.replica != name]
        await self.listeners.pop(name).close(1)


@asynccontextmanager
async def fleet(monkeypatch: pytest.MonkeyPatch, *names: str) -> AsyncIterator[tuple[Fleet, Engines]]:
    monkeypatch.setattr(module, "LOOK_S", 0.001)
    made = Fleet()
    for name in names:
        await made.start(name)
    engines = Engines("m-1", made.handle)
    try:
        yield made, engines
    finally:
        engines.close()
        for name in list(made.listeners):
            await made.stop(name)


async def known(engines: Engines, names: set[str]) -> None:
    """Return when lines to exactly the replicas `names` are open."""
    await engines.check_health()
    while {name for name, wire in engines._wires.items() if wire.able} != names:
        await asyncio.sleep(0.001)


def test_all_replicas_are_found_and_a_session_stays_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        async with fleet(monkeypatch, "0", "1", "2") as (made, engines):
            assert -1 == (await engines.propose(PROMPT, "s")).prompt_tokens  # no line yet: through Ray
            await known(engines, {"0", "1", "2"})
            by_session = {
                session: {(await engines.propose(PROMPT, session)).prompt_tokens for _ in range(5)}
                for session in map(str, range(40))
            }
            assert {1} == {len(found) for found in by_session.values()}
            assert {0, 1, 2} == set().union(*by_session.values())
            assert 1 == made.handle.through_ray

    asyncio.run(check())


def test_replicas_come_and_go_and_every_prompt_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def check() -> None:
        async with fleet(monkeypatch, "0", "1") as (made, engines):
            await known(engines, {"0", "1"})
            answered, ended = [], asyncio.Event()

            async def client(session: str) -> None:
                while not ended.is_set():
                    answered.append((await engines.propose(PROMPT, session)).prompt_tokens)

            clients = [asyncio.create_task(client(str(n))) for n in range(8)]
            await made.stop("0")
            await known(engines, {"1"})
            await made.start("2")
            await known(engines, {"1", "2"})
            await made.stop("1")
            await known(engines, {"2"})
            ended.set()
            await asyncio.gather(*clients)
            assert {0, 1, 2} >= set(answered) - {-1}
            assert 2 in answered

    asyncio.run(check())


def test_a_prompt_that_kills_engines_kills_no_more_than_two(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        async with fleet(monkeypatch, "0", "1", "2", "3") as (made, engines):
            await known(engines, {"0", "1", "2", "3"})
            made.poison = {666}
            with pytest.raises(ServeError, match="went away over a prompt"):
                await engines.propose(PROMPT._replace(tokens=[666]), "s")
            assert 2 == len(made.asked)
            assert (await engines.propose(PROMPT, "s")).prompt_tokens >= 0

    asyncio.run(check())


def test_without_any_replica_the_fault_says_which_version(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        async with fleet(monkeypatch) as (_, engines):
            for call in (engines.propose(PROMPT, "s"), engines.check_health()):
                with pytest.raises(ServeError, match="the engine of m-1 failed"):
                    await call

    asyncio.run(check())
