"""Runs many developers against a served model and adds up what happened.

Developers are independent: each has its own virtual clock, and a user's next request is sent only after
the previous one ended. `concurrency` bounds how many work at once. Running the same users again with
another `arm` gives twins: the same work and the same draws (section 5). Truth is written per developer
when the developer is done, so the file's order between users varies, within a user it does not.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import aiohttp
import orjson

from echo_ray.config import fingerprint
from simulator import policy
from simulator.assistant import Ask
from simulator.client import CompletionClient
from simulator.config import SimulateConfig, Split
from simulator.developer import Developer
from simulator.sources import load
from simulator.truth import Tally
from simulator.work import WorkItem, plan

Progress = Callable[[int, int], None]
"""Called with (developers done, requests sent) after every request."""


@dataclass(frozen=True, slots=True)
class FleetResult:
    """What a run gave; `tallies` in the order of the users."""

    tallies: list[Tally]
    arm: str | None
    wall_s: float
    cpu_s: float
    """Processor seconds of this process; divided by `wall_s` the simulator's share of one core."""
    policy_hash: str
    config_fingerprint: str

    @property
    def requests(self) -> int:
        """Requests sent, cancelled ones included."""
        return sum(tally.requests for tally in self.tallies)

    @property
    def acceptance_rate(self) -> float | None:
        """AR: accepted / shown for 750 ms or accepted; None when nothing was shown."""
        shown = sum(tally.shown_750 for tally in self.tallies)
        return sum(tally.accepted for tally in self.tallies) / shown if shown else None

    @property
    def generation_rate(self) -> float:
        """GR: accepted characters / (accepted + typed characters)."""
        accepted = sum(tally.accepted_chars for tally in self.tallies)
        return accepted / max(1, accepted + sum(tally.typed_chars for tally in self.tallies))


def names(split: Split, count: int) -> list[str]:
    """Pseudonyms of the developers of one split; those of different splits are different people."""
    return [f"{split[0]}{number:05d}" for number in range(count)]


def run(
    config: SimulateConfig,
    url: str,
    *,
    users: Sequence[str] | None = None,
    split: Split = "train",
    arm: str | None = None,
    truth_path: Path | None = None,
    progress: Progress | None = None,
) -> FleetResult:
    """Let `users` (default: `config.users` of the split) work against the service at `url`.

    Raises ConfigError for sources without work and ServeError when the service fails; then no result is
    given and the other developers are stopped.
    """
    people = names(split, config.users) if users is None else users
    files = load(config, split)
    work = {user: plan(config, files, user) for user in people}
    return run_work(config, url, work, arm=arm, truth_path=truth_path, progress=progress)


def run_work(
    config: SimulateConfig,
    url: str,
    work: dict[str, list[WorkItem]],
    *,
    arm: str | None = None,
    truth_path: Path | None = None,
    progress: Progress | None = None,
) -> FleetResult:
    """As `run`, for work that is already planned (user -> items)."""
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    with ExitStack() as stack:
        truth: BinaryIO | None = None
        if truth_path is not None:
            truth_path.parent.mkdir(parents=True, exist_ok=True)
            truth = stack.enter_context(truth_path.open("wb"))
            header = {
                "kind": "run",
                "arm": arm,
                "seed": config.seed,
                "policy_hash": policy.policy_hash(),
                "config": fingerprint(config),
            }
            truth.write(orjson.dumps(header) + b"\n")
        tallies = asyncio.run(_run(config, url, work, arm, truth, progress))
    return FleetResult(
        tallies=tallies,
        arm=arm,
        wall_s=time.perf_counter() - begin_s,
        cpu_s=time.process_time() - begin_cpu_s,
        policy_hash=policy.policy_hash(),
        config_fingerprint=fingerprint(config),
    )


async def _run(
    config: SimulateConfig,
    url: str,
    work: dict[str, list[WorkItem]],
    arm: str | None,
    truth: BinaryIO | None,
    progress: Progress | None,
) -> list[Tally]:
    room = asyncio.Semaphore(config.concurrency)
    done, requests = 0, 0
    timeout = aiohttp.ClientTimeout(total=config.request_timeout_s)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
        client = CompletionClient(http, url, config, arm)

        async def work_through(user: str, items: list[WorkItem]) -> Tally:
            nonlocal done, requests
            async with room:
                flow = Developer(config, user, items).run()
                lines: list[bytes] = []
                answer: str | None = None
                while True:
                    try:
                        step = flow.send(answer)
                    except StopIteration as stop:
                        tally: Tally = stop.value
                        break
                    answer = None
                    if isinstance(step, Ask):
                        answer = await client.complete(step)
                        requests += 1
                        if progress is not None:
                            progress(done, requests)
                    elif truth is not None:
                        lines.append(orjson.dumps(step.row()))
                if truth is not None:
                    truth.write(b"\n".join([*lines, b""]))
                done += 1
                if progress is not None:
                    progress(done, requests)
                return tally

        tasks = [asyncio.create_task(work_through(user, items)) for user, items in work.items()]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
