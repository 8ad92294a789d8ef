"""The history of a registry: an append-only file of JSON lines, its lock, and what the lines add up to.

A line counts once it ends in a line end. What a killed process left of one is no line: readers pass over it,
the next writer cuts it off. Every append is one write, on the disk before it returns; one that fails (a full
disk) is taken back.

Not covered: lines that somebody edits by hand; one that cannot be read is refused by its number.
"""

import contextlib
import fcntl
import getpass
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from echo_ray.errors import ConfigError, SchemaError
from echo_ray.registry.values import ADD, ATTACH, PROMOTE, REMOVE, ROLLBACK, UNSET, Entry

HISTORY = "history.jsonl"
_LOCK = ".lock"
_LONGEST_WAIT_S = 60.0
_POLL_S = 0.02


@dataclass(slots=True)
class State:
    """What the lines of a history add up to."""

    added: set[int] = field(default_factory=set)
    """All numbers that were ever given."""
    removed: dict[int, Entry] = field(default_factory=dict)
    stacks: dict[str, list[int | None]] = field(default_factory=dict)
    """What each alias pointed to, the latest last; None while it pointed nowhere."""
    figures: dict[int, list[str]] = field(default_factory=dict)
    """Names of the figures attached to a version, the latest last."""

    @property
    def aliases(self) -> dict[str, int]:
        """Where every alias points."""
        return {alias: stack[-1] for alias, stack in sorted(self.stacks.items()) if stack[-1] is not None}

    def before(self, alias: str) -> int | None:
        """Where a rollback of `alias` leads: the latest version before that is another one and still there;
        None when there is none.
        """
        *earlier, now = self.stacks.get(alias, [None])
        left = (one for one in reversed(earlier) if one not in (None, now) and one not in self.removed)
        return next(left, None)


def added_up(entries: Sequence[Entry]) -> State:
    """The state after these changes."""
    state = State()
    for entry in entries:
        stack = [] if entry.alias is None else state.stacks.setdefault(entry.alias, [])
        if entry.what == ADD and entry.version is not None:
            state.added.add(entry.version)
        elif entry.what == REMOVE and entry.version is not None:
            state.removed[entry.version] = entry
        elif entry.what in (PROMOTE, UNSET):
            stack.append(entry.version)
        elif entry.what == ROLLBACK:
            # Everything above the version that it went back to is forgotten: the next one goes further back.
            stack.pop()
            while stack and stack[-1] != entry.version:
                stack.pop()
        elif entry.what == ATTACH and entry.version is not None and entry.figures is not None:
            state.figures.setdefault(entry.version, []).append(entry.figures)
    return state


def now() -> str:
    """The time, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def who() -> str:
    """The account and the machine that this process runs as."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def read(root: Path) -> list[Entry]:
    """The history of the registry in `root`. Raises SchemaError for a line that cannot be read."""
    try:
        text = (root / HISTORY).read_bytes()
    except FileNotFoundError:
        return []
    entries = []
    for number, line in enumerate(text.split(b"\n")[:-1], start=1):
        try:
            entries.append(Entry(**json.loads(line)))
        except (ValueError, TypeError):
            raise SchemaError(
                f"line {number} of {root / HISTORY} is no line of a registry's history"
            ) from None
    return entries


def append(root: Path, entry: Entry) -> None:
    """Add one line; needs the lock. Raises OSError when it could not be written, and then nothing was."""
    line = json.dumps(entry.plain(), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    path = root / HISTORY
    fresh = not path.exists()
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        whole = _whole(handle)
        os.ftruncate(handle, whole)
        try:
            written = os.pwrite(handle, line, whole)
            while written < len(line):
                written += os.pwrite(handle, line[written:], whole + written)
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, whole)
            raise
    finally:
        os.close(handle)
    if fresh:
        sync_folder(root)


def _whole(handle: int) -> int:
    """Bytes of the file that end in a line end."""
    size = os.fstat(handle).st_size
    while size:
        start = max(0, size - 4096)
        found = os.pread(handle, size - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        size = start
    return 0


def sync_folder(folder: Path) -> None:
    """Names in `folder` are on the disk when this returns."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(root: Path, key: str, longest_wait_s: float = _LONGEST_WAIT_S) -> Iterator[None]:
    """The one change at a time. Raises ConfigError, naming the setting `key`, when others hold it for longer
    than `longest_wait_s`.
    """
    handle = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        end = time.monotonic() + longest_wait_s
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > end:
                holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "another process"
                raise ConfigError(
                    f"{key}={root} is locked by {holder} for over {longest_wait_s:g} s: end that process"
                )
            time.sleep(_POLL_S)
        with contextlib.suppress(OSError):  # who holds it is for people; a full disk must not matter
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{who()}, process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
