"""Selection: each rule alone, what the plan promises, and that sharding decides nothing."""

import itertools
import json
import random
import tracemalloc
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import schema
from echo_ray.config import load
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.stages import duplicates
from echo_ray.stages import select as selecting
from echo_ray.stages.select import Applied, SelectConfig, facts, select
from echo_ray.stages.selection import Plan, decide

CONFIG = SelectConfig(user_floor=1)
ALL = SelectConfig(duplicates=False, per_gap=1000, user_floor=1_000_000)
"""Nothing is refused but by the rule that a test switches on."""
NUMBER = itertools.count()


def row(number: int, target: str = "", **changes: Any) -> dict[str, Any]:
    """A row of its own session, in surroundings of its own."""
    draw = random.Random(number)
    text = "".join(f"name{draw.randrange(10**6)} = {draw.randrange(10**6)}\n" for _ in range(8))
    target = target or f"fresh{draw.randrange(10**9)} = call{draw.randrange(10**9)}()"
    fill = {"sample_id": f"s{number:04d}", "request_id": f"r{number}", "user": "u", "session": f"n{number}"}
    fill |= {
        "file": "f",
        "language": "python",
        "ts_ms": number,
        "prefix": text,
        "suffix": "\n",
        "commit": target,
    }
    return fill | {"target": target} | changes


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema.VERIFIED)


def run(rows: list[dict[str, Any]], config: SelectConfig, folder: Path) -> list[dict[str, Any]]:
    return apply(table_of(rows), config, folder)[1].to_pylist()


def apply(table: pa.Table, config: SelectConfig, folder: Path) -> tuple[Plan, pa.Table]:
    plan, decisions = decide(facts(table, config), config)
    path = folder / f"{next(NUMBER)}.parquet"  # a file of decisions never changes under its name
    pq.write_table(decisions, path)
    return plan, select(table, Applied(**config.model_dump(), decisions=path))


def test_users_who_are_never_trained_on(tmp_path: Path) -> None:
    rows = [row(n, user=f"u{n % 50}") for n in range(200)]
    found = run(rows, ALL.updated(holdout_users=("u3",)), tmp_path)
    assert {"u3"} == {r["user"] for r in found if r["drop"] == "select_holdout"}
    assert 196 == sum(r["drop"] is None for r in found)
    shared = run(rows, ALL.updated(holdout_share=0.4), tmp_path)
    out = {r["user"] for r in shared if r["drop"]}
    assert out.isdisjoint({r["user"] for r in shared if not r["drop"]})
    assert 10 <= len(out) <= 30
    other = run(rows, ALL.updated(holdout_share=0.4, seed=1), tmp_path)
    assert out != {r["user"] for r in other if r["drop"]}


def test_a_larger_holdout_holds_the_smaller_one(tmp_path: Path) -> None:
    rows = [row(n, user=f"u{n}") for n in range(100)]
    few, many = (
        {r["user"] for r in run(rows, ALL.updated(holdout_share=share), tmp_path) if r["drop"]}
        for share in (0.2, 0.5)
    )
    assert few < many


def test_confidence_that_is_not_wanted(tmp_path: Path) -> None:
    rows = [row(0, confidence="exact"), row(1, confidence="inferred"), row(2, confidence=None)]
    found = run(rows, ALL.updated(confidence=("exact", "aligned")), tmp_path)
    assert [None, "select_confidence", None] == [r["drop"] for r in found]


@pytest.mark.parametrize(
    ("chars", "drop"),
    [
        ((10, 10, 0), None),
        ((10, 11, 0), "select_model_chars"),
        ((0, 5, 0), "select_model_chars"),
        ((1, 0, 99), None),
        ((0, 0, 0), None),
        ((None, None, None), None),
        ((None, 3, None), "select_model_chars"),
    ],
)
def test_what_a_model_wrote(chars: tuple[int | None, ...], drop: str | None, tmp_path: Path) -> None:
    names = ("human_chars", "model_chars", "pasted_chars")
    rows = [row(0, **dict(zip(names, chars, strict=True)))]
    assert [drop] == [r["drop"] for r in run(rows, ALL.updated(max_model_share=0.5), tmp_path)]


