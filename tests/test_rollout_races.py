"""A rollback while another command gives the candidate to users or loads it: whoever is last, it is gone."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from echo_ray.errors import ConfigError, EchoError
from jobs import rollout_arms
from tests import live_rollout, tiny
from tests.live_rollout import Hands


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    home = tmp_path_factory.mktemp("models")
    return tuple(tiny.write_model(home / f"m{seed}", seed=seed) for seed in (1, 2))


@pytest.fixture
def at(models: tuple[Path, ...], tmp_path: Path) -> Iterator[Hands]:
    with live_rollout.hands(models, tmp_path) as made:
        yield made


def test_taking_back_never_waits_for_the_candidate_to_load(models: tuple[Path, ...], tmp_path: Path) -> None:
    loaded = threading.Event()
    loaded.set()
    with live_rollout.hands(models, tmp_path, loaded=loaded) as at:
        loaded.clear()
        errors: list[str] = []

        def start() -> None:
            try:
                at.start()
            except EchoError as error:
                errors.append(str(error))

        began = len(at.service.started)
        starting = threading.Thread(target=start)
        starting.start()
        while len(at.service.started) == began:
            starting.join(0.01)
        assert "rolled_back" == at.roll_back().phase.value
        assert starting.is_alive()
        loaded.set()
        starting.join()
        assert {"base": "v1"} == at.live()
    assert 1 == len(errors)
    assert "ask again" in errors[0]


def test_taking_back_ends_a_promotion_that_waits_for_its_model(
    models: tuple[Path, ...], tmp_path: Path
) -> None:
    loaded = threading.Event()
    loaded.set()
    with live_rollout.hands(models, tmp_path, loaded=loaded) as at:
        at.start()
        at.put(arms={"control": {}})  # as after a restart: nobody serves the candidate
        while len(at.service.gateway.lanes) > 1:
            loaded.wait(0.01)
        loaded.clear()
        began, errors = len(at.service.started), []

        def promote() -> None:
            try:
                at.promote()
            except EchoError as error:
                errors.append(str(error))

        promoting = threading.Thread(target=promote)
        promoting.start()
        while len(at.service.started) == began:
            promoting.join(0.01)
        at.roll_back()
        loaded.set()
        promoting.join()
        assert ({"control": "v1"}, "v1", 1) == (at.live(), at.champion(), len(errors))


def test_a_start_that_comes_after_its_rollback_takes_itself_back(
    at: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = rollout_arms.begin

    def late(*given: Any) -> None:
        at.roll_back()
        begin(*given)

    monkeypatch.setattr(rollout_arms, "begin", late)
    with pytest.raises(ConfigError, match="was rolled back while v2"):
        at.start()
    assert ({"control": "v1"}, "rolled_back") == (at.live(), at.state()["phase"])
