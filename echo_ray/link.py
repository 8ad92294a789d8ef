"""Chaining the requests of a session: for each request, the edits that led to it from the one before.

This is the delta form of a log. The store keeps it beside the contexts (`schema.LINKS`), so that mining
never looks at a context again: what lies between two anchors is text that some edit put there.

Coordinates are virtual: characters from the left edge of a file's first window, moved along by edits. A
window that shares no text with anything known of its file starts anew (`LOST`).

What is known of a windowed file is more than its last window: `_Known` keeps the text around, so that a
jump back to a place seen before is compared with that place.

Clocks have ticks and step back, so time alone does not order requests. Where following keys puts requests
of one tick, or of the next `DISORDER_MS`, into an order with (far) fewer breaks, that order is taken.

Not covered: disorder in a log without single keys to go by, or over more requests than `_AHEAD_ROWS`;
files whose windows alternate between far places without any overlap: each jump there is `LOST`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice
from typing import NamedTuple

from echo_ray.edits import Edit, Step, View, apply, at_cursor, step

KNOWN_CHARS = 200_000
"""Text of one windowed file that is remembered around its cursor."""
DISORDER_MS = 10_000
"""How far a clock may step back for the order of requests to be found again."""
_AHEAD_ROWS = 64
_BREAKS = 2
_SAMPLE_ROWS = 500
"""Requests of a session that decide whether it is dense."""
_DENSE_SHARE = 0.5
_KEY_CHARS = 1


class LinkKind(StrEnum):
    """What is known about the way from the request before."""

    FIRST = "first"
    """First look at the file: no edit is known."""
    SAME = "same"
    """No text changed; only the cursor may have moved."""
    EDIT = "edit"
    """One place changed: a fact."""
    EDITS = "edits"
    """Several places changed; their order is inferred."""
    LOST = "lost"
    """The two windows share too little text to say what changed."""


class Look(NamedTuple):
    """One request as the chain sees it; `row` is the caller's name for it."""

    row: int
    ts_ms: int
    file: str
    view: View


class Link(NamedTuple):
    """Request `row` is number `seq` of its session; its cursor stands at `cursor` after `edits`."""

    row: int
    seq: int
    kind: LinkKind
    cursor: int
    edits: tuple[Edit, ...] = ()


@dataclass(slots=True)
class _Known:
    """What is known of one file: the last view, and for windows the `text` around; both virtual."""

    view: View
    base: int = 0
    """Virtual place of the left edge of `view`."""
    text: str = ""
    start: int = 0
    """Virtual place of the first character of `text`."""
    from_start: bool = True
    to_end: bool = True

    def whole(self) -> bool:
        return self.view.from_start and self.view.to_end


def link_session(looks: Iterable[Look]) -> Iterator[Link]:
    """The chain of one session's requests, given in time order."""
    stream = iter(looks)
    sample = list(islice(stream, _SAMPLE_ROWS))
    dense = is_dense(sample)
    files: dict[str, _Known] = {}
    for seq, (look, quick) in enumerate(_in_order(chain(sample, stream), files)):
        yield _follow(files, look, quick, seq, dense)


def _in_order(looks: Iterator[Look], files: Mapping[str, "_Known"]) -> Iterator[tuple[Look, Step | None]]:
    """The looks, those that came out of order where they belong, each with its key where that is the step.

    `files` is what was followed so far.
    """
    ahead: deque[Look] = deque()
    while True:
        if not ahead:
            # The common case, one key after another, needs no look ahead.
            for look in looks:
                known = files.get(look.file)
                quick = at_cursor(known.view, look.view) if known is not None else None
                if known is not None and not is_key(quick):
                    ahead.append(look)
                    break
                yield look, quick
            else:
                return
        first = ahead[0]
        known = files.get(first.file)
        quick = at_cursor(known.view, first.view) if known is not None else None
        settled = 1
        if known is not None and not is_key(quick):
            while len(ahead) < _AHEAD_ROWS and ahead[-1].ts_ms - first.ts_ms <= DISORDER_MS:
                following = next(looks, None)
                if following is None:
                    break
                ahead.append(following)
            settled = _reorder(known.view, ahead)
            if ahead[0] is not first:
                quick = at_cursor(known.view, ahead[0].view)
        yield ahead.popleft(), quick
        for _ in range(settled - 1):
            look = ahead.popleft()
            known = files.get(look.file)
            yield look, at_cursor(known.view, look.view) if known is not None else None


def _reorder(view: View, ahead: deque[Look]) -> int:
    """Put the first file's looks of `ahead` in the order of their keys, where time does not tell or is wrong.

    Returns how many looks are settled. Within one tick of the clock any order with fewer breaks is taken.
    A clock that stepped back needs evidence: two of the next three steps are no keys, and following keys
    leaves at most half of the breaks, and two fewer.
    """
    first = ahead[0]
    mine = [index for index, look in enumerate(ahead) if look.file == first.file]
    tick = [index for index in mine if ahead[index].ts_ms == first.ts_ms]
    if len(tick) > 1:
        after = [ahead[index].view for index in mine[len(tick) : len(tick) + 1]]
        if _chain(view, ahead, tick, after, _fewer):
            return tick[-1] + 1
    near = [index for index in mine if ahead[index].ts_ms - first.ts_ms <= DISORDER_MS]
    suspect = len(near) > _BREAKS and _breaks(view, [ahead[index].view for index in near[:3]]) >= _BREAKS
    if suspect and _chain(view, ahead, near, [], _far_fewer):
        return near[-1] + 1
    return 1


