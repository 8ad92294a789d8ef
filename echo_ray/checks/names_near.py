"""Whether one word is a misspelling of another: one slip of the fingers, and no other word of its own.

A slip is a letter too many, too few, another one, or two that changed places (Damerau-Levenshtein distance
1). Words that differ so are often meant to differ: `item` and `items`, `x1` and `x2`, `Foo` and `foo`, `lhs`
and `rhs`. So the part of the word (between humps and underscores) in which the slip lies must have at least
four letters, must not be the other's plural, tense or number, and must not be a word that the code around it
uses elsewhere.

Not covered: two slips in one word; a slip that gives another common word.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator

from echo_ray import text
from echo_ray.checks.names_known import words

LEAST_CHARS = 4
"""Length of the shortest word that can be a misspelling (characters)."""

PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+|\d+")
_ENDINGS = ("s", "es", "d", "ed", "r", "er", "n", "y", "e", "f", "ln", "l", "t")
_COMMON = words(
    """able add added alls args argv argc base bind bits body bool byte bytes call calls cast char chars
    child code cols copy core cost data date dates days diff dirs done down each edge edit else even
    event file files fill filter find first fixed flag flags flat flow fold form format from full func
    gets give goal grid group hash have head held help here hide high hint hits home host hour icon idle
    info init input inner into item items join just keep keys kind kinds last late left lens less level
    like line lines link list lists live load local lock logs long look loop lost made mail main make
    many mask mode model move must name names near need next node none note null once only open order
    other outer over pack page pair part parts pass past path paths peek pick pipe plan play plus pool
    port post prev pull push quit quote range rank rate read real rect rest right role root rows rule
    rules same save seed seek self send sent sets shift show side sign size slice splice skip slot some
    sort span spec start stat state static stats step steps stop store swap sync table tail take task
    test tests text then this tick time times token tool total trim true type types unit until used user
    user users uses valid value values vars very view wait walk want warn week well when where wide
    width with word work wrap write year zero"""
)
"""Words of code that are one slip away from another one; not exhaustive, the context is asked too."""


def slip(one: str, other: str) -> tuple[int, int] | None:
    """Where two different words part by one slip, as offsets in both where the difference begins; None when
    they differ by more or by nothing.
    """
    long = len(one) - len(other)
    if one == other or not -1 <= long <= 1:
        return None
    head = text.common_prefix(one, other)
    a, b = one[head:], other[head:]
    if long == 0:
        swapped = len(a) > 1 and a[0] == b[1] and a[1] == b[0] and a[2:] == b[2:]
        return (head, head) if a[1:] == b[1:] or swapped else None
    return (head, head) if (a[1:] == b if long > 0 else a == b[1:]) else None


def near(word: str, names: Iterable[str], parts: Callable[[], Collection[str]]) -> Iterator[str]:
    """Those of `names` that `word` misspells; `parts` gives parts of words, in lower case, that are right."""
    if len(word) < LEAST_CHARS:
        return
    for name in names:
        # One slip cannot change both ends of a word.
        if abs(len(name) - len(word)) <= 1 and (name[0] == word[0] or name[-1] == word[-1]):
            place = slip(word, name)
            if place is not None and _misspelt(word, name, place[0], parts):
                yield name


def _misspelt(word: str, name: str, place: int, parts: Callable[[], Collection[str]]) -> bool:
    if word.lower() == name.lower() or word.strip("_") == name.strip("_"):
        return False
    wrong, right = _part(word, place), _part(name, place)
    if len(right) < LEAST_CHARS or len(wrong) < LEAST_CHARS - 1 or not wrong.isalpha() or not right.isalpha():
        return False
    low, high = sorted((wrong.lower(), right.lower()), key=len)
    if wrong.lower() in _COMMON or any(low + ending == high for ending in _ENDINGS):
        return False
    if len(low) == len(high) and low[:-1] == high[:-1] and {low[-1], high[-1]} <= set("srdn"):
        return False
    return wrong.lower() not in parts()


def _part(word: str, place: int) -> str:
    found = ""
    for match in PART.finditer(word):
        if match.start() > place:
            return found or match.group()
        found = match.group()
    return found
