"""Child processes of the registry's tests.

`python -m tests.registry_child kill ROOT ACTION` forks for n = 0, 1, ...: a child does ACTION on a copy of
`ROOT/before` in `ROOT/case-n` and is killed (SIGKILL) before the n-th time that it touches a file there. Ends
with the first child that survives. `... work REGISTRY MODELS NAME` adds and promotes, as one of several.
"""

import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from echo_ray.registry import Registry

ACTIONS: dict[str, Callable[[Registry, Path], object]] = {
    "add": lambda registry, root: registry.add(root / "new"),
    "first": lambda registry, root: registry.add(root / "new"),
    "promote": lambda registry, root: registry.promote("v1"),
    "rollback": lambda registry, root: registry.rollback(),
    "remove": lambda registry, root: registry.remove("v1"),
    "attach": lambda registry, root: registry.attach("v1", {"exact_match": 0.5}),
}
_TOUCHED = (
    *("open", "os.rename", "os.link", "os.chmod", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"),
    *("shutil.copyfile", "os.listdir", "os.scandir", "fcntl.flock"),
)


def kill(root: Path, action: str) -> None:
    """Every place at which the action can be killed."""
    for number in range(1000):
        case = root / f"case-{number:03d}"
        shutil.copytree(root / "before", case)
        child = os.fork()
        if not child:
            _die_at(number, case)
            ACTIONS[action](Registry(case / "registry"), root)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            sys.exit(os.waitstatus_to_exitcode(status))


def _die_at(number: int, case: Path) -> None:
    left = [number]

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event not in _TOUCHED:
            return
        if event not in ("fcntl.flock", "os.truncate") and str(case) not in f"{args[:2]}":
            return
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    sys.addaudithook(hook)


def work(registry: Path, models: Path, name: str) -> None:
    """Add all models in a folder, and promote each to an alias of one's own and to champion."""
    for folder in sorted(models.iterdir()):
        version = Registry(registry).add(folder)
        Registry(registry).promote(version.name, name)
        Registry(registry).promote(version.name)


def hold(registry: Path) -> None:
    """Prepare a version, and wait to be killed while holding it."""
    from echo_ray.registry import journal
    from echo_ray.registry.shelf import Shelf

    with Shelf(registry).staged(journal.locked(registry, "models.registry")) as folder:
        (folder / "half").write_text("a model")
        print(folder, flush=True)
        signal.pause()


if __name__ == "__main__":
    assert fcntl
    paths = [Path(word) for word in sys.argv[2:4]]
    if sys.argv[1] == "kill":
        kill(paths[0], sys.argv[3])
    elif sys.argv[1] == "hold":
        hold(paths[0])
    else:
        work(*paths, sys.argv[4])
