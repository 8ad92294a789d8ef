"""What is older than it may be goes, and nothing else does."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.log.folder import reading
from echo_ray.log.retention import Expired, expire
from echo_ray.log.rotate import rotate
from echo_ray.log.segment import SegmentWriter
from tests.benchmarks import streams
from tests.test_rotate import seen

DAY_MS = 86_400_000
TODAY_MS = 1_700_000_000_000
[ROW] = streams.stream("a", streams.modules()[:1], 1)


def record(age: float) -> dict[str, Any]:
    """A request of so many days ago, which is also its id."""
    return ROW | {"request_id": f"{age:g}", "ts_ms": TODAY_MS - round(age * DAY_MS)}


def event(age: float) -> dict[str, Any]:
    times = {"ts_ms": TODAY_MS - round(age * DAY_MS)}
    return {"record": "event", "request_id": "r", "user": f"{age:g}", "type": "shown"} | times


def fill(folder: Path, *records: dict[str, Any]) -> Path:
    """A closed segment that was begun long ago."""
    with SegmentWriter(folder) as writer:
        for row in records:
            writer.append(row)
    [path] = [path for path in folder.glob("segment-2*") if "20231001" not in path.name]
    return path.rename(path.with_name(f"segment-20231001T000000Z{path.name[24:]}"))


def test_the_border_file_is_rewritten_and_old_files_go(tmp_path: Path) -> None:
    for records in ([record(40), event(39)], [record(31), record(29), event(31)], [record(1), event(2)]):
        fill(tmp_path, *records)
        rotate(tmp_path, keep_s=0)
    gone = expire(tmp_path, 30, TODAY_MS)
    assert Counter(["29", "1", "event of 2"]) == seen(tmp_path)
    assert 4 == gone.records
    assert (2, 2) == (len(gone.removed), len(gone.rewritten))
    assert gone.freed_bytes > 0
    assert Expired() == expire(tmp_path, 30, TODAY_MS)


def test_the_rewritten_file_is_what_it_was(tmp_path: Path) -> None:
    fill(tmp_path, record(40), record(20), record(10))
    [batch] = rotate(tmp_path, keep_s=0).batches
    path = tmp_path / f"part-{batch.name}.parquet"
    before = pq.read_table(path)
    expire(tmp_path, 30, TODAY_MS)
    kept = [number for number, ts in enumerate(before["ts_ms"].to_pylist()) if ts >= TODAY_MS - 30 * DAY_MS]
    assert before.take(kept).equals(pq.read_table(path))
    assert before.schema.metadata == pq.read_schema(path).metadata


@pytest.mark.parametrize("days", [0, None])
def test_for_ever(tmp_path: Path, days: int | None) -> None:
    fill(tmp_path, record(4000))
    assert Expired() == expire(tmp_path, days, TODAY_MS)
    assert Counter(["4000"]) == seen(tmp_path)


def test_closed_segments_expire_and_open_ones_wait(tmp_path: Path) -> None:
    old, border = fill(tmp_path, record(40)), fill(tmp_path, record(41), record(3))
    border.write_bytes(border.read_bytes() + b'{"torn')
    with SegmentWriter(tmp_path) as writer:
        writer.append(record(50))
        writer.flush()
        gone = expire(tmp_path, 30, TODAY_MS)
        assert (2, [old.name], [border.name]) == (gone.records, gone.removed, gone.rewritten)
        assert Counter(["3", "50"]) == seen(tmp_path)
        assert border.read_bytes().endswith(b'\n{"torn')


def test_expired_records_do_not_come_back_from_replaced_segments(tmp_path: Path) -> None:
    fill(tmp_path, record(40))
    fill(tmp_path, record(1))
    rotate(tmp_path, batch_mb=0.000001)
    expire(tmp_path, 30, TODAY_MS)
    assert Counter(["1"]) == seen(tmp_path)
    assert [] == list(tmp_path.glob("segment-*"))


def test_readers_are_not_disturbed(tmp_path: Path) -> None:
    fill(tmp_path, record(40))
    with reading(tmp_path):
        assert Expired(busy=True) == expire(tmp_path, 30, TODAY_MS)
    assert 1 == expire(tmp_path, 30, TODAY_MS).records


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), min_size=1, max_size=4), max_size=4),
    st.sets(st.integers(0, 3)),
    st.integers(1, 59),
)
def test_what_stays_is_what_is_young_enough(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[list[tuple[bool, int]]],
    compact: set[int],
    days: int,
) -> None:
    """Files of (is a request, age in days), some compacted on the way."""
    folder = tmp_path_factory.mktemp("log")
    young = Counter(["0.0625"])
    fill(folder, record(0.0625))
    for number, rows in enumerate(files):
        made = {(kind, age + number / 8) for kind, age in rows}
        fill(folder, *(record(age) if kind else event(age) for kind, age in sorted(made)))
        young.update(f"{age:g}" if kind else f"event of {age:g}" for kind, age in made if age <= days)
        if number in compact:
            rotate(folder)
    expire(folder, days, TODAY_MS)
    assert young == seen(folder)
