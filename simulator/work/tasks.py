"""What one developer works on, task after task: commits to replay, pieces of files to write (section 3.2).

A developer belongs to one to three repositories and works in them only. A task is a commit, taken file by
file, or one file of today, of which one to three pieces are missing.
Our choices: a commit is not repeated while others are left; its hunks come in file order or shuffled, since
there is no call graph that covers all languages; larger repositories have more developers, by the square root
of what they offer.
Not covered: work that begins before the commit before it is done; the true order of commits.
"""

import functools
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np

from echo_ray.errors import ConfigError
from simulator.config import SimulateConfig
from simulator.draws import Draws, weighted
from simulator.work import mix, screen
from simulator.work.edits import document, play
from simulator.work.history import Change, Commit
from simulator.work.holes import Hole, HoleKind, holes
from simulator.work.hunks import Hunk, hunks, imported, is_test, only_imports
from simulator.work.items import ItemKind, WorkItem
from simulator.work.sources import Corpus, Repository, SourceFile

REPOSITORIES = ((1, 0.5), (2, 0.3), (3, 0.2))
"""How many repositories a developer belongs to, with shares [A]."""
PREFERENCE = (1.0, 0.5, 0.25)
"""Weights of the first, second and third repository of a developer [A]."""
TESTS_LAST = 0.7
"""P(the test files of a commit come last), else they come first (section 3.2)."""
FILE_ORDER = 0.75
"""P(hunks come in file order), else shuffled (section 3.2)."""
LAZY_IMPORT = 0.6
"""P(an import is written right before the first hunk that needs it) (section 3.2)."""
HOLES = ((HoleKind.BODY, 0.45), (HoleKind.BLOCK, 0.35), (HoleKind.STATEMENT, 0.20))
"""Shares of the pieces of a file that are written anew [A]."""
MOST_HOLES = 3
_TRIES = 200  # files without a fitting piece are common among short ones
_OWN_TRIES = 100  # then the developer helps out in other repositories
_FRESH_TRIES = 20

T = TypeVar("T")
Restyle = Callable[[str, str], str]


def tasks(config: SimulateConfig, corpus: Corpus, draws: Draws, restyle: Restyle) -> Iterator[list[WorkItem]]:
    """Tasks without end, each with at least one item.

    `visit` of the items counts the documents, over all tasks; `session` is 0. Raises ConfigError when the
    corpus offers nothing to write.
    """
    ranked = _ranked(config, corpus.repositories, draws)
    own = ranked[: weighted(draws.unit("work repositories"), REPOSITORIES)]
    used: set[str] = set()
    visits = number = 0
    while True:
        items = _task(config, own, ranked, draws, restyle, used, number, visits)
        yield items
        visits = items[-1].visit + 1
        number += 1


def _ranked(config: SimulateConfig, repositories: Sequence[Repository], draws: Draws) -> list[Repository]:
    """Repositories in the order in which the developer would join them; one more moves no other."""
    able = [one for one in repositories if one.commits or (one.files and config.history_share < 1)]

    def wait(repository: Repository) -> float:
        size = math.sqrt(len(repository.files) + len(repository.commits))
        return -math.log1p(-draws.unit("work belongs", repository.pseudonym)) / size

    return sorted(able, key=wait)


def _task(
    config: SimulateConfig,
    own: Sequence[Repository],
    ranked: Sequence[Repository],
    draws: Draws,
    restyle: Restyle,
    used: set[str],
    number: int,
    visits: int,
) -> list[WorkItem]:
    for attempt in range(_TRIES if ranked else 0):
        where = draws.unit("work where", at=number, occurrence=attempt)
        if attempt < _OWN_TRIES:
            repository = weighted(where, list(zip(own, PREFERENCE, strict=False)))
        else:
            repository = ranked[int(where * len(ranked))]
        replay = draws.unit("work replays", at=number, occurrence=attempt) < config.history_share
        if repository.commits and (replay or not repository.files):
            commit = _commit(config, repository, draws, used, number, attempt)
            items = _replay(config, commit, draws, restyle, number, visits)
            used.add(commit.name)
        else:
            file = repository.files[
                int(draws.unit("work file", at=number, occurrence=attempt) * len(repository.files))
            ]
            items = _rewrite(config, file, draws, restyle, number, visits)
        if items:
            return items
    raise ConfigError(
        f"simulate.sources {config.sources} offer no code of {config.min_intent_chars} to "
        f"{config.max_intent_chars} characters to write; change simulate.min_intent_chars or max_intent_chars"
    )


def _commit(
    config: SimulateConfig, repository: Repository, draws: Draws, used: set[str], number: int, attempt: int
) -> Commit:
    levels = _levels(repository, config.history_share)
    chosen = 0
    for occurrence in range(_FRESH_TRIES):
        draw = draws.unit("work commit", repository.pseudonym, number, attempt * _FRESH_TRIES + occurrence)
        chosen = bisect_right(levels, draw * levels[-1])
        if repository.commits[chosen].name not in used:
            break
    return repository.commits[chosen]


