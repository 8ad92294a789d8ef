"""Messages that must arrive although the service is away for a while: a queue with one sender.

Order is kept, a message leaves the queue when it was taken or can never be taken, and the oldest go when
there are too many. A message may be sent twice (its answer was lost): it carries an id of its own.
Not covered: a process that is killed; nothing is kept on disk.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 30.0
"""Back-off after a failure: doubled from the first to the longest."""


@dataclass(frozen=True, slots=True)
class Message:
    """One body for one address of the service."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]


class Sent(Enum):
    """What became of messages that were sent."""

    TAKEN = auto()
    LATER = auto()
    """The service is away or busy."""
    NEVER = auto()
    """The service refuses these, and always will."""


class Outbox:
    """Sends what is put into it; `run` is a task of the owner."""

    def __init__(
        self, send: Callable[[Sequence[Message]], Awaitable[Sent]], limit: int, batch: int = 1
    ) -> None:
        self._send, self._limit, self._batch = send, limit, batch
        self._queue: deque[Message] = deque()
        self._filled, self._idle, self._hurry = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._last_try = False
        self.dropped = 0
        """Messages lost so far: too many, or refused (count)."""

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, message: Message) -> None:
        """Queue a message."""
        self._queue.append(message)
        if len(self._queue) > self._limit:
            self._queue.popleft()
            self.dropped += 1
            if self.dropped % 100 == 1:
                log.warning("the service is away: %d messages dropped, oldest first", self.dropped)
        self._idle.clear()
        self._filled.set()

    def wake(self) -> None:
        """The service is known to answer: do not wait any longer."""
        self._hurry.set()

    async def run(self) -> None:
        """Send for ever; end it by cancelling the task."""
        wait_s, batch = FIRST_WAIT_S, self._batch
        while True:
            await self._filled.wait()
            messages = [self._queue[index] for index in range(min(batch, len(self._queue)))]
            self._hurry.clear()
            sent = await self._send(messages)
            if sent is Sent.LATER:
                if self._last_try:
                    self._idle.set()
                await self._pause(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
                continue
            wait_s = FIRST_WAIT_S
            if sent is Sent.NEVER and len(messages) > 1:
                batch = 1  # one of them is refused; the others are not to be lost with it
                continue
            batch = self._batch
            self._remove(messages, refused=sent is Sent.NEVER)

    async def flush(self, timeout_s: float) -> int:
        """Messages left when the queue is empty, the service is found to be away, or time is up (seconds)."""
        self._last_try = True
        self.wake()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        return len(self._queue)

    async def _pause(self, wait_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._hurry.wait()

    def _remove(self, messages: Sequence[Message], refused: bool) -> None:
        for message in messages:
            if self._queue and self._queue[0] is message:  # else it was dropped meanwhile
                self._queue.popleft()
                self.dropped += refused
        if not self._queue:
            self._filled.clear()
            self._idle.set()
