"""The rule by which experiments are judged: every branch, guardrails, and what it must never do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.experiment.decision import (
    GUARDRAILS,
    MIN_SHOWN,
    MIN_USERS,
    SAMPLE_RATIO,
    Outcome,
    State,
    decide,
    state,
)

ARMS = ({"users": 50, "shown": 5000}, {"users": 50, "shown": 5000})


def number(low, high, estimate=None, permutation=0.01, boot=None):
    middle = None if low is None else (low + high) / 2
    return {
        "estimate": middle if estimate is None else estimate,
        "ci95": [low, high],
        "bootstrap_ci95": list(boot or (low, high)),
        "permutation_p": permutation,
    }


UP, DOWN, SAME = number(0.01, 0.05), number(-0.05, -0.02), number(-0.005, 0.005)
WIDE = number(-0.02, 0.02)


@pytest.mark.parametrize(
    ("acceptance", "generation", "more", "outcome", "unmet"),
    [
        (UP, SAME, {}, Outcome.IMPROVED, ()),
        (UP, UP, {}, Outcome.IMPROVED, ()),
        (UP, WIDE, {}, Outcome.MIXED, ("generation_rate_loss_not_ruled_out",)),
        (UP, DOWN, {}, Outcome.MIXED, ("generation_rate_fell",)),
        (UP, SAME, {"time_saved": SAME}, Outcome.MIXED, ("time_saved_not_above_zero",)),
        (UP, SAME, {"time_saved": UP}, Outcome.IMPROVED, ()),
        (UP, SAME, {"abandoned_rate": number(0.02, 0.03)}, Outcome.MIXED, ("abandoned_rate_broken",)),
        (UP, SAME, {"abandoned_rate": number(0.005, 0.02)}, Outcome.IMPROVED, ()),
        (UP, SAME, {"retained_share": number(-0.05, -0.03)}, Outcome.MIXED, ("retained_share_broken",)),
        (number(0.01, 0.05, permutation=0.2), SAME, {}, Outcome.NO_CHANGE, ()),
        (number(0.01, 0.05, boot=(-0.01, 0.05)), SAME, {}, Outcome.NO_CHANGE, ()),
        (SAME, UP, {}, Outcome.NO_CHANGE, ()),
        (SAME, DOWN, {}, Outcome.WORSE, ()),
        (DOWN, UP, {}, Outcome.MIXED, ()),
        (DOWN, SAME, {}, Outcome.WORSE, ()),
        (number(None, None, 0.0), number(None, None, 0.0), {}, Outcome.NO_CHANGE, ()),
    ],
)
def test_every_branch(acceptance, generation, more, outcome, unmet):
    found = decide(
        ARMS, {"acceptance_rate": acceptance, "generation_rate": generation} | more, guardrails=GUARDRAILS
    )
    assert (outcome, unmet) == (found.outcome, found.unmet)
    assert found.ship == (outcome is Outcome.IMPROVED)


@pytest.mark.parametrize(
    ("metric", "difference", "expected"),
    [
        ("abandoned_rate", None, State.UNKNOWN),
        ("abandoned_rate", number(None, None, 0.0), State.HELD),
        ("abandoned_rate", number(None, None, 0.5), State.UNKNOWN),
        ("abandoned_rate", number(None, None, 0.5) | {"se": 0.0}, State.BROKEN),
        ("abandoned_rate", number(None, None, -0.5) | {"se": 0.0}, State.HELD),
        ("abandoned_rate", number(-0.3, -0.2), State.HELD),
        ("abandoned_rate", number(-0.01, 0.0099), State.HELD),
        ("abandoned_rate", number(-0.01, 0.011), State.OPEN),
        ("abandoned_rate", number(0.011, 0.02), State.BROKEN),
        ("retained_share", number(0.1, 0.2), State.HELD),
        ("retained_share", number(-0.021, 0.3), State.OPEN),
        ("retained_share", number(-0.04, -0.021), State.BROKEN),
    ],
)
def test_guardrails_stand_by_their_interval(metric, difference, expected):
    guardrail = next(one for one in GUARDRAILS if one.metric == metric)
    assert expected is state(guardrail, difference)


ENDS = st.tuples(st.floats(-0.2, 0.2), st.floats(0, 0.2)).map(lambda pair: number(pair[0], sum(pair)))


@given(ENDS, ENDS, st.integers(0, 20), st.integers(0, 300), st.booleans())
def test_nothing_ships_without_users_or_on_a_mismatch(acceptance, generation, users, shown, mismatch):
    arms = ({"users": users, "shown": shown}, ARMS[1])
    invalid = [SAMPLE_RATIO] if mismatch else []
    found = decide(arms, {"acceptance_rate": acceptance, "generation_rate": generation}, invalid=invalid)
    assert tuple(invalid) == found.invalid
    if mismatch:
        assert Outcome.NO_CLAIM is found.outcome
    elif users < MIN_USERS or shown < MIN_SHOWN:
        assert Outcome.TOO_FEW_DATA is found.outcome
    assert not (found.ship and (mismatch or users < MIN_USERS or shown < MIN_SHOWN))
    if found.ship:
        assert acceptance["ci95"][0] > 0
        assert generation["ci95"][0] > -0.01


@given(ENDS, ENDS)
def test_swapped_arms_never_both_ship(acceptance, generation):
    def turned(one):
        low, high = one["ci95"]
        return number(-high, -low)

    there = {"acceptance_rate": acceptance, "generation_rate": generation}
    back = {name: turned(one) for name, one in there.items()}
    assert not (decide(ARMS, there).ship and decide(ARMS, back).ship)
