r"""What happened between two looks at a document: the edits that lead from one request to the next.

A request shows a window of the document and its cursor. The change between two windows is found by their
common start and end, which costs two comparisons at C speed. Where text repeats ("a" typed into "aaa")
its place is ambiguous, and the cursors decide, for one types at the cursor. Where several places
changed between two requests (a log that lacks some), `difference` splits the change and the cursors say
which place came first: the old cursor stands where typing went on, the new one where it ended.

An edit is minimal: neither its ends nor its text's ends repeat each other. Editors report completions
and formatters as replacements of a larger range; here only what changed counts.

Coordinates: characters, half-open, 0 = left edge of the old window; edits apply one after another, each
in the coordinates that the one before left. Not covered: text that came and went between two requests.
"""

from collections.abc import Iterable
from typing import NamedTuple

from echo_ray.difference import Hunk, hunks
from echo_ray.text import common_prefix, common_suffix
from echo_ray.windows import PROBE_CHARS, align

_MARGIN_CHARS = 8
"""Shared text around a change that the alignment may give back to it."""


class Edit(NamedTuple):
    """`[start, stop)` of the document became `text`."""

    start: int
    stop: int
    text: str


class Step(NamedTuple):
    """How one window became the next.

    `slide` characters left the window at its left edge (negative: came in), counted after the edits.
    `certain`: one place changed, so the edit is a fact; the order of several places is inferred.
    """

    slide: int
    edits: tuple[Edit, ...]
    certain: bool = True


class View(NamedTuple):
    """What one request shows; `from_start`, `to_end`: the window reaches the document's start, its end."""

    prefix: str
    suffix: str
    from_start: bool = True
    to_end: bool = True


def apply(text: str, edits: Iterable[tuple[int, int, str]]) -> str:
    """`text` after `edits`, one after another."""
    for start, stop, typed in edits:
        text = text[:start] + typed + text[stop:]
    return text


def step(old: View, new: View, dense: bool = False) -> Step | None:
    """The edits from `old` to `new`; None when the two windows share too little text to say."""
    quick = at_cursor(old, new)
    if quick is not None:
        return quick
    before, after = old.prefix + old.suffix, new.prefix + new.suffix
    left = 0 if old.from_start and new.from_start else None
    right = len(before) - len(after) if old.to_end and new.to_end else None
    if left is None or right is None:
        slide = align(before, after, len(old.prefix), len(new.prefix), left, right)
        if slide is None:
            return None
        left, right = slide
    lost, gained = max(0, left), max(0, -left)
    stop = min(len(before), len(after) + right)
    edits, certain = changes(
        before[lost:stop],
        after[gained : stop - right],
        len(old.prefix) - lost,
        len(new.prefix) - gained,
        dense,
    )
    return Step(left, tuple(Edit(e.start + lost, e.stop + lost, e.text) for e in edits), certain)


def at_cursor(old: View, new: View) -> Step | None:
    """The common case without building documents: keys or removals at the cursor, the rest unmoved."""
    if old.suffix != new.suffix or old.to_end != new.to_end:
        return None
    place, size = len(old.prefix), len(new.prefix)
    if old.from_start and new.from_start:
        if size > place:
            if new.prefix.startswith(old.prefix):
                return Step(0, (Edit(place, place, new.prefix[place:]),))
        elif old.prefix.startswith(new.prefix):
            return Step(0, (Edit(size, place, ""),) if size < place else ())
    elif old.prefix == new.prefix:
        return Step(0, ())
    elif len(old.prefix) > PROBE_CHARS:
        # A window that slides with the cursor: its old end stands somewhere near the new end.
        seen = new.prefix.rfind(old.prefix[-PROBE_CHARS:]) + PROBE_CHARS
        if seen >= PROBE_CHARS and size - seen <= PROBE_CHARS:
            size = min(place, seen)
            if old.prefix[place - size :] == new.prefix[seen - size : seen]:
                typed = new.prefix[seen:]
                return Step(place - seen, (Edit(place, place, typed),) if typed else ())
    return None


