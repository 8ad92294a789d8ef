"""Segments become Parquet in place: each record is read exactly once, whatever is killed and whenever."""

import fcntl
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from echo_ray.log import partition, reader
from echo_ray.log.folder import counting, maintained, reading, unread
from echo_ray.log.rotate import Rotated, rotate
from echo_ray.log.segment import SegmentWriter
from echo_ray.log.upkeep import Upkeep, main
from tests.benchmarks import streams

ROOT = Path(__file__).parents[1]


def fill(folder: Path, *users: str, requests: int = 30) -> Counter[str]:
    """One closed segment per user; ids of the records in them."""
    texts, ids = streams.modules()[:3], Counter[str]()
    for user in users:
        with SegmentWriter(folder) as writer:
            for row in streams.stream(user, texts, requests):
                writer.append(row)
                ids[row["request_id"]] += 1
            event = {"record": "event", "request_id": row["request_id"], "ts_ms": row["ts_ms"] + 5}
            writer.append(event | {"user": user, "type": "shown"})
            ids[f"event of {user}"] += 1
    return ids


def seen(folder: Path) -> Counter[str]:
    """Ids of all records that a reader of `folder` finds now."""
    ids = Counter[str]()
    for path in reader.files(folder, "input"):
        records = reader.read(path)
        ids.update(records.requests["request_id"].to_pylist())
        ids.update(f"event of {user}" for user in records.events["user"].to_pylist())
    return ids


def test_records_are_the_same_before_and_after(tmp_path: Path) -> None:
    ids = fill(tmp_path, "a", "b")
    [batch] = rotate(tmp_path, everything=True).batches
    assert ids == seen(tmp_path)
    assert (60, 2, 2) == (batch.requests, batch.events, len(batch.segments))
    assert 2 == len(list(tmp_path.glob("segment-*")))  # kept for who has listed them
    assert set(batch.segments) == set(rotate(tmp_path, keep_s=0).removed)
    assert [] == list(tmp_path.glob("segment-*"))
    assert ids == seen(tmp_path)
    assert Rotated() == rotate(tmp_path, keep_s=0, everything=True)


def test_the_parquet_is_what_import_makes(tmp_path: Path) -> None:
    fill(tmp_path / "log", "a", "b")
    job: dict[str, Any] = {"fragments": str(tmp_path / "fragments"), "partitions": 1, "format": "auto"}
    for number, path in enumerate(reader.files(tmp_path / "log", "input")):
        partition.scatter(partition.Unit(f"{number:05d}", (str(path),)), job)
    partition.gather(partition.Unit("part-0000", ()), job | {"output": str(tmp_path / "imported")})
    [batch] = rotate(tmp_path / "log", everything=True).batches
    for name in ("part-{}.parquet", "events/part-{}.parquet"):
        imported = pq.read_table(tmp_path / "imported" / name.format("0000"))
        assert imported.equals(pq.read_table(tmp_path / "log" / name.format(batch.name)))


def test_parquet_and_fresh_segments_are_read_together(tmp_path: Path) -> None:
    ids = fill(tmp_path, "a")
    rotate(tmp_path, everything=True)
    ids += fill(tmp_path, "b")
    assert ids == seen(tmp_path)
    rotate(tmp_path, everything=True)
    assert ids == seen(tmp_path)
    assert 2 == len(list(tmp_path.glob("part-*.parquet")))


def test_a_segment_that_is_written_is_left_alone(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path) as writer:
        row = next(streams.stream("a", streams.modules()[:3], 1))
        writer.append(row)
        writer.flush()
        assert Rotated() == rotate(tmp_path, everything=True)
        writer.append(row | {"request_id": "second"})
    rotate(tmp_path, everything=True)
    assert Counter([row["request_id"], "second"]) == seen(tmp_path)


def test_today_waits_until_it_is_large_or_over(tmp_path: Path) -> None:
    ids = fill(tmp_path, "a", "b", "c")
    assert () == rotate(tmp_path).batches
    assert 3 == len(rotate(tmp_path, batch_mb=0.01).batches)
    ids += fill(tmp_path, "d")
    [segment] = [path for path in counting(tmp_path.iterdir()) if path.name.startswith("segment-")]
    tomorrow = segment.stat().st_mtime + 86_400
    assert [(segment.name,)] == [batch.segments for batch in rotate(tmp_path, now_s=tomorrow).batches]
    assert ids == seen(tmp_path)


def test_who_has_listed_the_files_can_read_them(tmp_path: Path) -> None:
    ids = fill(tmp_path, "a")
    with reading(tmp_path):
        listed = reader.files(tmp_path, "input")
        assert () == rotate(tmp_path, keep_s=0, everything=True).removed
        assert ids.total() == sum(reader.read(path).read.total() for path in listed)
    assert 1 == len(rotate(tmp_path, keep_s=0).removed)


def test_one_at_a_time(tmp_path: Path) -> None:
    fill(tmp_path, "a")
    with maintained(tmp_path) as free:
        assert free
        assert Rotated(busy=True) == rotate(tmp_path, everything=True)
    with reading(tmp_path), reading(tmp_path), unread(tmp_path) as alone:
        assert not alone


