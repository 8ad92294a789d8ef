"""The decisions of `select` that need all rows: which of a gap, of a user and of near duplicates stay.

Works on the facts of all rows (`select.FACTS`), never on texts: arrays of numbers, sorted and counted.
Whoever came first is met first, whatever shard a row lies in, and draws came with the rows; so the order of
the facts changes nothing. Rules, their order and their reasons: `select`.
"""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from echo_ray.config import Config
from echo_ray.errors import SchemaError
from echo_ray.schema import Drop
from echo_ray.stages import duplicates
from echo_ray.stages.select import SelectConfig

DECISIONS = pa.schema([("sample_id", pa.string()), ("drop", pa.string()), ("twin", pa.string())])
"""Rows that are not trained on, sorted by `sample_id`."""


class Plan(Config):
    """What was decided for a data set, and the numbers behind it."""

    rows: int
    """Rows that came without a `drop`."""
    users: int
    """Users among them."""
    gaps: int
    """Gaps among the rows that rules 1 to 3 leave, those of voids apart."""
    user_cap: int | None
    """Most samples of one user, voids apart; null without users."""
    user_cap_void: int | None
    """Most voids of one user."""
    top_tenth: float
    """Share of the samples (voids left out) that the loudest tenth of the users has, after all rules."""
    twins_same_session: int
    """Near duplicates of a sample of the same session."""
    twins_same_user: int
    """Near duplicates of a sample of another session of the same user."""
    twins_other_user: int
    """Near duplicates of a sample of another user."""
    drops: dict[str, int]
    """Rows by reason."""


def decide(found: pa.Table, config: SelectConfig) -> tuple[Plan, pa.Table]:
    """(plan, DECISIONS) for a data set from the facts of all its rows, in any order.

    Raises SchemaError when two rows have the same sample id: draws and decisions are keyed by it.
    """
    # Whoever came first is met first, whatever shard a row lies in.
    order = pc.sort_indices(found, sort_keys=[("ts_ms", "ascending"), ("sample_id", "ascending")])
    found = found.take(order).combine_chunks()
    ids = found.column("sample_id")
    if len(ids.unique()) != len(ids):
        twice = next(iter(Counter(ids.to_pylist()).most_common(1)))[0]
        raise SchemaError(f"select: two rows have the sample_id {twice!r}: mine each log once")
    reasons = np.array(found.column("drop").fill_null("").to_pylist(), dtype=object)
    void = found.column("void").to_numpy()
    draw = found.column("draw").to_numpy()
    # A void and a statement that end in the same place are two gaps.
    gap = _codes(found.column("gap").to_numpy() * np.uint64(2) + void)
    users = found.column("user")
    user = users.combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy()
    left = np.flatnonzero(reasons == "")
    gaps = len(np.unique(gap[left]))
    _cut(reasons, Drop.SELECT_GAP, left, gap[left], draw[left], config.per_gap)
    caps: list[int | None] = []
    for kind in (False, True):
        left = np.flatnonzero((reasons == "") & (void == kind) & (user >= 0))
        caps.append(cap(np.unique(user[left], return_counts=True)[1], config))
        if caps[-1] is not None:
            _cut(reasons, Drop.SELECT_USER, left, user[left], draw[left], caps[-1])
    twin = np.full(len(reasons), -1, np.int64)
    if config.duplicates:
        left = np.flatnonzero(reasons == "")
        marks = np.frombuffer(b"".join(found.column("marks").take(left).to_pylist()), np.uint8)
        marks = marks.reshape(-1, duplicates.SIGNATURE_BYTES)
        exact = _codes(found.column("exact").to_numpy()[left])
        twin[left] = _twins(marks, void[left], exact, gap[left], left, config.similarity)
        reasons[twin >= 0] = Drop.SELECT_DUPLICATE.value
    session = found.column("session").to_numpy()
    twins = np.flatnonzero(twin >= 0)
    same_session = session[twins] == session[twin[twins]]
    same_user = (user[twins] == user[twin[twins]]) & ~same_session
    kept = np.unique(user[(reasons == "") & ~void & (user >= 0)], return_counts=True)[1]
    plan = Plan(
        rows=len(reasons),
        users=len(np.unique(user[user >= 0])),
        gaps=gaps,
        user_cap=caps[0],
        user_cap_void=caps[1],
        top_tenth=round(_top(kept), 4),
        twins_same_session=int(same_session.sum()),
        twins_same_user=int(same_user.sum()),
        twins_other_user=int(len(twins) - same_session.sum() - same_user.sum()),
        drops=dict(sorted(Counter(reason for reason in reasons.tolist() if reason).items())),
    )
    gone = np.flatnonzero(reasons != "")
    names = ids.take(pa.array(np.maximum(twin[gone], 0))).to_pylist()
    decisions = pa.table(
        [
            pa.array(ids.take(pa.array(gone)).to_pylist(), pa.string()),
            pa.array(reasons[gone].tolist(), pa.string()),
            pa.array([n if t >= 0 else None for n, t in zip(names, twin[gone], strict=True)], pa.string()),
        ],
        schema=DECISIONS,
    )
    return plan, decisions.sort_by("sample_id")


def cap(counts: npt.NDArray[np.int64], config: SelectConfig) -> int | None:
    """Most samples of one user, from every user's count; None without users."""
    if not len(counts):
        return None
    return max(config.user_floor, int(config.max_user_factor * float(np.median(counts))))


def _codes(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Small numbers for `hashes`, equal where they are equal, rising with their first place."""
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _cut(
    reasons: npt.NDArray[Any],
    drop: Drop,
    left: npt.NDArray[np.int64],
    group: npt.NDArray[np.int64],
    draw: npt.NDArray[np.float64],
    most: int,
) -> None:
    """Give `drop` to the rows `left` beyond the `most` of their group with the smallest draws."""
    order = np.lexsort((left, draw, group))
    ordered = group[order]
    begins = np.ones(len(order), bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    rank = np.arange(len(order)) - np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
    reasons[left[order[rank >= most]]] = drop.value


def _twins(
    marks: npt.NDArray[np.uint8],
    void: npt.NDArray[np.bool_],
    exact: npt.NDArray[np.int64],
    gap: npt.NDArray[np.int64],
    left: npt.NDArray[np.int64],
    similarity: float,
) -> npt.NDArray[np.int64]:
    """Row (as `left` numbers them) that each row is a near duplicate of; -1 for those that stay."""
    if not len(left):
        return np.empty(0, np.int64)
    first = np.full(exact.max() + 1, -1, np.int64)
    first[exact[::-1]] = np.arange(len(exact))[::-1]
    single = np.flatnonzero(first[exact] == np.arange(len(exact)))  # one of each text is compared further
    found = duplicates.alike(marks[single], void[single], similarity)
    equal = np.flatnonzero(first[exact] != np.arange(len(exact)))
    edges = duplicates.Edges(
        np.concatenate([single[found.later], equal]),
        np.concatenate([single[found.earlier], first[exact[equal]]]),
    )
    leader = np.full(gap.max() + 1, -1, np.int64)
    for number, (_, earlier) in duplicates.leaders(edges, gap).items():
        leader[number] = left[earlier]
    return leader[gap]


def _top(counts: npt.NDArray[np.int64]) -> float:
    """Share that the largest tenth of `counts` holds; 0 of nothing."""
    most = np.sort(counts)[::-1][: max(1, len(counts) // 10)]
    return float(most.sum() / counts.sum()) if len(counts) else 0.0
