"""The mixture: schedule, bands, the tail of perplexity, and draws that sharding does not touch."""

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import config as settings_module
from echo_ray import schema
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.stages.balance import (
    Applied,
    BalanceConfig,
    Plan,
    applied,
    balance,
    copies,
    group,
    histogram,
    plan,
    tally,
    void_ratio,
)
from echo_ray.stages.counts import LENGTHS, Counts, Group, tail
from echo_ray.stages.surprisal import bin_of, edge

CONFIG = BalanceConfig()
TOKENS = {"void": 0, "short": 1, "medium": 10, "long": 90}
TARGET = {"void": "", "short": "x", "medium": "x" * 30, "long": "x" * 300}
ROW = tuple[str | None, float | None]
"""A group (null: dropped earlier), and a perplexity."""
BINS = st.dictionaries(st.integers(0, 270), st.integers(1, 20_000), max_size=6)
GROUP = st.builds(
    lambda bins, more: Group(rows=sum(bins.values()) + more, bins=bins), BINS, st.integers(0, 50_000)
)
COUNTS = st.builds(Counts, void=GROUP, short=GROUP, medium=GROUP, long=GROUP)


def scored(rows: Sequence[ROW], first: int = 0) -> pa.Table:
    fill = {"user": "u", "session": "s", "file": "f", "language": "go", "prefix": "", "suffix": ""}
    made = []
    for n, (kind, perplexity) in enumerate(rows):
        target = None if kind is None else TARGET[kind]
        tokens = None if kind is None else TOKENS[kind]
        row = {
            "sample_id": f"s{first + n}",
            "request_id": f"r{first + n}",
            "ts_ms": n,
            "commit": target or "",
        }
        row |= {"target": target, "target_tokens": tokens, "perplexity": perplexity}
        made.append(fill | row | {"drop": "syntax_error" if kind is None else None})
    return pa.Table.from_pylist(made, schema=schema.SCORED)


def run(table: pa.Table, config: BalanceConfig) -> pa.Table:
    return balance(table, applied(config, plan(histogram(table, config), config)))


def simple(**rows: int) -> Counts:
    return Counts(**{name: Group(rows=number) for name, number in rows.items()})


def test_schedule_of_the_void_ratio() -> None:
    sizes = [0, 1, 1_000, 50_000, 200_000, 5_000_000]
    assert pytest.approx([0.1, 0.1, 0.1, 0.1, 0.05, 0.01]) == [void_ratio(size, CONFIG) for size in sizes]


@given(st.integers(1, 10**8), st.integers(1, 10**8), st.floats(0, 1))
def test_more_data_never_has_a_higher_ratio_nor_fewer_voids(a: int, b: int, exponent: float) -> None:
    config = CONFIG.updated(void_exponent=exponent)
    small, large = sorted((a, b))
    assert void_ratio(small, config) >= void_ratio(large, config)
    assert void_ratio(small, config) * small <= void_ratio(large, config) * large * (1 + 1e-9)


@pytest.mark.parametrize(
    ("target", "tokens", "expected"),
    [
        ("", 0, "void"),
        ("", None, "void"),
        ("ab", 2, "short"),
        ("abc", 3, "medium"),
        ("x", 40, "medium"),
        ("x", 41, "long"),
        ("x" * 8, None, "short"),  # estimated: 4 characters a token
        ("x" * 9, None, "medium"),
        ("x" * 160, None, "medium"),
        ("x" * 161, None, "long"),
        (")\n    }\n}\n]);", 12, "short"),
        (")", 1, "short"),
        ("} else {", 4, "medium"),
    ],
)
def test_groups(target: str, tokens: int | None, expected: str) -> None:
    assert expected == group(target, tokens, CONFIG)


def test_one_case_per_drop_reason() -> None:
    table = scored(
        [("void", None), ("short", 2.0), ("medium", 2.0), ("long", 9.0), (None, None), ("medium", 50.0)]
    )
    decided = Plan(
        void=0,
        void_easy=0,
        void_hard=0,
        short=0,
        medium=2,
        long=0,
        hard_from=None,
        tails={"medium": 20},
        ratio=0,
    )
    result = balance(table, Applied(plan=decided, tail_keep=0))
    assert schema.BALANCED == result.schema
    expected = ["void_quota", "length_band", None, "length_band", "syntax_error", "perplexity_tail"]
    assert expected == result["drop"].to_pylist()
    assert [0, 0, 2, 0, 0, 0] == result["copies"].to_pylist()
    assert ["void", "short", "medium", "long", None, "medium_tail"] == result["band"].to_pylist()