def test_lines_that_are_no_records_stay_and_a_torn_one_goes(tmp_path: Path) -> None:
    ids = fill(tmp_path, "a")
    [segment] = tmp_path.glob("segment-*")
    bad = b'{"record": "request", "request_id": "no more"}\n'
    segment.write_bytes(bad + segment.read_bytes() + b'{"record": "requ')
    [batch] = rotate(tmp_path, keep_s=0, everything=True).batches
    assert (1, 1) == (batch.rejected, batch.torn)
    assert [bad] == [path.read_bytes() for path in tmp_path.glob("rejected-*.jsonl")]
    rejected = [line for path in reader.files(tmp_path, "input") for line in reader.read(path).rejected]
    assert ["field ts_ms is missing"] == [line.reason for line in rejected]
    assert ids == seen(tmp_path)


def test_a_segment_without_a_record_is_no_obstacle(tmp_path: Path) -> None:
    ids = fill(tmp_path, "a")
    [segment] = tmp_path.glob("segment-*")
    segment.with_name(segment.name.replace("-0.", "-1.")).write_bytes(b"")
    rotate(tmp_path, keep_s=0, everything=True)
    assert ids == seen(tmp_path)
    assert [] == list(tmp_path.glob("segment-*"))


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from echo_ray.log import retention, rotate

source, target = Path(sys.argv[1]), Path(sys.argv[2])

def dying(at):
    left = [at]
    def wrap(name):
        real = getattr(os, name)
        def step(*args, **kwargs):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return real(*args, **kwargs)
        setattr(os, name, step)
    for name in ("replace", "rename", "unlink", "fsync", "mkdir"):
        wrap(name)

for step in range(1000):
    folder = target / f"{step:03d}"
    shutil.copytree(source, folder)
    if (child := os.fork()) == 0:
        dying(step)
        rotate.rotate(folder, keep_s=0, everything=True)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(step)
"""


def test_a_kill_at_any_step_neither_loses_nor_doubles(tmp_path: Path) -> None:
    ids = fill(tmp_path / "log", "a", "b", requests=5)
    [segment, _] = sorted((tmp_path / "log").glob("segment-*"))
    segment.write_bytes(segment.read_bytes() + b"no record\n")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "log"), str(tmp_path / "killed")]
    (tmp_path / "killed").mkdir()
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    folders = sorted((tmp_path / "killed").iterdir())
    assert int(told.stdout) + 1 == len(folders)
    assert len(folders) > 12
    for folder in folders:
        assert ids == seen(folder), folder.name
        rotate(folder, keep_s=0, everything=True)
        assert ids == seen(folder), folder.name
        kinds = Counter(path.name.split("-")[0] for path in folder.rglob("*") if path.is_file())
        assert {".maintenance": 1, "part": 2, "rejected": 1} == kinds, folder.name


@pytest.mark.parametrize("when", ["listing", "reading"])
def test_rotation_in_the_middle_of_a_reader(tmp_path: Path, when: str) -> None:
    """A listing that has some of the new files, or only old ones, still holds each record once."""
    ids = fill(tmp_path, "a", "b")
    old = [path for path in tmp_path.rglob("*") if path.is_file()]
    rotate(tmp_path, everything=True)
    new = [path for path in tmp_path.rglob("*") if path.is_file() and path not in old]
    for size in range(len(new) + 1) if when == "listing" else (0,):
        for some in itertools.combinations(new, size):
            found = Counter[str]()
            for path in counting([*old, *(path for path in some if not path.name.startswith("."))]):
                found.update(reader.read(path).requests["request_id"].to_pylist())
                found.update(f"event of {user}" for user in reader.read(path).events["user"].to_pylist())
            assert ids == found, some


def test_the_command_line_does_a_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = fill(tmp_path, "a")
    command = [sys.executable, "-m", "echo_ray.log.upkeep", str(tmp_path), "--all", "--keep-s", "0"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert 30 == json.loads(done.stdout)["rotated"]["batches"][0]["requests"]
    assert ids == seen(tmp_path)
    gone = subprocess.run([*command[:3], str(tmp_path / "no")], cwd=ROOT, capture_output=True, text=True)
    assert 2 == gone.returncode
    assert 1 == len(gone.stderr.splitlines())


def test_upkeep_beside_a_service(tmp_path: Path) -> None:
    ids = fill(tmp_path, "a")
    [segment] = tmp_path.glob("segment-*")
    shutil.move(segment, segment.with_name(f"segment-20200101T000000Z{segment.name[24:]}"))
    upkeep = Upkeep(tmp_path, every_s=0.01)
    while not upkeep.rounds and upkeep.problem is None:
        os.sched_yield()
    upkeep.stop()
    assert upkeep.problem is None
    assert [f"part-20200101-{'?' * 12}.parquet"] == [
        path.name[:14] + "?" * 12 + ".parquet" for path in tmp_path.glob("part-*")
    ]
    assert ids == seen(tmp_path)
    with (tmp_path / ".maintenance").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_round_that_fails_says_why(tmp_path: Path) -> None:
    upkeep = Upkeep(tmp_path / "no", every_s=0.01)
    while not upkeep.rounds:
        os.sched_yield()
    upkeep.stop()
    assert upkeep.problem is not None
    assert "No such file" in upkeep.problem
    assert 0 != main([str(tmp_path / "no")])
