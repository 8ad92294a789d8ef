"""A direct line between a gateway and one engine replica: prompts out, answers back.

Ray starts, places, watches and replaces engines, and its handles tell where each one listens. The prompts
do not travel through a handle: a call of one costs milliseconds on two cores, a frame on a socket tenths of
one. Whoever finds no line open asks through the handle (`engines`).

A frame is msgpack behind its length (four bytes, big-endian). The first frame of a connection is the secret
that the engine has told through Ray; without it the connection is closed. Then the gateway sends
`(number, Prompt)`, and `(number, None)` to give that prompt up; the engine sends `(number, Answer)` in any
order, and `(0, None)` when it is about to leave and takes no new prompts. Numbers begin at 1. The line is
not encrypted: like Ray's own it belongs into a network that is trusted.
"""

import asyncio
import functools
import hmac
import logging
import secrets
import struct
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from echo_ray.serve.proposals import Answer, Prompt

log = logging.getLogger("ray.serve")  # reaches the replica's log file

MAX_FRAME_BYTES = 64 * 2**20
"""Longest frame; a longer one is a stranger's, and closes the connection."""
MAX_HELLO_BYTES = 256
"""The same before the secret was told (bytes)."""
HELLO_S = 5.0
"""How long either side waits for the other when a connection begins (seconds)."""

_LENGTH = struct.Struct(">I")
_ASKED = msgspec.msgpack.Decoder(tuple[int, Prompt | None])
_ANSWERED = msgspec.msgpack.Decoder(tuple[int, Answer | None])
_LEAVING = (0, None)


class Where(NamedTuple):
    """How to reach one engine replica."""

    replica: str
    """Ray Serve's name of the replica."""
    host: str
    port: int
    secret: str


class Listener:
    """The engine's end. `answer` is cancelled when a gateway gives a prompt up or goes away; when it raises
    ConnectionError, the engine has died and the gateway is to ask another.
    """

    def __init__(self, answer: Callable[[Prompt], Awaitable[Answer]]) -> None:
        self._answer = answer
        self._secret = secrets.token_hex(16)
        self._server: asyncio.Server | None = None
        self._peers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """Prompts that are being answered (count)."""
        return len(self._tasks)

    async def open(self, replica: str, host: str) -> Where:
        """Listen on a free port of `host`. Raises OSError when that cannot be."""
        self._server = await asyncio.start_server(self._serve, host, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return Where(replica, host, port, self._secret)

    async def close(self, timeout_s: float) -> None:
        """Take no new prompts, and return when the last is answered or after `timeout_s`."""
        if self._server is not None:
            self._server.close()
        for peer in self._peers:
            peer.write(_frame(_LEAVING))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for peer in self._peers:
            peer.close()
        if self._serving:
            await asyncio.wait(self._serving, timeout=HELLO_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own: dict[int, asyncio.Task[None]] = {}
        serving = asyncio.current_task()
        assert serving is not None
        self._serving.add(serving)
        try:
            async with asyncio.timeout(HELLO_S):
                told = msgspec.msgpack.decode(await _read(reader, MAX_HELLO_BYTES), type=str)
            if not hmac.compare_digest(told.encode(), self._secret.encode()):
                return
            self._peers.add(writer)
            while True:
                number, prompt = _ASKED.decode(await _read(reader))
                if prompt is None:
                    if given_up := own.get(number):
                        given_up.cancel()
                    continue
                task = own[number] = asyncio.create_task(self._reply(number, prompt, writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                task.add_done_callback(functools.partial(_forget, own, number))
        except (EOFError, OSError, TimeoutError, msgspec.MsgspecError):
            pass  # the gateway has gone, or it is none
        finally:
            self._serving.discard(serving)
            self._peers.discard(writer)
            for task in [*own.values()]:
                task.cancel()
            writer.close()

    async def _reply(self, number: int, prompt: Prompt, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._answer(prompt)
        except ConnectionError:
            writer.close()  # it will answer nothing any more: the gateway asks elsewhere
            return
        except Exception as error:  # noqa: BLE001 - the engine's fault; its message may quote the prompt
            told = f"the engine of {prompt.version} failed: {type(error).__name__}"
            log.error("%s", told)
            answer = Answer(error=told, status=503)
        writer.write(_frame((number, answer)))


class Wire:
    """The gateway's end. Made by `open`."""

    def __init__(self, where: Where, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.where = where
        self.able = True
        """Whether it takes new prompts: false once the engine is leaving or gone."""
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._number = 0
        self._reading = asyncio.create_task(self._read_all(reader))

    @classmethod
    async def open(cls, where: Where) -> "Wire":
        """Connect. Raises OSError or TimeoutError when nobody answers there."""
        async with asyncio.timeout(HELLO_S):
            reader, writer = await asyncio.open_connection(where.host, where.port)
        writer.write(_frame(where.secret))
        return cls(where, reader, writer)

    @property
    def running(self) -> int:
        """Prompts that wait for their answer (count)."""
        return len(self._waiting)

    async def propose(self, prompt: Prompt) -> Answer:
        """Complete a rendered prompt; cancelling this stops the engine's work on it. Raises ConnectionError
        when the replica goes away before it has answered.
        """
        if not self.able:
            raise ConnectionError(self.where.replica)
        self._number += 1
        number = self._number
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._writer.write(_frame((number, prompt)))
        try:
            return await future
        except asyncio.CancelledError:
            if not self._writer.is_closing():
                self._writer.write(_frame((number, None)))
            raise
        finally:
            self._waiting.pop(number, None)
            if not self.able and not self._waiting:
                self.close()

    def close(self) -> None:
        """Hang up; who still waits gets a ConnectionError."""
        self.able = False
        self._reading.cancel()

    async def _read_all(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                number, answer = _ANSWERED.decode(await _read(reader))
                if answer is None:
                    self.able = False
                    if not self._waiting:
                        return
                elif (future := self._waiting.get(number)) is not None and not future.done():
                    future.set_result(answer)
        except (EOFError, OSError, msgspec.MsgspecError):
            pass  # told to those who wait
        finally:
            self.able = False
            self._writer.close()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ConnectionError(self.where.replica))


def _forget(own: dict[int, asyncio.Task[None]], number: int, task: asyncio.Task[None]) -> None:
    own.pop(number, None)


def _frame(value: Any) -> bytes:
    body = msgspec.msgpack.encode(value)
    return _LENGTH.pack(len(body)) + body


async def _read(reader: asyncio.StreamReader, max_bytes: int = MAX_FRAME_BYTES) -> bytes:
    """The next frame. Raises EOFError when there is none."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > max_bytes:
        raise EOFError
    return await reader.readexactly(length)
