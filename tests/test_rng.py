"""Keyed randomness: depends on its keys alone, and is uniform."""

from hypothesis import given
from hypothesis import strategies as st

from echo_ray import rng

KEY = st.one_of(st.text(), st.integers())


@given(st.integers(), st.lists(KEY, max_size=4))
def test_a_draw_is_a_pure_function_of_seed_and_keys(seed: int, keys: list[str | int]) -> None:
    assert 0.0 <= rng.unit(seed, *keys) < 1.0
    assert rng.unit(seed, *keys) == rng.unit(seed, *keys)
    assert rng.generator(seed, *keys).random() == rng.generator(seed, *keys).random()


def test_keys_do_not_run_together() -> None:
    draws = {
        rng.digest("a", "b"),
        rng.digest("ab"),
        rng.digest("a", 1),
        rng.digest("a1"),
        rng.digest("a", "1"),
    }
    assert 5 == len(draws)


def test_draws_are_uniform_and_uncorrelated_between_purposes() -> None:
    ones = [rng.unit(7, f"r{i}", "one") for i in range(20_000)]
    twos = [rng.unit(7, f"r{i}", "two") for i in range(20_000)]
    assert abs(sum(ones) / 20_000 - 0.5) < 0.01
    for low in range(10):
        assert abs(sum(low / 10 <= x < (low + 1) / 10 for x in ones) / 20_000 - 0.1) < 0.01
    covariance = sum((x - 0.5) * (y - 0.5) for x, y in zip(ones, twos, strict=True)) / 20_000
    assert abs(covariance) < 0.003


def test_choice_takes_every_item() -> None:
    assert {"a", "b", "c"} == {rng.choice("abc", 0, i) for i in range(100)}
