"""Counts of a developer's tally that guardrails need, against the truth events of the same work."""

import functools
from collections import Counter

import pytest

from echo_ray.experiment.lengths import EDGES, LENGTHS, length_of
from simulator import doubles, engines
from simulator.config import SimulateConfig
from simulator.desk.developer import Developer
from simulator.rules.policies import named
from simulator.steps import Ask
from simulator.truth import TruthKind
from simulator.work.plan import plan
from simulator.work.sources import load

CONFIG = SimulateConfig(sources=["json", "email"], active_minutes=20)
USERS = [f"t{number:05d}" for number in range(4)]


class Leaky:
    """Right and wrong answers of many lengths, some silent, every eleventh with a token of a model."""

    name = version = "leaky"

    def complete(self, ask: Ask) -> str | None:
        kind = len(ask.prefix) % 11
        if kind == 0:
            return "value<|fim_middle|>"
        if kind < 3:
            return ""
        return engines.oracle_long(ask) if kind < 6 else engines.oracle(ask) if kind < 9 else "return other"


@functools.cache
def corpus():
    return load(CONFIG, "train")


@functools.cache
def driven(user):
    return doubles.drive(Developer(CONFIG, plan(CONFIG, corpus(), user), named("p1")), Leaky())


@pytest.mark.parametrize("user", USERS)
def test_a_tally_counts_what_the_truth_tells(user: str) -> None:
    done = driven(user)
    truths, tally = done.truths, done.tally
    shown, accepted = Counter(), Counter()
    for event in truths:
        if event.kind is TruthKind.EXPOSURE_END and event.detail["counted"]:
            shown[length_of(event.detail["chars"])] += 1
            accepted[length_of(event.detail["chars"])] += event.detail["how"] == "accepted"
    assert dict(shown) == tally.shown_by_length
    assert {name: count for name, count in accepted.items() if count} == tally.accepted_by_length
    assert tally.shown_750 == sum(tally.shown_by_length.values())
    assert tally.accepted == sum(tally.accepted_by_length.values())
    answers = {e.detail["request_id"]: e.detail["chars"] for e in truths if e.kind is TruthKind.RESPONSE}
    voids = [
        answers[event.detail["request_id"]]
        for event in truths
        if event.kind is TruthKind.REQUEST
        and event.detail["judging"]
        and event.detail["request_id"] in answers
        and not event.detail["intent"].strip()
    ]
    assert (len(voids), voids.count(0)) == (tally.voids, tally.silent_voids)
    assert 0 <= tally.leaks <= tally.answered


def test_leaks_and_silence_where_nothing_is_left_are_met() -> None:
    tallies = [driven(user).tally for user in USERS]
    assert sum(tally.leaks for tally in tallies) > 0
    assert sum(tally.voids for tally in tallies) > sum(tally.silent_voids for tally in tallies) > 0


def test_bins_of_length_cover_every_proposal() -> None:
    assert None is length_of(0)
    for name, low, high in zip(LENGTHS, EDGES, [*EDGES[1:], 10_000], strict=True):
        assert {name} == {length_of(int(low)), length_of(int(high) - 1)}
