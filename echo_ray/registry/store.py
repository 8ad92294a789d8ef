"""The registry itself: versions are added and removed, aliases moved; each change is whole or not at all.

Adding prepares a hidden folder without holding anybody up (weights may take minutes), then takes the lock for
the number and one rename: a version's folder is either not there or complete. Everything else is one line of
the history. What killed processes left (hidden folders, a folder without its line, a removed model's files)
is put right by the next change.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from echo_ray import models
from echo_ray.config import fingerprint
from echo_ray.errors import ConfigError, EchoError
from echo_ray.registry import files, journal
from echo_ray.registry.journal import State
from echo_ray.registry.shelf import Shelf, fill, seal, unchanged, write
from echo_ray.registry.values import (
    ADD,
    ATTACH,
    CHAMPION,
    NOTE,
    PROMOTE,
    REMOVE,
    ROLLBACK,
    UNSET,
    Entry,
    Version,
    check_alias,
    content_of,
    number_of,
)

_KIND = {"kind": "echo_ray model registry", "layout": 1}
MARK = "registry.json"
"""File that makes a folder a registry."""


class Registry:
    """The registry in a folder, which the first `add` makes; `key` is the setting that names the folder."""

    def __init__(self, root: Path, key: str = "models.registry") -> None:
        self.root, self.key = root, key
        self._shelf = Shelf(root)

    @property
    def exists(self) -> bool:
        """Whether the folder is a registry."""
        return (self.root / MARK).is_file()

    # What is there.

    def state(self) -> State:
        """What the history adds up to."""
        return journal.added_up(journal.read(self.root))

    def history(self) -> list[Entry]:
        """All changes, the first first."""
        return journal.read(self.root)

    def aliases(self) -> dict[str, int]:
        """The version that every alias points to."""
        return self.state().aliases

    def every(self) -> list[Version]:
        """All versions that were ever added, removed ones too, by number."""
        return self._shelf.every()

    def versions(self) -> list[Version]:
        """The versions that are there, by number."""
        removed = self.state().removed
        return [version for version in self.every() if version.number not in removed]

    def version(self, reference: str, given: str = "", *, removed: bool = False) -> Version:
        """The version that a number (`v3`), an alias or a content version names; with `removed` what is left
        of a removed one too.

        Raises ConfigError when there is none: what was `given` (setting and value), and what there is.
        """
        given = given or f"models.version={reference}"
        state = self.state()
        number = state.aliases.get(reference, number_of(reference))
        if number is None:
            hashed = content_of(reference)
            same = [one for one in self.versions() if one.content == hashed]
            number = same[0].number if same else None
        if number in state.removed and not removed:
            gone = state.removed[number]
            raise ConfigError(f"{given}: v{number} was removed on {gone.at[:10]} by {gone.by}")
        found = None if number is None else self._shelf.at(number)
        if found is not None:
            return found
        if reference in state.aliases:
            raise ConfigError(f"{given}: the folder of v{number} is gone from {self.root}")
        raise ConfigError(f"{given} is not in {self.root}: {self._known(state)}")

    def lineage(self, version: Version) -> list[Version]:
        """The chain of trainings that led to `version`, the first first, and itself; removed ones too."""
        return self._shelf.lineage(version)

    def figures(self, version: Version) -> list[dict[str, Any]]:
        """The figures that were attached to `version`, the latest last."""
        names = self.state().figures.get(version.number, [])
        paths = [version.folder / "evaluations" / f"{name}.json" for name in names]
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]

    def verify(self, version: Version, tick: files.Tick | None = None) -> None:
        """Raise SchemaError, in one sentence, when a byte of `version` is not what was added."""
        unchanged(version, f"{self.root}@{version.name}", tick)

    # Changes.

    def add(
        self,
        model: Path,
        training: Path | None = None,
        note: str = "",
        *,
        link: bool = True,
        key: str = "models.folder",
        tick: files.Tick | None = None,
    ) -> Version:
        """Add the model in a folder; `training` is the folder with its manifest, where there is one. The same
        content again is the version that there is. The weights of a training are linked (`link`), all else is
        copied. `tick` is told bytes, each twice: placed, and hashed.

        Raises ConfigError or SchemaError for a folder that no engine could load, and when it cannot be taken.
        """
        family = models.check(model, key).name
        files.check_weights(model, key)
        with self._guarded(f"cannot take {model}"):
            self._create()
            folders, readers = self.root.stat().st_mode, (self.root / MARK).stat().st_mode
            with self._shelf.staged(journal.locked(self.root, self.key)) as staged:
                record = fill(staged, model, training, link, tick)
                if (twin := self._twin(record)) is not None:
                    return twin
                seal(staged, folders, readers)
                with self._changing() as state:
                    if (twin := self._twin(record)) is not None:
                        return twin
                    at, by, what = _signed(ADD)
                    record |= {"family": family, "note": note, "created_at": at, "by": by}
                    number = max([0, *state.added, *self._shelf.numbers()]) + 1
                    version = self._shelf.appear(staged, record, number, readers)
                    with contextlib.suppress(OSError):
                        # The version is there: on a full disk the next change writes the line.
                        self._note(Entry(at, by, what, number, note=note))
                    return version

    def promote(
        self,
        reference: str,
        alias: str = CHAMPION,
        note: str = "",
        *,
        verify: bool = True,
        tick: files.Tick | None = None,
    ) -> Version:
        """Let `alias` point at a version, after reading its bytes again (`verify`).

        Raises ConfigError for a version that is not there, SchemaError for one that has changed.
        """
        check_alias(alias, "models.alias")
        self.must_exist()
        version = self.version(reference)
        if verify:
            self.verify(version, tick)
        with self._guarded(f"cannot promote {version.name}"), self._changing() as state:
            self.version(version.name)  # it may have been removed meanwhile
            now = state.aliases.get(alias)
            if now != version.number:
                self._note(Entry(*_signed(PROMOTE), version.number, alias, now, note=note))
        return version

    def rollback(
        self,
        alias: str = CHAMPION,
        note: str = "",
        *,
        bad: str = "",
        verify: bool = True,
        tick: files.Tick | None = None,
    ) -> Version:
        """Let `alias` point at the version before, which may be done again; with `bad` only while it points
        to that version, so that two who see the same fault go back once.

        Raises ConfigError when there is nothing before, SchemaError when that version has changed.
        """
        check_alias(alias, "models.alias")
        self.must_exist()
        while True:
            target = self._target(self.state(), alias, bad)
            if verify:
                self.verify(target, tick)
            with self._guarded(f"cannot roll {alias} back"), self._changing() as state:
                if self._target(state, alias, bad) == target:
                    now = state.aliases.get(alias)
                    self._note(Entry(*_signed(ROLLBACK), target.number, alias, now, note=note))
                    return target

    def unset(self, alias: str, note: str = "") -> None:
        """Let `alias` point nowhere; a rollback takes that back. Raises ConfigError when it does already."""
        self.must_exist()
        with self._guarded(f"cannot unset {alias}"), self._changing() as state:
            now = self._pointed(state, alias)
            self._note(Entry(*_signed(UNSET), None, alias, now, note=note))

    def attach(self, reference: str, figures: Mapping[str, Any], note: str = "") -> Version:
        """Keep measured `figures` (a JSON value) beside a version; the same again change nothing."""
        self.must_exist()
        version = self.version(reference)
        name = fingerprint(dict(figures))
        with self._guarded(f"cannot keep figures of {version.name}"), self._changing() as state:
            self.version(version.name)
            if name not in state.figures.get(version.number, []):
                folder = version.folder / "evaluations"
                folder.mkdir(exist_ok=True)
                write(folder / f"{name}.json", dict(figures))
                self._note(Entry(*_signed(ATTACH), version.number, figures=name, note=note))
        return version

    def note(self, reference: str, note: str) -> Version:
        """Write into the history what became of a version; what its last line says changes nothing."""
        self.must_exist()
        version = self.version(reference, removed=True)
        with self._guarded(f"cannot write about {version.name}"), self._changing():
            told = [one for one in self.history() if version.number in (one.version, one.before)]
            if not told or told[-1].note != note:
                self._note(Entry(*_signed(NOTE), version.number, note=note))
        return version

    def remove(self, reference: str, note: str = "") -> Version:
        """Delete a version's model; its number, record and history stay.

        Raises ConfigError when it is not there, or an alias points to it.
        """
        self.must_exist()
        version = self.version(reference)
        with self._guarded(f"cannot remove {version.name}"), self._changing() as state:
            self.version(version.name)
            held = [alias for alias, number in state.aliases.items() if number == version.number]
            if held:
                raise ConfigError(
                    f"{version.name} is {' and '.join(held)}: promote another version to {held[0]}, or unset "
                    f"{held[0]}, before it is removed"
                )
            self._note(Entry(*_signed(REMOVE), version.number, note=note))
            shutil.rmtree(version.model, ignore_errors=True)
        return version

    # How.

    def must_exist(self) -> None:
        """Raise ConfigError when the folder is no registry."""
        if not self.exists:
            raise ConfigError(
                f"{self.key}={self.root} is no registry yet: echo-ray models add FOLDER makes one"
            )

    def _known(self, state: State) -> str:
        names = [*state.aliases, *(one.name for one in self.versions())]
        shown = [*names[:12], f"... ({len(names)} in all)"] if len(names) > 12 else names
        return f"it has {', '.join(shown)}" if names else "it is empty"

    def _pointed(self, state: State, alias: str) -> int:
        now = state.aliases.get(alias)
        if now is None:
            known = ", ".join(state.aliases) or "none yet"
            raise ConfigError(f"models.alias={alias} points nowhere; the aliases of {self.root}: {known}")
        return now

    def _target(self, state: State, alias: str, bad: str) -> Version:
        if alias not in state.stacks:
            self._pointed(state, alias)
        now, before = state.aliases.get(alias), state.before(alias)
        if bad and self.version(bad).number != now:
            raise ConfigError(
                f"{alias} points to {'nothing' if now is None else f'v{now}'}, not to models.version={bad}: "
                "nothing was rolled back"
            )
        if before is None:
            points = "points nowhere" if now is None else f"points to v{now}"
            raise ConfigError(
                f"{alias} {points}, and nothing that it pointed to before is still there: promote another "
                "version"
            )
        return self.version(f"v{before}")

    def _create(self) -> None:
        """Make the registry where there is none. Raises ConfigError for a folder that holds other things."""
        if not self.exists:
            self.root.mkdir(parents=True, exist_ok=True)
            if any(not path.name.startswith(".") for path in self.root.iterdir()) and not self.exists:
                raise ConfigError(
                    f"{self.key}={self.root} holds other files and is no registry: name an empty or a new "
                    "folder"
                )
            write(self.root / MARK, _KIND)
        self._shelf.path.mkdir(exist_ok=True)

    @contextlib.contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        try:
            yield
        except EchoError:
            raise
        except OSError as error:
            raise ConfigError(
                f"{self.root} {what} ({error.strerror or error}): nothing was changed; make room or give "
                f"access there, or change {self.key}"
            ) from error

    @contextlib.contextmanager
    def _changing(self) -> Iterator[State]:
        """The lock, with everything that killed processes left put right; the state at that moment."""
        with journal.locked(self.root, self.key):
            state = self.state()
            for number in self._shelf.numbers():
                if number not in state.added and (version := self._shelf.at(number)) is not None:
                    self._note(Entry(version.created_at, version.by, ADD, number, note=version.note))
                if number in state.removed and (left := self._shelf.place(number) / "model").exists():
                    shutil.rmtree(left, ignore_errors=True)
            self._shelf.sweep()
            yield self.state()

    def _note(self, entry: Entry) -> None:
        journal.append(self.root, entry)

    def _twin(self, record: Mapping[str, Any]) -> Version | None:
        """The version with the content that `record` tells."""
        return next((one for one in self.versions() if one.content == record["content"]), None)


def _signed(what: str) -> tuple[str, str, str]:
    return journal.now(), journal.who(), what
