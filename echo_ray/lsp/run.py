"""The language server as a process: stdin and stdout, or one connection on 127.0.0.1.

stdout belongs to the protocol: whatever else writes there is sent to stderr. Logs go to stderr.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, Protocol

from pygls.io_ import StdinAsyncReader, StdoutWriter, run_async

from echo_ray.lsp.config import LspConfig
from echo_ray.lsp.protocol import EchoServer, Excluding
from echo_ray.lsp.server import end, server

log = logging.getLogger(__name__)


def serve(config: LspConfig, environ: Mapping[str, str], excluding: Excluding) -> int:
    """Serve one editor until it leaves; the process's exit status. Needs a main thread.

    0: the editor said `shutdown` and `exit`; 1: it went without; 128 + n: signal n. After a signal a thread
    may still wait for stdin, so the caller should leave by `os._exit`.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="echo-ray lsp: %(message)s")
    logging.getLogger("echo_ray").setLevel(logging.INFO)
    logging.getLogger("pygls").setLevel(logging.CRITICAL + 1)  # it logs whole messages: code
    out = _own_stdout()
    made = server(config, environ, excluding)
    return asyncio.run(
        _until_signal(made, _tcp(made, config.tcp_port) if config.tcp_port is not None else _stdio(made, out))
    )


async def _until_signal(made: EchoServer, serving: Any) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_quietly)
    task = asyncio.ensure_future(serving)
    caught: list[int] = []

    def stop(number: int) -> None:
        caught.append(number)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not caught:
            raise
    finally:
        await end(made)
    return 128 + caught[0] if caught else made.protocol.exit_status


async def _stdio(made: EchoServer, out: BinaryIO) -> None:
    made.protocol.set_writer(StdoutWriter(out))
    await _read(made, StdinAsyncReader(sys.stdin.buffer, ThreadPoolExecutor(1)))


async def _tcp(made: EchoServer, port: int) -> None:
    ended = asyncio.Event()
    taken = False

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        if taken:
            writer.close()
            return
        taken = True
        made.protocol.set_writer(writer)
        await _read(made, reader)
        await end(made)
        writer.close()
        ended.set()

    listening = await asyncio.start_server(connected, "127.0.0.1", port)
    log.info("listening on 127.0.0.1:%d", listening.sockets[0].getsockname()[1])
    async with listening:
        await ended.wait()


class _Reader(Protocol):
    def readline(self) -> Awaitable[bytes]: ...
    def readexactly(self, n: int) -> Awaitable[bytes]: ...


class _Stepwise:
    """Lets every request begin before the next message is read: it is about the document as it is then."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    async def readline(self) -> bytes:
        await asyncio.sleep(0)
        return await self._reader.readline()

    async def readexactly(self, n: int) -> bytes:
        return await self._reader.readexactly(n)


async def _read(made: EchoServer, reader: _Reader) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        await run_async(
            made.protocol.ended, _Stepwise(reader), made.protocol, error_handler=made.report_server_error
        )


def _quietly(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The report of asyncio shows results, which are code."""
    log.error("%s: %s", context.get("message"), type(context.get("exception")).__name__)


def _own_stdout() -> BinaryIO:
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return out
