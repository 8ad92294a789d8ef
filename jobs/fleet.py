"""Developers on the machines of a Ray cluster: one actor per worker, batches of users handed out as they end.

Users leave their ledgers in the job's folder (on a cluster of several machines one that all of them see),
so nothing but counts travels back and memory does not grow with the number of users. A worker that dies
costs the days of the users it had in hand: they begin anew with another worker, once.
"""

import contextlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from echo_ray.errors import EchoError, StageError
from simulator.config import Split
from simulator.fleet import client, ledger
from simulator.fleet import team as fleet
from simulator.fleet.crew import Crew
from simulator.fleet.team import Job
from simulator.work.sources import Corpus

Progress = Callable[[int, int], None]
"""Called with (users done, requests sent) about once a second."""

LARGEST_BATCH = 50
"""Users that a worker is given at once, at most (count)."""
_IN_HAND = 2  # batches: while the last users of one finish, those of the next begin
_POLL_S = 1.0
_TRIES = 2
_FAREWELL_S = 10.0


class Worker:
    """Simulates users of any of `jobs`; the body of an actor."""

    def __init__(self, jobs: Sequence[Job], corpora: Mapping[Split, Corpus]) -> None:
        self._jobs = jobs
        self._corpora = corpora
        self._crews: dict[int, Crew] = {}
        self._http: aiohttp.ClientSession | None = None
        self._cpu_s = time.process_time()

    async def simulate(self, job: int, users: Sequence[str]) -> None:
        """Let `users` of job number `job` work; returns when they are done."""
        crew = self._crews.get(job)
        if crew is None:
            own = self._jobs[job]
            crew = self._crews[job] = fleet.crew(own, self._corpora[own.split], self._session)
        await crew.work(users)

    async def counted(self) -> "Count":
        """What this worker has done so far."""
        counts = [crew.count for crew in self._crews.values()]
        return Count(
            sum(count.users for count in counts),
            sum(count.requests for count in counts),
            time.process_time() - self._cpu_s,
        )

    async def close(self) -> "Count":
        """Close the connections; the last count."""
        if self._http is not None:
            await self._http.close()
        return await self.counted()

    def _session(self) -> aiohttp.ClientSession:
        self._http = self._http or client.session()
        return self._http


@dataclass(frozen=True, slots=True)
class Count:
    """Users done, requests sent, and processor seconds used by a worker since it knows the corpus."""

    users: int = 0
    requests: int = 0
    cpu_s: float = 0.0


@dataclass(slots=True)
class _Batch:
    job: int
    users: list[str]
    tries: int = 0


@dataclass(slots=True)
class _Actor:
    """A worker as the driver sees it."""

    handle: Any
    batches: dict[Any, _Batch] = field(default_factory=dict)
    """By the reference of the call that works on it."""
    asked: Any = None
    """Reference of a count under way."""
    count: Count = Count()


def run(
    jobs: Sequence[Job],
    corpora: Mapping[Split, Corpus],
    users: Sequence[Sequence[str]],
    workers: int,
    progress: Progress | None = None,
) -> Count:
    """Let `users[n]` of `jobs[n]` work on `workers` actors; returns what they did together.

    Jobs take turns, so that twins load their engines alike. Needs a running Ray and prepared folders.
    Raises what a developer's service raised, and StageError when a worker died twice over the same users.
    """
    waiting = deque(_batches(jobs, users, workers))
    if not waiting:
        return Count()
    told = progress or (lambda done, requests: None)
    with _actors(jobs, corpora, min(workers, len(waiting))) as (actors, hire):
        gone: list[Count] = []
        while waiting or any(actor.batches for actor in actors):
            _hand_out(actors, waiting)
            for actor, reference in _ended(actors):
                death = _death(reference)
                if death is None:
                    del actor.batches[reference]
                    continue
                gone.append(actor.count)
                actors.remove(actor)
                _give_back(jobs, list(actor.batches.values()), waiting, death)
                actors.append(hire())
            counts = [*gone, *_counts(actors)]
            told(sum(count.users for count in counts), sum(count.requests for count in counts))
        last = [*gone, *_farewell(actors)]
    return Count(*(sum(getattr(count, name) for count in last) for name in Count.__slots__))


def batch_size(job: Job, count: int, workers: int) -> int:
    """Users per batch: over HTTP enough to keep every connection busy, else four batches per worker."""
    share = math.ceil(count / workers) if job.over_http else math.ceil(count / workers / 4)
    most = job.config.concurrency if job.over_http else LARGEST_BATCH
    return max(1, min(share, most, LARGEST_BATCH))


