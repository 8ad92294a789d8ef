"""Counts of a served A/B: against an oracle in plain Python, and the accounts of every row and event."""

import dataclasses
import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import metrics, schema
from echo_ray.experiment.arm_facts import LATENCY_MS, quantile_ms
from echo_ray.experiment.exposures import ROWS
from echo_ray.experiment.flags import Limits
from echo_ray.experiment.tally import COUNTS, Acceptance, Plan, merged, tally

KINDS = ("automatic", "automatic", "manual", "speculative", "warmup")
USERS = ("ann", "bob", "zoë")
ARMS = ("old", "new", "third", "", None)
MS = st.integers(0, 4000)


@st.composite
def logs(draw):
    """(rows, events) of a few users, hostile ones among them."""
    rows = []
    for number in range(draw(st.integers(0, 12))):
        chars = draw(st.one_of(st.none(), st.integers(0, 60)))
        taken = draw(st.integers(0, chars or 0))
        rows.append(
            {
                "user": draw(st.sampled_from(USERS)),
                "session": draw(st.sampled_from("st")),
                "request_id": draw(st.sampled_from(("", "snap-"))) + str(draw(st.integers(0, 15))),
                "ts_ms": draw(st.integers(0, 100)),
                "arm": draw(st.sampled_from(ARMS)),
                "model": draw(st.sampled_from((None, "m"))),
                "client": None,
                "language": draw(st.sampled_from((None, "python", "go"))),
                "kind": draw(st.sampled_from(KINDS)),
                "delivered": draw(st.booleans()),
                "proposal_chars": chars,
                "blank": chars is None or chars == 0 or draw(st.booleans()),
                "leak": draw(st.booleans()),
                "latency_ms": draw(st.sampled_from((None, -3.0, math.nan, math.inf, 0.0, 90.0, 5000.0))),
                "pause_ms": draw(st.one_of(st.none(), MS, st.just(900_000))),
                "next_ms": draw(st.one_of(st.none(), MS)),
                "taken_chars": taken,
                "whole": draw(st.booleans()),
                "kept_chars": draw(st.one_of(st.none(), st.integers(0, 60))),
                "typed_chars": draw(st.integers(0, 9)),
                "pasted_chars": draw(st.integers(0, 9)),
                "number": number,
            }
        )
    # Most events are about a request of the log, some about none.
    about = [(row["user"], row["request_id"]) for row in rows for _ in range(3)]
    about += [(USERS[0], "lost"), ("stranger", "0"), (USERS[-1], "1")]
    events = [
        {
            **dict(zip(("user", "request_id"), draw(st.sampled_from(about)), strict=True)),
            "ts_ms": draw(st.integers(0, 3)),
            "type": draw(st.sampled_from((*schema.EventType, "unheard"))),
            "accepted_chars": draw(st.sampled_from((None, -4, 0, 3, 70, 2**62))),
            "visible_ms": draw(st.sampled_from((None, -1, 0, 749, 750, 2000))),
        }
        for _ in range(draw(st.integers(0, 12)))
    ]
    return rows, events


def tables(rows, events):
    narrow = [{name: row[name] for name in ROWS.names} for row in rows]
    return pa.Table.from_pylist(narrow, ROWS), pa.Table.from_pylist(events, schema.EVENT)


