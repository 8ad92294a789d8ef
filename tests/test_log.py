"""Reading logs that are not perfect, and the shuffle that brings sessions together."""

import gzip
import json
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import schema
from echo_ray.data import Unit
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.log import reader, store
from echo_ray.log.accounts import Totals
from echo_ray.log.partition import (
    ImportConfig,
    gather,
    is_partitioned,
    partition,
    partitions,
    scatter,
    warnings,
)


def request(number: int, **changes: Any) -> dict[str, Any]:
    record = {
        "request_id": f"r{number}",
        "ts_ms": number,
        "user": f"u{number % 3}",
        "session": f"s{number % 5}",
        "file": "f.py",
        "prefix": "x" * number,
        "suffix": "",
    }
    return record | changes


def lines(records: list[Any]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_every_form_of_json_lines_reads_the_same(ending: str, tmp_path: Path) -> None:
    body = lines([request(1), {"record": "event", **request(2), "type": "shown"}])
    packers = {".jsonl.gz": gzip.compress, ".jsonl.zst": zstandard.ZstdCompressor().compress}
    path = tmp_path / f"log{ending}"
    path.write_bytes(packers.get(ending, bytes)(body))
    records = reader.read(path)
    assert (1, 1, []) == (records.requests.num_rows, records.events.num_rows, records.rejected)
    assert records.requests.schema == schema.REQUEST
    row = records.requests.to_pylist()[0]
    assert ("automatic", True, True, None) == (
        row["kind"],
        row["delivered"],
        row["prefix_complete"],
        row["proposal"],
    )


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ([1], "not an object but list"),
        (request(1, prefix=None), "field prefix is missing"),
        (request(1, ts_ms="now"), "field ts_ms is str, expected int64"),
        (request(1, ts_ms=True), "field ts_ms is bool, expected int64"),
        (request(1, delivered=1), "field delivered is int, expected bool"),
        (request(1, schema="2"), "schema is '2', expected '1'"),
        (request(1, kind="guess"), "kind is 'guess'"),
        (request(1, record="sample"), "record is 'sample'"),
        (request(1, ts_ms=2**70), "field ts_ms is float"),
    ],
)
def test_a_bad_line_is_refused_with_its_reason(record: Any, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines([request(1), record, request(2)]))
    records = reader.read(tmp_path / "a.jsonl")
    assert 2 == records.requests.num_rows
    (bad,) = records.rejected
    assert (2, True) == (bad.line, bad.reason.startswith(reason))


def test_a_torn_last_line_costs_that_line_only(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines([request(1), request(2)])[:-20])
    records = reader.read(tmp_path / "a.jsonl")
    assert (1, ["not JSON"]) == (records.requests.num_rows, [line.reason for line in records.rejected])


def test_a_file_cut_short_while_compressed_keeps_what_was_read(tmp_path: Path) -> None:
    whole = gzip.compress(lines([request(i) for i in range(2000)]))
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    records = reader.read(tmp_path / "a.jsonl.gz")
    assert 0 < records.requests.num_rows < 2000
    assert records.rejected


def test_unknown_fields_are_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines([request(1, mood="good"), request(2, mood="bad")]))
    assert {"mood": 2} == dict(reader.read(tmp_path / "a.jsonl").unknown)


def test_parquet_without_optional_columns_gets_their_defaults(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([request(1)]), tmp_path / "a.parquet")
    row = reader.read(tmp_path / "a.parquet").requests.to_pylist()[0]
    assert ("plaintext", "automatic") == (row["language"], row["kind"])


def test_parquet_of_something_else_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"no")
    for name in ("a.parquet", "b.parquet"):
        records = reader.read(tmp_path / name)
        assert (0, 1) == (records.requests.num_rows, len(records.rejected))


def test_a_file_is_read_in_pieces_and_nothing_is_lost(tmp_path: Path) -> None:
    records = [request(i, prefix="x" * 5000, mood=i) for i in range(300)]
    (tmp_path / "a.jsonl").write_bytes(lines([*records[:200], "bad", *records[200:]]))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "b.parquet", row_group_size=70)
    for name, bad in (("a.jsonl", 1), ("b.parquet", 0)):
        pieces = list(reader.batches(tmp_path / name, max_mb=0.25))
        assert 5 <= len(pieces)
        assert max(piece.requests.nbytes for piece in pieces) < 2**20
        ids = [one for piece in pieces for one in piece.requests["request_id"].to_pylist()]
        assert [row["request_id"] for row in records] == ids
        assert {"mood": 300} == sum((piece.unknown for piece in pieces), Counter())
        assert 300 + bad == sum(piece.read.total() for piece in pieces)
        assert [201] * bad == [line.line for piece in pieces for line in piece.rejected]


