"""Reading logs that are not perfect, and the shuffle that brings sessions together."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from echo_ray import schema
from echo_ray.log import reader
from echo_ray.log.partition import ImportConfig, is_partitioned, partition, warnings


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
    assert 2 == len(warnings(manifest))
    quarantined = (tmp_path / "log" / "quarantine.jsonl").read_text().splitlines()
    assert "not an object but str" == json.loads(quarantined[0])["reason"]
    assert manifest == partition(ImportConfig(partitions=4), source, tmp_path / "log")
