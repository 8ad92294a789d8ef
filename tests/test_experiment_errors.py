"""Error rates of the estimators: 1,000 experiments without a difference, and with one."""

import numpy as np
import pytest
from scipy import stats

from echo_ray import metrics
from echo_ray.experiment import adjust, few, naive, power
from echo_ray.experiment.compare import compare
from echo_ray.experiment.inputs import METRICS
from echo_ray.resampling import relabel
from tests.crowd import BASE, EXPOSURES, ICC, crowd, tastes

RUNS = 1000
AR = METRICS[0]


def p_of(estimate, se, freedom):
    return 2 * stats.t.sf(np.abs(estimate) / se, freedom)


def parallel(users=150, seed=1):
    return p_of(*metrics.delta(*crowd(seed, RUNS, users).arms(), paired=False))


def twins(users=120, seed=2):
    return p_of(*metrics.delta(*crowd(seed, RUNS, users, twins=True).arms(), paired=True))


def with_pre_period(seed, runs, users, effect=0.0):
    """(plain and adjusted estimate, plain and adjusted error, degrees of freedom)."""
    found = crowd(seed, runs, users, effect=effect)
    random = np.random.default_rng(seed + 1000)
    before = []
    for taste in (found.taste_c, found.taste_t):
        n = random.poisson(100, taste.shape)
        before.append(np.stack([random.binomial(n, taste), n], axis=-2).astype(float))
    x_c, x_t = adjust.covariate(*before)
    (rate_c, z_c), (rate_t, z_t) = metrics.influence(*found.arms()[:2]), metrics.influence(*found.arms()[2:])
    moved, se, freedom, _ = adjust.cuped_delta(z_c, z_t, x_c, x_t)
    plain, _ = metrics.standard_error(z_c, z_t, paired=False)
    return rate_t - rate_c, rate_t - rate_c + moved, plain, se, freedom


def cuped():
    _, estimate, _, se, freedom = with_pre_period(3, RUNS, 150)
    return p_of(estimate, se, freedom)


def log_scale():
    found = crowd(4, RUNS, 150)
    (rate_c, z_c), (rate_t, z_t) = metrics.influence(*found.arms()[:2]), metrics.influence(*found.arms()[2:])
    shares = (z_c / rate_c[:, None], z_t / rate_t[:, None])
    return p_of(np.log(rate_t / rate_c), *metrics.standard_error(*shares, paired=False))


@pytest.mark.parametrize("p_values", [parallel, twins, cuped, log_scale])
def test_equal_models_differ_in_five_experiments_of_a_hundred(p_values):
    found = p_values()
    assert abs(np.mean(found <= 0.05) - 0.05) <= 0.014
    assert stats.kstest(found, "uniform").pvalue > 0.01


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("users", [8, 15, 30])
def test_few_users_need_their_correction(users, paired):
    found = crowd(5, 4 * RUNS, users, twins=paired)
    plain = p_of(*metrics.delta(*found.arms(), paired=paired))
    control, treatment = (np.stack(a, axis=-2).astype(float) for a in (found.arms()[:2], found.arms()[2:]))
    corrected = p_of(*few.corrected_delta(control, treatment, paired=paired))
    assert np.mean(plain <= 0.05) > np.mean(corrected <= 0.05)
    assert np.mean(plain <= 0.05) > 0.055
    assert abs(np.mean(corrected <= 0.05) - 0.05) <= 0.015


def test_equal_exposures_need_no_correction():
    n = np.full(7, 20.0)
    control, treatment = np.vstack([np.arange(7.0), n]), np.vstack([np.arange(7.0) ** 1.3, n])
    for paired, theirs in ((True, stats.ttest_rel), (False, lambda *a: stats.ttest_ind(*a, equal_var=False))):
        found = few.corrected(control, treatment, paired=paired)
        assert found.p_value == pytest.approx(theirs(treatment[0], control[0]).pvalue)
    lone = np.vstack([[3.0, 0, 0], [9.0, 0, 0]])
    assert "fewer than two" in few.corrected(control[:, :3], lone, paired=True).reason
    assert few.corrected(control * 0, treatment, paired=True).estimate is None


def test_post_stratified_equal_models():
    # Two strata with rates far apart: the strata, not the models, make the plain difference vary.
    random = np.random.default_rng(6)
    p_values, gains = [], []
    for _ in range(RUNS):
        arms, strata = [], []
        for _ in range(2):
            kind = random.random(80) < 0.4
            taste = np.where(kind, tastes(random, 80, 0.15), tastes(random, 80, 0.40))
            n = 1 + random.poisson(60, 80)
            arms.append(np.vstack([random.binomial(n, taste), n]).astype(float))
            strata.append(np.where(kind, "new", "old").tolist())
        found = adjust.post_stratify(*arms, *strata)
        p_values.append(found.p_value)
        gains.append(found.variance_reduction)
    assert abs(np.mean(np.array(p_values) <= 0.05) - 0.05) <= 0.014
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(gains) > 0.3