def spare_cpus(service: int) -> int:
    """Cores of this machine or cluster that a service leaves, at least 1."""
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    # A local cluster has more CPU slots than cores, because Serve's replicas mostly wait.
    cores = (
        len(os.sched_getaffinity(0))
        if len(nodes) == 1
        else int(sum(node["Resources"].get("CPU", 0) for node in nodes))
    )
    return max(1, cores - service)


def _batches(jobs: Sequence[Job], users: Sequence[Sequence[str]], workers: int) -> Iterator[_Batch]:
    queues = []
    for number, (job, own) in enumerate(zip(jobs, users, strict=True)):
        size = batch_size(job, len(own), workers)
        queues.append([_Batch(number, list(own[at : at + size])) for at in range(0, len(own), size)])
    for turn in range(max((len(queue) for queue in queues), default=0)):
        yield from (queue[turn] for queue in queues if turn < len(queue))


@contextlib.contextmanager
def _actors(
    jobs: Sequence[Job], corpora: Mapping[Split, Corpus], count: int
) -> Iterator[tuple[list[_Actor], Callable[[], _Actor]]]:
    """`count` actors, and a way to hire another; all of them end with the block."""
    import ray

    shared = ray.put(dict(corpora))
    free = ray.available_resources().get("CPU", 0)
    slots = 1 if free >= count + 1 else 0  # on a crowded local cluster they squeeze in beside the service
    remote = ray.remote(Worker).options(num_cpus=slots, max_concurrency=2 * _IN_HAND + 2)
    hired: list[_Actor] = []

    def hire() -> _Actor:
        hired.append(_Actor(remote.remote(list(jobs), shared)))
        return hired[-1]

    try:
        yield [hire() for _ in range(count)], hire
    finally:
        for actor in hired:
            ray.kill(actor.handle)


def _hand_out(actors: Sequence[_Actor], waiting: deque[_Batch]) -> None:
    """Give the least busy actors what is waiting."""
    while waiting:
        actor = min(actors, key=lambda actor: len(actor.batches))
        if len(actor.batches) >= _IN_HAND:
            return
        batch = waiting.popleft()
        actor.batches[actor.handle.simulate.remote(batch.job, batch.users)] = batch


def _ended(actors: Sequence[_Actor]) -> list[tuple[_Actor, Any]]:
    """(actor, reference) of the calls that ended, after waiting a moment for the first."""
    import ray

    owners = {reference: actor for actor in actors for reference in actor.batches}
    ended, _ = ray.wait(list(owners), num_returns=1, timeout=_POLL_S)
    return [(owners[reference], reference) for reference in ended]


def _death(reference: Any) -> str | None:
    """How the actor of an ended call died; None when it lives. Raises what a developer's service raised."""
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    try:
        ray.get(reference)
    except RayActorError as error:
        return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "no reason")
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, EchoError):
            raise cause from None
        raise StageError(f"a simulated developer failed: {type(cause).__name__}: {cause}") from error
    return None


def _give_back(jobs: Sequence[Job], batches: Sequence[_Batch], waiting: deque[_Batch], death: str) -> None:
    """Queue the users of a dead actor again who were not done. Raises StageError the second time."""
    for batch in batches:
        users = ledger.left(jobs[batch.job].folder, batch.users)
        if not users:
            continue
        if batch.tries + 1 >= _TRIES:
            raise StageError(
                f"workers died {_TRIES} times while {users[0]} worked ({death}); if memory ran out, lower "
                "simulate.workers or simulate.concurrency"
            )
        waiting.appendleft(_Batch(batch.job, users, batch.tries + 1))


def _counts(actors: Sequence[_Actor]) -> list[Count]:
    """The newest counts that are known, without waiting for any."""
    import ray
    from ray.exceptions import RayActorError

    for actor in actors:
        if actor.asked is not None and ray.wait([actor.asked], timeout=0)[0]:
            with contextlib.suppress(RayActorError):  # its batch tells
                actor.count = ray.get(actor.asked)
            actor.asked = None
        if actor.asked is None:
            actor.asked = actor.handle.counted.remote()
    return [actor.count for actor in actors]


def _farewell(actors: Sequence[_Actor]) -> list[Count]:
    """The last count of every actor."""
    import ray
    from ray.exceptions import GetTimeoutError, RayActorError

    calls = [actor.handle.close.remote() for actor in actors]
    counts = []
    for actor, call in zip(actors, calls, strict=True):
        try:
            counts.append(ray.get(call, timeout=_FAREWELL_S))
        except (RayActorError, GetTimeoutError):
            counts.append(actor.count)
    return counts
