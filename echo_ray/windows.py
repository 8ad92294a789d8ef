"""Finding out how far a window on a document has moved, from the text that two windows share.

Contexts are mostly windows: some lines or characters around the cursor that slide while one types. Not
covered: windows cut in the middle by the client, or padded with text that is not the document's.
"""

from echo_ray.text import common_prefix, common_suffix

PROBE_CHARS = 48
"""Text that two windows must share to be aligned; shorter matches are too often coincidence."""
_SHORT_PROBE_CHARS = 12
"""Least length of a probe, for windows that share little beside the cursor."""
_ACT = 16
"""What a paste or a removal at the cursor costs in `align`, however long (characters)."""


def align(
    old: str, new: str, old_cursor: int, new_cursor: int, left: int | None = None, right: int | None = None
) -> tuple[int, int] | None:
    """(offset of the left parts, offset of the right parts): `new[j]` is `old[j + offset]`.

    A given offset is known. None when the windows share too little text. Probes from one window are looked
    up in the other; of the offsets that they vote for, the pair that explains the change best wins.
    """
    still = old_cursor - new_cursor  # the offset where the cursor's surroundings did not change
    offsets = {still, 0, len(old) - len(new)}  # and where an edge of the window stayed
    for text, other, sign, cursor in ((old, new, 1, old_cursor), (new, old, -1, new_cursor)):
        for start, stop in (
            (0, PROBE_CHARS),
            (cursor - PROBE_CHARS, cursor),
            (cursor, cursor + PROBE_CHARS),
            (cursor - _SHORT_PROBE_CHARS, cursor),
            (cursor, cursor + _SHORT_PROBE_CHARS),
            (len(text) - PROBE_CHARS, len(text)),
        ):
            start = max(0, start)
            probe = text[start:stop]
            if len(probe) < _SHORT_PROBE_CHARS:
                continue
            # Repeated text is common, so the hits on both sides of the expected place count too.
            expected = max(0, start - sign * still)
            hits = {other.find(probe, expected), other.rfind(probe, 0, expected + len(probe))}
            if len(probe) == PROBE_CHARS:
                hits |= {other.find(probe), other.rfind(probe)}
            for hit in hits - {-1}:
                offsets.add(sign * (start - hit))
    best: tuple[float, int, int] | None = None
    chosen: tuple[int, int] | None = None
    for a in offsets if left is None else (left,):
        for b in offsets if right is None else (right,):
            rating = _rate(old, new, old_cursor, new_cursor, a, b)
            if rating is not None and (best is None or rating < best):
                best, chosen = rating, (a, b)
    return chosen


def _rate(
    old: str, new: str, old_cursor: int, new_cursor: int, left: int, right: int
) -> tuple[float, int, int] | None:
    """(cost of the change, distance slid, offset): the lower, the likelier; None when too little is shared.

    The cost is the number of changed characters; one insertion or removal at the cursors costs less.
    """
    lost, stop = max(0, left), min(len(old), len(new) + right)
    a, b = old[lost:stop], new[max(0, -left) : max(0, stop - right)]
    head, tail, shorter = common_prefix(a, b), common_suffix(a, b), min(len(a), len(b))
    shared = min(head + tail, shorter)
    if stop <= lost or shared < min(PROBE_CHARS, len(old), len(new)):
        return None
    cost = float(len(a) + len(b) - 2 * shared)
    here, there = new_cursor - max(0, -left), old_cursor - lost
    if shared == shorter and head >= min(here, there) and tail >= len(b) - here:
        cost = min(cost, _ACT + cost / 16)
    return cost, abs(left) + abs(right), left
