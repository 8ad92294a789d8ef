"""Length-matched acceptance, tallies of proposals, flags: brute force, known mixtures, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from echo_ray.errors import ConfigError, SchemaError
from echo_ray.experiment import flags, proposals
from echo_ray.experiment.flags import Limits, Reason
from echo_ray.experiment.proposals import Proposals, length_matched, tallies
from tests.crowd import crowd

SHORT, LONG = 8, 60


def arm(random, prefix, users, long_share, rates, shown=60):
    """Users with tastes of their own who see short and long proposals; rates by length."""
    names = np.repeat([f"{prefix}{k}" for k in range(users)], shown)
    taste = np.repeat(random.normal(0, 0.05, users), shown)
    long = random.random(names.size) < long_share
    chance = np.clip(np.where(long, rates[1], rates[0]) + taste, 0, 1)
    took = random.random(names.size) < chance
    return Proposals(names.tolist(), np.where(long, LONG, SHORT).astype(float), took.astype(float))


def test_shorter_text_alone_is_no_better_text():
    random = np.random.default_rng(1)
    found = length_matched(
        arm(random, "c", 60, 0.6, (0.4, 0.1)), arm(random, "t", 60, 0.1, (0.4, 0.1)), paired=False
    )
    assert found.plain > 0.1
    assert abs(found.estimate) < min(3 * found.se, found.plain / 3)
    assert found.explained == pytest.approx(found.plain - found.estimate)
    assert found.covered == (1.0, 1.0)


def test_better_text_shows_at_equal_lengths():
    random = np.random.default_rng(2)
    found = length_matched(
        arm(random, "c", 60, 0.3, (0.3, 0.1)), arm(random, "t", 60, 0.6, (0.4, 0.2)), paired=False
    )
    assert found.plain < 0.05
    assert found.estimate == pytest.approx(0.1, abs=0.03)
    assert found.ci95[0] > 0


@pytest.mark.parametrize("paired", [True, False])
def test_equal_arms_with_other_lengths_differ_in_five_of_a_hundred(paired):
    random = np.random.default_rng(3)
    prefixes = ("u", "u") if paired else ("c", "t")
    p_values = [
        length_matched(
            arm(random, prefixes[0], 30, 0.5, (0.4, 0.1), 20),
            arm(random, prefixes[1], 30, 0.2, (0.4, 0.1), 20),
            paired=paired,
        ).p_value
        for _ in range(500)
    ]
    assert abs(np.mean(np.array(p_values) <= 0.05) - 0.05) <= 0.02
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.booleans()), min_size=60, max_size=120
)


@settings(max_examples=40, deadline=None)
@given(rows, rows)
def test_matched_difference_is_the_weighted_mean_over_bins(one, two):
    both = [
        Proposals(
            [u for u, _, _ in part],
            np.array([float(c) for _, c, _ in part]),
            np.array([float(a) for *_, a in part]),
        )
        for part in (one, two)
    ]
    edges = (0.0, 10.0, 20.0)
    found = length_matched(*both, paired=False, edges=edges)
    expected, weight = 0.0, 0
    for low, high in zip(edges, (10, 20, np.inf), strict=True):
        inside = [[a for _, c, a in part if low <= c < high] for part in (one, two)]
        if min(map(len, inside)) >= proposals.LEAST_SHOWN:
            shown = len(inside[0]) + len(inside[1])
            expected += shown * (np.mean(inside[1]) - np.mean(inside[0]))
            weight += shown
    if weight:
        assert found.estimate == pytest.approx(expected / weight, abs=1e-12)
    else:
        assert (found.estimate, found.reason) == (None, "no length bin is common to both arms")
    assert sum(b.shown[0] for b in found.bins) == len(one)


def test_one_bin_is_the_plain_difference():
    random = np.random.default_rng(4)
    both = [arm(random, "u", 20, share, (0.4, 0.1)) for share in (0.5, 0.2)]
    found = length_matched(*both, paired=True, edges=(1.0,))
    assert found.estimate == pytest.approx(found.plain)
    assert found.explained == pytest.approx(0.0, abs=1e-12)


def test_tallies_add_up():
    few = Proposals(
        ["b", "a", "b", "b"],
        np.array([10.0, 300.0, 5.0, 7.0]),
        np.array([1.0, 1.0, 0.0, 1.0]),
        visible_ms=np.array([100.0, 900.0, 50.0, np.nan]),
        retained_chars=np.array([6.0, 200.0, 0.0, 7.0]),
    )
    found = tallies(few, ["a", "b", "c"])
    assert {name: values.tolist() for name, values in found.items()} == {
        "shown": [1, 3, 0],
        "accepted": [1, 2, 0],
        "shown_chars": [300, 22, 0],
        "accepted_chars": [300, 17, 0],
        "retained_chars": [200, 13, 0],
        "timed_accepted": [1, 1, 0],
        "fast_accepted": [1, 1, 0],
    }
    assert tallies(few)["shown"].tolist() == [1, 3]
    assert tallies(Proposals([], np.array([]), np.array([])))["shown"].tolist() == []


def test_too_fast_is_reaction_and_reading():
    times, chars = np.array([119.0, 130.0, 500.0, 520.0, np.nan]), np.array([0.0, 0.0, 100.0, 100.0, 5.0])
    assert flags.too_fast(times, chars).tolist() == [True, False, True, False, False]


def test_limits_move_flags():
    counts = {"shown": np.array([50.0]), "accepted": np.array([0.0])}
    assert flags.find("a", ["u"], counts) == ()
    found = flags.find("a", ["u"], counts, Limits(many_exposures=50))
    assert found == (flags.Flag("a", "u", Reason.ACCEPTS_NONE, "0 of 50 shown were accepted"),)
    assert flags.find("a", ["u"], {}) == ()
    still = {"requests": np.array([200.0]), "active_s": np.array([0.0])}
    assert [flag.reason for flag in flags.find("a", ["u"], still)] == [Reason.REQUEST_RATE]


def test_ordinary_users_are_not_flagged():
    found = crowd(5, 1, 3000)
    counts = {"shown": found.n_c[0].astype(float), "accepted": found.y_c[0].astype(float)}
    assert len(flags.find("a", [str(k) for k in range(3000)], counts)) <= 1


def test_imbalance_is_fishers():
    assert flags.imbalance((3, 9), (50, 60)) == pytest.approx(stats.fisher_exact([[3, 47], [9, 51]]).pvalue)
    assert flags.imbalance((0, 0), (0, 5)) is None


def test_proposals_are_refused_with_a_sentence():
    some = Proposals(["a"] * 40, np.full(40, 5.0), np.zeros(40))
    none = Proposals([], np.array([]), np.array([]))
    with pytest.raises(SchemaError, match="differ in length"):
        Proposals(["a"], np.array([1.0, 2.0]), np.array([1.0]))
    with pytest.raises(SchemaError, match="accepted is 0 or 1"):
        Proposals(["a"], np.array([1.0]), np.array([0.5]))
    with pytest.raises(SchemaError, match="finite length"):
        Proposals(["a"], np.array([np.nan]), np.array([1.0]))
    with pytest.raises(ConfigError, match="do not rise"):
        length_matched(some, some, paired=False, edges=(5.0, 5.0))
    with pytest.raises(SchemaError, match="not among the users"):
        length_matched(some, some, paired=False, users=(["b"], ["a"]))
    with pytest.raises(SchemaError, match="same users"):
        length_matched(some, some, paired=True, users=(["a", "b"], ["b", "a"]))
    assert "no proposal" in length_matched(some, none, paired=False).reason
    alone = length_matched(some, some, paired=False)
    assert (alone.estimate, alone.p_value) == (0.0, None)
    assert "too few users" in alone.reason
    both = length_matched(some, some, paired=False, users=(["a", "b"], ["a", "c"]))
    assert "alike" in both.reason
