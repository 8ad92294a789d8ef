"""Code as people may see it, on a page or a terminal: secrets and personal data become `***`.

Whole documents are masked before anything is cut: a credential may begin in the prefix and end in the
target, and half a private key is no longer recognised as one. The mask has one length whatever it hides.
Not covered: what no detector finds; a credential of which only half was ever written.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from echo_ray.checks import personal, secrets

HIDDEN = "***"
"""Stands for what is hidden."""
_WINDOW_CHARS = 12_000
"""Detectors see this much on each side of the middle of a document; nothing farther away is shown."""
Span = tuple[int, int]


def pieces(texts: Sequence[str], spans: Iterable[Span] = ()) -> list[str]:
    """Neighbouring pieces of one document, masked as one text. `spans` (characters of the whole) are hidden
    besides what the detectors find. What crosses a border belongs to the piece that it begins in.
    """
    whole = "".join(texts)
    found = [(one.start, one.stop) for scan in (secrets.scan, personal.scan) for one in scan(whole)]
    hidden = _joined([*spans, *found])
    borders = [0]
    for text in texts:
        borders.append(borders[-1] + len(text))
    return [_piece(whole, start, stop, hidden) for start, stop in pairwise(borders)]


def masked(text: str) -> str:
    """`text` with secrets and personal data hidden."""
    return pieces([text])[0]


def around(prefix: str, middle: Sequence[str], suffix: str, spans: Iterable[Span] = ()) -> list[str]:
    """`pieces` of prefix, middle and suffix, of which only the parts near the cursor are kept; `spans` count
    from the beginning of the middle.
    """
    prefix, suffix = prefix[-_WINDOW_CHARS:], suffix[:_WINDOW_CHARS]
    moved = [(start + len(prefix), stop + len(prefix)) for start, stop in spans]
    return pieces([prefix, *middle, suffix], moved)


def _joined(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, those that touch as one."""
    result: list[Span] = []
    for start, stop in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(stop, result[-1][1]))
        elif stop > start:
            result.append((start, stop))
    return result


def _piece(whole: str, start: int, stop: int, hidden: Sequence[Span]) -> str:
    parts = []
    for low, high in hidden:
        if high <= start or low >= stop:
            continue
        parts.append(whole[start : max(start, low)])
        if low >= start:
            parts.append(HIDDEN)
        start = min(high, stop)
    return "".join([*parts, whole[start:stop]])
