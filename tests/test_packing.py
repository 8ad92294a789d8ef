"""Which samples share a forward pass, checked against exhaustive search, and what one looks like."""

import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.train.collate import IGNORED, collate
from echo_ray.train.packing import Row, Step, bins, imbalance_share, padding_share, plan

LENGTHS = st.lists(st.integers(2, 700), min_size=1, max_size=80)


def rows_of(lengths: list[int]) -> list[Row]:
    return [Row(f"r{i}/0", length, 1 + length // 7) for i, length in enumerate(lengths)]


def tokens(rows: list[Row], chosen: tuple[int, ...]) -> int:
    return sum(rows[i].length for i in chosen)


def named(rows: list[Row], steps: list[Step]) -> list[object]:
    return [[[[rows[i].key for i in one] for one in share] for share in step.workers] for step in steps]


@given(LENGTHS, st.integers(1, 5), st.integers(1, 40), st.integers(0, 3))
def test_an_epoch_holds_every_row_once_in_bins_that_fit(
    lengths: list[int], workers: int, batch: int, epoch: int
) -> None:
    rows = rows_of(lengths)
    steps = plan(rows, batch, 600, workers, seed=1, epoch=epoch)
    seen = [i for step in steps for share in step.workers for one in share for i in one]
    assert list(range(len(rows))) == sorted(seen)
    assert -(-len(rows) // batch) == len(steps)
    for step in steps:
        inside = [i for share in step.workers for one in share for i in one]
        assert batch >= len(inside)
        assert sum(rows[i].targets for i in inside) == step.targets
        assert workers == len(step.workers)
        assert 1 == len({len(share) for share in step.workers})
        for share in step.workers:
            assert all(len(one) <= 1 or tokens(rows, one) <= 600 for one in share)
            loads = [tokens(rows, one) for one in share]
            assert sorted(loads, reverse=True) == loads
            assert any(share) or len(inside) < workers  # nobody idles while there is a row to give


@given(LENGTHS, st.integers(1, 4), st.randoms())
def test_the_plan_depends_on_record_ids_and_not_on_row_numbers(
    lengths: list[int], workers: int, draw: random.Random
) -> None:
    rows = rows_of(lengths)
    shuffled = draw.sample(rows, len(rows))
    expected = named(rows, plan(rows, 16, 600, workers, seed=3, epoch=2))
    assert expected == named(shuffled, plan(shuffled, 16, 600, workers, seed=3, epoch=2))


def test_epochs_and_seeds_have_their_own_order() -> None:
    rows = rows_of(list(range(10, 90)))
    plans = [named(rows, plan(rows, 8, 600, 2, seed, epoch)) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert plans[0] != plans[1]
    assert plans[0] != plans[2]


def fewest(lengths: list[int], loads: tuple[int, ...]) -> int:
    """Bins of 10 that `lengths` need beside what already lies in `loads`, by trying everything."""
    if not lengths:
        return len(loads)
    first, *rest = lengths
    tried = [fewest(rest, (*loads, first))]
    for n, load in enumerate(loads):
        if load + first <= 10:
            tried.append(fewest(rest, (*loads[:n], load + first, *loads[n + 1 :])))
    return min(tried)


@given(st.lists(st.integers(1, 10), min_size=1, max_size=7))
def test_bins_are_as_few_as_best_fit_decreasing_guarantees(lengths: list[int]) -> None:
    rows = rows_of(lengths)
    found = bins(rows, range(len(rows)), 10)
    optimum = fewest(lengths, ())
    assert optimum <= len(found) <= 11 / 9 * optimum + 6 / 9  # Dosa 2007, for first and best fit decreasing


@given(st.lists(st.integers(1, 50), min_size=1, max_size=7), st.integers(2, 3))
def test_the_heaviest_worker_is_nearly_as_light_as_it_can_be(lengths: list[int], workers: int) -> None:
    rows = rows_of(lengths)
    (step,) = plan(rows, len(rows), 10_000, workers, seed=0, epoch=0)
    loads = [sum(tokens(rows, one) for one in share) for share in step.workers]
    every = product(range(workers), repeat=len(lengths))
    best = min(
        max(sum(n for n, p in zip(lengths, places, strict=True) if p == w) for w in range(workers))
        for places in every
    )
    assert max(loads) <= (4 / 3 - 1 / (3 * workers)) * best + 1e-9  # Graham 1969
    assert max(loads) - min(loads) <= max(lengths)


def test_a_row_longer_than_a_bin_is_alone_and_whole() -> None:
    rows = rows_of([900, 10, 20, 30])
    assert [(0,), (3, 2, 1)] == bins(rows, range(4), 600)
    (step,) = plan(rows, 4, 600, 2, seed=0, epoch=0)
    assert (((0,),), ((3, 2, 1),)) == step.workers


def test_two_workers_get_two_bins_where_three_would_leave_one_idle() -> None:
    rows = rows_of([300] * 8)
    (step,) = plan(rows, 8, 1000, 2, seed=0, epoch=0)
    assert [[600, 600], [600, 600]] == [[tokens(rows, one) for one in share] for share in step.workers]
    assert 3 == len(bins(rows, range(8), 1000))


def test_shares_of_waste_by_hand() -> None:
    rows = rows_of([90, 30, 10])
    steps = [Step((((0,), ()), ((1,), (2,))), 0)]
    assert 1 - 130 / 131 == padding_share(rows, steps)
    # 90 in 128 tokens, an empty pass of 64, 30 and 10 in 64 each
    assert 1 - 130 / (128 + 64 + 64 + 64) == padding_share(rows, steps, 64)
    assert 1 - 130 / (2 * 90) == imbalance_share(rows, steps)
    assert (0.0, 0.0) == (padding_share(rows, []), imbalance_share(rows, []))
    assert [] == plan([], 8, 600, 2, seed=0, epoch=0)


def test_little_is_wasted_on_lengths_like_real_ones() -> None:
    draw = random.Random(0)
    rows = rows_of([min(512, max(46, round(draw.gauss(276, 90)))) for _ in range(1344)])
    for workers, idle in ((1, 0.0), (2, 0.01), (8, 0.06)):
        steps = plan(rows, 32, 2048, workers, seed=0, epoch=0)
        assert 0.0 == padding_share(rows, steps)
        assert padding_share(rows, steps, 16) < 0.02
        assert imbalance_share(rows, steps) <= idle


SAMPLES = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
        lambda sizes: st.tuples(
            st.lists(st.integers(0, 90), min_size=sum(sizes), max_size=sum(sizes)), st.just(sizes[0])
        )
    ),
    max_size=6,
)


@given(SAMPLES, st.integers(1, 16))
@settings(deadline=None)  # the first example imports torch
def test_samples_lie_side_by_side_and_only_targets_carry_loss(
    samples: list[tuple[list[int], int]], multiple: int
) -> None:
    packed = collate(samples, multiple)
    total = packed.input_ids.shape[1]
    assert {(1, total)} == {tuple(t.shape) for t in (packed.input_ids, packed.positions, packed.labels)}
    ids, positions, labels = (t[0].tolist() for t in (packed.input_ids, packed.positions, packed.labels))
    expected_ids = [token for sample, _ in samples for token in sample]
    expected_labels = [
        token if place >= prompt else IGNORED
        for sample, prompt in samples
        for place, token in enumerate(sample)
    ]
    padding = total - len(expected_ids)
    assert 0 == total % multiple
    assert total > 0
    assert padding < multiple or not samples
    assert expected_ids == ids[: len(expected_ids)]
    assert expected_labels + [IGNORED] * padding == labels
    lengths = [len(sample) for sample, _ in samples]
    assert [place for length in (*lengths, padding) for place in range(length)] == positions
    assert tuple(lengths) == packed.lengths
    assert tuple(n for n in (*lengths, padding) if n) == packed.segments
    assert sum(len(sample) - prompt for sample, prompt in samples) == packed.targets
    begins = [place for place, position in enumerate(positions) if position == 0]
    assert all(labels[place] == IGNORED for place in begins)  # nothing is predicted across a border


@pytest.mark.parametrize("prompt", [0, -1, 3, 4])
def test_a_sample_needs_a_prompt_and_a_target(prompt: int) -> None:
    with pytest.raises(ValueError, match="3 tokens cannot have a prompt"):
        collate([([1, 2], 1), ([5, 6, 7], prompt)])
