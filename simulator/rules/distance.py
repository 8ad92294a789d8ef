"""Edit distance between a suggestion and every cut of what the user means to write (section 3.5).

`cut_distances` is the bit-parallel algorithm of Myers (1999) in Hyyro's form for a fixed start: one pass
over the intent gives the Levenshtein distance to each of its prefixes, about half a microsecond per
character for suggestions of 200 characters. `edit_script` is the classic table, for the few accepted
suggestions that need repair.
"""

import re
from dataclasses import dataclass

from echo_ray.text import common_prefix, common_suffix

_TRAILING_SPACE = re.compile(r"[ \t]+(?=\n)")


@dataclass(frozen=True, slots=True)
class Op:
    """`[start, stop)` of the source becomes `text`."""

    start: int
    stop: int
    text: str


def cut_distances(source: str, text: str) -> list[int]:
    """Levenshtein distance from `source` to `text[:n]`, for n = 0 .. len(text)."""
    size = len(source)
    if not size:
        return list(range(len(text) + 1))
    where: dict[str, int] = {}
    for index, char in enumerate(source):
        where[char] = where.get(char, 0) | 1 << index
    full, last = (1 << size) - 1, 1 << (size - 1)
    up, down, score = full, 0, size  # vertical differences +1 and -1 as bit sets
    scores = [score]
    for char in text:
        equal = where.get(char, 0)
        vertical = equal | down
        horizontal = (((equal & up) + up) ^ up) | equal
        plus = down | (full & ~(horizontal | up))
        minus = up & horizontal
        if plus & last:
            score += 1
        elif minus & last:
            score -= 1
        scores.append(score)
        plus = plus << 1 | 1
        up = (minus << 1 | ~(vertical | plus)) & full
        down = plus & vertical & full
    return scores


def horizon(size: int) -> int:
    """Longest cut that a suggestion of `size` characters is compared with (characters; section 3.5)."""
    return int(1.25 * size) + 4


def normal(text: str) -> str:
    """`text` without white space at the ends of its lines."""
    return _TRAILING_SPACE.sub("", text).rstrip()


def best_cut(source: str, text: str) -> tuple[int, int]:
    """(length, distance) of the cut of `text` nearest to `source`; the shortest one when several tie."""
    scores = cut_distances(source, text[: horizon(len(source))])
    distance = min(scores)
    return scores.index(distance), distance


def edit_script(source: str, target: str) -> list[Op]:
    """Fewest single-character edits from `source` to `target`, neighbours merged, left to right."""
    lead = common_prefix(source, target)
    trail = common_suffix(source[lead:], target[lead:])
    a, b = source[lead : len(source) - trail], target[lead : len(target) - trail]
    rows = [list(range(len(b) + 1))]
    for i, char in enumerate(a, 1):
        above, row = rows[-1], [i]
        for j, other in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (char != other)))
        rows.append(row)
    ops: list[Op] = []
    i, j = len(a), len(b)
    while i or j:
        if i and j and a[i - 1] == b[j - 1] and rows[i][j] == rows[i - 1][j - 1]:
            i, j = i - 1, j - 1
            continue
        stop, end = i, j
        while i or j:  # one run of edits without a match in between
            if i and j and a[i - 1] == b[j - 1] and rows[i][j] == rows[i - 1][j - 1]:
                break
            if i and j and rows[i][j] == rows[i - 1][j - 1] + 1:
                i, j = i - 1, j - 1
            elif i and rows[i][j] == rows[i - 1][j] + 1:
                i -= 1
            else:
                j -= 1
        ops.append(Op(lead + i, lead + stop, b[j:end]))
    return ops[::-1]


def levenshtein(source: str, target: str) -> int:
    """Edit distance between two whole texts."""
    return cut_distances(source, target)[-1]


def common_words(suggestion: str, text: str) -> str:
    """The whole words with which both texts begin; "" when not even one word, or all of the suggestion."""
    size = common_prefix(suggestion, text)
    if size == len(suggestion):
        return ""
    while size and _inside_word(suggestion, size):
        size -= 1
    return suggestion[:size] if suggestion[:size].strip() else ""


def _inside_word(text: str, at: int) -> bool:
    before, after = text[at - 1], text[at]
    return (before.isalnum() or before == "_") and (after.isalnum() or after == "_")