def test_pasted_text_is_a_matter_of_choice(tmp_path: Path) -> None:
    rows = [row(0, human_chars=1, model_chars=0, pasted_chars=99)]
    assert "select_pasted" == run(rows, ALL.updated(max_pasted_share=0.5), tmp_path)[0]["drop"]


def typed(text: str, **changes: Any) -> list[dict[str, Any]]:
    """Requests at every key of `text`, all of which end in the same document; the last is a void."""
    base = row(7)
    same = {"session": "one", "suffix": "\nend\n"} | changes
    return [
        row(
            7,
            text[n:],
            sample_id=f"{changes.get('session', 't')}{n:03d}",
            ts_ms=n,
            prefix=base["prefix"] + text[:n],
        )
        | same
        | {"target": text[n:]}
        for n in range(len(text) + 1)
    ]


def test_keystrokes_of_one_gap_share_it_and_k_of_them_stay(tmp_path: Path) -> None:
    found = run(typed("value = compute(1)"), ALL.updated(per_gap=3), tmp_path)
    assert 1 == len({r["gap"] for r in found})
    code, void = found[:-1], found[-1]
    assert 3 == sum(r["drop"] is None for r in code)
    assert {"select_gap"} == {r["drop"] for r in code if r["drop"]}
    assert "" == void["target"]
    assert void["drop"] is None  # silence at the end is counted apart


def test_which_of_a_gap_stay_is_a_fair_draw(tmp_path: Path) -> None:
    kept: Counter[int] = Counter()
    for seed in range(400):
        found = run(typed("abcdefgh")[:-1], ALL.updated(per_gap=2, seed=seed), tmp_path)
        kept.update(n for n, r in enumerate(found) if r["drop"] is None)
    assert 800 == sum(kept.values())
    assert all(60 <= kept[n] <= 145 for n in range(8)), kept  # 100 each on average, standard deviation 9


def test_other_sessions_files_and_ends_are_other_gaps(tmp_path: Path) -> None:
    rows = [typed("a = 1", session=s, file=f)[0] for s, f in (("x", "f"), ("y", "f"), ("x", "g"))]
    rows.append(typed("a = 2", session="x", file="f")[0])
    rows = [r | {"sample_id": f"s{n}"} for n, r in enumerate(rows)]
    assert 4 == len({r["gap"] for r in run(rows, ALL, tmp_path)})


def test_near_duplicates_within_a_session_and_across_users(tmp_path: Path) -> None:
    base = row(1, "result = transform(first_value, second_value, third_value)")
    mistyped = base | {"sample_id": "b", "ts_ms": 2, "session": base["session"]}
    mistyped |= {"target": "result = transform(first_value, second_value, third_valu)"}
    other_user = base | {"sample_id": "c", "ts_ms": 3, "user": "v", "session": "else", "file": "g"}
    unlike = row(9)
    plan, found = apply(
        table_of([base, mistyped, other_user, unlike]), ALL.updated(duplicates=True, similarity=0.7), tmp_path
    )
    assert [None, "s0001", "s0001", None] == found["twin"].to_pylist()
    assert [None, "select_duplicate", "select_duplicate", None] == found["drop"].to_pylist()
    assert (1, 0, 1) == (plan.twins_same_session, plan.twins_same_user, plan.twins_other_user)


def test_the_earliest_stays_then_the_smallest_id(tmp_path: Path) -> None:
    base = row(1)
    same = [
        base | {"sample_id": i, "ts_ms": t, "session": i} for i, t in (("z", 5), ("m", 3), ("b", 3), ("a", 9))
    ]
    found = run(same, ALL.updated(duplicates=True), tmp_path)
    assert {"z": "b", "m": "b", "b": None, "a": "b"} == {r["sample_id"]: r["twin"] for r in found}


def test_loud_users_are_cut_to_a_multiple_of_the_median(tmp_path: Path) -> None:
    sizes = {"quiet": 3, "median": 10, "loud": 90}
    rows = []
    for user, size in sizes.items():
        rows += [row(len(rows) + n, user=user) for n in range(size)]
    rows += [row(500 + n, user=None) for n in range(60)]  # nobody knows whose: not one loud user
    config = ALL.updated(max_user_factor=2.0, user_floor=1)
    plan, found = apply(table_of(rows), config, tmp_path)
    kept = Counter(r["user"] for r in found.to_pylist() if r["drop"] is None)
    assert {"quiet": 3, "median": 10, "loud": 20, None: 60} == kept
    assert 20 == plan.user_cap
    assert plan.drops == {"select_user": 70}
    floored = run(rows, config.updated(user_floor=50), tmp_path)
    assert 50 == sum(r["user"] == "loud" and r["drop"] is None for r in floored)


