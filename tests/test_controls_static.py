"""Static cuts of files, foreign blocks pasted on purpose, nested sizes, equal tokens."""

from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.controls.noise import NoiseConfig, is_pasted, paste_noise
from echo_ray.controls.sizes import matched, nested, target_tokens
from echo_ray.controls.static import FILES, StaticConfig, cut_files, documents
from echo_ray.errors import SchemaError
from echo_ray.schema import BALANCED, Drop
from echo_ray.stages.pack import PACKED
from tests.study_rows import balanced_tables, by_id, samples, turned

CODE = "def area(width, height):\n    result = width * height\n    return result\n\n\nprint(area(2, 3))\n"


def files(*texts: str, weights: tuple[int, ...] = ()) -> pa.Table:
    """FILES of these texts."""
    rows = [
        {"key": f"k{n}", "user": "u", "file": f"f{n}", "language": "python", "text": text}
        | ({"weight": weights[n]} if weights else {})
        for n, text in enumerate(texts)
    ]
    return pa.Table.from_pylist(rows, schema=FILES)


def test_a_cut_is_a_hole_in_its_file_and_no_place_is_cut_twice() -> None:
    found = cut_files(files(CODE, CODE.replace("area", "size")), StaticConfig(cuts=60))
    rows = found.table.to_pylist()
    assert BALANCED == found.table.schema
    assert found.counts["cuts"] == len(rows) > 30
    texts = {"f0": CODE, "f1": CODE.replace("area", "size")}
    for row in rows:
        assert texts[row["file"]] == row["prefix"] + row["target"] + row["suffix"]
        assert 1 == row["copies"]
    assert len(rows) == len({row["sample_id"] for row in rows})
    assert found.counts["voids"] == sum(not row["target"] for row in rows)


def test_cuts_fall_where_the_weight_is_and_do_not_depend_on_the_order() -> None:
    table = files(CODE, CODE.replace("area", "size"), weights=(9, 1))
    found = cut_files(table, StaticConfig(cuts=40))
    first = found.table["file"].to_pylist().count("f0")
    assert first > 0.7 * found.table.num_rows
    assert found.table.equals(cut_files(turned(table), StaticConfig(cuts=40)).table)
    assert not found.table.equals(cut_files(table, StaticConfig(cuts=40, seed=1)).table)


def test_fewer_cuts_are_the_first_of_more() -> None:
    table = files(CODE)
    less, more = (cut_files(table, StaticConfig(cuts=n)).table for n in (10, 30))
    assert less.equals(more.slice(0, less.num_rows))


def test_nothing_to_cut_and_two_files_of_one_key_are_refused() -> None:
    with pytest.raises(SchemaError, match="no file with text"):
        cut_files(files("", "  \n"), StaticConfig())
    with pytest.raises(SchemaError, match="same key"):
        cut_files(pa.concat_tables([files(CODE), files(CODE)]), StaticConfig())


def test_documents_are_the_last_states_weighted_by_requests() -> None:
    rows: list[dict[str, Any]] = [
        {"sample_id": f"r{n}", "user": "u", "file": "f", "ts_ms": n, "prefix": "x" * n, "suffix": "end"}
        for n in range(3)
    ]
    rows.append({"sample_id": "o", "user": "v", "file": "f", "ts_ms": 9, "prefix": "", "suffix": " "})
    found = documents(samples(rows))
    assert [("xxend", 3)] == [(row["text"], row["weight"]) for row in found.table.to_pylist()]
    assert {"requests": 4, "documents": 1, "incomplete": 0, "empty": 1} == found.counts
    assert found.table.equals(documents(turned(samples(rows))).table)


def many(number: int) -> pa.Table:
    return samples([{"sample_id": f"s{n}", "language": "python", "commit": "own()"} for n in range(number)])


DONORS = files("\n".join(f"foreign_{n}()" for n in range(60)))


