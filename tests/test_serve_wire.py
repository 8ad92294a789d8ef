"""The line between gateway and engine, over real sockets."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.serve.proposals import Answer, Choice, Prompt
from echo_ray.serve.wire import Listener, Where, Wire

PROMPT = Prompt("m-1", [1, 2, 3], 8, 0.0, 1.0, 1, ("\n",), (0,), None)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
prompts = st.builds(
    Prompt,
    texts,
    st.lists(st.integers(0, 2**31)),
    st.integers(1, 2**20),
    st.floats(0, 2),
    st.floats(0, 1),
    st.integers(1, 16),
    st.lists(texts).map(tuple),
    st.lists(st.integers(0, 2**31)).map(tuple),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
)
log_probs = st.lists(st.tuples(st.integers(0, 99), st.floats(max_value=0, allow_nan=False))).map(tuple)
answers = st.builds(
    Answer,
    st.lists(st.builds(Choice, texts, texts, log_probs)).map(tuple),
    st.integers(0, 2**31),
    st.integers(0, 2**31),
    st.integers(0, 2**31),
    st.none() | texts,
    st.integers(100, 599),
)


@asynccontextmanager
async def line(answer: Callable[[Prompt], Awaitable[Answer]]) -> AsyncIterator[tuple[Listener, Where, Wire]]:
    listener = Listener(answer)
    where = await listener.open("r-1", "127.0.0.1")
    wire = await Wire.open(where)
    try:
        yield listener, where, wire
    finally:
        wire.close()
        await listener.close(1)


@given(prompts, answers)
def test_prompts_and_answers_arrive_as_they_were_sent(prompt: Prompt, answer: Answer) -> None:
    async def check() -> None:
        seen = []

        async def engine(asked: Prompt) -> Answer:
            seen.append(asked)
            return answer

        async with line(engine) as (_, _, wire):
            assert answer == await wire.propose(prompt)
        assert [prompt] == seen

    asyncio.run(check())


@given(st.permutations(range(6)))
def test_every_prompt_gets_its_own_answer_in_whatever_order_they_end(order: list[int]) -> None:
    async def check() -> None:
        doors = [asyncio.Event() for _ in order]

        async def engine(asked: Prompt) -> Answer:
            await doors[asked.tokens[0]].wait()
            return Answer(prompt_tokens=asked.tokens[0])

        async with line(engine) as (listener, _, wire):
            calls = [
                asyncio.create_task(wire.propose(PROMPT._replace(tokens=[n]))) for n in range(len(order))
            ]
            while listener.running < len(order):
                await asyncio.sleep(0)
            assert len(order) == wire.running
            for number in order:
                doors[number].set()
                assert number == (await calls[number]).prompt_tokens
            assert 0 == wire.running

    asyncio.run(check())


def test_what_the_gateway_gives_up_is_cancelled_and_the_line_stays() -> None:
    async def check() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def engine(asked: Prompt) -> Answer:
            if asked.tokens == [9]:
                return Answer(prompt_tokens=9)
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            raise AssertionError

        async with line(engine) as (listener, _, wire):
            call = asyncio.create_task(wire.propose(PROMPT))
            await begun.wait()
            call.cancel()
            await asyncio.wait([call])
            await ended.wait()
            assert 9 == (await wire.propose(PROMPT._replace(tokens=[9]))).prompt_tokens
            assert (True, 0) == (wire.able, listener.running)

    asyncio.run(check())


def test_a_gateway_that_dies_leaves_no_work_behind() -> None:
    async def check() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def engine(asked: Prompt) -> Answer:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            raise AssertionError

        async with line(engine) as (_, _, wire):
            call = asyncio.create_task(wire.propose(PROMPT))
            await begun.wait()
            wire.close()
            with pytest.raises(ConnectionError):
                await call
            await ended.wait()

    asyncio.run(check())


def test_an_engine_that_is_leaving_ends_what_it_has_begun_and_takes_nothing_new() -> None:
    async def check() -> None:
        door, begun = asyncio.Event(), asyncio.Event()

        async def engine(asked: Prompt) -> Answer:
            begun.set()
            await door.wait()
            return Answer(prompt_tokens=5)

        async with line(engine) as (listener, _, wire):
            call = asyncio.create_task(wire.propose(PROMPT))
            await begun.wait()
            leaving = asyncio.create_task(listener.close(60))
            while wire.able:
                await asyncio.sleep(0)
            with pytest.raises(ConnectionError):
                await wire.propose(PROMPT)
            door.set()
            assert 5 == (await call).prompt_tokens
            await leaving

    asyncio.run(check())


@pytest.mark.parametrize("fault", [ConnectionError("dead"), RuntimeError("secret prompt")])
def test_an_engine_that_dies_ends_the_line_one_that_fails_says_so(fault: Exception) -> None:
    async def check() -> None:
        async def engine(asked: Prompt) -> Answer:
            raise fault

        async with line(engine) as (_, _, wire):
            if isinstance(fault, ConnectionError):
                with pytest.raises(ConnectionError):
                    await wire.propose(PROMPT)
                assert wire.able is False
            else:
                answer = await wire.propose(PROMPT)
                assert (503, "the engine of m-1 failed: RuntimeError") == (answer.status, answer.error)

    asyncio.run(check())


FRAME = msgspec.msgpack.encode((1, PROMPT))
LONG_HELLO = struct.pack(">I", 10**6)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 2**32 - 1),
        struct.pack(">I", 3) + b"abc",
        struct.pack(">I", 5) + msgspec.msgpack.encode("abcd"),
        struct.pack(">I", len(FRAME)) + FRAME,
        LONG_HELLO,
    ],
    ids=["nothing", "part", "http", "huge", "garbage", "wrong secret", "no secret", "long hello"],
)
def test_a_stranger_is_hung_up_on_and_nothing_is_asked(sent: bytes) -> None:
    async def check() -> None:
        asked = []

        async def engine(prompt: Prompt) -> Answer:
            asked.append(prompt)
            return Answer()

        async with line(engine) as (_, where, wire):
            reader, writer = await asyncio.open_connection(where.host, where.port)
            writer.write(sent)
            if sent != LONG_HELLO:
                writer.write_eof()
            assert b"" == await reader.read()
            writer.close()
            assert [] == asked
            await wire.propose(PROMPT)  # the others are served on
        assert [PROMPT] == asked

    asyncio.run(check())


def test_garbage_behind_the_secret_ends_that_line_alone() -> None:
    async def check() -> None:
        async def engine(prompt: Prompt) -> Answer:
            return Answer(prompt_tokens=1)

        async with line(engine) as (_, where, wire):
            reader, writer = await asyncio.open_connection(where.host, where.port)
            for frame in (msgspec.msgpack.encode(where.secret), b"\xc1\xc1"):
                writer.write(struct.pack(">I", len(frame)) + frame)
            await reader.read()
            writer.close()
            assert 1 == (await wire.propose(PROMPT)).prompt_tokens

    asyncio.run(check())
