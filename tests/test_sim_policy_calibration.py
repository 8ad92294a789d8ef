import json
import math
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from simulator.rules.calibration import Decision, Rates, decisions, fit, open_loop
from simulator.truth import TruthKind


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def rates(share, decided=()):
    return Rates(share, share / (1 + share), 273.0, decided)


def loop(base, slope=1.0):
    """A closed loop whose AR answers to the shift with `slope`, and the list of shifts it was run at."""
    asked = []

    def run(shift):
        asked.append(shift)
        return rates(sigmoid(base + slope * shift))

    return run, asked


@given(st.floats(0.05, 0.6), st.floats(-0.9, 0.9), st.floats(0.3, 2.0))
def test_the_target_is_met_when_it_is_in_reach(target, needed, slope):
    base = math.log(target / (1 - target)) - slope * needed
    run, asked = loop(base, slope)
    found = fit(run, target, 0.002, max_runs=8)
    assert found.met
    assert not found.clamped
    assert abs(found.best.acceptance_rate - target) <= 0.002
    assert asked == [trial.shift for trial in found.trace]
    assert 0.0 == asked[0]
    assert found.best.generation_rate == pytest.approx(
        found.best.acceptance_rate / (1 + found.best.acceptance_rate)
    )


def test_a_logistic_loop_takes_two_runs():
    run, asked = loop(-1.5)
    found = fit(run, sigmoid(-1.1), 1e-6)
    assert 2 == len(asked)
    assert 0.4 == pytest.approx(found.shift)


def test_nothing_is_shifted_when_the_published_rule_fits():
    run, asked = loop(-1.0)
    found = fit(run, sigmoid(-1.0) + 0.01, 0.015)
    assert (0.0, True, 1) == (found.shift, found.met, len(asked))


@pytest.mark.parametrize(("base", "limit"), [(-4.0, 1.0), (3.0, -1.0)])
def test_the_shift_stops_at_its_limit_and_says_so(base, limit):
    run, asked = loop(base)
    found = fit(run, 0.25, 0.015)
    assert (limit, False, True) == (found.shift, found.met, found.clamped)
    assert max(map(abs, asked)) == 1.0
    assert 2 == len(asked)


def test_a_loop_that_does_not_answer_is_missed():
    def run(shift):
        return rates(0.4)

    found = fit(run, 0.25, 0.015)
    assert not found.met
    assert found.clamped  # it went to the limit, where AR was still too high
    assert -1.0 == min(trial.shift for trial in found.trace)
    assert 0.0 == found.shift  # all runs are as far away, so the smallest shift


def test_a_jump_over_the_target_is_missed_within_the_runs():
    asked = []

    def run(shift):
        asked.append(shift)
        return rates(0.2 if shift < 0.3 else 0.4)

    found = fit(run, 0.25, 0.015, max_runs=6)
    assert (False, False) == (found.met, found.clamped)
    assert 6 == len(asked) == len(found.trace) == len(set(asked))
    assert 0.2 == found.best.acceptance_rate  # the nearer side
    below = max(shift for shift in asked if shift < 0.3)
    assert 0.3 - below < 0.5


def test_a_loop_that_answers_the_wrong_way_round_ends():
    run, asked = loop(-2.0, slope=-1.0)
    found = fit(run, 0.25, 0.001, max_runs=6)
    assert len(asked) <= 6
    assert found.met == any(abs(trial.acceptance_rate - 0.25) <= 0.001 for trial in found.trace)


@given(st.integers(0, 10_000), st.floats(0.02, 0.9))
def test_any_monotone_steps_end_with_the_nearest_run(seed, target):
    draw = random.Random(seed)
    steps = sorted(draw.uniform(-1, 1) for _ in range(12))
    heights = sorted(draw.uniform(0.01, 0.95) for _ in range(13))
    seen = {}

    def run(shift):
        seen[shift] = heights[sum(step < shift for step in steps)]
        return rates(seen[shift])

    found = fit(run, target, 0.01, max_runs=7)
    assert len(seen) == len(found.trace) <= 7
    assert all(abs(shift) <= 1 for shift in seen)
    gaps = [abs(share - target) for share in seen.values()]
    assert min(gaps) == abs(found.best.acceptance_rate - target)
    assert found.met == (min(gaps) <= 0.01)
    if found.clamped:
        assert heights[-1] < target or heights[0] > target


