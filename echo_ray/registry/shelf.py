"""The versions' folders: read, prepared out of sight, made visible by one rename.

A new version is prepared in a hidden folder that its maker holds locked, so that one whose maker was killed
is told from one that is still being filled. Not covered: who calls when; the registry's lock and history are
`store`'s.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from echo_ray import __version__, models
from echo_ray.errors import SchemaError
from echo_ray.ledger.people import USERS
from echo_ray.manifest import MANIFEST, read_manifest
from echo_ray.registry import files, journal
from echo_ray.registry.values import Version, content_of, version_of

RECORD = "version.json"
_NEW = ".new-"
_OWNER = ".owner"
_FOLDER = re.compile(r"v(\d{4,9})")


class Shelf:
    """The folder `versions/` of a registry."""

    def __init__(self, root: Path) -> None:
        self.path = root / "versions"

    def numbers(self) -> list[int]:
        """Numbers of all version folders, removed versions' too."""
        names = os.listdir(self.path) if self.path.is_dir() else []
        return sorted(int(found[1]) for name in names if (found := _FOLDER.fullmatch(name)))

    def place(self, number: int) -> Path:
        """Where the version of that number lies."""
        return self.path / f"v{number:04d}"

    def at(self, number: int) -> Version | None:
        """The version of that number; None when its folder has none. Raises SchemaError for a broken one."""
        folder = self.place(number)
        try:
            value = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:
            raise SchemaError(f"{folder / RECORD} is not valid JSON ({error})") from None
        return version_of(value, folder)

    def every(self) -> list[Version]:
        """All versions, by number, removed ones too."""
        return [version for number in self.numbers() if (version := self.at(number)) is not None]

    def lineage(self, version: Version) -> list[Version]:
        """The chain of trainings that led to `version`, the first first, and itself; removed ones too."""
        known = self.every()
        chain = [version]
        while (parent := _parent(chain[0].trained_from, chain[0].number, known)) is not None:
            chain.insert(0, parent)
        return chain

    @contextlib.contextmanager
    def staged(self, lock: contextlib.AbstractContextManager[None]) -> Iterator[Path]:
        """A hidden folder for a new version, gone with the process; made under the registry's lock."""
        with lock:
            self.sweep()
            folder = Path(tempfile.mkdtemp(prefix=_NEW, dir=self.path))
            handle = os.open(folder / _OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)

    def sweep(self) -> None:
        """Remove hidden folders whose makers are dead: nobody holds their lock. Needs the registry's."""
        for folder in self.path.glob(f"{_NEW}*"):
            with contextlib.suppress(OSError):
                handle = os.open(folder / _OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
                finally:
                    os.close(handle)

    def appear(self, staged: Path, record: Mapping[str, Any], number: int, readers: int) -> Version:
        """Make a prepared version visible under its number, on the disk. Needs the registry's lock."""
        chain = self.lineage(version_of({**record, "number": number, "parent": None, "base": None}, staged))
        known = [one.number for one in chain[:-1]]
        whole = {
            **record,
            "number": number,
            "parent": known[-1] if known else None,
            "base": known[0] if known else None,
        }
        write(staged / RECORD, whole)
        files.seal(staged / RECORD, readers)
        (staged / _OWNER).unlink()
        journal.sync_folder(staged)
        staged.rename(self.place(number))
        journal.sync_folder(self.path)
        return version_of(whole, self.place(number))


def fill(
    staged: Path, model: Path, training: Path | None, link: bool, tick: files.Tick | None
) -> dict[str, Any]:
    """Put the files of a version into a prepared folder; its record, as far as they tell it."""
    (staged / "model").mkdir()
    manifest = None if training is None else read_manifest(training)
    link = link and manifest is not None and manifest.stage == "train"
    for source in files.chosen(model):
        files.place(source, staged / "model" / source.name, link)
        if tick is not None:
            tick(source.stat().st_size)
    if training is not None and manifest is not None:
        for name in (MANIFEST, USERS):
            if (training / name).is_file():
                shutil.copyfile(training / name, staged / name)
    digests = files.digests(files.chosen(staged / "model"), tick)
    return {
        "content": models.content(digests),
        "bytes": sum(size for size, _ in digests.values()),
        "files": digests,
        "source": str(model.resolve()),
        "echo_ray": __version__,
        "trained_from": None if manifest is None else manifest.notes.get("base"),
        "data": None if manifest is None else manifest.input_fingerprint,
        "training": None if manifest is None else manifest.fingerprint,
    }


def seal(staged: Path, folder_mode: int, readers: int) -> None:
    """Files of a prepared version become read-only, readable for those who can read the registry, and are on
    the disk.
    """
    for folder in (staged / "model", staged):
        folder.chmod(folder_mode & 0o7777)
        for path in files.chosen(folder):
            files.seal(path, readers)
        journal.sync_folder(folder)


def unchanged(version: Version, name: str, tick: files.Tick | None) -> None:
    """Raise SchemaError, one sentence that begins with `name`, when a byte is not what was added."""
    if not version.model.is_dir():
        raise SchemaError(f"{name} has lost its model folder: remove the version")
    try:
        now = files.digests(files.chosen(version.model), tick)
    except OSError as error:
        raise SchemaError(f"{name} cannot be read ({error.strerror or error}): get access to it") from None
    both = now.keys() & version.files.keys()
    for what, names in (
        ("lost", version.files.keys() - now.keys()),
        ("got", now.keys() - version.files.keys()),
        ("other bytes in", {one for one in both if now[one] != version.files[one]}),
    ):
        if names:
            raise SchemaError(
                f"{name} has changed since {version.created_at[:10]} ({what} {', '.join(sorted(names))}):"
                " remove the version, and add the model again from where it was made"
            )


def _parent(content: str | None, number: int, known: list[Version]) -> Version | None:
    """The version that a training began with: the latest with its content of those added before it."""
    hashed = None if content is None else content_of(content)
    same = [one for one in known if hashed is not None and one.content == hashed and one.number != number]
    earlier = [one for one in same if one.number < number]
    # A base may be added after what was made of it; what was itself trained might lead round in a circle.
    later = [one for one in same if one.trained_from is None]
    return earlier[-1] if earlier else next(iter(later), None)


def write(path: Path, value: Mapping[str, Any]) -> None:
    """A JSON file that appears whole or not at all, and is on the disk."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", errors="backslashreplace") as file:
            json.dump(value, file, indent=1, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        journal.sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)
