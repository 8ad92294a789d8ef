"""Texts of the files that the labels point at, read in place: git bundles and Parquet corpora.

A bundle is cloned bare into a temporary folder, the wanted files are read at once and the clone is gone
again. Offsets elsewhere in this package count characters of these texts.
"""

import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq

DATA = Path(__file__).parents[3] / "shared" / "data"


class Place(NamedTuple):
    """A file: of one commit of a bundle, or of one repository of a corpus (`commit` is then its name)."""

    source: str
    commit: str
    path: str


@contextmanager
def cloned(bundle: Path) -> Iterator[Path]:
    """A bare clone that lives as long as the block."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone.git"
        subprocess.run(["git", "clone", "--quiet", "--bare", str(bundle), str(clone)], check=True)
        yield clone


def git(clone: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Standard output of a git command in `clone`."""
    command = ["git", "-c", "core.quotepath=off", "-C", str(clone), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


def contents(places: Iterable[Place], data: Path = DATA) -> dict[Place, str]:
    """The texts of `places`; places whose source is absent under `data` are left out."""
    grouped: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        grouped[place.source].append(place)
    texts: dict[Place, str] = {}
    for source, wanted in grouped.items():
        if (data / source).is_file():
            texts.update((_of_bundle if source.endswith(".bundle") else _of_corpus)(data / source, wanted))
    return texts


def _of_bundle(bundle: Path, places: list[Place]) -> dict[Place, str]:
    with cloned(bundle) as clone:
        return dict(zip(places, blobs(clone, places), strict=True))


def blobs(clone: Path, places: list[Place]) -> list[str]:
    """The texts of files of commits, in the order of `places`."""
    names = "".join(f"{place.commit}:{place.path}\n" for place in places)
    output = git(clone, "cat-file", "--batch", stdin=names.encode())
    texts, at = [], 0
    for _ in places:
        end_of_header = output.index(b"\n", at)
        size = int(output[at:end_of_header].rsplit(b" ", 1)[1])
        texts.append(output[end_of_header + 1 : end_of_header + 1 + size].decode("utf-8", "replace"))
        at = end_of_header + size + 2
    return texts


def _of_corpus(corpus: Path, places: list[Place]) -> dict[Place, str]:
    paths = pc.field("path").isin(sorted({place.path for place in places}))
    rows = pq.read_table(corpus, columns=["repo", "path", "content"], filters=paths).to_pylist()
    found = {(row["repo"], row["path"]): row["content"] for row in rows}
    return {place: found[place.commit, place.path] for place in places}