def test_the_first_guess_comes_from_the_decisions():
    decided = [Decision(math.log(p / (1 - p)), True) for p in (0.02, 0.1, 0.3, 0.9) * 50]
    asked = []

    def run(shift):
        asked.append(shift)
        return rates(sum(sigmoid(one.logit + shift) for one in decided) / len(decided), decided)

    found = fit(run, 0.4, 1e-6)
    assert [0.0, pytest.approx(open_loop(decided, 0.4))] == asked
    assert found.met


def test_open_loop_without_unseen_exposures_by_hand():
    # One class of decisions, all counted: AR is P(accept), so the shift is the difference of logits.
    assert 0.8 == pytest.approx(open_loop([Decision(-1.0, True)] * 3, sigmoid(-0.2)))
    # Rejections that vanish from the denominator: AR is 1 however low P(accept) is.
    assert open_loop([Decision(-1.0, False)], 0.999) < -7.9
    # Half of the exposures are never judged: AR is at most one half.
    never = [Decision(-math.inf, True), Decision(0.0, True)]
    assert math.log(0.4 / 0.6) == pytest.approx(open_loop(never, 0.2))
    assert open_loop(never, 0.6) > 7.9
    with pytest.raises(ValueError, match="at least one"):
        open_loop([], 0.3)


@given(
    st.lists(st.tuples(st.floats(-4, 4), st.booleans()), min_size=1, max_size=20),
    st.floats(0.1, 0.9),
)
def test_open_loop_meets_the_target_in_expectation(pairs, target):
    decided = [Decision(*pair) for pair in pairs]

    def rate(shift):
        chances = [sigmoid(one.logit + shift) for one in decided]
        shown = sum(p if not one.counted else 1.0 for p, one in zip(chances, decided, strict=True))
        return sum(chances) / shown

    assume(rate(-8) < target < rate(8))
    assert target == pytest.approx(rate(open_loop(decided, target)), abs=1e-9)


def test_decisions_are_read_from_truth():
    rows = [
        {"kind": TruthKind.SHOWN, "user": "a", "exposure": 1, "proposal": "x"},
        {"kind": TruthKind.DECISION, "user": "a", "exposure": 1, "p_accept": 0.25},
        {"kind": "decision", "user": "b", "exposure": 1, "p_accept": 0.0},
        {"kind": "exposure_end", "user": "a", "exposure": 1, "visible_ms": 750},
        {"kind": "exposure_end", "user": "b", "exposure": 1, "visible_ms": 300},
        {"kind": "exposure_end", "user": "a", "exposure": 2, "visible_ms": 900},
    ]
    found = decisions(rows)
    assert [Decision(pytest.approx(math.log(1 / 3)), True), Decision(-math.inf, True)] == [found[0], found[2]]
    assert found[1].logit < -13
    assert not found[1].counted


def test_figures_are_plain_and_tell_the_unshifted_result():
    run, _ = loop(-1.5)
    figures = json.loads(json.dumps(fit(run, 0.257, 0.005).figures()))
    assert 0.0 == figures["unshifted"]["shift"]
    assert sigmoid(-1.5) == pytest.approx(figures["unshifted"]["acceptance_rate"])
    assert 0.257 == pytest.approx(figures["calibrated"]["acceptance_rate"], abs=0.005)
    assert figures["calibrated"] in figures["trace"]
    assert figures["met"]


@pytest.mark.parametrize(
    "wrong", [{"target": 0.0}, {"target": 1.0}, {"tolerance": 0.0}, {"limit": 0.0}, {"max_runs": 0}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="fit"):
        fit(lambda shift: rates(0.3), **({"target": 0.3, "tolerance": 0.01} | wrong))