def test_pasted_blocks_are_foreign_known_and_nested() -> None:
    table = many(2000)
    before: set[str] = set()
    for share in (0.02, 0.05, 0.1):
        config = NoiseConfig(share=share)
        found = paste_noise(table, DONORS, config)
        pasted = {row["sample_id"] for row in found.table.to_pylist() if row["commit"] != "own()"}
        assert pasted == {f"s{n}" for n in range(2000) if is_pasted(f"s{n}", config)}
        assert before < pasted
        assert abs(len(pasted) / 2000 - share) < 0.02
        before = pasted
    for row in found.table.to_pylist():
        if row["sample_id"] in before:
            assert config.min_lines <= len(row["commit"].split("\n")) <= config.max_lines
            assert row["commit"] in DONORS["text"][0].as_py()
            assert (0, len(row["commit"])) == (row["human_chars"], row["pasted_chars"])


def test_rows_that_are_out_or_void_get_no_noise() -> None:
    table = samples(
        [
            {"sample_id": "a", "commit": "", "language": "python"},
            {"sample_id": "b", "commit": "x", "drop": Drop.UNOBSERVED.value},
            {"sample_id": "c", "commit": "x", "language": "vue"},
        ]
    )
    found = paste_noise(table, DONORS, NoiseConfig(share=1.0))
    assert ["", "x"] == found.table["commit"].to_pylist()[:2]
    assert {"rows": 3, "eligible": 1, "pasted": 1, "other_language": 1} == found.counts


def is_nested(smaller: pa.Table, larger: pa.Table) -> bool:
    """Whether every copy that `smaller` keeps is kept in `larger`."""
    kept = [by_id(table) for table in (smaller, larger)]
    return all(row["copies"] <= kept[1][name]["copies"] for name, row in kept[0].items())


@given(balanced_tables(), st.integers(0, 3), st.data())
def test_smaller_sets_are_within_larger_ones_with_the_same_share_of_voids(
    table: pa.Table, seed: int, data: st.DataObject
) -> None:
    total = sum(table["copies"].to_pylist())
    sizes = sorted(data.draw(st.lists(st.integers(0, total), min_size=2, max_size=4)))
    sets = [nested(table, size, seed) for size in sizes]
    assert sizes == [sum(found.table["copies"].to_pylist()) for found in sets]
    assert all(is_nested(small.table, large.table) for small, large in pairwise(sets))
    assert by_id(sets[0].table) == by_id(nested(turned(table), sizes[0], seed).table)
    voids = sum(row["copies"] for row in table.to_pylist() if not row["target"])
    for size, found in zip(sizes, sets, strict=True):
        assert abs(found.counts["voids"] - (size * voids / total if total else 0)) <= 0.5
    with pytest.raises(SchemaError, match="lower the size"):
        nested(table, total + 1, seed)


def packed(targets: list[int]) -> pa.Table:
    rows = [
        {
            "sample_id": f"s{n // 2}",
            "user": "u",
            "copy": n % 2,
            "input_ids": list(range(3 + size)),
            "prompt_tokens": 3,
        }
        for n, size in enumerate(targets)
    ]
    return pa.Table.from_pylist(rows, schema=PACKED)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(0, 400), st.integers(0, 3))
def test_tokens_are_matched_to_half_a_row(targets: list[int], tokens: int, seed: int) -> None:
    table = packed(targets)
    found = matched(table, tokens, seed)
    reached = target_tokens(found.table)
    assert reached == found.counts["tokens"]
    assert abs(reached - tokens) <= 9 / 2 or reached == 4 * sum(targets) < tokens
    assert max(0, tokens - reached) == found.counts["missing_tokens"]
    keys = list(zip(found.table["sample_id"].to_pylist(), found.table["copy"].to_pylist(), strict=True))
    assert len(keys) == len(set(keys))
    assert found.table.equals(matched(turned(table), tokens, seed).table)


def test_rows_that_were_dropped_are_not_counted() -> None:
    table = packed([5, 5])
    table = table.set_column(5, PACKED.field("drop"), pa.array([None, Drop.NO_ROOM.value]))
    assert {"rows": 1, "tokens": 10, "repeats": 2} == {
        key: matched(table, 10, 0).counts[key] for key in ("rows", "tokens", "repeats")
    }
    with pytest.raises(SchemaError, match="no packed sample"):
        matched(table.slice(1), 10, 0)
