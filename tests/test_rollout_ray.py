"""A rollout of real engines: one candidate is taken back, one is promoted, and everybody is answered."""

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from echo_ray import cluster, models
from echo_ray.registry import Registry
from echo_ray.serve import launch
from echo_ray.serve.arms import assign
from echo_ray.serve.config import ServeConfig
from tests import gateways
from tests.live_rollout import HOUR_MS, Hands

pytestmark = pytest.mark.ray

USERS = tuple(f"person-{number}" for number in range(8))


def perturbed(folder: Path) -> Path:
    """The bundled base with a little noise on its weights."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(models.BASE, folder)
    random = torch.Generator().manual_seed(1)
    for path in folder.glob("*.safetensors"):
        noisy = {
            name: (one.float() * (1 + 0.01 * torch.randn(one.shape, generator=random))).to(one.dtype)
            for name, one in load_file(path).items()
        }
        path.unlink()
        save_file(noisy, path, metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hands]:
    root = tmp_path_factory.mktemp("rollout")
    registry = Registry(root / "registry")
    registry.add(models.BASE)
    registry.add(perturbed(root / "candidate"))
    registry.promote("v1")
    config = ServeConfig(
        port=0, model=registry.version("v1").model, log_dir=root / "served", max_tokens=8, context_tokens=128,
        kv_cache_gb=0.05, cpus=1, flush_ms=10, upkeep_s=0, cache_s=0, privacy=gateways.AS_SENT,
    )  # fmt: skip
    with cluster.running(cluster.ClusterConfig(min_memory_gb=2)), launch.start(config) as service:
        yield Hands(root, service.url, registry)


def answered(at: Hands) -> dict[str, str]:
    """Version by arm, of what people are answered with now; everybody gets the arm of the plan."""
    plan: dict[str, Any] = at.put()
    weights = {name: arm["weight"] for name, arm in plan["arms"].items()}
    found = {}
    for user in USERS:
        body = {
            "prompt": "def add(first, second):\n    return ",
            "suffix": "\n",
            "user": user,
            "max_tokens": 4,
        }
        request = urllib.request.Request(
            at.url + "/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            arm = reply.headers["x-echo-arm"]
            assert assign(user, weights, plan["salt"]) == arm
            found[arm] = json.loads(reply.read())["model"]
    names = {version.content: version.name for version in at.registry.versions()}
    return {arm: names[version.rpartition("-")[2]] for arm, version in found.items()}


def test_a_rollout_of_real_engines_ends_in_the_arms_and_in_the_registry(at: Hands) -> None:
    assert {"base": "v1"} == answered(at)
    at.start()
    assert {"control": "v1", "treatment": "v2"} == answered(at) == at.live()
    at.feed((0.6, 0.25))
    ended = at.watch()
    assert ("rolled_back", 1) == (ended.phase.value, len(at.looks()))
    assert {"control": "v1"} == answered(at) == at.live()
    assert ("v1", ["note"]) == (at.champion(), [what for what, _ in at.notes()])

    at.now_ms += HOUR_MS
    at.root = at.root / "second"
    at.start(log=at.log)
    (at.root / "served").mkdir(parents=True)
    at.feed((0.25, 0.6), seed=2)
    assert {"control": "v1", "treatment": "v2"} == answered(at)
    ended = at.watch(max_hours=1)
    assert ("promoted", "promote") == (ended.phase.value, at.looks()[-1]["action"])
    assert {"treatment": "v2"} == answered(at) == at.live()
    assert "v2" == at.champion()
