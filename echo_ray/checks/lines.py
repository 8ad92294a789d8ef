"""The whole lines that a target stands on: what the safety checks read.

`key = "` may stand in the prefix and the value in the target, so a target alone is not enough; a finding
counts when it shares a character with the target. Lines longer than `REACH_CHARS` on either side
(minified code) are cut there. Not covered: what is split over several lines.
"""

from typing import NamedTuple

from echo_ray.checks.case import Case

REACH_CHARS = 400
"""Characters of the target's first and last line that are read outside the target: longer than any token."""


class Lines(NamedTuple):
    """`text` with the target at `[start, stop)`."""

    text: str
    start: int
    stop: int

    def span(self, start: int, stop: int) -> tuple[int, int] | None:
        """The part of the target that `[start, stop)` of the text covers, as offsets in the target."""
        low, high = max(start, self.start), min(stop, self.stop)
        return (low - self.start, high - self.start) if low < high else None


def around(case: Case) -> Lines:
    """The lines of `case.target`, with what stands before and after it."""
    before = case.prefix[-REACH_CHARS:]
    before = before[before.rfind("\n") + 1 :]
    after = case.suffix[:REACH_CHARS].partition("\n")[0]
    start = len(before)
    return Lines(before + case.target + after, start, start + len(case.target))
