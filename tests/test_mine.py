"""The mining stage: what must not change the samples."""

import random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from echo_ray import schema
from echo_ray.link_table import link_table
from echo_ray.rng import digest
from echo_ray.stages.mine import MineConfig, Termination, mine
from tests.rows import request, table_of

COMPARED = [name for name in schema.SAMPLE.names if name not in ("sample_id", "user", "session")]


@st.composite
def logs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Requests of a few users who type in two files each, one request per key, ids in order of time."""
    rows: list[dict[str, Any]] = []
    for session in range(draw(st.integers(1, 3))):
        texts = {"f": "", "g": "x\ny\n"}
        now = 0
        for number in range(draw(st.integers(1, 15))):
            file = draw(st.sampled_from("fffg"))
            place = draw(st.integers(0, len(texts[file])))
            typed = draw(st.sampled_from(["a", "b", "\n", "pass", ""]))
            texts[file] = texts[file][:place] + typed + texts[file][place + (not typed) :]
            cursor = min(place + len(typed), len(texts[file]))
            now += draw(st.sampled_from([100, 900, 20_000, 400_000]))
            rows.append(
                request(
                    f"r{session}-{number:03d}",
                    now,
                    texts[file][:cursor],
                    texts[file][cursor:],
                    user=f"u{session}",
                    session=f"s{session}",
                    file=file,
                    proposal=draw(st.sampled_from([None, "", "pass"])),
                )
            )
    return rows


def samples(table: pa.Table, **settings: Any) -> list[dict[str, Any]]:
    """The mined rows, by request."""
    found: list[dict[str, Any]] = mine(table, MineConfig(**settings)).to_pylist()
    return sorted(found, key=lambda row: row["request_id"])


def compared(rows: list[dict[str, Any]]) -> list[list[Any]]:
    return [[row[name] for name in COMPARED] for row in rows]


@given(logs(), st.sampled_from(list(Termination)))
def test_one_sample_per_request_and_the_columns_of_the_contract(
    rows: list[dict[str, Any]], policy: Termination
) -> None:
    table = mine(table_of(rows), MineConfig(termination=policy))
    assert schema.SAMPLE == table.schema
    assert sorted(row["request_id"] for row in rows) == sorted(table["request_id"].to_pylist())
    for name in ("commit", "end_reason", "confidence", "end_ts_ms"):
        assert 0 == table[name].null_count


@given(logs(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(rows: list[dict[str, Any]], chance: random.Random) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert samples(table_of(rows)) == samples(table_of(shuffled))
    # The same, with links made before the rows were shuffled.
    linked = link_table(table_of(rows))
    order = list(range(linked.num_rows))
    chance.shuffle(order)
    assert samples(linked) == samples(linked.take(pa.array(order, pa.int64())))


@given(logs(), st.integers(1, 5))
def test_any_split_into_shards_gives_the_same_samples(rows: list[dict[str, Any]], shards: int) -> None:
    # A shard holds whole sessions; which one is a hash, as in the store.
    parts: list[list[dict[str, Any]]] = [[] for _ in range(shards)]
    for row in rows:
        parts[digest("partition", row["session"]) % shards].append(row)
    apart = [row for part in parts for row in samples(table_of(part))]
    assert samples(table_of(rows)) == sorted(apart, key=lambda row: row["request_id"])


@given(logs())
def test_renamed_users_and_sessions_change_nothing(rows: list[dict[str, Any]]) -> None:
    renamed = [row | {"user": f"z{row['user']}", "session": f"a{row['session']}"} for row in rows]
    assert compared(samples(table_of(rows))) == compared(samples(table_of(renamed)))


@given(logs(), logs())
def test_unrelated_sessions_change_nothing(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    unrelated = [
        row | {"request_id": f"z{row['request_id']}", "session": f"z{row['session']}"} for row in others
    ]
    together = samples(table_of(rows + unrelated))
    assert samples(table_of(rows)) == [row for row in together if not row["request_id"].startswith("z")]


@given(logs(), st.randoms(use_true_random=False))
def test_speculative_and_warmup_requests_change_nothing(
    rows: list[dict[str, Any]], chance: random.Random
) -> None:
    injected = []
    for row in rows:
        injected.append(row)
        if chance.random() < 0.5:
            guess = {
                "request_id": f"{row['request_id']}-guess",
                "prefix": row["prefix"] + "guess()",
                "kind": chance.choice(["speculative", "warmup"]),
                "ts_ms": row["ts_ms"] + chance.choice([0, 1]),
            }
            injected.append(row | guess)
    assert samples(table_of(rows)) == samples(table_of(injected))


@given(logs())
def test_a_user_with_several_sessions_at_once_is_several_timelines(rows: list[dict[str, Any]]) -> None:
    merged = [row | {"user": "one"} for row in rows]
    assert compared(samples(table_of(rows))) == compared(samples(table_of(merged)))


@given(logs())
def test_exact_commits_stand_between_their_anchors(rows: list[dict[str, Any]]) -> None:
    documents = {(row["session"], row["file"], row["prefix"] + row["suffix"]) for row in rows}
    for row in samples(table_of(rows)):
        if row["confidence"] == "exact":
            text = row["prefix"] + row["commit"] + row["suffix"]
            assert (row["session"], row["file"], text) in documents


def test_nothing_seen_after_a_request_is_no_evidence_of_silence() -> None:
    rows = [request("r0", 0, "a"), request("r1", 1, "ab"), request("r2", 2, "abc")]
    found = samples(table_of(rows))
    assert ["bc", "c", ""] == [row["commit"] for row in found]
    assert [None, None, "unobserved"] == [row["drop"] for row in found]


def test_a_proposal_that_never_arrived_cannot_be_accepted() -> None:
    rows = [
        request("r0", 0, "x = ", proposal="compute()", delivered=False),
        request("r1", 900, "x = compute()"),
    ]
    shown = [rows[0] | {"delivered": True}, rows[1]]
    assert [None, 9] == [samples(table_of(log))[0]["accepted_chars"] for log in (rows, shown)]


def test_an_empty_table_gives_an_empty_table() -> None:
    assert 0 == mine(schema.REQUEST.empty_table(), MineConfig()).num_rows
    assert 0 == mine(schema.LOGGED.empty_table(), MineConfig()).num_rows


def test_a_five_megabyte_prefix_is_mined() -> None:
    large = "x" * 5_000_000
    rows = [request("r0", 0, large, "\n"), request("r1", 900, large + "y", "\n")]
    rows.append(request("r2", 1800, large[:-1] + "z", "\n"))
    assert ["y", "", ""] == [row["commit"] for row in samples(table_of(rows))]
    assert pc.all(pc.is_valid(link_table(table_of(rows))["seq"])).as_py()


def test_what_led_to_a_request() -> None:
    # (prefix, suffix, file): each against the request before of the same file
    steps = [
        ("a", "", "f", None),
        ("ab", "", "f", "inserted"),
        ("x", "", "g", None),
        ("a", "", "f", "deleted"),
        ("a", "", "f", "none"),
        ("", "a", "f", "moved"),
        ("b", "", "f", "replaced"),
        ("xy", "", "g", "inserted"),
    ]
    rows = [request(f"r{i}", 500 * i, p, s, file=f) for i, (p, s, f, _) in enumerate(steps)]
    assert [led for *_, led in steps] == [row["last_edit"] for row in samples(table_of(rows))]


def test_samples_say_whether_their_windows_were_whole() -> None:
    rows = [request("r0", 0, "a", prefix_complete=False), request("r1", 9, "ab", suffix_complete=False)]
    found = [(row["prefix_complete"], row["suffix_complete"]) for row in samples(table_of(rows))]
    assert [(False, True), (True, False)] == found