def test_the_naive_test_is_visibly_wrong():
    found = crowd(7, RUNS, 150)
    wrong = [naive.two_proportions(*found.run(number)).p_value for number in range(RUNS)]
    assert np.mean(np.array(wrong) <= 0.05) > 0.15
    control, treatment = found.run()
    shown = compare(AR, control, treatment, paired=False, resamples=100)
    assert 5 < shown.naive.design_effect < 20
    assert "wrong" in shown.naive.warning


@pytest.mark.parametrize("effect", [0.01, 0.02, 0.05])
def test_injected_effect_parallel_with_the_stated_power(effect):
    spread = crowd(8, 1, 4000)
    variation = spread.n_c.std() / spread.n_c.mean()
    sd = power.planned_sd(BASE, ICC, EXPOSURES + 1, variation)
    users = power.sample_size(effect, sd, paired=False)
    estimate, se, freedom = metrics.delta(*crowd(9, RUNS, users // 2, effect=effect).arms(), paired=False)
    stated = power.power(effect, sd, users, paired=False)
    assert 0.80 <= stated < 0.82
    assert abs(np.mean(p_of(estimate, se, freedom) <= 0.05) - stated) <= 0.04
    assert abs(estimate.mean() - effect) < 3.5 * estimate.std() / RUNS**0.5
    covered = np.abs(estimate - effect) <= stats.t.ppf(0.975, freedom) * se
    assert abs(covered.mean() - 0.95) <= 0.02


@pytest.mark.parametrize("effect", [0.01, 0.02, 0.05])
def test_injected_effect_twins_with_the_power_that_a_pilot_promised(effect):
    pilot = crowd(10, 1, 1000, twins=True)
    sd = power.unit_sd(*pilot.run(), paired=True)
    users = power.sample_size(effect, sd, paired=True)
    estimate, se, freedom = metrics.delta(
        *crowd(11, RUNS, users, twins=True, effect=effect).arms(), paired=True
    )
    assert abs(np.mean(p_of(estimate, se, freedom) <= 0.05) - 0.8) <= 0.06
    assert abs(estimate.mean() - effect) < 3.5 * estimate.std() / RUNS**0.5
    parallel_users = power.sample_size(effect, power.unit_sd(*pilot.run()), paired=False)
    assert users < parallel_users / 4  # half of two arms, and less noise


def test_cuped_recovers_the_effect_with_less_variance():
    raw, estimate, plain, se, _ = with_pre_period(12, RUNS, 150, effect=0.02)
    assert abs(estimate.mean() - 0.02) < 3.5 * estimate.std() / RUNS**0.5
    assert se.mean() == pytest.approx(estimate.std(), rel=0.06)
    promised = 1 - np.mean(se**2) / np.mean(plain**2)
    measured = 1 - estimate.var() / raw.var()
    assert promised > 0.4
    assert promised == pytest.approx(measured, abs=0.05)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_delta_and_bootstrap_agree_within_a_tenth(seed, paired):
    found = compare(AR, *crowd(seed, 1, 100, twins=paired, effect=0.02).run(), paired=paired, resamples=4000)
    assert abs(found.bootstrap_se / found.se - 1) <= 0.10
    assert found.agrees is True


@pytest.mark.parametrize("sizes", [(30, 30), (12, 60)])
def test_relabelling_holds_its_level_whatever_the_sizes_of_the_arms(sizes):
    random = np.random.default_rng(13)
    p_values = []
    for run in range(500):
        arms = []
        for size in sizes:
            n = 1 + random.poisson(80, size)
            arms.append(np.vstack([random.binomial(n, tastes(random, size)), n]).astype(float))
        p_values.append(relabel(*arms, seed=run, resamples=400))
    assert abs(np.mean(np.array(p_values) <= 0.05) - 0.05) <= 0.02


def test_a_confounder_in_time_biases_before_after_and_not_parallel_arms():
    # Everybody learns to accept 3 points more; the models are equal.
    first, second = crowd(14, RUNS, 150), crowd(15, RUNS, 150, effect=0.03)
    later = crowd(16, RUNS, 150, effect=0.03)
    before_after = metrics.delta(first.y_c, first.n_c, second.y_t, second.n_t, paired=False)
    parallel_arms = metrics.delta(second.y_t, second.n_t, later.y_t, later.n_t, paired=False)
    assert before_after[0].mean() == pytest.approx(0.03, abs=0.002)
    assert np.mean(p_of(*before_after) <= 0.05) > 0.5
    assert parallel_arms[0].mean() == pytest.approx(0.0, abs=0.002)
    assert abs(np.mean(p_of(*parallel_arms) <= 0.05) - 0.05) <= 0.014
