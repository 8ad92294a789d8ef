"""Who waits for which record: tickets in order of appending, and what became of all of them."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

_REMEMBERED = 10_000
"""Lost tickets that a late question is still answered for (count)."""

_Waiting: TypeAlias = tuple[int, "asyncio.Future[str | None]"]


@dataclass(frozen=True, slots=True)
class WriterState:
    """What became of the items of a writer (counts), for metrics and health checks."""

    appended: int
    """Items taken into the buffer."""
    settled: int
    """Of them, those on disk, not wanted by `prepare`, failed or refused."""
    failed: int
    """Records that could not be prepared; never written."""
    dropped: int
    """Requests lost because the buffer was full or the writer closed while the disk failed."""
    refused: int
    """Items with `must` that were not taken, or taken back when the disk failed."""
    buffered_bytes: int
    commits: int
    """Batches on disk: one sync each."""
    failure: str | None
    """Why the disk cannot be written now; None when it can."""


class Tickets:
    """Not thread-safe: the writer's lock guards it. Ticket 0 is a request that was dropped."""

    def __init__(self) -> None:
        self.issued = 0
        """Last ticket that was given out."""
        self.settled = 0
        """Up to here every ticket is on disk or lost."""
        self._lost: dict[int, str] = {}
        self._waiters: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}

    def issue(self) -> int:
        """The next ticket."""
        self.issued += 1
        return self.issued

    def is_settled(self, ticket: int) -> bool:
        """Whether there is nothing to wait for."""
        return ticket <= self.settled or ticket in self._lost

    def problem(self, ticket: int) -> str | None:
        """Why the record of a settled ticket is not on disk; None when it is."""
        return self._lost.get(ticket) if ticket else "the request was dropped"

    def wait(self, ticket: int) -> "asyncio.Future[str | None]":
        """A future of the running loop with the ticket's `problem` once it is settled."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str | None] = loop.create_future()
        self._waiters.setdefault(loop, []).append((ticket, future))
        return future

    def lose(self, lost: dict[int, str]) -> None:
        """Note tickets whose records will not be written, with the reasons."""
        self._lost.update(lost)
        while len(self._lost) > _REMEMBERED:
            del self._lost[next(iter(self._lost))]

    def advance(self, first_waiting: int | None) -> bool:
        """All before `first_waiting` (None: all) is settled: wake who waits for it, from any thread.

        Returns whether somebody still waits.
        """
        self.settled = self.issued if first_waiting is None else first_waiting - 1
        for loop, waiting in list(self._waiters.items()):
            done = [(future, self.problem(ticket)) for ticket, future in waiting if self.is_settled(ticket)]
            self._waiters[loop] = [pair for pair in waiting if not self.is_settled(pair[0])]
            if not self._waiters[loop]:
                del self._waiters[loop]
            if done and not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, done)
        return bool(self._waiters)


def _resolve(done: Iterable[tuple["asyncio.Future[str | None]", str | None]]) -> None:
    for future, problem in done:
        if not future.done():  # else the waiter has given up
            future.set_result(problem)
