"""Better text, shorter text or rarer text? Per-proposal rows, and AR at equal lengths. Pure.

Short proposals are accepted more often, so a model that only says less wins acceptance rate. The
length-matched difference compares like with like: within bins of proposal length that both arms have,
weighted by the bins' shares of all proposals shown (direct standardisation, Kitagawa 1955):
`R_k = sum_b w_b Y_kb / N_kb`. What is left of the plain difference is the part that lengths explain.

Standard error: each user's linearised share `z_i = sum_b w_b (Y_ib - R_kb N_ib) / mean(N_kb)`, weights
taken as fixed, then Welch or twins as everywhere. What a bin holds is chosen by the model, so matching is a
description of the difference, not a second experiment: the causal answer is the plain difference together
with retained characters and exposures. Not covered: matching on several properties at once, though `chars`
may hold any number by which to match.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from echo_ray import metrics
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.experiment.estimates import NOWHERE, Array, Interval, judged
from echo_ray.experiment.flags import Limits, too_fast
from echo_ray.experiment.lengths import EDGES

LEAST_SHOWN = 30
"""Proposals that both arms must have shown in a bin to be compared there (our choice)."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """Proposals that were shown in one arm, a row each; all columns have one length."""

    users: Sequence[str]
    chars: Array
    """Length of the proposal (characters)."""
    accepted: Array
    """1.0 or 0.0."""
    visible_ms: Array | None = None
    """Time on the screen; NaN where it is not known."""
    retained_chars: Array | None = None
    """Accepted characters that outlived the work."""

    def __post_init__(self) -> None:
        columns = (self.chars, self.accepted, self.visible_ms, self.retained_chars)
        sizes = {len(self.users), *(len(column) for column in columns if column is not None)}
        if len(sizes) != 1:
            raise SchemaError(f"columns of proposals differ in length: {sorted(sizes)}")
        if not np.all(np.isfinite(self.chars)) or not np.all(np.isin(self.accepted, (0.0, 1.0))):
            raise SchemaError("proposals need a finite length each, and accepted is 0 or 1")


@dataclass(frozen=True, slots=True)
class Bin:
    """One length bin."""

    low: float
    """Characters, included."""
    high: float | None
    """Characters, excluded; None: open."""
    shown: tuple[int, int]
    """Control, treatment."""
    rates: tuple[float | None, float | None]
    weight: float
    """Share of the matched comparison; 0 where the bin is not common to both arms."""


@dataclass(frozen=True, slots=True)
class Matched:
    """Treatment minus control at equal lengths."""

    estimate: float | None
    ci95: Interval = NOWHERE
    p_value: float | None = None
    se: float | None = None
    plain: float | None = None
    """The difference over all proposals."""
    explained: float | None = None
    """What of it lengths explain: plain - estimate; bins that were left out are in it too."""
    covered: tuple[float, float] = (0.0, 0.0)
    """Share of each arm's proposals that lie in common bins."""
    bins: tuple[Bin, ...] = ()
    reason: str | None = None


def tallies(
    proposals: Proposals, users: Sequence[str] | None = None, limits: Limits | None = None
) -> dict[str, Array]:
    """Counts per user, in the order of `users` (None: all that occur, sorted).

    `shown`, `accepted`, `shown_chars`, `accepted_chars`; with their columns `retained_chars`, and
    `timed_accepted` and `fast_accepted` (`echo_ray.experiment.flags`).
    """
    everyone, rows = _rows(proposals, users)
    took = proposals.accepted

    def total(values: Array) -> Array:
        return np.bincount(rows, values, minlength=len(everyone)).astype(np.float64)

    found = {
        "shown": total(np.ones_like(took)),
        "accepted": total(took),
        "shown_chars": total(proposals.chars),
        "accepted_chars": total(took * proposals.chars),
    }
    if proposals.retained_chars is not None:
        found["retained_chars"] = total(proposals.retained_chars)
    if proposals.visible_ms is not None:
        timed = took * np.isfinite(proposals.visible_ms)
        found["timed_accepted"] = total(timed)
        found["fast_accepted"] = total(timed * too_fast(proposals.visible_ms, proposals.chars, limits))
    return found


