"""Mining on two cores against one, through Ray Data, samples written."""

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ray

from echo_ray import data, schema
from echo_ray.cluster import quiet, worker_environment
from echo_ray.stages.mine import MineConfig, mine
from tests.benchmarks import mining
from tests.benchmarks.figure import Figure

PARTITIONS = 130
ROUNDS = 2


def figures() -> Iterator[Figure]:
    """The stage `mine` as the verb runs it, on a log of one partition copied many times."""
    quiet()
    with tempfile.TemporaryDirectory(prefix="echo-") as name:
        root = Path(name)
        made = mining.stored(root, mining.SESSIONS, mining.REQUESTS)
        shutil.rmtree(root / "raw")
        for folder, parts in (("warm", 24), ("full", PARTITIONS)):
            (root / folder).mkdir()
            for number in range(parts):
                shutil.copy(made.path, root / folder / f"part-{number:04d}.parquet")
        times: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(ROUNDS):
            for cores, found in times.items():
                found.append(_timed(root, cores))
        rows = PARTITIONS * mining.SESSIONS * mining.REQUESTS
        one, two = (statistics.median(found) for found in times.values())
        ratios = [a / b for a, b in zip(times[1], times[2], strict=True)]
        yield Figure("Ray Data, mining and writing samples: two cores over one", one / two, least=1.7)
        yield Figure("  slowest round", min(ratios))
        yield Figure(f"  one core, s for {rows:,} requests", one)
        yield Figure("  two cores, s", two)


def _timed(root: Path, cores: int) -> float:
    """Seconds of the stage on a private cluster whose workers are already there."""
    ray.init(
        address="local",
        num_cpus=cores,
        include_dashboard=False,
        object_store_memory=200 * 2**20,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": worker_environment()},
        _temp_dir=str(root / "ray"),
    )
    try:
        _run(root / "warm", root / "out")
        began = time.perf_counter()
        _run(root / "full", root / "out")
        return time.perf_counter() - began
    finally:
        ray.shutdown()


def _run(source: Path, output: Path) -> None:
    data.run_stage("mine", mine, MineConfig(), source, output, schema.SAMPLE)
    shutil.rmtree(output)
