"""Changing the plan of a service while another change loads its models, and drawing users anew."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from echo_ray.serve.arms import assign
from tests import gateways, tiny
from tests.gateways import Engine

BODY = {"prompt": "total = ", "suffix": "\n"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    home = tmp_path_factory.mktemp("models")
    return tiny.write_model(home / "old", seed=1), tiny.write_model(home / "new", seed=2)


@pytest.mark.parametrize("change", [{"on": False}, {"arms": {"base": {"weight": 2}}}])
def test_a_change_without_a_model_never_waits_for_one_that_loads(
    models: tuple[Path, Path], tmp_path: Path, change: dict[str, Any]
) -> None:
    loaded = threading.Event()
    with gateways.service(models[0], tmp_path, Engine(), loaded=loaded) as service:

        async def both() -> Any:
            arms = {"base": {}, "new": {"model": str(models[1])}}
            slow = asyncio.create_task(service.ask("/v1/echo/arms", {"arms": arms}, method="PUT"))
            while not service.started:
                await asyncio.sleep(0.01)
            quick = await service.ask("/v1/echo/arms", change, method="PUT")
            assert not slow.done()
            loaded.set()
            return quick, await slow, await service.ask("/v1/echo/arms")

        quick, slow, after = asyncio.run(both())
    assert (200, 409) == (quick.status, slow.status)
    assert "ask again" in slow.json["error"]["message"]
    assert quick.json == after.json
    assert ["base"] == list(after.json["arms"])
    # The engine that nobody will ask is gone.
    assert service.started == service.stopped
    assert ["m-1"] == list(service.gateway.lanes)


def test_changes_that_load_wait_for_each_other(models: tuple[Path, Path], tmp_path: Path) -> None:
    with gateways.service(models[0], tmp_path, Engine()) as service:

        async def both() -> Any:
            new = {"model": str(models[1])}
            plans = ({"base": {}, "new": new}, {"base": {}, "new": {**new, "weight": 3}})
            return await asyncio.gather(
                *(service.ask("/v1/echo/arms", {"arms": plan}, method="PUT") for plan in plans)
            )

        found = asyncio.run(both())
    assert [200, 200] == [one.status for one in found]
    assert 1 == len(service.started)
    assert 3 == service.gateway.plan.weights["new"]


def test_a_new_salt_draws_every_users_arm_anew(models: tuple[Path, Path], tmp_path: Path) -> None:
    users = [f"u{number}" for number in range(40)]
    with gateways.service(models[0], tmp_path, Engine()) as service:

        async def drawn() -> Any:
            arms = {"base": {}, "new": {"model": str(models[1])}}
            change = await service.ask("/v1/echo/arms", {"salt": "s2", "arms": arms}, method="PUT")
            keeps = await service.ask("/v1/echo/arms", {"arms": {"base": {}, "new": {}}}, method="PUT")
            asked = [await service.ask("/v1/completions", BODY | {"user": user}) for user in users]
            wrong = [
                await service.ask("/v1/echo/arms", {"salt": salt}, method="PUT") for salt in ("", "x" * 65, 3)
            ]
            return change, keeps, asked, wrong

        change, keeps, asked, wrong = asyncio.run(drawn())
    assert "s2" == change.json["salt"] == keeps.json["salt"]
    weights = {"base": 1.0, "new": 1.0}
    assert [assign(user, weights, "s2") for user in users] == [one.headers["x-echo-arm"] for one in asked]
    assert [assign(user, weights, "1") for user in users] != [one.headers["x-echo-arm"] for one in asked]
    assert [400, 400, 400] == [one.status for one in wrong]
