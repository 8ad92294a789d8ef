"""Programs of the JavaScript world for tests: a browser, and completion clients run unmodified.

Their packages are pinned in `tests/clients/package-lock.json` and installed once, by `npm ci
--ignore-scripts`, into the user's cache. A test that needs a program which is not there is skipped with the
name of the Debian package that brings it; everything else that goes wrong is an error.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

CLIENTS = Path(__file__).parent / "clients"
LIMIT_S = 300


def program(name: str, package: str) -> str:
    """Path of a program; skips the test where it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing: apt-get install {package}")
    return found


def environment(home: Path | None = None) -> dict[str, str]:
    """For client programs: local addresses go past any proxy; `home` is a fresh home directory."""
    local = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    return dict(os.environ) | local | ({"HOME": str(home)} if home else {})


def installed(project: Path = CLIENTS) -> Path:
    """The folder of `project` or of the cache with its `node_modules`, installed if need be."""
    node, npm = program("node", "nodejs"), program("npm", "npm")
    if (project / "node_modules").is_dir():
        return project
    version = subprocess.run([node, "--version"], capture_output=True, check=True).stdout
    lock = (project / "package-lock.json").read_bytes()
    mark = hashlib.blake2b(lock + version, digest_size=8).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "echo_ray" / "node"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{project.name}-{mark}"
    with (cache / f"{folder.name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                for name in ("package.json", "package-lock.json"):
                    shutil.copy(project / name, scratch)
                _run(
                    [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
                    cwd=Path(scratch),
                )
                made = Path(scratch) / "made"
                made.mkdir()
                for name in ("package.json", "package-lock.json", "node_modules"):
                    (Path(scratch) / name).rename(made / name)
                made.rename(folder)
    return folder


def node_command(name: str, *arguments: str) -> list[str]:
    """The command that runs `tests/clients/NAME` in the folder of `installed`."""
    source = (CLIENTS / name).read_text(encoding="utf-8")
    # A module from the command line finds packages from the current folder on.
    return [program("node", "nodejs"), "--input-type=module", "--eval", source, "--", *arguments]


class Browser:
    """Headless Chromium with an empty profile; a context manager. Every `run` is a context of its own."""

    def __init__(self, home: Path) -> None:
        chromium = program("chromium", "chromium")
        self._process = subprocess.Popen(
            node_command("browse.mjs", chromium),
            cwd=installed(),
            env=environment(home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def run(
        self, url: str, steps: list[list[Any]], **settings: Any
    ) -> tuple[list[Any], list[str], list[str]]:
        """(result per step, console messages, addresses asked) of `steps` on the page at `url`.

        `steps`: see `tests/clients/browse.mjs`; each waits until what it names is there. `settings`:
        `viewport`, `scheme`, `touch`. Raises RuntimeError with the step that failed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"url": url, "steps": steps, **settings}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the browser did not start, or ended; standard error says why")
        found = json.loads(line)
        if found["error"]:
            raise RuntimeError(found["error"])
        return found["results"], found["console"], found["requests"]


def adapters(url: str, key: str, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What Continue's adapters yield for each case: `{"chunks": [...]}`, with `error` where one was raised.

    A case names `provider`, `base` (path under `url`), `model`, `call` (`fimStream` or `completionStream`)
    and the `body` that Continue gives the adapter.
    """
    asked = json.dumps({"url": url, "key": key, "cases": cases})
    found: list[dict[str, Any]] = json.loads(
        _run(node_command("continue.mjs"), installed(), asked, environment())
    )
    return found


def dev_data_faults(data: list[dict[str, Any]]) -> list[list[Any]]:
    """What Continue's own schema finds wrong with each `data` of its event `autocomplete`."""
    found: list[list[Any]] = json.loads(
        _run(node_command("devdata.mjs"), installed(), json.dumps(data), environment())
    )
    return found


def _run(command: list[str], cwd: Path, stdin: str = "", env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, input=stdin, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} ended with {done.returncode}: {done.stderr[-4000:]}")
    return done.stdout
