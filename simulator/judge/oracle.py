"""The keystroke oracle: what was left in every gap, read off the edits themselves (paper 4.2).

A miner sees requests and must infer what happened between them. Here every edit is known, so nothing is
inferred: a second, independent writing of the rule, with offsets of its own, to score miners against.

- A gap opens empty at the caret of a request and is the text between its two anchors.
- An edit inside it, its borders included, changes its text; the first edit that reaches outside ends it.
- It also ends when another document is edited, when nothing happens for longer than `idle_ms`, when the
  whole content of its document is set anew, and with the session.
- Every edit is judged by itself (a sibling caret elsewhere breaks only the gaps it touches), and only by
  what it changes: text that it replaces by itself is taken off, first at its start, then at its end.

Coordinates are characters of the document just before the edit. Cost: live gaps per edit; a gap mostly
lives for seconds. Not covered: an anchor that comes back by undo (the gap stays ended), text moved by cut
and paste, edits nobody recorded.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from echo_ray.schema import EndReason


class Stroke(NamedTuple):
    """One edit: at offset `at` of `document`, the text `removed` became `inserted`."""

    ts_ms: int
    document: str
    at: int
    removed: str
    inserted: str


class Asked(NamedTuple):
    """A request, named uniquely, at offset `caret`."""

    ts_ms: int
    document: str
    caret: int
    name: str


class Reset(NamedTuple):
    """The whole content of `document` was set anew, by nobody's edit."""

    ts_ms: int
    document: str


Event: TypeAlias = Stroke | Asked | Reset


class Gap(NamedTuple):
    """What became of the gap of one request."""

    text: str
    """Text between the anchors just before the gap ended; "" when nothing was left there."""
    reason: EndReason
    stood_ms: int
    """Time of the last event of its document at which both anchors stood; the request's own at least."""
    ended_ms: int
    """Time of the event that ended it; for idleness and the end of the session `idle_ms` after the last
    event, since nobody knows earlier."""


@dataclass(slots=True)
class _Open:
    """A live gap. `left` never moves: an edit before it would have ended it."""

    name: str
    document: str
    left: int
    text: str = ""


def gaps(events: Iterable[Event], idle_ms: float) -> Iterator[tuple[str, Gap]]:
    """(name, gap) of every request of one session, in the order in which the gaps end.

    The order of `events` tells what came before what; times only measure idleness, so a coarse clock or
    one that steps back does no harm.
    """
    live: list[_Open] = []
    seen: dict[str, int] = {}
    latest: int | None = None
    for event in events:
        stroke = minimal(event) if isinstance(event, Stroke) else None
        if isinstance(event, Stroke) and stroke is None:
            continue
        now = event.ts_ms
        if latest is not None and now - latest > idle_ms:
            yield from _ended(live, EndReason.IDLE, seen, latest + round(idle_ms))
            live = []
        if stroke is not None:
            kept: list[_Open] = []
            for gap in live:
                if gap.document != stroke.document:
                    yield from _ended([gap], EndReason.FILE_SWITCH, seen, now)
                elif _inside(gap, stroke):
                    kept.append(gap)
                else:
                    yield from _ended([gap], EndReason.ANCHOR_EDITED, seen, now)
            for gap in kept:
                first = stroke.at - gap.left
                gap.text = gap.text[:first] + stroke.inserted + gap.text[first + len(stroke.removed) :]
            live = kept
        elif isinstance(event, Reset):
            gone = [gap for gap in live if gap.document == event.document]
            yield from _ended(gone, EndReason.ANCHOR_EDITED, seen, now)
            live = [gap for gap in live if gap.document != event.document]
        elif isinstance(event, Asked):
            live.append(_Open(event.name, event.document, event.caret))
        seen[event.document] = max(now, seen.get(event.document, now))
        latest = now if latest is None else max(now, latest)
    if latest is not None:
        yield from _ended(live, EndReason.SESSION_END, seen, latest + round(idle_ms))


def minimal(stroke: Stroke) -> Stroke | None:
    """The edit without what it replaces by itself; None when nothing is left of it."""
    removed, inserted = stroke.removed, stroke.inserted
    most = min(len(removed), len(inserted))
    head = next((i for i in range(most) if removed[i] != inserted[i]), most)
    most -= head
    tail = next((i for i in range(most) if removed[-1 - i] != inserted[-1 - i]), most)
    removed, inserted = removed[head : len(removed) - tail], inserted[head : len(inserted) - tail]
    if not removed and not inserted:
        return None
    return stroke._replace(at=stroke.at + head, removed=removed, inserted=inserted)


def _inside(gap: _Open, stroke: Stroke) -> bool:
    return gap.left <= stroke.at and stroke.at + len(stroke.removed) <= gap.left + len(gap.text)


def _ended(
    live: Iterable[_Open], reason: EndReason, seen: dict[str, int], now_ms: int
) -> Iterator[tuple[str, Gap]]:
    for gap in live:
        yield gap.name, Gap(gap.text, reason, seen[gap.document], now_ms)