@pytest.mark.parametrize("voids", [500, 20_000])
def test_mixture_hits_its_ratios(voids: int) -> None:
    draw = random.Random(voids)
    kinds = ["void"] * voids + ["short"] * 3_000 + ["medium"] * 5_000 + ["long"] * 4_000
    draw.shuffle(kinds)
    rows = [(kind, draw.lognormvariate(2, 1) + 1) for kind in kinds]
    result = run(scored(rows), CONFIG)
    found = tally(result)
    made: Counter[str] = Counter()
    for band, entry in found.items():
        made[band.partition("_")[0]] += entry["copies"]
    total = made["short"] + made["medium"] + made["long"]
    noise = 4 * math.sqrt(total)
    assert min(voids, 0.1 * total) == pytest.approx(made["void"], abs=noise)
    assert 0.1 * total == pytest.approx(made["short"], abs=noise)
    assert 0.8 * total == pytest.approx(made["medium"], abs=noise)
    assert 0.2 * 4_000 == pytest.approx(made["long"], abs=noise)  # the floor: more than its share
    assert len(kinds) == sum(entry["rows"] for entry in found.values())


@given(COUNTS)
def test_plan_keeps_its_promises(counts: Counts) -> None:
    decided = plan(counts, CONFIG)
    assert decided.ratio <= CONFIG.void_ratio
    assert CONFIG.keep_at_least <= decided.short <= 1
    assert CONFIG.keep_at_least <= decided.long <= 1
    assert 1 <= decided.medium <= CONFIG.max_copies
    non_void = 0.0
    for name in LENGTHS:
        band: Group = getattr(counts, name)
        high = band.above(decided.tails.get(name))
        assert high <= (1 - CONFIG.perplexity_quantile) * band.scored + 1e-6
        non_void += getattr(decided, name) * (band.rows - (1 - CONFIG.tail_keep) * high)
    hard = counts.void.above(decided.hard_from)
    kept_hard = decided.void_hard * hard
    kept_easy = decided.void_easy * (counts.void.scored - hard)
    kept = kept_hard + kept_easy + decided.void * (counts.void.rows - counts.void.scored)
    quota = decided.ratio * non_void
    assert min(quota, counts.void.rows) == pytest.approx(kept, abs=1e-6 * (1 + quota))
    assert kept_hard >= min(hard, CONFIG.void_hard_share * (kept_hard + kept_easy)) - 1e-6 * (1 + quota)
    assert Plan.model_validate(json.loads(decided.model_dump_json())) == decided


@given(st.lists(COUNTS, max_size=5), st.randoms())
def test_counts_add_up_in_any_order(shards: list[Counts], draw: random.Random) -> None:
    shuffled = list(shards)
    draw.shuffle(shuffled)
    assert Counts.total(shards) == Counts.total(shuffled)
    assert Counts.total([]) == Counts()
    for shard in shards:
        assert shard == Counts.model_validate(json.loads(shard.model_dump_json()))


@given(st.lists(st.floats(1, 1e7), min_size=1, max_size=300), st.floats(0.5, 1))
def test_the_tail_is_the_largest_that_the_quantile_allows(values: list[float], quantile: float) -> None:
    bins = Counter(bin_of(value) for value in values)
    first = tail(bins, quantile)
    most = (1 - quantile) * len(values) + 1e-9
    above = sum(first is not None and bin_of(value) >= first for value in values)
    assert above <= most
    if first is None:
        assert bins[max(bins)] > most
    else:
        below = [number for number in bins if number < first]
        assert not below or above + bins[max(below)] > most


def test_bins_and_edges_agree() -> None:
    for number in range(250):
        assert number == bin_of(edge(number) * 1.0001)
    assert bin_of(math.inf) == bin_of(1e6)
    assert 0 == bin_of(0.5) == bin_of(1.0)