def test_one_user_alone_is_never_cut(tmp_path: Path) -> None:
    rows = [row(n) for n in range(40)]
    assert all(r["drop"] is None for r in run(rows, CONFIG.updated(max_user_factor=1.0), tmp_path))


def test_earlier_reasons_stay_and_do_not_count(tmp_path: Path) -> None:
    rows = [row(0, drop="syntax_error"), row(0, sample_id="t"), row(2, drop="unobserved") | {"target": None}]
    found = run(rows, CONFIG, tmp_path)
    assert ["syntax_error", None, "unobserved"] == [r["drop"] for r in found]
    assert found[2]["gap"] is None
    assert found[0]["gap"] is not None


LINES = st.sampled_from(["a = 1", "b = load(x)", "return None", "", "x"])
ROWS = st.lists(
    st.tuples(LINES, LINES, st.integers(0, 3), st.integers(0, 2), st.sampled_from([None, "name_undefined"])),
    max_size=40,
)


@given(ROWS, st.integers(0, 40), st.randoms())
@settings(deadline=None, max_examples=60)
def test_sharding_and_order_decide_nothing_and_no_row_is_lost(
    tmp_path_factory: pytest.TempPathFactory, items: Any, cut: int, draw: random.Random
) -> None:
    rows = [
        row(
            n % 7,
            prefix=f"{before}\n",
            user=f"u{user}",
            session=f"s{session}",
            sample_id=f"i{n:03d}",
            drop=drop,
        )
        | {"target": target, "ts_ms": n // 3}
        for n, (before, target, user, session, drop) in enumerate(items)
    ]
    folder = tmp_path_factory.mktemp("select")
    config = CONFIG.updated(per_gap=2, max_user_factor=1.0)
    table = table_of(rows)
    plan, whole = apply(table, config, folder)
    shards = [table.slice(0, cut), table.slice(cut)]
    together = pa.concat_tables([facts(shard, config) for shard in reversed(shards)])
    order = list(range(together.num_rows))
    draw.shuffle(order)
    again, decisions = decide(together.take(pa.array(order, pa.int64())), config)
    pq.write_table(decisions, folder / "again.parquet")
    applied = Applied(**config.model_dump(), decisions=folder / "again.parquet")
    assert plan == again
    assert whole.equals(pa.concat_tables([select(shard, applied) for shard in shards]))
    kept = [name for name in schema.VERIFIED.names if name != "drop"]
    assert whole.select(kept).equals(table.select(kept))
    found = whole.to_pylist()
    stays = {r["sample_id"] for r in found if r["drop"] is None}
    for before, after in zip(rows, found, strict=True):
        assert before["drop"] in (None, after["drop"])
        assert (after["twin"] is not None) == (after["drop"] == "select_duplicate")
        assert after["twin"] is None or after["twin"] in stays
    per_gap = Counter((r["gap"], not r["target"]) for r in found if r["drop"] is None)
    assert max(per_gap.values(), default=0) <= 2
    per_user: dict[bool, Counter[str]] = defaultdict(Counter)
    for r in found:
        if r["drop"] is None:
            per_user[not r["target"]][r["user"]] += 1
    for void, cap in ((False, plan.user_cap), (True, plan.user_cap_void)):
        assert max(per_user[void].values(), default=0) <= (cap or 0)
    assert sum(plan.drops.values()) == sum(
        r["drop"] is not None and b["drop"] is None for r, b in zip(found, rows, strict=True)
    )


def synthetic(count: int) -> pa.Table:
    """Facts of rows without texts: every tenth is a near duplicate of the row before it, of another user."""
    draw = np.random.default_rng(0)
    marks = draw.integers(0, 256, (count, duplicates.SIGNATURE_BYTES), dtype=np.uint8)
    near = np.arange(9, count, 10)
    marks[near] = marks[near - 1]
    marks[near, :6] += 1  # 6 of 96 hashes of the surroundings differ
    numbers = np.arange(count, dtype=np.uint64)
    columns = [
        [f"sample-{n:09d}" for n in range(count)],
        [f"user-{n % 997}" for n in range(count)],
        numbers // np.uint64(50),
        numbers.astype(np.int64),
        [None] * count,
        np.zeros(count, bool),
        numbers // np.uint64(2) * np.uint64(2) + (numbers % np.uint64(10) == np.uint64(9)),
        draw.random(count),
        numbers,
        [line.tobytes() for line in marks],
    ]
    arrays = [pa.array(column, f.type) for column, f in zip(columns, selecting.FACTS, strict=True)]
    return pa.table(arrays, schema=selecting.FACTS)


def test_two_hundred_thousand_rows_need_little_memory_on_the_driver() -> None:
    count = 200_000
    found = synthetic(count)
    tracemalloc.start()
    plan, decisions = decide(found, SelectConfig(user_floor=count))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {"select_duplicate": count // 10} == plan.drops
    twins = dict(zip(decisions["sample_id"].to_pylist(), decisions["twin"].to_pylist(), strict=True))
    assert {f"sample-{n:09d}": f"sample-{n - 1:09d}" for n in range(9, count, 10)} == twins
    assert peak / count < 1_000  # bytes of each row, beside what Arrow holds


def test_nothing_at_all(tmp_path: Path) -> None:
    plan, found = apply(table_of([]), CONFIG, tmp_path)
    assert schema.SELECTED == found.schema
    assert (0, 0, None) == (plan.rows, plan.users, plan.user_cap)


def test_optional_columns_may_be_missing(tmp_path: Path) -> None:
    bare = table_of([row(0), row(0, sample_id="t")]).select(["sample_id", "prefix", "suffix", "target"])
    plan, found = apply(bare, CONFIG.updated(per_gap=1), tmp_path)  # of unknown sessions: one gap
    assert [None, "select_gap"] == sorted(found["drop"].to_pylist(), key=str)
    assert 0 == plan.users


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(0), row(0)], "two rows have the sample_id 's0000'"),
        ([row(0) | {"target": None}], "has no drop and lacks"),
        ([row(0, prefix=None)], "has no drop and lacks"),
    ],
)
def test_rows_that_cannot_be_selected_are_one_sentence(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        decide(facts(table_of(rows), CONFIG), CONFIG)


def test_a_confidence_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="confidence"):
        load(SelectConfig, overrides=["confidence=[sure]"])


