"""Placebos: what they keep, what they break, and that order changes nothing."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.controls.placebos import random_voids, shuffled_targets
from echo_ray.controls.targets import random_cuts
from echo_ray.schema import Drop
from tests.study_rows import balanced, balanced_tables, by_id, turned

SEEDS = st.integers(0, 5)


def groups(table: pa.Table, *names: str) -> Counter[tuple[Any, ...]]:
    """How often each combination of these columns is trained on, voids apart."""
    return Counter(
        tuple(row[name] for name in names) for row in table.to_pylist() if row["copies"] and row["target"]
    )


@given(balanced_tables(), SEEDS)
def test_shuffling_moves_texts_within_language_band_and_copies(table: pa.Table, seed: int) -> None:
    found = shuffled_targets(table, seed)
    before, after = by_id(table), by_id(found.table)
    alone = [name for name, row in after.items() if row["copies"] != before[name]["copies"]]
    kept = table.filter(pa.array([row["sample_id"] not in alone for row in table.to_pylist()]))
    names = ("language", "band", "copies", "target", "target_tokens")
    assert groups(kept, *names) == groups(found.table, *names)
    assert len(alone) == found.counts["alone"]
    for name, row in after.items():
        assert row["prefix"] == before[name]["prefix"]
        if not before[name]["target"] or not before[name]["copies"]:
            assert before[name]["target"] == row["target"]
    same = [
        name
        for name, row in after.items()
        if row["copies"] and row["target"] and row["target"] == before[name]["target"]
    ]
    assert len(same) == found.counts["kept"]
    # As few keep their own text as can be: only where one text is the majority of its group.
    texts = groups(kept, "language", "band", "copies", "target")
    sizes = groups(kept, "language", "band", "copies")
    assert len(same) == sum(max(0, 2 * n - sizes[key[:3]]) for key, n in texts.items())


@given(balanced_tables(), SEEDS)
def test_the_order_of_the_rows_decides_nothing(table: pa.Table, seed: int) -> None:
    for control in (shuffled_targets, random_voids, random_cuts):
        found, again = control(table, seed), control(turned(table), seed)
        assert by_id(found.table) == by_id(again.table)
        assert found.counts == again.counts
        assert table.schema == found.table.schema
        assert table["sample_id"] == found.table["sample_id"]


def test_one_who_is_alone_is_left_out() -> None:
    found = shuffled_targets(balanced([{"sample_id": "a", "language": "go", "target": "x", "copies": 2}]), 0)
    assert [0] == found.table["copies"].to_pylist()
    assert [Drop.CONTROL_UNUSED.value] == found.table["drop"].to_pylist()


@given(balanced_tables(), SEEDS)
def test_random_voids_have_the_rate_of_true_ones(table: pa.Table, seed: int) -> None:
    found = random_voids(table, seed)
    before, after = by_id(table), by_id(found.table)
    code = sum(row["copies"] for row in before.values() if row["target"])
    voids = sum(row["copies"] for row in before.values() if not row["target"])
    assert voids == found.counts["voids_before"]
    silent = sum(row["copies"] for row in after.values() if not row["target"])
    assert silent == found.counts["voids"]
    assert code - silent == found.counts["code"]
    wanted = code * voids / (code + voids) if voids else 0
    assert abs(silent - wanted) <= 2  # half of the most copies that one row has, and rounding
    for name, row in before.items():
        if not row["target"]:
            assert 0 == after[name]["copies"]


def test_random_voids_fall_elsewhere_with_another_seed() -> None:
    rows = [{"sample_id": f"s{n}", "target": "x" if n % 4 else "", "copies": 1} for n in range(80)]
    table = balanced(rows)
    chosen = [
        {
            row["sample_id"]
            for row in random_voids(table, seed).table.to_pylist()
            if not row["target"] and row["copies"]
        }
        for seed in (0, 1)
    ]
    assert chosen[0] != chosen[1]
    assert 15 == len(chosen[0])  # 60 with text, a quarter of all was void


@given(balanced_tables(), SEEDS)
def test_random_cuts_keep_the_lengths_and_stay_in_their_commit(table: pa.Table, seed: int) -> None:
    found = random_cuts(table, seed)
    after = by_id(found.table)

    def lengths(rows: pa.Table) -> Counter[tuple[Any, ...]]:
        return Counter(
            (row["language"], row["copies"], len(row["target"]))
            for row in rows.to_pylist()
            if row["copies"] and row["target"]
        )

    assert lengths(table) == lengths(found.table)
    for row in table.to_pylist():
        target = after[row["sample_id"]]["target"]
        if row["copies"] and row["target"]:
            assert row["commit"].startswith(target)
        else:
            assert row["target"] == target


def test_random_cuts_do_cut_elsewhere() -> None:
    rows = [
        {"sample_id": f"s{n}", "language": "go", "target": "x" * (n + 1), "commit": "x" * 90, "copies": 1}
        for n in range(60)
    ]
    found = random_cuts(balanced(rows), 3)
    assert found.counts["cut"] > 50
    assert 60 == found.counts["cut"] + found.counts["unchanged"]


@pytest.mark.parametrize("control", [shuffled_targets, random_voids, random_cuts])
def test_nothing_to_break_is_no_error(control: Any) -> None:
    assert 0 == control(balanced([]), 0).table.num_rows