def test_the_tail_is_judged_within_its_band() -> None:
    # Short targets surprise more: a common threshold would take the tail from them alone.
    rows: list[ROW] = [("short", 100.0 + n) for n in range(1_000)] + [
        ("medium", 2.0 + n / 100) for n in range(1_000)
    ]
    result = run(scored(rows), CONFIG.updated(tail_keep=0, perplexity_quantile=0.9))
    found = tally(result)
    assert 40 <= found["short_tail"]["rows"] <= 100
    assert 40 <= found["medium_tail"]["rows"] <= 100
    assert 0 == found["short_tail"]["copies"] == found["medium_tail"]["copies"]


def test_the_tail_is_kept_at_its_rate_and_then_treated_like_its_band() -> None:
    rows: list[ROW] = [("medium", 2.0)] * 3_000 + [("medium", 900.0)] * 3_000
    config = CONFIG.updated(
        perplexity_quantile=0.5, tail_keep=0.25, medium_share=1, short_share=0, long_share=0
    )
    decided = plan(histogram(scored(rows), config), config)
    found = tally(balance(scored(rows), applied(config, decided.model_copy(update={"medium": 1.5}))))
    assert 4_500 == pytest.approx(found["medium"]["copies"], abs=120)
    assert 0.25 * 4_500 == pytest.approx(found["medium_tail"]["copies"], abs=150)


@pytest.mark.parametrize("value", [None, math.nan])
def test_a_row_without_perplexity_is_never_judged(value: float | None) -> None:
    rows: list[ROW] = [("medium", value)] * 50 + [("void", value)] * 10
    counts = histogram(scored(rows), CONFIG)
    assert 0 == counts.medium.scored
    result = run(scored(rows), CONFIG.updated(perplexity_quantile=0.01, tail_keep=0))
    assert {"medium", "void"} == set(result["band"].to_pylist())
    assert "perplexity_tail" not in result["drop"].to_pylist()


def test_infinite_perplexity_is_the_tail() -> None:
    rows: list[ROW] = [("medium", 2.0)] * 99 + [("medium", math.inf)]
    result = run(scored(rows), CONFIG.updated(tail_keep=0))
    assert "perplexity_tail" == result["drop"].to_pylist()[-1]
    assert 99 == result["drop"].null_count


def test_voids_that_stay_are_not_only_the_easy_ones() -> None:
    draw = random.Random(5)
    # Nine in ten voids are line ends where any model is silent.
    rows: list[ROW] = [("void", 1.0 if draw.random() < 0.9 else draw.uniform(5, 500)) for _ in range(20_000)]
    rows += [("medium", 3.0)] * 10_000
    found = tally(run(scored(rows), CONFIG))
    hard, easy = found["void_hard"]["copies"], found["void_easy"]["copies"]
    assert 1_000 == pytest.approx(hard + easy, abs=120)
    assert hard == pytest.approx(easy, rel=0.2)
    blind = tally(run(scored(rows), CONFIG.updated(void_hard_share=0)))
    assert blind["void_hard"]["copies"] < 0.2 * blind["void_easy"]["copies"]


@given(
    st.lists(
        st.tuples(st.sampled_from([*TARGET, None]), st.sampled_from([None, 1.0, 3.0, 40.0, 1e5])), max_size=40
    ),
    st.integers(0, 40),
    st.randoms(),
)
@settings(deadline=None)
def test_stage_is_one_to_one_and_blind_to_sharding(rows: list[ROW], cut: int, draw: random.Random) -> None:
    config = CONFIG.updated(perplexity_quantile=0.6)
    table = scored(rows)
    shards = [table.slice(0, cut), table.slice(cut)]
    counts = Counts.total(histogram(shard, config) for shard in shards)
    assert counts == histogram(table, config)
    decided = applied(config, plan(counts, config))
    result = balance(table, decided)
    kept = [name for name in schema.SCORED.names if name != "drop"]
    assert result.select(kept).equals(table.select(kept))
    for before, after in zip(table.to_pylist(), result.to_pylist(), strict=True):
        assert before["drop"] in (None, after["drop"])
        assert (after["copies"] == 0) == (after["drop"] is not None)
        assert (after["band"] is None) == (before["drop"] is not None)
    assert pa.concat_tables([balance(shard, decided) for shard in shards]).equals(result)
    order = list(range(len(rows)))
    draw.shuffle(order)
    shuffled = balance(table.take(pa.array(order, pa.int64())), decided)
    assert shuffled.sort_by("sample_id").equals(result.sort_by("sample_id"))
    added = Counts.total([]), tally(result)
    assert sum(e["rows"] for e in added[1].values()) == sum(kind is not None for kind, _ in rows)


