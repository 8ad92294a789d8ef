r"""The edits that turn one text into another, as a developer would make them (section 3.2).

Lines are compared first (`difflib`); new lines are then moved, where the choice is free, so that they begin
with their blank lines and end with code. Inside a run of changed lines similar ones are paired, and only the
tokens that differ are replaced. A document always ends with a line end, an empty one is `"\n"`; new lines
begin at the end of the line before them, except at the start of the document.
Not covered: moved blocks (they are removed and written again); the true order of the original author, of
which a commit tells nothing.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

from echo_ray import text as texts

SIMILAR = 0.5
"""Lines that share this much of their tokens (Dice coefficient) are one line that was changed: our choice."""
_MAX_PAIRS = 20_000  # cells of the alignment; larger blocks are written anew, as a person would
_ISLAND_CHARS = 3  # nobody moves the cursor to spare so few characters
_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Edit:
    """`text` takes the place of `[start, stop)` of the old document (characters)."""

    start: int
    stop: int
    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """A run of changed lines: its edits from top to bottom, and the lines that go and come."""

    edits: tuple[Edit, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]


def document(text: str) -> str:
    r"""`text` as an editor holds it: with a line end at the end, so `"\n"` when empty."""
    return text if text.endswith("\n") else text + "\n"


def changes(old: str, new: str) -> list[Run]:
    """The runs of changed lines between `document(old)` and `document(new)`, in file order.

    Their edits may be applied run by run in any order (see `play`).
    """
    before, after = document(old)[:-1].split("\n"), document(new)[:-1].split("\n")
    starts = [0]
    for line in before:
        starts.append(starts[-1] + len(line) + 1)
    found = []
    for low, high, first, last in runs(before, after):
        lines = after[first:last]
        whole = low == high or first == last
        edits = (
            _whole_lines(starts, low, high, lines) if whole else _refined(before, starts, low, high, lines)
        )
        found.append(Run(tuple(edits), tuple(before[low:high]), tuple(lines)))
    return found


def runs(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int, int, int]]:
    """Runs `(low, high, first, last)`: lines `old[low:high]` became `new[first:last]`.

    At least one equal line lies between two runs.
    """
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    middle = SequenceMatcher(None, old[head : len(old) - tail], new[head : len(new) - tail], autojunk=False)
    found = [
        (head + low, head + high, head + first, head + last)
        for kind, low, high, first, last in middle.get_opcodes()
        if kind != "equal"
    ]
    for number, (low, high, first, last) in enumerate(found):
        floor = found[number - 1][1] + 1 if number else 0
        ceiling = found[number + 1][0] - 1 if number + 1 < len(found) else len(old)
        if low == high:
            shift = _slide(new, first, last, floor - low, ceiling - high)
        elif first == last:
            shift = _slide(old, low, high, floor - low, ceiling - high)
        else:
            continue
        found[number] = (low + shift, high + shift, first + shift, last + shift)
    return found


def _slide(lines: Sequence[str], start: int, stop: int, least: int, most: int) -> int:
    """By how many lines to move the run `lines[start:stop]` so that it reads best; the text stays equal."""
    best, shift = _awkwardness(lines, start, stop), 0
    for step in (-1, 1):
        moved = 0
        while least <= moved + step <= most:
            leaves = stop + moved - 1 if step < 0 else start + moved
            enters = start + moved - 1 if step < 0 else stop + moved
            if not 0 <= enters < len(lines) or lines[leaves] != lines[enters]:
                break
            moved += step
            score = _awkwardness(lines, start + moved, stop + moved)
            if score < best:
                best, shift = score, moved
    return shift


def _awkwardness(lines: Sequence[str], start: int, stop: int) -> tuple[int, int, int]:
    """A block should end with code, not begin with a closer, and begin as far left as it can."""
    block = [line for line in lines[start:stop] if line.strip()]
    if not block:
        return (0, 0, 0)
    return (
        not lines[stop - 1].strip(),
        block[0].strip()[0] in ")]}",
        len(texts.indent_of(block[0])),
    )


def _whole_lines(starts: Sequence[int], low: int, high: int, lines: Sequence[str]) -> list[Edit]:
    """New lines in the place of old ones, one of the two empty."""
    if low:
        return [Edit(starts[low] - 1, starts[high] - 1, "".join(f"\n{line}" for line in lines))]
    return [Edit(0, starts[high], "".join(f"{line}\n" for line in lines))]


def _refined(
    before: Sequence[str], starts: Sequence[int], low: int, high: int, lines: Sequence[str]
) -> list[Edit]:
    """The smallest sensible edits that turn the lines `before[low:high]` into `lines`."""
    pairs = _pairs(before[low:high], lines)
    edits: list[Edit] = []
    for (one, other), (next_one, next_other) in pairwise([(-1, -1), *pairs, (high - low, len(lines))]):
        first, last = low + one + 1, low + next_one
        fresh = lines[other + 1 : next_other]
        if first < last and fresh:
            edits += _replaced(starts[first], "\n".join(before[first:last]), "\n".join(fresh))
        elif first < last or fresh:
            edits += _whole_lines(starts, first, last, fresh)
        if last < high:
            edits += _inline(starts[last], before[last], lines[next_other])
    return _joined(edits)


def _pairs(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of similar lines in rising order with the largest sum of similarities."""
    if len(old) * len(new) > _MAX_PAIRS:
        return []
    left = [frozenset(_TOKEN.findall(line.strip())) for line in old]
    right = [frozenset(_TOKEN.findall(line.strip())) for line in new]
    best = [[0.0] * (len(new) + 1) for _ in range(len(old) + 1)]
    alike: dict[tuple[int, int], float] = {}
    for i in range(len(old) - 1, -1, -1):
        row, below, tokens = best[i], best[i + 1], left[i]
        for j in range(len(new) - 1, -1, -1):
            score = below[j] if below[j] > row[j + 1] else row[j + 1]
            if tokens and right[j]:
                dice = 2 * len(tokens & right[j]) / (len(tokens) + len(right[j]))
                if dice >= SIMILAR:
                    alike[i, j] = dice
                    score = max(score, below[j + 1] + dice)
            row[j] = score
    found, i, j = [], 0, 0
    while i < len(old) and j < len(new):
        if (i, j) in alike and best[i][j] == best[i + 1][j + 1] + alike[i, j]:
            found.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return found


