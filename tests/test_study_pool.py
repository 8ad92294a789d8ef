"""Several seeds, one answer: intervals that cover, and say less the fewer seeds there are."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jobs.study_pool import pooled, slope


def item(value: float | None, se: float = 0.01, users: int = 30) -> dict[str, object]:
    half = stats.t.ppf(0.975, users - 1) * se
    ends = (None, None) if value is None else (value - half, value + half)
    return {"value": value, "ci95": ends, "users": users}


def test_one_seed_keeps_its_own_interval_and_says_so() -> None:
    found = pooled([item(0.02)])
    assert found.one_seed
    assert pytest.approx(item(0.02)["ci95"]) == found.ci95
    assert pytest.approx(2 * stats.t.sf(2.0, 29)) == found.p_value
    assert 0 == found.direction


def test_more_seeds_do_not_shrink_what_the_users_leave_open() -> None:
    one, many = pooled([item(0.02)]), pooled([item(0.02)] * 50)
    assert pytest.approx(one.ci95) == many.ci95
    assert not many.one_seed


def test_seeds_that_disagree_widen_the_interval() -> None:
    calm = pooled([item(0.02), item(0.02), item(0.02)])
    wild = pooled([item(-0.02), item(0.02), item(0.06)])
    assert pytest.approx(calm.value) == wild.value
    assert wild.ci95[1] - wild.ci95[0] > 2 * (calm.ci95[1] - calm.ci95[0])  # type: ignore[operator]
    assert (-0.02, 0.02, 0.06) == wild.by_seed


@given(st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=6), st.floats(0.001, 0.05), st.integers(3, 200))
def test_the_order_of_seeds_changes_nothing_and_the_mean_is_inside(
    values: list[float], se: float, users: int
) -> None:
    found = pooled([item(value, se, users) for value in values])
    again = pooled([item(value, se, users) for value in reversed(values)])
    assert pytest.approx(found.ci95) == again.ci95
    low, high = found.ci95
    assert low is not None
    assert high is not None
    assert low < found.value < high  # type: ignore[operator]
    assert (found.direction != 0) == (found.p_value < 0.05)  # type: ignore[operator]


def test_what_is_missing_stays_missing() -> None:
    nothing = pooled([item(None), item(None)])
    assert (None, (None, None), None, 0) == (nothing.value, nothing.ci95, nothing.p_value, nothing.direction)
    assert 0.02 == pooled([item(0.02), item(None)]).value
    without = pooled([{"estimate": 0.02, "ci95": (None, None), "users": 30}, item(0.02)])
    assert (0.02, (None, None), 0) == (without.value, without.ci95, without.direction)
    assert (None, None) == pooled([item(0.02, users=2) | {"users": 1}]).ci95


def test_equal_models_differ_by_nothing() -> None:
    found = pooled([{"estimate": 0.0, "ci95": (0.0, 0.0), "users": 30}] * 3)
    assert ((0.0, 0.0), 1.0, 0) == (found.ci95, found.p_value, found.direction)


def test_intervals_cover_the_truth_over_users_and_seeds() -> None:
    """Users shared by all seeds, seeds drawn anew: 95% intervals cover in 93% of the studies or more."""
    draws = np.random.default_rng(5)
    users, seeds, studies, truth = 30, 3, 600, 0.02
    covered = 0
    for _ in range(studies):
        people = draws.normal(0, 0.05, users)
        found = []
        for _ in range(seeds):
            model = draws.normal(0, 0.006)
            seen = truth + model + people + draws.normal(0, 0.02, users)
            found.append(item(float(seen.mean()), float(seen.std(ddof=1) / math.sqrt(users)), users))
        low, high = pooled(found).ci95
        assert low is not None
        assert high is not None
        covered += low <= truth <= high
    assert covered / studies >= 0.93


def test_a_line_over_doublings() -> None:
    exact = slope([(size, 0.1 + 0.03 * math.log2(size)) for size in (100, 200, 400, 800)])
    assert exact is not None
    assert pytest.approx(0.03) == exact.per_doubling
    noisy = [
        (size, 0.1 + 0.01 * draw) for size, draw in zip((1, 2, 4, 8, 16), (1, -1, 1, -1, 1), strict=True)
    ]
    flat = slope(noisy)
    assert flat is not None
    assert flat.ci95[0] < 0 < flat.ci95[1]
    assert flat.p_value > 0.05
    assert slope([(100, 0.1), (200, 0.2)]) is None
    assert slope([(100, 0.1)] * 4) is None
