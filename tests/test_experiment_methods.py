"""CUPED, post-stratification, the log scale, bootstrap and permutation against scipy and brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from echo_ray import metrics, resampling
from echo_ray.experiment import adjust, estimates
from echo_ray.experiment.compare import compare
from echo_ray.experiment.inputs import METRICS
from tests.crowd import crowd

AR = METRICS[0]


def ratios(y_c, n_c, y_t, n_t, axis=-1):
    return y_t.sum(axis) / n_t.sum(axis) - y_c.sum(axis) / n_c.sum(axis)


def test_bca_of_twins_is_scipys():
    control, treatment = crowd(1, 1, 60, twins=True, effect=0.03).run()
    found = compare(AR, control, treatment, paired=True, resamples=20_000)
    theirs = stats.bootstrap(
        (*control, *treatment), ratios, paired=True, n_resamples=20_000, vectorized=True, rng=1
    )
    width = found.bootstrap_ci95[1] - found.bootstrap_ci95[0]
    assert found.bootstrap_ci95 == pytest.approx(tuple(theirs.confidence_interval), abs=0.04 * width)
    scaled = theirs.standard_error * math.sqrt(60 / 59)
    assert found.bootstrap_se == pytest.approx(scaled, rel=0.03)


def test_bca_is_scipys_for_the_same_draws():
    values = np.random.default_rng(2).gamma(1.0, 1.0, 40)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=5000, rng=3)
    ours = resampling.bca(theirs.bootstrap_distribution, values.mean(), values - values.mean())
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=1e-3)


def test_relabelling_few_users_is_every_deal():
    control, treatment = crowd(3, 1, 5, effect=0.2).run()
    both = np.hstack([control, treatment])
    observed = abs(welch(both, set(range(5))))
    deals = itertools.combinations(range(10), 5)
    extreme = [abs(welch(both, set(dealt))) >= observed - 1e-9 for dealt in deals]
    assert resampling.relabel(control, treatment, 0, 10_000) == pytest.approx(np.mean(extreme))


def welch(both, first):
    mask = np.array([i in first for i in range(both.shape[1])])
    estimate, se, _ = metrics.delta(*both[:, mask], *both[:, ~mask], paired=False)
    return float(estimate / se)


def test_relabelling_matches_the_t_test_for_many_users():
    control, treatment = crowd(4, 1, 300, effect=0.02).run()
    found = compare(AR, control, treatment, paired=False)
    assert found.permutation_p == pytest.approx(found.p_value, abs=0.015)
    assert resampling.relabel(control, treatment[:, :1], 0, 100) is None
    assert resampling.relabel(control, treatment * 0, 0, 100) is None
    alike = np.vstack([np.arange(1, 7), 3.0 * np.arange(1, 7)])
    assert resampling.relabel(alike, alike, 0, 100) is None


def test_log_scale_by_hand_and_by_resampling():
    control, treatment = crowd(5, 1, 120, effect=0.04).run()
    found = estimates.relative(control, treatment, paired=False)
    rates = [metrics.rate(*arm) for arm in (control, treatment)]
    assert found.estimate == pytest.approx(rates[1] / rates[0] - 1)
    squares = sum(
        metrics.variance(*arm) / rate**2 for arm, rate in zip((control, treatment), rates, strict=True)
    )
    assert found.se == pytest.approx(math.sqrt(squares))
    draws = [resampling.resample(arm, 20_000, 1, name) for arm, name in ((control, "c"), (treatment, "t"))]
    lifts = np.log(draws[1][0] / draws[1][1]) - np.log(draws[0][0] / draws[0][1])
    assert found.se == pytest.approx(lifts.std(), rel=0.05)
    assert found.ci95 == pytest.approx(np.expm1(np.quantile(lifts, [0.025, 0.975])), abs=0.02)


@pytest.mark.parametrize("paired", [True, False])
def test_log_scale_where_there_is_none(paired):
    some, none = np.array([[1.0, 2], [4, 4]]), np.array([[0.0, 0], [4, 4]])
    for arms in ((none, some), (some, none), (some, none * 0), (some[:, :1], some[:, :1])):
        found = estimates.relative(*arms, paired=paired)
        assert (found.estimate, found.ci95) == (None, (None, None))
        assert found.reason
    huge = np.array([[1e-300, 2e-300], [1.0, 1.0]])
    assert estimates.relative(huge, np.array([[1e300, 3e300], [1.0, 1.0]]), paired=paired).ci95[1] is None


def test_cuped_is_the_regression_with_equal_denominators():
    # With every denominator 1, CUPED is least squares on arm and covariate; its theta the slope.
    random = np.random.default_rng(6)
    x = [random.normal(3, 1, 40), random.normal(3, 1, 50)]
    y = [2 + 0.7 * x[0] + random.normal(0, 1, 40), 2.5 + 0.7 * x[1] + random.normal(0, 1, 50)]
    arms = [np.vstack([column, np.ones(column.size)]) for column in y]
    before = [np.vstack([column, np.ones(column.size)]) for column in x]
    found = adjust.cuped(*arms, *before)
    design = np.column_stack([np.ones(90), np.repeat([0.0, 1.0], [40, 50]), np.concatenate(x)])
    slopes, *_ = np.linalg.lstsq(design, np.concatenate(y), rcond=None)
    assert found.estimate == pytest.approx(slopes[1])
    assert found.theta == pytest.approx(slopes[2])
    rest = np.concatenate(y) - design @ slopes
    ols = math.sqrt(rest @ rest / 87 * np.linalg.inv(design.T @ design)[1, 1])
    assert found.se == pytest.approx(ols, rel=0.05)
    assert found.variance_reduction > 0.2


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (np.zeros((2, 3)), "no denominator"),
        (np.array([[1.0, 2, 3], [2, 4, 6]]), "alike"),
    ],
)
def test_cuped_says_why_not(before, reason):
    arms = [np.array([[1.0, 2, 2], [5, 6, 9]]), np.array([[2.0, 2, 4], [5, 6, 9]])]
    assert reason in adjust.cuped(*arms, before, before).reason
    assert "twins" in adjust.cuped(*arms, before, before, paired=True).reason
    assert "one user" in adjust.cuped(arms[0][:, :1], arms[1], before[:, :1], before).reason
    assert "denominator" in adjust.cuped(arms[0] * 0, arms[1], before, before).reason


def test_post_stratification_by_hand():
    control = np.array([[1.0, 3, 2, 8, 6, 7], [10, 10, 10, 10, 10, 10]])
    treatment = np.array([[2.0, 3, 8, 9, 7, 9], [10, 10, 10, 10, 10, 10]])
    strata = (["a", "a", "a", "b", "b", "b"], ["a", "a", "b", "b", "b", "b"])
    found = adjust.post_stratify(control, treatment, *strata)
    weights = {"a": 5 / 12, "b": 7 / 12}
    expected, variance = 0.0, 0.0
    for sign, arm, labels in ((-1, control, strata[0]), (1, treatment, strata[1])):
        for name, weight in weights.items():
            rates = arm[0][np.array(labels) == name] / 10
            expected += sign * weight * rates.mean()
            # Equal denominators: simply the variance of the rates.
            variance += weight**2 * rates.var(ddof=1) / rates.size
    assert found.estimate == pytest.approx(expected)
    assert found.se == pytest.approx(math.sqrt(variance))
    assert found.strata == ("a", "b")
    assert found.variance_reduction > 0.5


def test_small_strata_are_put_together_and_none_is_no_stratification():
    control, treatment = crowd(7, 1, 12).run()
    labels = ["a"] * 5 + ["b"] * 5 + ["c", "d"]
    found = adjust.post_stratify(control, treatment, labels, labels)
    assert found.strata == (adjust.OTHER, "a", "b")
    assert "two strata" in adjust.post_stratify(control, treatment, ["a"] * 12, ["a"] * 12).reason
    alone = [f"s{k}" for k in range(12)]
    assert "two strata" in adjust.post_stratify(control, treatment, alone, alone).reason
    assert "twins" in adjust.post_stratify(control, treatment, labels, labels, paired=True).reason
    assert "denominator" in adjust.post_stratify(control * 0, treatment, labels, labels).reason


users = st.lists(st.tuples(*(st.integers(0, 30), st.integers(0, 40)) * 2), min_size=1, max_size=9)


@settings(max_examples=80, deadline=None)
@given(users, st.booleans())
def test_swapping_arms_turns_every_sign_and_no_nan_comes_out(rows, paired):
    columns = np.array(rows, dtype=float).T
    control, treatment = columns[:2], columns[2:]
    before = (treatment[:, ::-1].copy(), control[:, ::-1].copy())
    strata = ([str(k % 2) for k in range(len(rows))],) * 2
    one = compare(AR, control, treatment, paired=paired, resamples=200, before=before, strata=strata)
    two = compare(AR, treatment, control, paired=paired, resamples=200, before=before[::-1], strata=strata)
    for a, b in ((one, two), (one.cuped, two.cuped), (one.stratified, two.stratified)):
        if a.estimate is not None:
            assert b.estimate == pytest.approx(-a.estimate, abs=1e-12)
        assert a.p_value == (None if b.p_value is None else pytest.approx(b.p_value, abs=1e-9))
    estimates.plain(one)  # refuses NaN
    for found in (one, one.relative, one.cuped, one.stratified, one.sequential):
        assert found.p_value is not None or found.reason


def test_plain_refuses_nan():
    assert estimates.plain({"a": (1, np.float64(2.0), None)}) == {"a": [1, 2.0, None]}
    with pytest.raises(ValueError, match="not a figure"):
        estimates.plain([math.nan])
