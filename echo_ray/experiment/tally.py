"""Counts per user of a served A/B, from requests without texts (`exposures.ROWS`) and events. Pure.

Definitions are those of `echo_ray.metrics`: AR's denominator is `is_shown`, GR counts characters. A user with
an event about any of their requests is believed (`Acceptance.AUTO`), for everybody else acceptance is what
the stream shows, pre-period and experiment by themselves; the agreement of the two is counted wherever both
speak. Typed characters and active time always come from the stream.

Nothing disappears: every row read is counted in an arm, before its start, or under a reason; every event is
used or under a reason. A user counts in the arm that answered, so one who met both is in both arms and the
analysis flags them. Users with nothing but warm-ups are there with zeros: they were assigned.

A call takes every row and event of its users; `merged` puts disjoint users together. Memory follows users,
not requests. Not covered: opportunities at which the client did not ask; the log never sees them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from echo_ray.experiment import exposures
from echo_ray.experiment.arm_facts import ArmFacts, facts_of
from echo_ray.experiment.exposures import Exposures, Ints
from echo_ray.experiment.flags import Limits, too_fast
from echo_ray.experiment.lengths import EDGES, LENGTHS
from echo_ray.schema import Kind

SNAPSHOT = "snap-"
"""How ids of documents begin that an editor sent between two requests: nobody asked."""
BREAK_MS = 900_000
"""A pause from which nobody is at work (15 minutes, as in the simulator's tallies)."""
COUNTS = (
    *("requests", "cancelled", "delivered", "answered", "silent", "unanswered", "leaks"),
    *("shown", "accepted", "partial", "shown_chars", "accepted_chars", "typed_chars", "pasted_chars"),
    *("retainable_chars", "retained_chars", "active_s", "sessions", "timed_accepted", "fast_accepted"),
    *(f"{what}_from_{low}" for what in ("shown", "accepted") for low in LENGTHS),
)
"""Counts of a user. `cancelled`: never delivered, so given up before the answer; `silent`: delivered without
text; `unanswered`: delivered, and no answer. `retained_chars`: of `retainable_chars`, which are accepted
characters whose gap was seen again, those that were still there when it closed."""
GROUPED = ("shown", "accepted", "partial", "accepted_chars", "typed_chars", "requests")
"""Counts that are also kept by language."""


class Acceptance(StrEnum):
    """Whose word counts."""

    AUTO = "auto"
    EVENTS = "events"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared. Times are UTC milliseconds."""

    control: str
    treatment: str
    start_ms: int | None = None
    """Requests before it are the pre-period, whatever arm they name."""
    end_ms: int | None = None
    acceptance: Acceptance = Acceptance.AUTO
    limits: Limits = field(default_factory=Limits)


@dataclass(slots=True)
class Tallies:
    """Counts of disjoint users."""

    users: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    """By arm and user."""
    before: dict[str, dict[str, float]] = field(default_factory=dict)
    """By user, the pre-period; of users who are in an arm."""
    languages: dict[tuple[str, str, str], dict[str, float]] = field(default_factory=dict)
    """By arm, language and user (`GROUPED`)."""
    arms: dict[str, ArmFacts] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    """Rows read: `counted`, `before_start`, or a reason."""
    events: Counter[str] = field(default_factory=Counter)
    """Events read: `used`, or a reason."""


def tally(rows: pa.Table, events: pa.Table, plan: Plan) -> Tallies:
    """Counts of the users in `rows` (`exposures.ROWS`), who have all their rows and `events` here."""
    found = Tallies(arms={plan.control: ArmFacts(), plan.treatment: ArmFacts()})
    told = exposures.reported(rows, events)
    found.events.update(told.reasons)
    if not rows.num_rows:
        return found
    group, fate = _fates(rows, plan)
    names, sizes = np.unique(fate, return_counts=True)
    found.rows.update({FATES[name]: int(size) for name, size in zip(names, sizes, strict=True)})
    inside = np.isin(fate, (_COUNTED, _BEFORE))
    found.events += Counter(
        used=int(told.used[inside].sum()), event_of_excluded_request=int(told.used[~inside].sum())
    )
    # A client may begin or cease to report when it is updated, so the pre-period says nothing of the rest.
    span = 2 * _coded(rows["user"])[1] + (group == _EARLY)
    reports, shows = (np.bincount(span, told.by_row[name])[span] > 0 for name in ("any", "show"))
    stream, client = exposures.by_stream(rows), exposures.by_events(rows, told, shows)
    heard = reports
    if plan.acceptance is not Acceptance.AUTO:
        heard = np.full(len(reports), plan.acceptance is Acceptance.EVENTS)
    counts = _counts(rows, exposures.chosen(heard, client, stream), fate, plan.limits)
    _sum_up(found, rows, group, fate, counts, plan)
    for number, name in enumerate((plan.control, plan.treatment)):
        mine = (group == number) & (fate == _COUNTED)
        found.arms[name] = facts_of(rows, mine, heard, reports, client, stream)
    return found


def merged(parts: Iterable[Tallies]) -> Tallies:
    """Tallies of disjoint users as one."""
    whole = Tallies()
    for part in parts:
        whole.users |= part.users
        whole.before |= part.before
        whole.languages |= part.languages
        whole.rows.update(part.rows)
        whole.events.update(part.events)
        for name, facts in part.arms.items():
            whole.arms.setdefault(name, ArmFacts()).add(facts)
    return whole


FATES = (
    *("counted", "before_start", "before_start_of_others", "after_end", "no_arm", "other_arm"),
    *("speculative", "warm_up", "snapshot"),
)
"""What becomes of a row. Typed characters and active time of `snapshot` rows count: they are no requests, and
people typed before them."""
_COUNTED, _BEFORE, _OTHERS, _LATE, _NO_ARM, _OTHER_ARM, _SPECULATIVE, _WARM_UP, _SNAPSHOT = range(len(FATES))
_EARLY, _NOWHERE = 2, 3  # groups besides the arms 0 and 1


def _fates(rows: pa.Table, plan: Plan) -> tuple[Ints, Ints]:
    """(group, place in `FATES`) of each row; groups: control, treatment, pre-period, nowhere."""
    ts_ms = rows["ts_ms"].to_numpy()
    arm = pc.fill_null(rows["arm"], "")
    group = np.full(rows.num_rows, _NOWHERE)
    fate = np.full(rows.num_rows, _OTHER_ARM)
    fate[pc.equal(arm, "").to_numpy()] = _NO_ARM
    for number, name in enumerate((plan.control, plan.treatment)):
        mine = pc.equal(arm, name).to_numpy()
        group[mine], fate[mine] = number, _COUNTED
    if plan.end_ms is not None:
        late = ts_ms >= plan.end_ms
        group[late], fate[late] = _NOWHERE, _LATE
    if plan.start_ms is not None:
        early = ts_ms < plan.start_ms
        group[early] = _NOWHERE
        there = pc.unique(rows["user"].filter(pa.array(group < _EARLY)))
        known = pc.is_in(rows["user"], there).to_numpy()
        group[early & known], fate[early] = _EARLY, np.where(known[early], _BEFORE, _OTHERS)
    ours = np.isin(fate, (_COUNTED, _BEFORE))
    fate[ours & pc.starts_with(rows["request_id"], SNAPSHOT).to_numpy()] = _SNAPSHOT
    fate[ours & pc.equal(rows["kind"], Kind.SPECULATIVE.value).to_numpy()] = _SPECULATIVE
    fate[ours & pc.equal(rows["kind"], Kind.WARMUP.value).to_numpy()] = _WARM_UP
    return group, fate


def _counts(rows: pa.Table, seen: Exposures, fate: Ints, limits: Limits) -> dict[str, np.ndarray]:
    """Every count of `COUNTS` but `sessions` by row; rows that do not count are all 0."""
    asked, timeline = np.isin(fate, (_COUNTED, _BEFORE)), np.isin(fate, (_COUNTED, _BEFORE, _SNAPSHOT))
    delivered = exposures.flags_of(rows["delivered"])
    chars = exposures.ints_of(rows["proposal_chars"])
    answer = pc.is_valid(rows["proposal_chars"]).to_numpy() & delivered
    silent = answer & (exposures.flags_of(rows["blank"]) | (chars == 0))
    pause_ms = exposures.ints_of(rows["pause_ms"])
    took = seen.accepted | seen.partial
    known = pc.is_valid(rows["kept_chars"]).to_numpy() & took
    kept = np.minimum(exposures.ints_of(rows["kept_chars"]), seen.accepted_chars)
    timed = seen.accepted & np.isfinite(seen.visible_ms)
    counts: dict[str, np.ndarray] = {
        "requests": np.ones(len(fate)),
        "cancelled": ~delivered,
        "delivered": delivered,
        "answered": answer & ~silent,
        "silent": silent,
        "unanswered": delivered & ~answer,
        "leaks": answer & exposures.flags_of(rows["leak"]),
        "shown": seen.shown,
        "accepted": seen.accepted,
        "partial": seen.partial,
        "shown_chars": np.where(seen.shown, chars, 0),
        "accepted_chars": seen.accepted_chars,
        "retainable_chars": np.where(known, seen.accepted_chars, 0),
        "retained_chars": np.where(known, np.maximum(kept, 0), 0),
        "timed_accepted": timed,
        "fast_accepted": timed & too_fast(seen.visible_ms, chars.astype(np.float64), limits),
    }
    place = np.searchsorted(np.asarray(EDGES), chars, side="right") - 1
    for number, low in enumerate(LENGTHS):
        counts[f"shown_from_{low}"] = seen.shown & (place == number)
        counts[f"accepted_from_{low}"] = seen.accepted & (place == number)
    counts = {name: np.where(asked, values, 0) for name, values in counts.items()}
    counts |= {
        name: np.where(timeline, exposures.ints_of(rows[name]), 0) for name in ("typed_chars", "pasted_chars")
    }
    counts["active_s"] = np.where(timeline & (pause_ms > 0) & (pause_ms < BREAK_MS), pause_ms / 1000, 0.0)
    return counts


def _sum_up(
    found: Tallies, rows: pa.Table, group: Ints, fate: Ints, counts: Mapping[str, np.ndarray], plan: Plan
) -> None:
    users, user = _coded(rows["user"])
    languages, language = _coded(pc.fill_null(rows["language"], "plaintext"))
    _, session = _coded(rows["session"])
    cell = group * len(users) + user
    first = np.zeros(len(cell))
    asked = np.flatnonzero(np.isin(fate, (_COUNTED, _BEFORE)))
    _, begins = np.unique(cell[asked] * (session.max() + 1) + session[asked], return_index=True)
    first[asked[begins]] = 1
    every: dict[str, np.ndarray] = {**counts, "sessions": first}
    sums = {name: np.bincount(cell, every[name], minlength=4 * len(users)) for name in COUNTS}
    arms = (plan.control, plan.treatment)
    for at in np.unique(cell[group < _NOWHERE]).tolist():
        where, who = divmod(at, len(users))
        row = {name: float(values[at]) for name, values in sums.items()}
        if where == _EARLY:
            found.before[users[who]] = row
        else:
            found.users[arms[where], users[who]] = row
    split = cell * len(languages) + language
    wanted = np.flatnonzero((group < _EARLY) & np.isin(fate, (_COUNTED, _SNAPSHOT)))
    there, back = np.unique(split[wanted], return_inverse=True)
    parts = {name: np.bincount(back, counts[name][wanted], minlength=len(there)) for name in GROUPED}
    for n, at in enumerate(there.tolist()):
        rest, spoken = divmod(at, len(languages))
        where, who = divmod(rest, len(users))
        row = {name: float(values[n]) for name, values in parts.items()}
        found.languages[arms[where], languages[spoken], users[who]] = row


def _coded(column: pa.ChunkedArray) -> tuple[list[Any], Ints]:
    """(distinct values, place of each row's)."""
    found = column.combine_chunks().dictionary_encode()
    return found.dictionary.to_pylist(), found.indices.to_numpy().astype(np.int64)
