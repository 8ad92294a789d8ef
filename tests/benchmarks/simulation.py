"""The simulator beside what it waits for: its share of a day with the served model, its speed without one."""

import asyncio
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from echo_ray.cluster import quiet
from jobs import simulate
from jobs.settings import RunConfig
from simulator.config import SimulateConfig
from simulator.fleet import ledger
from simulator.fleet import team as fleet
from simulator.work.sources import load
from tests.benchmarks.figure import Figure

USERS = 40
SERVED_USERS = 6


def figures() -> Iterator[Figure]:
    """Whole days on the installed package deepspeed, in a style of everybody's own, both logs written."""
    with tempfile.TemporaryDirectory(prefix="echo-") as name:
        yield from _alone(Path(name) / "alone")
        yield from _served(Path(name) / "served")


def _alone(folder: Path) -> Iterator[Figure]:
    config = SimulateConfig(users=USERS)
    corpus = load(config, "train")
    users = fleet.names("train", USERS)
    ledger.prepare(folder, "bench")
    job = fleet.Job(config, "train", "ngram", None, folder)
    crew = fleet.crew(job, corpus, lambda: None)  # type: ignore[arg-type,return-value]  # no connection is made
    began = time.process_time()
    asyncio.run(crew.work(users))
    spent_s = time.process_time() - began
    per_second = crew.count.requests / spent_s
    yield Figure(
        "simulated requests/s on one core, instant engine, both logs written", per_second, least=2_000
    )
    tallies = ledger.tallies(folder, users)
    yield Figure("  edits per request", sum(tally.edits for tally in tallies) / crew.count.requests)


def _served(folder: Path) -> Iterator[Figure]:
    quiet()
    settings = {"users": SERVED_USERS, "output": folder, "workers": 1}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        simulate.simulate(RunConfig.model_validate({"simulate": settings, "serve": {"port": 0}}), "bench")
    notes = json.loads((folder / "manifest.json").read_text())["notes"]
    share = notes["simulator_cpu_s"] / notes["wall_s"]
    yield Figure("simulator's share of the wall time, base model served on the same cores", share, most=0.2)
    yield Figure("  requests/s with the served model", notes["requests_per_s"])