def oracle(rows, events, plan):
    """Counts by arm and user, of the pre-period by user; one row after the other."""
    inside = [r for r in rows if plan.start_ms is None or r["ts_ms"] >= plan.start_ms]
    inside = [r for r in inside if plan.end_ms is None or r["ts_ms"] < plan.end_ms]
    users, before = {}, {}
    for row in inside:
        if row["arm"] in (plan.control, plan.treatment):
            users.setdefault((row["arm"], row["user"]), Counter())
    known = {user for _, user in users}

    def early_one(row):
        return plan.start_ms is not None and row["ts_ms"] < plan.start_ms and row["user"] in known

    told, reports, shows = {}, set(), set()
    first = {}
    for row in sorted(rows, key=lambda row: row["ts_ms"]):
        first.setdefault((row["user"], row["request_id"]), row)
    for event in {tuple(event.items()): event for event in events}.values():
        row = first.get((event["user"], event["request_id"]))
        possible = 0 <= (event["accepted_chars"] or 0) < 10**8
        if row is None or not possible or event["type"] not in set(schema.EventType):
            continue
        told.setdefault(row["number"], []).append(event)
        reports.add((row["user"], early_one(row)))
        if event["type"] == "shown":
            shows.add((row["user"], early_one(row)))
    sessions = set()
    for row in rows:
        early = early_one(row)
        if early:
            counts = before.setdefault(row["user"], Counter())
        elif row in inside and (row["arm"], row["user"]) in users:
            counts = users[row["arm"], row["user"]]
        else:
            continue
        if row["kind"] in ("speculative", "warmup"):
            continue
        pause = row["pause_ms"] or 0
        counts["typed_chars"] += row["typed_chars"]
        counts["pasted_chars"] += row["pasted_chars"]
        counts["active_s"] += pause / 1000 if pause < 900_000 else 0
        if row["request_id"].startswith("snap-"):
            continue
        key = early, row["arm"] if not early else "", row["user"], row["session"]
        counts["sessions"] += key not in sessions
        sessions.add(key)
        who = row["user"], early
        one(row, told.get(row["number"], []), who in reports, who in shows, plan, counts)
    return users, before


def one(row, events, reports, shows, plan, counts):
    """A request that counts."""
    chars = row["proposal_chars"] or 0
    text = row["delivered"] and chars > 0 and not row["blank"]
    latency = row["latency_ms"] or 0
    latency = max(latency, 0) if math.isfinite(latency) else 0
    visible = None if row["next_ms"] is None else row["next_ms"] - latency
    by_events = reports if plan.acceptance == "auto" else plan.acceptance == "events"
    seen_ms = None
    if by_events:
        times = [e["visible_ms"] for e in events if e["visible_ms"] is not None and e["visible_ms"] >= 0]
        seen_ms = max(times, default=None)
        takes = [e for e in events if e["type"] in ("accepted", "partially_accepted")]
        takes = [e for e in takes if e["accepted_chars"] is None or e["accepted_chars"] > 0]
        full = any(e["type"] == "accepted" for e in takes)
        lengths = [e["accepted_chars"] for e in takes]
        whole_unknown = any(e["type"] == "accepted" and e["accepted_chars"] is None for e in takes)
        if whole_unknown or all(n is None for n in lengths):
            took = row["taken_chars"] or chars
        else:
            took = max(n for n in lengths if n is not None)
        took = took if takes else 0
        accepted, partial = full and took > 0, bool(takes) and not full and took > 0
        painted = bool(events) or (not shows and text)
        visible = visible if seen_ms is None else seen_ms
    else:
        took = row["taken_chars"] if text else 0
        accepted, partial, painted = took > 0 and row["whole"], took > 0 and not row["whole"], text
    some = accepted or partial
    shown = some or (painted and metrics.is_shown(visible, False))
    silent = row["delivered"] and row["proposal_chars"] is not None and (row["blank"] or chars == 0)
    counts["requests"] += 1
    counts["cancelled"] += not row["delivered"]
    counts["delivered"] += row["delivered"]
    counts["silent"] += silent
    counts["unanswered"] += row["delivered"] and row["proposal_chars"] is None
    counts["answered"] += row["delivered"] and row["proposal_chars"] is not None and not silent
    counts["leaks"] += row["delivered"] and row["proposal_chars"] is not None and row["leak"]
    counts["shown"] += shown
    counts["accepted"] += accepted
    counts["partial"] += partial
    counts["shown_chars"] += chars if shown else 0
    counts["accepted_chars"] += took if some else 0
    if some and row["kept_chars"] is not None:
        counts["retainable_chars"] += took
        counts["retained_chars"] += min(took, row["kept_chars"])
    if accepted and seen_ms is not None:
        counts["timed_accepted"] += 1
        counts["fast_accepted"] += seen_ms < Limits().reaction_ms + 1000 * chars / Limits().chars_per_s
    for low, high in ((1, 6), (6, 11), (11, 21), (21, 41), (41, 81), (81, 161), (161, 10**9)):
        counts[f"shown_from_{low}"] += shown and low <= chars < high
        counts[f"accepted_from_{low}"] += accepted and low <= chars < high