@given(st.floats(0, 3))
def test_copies_are_unbiased(factor: float) -> None:
    made = [copies(f"s{n}", factor, seed=4) for n in range(2_000)]
    assert factor == pytest.approx(sum(made) / len(made), abs=0.06)
    assert max(made) - min(made) <= 1


def test_seed_changes_the_draw_and_not_the_plan() -> None:
    table = scored([("short", 2.0)] * 200 + [("medium", 2.0)] * 100)
    first, second = run(table, CONFIG), run(table, CONFIG.updated(seed=1))
    assert first["copies"] != second["copies"]
    assert run(table, CONFIG).equals(first)


def test_few_medium_targets_do_not_cost_the_corpus() -> None:
    decided = plan(simple(short=1_000, medium=1), CONFIG)
    assert CONFIG.keep_at_least == decided.short
    assert 1 == plan(simple(short=1_000), CONFIG).short


def test_no_voids_only_voids_and_nothing_at_all() -> None:
    nothing = plan(Counts(), CONFIG)
    assert (1, 1, 1, 0.1) == (nothing.short, nothing.medium, nothing.long, nothing.ratio)
    assert 0 == plan(simple(void=10, medium=10), CONFIG.updated(void_ratio=0)).void
    assert 0 == plan(simple(void=10), CONFIG).void  # silence alone teaches nothing but silence
    assert schema.BALANCED == run(scored([]), CONFIG).schema


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"short_share": 0.5}, "must add up to 1"), ({"short_tokens": 500}, "must not be greater")],
)
def test_inconsistent_settings_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_module.build(BalanceConfig, changes)


def test_a_table_of_another_kind_is_refused_and_optional_columns_may_be_missing() -> None:
    with pytest.raises(SchemaError, match="lacks the columns target"):
        histogram(scored([]).drop_columns(["target"]), CONFIG)
    broken = pa.table({"sample_id": ["a"], "target": pa.array([None], pa.string())})
    with pytest.raises(SchemaError, match="has no target"):
        histogram(broken, CONFIG)
    bare = pa.table({"sample_id": ["a", "b"], "target": ["", "x" * 50]})
    assert simple(void=1, medium=1) == histogram(bare, CONFIG)


@pytest.mark.ray
def test_the_run_counts_all_shards_and_says_what_it_did(tmp_path: Path, cluster: None) -> None:
    from jobs.balance import balance_samples
    from jobs.settings import RunConfig
    from tests.refined import dealt, read

    draw = random.Random(0)
    rows: list[ROW] = [(draw.choice([*TARGET, None]), draw.lognormvariate(1, 1) + 1) for _ in range(900)]
    table = scored(rows)
    results: list[tuple[Any, pa.Table]] = []
    for shards in (1, 3):
        folder = dealt(table, tmp_path / f"in{shards}", shards)
        manifest = balance_samples(RunConfig(), folder, tmp_path / f"out{shards}")
        results.append((manifest, read(tmp_path / f"out{shards}")))
    (first, one), (second, three) = results
    assert one.equals(three)
    assert one.equals(run(table, CONFIG).sort_by("sample_id"))
    assert first.notes == second.notes
    assert tally(one) == first.notes["bands"]
    assert histogram(table, CONFIG) == Counts.model_validate(first.notes["counts"])
    assert (900, 900) == (first.rows_in, first.rows_out)


@pytest.mark.ray
def test_an_empty_folder_is_one_sentence(tmp_path: Path, cluster: None) -> None:
    from jobs.balance import balance_samples
    from jobs.settings import RunConfig

    (tmp_path / "in").mkdir()
    with pytest.raises(SchemaError, match="holds no Parquet file"):
        balance_samples(RunConfig(), tmp_path / "in", tmp_path / "out")
