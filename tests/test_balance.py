import json
import math
import random
from collections import Counter
from collections.abc import Sequence

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
    Counts,
    Plan,
    applied,
    balance,
    group,
    histogram,
    plan,
    void_ratio,
)

CONFIG = BalanceConfig()
TARGET = {"void": "", "short": "x", "medium": "x" * 30, "long": "x" * 300}
COUNT = st.integers(0, 200_000)
COUNTS = st.builds(Counts, void=COUNT, short=COUNT, medium=COUNT, long=COUNT)


def verified(targets: Sequence[str | None], first: int = 0) -> pa.Table:
    fill = {"user": "u", "session": "s", "file": "f", "language": "go", "prefix": "", "suffix": ""}
    rows = [
        fill
        | {"sample_id": f"s{first + n}", "request_id": f"r{first + n}", "ts_ms": n, "commit": target or ""}
        | {"target": target, "drop": "syntax" if target is None else None}
        for n, target in enumerate(targets)
    ]
    return pa.Table.from_pylist(rows, schema=schema.VERIFIED)


def run(table: pa.Table, config: BalanceConfig) -> pa.Table:
    return balance(table, applied(config, plan(histogram(table, config), config)))


def test_schedule_of_the_void_ratio() -> None:
    sizes = [0, 1, 1_000, 50_000, 200_000, 5_000_000]
    assert [void_ratio(size, CONFIG) for size in sizes] == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.05, 0.01])


def test_groups() -> None:
    sizes = [0, 1, 7, 8, 120, 121]
    assert [group("x" * size, CONFIG) for size in sizes] == [
        "void",
        "short",
        "short",
        "medium",
        "medium",
        "long",
    ]


def test_one_case_per_drop_reason() -> None:
    table = verified([*TARGET.values(), None])
    nothing = Applied(plan=Plan(void=0, short=0, medium=2, long=0, ratio=0))
    result = balance(table, nothing)
    assert result.schema == schema.BALANCED
    assert result.column("drop").to_pylist() == ["void_quota", "length_band", None, "length_band", "syntax"]
    assert result.column("copies").to_pylist() == [0, 0, 2, 0, 0]


@pytest.mark.parametrize("voids", [500, 20_000])
def test_mixture_hits_its_ratios(voids: int) -> None:
    draw = random.Random(voids)
    targets = [TARGET["void"]] * voids + [TARGET["short"]] * 3_000
    targets += [TARGET["medium"]] * 5_000 + [TARGET["long"]] * 4_000
    draw.shuffle(targets)
    result = run(verified(targets), CONFIG)
    copies: Counter[str] = Counter()
    for target, number in zip(
        result.column("target").to_pylist(), result.column("copies").to_pylist(), strict=True
    ):
        copies[group(target, CONFIG)] += number
    total = copies["short"] + copies["medium"] + copies["long"]
    noise = 4 * math.sqrt(total)
    assert copies["void"] == pytest.approx(min(voids, 0.1 * total), abs=noise)
    assert copies["short"] == pytest.approx(0.1 * total, abs=noise)
    assert copies["medium"] == pytest.approx(0.8 * total, abs=noise)
    assert copies["long"] == pytest.approx(0.2 * 4_000, abs=noise)  # the floor: more than its share


@given(COUNTS)
def test_plan_keeps_its_promises(counts: Counts) -> None:
    decided = plan(counts, CONFIG)
    assert decided.ratio <= CONFIG.void_ratio
    assert 0 <= decided.void <= 1
    assert CONFIG.keep_at_least <= decided.short <= 1
    assert CONFIG.keep_at_least <= decided.long <= 1
    assert 1 <= decided.medium <= CONFIG.max_copies
    non_void = sum(getattr(decided, kind) * getattr(counts, kind) for kind in ("short", "medium", "long"))
    assert decided.void * counts.void <= decided.ratio * non_void + 1e-6
    assert Plan.model_validate(json.loads(decided.model_dump_json())) == decided


@given(st.lists(COUNTS, max_size=5), st.randoms())
def test_counts_add_up_in_any_order(shards: list[Counts], draw: random.Random) -> None:
    shuffled = list(shards)
    draw.shuffle(shuffled)
    assert Counts.total(shards) == Counts.total(shuffled)
    assert Counts.total([]) == Counts()


@given(st.lists(st.sampled_from([*TARGET.values(), None]), max_size=40), st.integers(0, 40), st.randoms())
@settings(deadline=None)
def test_stage_is_one_to_one_and_blind_to_sharding(
    targets: list[str | None], cut: int, draw: random.Random
) -> None:
    table = verified(targets)
    shards = [table.slice(0, cut), table.slice(cut)]
    counts = Counts.total(histogram(shard, CONFIG) for shard in shards)
    assert counts == histogram(table, CONFIG)
    config = applied(CONFIG, plan(counts, CONFIG))
    result = balance(table, config)
    kept = [name for name in schema.VERIFIED.names if name != "drop"]
    assert result.select(kept).equals(table.select(kept))
    for before, after in zip(table.to_pylist(), result.to_pylist(), strict=True):
        assert before["drop"] in (None, after["drop"])
        assert (after["copies"] == 0) == (after["drop"] is not None)
    assert pa.concat_tables([balance(shard, config) for shard in shards]).equals(result)
    order = list(range(len(targets)))
    draw.shuffle(order)
    shuffled = balance(table.take(pa.array(order, pa.int64())), config)
    assert shuffled.sort_by("sample_id").equals(result.sort_by("sample_id"))


def test_seed_changes_the_draw_and_not_the_plan() -> None:
    table = verified([TARGET["short"]] * 200 + [TARGET["medium"]] * 100)
    first, second = run(table, CONFIG), run(table, CONFIG.updated(seed=1))
    assert first.column("copies") != second.column("copies")
    assert run(table, CONFIG).equals(first)


def test_few_medium_targets_do_not_cost_the_corpus() -> None:
    decided = plan(Counts(short=1_000, medium=1), CONFIG)
    assert decided.short == CONFIG.keep_at_least
    assert plan(Counts(short=1_000), CONFIG).short == 1


def test_no_voids_and_nothing_at_all() -> None:
    assert plan(Counts(), CONFIG) == Plan(void=1, short=1, medium=1, long=1, ratio=0.1)
    none = CONFIG.updated(void_ratio=0)
    assert plan(Counts(void=10, medium=10), none).void == 0
    assert run(verified([]), CONFIG).schema == schema.BALANCED


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"short_share": 0.5}, "must add up to 1"), ({"short_chars": 500}, "must not be greater")],
)
def test_inconsistent_settings_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_module.build(BalanceConfig, changes)


def test_stage_refuses_a_table_of_another_kind() -> None:
    with pytest.raises(SchemaError, match="evidence"):
        histogram(verified([]).drop_columns(["evidence"]), CONFIG)