def changes(
    old: str, new: str, old_cursor: int, new_cursor: int, dense: bool = False
) -> tuple[tuple[Edit, ...], bool]:
    """(edits, whether they are certain) between two texts of the same extent."""
    if old == new:
        return (), True
    enter = _enter_on_blank_line(old, new, old_cursor, new_cursor)
    if enter:
        between = apply(old, enter)
        rest, certain = changes(between, new, enter[1].start + len(enter[0].text), new_cursor, dense)
        return enter + rest, certain and not rest
    head = common_prefix(old, new, old_cursor)
    tail = common_suffix(old, new, len(old) - old_cursor)
    shorter, grown = min(len(old), len(new)), len(new) - len(old)
    if head + tail >= shorter:
        # Only insertion, or only removal; it may stand anywhere in [shorter - tail, head].
        low = shorter - tail
        place = new_cursor - max(0, grown)
        if not low <= place <= head:
            place = old_cursor + min(0, grown)
        if not low <= place <= head:
            place = old_cursor if low <= old_cursor <= head else head
        return (Edit(place, place - min(0, grown), new[place : place + max(0, grown)]),), True
    low, high = head - min(_MARGIN_CHARS, head), tail - min(_MARGIN_CHARS, tail)
    places = hunks(
        old[low : len(old) - high],
        new[low : len(new) - high],
        old_cursor - low,
        new_cursor - low,
        dense,
    )
    changed = old[head : len(old) - tail]
    if places is None or len(places) == 1 or (dense and _is_replacement(changed, places)):
        whole = Edit(head, len(old) - tail, new[head : len(new) - tail])
        if places is not None and not dense and head == old_cursor:
            return _typed_then_removed(old, whole, new_cursor), False
        return (whole,), places is not None
    swapped = _swapped_lines(old, new, head, tail, old_cursor) if dense else ()
    if swapped:
        return swapped, False
    moved = [Hunk(*(end + low for end in hunk)) for hunk in places]
    moved = _to_cursors(old, new, moved, old_cursor, new_cursor)
    if not dense:
        moved = _enter_with_what_follows(old, new, moved, old_cursor, new_cursor)
    return _in_order(new, moved, old_cursor, new_cursor, dense)


def _is_replacement(changed: str, places: list[Hunk]) -> bool:
    """Whether places within one line are one act: a completion that rewrites what stood before the cursor.

    Several cursors change every place alike, and a comment toggled only inserts or only removes.
    """
    removed = {place.stop - place.start for place in places}
    inserted = {place.new_stop - place.new_start for place in places}
    alike = len(removed) == len(inserted) == 1
    return "\n" not in changed and not alike and max(removed) > 0 and max(inserted) > 0


def _typed_then_removed(old: str, whole: Edit, new_cursor: int) -> tuple[Edit, ...]:
    r"""Where keys are missing, a replacement at the cursor: typing, then removal of what followed.

    Removed text that repeats ("\n" of several) may stand anywhere there; the new cursor says where.
    """
    cursor, stop, typed = whole
    between = apply(old, [Edit(cursor, cursor, typed)])
    first, last = cursor + len(typed), stop + len(typed)
    room = 0
    while last + room < len(between) and between[first + room] == between[last + room]:
        room += 1
    turn = new_cursor - first if first <= new_cursor <= first + room else 0
    return Edit(cursor, cursor, typed), Edit(first + turn, last + turn, "")


def _enter_with_what_follows(
    old: str, new: str, places: list[Hunk], old_cursor: int, new_cursor: int
) -> list[Hunk]:
    """Give line ends between two typed texts to the second: one moves down, then presses Enter and types.

    Where only line ends lie between, the documents cannot tell; recorded traces favour this.
    """
    for index in range(len(places) - 1):
        first, second = places[index], places[index + 1]
        between = old[first.stop : second.start]
        if (
            first.start == first.stop == old_cursor
            and second.new_stop == new_cursor
            and not between.strip("\n")
        ):
            while between and first.new_stop - first.new_start > 1 and new[first.new_stop - 1] == "\n":
                first = first._replace(new_stop=first.new_stop - 1)
                second = second._replace(new_start=second.new_start - 1)
            places[index : index + 2] = first, second
    return places