def length_matched(
    control: Proposals,
    treatment: Proposals,
    *,
    paired: bool,
    edges: Sequence[float] = EDGES,
    users: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Matched:
    """Acceptance rate of treatment minus control within length bins that both have.

    `users`: everyone of either arm, also who was shown nothing; None: who occurs, for twins in either arm.
    Raises ConfigError for edges that do not rise.
    """
    if len(edges) == 0 or np.any(np.diff(edges) <= 0):
        raise ConfigError(f"length bins {list(edges)} do not rise: set experiment.length_edges")
    if users is None:
        own = tuple(sorted(set(arm.users)) for arm in (control, treatment))
        both = sorted({*own[0], *own[1]})
        users = (both, both) if paired else (own[0], own[1])
    if paired and list(users[0]) != list(users[1]):
        raise SchemaError("twins need the same users in both arms, in the same order")
    if not (len(control.users) and len(treatment.users)):
        return Matched(None, reason="an arm has shown no proposal")
    every = tuple(np.array([[arm.accepted.sum()], [float(len(arm.users))]]) for arm in (control, treatment))
    tables = (_table(control, users[0], edges), _table(treatment, users[1], edges))
    return matched(tables[0], tables[1], (every[0], every[1]), paired=paired, edges=edges)


def matched(
    control: tuple[Array, Array],
    treatment: tuple[Array, Array],
    every: tuple[Array, Array],
    *,
    paired: bool,
    edges: Sequence[float] = EDGES,
) -> Matched:
    """`length_matched` from counts: (accepted, shown) of an arm, each (bins, users), twins in one order.

    `every`: (2, any) accepted and shown of control and treatment over all proposals, also those in no bin.
    """
    (y_c, n_c), (y_t, n_t) = control, treatment
    (took_c, all_c), (took_t, all_t) = (arm.sum(axis=1).tolist() for arm in every)
    if not (all_c and all_t):
        return Matched(None, reason="an arm has shown no proposal")
    shown = np.array([n_c.sum(axis=1), n_t.sum(axis=1)])  # (arm, bin)
    common = (shown >= LEAST_SHOWN).all(axis=0)
    weights = np.where(common, shown.sum(axis=0), 0.0)
    plain = took_t / all_t - took_c / all_c
    if not common.any():
        empty = _bins(edges, (y_c, y_t), shown, weights)
        return Matched(None, plain=plain, bins=empty, reason="no length bin is common to both arms")
    weights = weights / weights.sum()
    found = []
    for y, n in ((y_c, n_c), (y_t, n_t)):
        rates, shares = metrics.influence(y[common], n[common])
        found.append((float(weights[common] @ rates), weights[common] @ shares))
    (rate_c, z_c), (rate_t, z_t) = found
    bins = _bins(edges, (y_c, y_t), shown, weights)
    covered = shown[:, common].sum(axis=1) / (all_c, all_t)
    gap = rate_t - rate_c
    if min(z_c.size, z_t.size) < 2:
        found_gap = judged(gap, float("nan"), 0.0)
    else:
        se, freedom = metrics.standard_error(z_c, z_t, paired=paired)
        found_gap = judged(gap, float(se), float(freedom))
    return Matched(
        found_gap.estimate,
        found_gap.ci95,
        found_gap.p_value,
        found_gap.se,
        plain,
        plain - gap,
        (float(covered[0]), float(covered[1])),
        bins,
        found_gap.reason,
    )


def _rows(proposals: Proposals, users: Sequence[str] | None) -> tuple[list[str], np.ndarray]:
    everyone = sorted(set(proposals.users)) if users is None else list(users)
    place = {user: number for number, user in enumerate(everyone)}
    stranger = next((user for user in proposals.users if user not in place), None)
    if stranger is not None:
        raise SchemaError(f"a proposal was shown to {stranger!r}, who is not among the users of its arm")
    return everyone, np.array([place[user] for user in proposals.users], dtype=np.int64)


def _table(proposals: Proposals, users: Sequence[str], edges: Sequence[float]) -> tuple[Array, Array]:
    """(accepted, shown), each (bins, users)."""
    everyone, rows = _rows(proposals, users)
    which = np.searchsorted(np.asarray(edges), proposals.chars, side="right") - 1
    inside = which >= 0
    cells = which[inside] * len(everyone) + rows[inside]
    size = len(edges) * len(everyone)
    shape = (len(edges), len(everyone))
    accepted = np.bincount(cells, proposals.accepted[inside], minlength=size).astype(np.float64)
    return accepted.reshape(shape), np.bincount(cells, minlength=size).reshape(shape).astype(np.float64)


def _bins(
    edges: Sequence[float], accepted: tuple[Array, Array], shown: Array, weights: Array
) -> tuple[Bin, ...]:
    highs = [*map(float, edges[1:]), None]
    sums = [table.sum(axis=1) for table in accepted]
    result = []
    for b, low in enumerate(edges):
        pair = [float(sums[k][b] / shown[k][b]) if shown[k][b] else None for k in (0, 1)]
        counts = (int(shown[0][b]), int(shown[1][b]))
        result.append(Bin(float(low), highs[b], counts, (pair[0], pair[1]), float(weights[b])))
    return tuple(result)