@functools.lru_cache(maxsize=256)
def _levels(repository: Repository, history_share: float) -> list[float]:
    """Cumulative weights of the commits."""
    tests = sum(is_test(file.path) for file in repository.files)
    written = (1 + MOST_HOLES) / 2 * len(repository.files) / max(len(repository.files), 1)
    in_tests = written * tests / max(len(repository.files), 1)
    written_of = np.array([written - in_tests, 0.0, 0.0, in_tests, 0.0])
    kinds = [[kind for change in commit.changes for kind in change.kinds] for commit in repository.commits]
    return list(accumulate(mix.weights(kinds, history_share, written_of).tolist()))


def _replay(
    config: SimulateConfig, commit: Commit, draws: Draws, restyle: Restyle, number: int, visits: int
) -> list[WorkItem]:
    """All files of a commit; a file whose new text holds a credential is left out."""
    last = draws.unit("work tests", at=number) < TESTS_LAST
    found: list[WorkItem] = []
    for change in sorted(commit.changes, key=lambda change: (is_test(change.path) is last, change.path)):
        old = restyle(change.parent, change.language) if change.parent else ""
        parts = hunks(old, restyle(change.child, change.language), change.language, is_test(change.path))
        order = _order(parts, change, draws, number)
        items = [
            WorkItem(
                key=f"{number}:{len(found) + count}:{change.pseudonym}",
                session=0,
                visit=visits,
                file=change.pseudonym,
                repository=commit.repository,
                language=change.language,
                kind=parts[hunk].kind,
                before=before,
                removed=removed,
                intent=intent,
                after=after,
            )
            for count, (hunk, before, removed, intent, after) in enumerate(
                play(document(old), [part.edits for part in parts], order, config.max_intent_chars)
            )
        ]
        if items and not any(screen.secrets(item.intent) for item in items):
            found += items
            visits += 1
    return found


def _order(parts: Sequence[Hunk], change: Change, draws: Draws, number: int) -> list[int]:
    order = list(range(len(parts)))
    name = change.pseudonym
    if draws.unit("work order", name, number) >= FILE_ORDER:
        order.sort(key=lambda index: draws.unit("work shuffle", name, number, index))
    for index, part in enumerate(parts):
        if not part.imports or draws.unit("work lazy", name, number, index) >= LAZY_IMPORT:
            continue
        names = imported(part.added, change.language)
        users = [other for other in order if not parts[other].imports and names & parts[other].words()]
        if users:
            order.remove(index)
            order.insert(order.index(users[0]), index)
    return order


def _rewrite(
    config: SimulateConfig, file: SourceFile, draws: Draws, restyle: Restyle, number: int, visits: int
) -> list[WorkItem]:
    """One to three pieces of `file`, from top to bottom."""
    text = restyle(file.text, file.language)
    secrets = screen.secrets(text)
    found = [
        hole
        for hole in holes(text, file.language, config.min_intent_chars, config.max_intent_chars)
        if not any(start < hole.stop and hole.start < stop for start, stop in secrets)
    ]
    chosen: list[Hole] = []
    for count in range(1 + int(draws.unit("work holes", file.pseudonym, number) * MOST_HOLES)):
        kind = weighted(draws.unit("work kind", file.pseudonym, number, count), HOLES)
        free = [hole for hole in found if all(_apart(hole, other) for other in chosen)]
        pool = [hole for hole in free if hole.kind is kind] or free
        if pool:
            chosen.append(pool[int(draws.unit("work hole", file.pseudonym, number, count) * len(pool))])
    chosen.sort(key=lambda hole: hole.start)
    return [
        WorkItem(
            key=f"{number}:{count}:{file.pseudonym}",
            session=0,
            visit=visits,
            file=file.pseudonym,
            repository=file.repository,
            language=file.language,
            kind=_kind_of(hole, text, file),
            before=text[: hole.start],
            removed="",
            intent=text[hole.start : hole.stop],
            after=_without(text, hole.stop, chosen[count + 1 :]),
        )
        for count, hole in enumerate(chosen)
    ]


def _kind_of(hole: Hole, text: str, file: SourceFile) -> ItemKind:
    if is_test(file.path):
        return ItemKind.TEST
    if only_imports(text[hole.start : hole.stop], file.language):
        return ItemKind.IMPORT
    return ItemKind.BODY if hole.kind is HoleKind.BODY else ItemKind.BLOCK


def _apart(one: Hole, other: Hole) -> bool:
    return one.stop < other.start or other.stop < one.start


def _without(text: str, start: int, later: Sequence[Hole]) -> str:
    """`text[start:]` with the holes `later` left out."""
    parts = []
    for hole in later:
        parts.append(text[start : hole.start])
        start = hole.stop
    return "".join([*parts, text[start:]])
