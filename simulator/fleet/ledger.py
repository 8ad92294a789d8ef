"""What a developer leaves on disk: the request log, the sealed truth, the tally, each in files of its own.

While a developer works everything streams into hidden files, so memory does not grow with the day. `close`
gives the truth its name, then the log, then the tally: a user whose tally is there is done, and a run that
was killed goes on with the others. A file appears whole or not at all, under its own name only; it holds
the same bytes whoever wrote it, for nothing in it depends on time, place or order of work.

Layout: `truth/USER.jsonl.zst` beside the seal, and until the log is imported `.work/log/USER.jsonl.zst`
(version-1 records) and `.work/tallies/USER.json`. Not covered: a power failure (nothing is synced to disk).
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import zstandard

from echo_ray.sealed import SEALED
from simulator.truth import Tally

TRUTH = "truth"
"""Folder of the sealed truth."""
ENDING = ".jsonl.zst"
BUNDLE = 50
"""Users whose logs are put into one file for the import (count); by name, never by who finished first."""

WORK = ".work"
"""Folder of what is needed until a run is done."""

_LEVEL = 3


class Ledger:
    """The open files of one developer under `folder`; use `prepare` on the folder before."""

    def __init__(self, folder: Path, user: str, header: Mapping[str, Any]) -> None:
        self._user = user
        self._truth = _Stream(folder, f"{user}.truth", folder / TRUTH / f"{user}{ENDING}")
        self._log = _Stream(folder, f"{user}.log", log_folder(folder) / f"{user}{ENDING}")
        self._tally = _tallies(folder) / f"{user}.json"
        self._truth.write(header)

    def record(self, row: Mapping[str, Any]) -> None:
        """A version-1 record of the request log."""
        self._log.write(row)

    def tell(self, row: Mapping[str, Any]) -> None:
        """A row of the truth."""
        self._truth.write(row)

    def close(self, tally: Tally) -> None:
        """The user's work is done: the files get their names, the tally last."""
        self._truth.commit()
        self._log.commit()
        part = self._tally.with_name(f".{self._tally.name}.{os.getpid()}.part")
        part.write_bytes(orjson.dumps(asdict(tally)))
        part.replace(self._tally)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._truth.discard()
        self._log.discard()


class _Stream:
    """A zstd file of JSON Lines that is hidden until it is whole."""

    def __init__(self, folder: Path, name: str, path: Path) -> None:
        self._part = folder / WORK / f"{name}.{os.getpid()}.part"
        self._path = path
        self._raw = self._part.open("wb")
        self._packed = zstandard.ZstdCompressor(level=_LEVEL).stream_writer(self._raw)

    def write(self, row: Mapping[str, Any]) -> None:
        self._packed.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def commit(self) -> None:
        self._packed.close()  # type: ignore[no-untyped-call]  # also closes the file
        self._part.replace(self._path)

    def discard(self) -> None:
        self._packed.close()  # type: ignore[no-untyped-call]
        self._part.unlink(missing_ok=True)


def prepare(folder: Path, mark: str) -> None:
    """Make room for ledgers in `folder`. What another run than `mark` left is removed; of this one's what is
    done stays, what was cut short goes.
    """
    sign = folder / WORK / "mark"
    if not sign.is_file() or sign.read_text(encoding="utf-8") != mark:
        remove(folder)
    for place in (folder / TRUTH, log_folder(folder), _tallies(folder)):
        place.mkdir(parents=True, exist_ok=True)
    for part in [*(folder / WORK).glob("*.part"), *_tallies(folder).glob(".*.part")]:
        part.unlink()
    (folder / TRUTH / SEALED).write_text(
        "What only the simulator knows. No stage may open this folder; `compare.truth` reads it to judge.\n"
    )
    sign.write_text(mark, encoding="utf-8")


def remove(folder: Path) -> None:
    """Remove everything that ledgers wrote into `folder`."""
    for place in (folder / WORK, folder / TRUTH):
        shutil.rmtree(place, ignore_errors=True)


def tidy(folder: Path) -> None:
    """Remove what is only needed until the log is imported."""
    shutil.rmtree(folder / WORK, ignore_errors=True)


def left(folder: Path, users: Iterable[str]) -> list[str]:
    """Those of `users` who are not done yet."""
    done = {path.stem for path in _tallies(folder).glob("*.json")}
    return [user for user in users if user not in done]


def tallies(folder: Path, users: Iterable[str]) -> list[Tally]:
    """The tallies of `users`, all of whom are done, in their order."""
    return [Tally(**orjson.loads((_tallies(folder) / f"{user}.json").read_bytes())) for user in users]


def log_folder(folder: Path) -> Path:
    """Where the users' version-1 records are until they are imported."""
    return folder / WORK / "log"


def bundle(folder: Path, users: Sequence[str]) -> Path:
    """A folder with the logs of `users` in few files, to be imported; zstd frames may simply be joined."""
    bundles = folder / WORK / "bundles"
    shutil.rmtree(bundles, ignore_errors=True)
    bundles.mkdir()
    names = sorted(users)
    for start in range(0, len(names), BUNDLE):
        with (bundles / f"{start // BUNDLE:06d}{ENDING}").open("wb") as whole:
            for user in names[start : start + BUNDLE]:
                with (log_folder(folder) / f"{user}{ENDING}").open("rb") as own:
                    shutil.copyfileobj(own, whole)
    return bundles


def rows(path: Path) -> Iterator[Any]:
    """The rows of one file of a ledger; raises OSError, ZstdError or JSONDecodeError for another file."""
    with path.open("rb") as raw:
        unpacked = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        rest = b""
        while piece := unpacked.read(1 << 20):
            *lines, rest = (rest + piece).split(b"\n")
            yield from map(orjson.loads, lines)
    if rest:
        yield orjson.loads(rest)


def _tallies(folder: Path) -> Path:
    return folder / WORK / "tallies"