def _inline(offset: int, old: str, new: str) -> list[Edit]:
    """Token edits inside one line."""
    left, right = _TOKEN.findall(old), _TOKEN.findall(new)
    parts: list[list[str]] = [["", "", ""]]  # old, new, and the equal text behind them
    for kind, low, high, first, last in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if kind == "equal":
            parts[-1][2] += "".join(left[low:high])
        else:
            parts.append(["".join(left[low:high]), "".join(right[first:last]), ""])
    number = 1
    while number + 1 < len(parts):
        (was, now, island), (next_was, next_now, behind) = parts[number], parts[number + 1]
        small = min(max(len(was), len(now)), max(len(next_was), len(next_now)))
        if len(island) <= max(_ISLAND_CHARS, small):
            parts[number : number + 2] = [[was + island + next_was, now + island + next_now, behind]]
            number = max(number - 1, 1)
        else:
            number += 1
    edits, at = [], offset + len(parts[0][2])
    for was, now, island in parts[1:]:
        edits += _replaced(at, was, now)
        at += len(was) + len(island)
    return edits


def _replaced(at: int, old: str, new: str) -> list[Edit]:
    """One edit without a common start or end of old and new text; none when they are equal."""
    low = texts.common_prefix(old, new)
    high = texts.common_suffix(old[low:], new[low:])
    old_middle, new_middle = old[low : len(old) - high], new[low : len(new) - high]
    return [Edit(at + low, at + low + len(old_middle), new_middle)] if old_middle or new_middle else []


def _joined(edits: Iterable[Edit]) -> list[Edit]:
    """Edits that touch become one, the developer just goes on writing; but new lines stay on their own."""
    found: list[Edit] = []
    for edit in edits:
        if found and found[-1].stop == edit.start and not edit.text.startswith("\n"):
            found[-1] = Edit(found[-1].start, edit.stop, found[-1].text + edit.text)
        else:
            found.append(edit)
    return found


def pieces(text: str, most_chars: int) -> list[str]:
    r"""`text` cut at line ends into parts of at most `most_chars`, where blank lines or dedents invite it.

    A single line is never cut. Every part after the first begins with the line end that leads to it; of
    text for the start of a document, which ends with a line end, every part ends with one.
    """
    if len(text) <= most_chars:
        return [text]
    leading = text.endswith("\n") and not text.startswith("\n")
    lines = text.splitlines(keepends=True) if leading else re.split(r"(?=\n)", text)
    lines = [line for line in lines if line]
    found, start = [], 0
    while start < len(lines):
        size, stop = len(lines[start]), start + 1
        best, best_score = stop, (2, 0, 0)
        while stop < len(lines) and size + len(lines[stop]) <= most_chars:
            size += len(lines[stop])
            stop += 1
            if stop < len(lines) and size >= most_chars / 3:
                bare = lines[stop].strip("\n")
                score = (0, 0, -stop) if not bare.strip() else (1, len(texts.indent_of(bare)), -stop)
                if score < best_score:
                    best, best_score = stop, score
        if stop == len(lines) or best_score[0] == 2:
            best = stop
        found.append("".join(lines[start:best]))
        start = best
    return found


def play(
    text: str, groups: Sequence[Sequence[Edit]], order: Sequence[int], most_chars: int
) -> Iterator[tuple[int, str, str, str, str]]:
    """Group, text before, removed, intent and text after of each step, the groups taken in `order`."""
    flat = [(number, edit) for number, group in enumerate(groups) for edit in group]
    grown = [0] * len(flat)
    for wanted in order:
        for place, (number, edit) in enumerate(flat):
            if number != wanted:
                continue
            at = edit.start + sum(grown[:place])
            removed = text[at : at + edit.stop - edit.start]
            for part in pieces(edit.text, most_chars):
                low = texts.common_prefix(removed, part)
                high = texts.common_suffix(removed[low:], part[low:])
                before, after = text[: at + low], text[at + len(removed) - high :]
                gone, written = removed[low : len(removed) - high], part[low : len(part) - high]
                if gone or written:
                    yield number, before, gone, written, after
                text = before + written + after
                at += len(part)
                removed = ""
            grown[place] = len(edit.text) - (edit.stop - edit.start)
