"""A virtual clock: timers in the order of their time, ties in the order in which they were set.

Times are virtual milliseconds. Nothing sleeps; `pop` moves the clock to the next timer.
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
        self._cancelled: set[int] = set()

    def at(self, time_ms: float, payload: T) -> int:
        """Set a timer and return its number, for `cancel`. A time in the past fires now."""
        number = next(self._sequence)
        heapq.heappush(self._heap, (max(time_ms, self.now_ms), number, payload))
        return number

    def cancel(self, number: int) -> None:
        """Forget a timer that has not fired yet."""
        self._cancelled.add(number)

    def pop(self) -> T | None:
        """Payload of the next timer, with the clock moved to it; None when no timer is set."""
        while self._heap:
            time_ms, number, payload = heapq.heappop(self._heap)
            if number in self._cancelled:
                self._cancelled.discard(number)
                continue
            self.now_ms = time_ms
            return payload
        return None
