"""One measured figure beside its bar, and the two ways to measure side by side."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

TITLE = f"{'what':<74} {'figure':>12} {'bar':>18}"


@dataclass(frozen=True, slots=True)
class Figure:
    """`least` or `most` is the design's bar; without both the figure is information."""

    what: str
    value: float
    least: float | None = None
    most: float | None = None

    def __str__(self) -> str:
        digits = 0 if abs(self.value) >= 1000 else 2
        bar, verdict = "", ""
        if self.least is not None:
            bar, verdict = f"at least {self.least:,g}", "met" if self.value >= self.least else "missed"
        elif self.most is not None:
            bar, verdict = f"at most {self.most:,g}", "met" if self.value <= self.most else "missed"
        return f"{self.what:<74} {self.value:>12,.{digits}f} {bar:>18} {verdict}".rstrip()


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call (s)."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def in_turn(*functions: Callable[[], object], repeats: int = 7) -> list[float]:
    """Median wall time of each (s), called in turn so that neighbours slow all alike; one warm round."""
    rounds: Sequence[list[float]] = [[seconds(f) for f in functions] for _ in range(repeats + 1)]
    return [statistics.median(times) for times in zip(*rounds[1:], strict=True)]