MEMORY = """
import resource, sys
from pathlib import Path
from echo_ray.log import reader
rows = 0
for records in reader.batches(Path(sys.argv[1]), max_mb=8):
    if not rows:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows += records.requests.num_rows
print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_the_memory_of_reading_does_not_grow_with_the_file(tmp_path: Path) -> None:
    line = lines([request(1, prefix="x = 1\n" * 1000)])
    path = tmp_path / "a.jsonl.zst"
    with path.open("wb") as raw, zstandard.ZstdCompressor(level=1).stream_writer(raw) as packed:
        for _ in range(400):
            packed.write(line * 100)  # 290 MB in all
    done = subprocess.run([sys.executable, "-c", MEMORY, path], capture_output=True, text=True, check=True)
    rows, grown_mb = map(int, done.stdout.split())
    assert 40_000 == rows
    assert grown_mb < 100


def test_text_that_is_no_text_is_a_bad_line(tmp_path: Path) -> None:
    good = lines([request(1, prefix="\u00e9\U0001f600\x00")])
    half = good.replace(b"\\ud83d\\ude00", b"\\ud83d")
    latin = b'{"request_id": "\xe9"}\n'
    (tmp_path / "a.jsonl").write_bytes(good + half + latin + b"\n \r\n" + good.replace(b"\n", b"\r\n"))
    records = reader.read(tmp_path / "a.jsonl")
    assert ["\u00e9\U0001f600\x00"] * 2 == records.requests["prefix"].to_pylist()
    assert [(2, "not JSON"), (3, "not JSON")] == [(bad.line, bad.reason) for bad in records.rejected]


def test_a_byte_order_mark_and_a_very_long_line_do_no_harm(tmp_path: Path) -> None:
    long = request(2, prefix="y" * 5_000_000)
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + lines([request(1), long, request(3)]))
    pieces = list(reader.batches(tmp_path / "a.jsonl", max_mb=1))
    assert ["r1", "r2", "r3"] == [one for p in pieces for one in p.requests["request_id"].to_pylist()]


def test_versions_may_be_mixed_and_the_unknown_one_is_counted(tmp_path: Path) -> None:
    rows = [
        request(i, **({"schema": "2"} if i % 3 == 0 else {"schema": "1"} if i % 3 else {})) for i in range(9)
    ]
    rows += [request(9), request(10, schema=None)]
    (tmp_path / "a.jsonl").write_bytes(lines(rows))
    pq.write_table(pa.Table.from_pylist(rows, schema=schema.REQUEST), tmp_path / "b.parquet")
    for name in ("a.jsonl", "b.parquet"):
        records = reader.read(tmp_path / name)
        assert 8 == records.requests.num_rows
        assert {"1"} == set(records.requests["schema"].to_pylist())
        assert {"schema is '2', expected '1'": 3} == Counter(bad.reason for bad in records.rejected)


def test_numbers_are_neither_cut_nor_taken_for_truth(tmp_path: Path) -> None:
    bad = [request(1, ts_ms=1.5), request(2, latency_ms=True), request(3, ts_ms=2**63)]
    good = [request(4, latency_ms=2**60 + 1), request(5, latency_ms=3)]
    (tmp_path / "a.jsonl").write_bytes(lines([*bad, *good]))
    records = reader.read(tmp_path / "a.jsonl")
    assert {"r4": 2.0**60, "r5": 3.0} == {
        row["request_id"]: row["latency_ms"] for row in records.requests.to_pylist()
    }
    assert [1, 2, 3] == sorted(line.line for line in records.rejected)


def test_rows_of_one_file_may_differ_in_fields_and_kind(tmp_path: Path) -> None:
    shown = {"record": "event", "request_id": "r1", "ts_ms": 5, "user": "u", "type": "shown", "schema": "1"}
    rows = [request(1, record="request"), shown, request(2), dict(reversed(request(3).items())), {}, None]
    (tmp_path / "a.jsonl").write_bytes(lines(rows))
    records = reader.read(tmp_path / "a.jsonl")
    assert ["r1", "r2", "r3"] == sorted(records.requests["request_id"].to_pylist())
    assert [("r1", 5)] == [(row["request_id"], row["ts_ms"]) for row in records.events.to_pylist()]
    assert {"request": 3, "event": 1, "other": 2} == dict(records.read)
    assert {} == dict(records.unknown)


def parquet(tmp_path: Path, **columns: Any) -> reader.Records:
    """What is read of four requests, some of whose columns are other Arrow arrays."""
    table = pa.Table.from_pylist([request(i) for i in range(1, 5)])
    for name, values in columns.items():
        table = table.drop([name]) if name in table.column_names else table
        table = table.append_column(name, values)
    pq.write_table(table, tmp_path / "a.parquet")
    return reader.read(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("prefix", pa.array(["a", "b", "c", "d"], pa.string_view()), "a"),
        ("prefix", pa.array(["a", "b", "c", "d"]).dictionary_encode(), "a"),
        ("prefix", pa.array([b"a", b"b", b"c", b"d"]), "a"),
        ("user", pa.array(["a", "b", "c", "d"], pa.large_string()), "a"),
        ("ts_ms", pa.array(["7", "8", "9", "10"]), 7),
        ("ts_ms", pa.array([7.0, 8.0, 9.0, 10.0]), 7),
        ("ts_ms", pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 4, pa.timestamp("us", "UTC")), 1767225600000),
        ("ts_ms", pa.array([1767225600] * 4, pa.timestamp("s")), 1767225600000),
        ("latency_ms", pa.array([1, 2, 3, 4], pa.int32()), 1.0),
        ("client", pa.nulls(4), None),
    ],
)
def test_parquet_columns_may_hold_the_same_values_in_other_types(
    name: str, values: Any, expected: Any, tmp_path: Path
) -> None:
    records = parquet(tmp_path, **{name: values})
    assert (4, []) == (records.requests.num_rows, records.rejected)
    assert expected == records.requests[name][0].as_py()
    assert schema.REQUEST == records.requests.schema


PREFIX, TS, TEXT, INT = "field prefix is", "field ts_ms is", "expected large_string", "expected int64"


@pytest.mark.parametrize(
    ("name", "values", "reasons"),
    [
        ("prefix", pa.array([1, 2, 3, 4]), dict.fromkeys((1, 2, 3, 4), f"{PREFIX} int64, {TEXT}")),
        ("ts_ms", pa.array(["1", "soon", "3", None]), {2: f"{TS} 'soon', {INT}", 4: f"{TS} missing"}),
        ("ts_ms", pa.array([1, 2, 3, 2**63], pa.uint64()), {4: f"{TS} {2**63}, {INT}"}),
        ("ts_ms", pa.array([1.5, 2.0, 3.0, 4.0]), {1: f"{TS} 1.5, {INT}"}),
        ("delivered", pa.array([1, None, None, None]), {1: "field delivered is int64, expected bool"}),
        ("suffix", pa.array([b"a", b"\xff", b"c", b"d"]), {2: f"field suffix is b'\\xff', {TEXT}"}),
        ("suffix", pa.array([{"a": 1}, None, {"a": 1}, {"a": 1}]), None),
        ("kind", pa.array(["manual", None, "guess", "warmup"]), None),
        (
            "record",
            pa.array(["request", "event", None, "sample"]),
            {2: "field type is missing", 4: "record is 'sample'"},
        ),
    ],
)
def test_parquet_rows_of_a_wrong_type_get_their_reason(
    name: str, values: Any, reasons: dict[int, str] | None, tmp_path: Path
) -> None:
    records = parquet(tmp_path, **{name: values})
    found = {bad.line: bad.reason for bad in records.rejected}
    assert 4 == records.requests.num_rows + len(found) == records.read.total()
    assert found
    assert reasons in (None, found)


def test_parquet_text_is_checked_to_be_text(tmp_path: Path) -> None:
    offsets, data = pa.array([0, 1, 2, 3, 4], pa.int32()).buffers()[1], pa.py_buffer(b"ab\xffd")
    records = parquet(tmp_path, suffix=pa.StringArray.from_buffers(4, offsets, data))
    assert ["a", "b", "d"] == records.requests["suffix"].to_pylist()
    assert ["field suffix is not UTF-8, expected large_string"] == [bad.reason for bad in records.rejected]


def test_a_broken_row_group_costs_its_rows_and_a_missing_footer_the_file(tmp_path: Path) -> None:
    rows = [request(i, prefix=f"{i}" * 2000) for i in range(300)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=100, compression="zstd")
    whole = (tmp_path / "a.parquet").read_bytes()
    group = pq.read_metadata(tmp_path / "a.parquet").row_group(1)
    begin = min(group.column(i).dictionary_page_offset for i in range(group.num_columns))
    (tmp_path / "a.parquet").write_bytes(whole[:begin] + bytes(400) + whole[begin + 400 :])
    records = reader.read(tmp_path / "a.parquet")
    ids = set(records.requests["request_id"].to_pylist())
    assert {row["request_id"] for row in rows[:100] + rows[200:]} == ids
    (bad,) = records.rejected
    assert (101, 100, True) == (bad.line, bad.rows, bad.reason.startswith("row group 1 cannot be read"))
    assert 300 == records.read.total()
    (tmp_path / "a.parquet").write_bytes(whole[:-20])
    records = reader.read(tmp_path / "a.parquet")
    assert (0, 1) == (records.requests.num_rows, len(records.rejected))


def test_json_files_count_only_when_they_are_a_known_log(tmp_path: Path) -> None:
    for name in ("manifest.json", "package.json", "a.json"):
        (tmp_path / name).write_text('{"name": "x", "files": []}')
    with pytest.raises(ConfigError, match="holds no log file"):
        reader.files(tmp_path, "k")
    infill = {"input_prefix": "a = ", "input_suffix": "\n", "prompt": "", "n_predict": 8}
    (tmp_path / "capture.json").write_text(json.dumps(infill) + "\n")
    (tmp_path / "b.jsonl").write_bytes(lines([request(1)]))
    assert ["b.jsonl", "capture.json"] == [path.name for path in reader.files(tmp_path, "k")]
    assert ["b.jsonl"] == [path.name for path in reader.files(tmp_path, "k", "echo")]
    records = reader.read(tmp_path / "capture.json")
    assert 1 == records.requests.num_rows + len(records.rejected) == records.read.total()


@pytest.mark.parametrize("content", [b"", b"\n\n", None])
def test_a_log_of_nothing_is_one_sentence(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ConfigError, match="holds no log file"):
        reader.files(tmp_path, "k")
    with pytest.raises(ConfigError, match="does not exist"):
        reader.files(tmp_path / "no", "k")


def test_more_text_means_more_partitions(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines([request(i, prefix="x" * 10_000) for i in range(300)]))
    pq.write_table(pa.Table.from_pylist([request(i) for i in range(10)]), tmp_path / "b.parquet")
    paths = reader.files(tmp_path, "k")
    assert 8 == partitions(ImportConfig(), paths)
    assert 29 == partitions(ImportConfig(partition_mb=0.1), paths)
    (tmp_path / "a.jsonl").unlink()
    assert 2 == partitions(ImportConfig(partitions=2), [tmp_path / "b.parquet"])


def run(files: list[bytes], partitions: int = 3) -> tuple[list[Any], list[Any], Totals]:
    """Requests and events of the store that these JSON Lines files give, without Ray, and the accounts."""
    with tempfile.TemporaryDirectory() as name:
        folder, totals = Path(name), Totals()
        job = {"fragments": f"{name}/fragments", "partitions": partitions, "format": "echo", "output": name}
        for number, content in enumerate(files):
            (folder / f"{number}.jsonl").write_bytes(content)
            totals.add_read(scatter(Unit(f"{number:05d}", (f"{name}/{number}.jsonl",)), job))
        for number in range(partitions):
            totals.add_kept(gather(Unit(f"part-{number:04d}", ()), job))
        stored = []
        for pattern in ("part-*.parquet", "events/part-*.parquet"):
            tables = [pq.read_table(path) for path in sorted(folder.glob(pattern))]
            stored.append([row for table in tables for row in table.to_pylist()])
    return stored[0], stored[1], totals


def test_a_log_of_rubbish_is_counted_whole_and_shown_in_part(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"no\n" * 25_000 + lines([request(1)]))
    job = {"fragments": str(tmp_path / "fragments"), "partitions": 1, "format": "auto"}
    totals = Totals()
    totals.add_read(scatter(Unit("00000", (str(tmp_path / "a.jsonl"),)), job))
    assert (25_000, 1000, 25_001) == (totals.quarantined.total(), totals.lines, totals.read.total())
    shown = (tmp_path / "fragments" / "quarantine" / "00000-00000.jsonl").read_text().splitlines()
    assert 1000 == len(shown)
    assert totals.first().startswith("25,000 lines refused, the first in a.jsonl:1: not JSON")


@st.composite
def logs(draw: st.DrawFn) -> list[Any]:
    """A nasty log: ties, the same id again with other content, ids in two sessions, retries, rubbish."""
    rows: list[Any] = []
    for _ in range(draw(st.integers(1, 14))):
        changes = {
            "session": draw(st.sampled_from("ab")),
            "ts_ms": draw(st.sampled_from([0, 1000, 2000])),
            "prefix": draw(st.sampled_from(["p", "pq"])),
            "delivered": draw(st.sampled_from([True, False, None])),
            "proposal": draw(st.sampled_from([None, "", "x", "xy"])),
        }
        kind = draw(st.sampled_from(["request"] * 5 + ["event", "bad", "refused"]))
        if kind == "bad":
            rows.append(draw(st.sampled_from([3, "no", {"record": "sample"}])))
        elif kind == "event":
            rows.append({"record": "event", **request(draw(st.integers(1, 3))), "type": "shown"})
        else:
            name = f"r{draw(st.sampled_from([1, 2, 9, 10, 11]))}"
            rows.append(request(1, request_id=name, **changes) | ({"user": 1} if kind == "refused" else {}))
    return rows


@given(rows=logs(), data=st.data())
@settings(max_examples=40, deadline=None)
def test_the_store_depends_on_the_rows_only_and_its_accounts_are_exact(rows: list[Any], data: Any) -> None:
    requests, events, totals = run([lines(rows)])
    shuffled = data.draw(st.permutations(rows))
    places = data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows)))
    shards = [lines([r for r, p in zip(shuffled, places, strict=True) if p == shard]) for shard in range(3)]
    again = run(shards)
    assert (requests, events, totals.accounts()) == (again[0], again[1], again[2].accounts())
    assert totals.repeats == again[2].repeats

    totals.check()
    assert len(rows) == totals.read.total()
    assert (len(requests), len(events)) == (totals.kept["request"], totals.kept["event"])
    twice = run([lines(rows), lines(rows)])
    assert (requests, events) == twice[:2]
    assert {kind: 2 * count for kind, count in totals.read.items()} == dict(twice[2].read)
    twice[2].check()

    keys = [(row["session"], row["user"], row["request_id"]) for row in requests]
    assert len(set(keys)) == len(keys)
    for number, row in enumerate(requests):
        same = [r for r in rows if isinstance(r, dict) and r.get("user") == row["user"] and "type" not in r]
        same = [r for r in same if (r["session"], r["request_id"]) == (row["session"], row["request_id"])]
        assert any(r["delivered"] is not False for r in same) == row["delivered"]
        if number and keys[number - 1][:2] == keys[number][:2]:
            before = requests[number - 1]
            assert (before["ts_ms"], store.natural(before["request_id"])) < (
                row["ts_ms"],
                store.natural(row["request_id"]),
            )


@pytest.mark.parametrize(
    "names",
    [
        ["r1", "r2", "r9", "r10", "r11"],
        ["u-9-2", "u-9-10", "u-10-1"],
        ["01ARZ3NDEKTSV4RRFFQ69G5FA9", "01ARZ3NDEKTSV4RRFFQ69G5FAB", "01ARZ3NDEKTSV4RRFFQ69G5FB0"],
        ["0190f3c0-0000-7000-8000-00000000000a", "0190f3c0-0001-7000-8000-000000000001"],
        ["", "é1", "a", "a.1", "a.1.0"],
    ],
)
def test_ids_are_ordered_as_people_count(names: list[str]) -> None:
    assert names == sorted(names, key=store.natural)
    rows = [request(1, request_id=name, ts_ms=5) for name in reversed(names)]
    assert names == [row["request_id"] for row in run([lines(rows)])[0]]


def test_of_two_answers_to_one_request_the_better_is_kept() -> None:
    rows = [
        request(1, delivered=False, proposal="long text", ts_ms=1),
        request(1, delivered=True, proposal=None, ts_ms=2),
        request(1, delivered=True, proposal="xy", ts_ms=9),
        request(1, delivered=True, proposal="xy", ts_ms=8),
        request(1, delivered=True, proposal="x", ts_ms=3),
        request(1, session="other"),
    ]
    requests, _, totals = run([lines(rows)])
    assert [(8, "xy"), (1, None)] == [
        (row["ts_ms"], row["proposal"]) for row in sorted(requests, key=lambda row: -row["ts_ms"])
    ]
    assert 4 == totals.merged["request"]


def test_retries_are_kept_and_counted(tmp_path: Path) -> None:
    times = [0, 0, 1000, 3000, 5001]  # the last one comes too late to be a retry
    rows = [request(1, request_id=f"r{i}", ts_ms=t) for i, t in enumerate(times)]
    rows.append(request(1, request_id="other", ts_ms=3001, file="g.py"))
    requests, _, totals = run([lines(rows)])
    assert (6, 3) == (len(requests), totals.repeats)
    columns = pa.Table.from_pylist([schema.REQUEST_DEFAULTS | row for row in rows], schema=schema.REQUEST)
    store.write_fragment(columns, tmp_path / "a.parquet")
    found = store.Fragments([tmp_path / "a.parquet"], schema.REQUEST)
    for limit in (1, 500, 1 << 20):  # a batch may end between a request and its retry
        counts: Counter[str] = Counter()
        batches = found.batches(store.order_requests(found), limit)
        assert 6 == sum(table.num_rows for table in store.counting_repeats(batches, counts))
        assert {"repeats": 3} == counts


@pytest.mark.ray
def test_partition_brings_sessions_together_in_time_order(tmp_path: Path, cluster: None) -> None:
    source = tmp_path / "in"
    source.mkdir()
    rows = [request(i) for i in range(200)]
    (source / "a.jsonl").write_bytes(lines(rows[150:] + rows[:60]))
    (source / "b.jsonl").write_bytes(lines([*rows[40:150], "bad", request(3, mood=1)]))
    manifest = partition(ImportConfig(partitions=4), source, tmp_path / "log")
    assert is_partitioned(tmp_path / "log")
    tables = [pq.read_table(path) for path in sorted((tmp_path / "log").glob("*.parquet"))]
    assert 4 == len(tables)
    assert 200 == pq.read_table(sorted((tmp_path / "log").glob("part-*.parquet"))).num_rows
    homes: dict[str, int] = {}
    for number, table in enumerate(tables):
        previous = ("", "", 0)
        for row in table.to_pylist():
            assert number == homes.setdefault(row["session"], number)
            key = (row["session"], row["user"], row["ts_ms"])
            assert previous <= key
            previous = key
    ids = [name for table in tables for name in table["request_id"].to_pylist()]
    assert sorted(row["request_id"] for row in rows) == sorted(ids)
    assert (200, 21, 1) == (manifest.rows_out, manifest.notes["duplicates"], manifest.notes["quarantined"])
    assert 2 == len(warnings(manifest, tmp_path))
    quarantined = (tmp_path / "log" / "quarantine.jsonl").read_text().splitlines()
    assert "not an object but str" == json.loads(quarantined[0])["reason"]
    assert manifest == partition(ImportConfig(partitions=4), source, tmp_path / "log")


@pytest.mark.ray
def test_partition_starts_clean_after_one_that_was_killed(tmp_path: Path, cluster: None) -> None:
    source, log = tmp_path / "in", tmp_path / "log"
    source.mkdir()
    (source / "a.jsonl").write_bytes(lines([*(request(i) for i in range(20)), "bad"]))
    config = ImportConfig(partitions=2)
    partition(config, source, log)
    (log / "manifest.json").unlink()
    for rest in ("part-0007.parquet", ".part-0001.parquet.1.part", ".fragments/request/part-0000/x.parquet"):
        (log / rest).parent.mkdir(parents=True, exist_ok=True)
        (log / rest).write_bytes(b"torn")
    (source / "a.jsonl").write_bytes(lines([request(i) for i in range(20)]))
    manifest = partition(config, source, log)
    assert 20 == manifest.rows_out
    assert ["manifest.json", "part-0000.parquet", "part-0001.parquet"] == sorted(
        path.name for path in log.iterdir() if path.name != ".running"
    )
    nothing = {"read": 0, "kept": 0, "merged": 0, "quarantined": 0}
    assert {
        "request": nothing | {"read": 20, "kept": 20},
        "event": nothing,
        "other": nothing,
    } == manifest.notes["accounts"]


@pytest.mark.ray
def test_a_log_may_be_one_file_and_its_content_is_its_identity(tmp_path: Path, cluster: None) -> None:
    path = tmp_path / "a.jsonl"
    for count in (3, 4):
        path.write_bytes(lines([request(i) for i in range(count)]))
        assert count == partition(ImportConfig(partitions=1), path, tmp_path / "log").rows_out
    for content, reason in (
        (b"", "the files are empty"),
        (b"[1]\n", r"1 lines refused, the first in a.jsonl:1"),
    ):
        path.write_bytes(content)
        with pytest.raises(SchemaError, match=f"holds no valid request: {reason}"):
            partition(ImportConfig(), path, tmp_path / "none")
        assert not (tmp_path / "none").exists()
