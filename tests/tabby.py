"""The unmodified tabby-agent 1.5.0 for tests: completions and lifecycle events, as editor plug-ins ask."""

import json
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.node import environment, installed, program

REMOTE = "https://git.example.com/team/proj.git"
FILE = "m.py"
_LIMIT_S = 60


class Tabby:
    """One agent in JSON-lines mode, with a home of its own and a git repository as the open project.

    Use it as a context manager. `url` is the service without a slash at its end; `headers` go with every
    call of the agent.
    """

    def __init__(
        self,
        url: str,
        token: str,
        folder: Path,
        headers: dict[str, str] | None = None,
        client: str = "NVIM v0.11.0",
    ) -> None:
        home, self.repository = folder / f"home-{uuid.uuid4().hex}", folder / f"proj-{uuid.uuid4().hex}"
        home.mkdir(parents=True)
        _make_repository(self.repository)
        agent = installed() / "node_modules" / "tabby-agent" / "dist" / "cli.js"
        self._process = subprocess.Popen(
            [program("node", "nodejs"), str(agent)],
            env=environment(home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._number = 0
        self._answers: dict[int, Any] = {}
        config = {
            "server": {"endpoint": url, "token": token, "requestHeaders": headers or {}},
            "anonymousUsageTracking": {"disable": True},
        }
        session = {
            "client": client,
            "ide": {"name": "nvim", "version": "v0.11.0"},
            "tabby_plugin": {"name": "TabbyML/vim-tabby", "version": "1.4.0"},
        }
        properties = {"user": {"vim": {"triggerMode": "auto"}}, "session": session}
        try:
            assert self._call("initialize", {"config": config, "clientProperties": properties}) is True
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> "Tabby":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._process.poll() is None:
                self._call("finalize")
        finally:
            self._stop()

    def complete(
        self, text: str, position: int, manually: bool = False, file: str = FILE, language: str = "python"
    ) -> Any:
        """`{"id", "choices": [{"index", "text", "replaceRange"}]}` at character `position` of `text`, or what
        the agent says instead (null on an error of the service).
        """
        return self._call("provideCompletions", *self._place(text, position, manually, file, language))

    def abandon(self, text: str, position: int, sent: Callable[[], Any]) -> Any:
        """The same, cancelled as a plug-in does on the next key, once `sent` has returned."""
        number = self._send("provideCompletions", *self._place(text, position, False, FILE, "python"))
        sent()
        assert self._call("cancelRequest", number) is True
        return self._answers.pop(number, None)

    def _place(
        self, text: str, position: int, manually: bool, file: str, language: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        asked = {
            "filepath": str(self.repository / file),
            "language": language,
            "text": text,
            "position": position,
            "indentation": "    ",
            "manually": manually,
            "workspace": str(self.repository),
            "git": {"root": str(self.repository), "remotes": [{"name": "origin", "url": REMOTE}]},
        }
        return asked, {"signal": True}

    def event(self, kind: str, completion_id: str, view_id: str | None = None, **more: Any) -> Any:
        """Report `view`, `select` or `dismiss`; `more`: `elapsed` (milliseconds), `select_kind="line"`."""
        named = {"type": kind, "completion_id": completion_id, "choice_index": 0}
        return self._call("postEvent", named | {"view_id": view_id or new_view()} | more)

    def _send(self, name: str, *arguments: Any) -> int:
        self._number += 1
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([self._number, {"func": name, "args": arguments}]) + "\n")
        self._process.stdin.flush()
        return self._number

    def _call(self, name: str, *arguments: Any) -> Any:
        assert self._process.stdout is not None
        guard = threading.Timer(_LIMIT_S, self._process.kill)
        guard.start()
        try:
            wanted = self._send(name, *arguments)
            for answer in self._process.stdout:
                number, value = json.loads(answer)
                if number == wanted:
                    return value
                self._answers[number] = value
        finally:
            guard.cancel()
        raise RuntimeError(f"tabby-agent ended, or did not answer {name} within {_LIMIT_S} s")

    def _stop(self) -> None:
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
        self._process.wait()


def new_view() -> str:
    """A view id as the plug-ins make them."""
    return f"view-{uuid.uuid4()}-at-{time.time_ns() // 1_000_000}"


def tabby(url: str, token: str, folder: Path, steps: list[tuple[Any, ...]]) -> list[Any]:
    """What a new agent answers to each step, in order.

    A step is `("complete", text, position)` with an optional `manually`, or an event of the last completion:
    `("view",)`, `("select", elapsed_ms)`, `("select_line", elapsed_ms)`, `("dismiss", elapsed_ms)`.
    """
    results: list[Any] = []
    completion, view = "", new_view()
    with Tabby(url, token, folder) as agent:
        for name, *values in steps:
            if name == "complete":
                results.append(agent.complete(*values))
                completion, view = (results[-1] or {}).get("id", ""), new_view()
                continue
            more: dict[str, Any] = {"elapsed": values[0]} if values else {}
            if name == "select_line":
                more["select_kind"] = "line"
            results.append(agent.event(name.removesuffix("_line"), completion, view, **more))
    return results


def _make_repository(folder: Path) -> None:
    folder.mkdir()
    (folder / FILE).write_text("", encoding="utf-8")
    nobody = ["-c", "user.name=n", "-c", "user.email=n@example.com", "-c", "commit.gpgsign=false"]
    clean = dict(os.environ) | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        clean.pop(name, None)
    for command in (
        ["init", "-q"],
        ["remote", "add", "origin", REMOTE],
        ["add", "."],
        [*nobody, "commit", "-q", "-m", "start"],
    ):
        subprocess.run(["git", *command], cwd=folder, env=clean, check=True)