@pytest.mark.ray
def test_the_run_is_the_pure_stage_on_any_number_of_shards(tmp_path: Path, cluster: None) -> None:
    from jobs.select import select_samples
    from jobs.settings import RunConfig
    from tests.refined import dealt, read

    rows = [
        r | {"sample_id": f"{s}{r['sample_id']}"}
        for s in "abc"
        for r in typed("value = compute(1)", session=s)
    ]
    rows += [row(n, user=f"u{n % 5}") for n in range(60)]
    table = table_of(rows)
    config = RunConfig(select={"per_gap": 2, "user_floor": 5, "holdout_users": ["u1", "nobody"]})
    results = []
    for shards in (1, 4):
        folder = dealt(table, tmp_path / f"in{shards}", shards)
        manifest = select_samples(config, folder, tmp_path / f"out{shards}")
        assert (len(rows), len(rows)) == (manifest.rows_in, manifest.rows_out)
        assert ["nobody"] == manifest.notes["holdout_users_absent"]
        results.append((read(tmp_path / f"out{shards}"), manifest))
        assert manifest == select_samples(config, folder, tmp_path / f"out{shards}")
    (one, first), (four, second) = results
    assert one.equals(four)
    assert first.drops == second.drops == first.notes["plan"]["drops"]
    assert json.dumps(first.notes)
    _, pure = apply(table, config.select, tmp_path)
    assert one.equals(pure.sort_by("sample_id"))
    changed = select_samples(config.updated(select={"per_gap": 1}), tmp_path / "in1", tmp_path / "out1")
    assert changed.drops != first.drops
