"""A virtual clock: timers in the order of their time, ties in the order in which they were set.

Times are virtual milliseconds. Nothing sleeps; `pop` moves the clock.
"""

import heapq
import itertools
from typing import Generic, TypeVar

T = TypeVar("T")


class Clock(Generic[T]):
    """Event heap of `(time, sequence, payload)`; the payload never takes part in the order."""

    def __init__(self, now_ms: float = 0.0) -> None:
        self.now_ms = now_ms
        self._heap: list[tuple[float, int, T]] = []
        self._sequence = itertools.count()

    def at(self, time_ms: float, payload: T) -> None:
        """Set a timer. A time in the past fires now."""
        heapq.heappush(self._heap, (max(time_ms, self.now_ms), next(self._sequence), payload))

    def quiet(self, until_ms: float) -> bool:
        """Whether no timer fires before `until_ms`."""
        return not self._heap or self._heap[0][0] >= until_ms

    def pop(self, until_ms: float) -> T | None:
        """Payload of the next timer before `until_ms`, with the clock moved to it.

        None when there is none; the clock then stands at `until_ms`, unless that is infinite.
        """
        if self.quiet(until_ms):
            if until_ms != float("inf"):
                self.now_ms = until_ms
            return None
        self.now_ms, _, payload = heapq.heappop(self._heap)
        return payload
