"""Files of a model on their way into a registry: chosen, checked, linked or copied, hashed, on the disk.

Weights of a training are hard-linked where the file system can: it replaces its files, and never writes into
them. Everything else is copied, since a link would follow whoever edits it in place. Taken are the files at
the top of the folder that are not hidden; what trainers keep below it (checkpoints, optimizer states) is not
the model.

Not covered: whether the weights fit the configuration; only loading them shows that.
"""

import concurrent.futures
import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from echo_ray.errors import SchemaError

Tick = Callable[[int], object]
"""Told how many bytes more are done."""

_WEIGHTS = ".safetensors"
_INDEX = ".safetensors.index.json"
_CHUNK_BYTES = 4 << 20
_LONGEST_HEADER_BYTES = 100 << 20


def chosen(folder: Path) -> list[Path]:
    """The files of the model in `folder`, links followed, by name."""
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def size(paths: Sequence[Path]) -> int:
    """Bytes of all files together."""
    return sum(path.stat().st_size for path in paths)


def check_weights(folder: Path, key: str) -> None:
    """Raise SchemaError, naming the setting `key`, for weights that are cut short or not all there."""
    for path in sorted(folder.glob(f"*{_WEIGHTS}")):
        wanted, there = _told_bytes(path), path.stat().st_size
        if wanted is None:
            raise SchemaError(f"{path} is no safetensors file: change {key}")
        if wanted != there:
            raise SchemaError(
                f"{path} is damaged ({there:,} bytes, not {wanted:,}): copy it again, or change {key}"
            )
    for path in sorted(folder.glob(f"*{_INDEX}")):
        try:
            named = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SchemaError(f"{path} is no index of weights: change {key}") from None
        missing = [name for name in named if not (folder / name).is_file()]
        if missing:
            raise SchemaError(
                f"{folder} lacks {missing[0]}, one of {len(named)} files of its weights: change {key}"
            )


def _told_bytes(path: Path) -> int | None:
    """How long a safetensors file says that it is (bytes); None when it is none."""
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _LONGEST_HEADER_BYTES + 1
        if length > _LONGEST_HEADER_BYTES:
            return None
        try:
            header: dict[str, Any] = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return None
    return 8 + length + int(max(ends, default=0))


def place(source: Path, target: Path, link: bool) -> None:
    """Put one file of a model there: weights by hard link where `link` and the file system allow, others by
    copy.
    """
    if link and source.name.endswith(_WEIGHTS) and _linked(source.resolve(), target):
        return
    shutil.copyfile(source, target)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # another file system, one without links, somebody else's file
        return False
    try:
        target.chmod(source.stat().st_mode)
    except OSError:  # readable, and not ours to make read-only
        target.unlink()
        return False
    return True


def seal(path: Path, readers: int) -> None:
    """Make a file read-only, for the `readers` (permission bits), and wait until it is on the disk."""
    path.chmod(readers & 0o444)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digests(paths: Sequence[Path], tick: Tick | None = None) -> dict[str, tuple[int, str]]:
    """Size (bytes) and SHA-256 of every file, by name; about 1 s per 1 to 2 GB."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        found = pool.map(lambda path: _digest(path, tick), paths)
        return {path.name: one for path, one in zip(paths, found, strict=True)}


def _digest(path: Path, tick: Tick | None) -> tuple[int, str]:
    hasher, read = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
            read += len(chunk)
            if tick is not None:
                tick(len(chunk))
    return read, hasher.hexdigest()
