"""Several engines of one version, for real: load brings a second, and nobody sees its death or its end."""

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from echo_ray import cluster
from echo_ray.serve import engine, launch
from echo_ray.serve.config import ServeConfig
from tests import gateways, tiny
from tests.benchmarks.live_service import ROLES, is_alive

LIMIT_S = 180
"""Longest time that Ray may take to add or replace an engine on a slow machine."""


def engines() -> list[psutil.Process]:
    """Replicas that hold a model, of the cluster that this process has started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if ROLES["engine"] in " ".join(process.cmdline()) and is_alive(process):
                found.append(process)
    return found


def lines(url: str) -> int:
    """Engines that the gateway asks without Ray."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as reply:
        told = [line for line in reply.read().decode().splitlines() if line.startswith("echo_engines{")]
    return int(sum(float(line.rpartition(" ")[2]) for line in told))


def until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextlib.contextmanager
def load(url: str, clients: int) -> Iterator[Counter[int]]:
    """Statuses of what so many sessions are answered, until the block is left."""
    statuses, ended = Counter[int](), threading.Event()

    def work(number: int) -> None:
        turn = 0
        while not ended.is_set():
            turn += 1
            body = {"prompt": f"def f{turn}(a, b):\n    return ", "suffix": "\n", "max_tokens": 64}
            request = urllib.request.Request(
                f"{url}/v1/completions",
                json.dumps(body).encode(),
                {"content-type": "application/json", "X-Echo-Session": f"s{number}"},
            )
            try:
                with urllib.request.urlopen(request, timeout=60) as reply:
                    statuses[reply.status] += 1
            except urllib.error.HTTPError as error:
                with error:
                    statuses[error.code] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.mark.ray
def test_load_brings_an_engine_and_neither_its_death_nor_its_end_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "UPSCALE_S", 1.0)
    monkeypatch.setattr(engine, "DOWNSCALE_S", 5.0)
    config = ServeConfig(
        port=0,
        log_dir=tmp_path / "log",
        model=tiny.write_model(tmp_path / "model", seed=1),
        max_replicas=2,
        prompts_per_replica=1,
        max_tokens=64,
        context_tokens=64,
        kv_cache_gb=0.05,
        flush_ms=10,
        upkeep_s=0,
        cache_s=0,
        deadline_s=60,
        privacy=gateways.AS_SENT,
    )
    with cluster.running(cluster.ClusterConfig(min_memory_gb=3)), launch.start(config) as service:
        until(lambda: lines(service.url) == 1)
        assert 1 == len(engines())
        with load(service.url, 6) as statuses:
            until(lambda: lines(service.url) == 2)
            # Both are asked, each by its own sessions, before one of them dies.
            done = statuses.total()
            until(lambda: statuses.total() > done + 200)
            killed = engines()[0]
            killed.kill()
            done = statuses.total()
            until(lambda: statuses.total() > done + 200)
            until(lambda: lines(service.url) == 2)
        assert {200} == set(statuses)
        assert killed.pid not in {process.pid for process in engines()}
        with load(service.url, 1) as few:
            until(lambda: len(engines()) == 1)
        assert {200} == set(few)
        service.flush()
        rows = [json.loads(line) for path in service.log_dir.glob("*.jsonl") for line in path.open()]
        assert statuses.total() + few.total() == len({row["request_id"] for row in rows})