def _swapped_lines(old: str, new: str, head: int, tail: int, cursor: int) -> tuple[Edit, ...]:
    """A line moved up or down by command: its neighbour is taken out and put in on its other side."""
    first = old.rfind("\n", 0, head) + 1
    stop, new_stop = old.find("\n", len(old) - tail), new.find("\n", len(new) - tail)
    stop = len(old) if stop < 0 else stop
    new_stop = len(new) if new_stop < 0 else new_stop
    before, after = old[first:stop], new[first:new_stop]
    upper, _, rest = before.partition("\n")
    if rest and after == f"{rest}\n{upper}" and cursor > first + len(upper):
        return Edit(stop, stop, f"\n{upper}"), Edit(first, first + len(upper) + 1, "")
    rest, _, lower = before.rpartition("\n")
    if rest and after == f"{lower}\n{rest}" and cursor <= first + len(rest):
        return Edit(first + len(rest), stop, ""), Edit(first, first, f"{lower}\n")
    return ()


def _enter_on_blank_line(old: str, new: str, cursor: int, new_cursor: int) -> tuple[Edit, ...]:
    r"""Enter on a line of white space: the editor inserts "\n" and the indentation, and empties the line."""
    start = max(old.rfind("\n", 0, max(0, cursor)), old.rfind("\r", 0, max(0, cursor))) + 1
    indent = old[start:cursor]
    if not indent or indent.strip(" \t") or new[:start] != old[:start]:
        return ()
    ending = "\r\n" if new.startswith("\r\n", start) else "\n"
    typed_on = len(new) - new_cursor == len(old) - cursor and new.endswith(old[cursor:])
    if (len(new) - len(old) != len(ending) and not typed_on) or not new.startswith(ending + indent, start):
        return ()
    return Edit(cursor, cursor, ending + indent), Edit(start, cursor, "")


def _to_cursors(old: str, new: str, places: list[Hunk], old_cursor: int, new_cursor: int) -> list[Hunk]:
    """Rotate insertions and removals whose place is ambiguous to the cursor that they can reach."""
    for index, (start, stop, new_start, new_stop) in enumerate(places):
        if start < stop and new_start < new_stop:
            continue
        text, first, last = (old, start, stop) if start < stop else (new, new_start, new_stop)
        room_left = start - (places[index - 1].stop if index else 0)
        room_right = (places[index + 1].start if index + 1 < len(places) else len(old)) - stop
        left = right = 0
        while left < room_left and text[first - 1 - left] == text[last - 1 - left]:
            left += 1
        while right < room_right and text[first + right] == text[last + right]:
            right += 1
        wishes = (old_cursor - stop, new_cursor - new_stop)
        turn = next((wish for wish in wishes if -left <= wish <= right), 0)
        places[index] = Hunk(start + turn, stop + turn, new_start + turn, new_stop + turn)
    return places


def _in_order(
    new: str, places: list[Hunk], old_cursor: int, new_cursor: int, dense: bool
) -> tuple[tuple[Edit, ...], bool]:
    """Sequential edits: the place nearest to the old cursor first, the one at the new cursor last."""

    def distance(index: int) -> int:
        start, stop = places[index].start, places[index].stop
        return max(start - old_cursor, old_cursor - stop, 0)

    order = sorted(range(len(places)), key=distance)
    last = min(order, key=lambda index: (abs(places[index].new_stop - new_cursor), -distance(index)))
    order = [index for index in order if index != last] + [last]
    if dense:
        # One event with several places (several cursors, a comment toggled): editors report the last first.
        order.sort(reverse=True)
    parts: list[tuple[int, int, str]] = []  # in old coordinates
    for index in order:
        start, stop, new_start, new_stop = places[index]
        typed = new[new_start:new_stop]
        if typed and start <= old_cursor < stop:
            # Removed before the cursor, typed, then removed behind it: one key at a time.
            parts += [(start, old_cursor, "")] if start < old_cursor else []
            parts += [(old_cursor, old_cursor, typed), (old_cursor, stop, "")]
        elif typed and index == last and distance(index) == 0 and start < stop == old_cursor:
            # The user removed here, worked elsewhere and came back to type.
            parts = [(start, stop, ""), *parts, (stop, stop, typed)]
        else:
            parts.append((start, stop, typed))
    edits: list[Edit] = []
    for number, (start, stop, typed) in enumerate(parts):
        shift = 0
        for done_start, done_stop, done in parts[:number]:
            if done_stop <= start:
                shift += len(done) - (done_stop - done_start)
        edits.append(Edit(start + shift, stop + shift, typed))
    return tuple(edits), False
