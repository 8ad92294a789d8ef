import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from echo_ray import metrics


def developers(seed, runs, users, mean=0.25, rho=0.04, effect=0.0, paired=True):
    """Beta-binomial users with unequal exposure: (y_base, n_base, y_echo, n_echo), each (runs, users)."""
    random = np.random.default_rng(seed)
    scale = 1 / rho - 1

    def population():
        return random.beta(mean * scale, (1 - mean) * scale, (runs, users))

    def exposures():
        return 1 + random.poisson(random.gamma(2.0, 40.0, (runs, users)))

    taste = population()
    n_base, n_echo = exposures(), exposures()
    y_base = random.binomial(n_base, taste)
    other = taste if paired else population()
    y_echo = random.binomial(n_echo, np.clip(other + effect, 0, 1))
    return y_base, n_base, y_echo, n_echo


def test_shown_needs_750_ms_or_acceptance():
    assert metrics.is_shown(750, accepted=False)
    assert metrics.is_shown(10, accepted=True)
    assert metrics.is_shown(None, accepted=True)
    assert not metrics.is_shown(749, accepted=False)
    assert not metrics.is_shown(None, accepted=False)


def test_rates_are_ratios_of_sums():
    assert metrics.acceptance_rate([1, 9], [10, 10]) == 0.5
    assert metrics.rate([1, 0], [1, 9]) == 0.1  # the mean of per-user rates would be 0.5
    assert metrics.generation_rate([30, 10], [50, 10]) == 0.4
    assert math.isnan(metrics.acceptance_rate([0, 0], [0, 0]))
    assert math.isnan(metrics.generation_rate([], []))


def test_variance_by_hand():
    # R = 6/20 = 0.3, mean N = 10; z = (1-3, 5-3) / 10 = (-0.2, 0.2); var = 0.08; / 2 users = 0.04
    assert metrics.variance([1, 5], [10, 10]) == pytest.approx(0.04)
    y, n = np.array([1.0, 4, 2, 9]), np.array([5.0, 8, 11, 20])
    ratio = y.sum() / n.sum()
    cov = np.cov(y, n)
    deng = (cov[0, 0] - 2 * ratio * cov[0, 1] + ratio**2 * cov[1, 1]) / (4 * n.mean() ** 2)
    assert metrics.variance(y, n) == pytest.approx(deng)
    assert math.isnan(metrics.variance([1], [2]))


def test_interval_by_hand():
    low, high = metrics.interval([1, 5], [10, 10])
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, 1) * 0.2)
    assert (low + high) / 2 == pytest.approx(0.3)
    assert all(math.isnan(x) for x in metrics.interval([1, 1], [10, 10]))
    assert all(math.isnan(x) for x in metrics.interval([1], [10]))


def test_equal_denominators_reduce_to_the_paired_and_the_welch_t_test():
    y_base, y_echo = np.array([2, 3, 5, 1, 4]), np.array([4, 3, 7, 3, 9])
    n = np.full(5, 10)
    twins = metrics.difference(y_base, n, y_echo, n, paired=True)
    assert twins.p_value == pytest.approx(stats.ttest_rel(y_echo, y_base).pvalue)
    apart = metrics.difference(y_base, n, y_echo, n, paired=False)
    assert apart.p_value == pytest.approx(stats.ttest_ind(y_echo, y_base, equal_var=False).pvalue)
    assert twins.estimate == apart.estimate == pytest.approx(0.22)
    assert twins.se < apart.se
    assert (twins.method, apart.method) == ("delta, twins", "delta, independent users")
    assert apart.permutation_p is None


def test_sign_flip_enumerates_few_users():
    # Every user gains, so of 2^5 swaps only "none" and "all" are as extreme: p = 2/32.
    n = np.full(5, 10)
    result = metrics.difference([1, 2, 3, 4, 5], n, [2, 4, 6, 7, 9], n, paired=True)
    assert result.permutation_p == pytest.approx(2 / 32)


@pytest.mark.parametrize("paired", [True, False])
def test_a_a_coverage(paired):
    arms = developers(7, 4000, 60, paired=paired)
    estimate, se, freedom = metrics.delta(*arms, paired=paired)
    covered = np.abs(estimate) <= stats.t.ppf(0.975, freedom) * se
    assert 0.925 <= covered.mean() <= 0.975
    # p-values are uniform, not merely right at 5%
    p_values = 2 * stats.t.sf(np.abs(estimate) / se, freedom)
    assert stats.kstest(p_values, "uniform").statistic < 0.03


def test_twins_need_fewer_users_and_exposure_tests_are_wrong():
    arms = developers(8, 1000, 60, paired=True)
    _, twins, _ = metrics.delta(*arms, paired=True)
    _, apart, _ = metrics.delta(*arms, paired=False)
    assert twins.mean() < 0.7 * apart.mean()
    y_base, n_base, y_echo, n_echo = developers(9, 2000, 60, paired=False)
    estimate, se, _ = metrics.delta(y_base, n_base, y_echo, n_echo, paired=False)
    naive = np.sqrt(2 * 0.25 * 0.75 / n_base.sum(-1))
    assert se.mean() == pytest.approx(estimate.std(), rel=0.05)
    assert naive.mean() < 0.6 * estimate.std()


@pytest.mark.parametrize("paired", [True, False])
def test_injected_effect_is_recovered(paired):
    estimate, se, _ = metrics.delta(*developers(11, 2000, 60, effect=0.04, paired=paired), paired=paired)
    assert abs(estimate.mean() - 0.04) < 3 * estimate.std() / math.sqrt(2000) + 5e-4
    assert estimate.std() == pytest.approx(se.mean(), rel=0.06)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_delta_and_bootstrap_agree(paired, seed):
    arms = [column[0] for column in developers(seed, 1, 60, effect=0.05, paired=paired)]
    result = metrics.difference(*arms, paired=paired, seed=seed)
    assert result.bootstrap_se == pytest.approx(result.se, rel=0.10)
    assert result.agrees is True
    width = result.ci95[1] - result.ci95[0]
    assert result.bootstrap_ci95 == pytest.approx(result.ci95, abs=0.12 * width)
    assert result.reason is None


