"""The registry killed, crowded, and without room: the state before or the state after, nothing else."""

import json
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from echo_ray.errors import ConfigError
from echo_ray.registry import Registry, journal
from echo_ray.registry.journal import HISTORY
from tests import registries


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return registries.registry(tmp_path)


def child(*words: object, wait: bool = True) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.registry_child", *map(str, words)]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
    if wait:
        assert 0 == started.wait(300)
    return started


def seen(registry: Registry) -> tuple[list[int], dict[str, int], list[object]]:
    figures = [registry.figures(version) for version in registry.versions()]
    return [one.number for one in registry.versions()], registry.aliases(), figures


@pytest.mark.parametrize("action", ["add", "first", "promote", "rollback", "remove", "attach"])
def test_killed_anywhere_there_is_the_state_before_or_the_state_after(action: str, tmp_path: Path) -> None:
    before = tmp_path / "before" / "registry"
    if action == "first":
        before.parent.mkdir()
    else:
        made = Registry(before)
        for seed in (1, 2, 3):
            made.add(registries.model(tmp_path / f"model{seed}", seed))
        made.promote("v2")
        made.promote("v3")
    registries.model(tmp_path / "new", 9)
    old = seen(Registry(before))
    child("kill", tmp_path, action)
    *cases, last = sorted(tmp_path.glob("case-*"))
    new = seen(Registry(last / "registry"))
    assert old != new
    assert len(cases) > 8
    states = []
    for case in [*cases, last]:
        registry = Registry(case / "registry")
        states.append(seen(registry))
        assert states[-1] in (old, new), case.name
        for version in registry.versions():
            registry.verify(version)
        # Whoever comes next finds everything usable, and nothing is left lying about.
        version = registry.add(tmp_path / "new")
        assert version.number == len(old[0]) + 1
        registry.promote(version.name)
        registry.verify(version)
        assert [] == [path.name for path in registry._shelf.path.iterdir() if path.name.startswith(".")]
        assert sorted({one.number for one in registry.every()}) == sorted(
            entry.version for entry in registry.history() if entry.what == "add"
        )
        gone = registry.state().removed
        assert not any(registry._shelf.at(number).model.exists() for number in gone)
    # Each kill came later than the one before: once the change was there it stayed.
    assert states == sorted(states, key=lambda state: state == new)
    assert old == states[0]


def test_a_dead_process_leaves_nothing_and_a_living_one_is_left_alone(
    registry: Registry, tmp_path: Path
) -> None:
    held = child("hold", registry.root, wait=False)
    assert held.stdout is not None
    folder = Path(held.stdout.readline().strip())
    registry.promote("v3")
    assert (folder / "half").is_file()
    assert ["v1", "v2", "v3"] == [one.name for one in registry.versions()]
    held.send_signal(signal.SIGKILL)
    held.wait()
    assert folder.exists()
    registry.promote("v1")
    assert not folder.exists()


def test_a_version_whose_line_was_lost_gets_it_back(registry: Registry) -> None:
    path = registry.root / HISTORY
    path.unlink()
    assert [1, 2, 3] == [one.number for one in registry.versions()]
    registry.promote("v1")
    assert ["add", "add", "add", "promote"] == [entry.what for entry in registry.history()]
    registry.remove("v3")
    shutil.rmtree(registry._shelf.at(3).folder)
    assert "v4" == registry.add(registry.root.parent / "model3").name


# Crowded.


def test_four_at_once_lose_nothing_and_give_no_number_twice(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    names = ["a", "b", "c", "d"]
    for place, name in enumerate(names):
        for seed in range(5):  # first what all of them have, in the same order
            registries.model(tmp_path / name / f"all{seed}", 7000 + seed)
        for seed in range(3):
            registries.model(tmp_path / name / f"own{seed}", 100 * place + seed + 1)
    working = [child("work", root, tmp_path / name, name, wait=False) for name in names]
    assert [0, 0, 0, 0] == [one.wait(300) for one in working]
    registry = Registry(root)
    versions = registry.versions()
    assert list(range(1, 18)) == [version.number for version in versions]
    assert 17 == len({version.content for version in versions})
    for version in versions:
        registry.verify(version)
    history = registry.history()
    assert list(range(1, 18)) == [entry.version for entry in history if entry.what == "add"]
    moved = [entry for entry in history if entry.what == "promote"]
    for name in names:
        own = [entry for entry in moved if entry.alias == name]
        assert 8 == len(own)
        assert [None, *(entry.version for entry in own)][:-1] == [entry.before for entry in own]
    crowned = [entry for entry in moved if entry.alias == "champion"]
    assert [None, *(entry.version for entry in crowned)][:-1] == [entry.before for entry in crowned]
    assert crowned[-1].version == registry.aliases()["champion"]


def test_waiting_for_somebody_who_never_ends_is_one_sentence(registry: Registry) -> None:
    sentence = r"^models\.registry=.* is locked by \S+, process \d+ for over 0\.1 s: end that process$"
    with journal.locked(registry.root, "models.registry"):
        waiting = journal.locked(registry.root, "models.registry", 0.1)
        with pytest.raises(ConfigError, match=sentence):
            waiting.__enter__()
    registry.promote("v3")


# Without room.


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes: writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [10, 2_000, 90_000])
def test_a_model_that_does_not_fit_is_one_sentence_and_leaves_nothing(
    registry: Registry, tmp_path: Path, size: int
) -> None:
    folder = registries.model(tmp_path / "large", 9, size=100_000)
    before = registries.everything(registry.root)
    with largest_file(size), pytest.raises(ConfigError) as caught:
        registry.add(folder)
    assert "nothing was changed; make room or give access there, or change models.registry" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)
    assert before == registries.everything(registry.root)
    assert "v4" == registry.add(folder).name


@pytest.mark.parametrize("more", [0, 1, 50])
def test_a_line_that_does_not_fit_is_taken_back(registry: Registry, more: int) -> None:
    path = registry.root / HISTORY
    before = path.read_bytes()
    with (
        largest_file(len(before) + more),
        pytest.raises(ConfigError, match=r"cannot promote v3 .*nothing was changed"),
    ):
        registry.promote("v3")
    assert before == path.read_bytes()
    assert {"champion": 2} == registry.aliases()
    registry.promote("v3")


def test_a_version_whose_line_does_not_fit_is_there_and_gets_it_later(
    registry: Registry, tmp_path: Path
) -> None:
    folder = registries.model(tmp_path / "late", 9)
    path = registry.root / HISTORY
    filler = b"".join(
        json.dumps({"at": "2026", "by": "x", "what": "note", "note": "n" * 5000}).encode() + b"\n"
        for _ in range(40)
    )
    path.write_bytes(path.read_bytes() + filler)
    largest = max(file.stat().st_size for file in folder.iterdir())
    assert largest < path.stat().st_size
    with largest_file(path.stat().st_size):
        version = registry.add(folder, note="late")
    assert ["v1", "v2", "v3", "v4"] == [one.name for one in registry.versions()]
    registry.promote("v4")
    told = registry.history()[-2:]
    assert [("add", 4, "late"), ("promote", 4, "")] == [(one.what, one.version, one.note) for one in told]
    assert (version.created_at, version.by) == (told[0].at, told[0].by)