PLANS = st.builds(
    Plan,
    st.just("old"),
    st.just("new"),
    st.sampled_from((None, 0, 30)),
    st.sampled_from((None, 70)),
    st.sampled_from(Acceptance),
)


@settings(max_examples=300, deadline=None)
@given(logs(), PLANS)
def test_counts_are_those_of_the_oracle(log, plan):
    rows, events = log
    found = tally(*tables(rows, events), plan)
    users, before = oracle(rows, events, plan)
    assert users.keys() == found.users.keys()
    for key, counts in users.items():
        assert {name: pytest.approx(counts[name]) for name in COUNTS} == found.users[key]
    assert {user: dict(+counts) for user, counts in before.items() if +counts} == {
        user: pytest.approx({k: n for k, n in counts.items() if n})
        for user, counts in found.before.items()
        if any(counts.values())
    }


@settings(max_examples=200, deadline=None)
@given(logs(), PLANS, st.randoms(use_true_random=False))
def test_order_and_repeats_change_nothing_and_every_record_is_accounted_for(log, plan, random):
    rows, events = log
    rows = list({(row["user"], row["request_id"]): row for row in rows}.values())
    found = tally(*tables(rows, events), plan)
    assert len(rows) == sum(found.rows.values())
    assert len(events) == sum(found.events.values())
    assert sum(counts["requests"] for counts in found.users.values()) == found.rows["counted"]
    assert sum(counts["requests"] for counts in found.before.values()) == found.rows["before_start"]
    mixed = [*events, *events]
    random.shuffle(rows)
    random.shuffle(mixed)
    again = tally(*tables(rows, mixed), plan)
    assert found.users == again.users
    assert found.before == again.before
    assert found.languages == again.languages
    # Users are disjoint wherever they are counted.
    parts = [
        tally(*tables([r for r in rows if r["user"] == u], [e for e in events if e["user"] == u]), plan)
        for u in (*USERS, "stranger")
    ]
    whole = merged(parts)
    assert (found.users, found.before, found.languages) == (whole.users, whole.before, whole.languages)
    assert (found.rows, found.events) == (whole.rows, whole.events)
    for name in ("old", "new"):
        one, two = found.arms[name], whole.arms[name]
        assert (one.latency == two.latency).all()
        assert dataclasses.replace(one, latency=two.latency) == two


@settings(max_examples=100, deadline=None)
@given(logs(), PLANS)
def test_languages_add_up_to_the_users(log, plan):
    found = tally(*tables(*log), plan)
    sums: dict[tuple[str, str], Counter] = {}
    for (arm, _, user), counts in found.languages.items():
        sums.setdefault((arm, user), Counter()).update(counts)
    for key, counts in found.users.items():
        for name in ("shown", "accepted", "accepted_chars", "typed_chars", "requests"):
            assert counts[name] == sums.get(key, Counter())[name]


@given(st.lists(st.floats(0.2, 1e6), min_size=1, max_size=200), st.sampled_from((0.5, 0.95)))
def test_latency_quantiles_are_within_a_hundredth(values, level):
    histogram = np.bincount(np.searchsorted(LATENCY_MS, values), minlength=len(LATENCY_MS) + 1)
    exact = sorted(values)[max(0, math.ceil(level * len(values)) - 1)]
    assert quantile_ms(histogram, level) == pytest.approx(exact, rel=0.011)
