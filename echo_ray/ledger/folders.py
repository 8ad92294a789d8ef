"""Which folder was made from which: the manifests below a folder, chained by fingerprint.

A stage's manifest names its input by fingerprint (`input_fingerprint`), so moving a run breaks nothing, and
several data sets or models made from the same samples are a tree. A folder that was rewritten since (a
person was erased) keeps its earlier fingerprints in `notes["was"]`: what was made of it before, a trained
model above all, still finds it.

Invariants: the sealed truth of a simulation is never entered, links are never followed. Not covered: stages
whose manifest is not written yet; folders outside the one that is looked at.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from echo_ray.manifest import MANIFEST, Manifest, read_manifest
from echo_ray.sealed import SEALED

ORDER = (
    *("log", "mine", "distil", "verify", "select", "perplexity", "balance"),
    *("export", "pack", "train"),
)
"""Stages whose folders hold rows of people, in the order of the pipeline."""
WAS = "was"
"""Note of a manifest: fingerprints that the folder had before it was rewritten."""


@dataclass(frozen=True)
class Folder:
    """A finished stage."""

    path: Path
    manifest: Manifest = field(repr=False)

    @property
    def stage(self) -> str:
        """Name of the stage that made it."""
        return self.manifest.stage

    @cached_property
    def names(self) -> frozenset[str]:
        """Its fingerprint, and those that it had before."""
        return frozenset([self.manifest.fingerprint, *self.manifest.notes.get(WAS, [])])

    def files(self) -> list[Path]:
        """Its Parquet files, one per unit, by name."""
        return sorted(self.path.glob("*.parquet"))


@dataclass(frozen=True)
class Walk:
    """What lies below a folder: files to look at, sealed folders, and links that lead elsewhere."""

    files: tuple[Path, ...]
    sealed: tuple[Path, ...]
    links: tuple[Path, ...]


def walk(root: Path) -> Walk:
    """Every file below `root`, hidden ones included, by name; nothing in or behind a seal or a link."""
    files: list[Path] = []
    sealed: list[Path] = []
    links: list[Path] = []
    for place, folders, names in os.walk(root):
        here = Path(place)
        if SEALED in names:
            sealed.append(here)
            folders.clear()
            continue
        links += (here / name for name in (*folders, *names) if (here / name).is_symlink())
        folders[:] = sorted(name for name in folders if not (here / name).is_symlink())
        files += (
            path for path in map(here.joinpath, sorted(names)) if not path.is_symlink() and path.is_file()
        )
    return Walk(tuple(files), tuple(sorted(sealed)), tuple(sorted(links)))


@dataclass(frozen=True)
class Lineage:
    """The finished stages below one folder, inputs before what was made of them."""

    root: Path
    folders: tuple[Folder, ...]

    def parent(self, child: Folder) -> Folder | None:
        """The folder that `child` was made from; None when it is not here."""
        found = [one for one in self.folders if child.manifest.input_fingerprint in one.names]
        return min(found, key=lambda one: _distance(child, one), default=None)

    def children(self, parent: Folder) -> list[Folder]:
        """What was made of `parent` directly."""
        return [one for one in self.folders if one is not parent and self.parent(one) is parent]

    def chain(self, folder: Folder) -> list[Folder]:
        """The folders behind `folder`, the first first, and itself."""
        found = [folder]
        while (above := self.parent(found[-1])) is not None and above not in found:
            found.append(above)
        return found[::-1]

    def at(self, path: Path) -> Folder | None:
        """The finished stage in `path`."""
        whole = path.resolve()
        return next((one for one in self.folders if one.path.resolve() == whole), None)

    def of(self, stage: str) -> list[Folder]:
        """The folders of one stage."""
        return [one for one in self.folders if one.stage == stage]


def find(root: Path) -> Lineage:
    """The finished stages of `ORDER` in and below `root`."""
    return chained(root, walk(root).files)


def chained(root: Path, files: Sequence[Path]) -> Lineage:
    """The same among `files` that were walked already."""
    found = []
    for path in files:
        manifest = read_manifest(path.parent) if path.name == MANIFEST else None
        if manifest is not None and manifest.stage in ORDER:
            found.append(Folder(path.parent, manifest))
    loose = Lineage(root, tuple(found))
    return Lineage(root, tuple(sorted(found, key=lambda one: _place(loose, one))))


def nearest(folder: Path) -> Lineage:
    """The stages around `folder`: of its run, which is the folder that it lies in."""
    return find(folder.resolve().parent)


def _place(loose: Lineage, folder: Folder) -> tuple[int, int, str]:
    return len(loose.chain(folder)), ORDER.index(folder.stage), str(folder.path)


def _distance(child: Folder, candidate: Folder) -> tuple[bool, bool, str]:
    """Copies of one folder have one fingerprint: the path that was given counts first, then neighbours."""
    given = Path(child.manifest.input)
    same = given.exists() and given.resolve() == candidate.path.resolve()
    return not same, candidate.path.parent != child.path.parent, str(candidate.path)


def relative(path: Path, root: Path) -> str:
    """`path` for people: below `root` without it."""
    return str(path.relative_to(root)) if path.is_relative_to(root) and path != root else str(path)


def steps(lineage: Lineage) -> Iterator[tuple[Folder, Folder | None]]:
    """Every folder with the one that it was made from, inputs first."""
    for folder in lineage.folders:
        yield folder, lineage.parent(folder)