def test_permutation_matches_the_t_test_on_many_users():
    arms = [column[0] for column in developers(3, 1, 80, effect=0.02)]
    result = metrics.difference(*arms, paired=True)
    assert result.permutation_p == pytest.approx(result.p_value, abs=0.02)


def test_sign_flip_holds_its_level():
    arms = developers(21, 300, 20)
    p_values = [
        metrics.difference(*(column[run] for column in arms), paired=True, resamples=400).permutation_p
        for run in range(300)
    ]
    assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.09


def test_one_user_dominating_is_reported_as_disagreement():
    y_base, n_base = np.array([0, 0, 1, 0, 1, 0, 900]), np.array([3, 2, 4, 3, 2, 3, 1000])
    y_echo, n_echo = np.array([3, 2, 1, 3, 1, 3, 100]), np.array([3, 2, 4, 3, 2, 3, 1000])
    result = metrics.difference(y_base, n_base, y_echo, n_echo, paired=True)
    assert result.agrees is False


tallies = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 60), st.integers(0, 40), st.integers(1, 60)),
    min_size=2,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(tallies, st.booleans(), st.randoms())
def test_order_of_users_does_not_matter(rows, paired, random):
    shuffled = random.sample(rows, len(rows))
    one, two = (
        metrics.difference(*zip(*r, strict=True), paired=paired, resamples=50) for r in (rows, shuffled)
    )
    for a, b in (
        (one.estimate, two.estimate),
        (one.se, two.se),
        (one.bootstrap_ci95, two.bootstrap_ci95),
        (one.permutation_p, two.permutation_p),
    ):
        assert a == pytest.approx(b, nan_ok=True, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(tallies, st.booleans(), st.integers(2, 9))
def test_scaling(rows, paired, factor):
    y_base, n_base, y_echo, n_echo = np.array(rows).T
    one = metrics.difference(y_base, n_base, y_echo, n_echo, paired=paired, resamples=50)
    scaled = metrics.difference(y_base, n_base * factor, y_echo, n_echo * factor, paired=paired, resamples=50)
    assert scaled.estimate == pytest.approx(one.estimate / factor, abs=1e-12)
    assert scaled.se == pytest.approx(one.se / factor, abs=1e-12, nan_ok=True)
    # more exposures per user at the same rates are no new users: the interval must not shrink
    grown = metrics.difference(
        y_base * factor, n_base * factor, y_echo * factor, n_echo * factor, paired=paired, resamples=50
    )
    assert grown.se == pytest.approx(one.se, abs=1e-12, nan_ok=True)


def test_swapping_arms_mirrors_the_result():
    arms = [column[0] for column in developers(5, 1, 30, effect=0.05)]
    there = metrics.difference(*arms, paired=True)
    back = metrics.difference(arms[2], arms[3], arms[0], arms[1], paired=True)
    assert back.estimate == -there.estimate
    assert back.ci95 == pytest.approx((-there.ci95[1], -there.ci95[0]))
    assert back.p_value == pytest.approx(there.p_value)


@pytest.mark.parametrize(
    ("columns", "estimate", "reason"),
    [
        (([0, 0], [0, 0], [1, 2], [5, 5]), math.nan, "denominator of the base arm is zero"),
        (([0, 0], [0, 0], [0, 0], [0, 0]), math.nan, "base and echo arm"),
        (([], [], [], []), math.nan, "base and echo arm"),
        (([1], [4], [2], [4]), 0.25, "one user"),
        (([0, 0], [5, 5], [0, 0], [5, 5]), 0.0, "behaved alike"),
        (([1, 2, 3], [3, 6, 9], [1, 2, 3], [3, 6, 9]), 0.0, "behaved alike"),
    ],
)
@pytest.mark.parametrize("paired", [True, False])
def test_degenerate_input_gives_a_reason(columns, estimate, reason, paired):
    result = metrics.difference(*columns, paired=paired)
    assert result.estimate == pytest.approx(estimate, nan_ok=True)
    assert reason in (result.reason or "")
    assert math.isnan(result.p_value)
    assert all(math.isnan(x) for x in (*result.ci95, *result.bootstrap_ci95))
    assert result.agrees is None


def test_resamples_without_a_denominator_are_reported():
    result = metrics.difference([1, 0, 0], [4, 0, 0], [1, 1, 2], [4, 5, 6], paired=True)
    assert "zero denominator" in (result.reason or "")
    assert math.isfinite(result.se)
    assert result.agrees is None


def test_bad_counts_are_refused():
    with pytest.raises(ValueError, match="same users"):
        metrics.difference([1, 2], [3, 4], [1], [3], paired=True)
    with pytest.raises(ValueError, match="shape"):
        metrics.difference([1, 2], [3], [1], [3], paired=False)
    with pytest.raises(ValueError, match="finite"):
        metrics.difference([1, -2], [3, 4], [1, 2], [3, 4], paired=False)


def test_unequal_arms_and_a_large_population_in_bounded_time():
    y_base, n_base, *_ = (column[0] for column in developers(1, 1, 2000))
    _, _, y_echo, n_echo = (column[0] for column in developers(2, 1, 500, effect=0.05))
    start = time.perf_counter()
    result = metrics.difference(y_base, n_base, y_echo, n_echo, paired=False, resamples=2000)
    assert time.perf_counter() - start < 10
    assert result.users == (2000, 500)
    assert result.agrees is True
