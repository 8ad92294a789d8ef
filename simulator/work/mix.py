"""Which commits to take so that all kinds of work come in the wanted shares (section 3.2, mix [A]).

Commits are drawn with weights w = exp(lambda f), where f is how far the items of one task are from the mix:
of all weights under which the expected shares are met, those closest to equal ones (least relative entropy).
lambda is found by Newton's method on a convex function. A small penalty and a cap keep a rare kind from
putting all weight on a few commits, so the mix is met only where the repository allows.
Not covered: the mix by characters; a new file has far more of them than a changed line.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simulator.work.items import ItemKind

CLASSES = {
    ItemKind.BLOCK: 0, ItemKind.BODY: 0, ItemKind.IMPORT: 0,
    ItemKind.MODIFY: 1, ItemKind.NEW_FILE: 2, ItemKind.TEST: 3, ItemKind.DELETE: 4,
}  # fmt: skip
"""Classes of the mix. An import counts with the new code that needs it."""
TARGET = (0.45, 0.30, 0.10, 0.10, 0.05)
"""Shares of the classes among work items [A]: new function or block, modify, new file, test, delete."""
_PENALTY = 0.01
_CAP = 20.0
_STEPS = 40

Floats = NDArray[np.float64]


def shares(kinds: Sequence[ItemKind]) -> Floats:
    """Items of each class (count)."""
    counts = Counter(CLASSES[kind] for kind in kinds)
    return np.array([float(counts[number]) for number in range(len(TARGET))])


def weights(commits: Sequence[Sequence[ItemKind]], history_share: float, pieces: Floats) -> Floats:
    """Probabilities of the commits, given the kinds of the items of each.

    A task is a commit with probability `history_share`, else parts of a file, `pieces` of each class (count).
    """
    counts = np.array([shares(kinds) for kinds in commits])
    per_task = history_share * counts + (1 - history_share) * pieces
    away = per_task - per_task.sum(axis=1, keepdims=True) * np.array(TARGET)
    away /= per_task.sum(axis=1).mean()
    slope = np.zeros(len(TARGET))
    for _ in range(_STEPS):
        chances = _chances(away, slope)
        mean = chances @ away
        spread = (away * chances[:, None]).T @ away - np.outer(mean, mean)
        step = np.linalg.solve(spread + _PENALTY * np.eye(len(TARGET)), mean + _PENALTY * slope)
        slope = slope - step / max(1.0, float(np.abs(step).max()))
    return _chances(away, slope.round(6))


def _chances(away: Floats, slope: Floats) -> Floats:
    logits = away @ slope
    raw = np.exp(logits - logits.max())
    raw = np.minimum(raw / raw.sum(), _CAP / len(raw))
    chances: Floats = raw / raw.sum()
    return chances
