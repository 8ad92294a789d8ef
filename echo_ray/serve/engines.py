"""All replicas that hold one version, as the gateway sees them: found, chosen by session, replaced.

Which replicas there are is asked of Ray: a call through the version's handle reaches one that is alive, at
random, and it tells where it listens (`wire`). A session stays with one replica as long as that is alive and
not much busier than the others, because the next keystroke's prompt begins like the last one and that
replica has it in its prefix cache: rendezvous hashing (Thaler and Ravishankar 1998) with bounded loads
(Mirrokni, Thorup and Zadimoghaddam 2018).
"""

import asyncio
import contextlib
import contextvars
import hashlib
import logging
import math
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from echo_ray.errors import ServeError
from echo_ray.serve.proposals import Answer, Prompt
from echo_ray.serve.wire import Where, Wire

log = logging.getLogger("ray.serve")  # reaches the replica's log file

LOOK_S = 1.0
"""How often a replica is asked where it listens (seconds)."""
BOUND = 1.25
"""A replica takes at most this times the mean number of running prompts; the paper's c."""


class Replica(Protocol):
    """What `choose` needs to know of one."""

    where: Where
    able: bool

    @property
    def running(self) -> int:
        """Prompts that it has to answer (count)."""


R = TypeVar("R", bound=Replica)


class Engines:
    """The replicas of one version. `handle` is Ray Serve's of their deployment."""

    def __init__(self, version: str, handle: Any) -> None:
        self.version = version
        self._handle = handle
        self._wires: dict[str, Wire] = {}
        self._looking: asyncio.Task[None] | None = None

    @property
    def lines(self) -> int:
        """Replicas that can be asked without Ray (count)."""
        return sum(wire.able for wire in self._wires.values())

    async def propose(self, prompt: Prompt, session: str) -> Answer:
        """Complete a rendered prompt; cancelling this stops the engine's work on it.

        A replica that goes away meanwhile costs time, not the answer: another is asked, or the one that Ray
        puts in its place. Once only, because a prompt that kills engines must not kill them all. Raises
        ServeError.
        """
        self._look()
        first = choose(self._wires.values(), session)
        if first is not None:
            with contextlib.suppress(ConnectionError):
                return await first.propose(prompt)
        second = choose(self._wires.values(), session)
        if second is None:
            return await self._called(self._handle.propose, prompt)  # type: ignore[no-any-return]
        try:
            return await second.propose(prompt)
        except ConnectionError:
            raise ServeError(f"the engines of {self.version} went away over a prompt") from None

    async def check_health(self) -> None:
        """Raises ServeError when no replica is healthy."""
        self._look()
        await self._called(self._handle.check_health)

    def close(self) -> None:
        """Hang up; for a version that nobody asks any more."""
        if self._looking is not None:
            self._looking.cancel()
        for wire in self._wires.values():
            wire.close()

    def _look(self) -> None:
        if self._looking is None or self._looking.done():
            # A context of its own: Ray Serve cancels the calls of a request's context when that has ended.
            self._looking = asyncio.create_task(self._look_always(), context=contextvars.Context())

    async def _look_always(self) -> None:
        while True:
            try:
                where: Where = await self._called(self._handle.where)
                self._wires = {name: wire for name, wire in self._wires.items() if wire.able}
                if where.replica not in self._wires:
                    self._wires[where.replica] = await Wire.open(where)
            except (ServeError, OSError, TimeoutError) as error:
                log.debug(
                    "no line to an engine of %s: %s", self.version, error
                )  # it starts, or has just died
            await asyncio.sleep(LOOK_S)

    async def _called(self, method: Any, *arguments: Any) -> Any:
        """What `method` of the handle returns. Raises ServeError."""
        from ray.exceptions import RayError
        from ray.serve.exceptions import RayServeException

        call = method.remote(*arguments)
        try:
            return await call
        except asyncio.CancelledError:
            call.cancel()
            raise
        except (RayError, RayServeException) as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise ServeError(f"the engine of {self.version} failed: {reason[:300]}") from error


def choose(replicas: Iterable[R], session: str) -> R | None:
    """The replica for a prompt of `session`, None when none is able."""
    able = [replica for replica in replicas if replica.able]
    if len(able) < 2:
        return able[0] if able else None
    most = math.ceil(BOUND * (1 + sum(replica.running for replica in able)) / len(able))
    free = [replica for replica in able if replica.running < most]
    return max(free, key=lambda replica: _rank(session, replica.where.replica))


def _rank(session: str, replica: str) -> bytes:
    key = f"{len(session)}:{session}{replica}"
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
