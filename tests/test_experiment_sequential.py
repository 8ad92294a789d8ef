"""Peeking fifty times, the formulae in closed form, and what a look says when it cannot say anything."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from echo_ray import metrics
from echo_ray.errors import ConfigError
from echo_ray.experiment import looks, sequential
from tests.crowd import crowd, exposures, tastes

LOOKS, RUNS = 50, 1000


def arriving(seed, users, *, paired, effect=0.0):
    """Users arrive between looks: (estimate, standard error, t test's p), each (runs, looks)."""
    found = crowd(seed, RUNS, users, twins=paired, effect=effect)
    first = sequential.MIN_USERS
    ends = np.linspace(first, users, LOOKS).astype(int)
    paths = [metrics.delta(*(a[:, :end] for a in found.arms()), paired=paired) for end in ends]
    estimate, se, freedom = (np.stack(column, axis=1) for column in zip(*paths, strict=True))
    return estimate, se, 2 * stats.t.sf(np.abs(estimate) / se, freedom)


def staying(seed, users):
    """The same users bring a day's exposures between looks."""
    random = np.random.default_rng(seed)
    shape = (RUNS, users)
    arms = []
    for _ in range(2):
        taste, daily = tastes(random, shape), exposures(random, shape, 10.0)
        n = np.cumsum(random.poisson(daily, (LOOKS, *shape)), axis=0) + 1
        new = np.diff(n, axis=0, prepend=0)
        arms.append((np.cumsum(random.binomial(new, taste), axis=0), n))
    (y_c, n_c), (y_t, n_t) = arms
    estimate, se, freedom = (np.asarray(a).T for a in metrics.delta(y_c, n_c, y_t, n_t, paired=False))
    return estimate, se, 2 * stats.t.sf(np.abs(estimate) / se, freedom)


@pytest.mark.parametrize("scale", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("paired", [True, False])
def test_fifty_looks_at_arriving_users_keep_their_error(paired, scale):
    estimate, se, naive_p = arriving(1, 400, paired=paired)
    assert np.mean(sequential.p_values(estimate, se, scale)[:, -1] <= 0.05) < 0.05
    assert np.mean((naive_p <= 0.05).any(axis=1)) > 0.2


def test_fifty_looks_at_the_same_users_keep_their_error():
    estimate, se, naive_p = staying(2, 60)
    assert np.mean(sequential.p_values(estimate, se, 0.02)[:, -1] <= 0.05) < 0.05
    assert np.mean((naive_p <= 0.05).any(axis=1)) > 0.08


def test_the_sequence_covers_a_real_difference_at_all_looks_and_finds_it():
    estimate, se, _ = arriving(3, 400, paired=True, effect=0.02)
    covers = np.abs(estimate - 0.02) <= sequential.half_width(se, 0.02)
    assert np.mean(covers.all(axis=1)) > 0.95
    found = sequential.p_values(estimate, se, 0.02) <= 0.05
    assert found[:, -1].mean() > 0.75
    assert np.median(np.argmax(found[found[:, -1]], axis=1)) < LOOKS - 5  # most before the end


@settings(deadline=None)
@given(st.floats(-0.2, 0.2), st.floats(1e-3, 0.1), st.floats(1e-3, 0.1))
def test_evidence_is_the_likelihood_ratio_averaged_over_the_mixture(estimate, se, scale):
    def log_ratio(effect):
        gain = stats.norm.logpdf(estimate, effect, se) - stats.norm.logpdf(estimate, 0, se)
        return gain + stats.norm.logpdf(effect, 0, scale)

    best = estimate * scale**2 / (scale**2 + se**2)
    width = 10 * scale * se / math.hypot(scale, se)
    steps = np.linspace(best - width, best + width, 401)
    brute = special.logsumexp(log_ratio(steps)) + math.log(steps[1] - steps[0])
    found = sequential.log_evidence(np.array(estimate), np.array(se), scale)
    assert float(found) == pytest.approx(brute, rel=1e-6, abs=1e-6)


@settings(deadline=None)
@given(st.floats(1e-3, 0.1), st.floats(1e-3, 0.1))
def test_at_the_edge_of_the_sequence_p_is_alpha(se, scale):
    edge = sequential.half_width(np.array([se]), scale)
    assert sequential.p_values(edge, np.array([se]), scale)[0] == pytest.approx(0.05)


def test_scale_for_is_where_the_sequence_is_narrowest():
    best = optimize.minimize_scalar(
        lambda scale: float(sequential.half_width(np.array(0.01), scale)),
        bounds=(1e-3, 0.2),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert sequential.scale_for(0.01) == pytest.approx(best.x, rel=1e-4)
    # Waudby-Smith et al.: rho^2 t is about -2 log(alpha) + log(-2 log(alpha) + 1).
    rough = -2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)
    assert sequential.scale_for(1.0) ** 2 == pytest.approx(rough, rel=0.05)
    # The price of peeking at will, at the planned end.
    assert 1.4 < sequential.half_width(np.array(1.0), sequential.scale_for(1.0)) / 1.96 < 1.6


def test_p_never_rises_again():
    p_values = sequential.p_values(np.array([0.0, 0.05, 0.0, 0.01]), np.full(4, 0.01), 0.02)
    assert np.all(np.diff(p_values) <= 0)
    assert p_values[0] == 1.0
    assert p_values[1] == p_values[2] < 0.05


def test_a_look_without_an_answer_says_why():
    assert sequential.look(None, None, 0.02, 100).reason == "there is no standard error to look with"
    assert sequential.look(0.1, 0.0, 0.02, 100).p_value is None
    early = sequential.look(0.2, 0.01, 0.02, 12)
    assert (early.p_value, early.ci95) == (1.0, (None, None))
    assert "12 users" in early.reason
    assert sequential.look(0.2, 0.01, None, 100).p_value is None
    with pytest.raises(ValueError, match="positive"):
        sequential.look(0.2, 0.01, 0.0, 100)
    with pytest.raises(ValueError, match="positive"):
        sequential.scale_for(0.0)
    nothing = sequential.p_values(np.array([np.nan, 0.1]), np.array([0.1, np.nan]), 0.02)
    assert nothing.tolist() == [1.0, 1.0]


def test_obrien_fleming_bounds_are_the_published_ones():
    # Five even looks with Lan and DeMets' spending function: the table of every package.
    bounds = looks.obrien_fleming([0.2, 0.4, 0.6, 0.8, 1.0])
    assert [round(look.z, 3) for look in bounds] == [4.877, 3.357, 2.680, 2.290, 2.031]
    assert bounds[-1].spent == pytest.approx(0.05)
    assert looks.obrien_fleming([1.0])[0].level == pytest.approx(0.05)
    nearly_never = looks.obrien_fleming([0.001, 0.5, 1.0])
    assert [look.z for look in nearly_never][1:] == pytest.approx([2.963, 1.969], abs=1e-3)


def test_five_planned_looks_keep_their_error_and_nearly_all_power():
    ends = [9, 19, 29, 39, 49]
    levels = np.array([look.level for look in looks.obrien_fleming(np.array([80, 160, 240, 320, 400]) / 400)])
    *_, null = arriving(4, 400, paired=True)
    *_, real = arriving(4, 400, paired=True, effect=0.015)
    assert abs(np.mean((null[:, ends] <= levels).any(axis=1)) - 0.05) <= 0.014
    stopped = (real[:, ends] <= levels).any(axis=1).mean()
    assert stopped > (real[:, -1] <= 0.05).mean() - 0.03
    assert (real[:, ends[:-1]] <= levels[:-1]).any(axis=1).mean() > 0.4


@pytest.mark.parametrize("fractions", [[], [0.0, 1.0], [0.5, 0.5], [0.5, 1.1], [math.nan]])
def test_looks_must_rise(fractions):
    with pytest.raises(ConfigError, match="rising"):
        looks.obrien_fleming(fractions)
    with pytest.raises(ConfigError, match="alpha"):
        looks.obrien_fleming([1.0], alpha=0.0)
