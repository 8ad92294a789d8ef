"""The language server as a process: TCP, signals, an editor that vanishes, and what a start costs."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lsprotocol import types as t
from pygls.lsp.client import LanguageClient

from jobs.__main__ import main
from tests.completion_service import CompletionService
from tests.editor import Editor

COMMAND = (sys.executable, "-m", "jobs", "lsp", "--stdio", "lsp.debounce_ms=0")
SOURCE = "def f(a):\n    return \n"


async def _started(client: LanguageClient) -> Editor:
    await client.initialize_async(t.InitializeParams(capabilities=t.ClientCapabilities()))
    client.initialized(t.InitializedParams())
    driven = Editor(client, asyncio.Queue())
    driven.open(SOURCE)
    assert await driven.ask(1, 11) is not None
    return driven


def test_one_editor_is_served_over_tcp() -> None:
    async def scenario(service: CompletionService) -> None:
        server = await asyncio.create_subprocess_exec(
            *COMMAND, f"lsp.url={service.url}", "lsp.tcp_port=0", stderr=subprocess.PIPE
        )
        assert server.stderr is not None
        port = int((await server.stderr.readline()).rpartition(b":")[2])
        client = LanguageClient("driver", "1")
        await client.start_tcp("127.0.0.1", port)
        it = await _started(client)
        second, _ = await asyncio.open_connection("127.0.0.1", port)
        assert b"" == await second.read()  # a second editor needs a server of its own
        await it.execute("echo.didAccept", "cmpl-0")
        # A change right behind a request does not move the request's cursor.
        asked = it.ask_later(1, 11)
        it.replace("")
        assert await asked is not None
        await client.shutdown_async(None)
        client.exit(None)
        assert 0 == await server.wait()
        await client.stop()

    with CompletionService() as service:
        asyncio.run(scenario(service))
    prompts = [received.body["prompt"] for received in service.of("/completions")]
    assert ["def f(a):\n    return "] * 2 == prompts
    assert ["accepted"] == [event["type"] for event in service.events()]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (None, 1)])
def test_an_editor_that_does_not_say_goodbye_loses_nothing(number: int | None, status: int) -> None:
    async def scenario(service: CompletionService) -> None:
        client = LanguageClient("driver", "1")
        await client.start_io(*COMMAND, f"lsp.url={service.url}", "lsp.snapshot_ms=100000")
        it = await _started(client)
        it.type("x", 1, 11)
        await it.execute("echo.didAccept", "cmpl-0")
        process = client._server
        assert process is not None
        if number is not None:
            process.send_signal(number)
        else:
            assert process.stdin is not None
            process.stdin.close()
        assert status == await process.wait()
        await client.stop()

    with CompletionService() as service:
        asyncio.run(scenario(service))
    assert ["accepted"] == [event["type"] for event in service.events()]
    assert ["def f(a):\n    return x"] == [received.body["prefix"] for received in service.of("/snapshots")]


def test_the_verb_imports_nothing_heavy() -> None:
    told = "import sys, jobs.__main__, jobs.lsp; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, check=True, text=True)
    loaded = set(done.stdout.split())
    assert set() == loaded & {"ray", "torch", "vllm", "transformers", "fastapi", "pyarrow", "jobs.settings"}


def test_a_file_with_other_sections_serves_too_and_mistakes_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("serve:\n  port: 9000\nlsp:\n  url: http://127.0.0.1:9000\n")
    done = subprocess.run([*COMMAND, str(path)], input=b"", capture_output=True, timeout=60, check=False)
    assert (1, b"") == (done.returncode, done.stdout), done.stderr
    assert 2 == main(["lsp", "lsp.urll=x"])
    assert "did you mean lsp.url?" in capsys.readouterr().err
    assert 2 == main(["lsp", "lsp.url=localhost"])
    assert "must begin with http" in capsys.readouterr().err
    assert 2 == main(["lsp", "--fast"])
    assert "unknown option --fast" in capsys.readouterr().err
