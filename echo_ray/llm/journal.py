"""What was answered and what it cost, on disk as it happens, so that nothing is paid for twice.

Both live in the folder of the stage that asks and go when its manifest is written. `Journal`: one JSON line
per answer, keyed by a hash of model and question; every process appends to its own file and reads all of
them when it begins. It holds numbers, never a prompt. Failures are not kept: they are asked again.
`Meter`: requests and tokens of the whole data set, in one locked file that all workers share.

Our choice: a file lock instead of a Ray actor, because the count must outlive a job that is killed. It needs
a file system with POSIX locks under a stage's folder, which all workers write to anyhow.
Not covered: a worker that dies between sending and hearing leaves its estimate of the tokens in the meter.
"""

import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from echo_ray.chooser import Question

ANSWERS = ".answers-*.jsonl"
"""Pattern of the journals in a stage's folder."""
SPENT = ".spent.json"


def key(name: str, question: Question) -> str:
    """Identity of a question put to the model `name` (with its settings): equal keys have equal answers."""
    hasher = hashlib.blake2b(digest_size=16)
    for part in (name, question.system, question.prompt, str(question.choices)):
        raw = part.encode("utf-8", "surrogatepass")
        hasher.update(f"{len(raw)}:".encode())
        hasher.update(raw)
    return hasher.hexdigest()


class Journal:
    """Answers that a stage's folder holds already, and a place for new ones."""

    def __init__(self, folder: Path) -> None:
        self._known: dict[str, int] = {}
        for path in sorted(folder.glob(ANSWERS)):
            with path.open("rb") as file:
                for line in file:
                    try:
                        entry = json.loads(line)
                        self._known[entry["key"]] = int(entry["choice"])
                    except (ValueError, KeyError, TypeError):
                        continue  # the line that a killed process was writing
        self._path = folder / ANSWERS.replace("*", uuid.uuid4().hex[:12])

    def get(self, key: str) -> int | None:
        """Index of the answer to the question `key`; None when there is none."""
        return self._known.get(key)

    def put(self, key: str, choice: int) -> None:
        """Keep an answer; it is with the operating system when this returns."""
        self._known[key] = choice
        with self._path.open("ab", buffering=0) as file:
            file.write(json.dumps({"key": key, "choice": choice}).encode() + b"\n")


class Spent(NamedTuple):
    """What a data set has cost so far."""

    requests: int = 0
    tokens: int = 0


class Meter:
    """Counts requests and tokens over all workers and runs, against limits."""

    def __init__(self, folder: Path, max_requests: int | None = None, max_tokens: int | None = None) -> None:
        self._path = folder / SPENT
        self._max = (max_requests, max_tokens)

    def take(self, requests: int, tokens: int) -> bool:
        """Whether so much more fits the limits; counted when it does."""

        def fits(spent: Spent) -> Spent | None:
            more = Spent(spent.requests + requests, spent.tokens + tokens)
            over = any(
                limit is not None and value > limit for value, limit in zip(more, self._max, strict=True)
            )
            return None if over else more

        return self._change(fits)

    def correct(self, tokens: int) -> None:
        """Add `tokens` (may be negative) that an estimate was wrong by."""
        if tokens:
            self._change(lambda spent: Spent(spent.requests, max(0, spent.tokens + tokens)))

    def spent(self) -> Spent:
        """Requests and tokens so far."""
        return _load(self._path.read_text()) if self._path.is_file() else Spent()

    def _change(self, change: Callable[[Spent], Spent | None]) -> bool:
        with os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644), "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
            after = change(_load(file.read()))
            if after is None:
                return False
            file.seek(0)
            file.write(json.dumps(after._asdict()) + "\n")
            file.truncate()
            file.flush()
            return True


def forget(folder: Path) -> None:
    """Remove journals and meter of a finished stage."""
    for path in (*folder.glob(ANSWERS), folder / SPENT):
        path.unlink(missing_ok=True)


def _load(text: str) -> Spent:
    try:
        return Spent(**json.loads(text))
    except (ValueError, TypeError):
        return Spent()  # new, or torn by a machine that went down