def _fewer(breaks: int) -> int:
    return breaks - 1


def _far_fewer(breaks: int) -> int:
    return min(breaks - _BREAKS, breaks // 2)


def _chain(
    view: View,
    ahead: deque[Look],
    slots: Sequence[int],
    after: Sequence[View],
    allowed: Callable[[int], int],
) -> bool:
    """Reorder the looks in `slots` so that each goes on by a key, where few enough breaks are left then."""
    rest = [ahead[slot] for slot in slots]
    most = allowed(_breaks(view, [*(look.view for look in rest), *after]))
    chained: list[Look] = []
    last, breaks = view, 0
    while rest:
        index = next((n for n, look in enumerate(rest) if is_key(at_cursor(last, look.view))), -1)
        breaks += index < 0
        if breaks > most:
            return False
        chained.append(rest.pop(max(0, index)))
        last = chained[-1].view
    if breaks + _breaks(last, after) > most:
        return False
    for slot, look in zip(slots, chained, strict=True):
        ahead[slot] = look
    return True


def _breaks(view: View, views: Iterable[View]) -> int:
    """Number of steps from `view` through `views` that are no key."""
    count = 0
    for following in views:
        count += not is_key(at_cursor(view, following))
        view = following
    return count


def is_key(quick: Step | None) -> bool:
    """Whether a step is one character typed or removed at the cursor."""
    if quick is None or len(quick.edits) != 1:
        return False
    start, stop, text = quick.edits[0]
    return len(text) + stop - start <= _KEY_CHARS


def is_dense(looks: Sequence[Look]) -> bool:
    """Whether most steps are one key: then a change of several characters is one act, not several keys.

    Steps that are no typing at the cursor, or show no change, do not count.
    """
    last: dict[str, View] = {}
    keys = acts = 0
    for look in looks:
        known = last.get(look.file)
        last[look.file] = look.view
        quick = at_cursor(known, look.view) if known is not None else None
        if quick is not None and quick.edits:
            acts += 1
            keys += is_key(quick)
    return keys >= _DENSE_SHARE * acts


def _follow(files: dict[str, _Known], look: Look, quick: Step | None, seq: int, dense: bool) -> Link:
    known, view = files.get(look.file), look.view
    if known is None:
        files[look.file] = known = _first(view)
        return Link(look.row, seq, LinkKind.FIRST, len(view.prefix))
    taken, base = quick, known.base
    if taken is None and known.whole() and view.from_start and view.to_end:
        taken = step(known.view, view, dense)
    elif taken is None:
        place = known.base - known.start + len(known.view.prefix)
        around = View(known.text[:place], known.text[place:], known.from_start, known.to_end)
        taken, base = step(around, view, dense), known.start
    if taken is None:
        files[look.file] = _first(view)
        return Link(look.row, seq, LinkKind.LOST, len(view.prefix))
    edits = taken.edits
    if base:
        edits = tuple(Edit(start + base, stop + base, text) for start, stop, text in edits)
    known.base = base + taken.slide
    known.view = view
    if not known.whole():
        _remember(known, edits)
    kind = LinkKind.SAME if not edits else LinkKind.EDIT if taken.certain else LinkKind.EDITS
    return Link(look.row, seq, kind, known.base + len(view.prefix), edits)


def _first(view: View) -> _Known:
    whole = view.from_start and view.to_end
    text = "" if whole else view.prefix + view.suffix
    return _Known(view, 0, text, 0, view.from_start, view.to_end)


def _remember(known: _Known, edits: tuple[Edit, ...]) -> None:
    """Carry the text around through `edits` and widen it by what the new window shows."""
    start, view = known.start, known.view
    text = apply(known.text, tuple(Edit(a - start, b - start, typed) for a, b, typed in edits))
    shown = len(view.prefix) + len(view.suffix)
    left, right = known.base - start, known.base + shown - start
    if left < 0 or right > len(text):
        window = view.prefix + view.suffix
        text = window[: max(0, -left)] + text + (window[len(text) - right :] if right > len(text) else "")
        known.start = start = min(start, known.base)
    known.from_start = known.from_start or (view.from_start and known.base <= start)
    known.to_end = known.to_end or (view.to_end and right >= len(text))
    if len(text) > 2 * KNOWN_CHARS:
        cut = max(0, known.base + len(view.prefix) - start - KNOWN_CHARS)
        known.from_start = known.from_start and not cut
        known.to_end = known.to_end and len(text) <= cut + 2 * KNOWN_CHARS
        text, known.start = text[cut : cut + 2 * KNOWN_CHARS], start + cut
    known.text = text
