"""Sample ratio mismatch, power, multiplicity and the naive test against closed forms and simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from echo_ray.errors import ConfigError
from echo_ray.experiment import multiplicity, naive, power, srm
from tests.crowd import crowd


def test_srm_finds_an_arm_that_lost_one_user_in_a_hundred():
    # 1% fewer in one arm, detected with enough users and not with few.
    assert srm.check_users({"a": 500_000, "b": 495_000}).mismatch
    assert not srm.check_users({"a": 2000, "b": 1980}).mismatch
    found = srm.check_users({"a": 200_000, "b": 198_000})
    assert found.p_value == pytest.approx(stats.chisquare([200_000, 198_000]).pvalue)


def test_srm_is_quiet_when_assignment_was_right():
    random = np.random.default_rng(1)
    counts = random.multinomial(20_000, [0.1, 0.45, 0.45], 3000)
    weights = {"hold": 1, "a": 4.5, "b": 4.5}
    found = [srm.check_users(dict(zip(weights, row, strict=True)), weights) for row in counts]
    p_values = np.array([one.p_value for one in found])
    assert sum(one.mismatch for one in found) <= 5
    assert abs(np.mean(p_values <= 0.05) - 0.05) <= 0.014
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_srm_of_sessions_allows_for_their_coming_in_bundles():
    random = np.random.default_rng(2)
    clustered, plain = [], []
    for _ in range(2000):
        sessions = random.geometric(0.1, 600)
        arm = random.random(600) < 0.5
        both = {"a": sessions[arm], "b": sessions[~arm]}
        clustered.append(srm.check_sessions(both).p_value)
        plain.append(stats.chisquare([values.sum() for values in both.values()]).pvalue)
    assert abs(np.mean(np.array(clustered) <= 0.05) - 0.05) <= 0.014
    assert np.mean(np.array(plain) <= 0.05) > 0.3
    alone = {"a": np.ones(50), "b": np.ones(60)}
    assert srm.check_sessions(alone).p_value == srm.check_users({"a": 50, "b": 60}).p_value


def test_srm_refuses_what_it_cannot_judge():
    assert srm.check_users({"a": 3, "b": 4}).p_value is None
    assert srm.check_users({"a": 0, "b": 0}).p_value is None
    assert srm.check_sessions({"a": [], "b": []}).p_value is None
    with pytest.raises(ConfigError, match=r"experiment\.weights"):
        srm.check_users({"a": 30, "b": 40}, {"a": 1})
    with pytest.raises(ConfigError, match="not positive"):
        srm.check_users({"a": 30, "b": 40}, {"a": 1, "b": 0})
    with pytest.raises(ConfigError, match="two or more"):
        srm.check_users({"a": 30})


@pytest.mark.parametrize(("effect", "published"), [(0.01, 1403), (0.02, 351), (0.05, 57)])
def test_users_per_arm_are_those_of_the_specification(effect, published):
    # rho 0.041, base 0.257, 164 exposures per user, 80% power; t critical values ask for a few more.
    sd = power.planned_sd(0.257, 0.041, 164)
    users = power.sample_size(effect, sd, paired=False) / 2
    assert 0 <= users - published <= 3


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("users", [6, 24, 200, 20_002])
def test_mde_power_and_sample_size_are_inverses(users, paired):
    sd = 0.1
    effect = power.mde(sd, users, paired=paired)
    assert power.power(effect, sd, users, paired=paired) == pytest.approx(0.8, abs=1e-6)
    assert power.sample_size(effect * (1 + 1e-7), sd, paired=paired) == users
    assert power.power(effect, sd, 2 * users, paired=paired) > 0.8


def test_power_by_simulation_with_few_users():
    random = np.random.default_rng(3)
    found = stats.ttest_1samp(random.normal(0.8, 1.0, (20_000, 9)), 0, axis=1).pvalue
    assert power.power(0.8, 1.0, 9, paired=True) == pytest.approx(np.mean(found <= 0.05), abs=0.012)
    a, b = random.normal(0, 1.0, (20_000, 9)), random.normal(1.2, 1.0, (20_000, 3))
    found = stats.ttest_ind(a, b, axis=1).pvalue
    stated = power.power(1.2, 1.0, 12, paired=False, split=0.25)
    assert stated == pytest.approx(np.mean(found <= 0.05), abs=0.012)


def test_far_effects_are_certain_and_tiny_ones_are_alpha():
    assert power.power(1e6, 1.0, 30, paired=True) == pytest.approx(1.0)
    assert power.power(0.0, 1.0, 30, paired=True) == pytest.approx(0.05)
    assert power.sample_size(1e6, 1.0, paired=True) == 2


def test_planned_sd_is_that_of_the_simulated_users():
    found = crowd(4, 1, 20_000)
    n = found.n_c[0]
    sd = power.planned_sd(0.257, 0.044, n.mean(), n.std() / n.mean())
    assert power.unit_sd(found.run()[0]) == pytest.approx(sd, rel=0.03)
    assert power.intraclass_correlation(found.y_c[0], found.n_c[0]) == pytest.approx(0.044, abs=0.003)
    # A pilot of few users is too small more often than not; its upper limit seldom.
    pilots = crowd(5, 1000, 25)
    kept = [power.assured_sd(pilots.run(number)[0]) > sd for number in range(1000)]
    plain = [power.unit_sd(pilots.run(number)[0]) > sd for number in range(1000)]
    assert np.mean(plain) < 0.45
    assert 0.72 < np.mean(kept) < 0.82


def test_intraclass_correlation_is_that_of_the_analysis_of_variance():
    y, n = np.array([1.0, 4, 2, 5]), np.array([3.0, 6, 8, 5])
    groups = [np.repeat([1.0, 0.0], [int(a), int(b - a)]) for a, b in zip(y, n, strict=True)]
    f = float(stats.f_oneway(*groups).statistic)
    typical = (n.sum() - (n**2).sum() / n.sum()) / 3
    assert power.intraclass_correlation(y, n) == pytest.approx((f - 1) / (f - 1 + typical))
    assert power.intraclass_correlation(np.array([1.0]), np.array([2.0])) is None
    assert power.intraclass_correlation(np.zeros(3), np.full(3, 5.0)) is None


@pytest.mark.parametrize(
    "plan",
    [
        lambda: power.sample_size(0.0, 1.0, paired=True),
        lambda: power.sample_size(1e-9, 1.0, paired=True),
        lambda: power.sample_size(math.nan, 1.0, paired=True),
        lambda: power.mde(0.0, 10, paired=True),
        lambda: power.mde(1.0, 1, paired=True),
        lambda: power.mde(1.0, 4, paired=False, split=0.1),
        lambda: power.power(1.0, 1.0, 10, paired=True, alpha=0.0),
        lambda: power.mde(1.0, 9, paired=True, wanted=0.05),
        lambda: power.planned_sd(1.2, 0.04, 100),
        lambda: power.assured_sd(np.ones((2, 9)), assurance=1.0),
    ],
)
def test_no_plan_without_sense(plan):
    with pytest.raises(ConfigError):
        plan()


def test_unit_sd_needs_users():
    assert power.unit_sd(np.array([[1.0], [2.0]])) is None
    assert power.unit_sd(np.zeros((2, 5))) is None
    assert power.assured_sd(np.array([[1.0, 0, 0, 0, 0], [2.0, 0, 0, 0, 0]])) is None
    assert power.assured_sd(np.ones((2, 5))) is None
    twins = [
        np.array([[1.0, 2, 3, 5, 2], [9.0, 8, 7, 6, 9]]),
        np.array([[2.0, 2, 5, 5, 1], [9.0, 8, 7, 6, 9]]),
    ]
    assert power.assured_sd(*twins, paired=True) > power.unit_sd(*twins, paired=True)
    with pytest.raises(ValueError, match="same users"):
        power.unit_sd(np.ones((2, 5)), np.ones((2, 4)), paired=True)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_false_discoveries_are_benjamini_and_hochberg(p_values):
    found = multiplicity.false_discoveries({str(k): p for k, p in enumerate(p_values)})
    # Brute force: the largest rank whose p-value is under its line, and everything below it.
    ranked = sorted(p_values)
    best = max((k for k, p in enumerate(ranked, 1) if p <= 0.05 * k / len(ranked)), default=0)
    bar = ranked[best - 1] if best else -1.0
    assert [p <= bar for p in p_values] == [one.rejected for one in found.values()]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p_values):
    found = multiplicity.holm({str(k): p for k, p in enumerate(p_values)})
    places = range(len(p_values))
    subsets = [s for size in places for s in itertools.combinations(places, size + 1)]
    for k in places:
        closed = max(min(1.0, len(s) * min(p_values[i] for i in s)) for s in subsets if k in s)
        assert found[str(k)].q_value == pytest.approx(closed)
    assert multiplicity.holm({"a": None})["a"].rejected is False


def test_a_language_without_an_answer_is_no_test():
    found = multiplicity.false_discoveries({"go": 0.04, "vue": None})
    assert found["vue"] == multiplicity.Discovery(None, None, False)
    assert found["go"].rejected
    assert multiplicity.false_discoveries({}) == {}


def test_gates_close_behind_the_first_claim_that_fails():
    found = multiplicity.gates([("ar", 0.01, 0.1), ("gr", 0.2, 0.1), ("chars", 0.001, 0.1)])
    assert [gate.passed for gate in found] == [True, False, False]
    assert [gate.tested for gate in found] == [True, True, False]
    assert [gate.adjusted_p for gate in found] == [0.01, 0.2, 0.2]
    worse = multiplicity.gates([("ar", 0.001, -0.1), ("gr", 0.001, 0.1)])
    assert [gate.passed for gate in worse] == [False, False]
    assert [gate.adjusted_p for gate in worse] == [1.0, 1.0]
    unknown = multiplicity.gates([("ar", None, None), ("gr", 0.001, 0.1)])
    assert [(gate.passed, gate.adjusted_p) for gate in unknown] == [(False, None), (False, None)]


def test_fixed_sequence_keeps_the_error_over_the_family():
    # The first metric moved truly; the others did not. Any claim beyond the first is false.
    random = np.random.default_rng(5)
    false = 0
    for p_values in random.random((4000, 3)):
        found = multiplicity.gates([("ar", 1e-6, 1.0), *((str(k), p, 1.0) for k, p in enumerate(p_values))])
        false += any(gate.passed for gate in found[1:])
    assert false / 4000 == pytest.approx(0.05, abs=0.01)


def test_naive_test_is_the_chi_square_of_the_table():
    for y_c, y_t in itertools.product((20, 30), (25, 60)):
        table = [[y_c, 100 - y_c], [y_t, 90 - y_t]]
        expected = stats.chi2_contingency(table, correction=False).pvalue
        found = naive.two_proportions(np.array([y_c, 100.0]), np.array([y_t, 90.0]))
        assert found.p_value == pytest.approx(expected)
    assert naive.two_proportions(np.array([0.0, 0]), np.array([1.0, 2])).p_value is None
    assert naive.two_proportions(np.array([0.0, 5]), np.array([0.0, 2])).p_value is None
    assert (
        naive.two_proportions(np.array([7.0, 5]), np.array([1.0, 2])).reason == "the metric is no proportion"
    )
