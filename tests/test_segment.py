"""The log writer: what is flushed is on disk, whatever happens to the process afterwards."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from echo_ray.errors import ServeError
from echo_ray.log.segment import SegmentWriter


def read(folder: Path) -> list[dict[str, object]]:
    """Records of all complete lines, in segment order; a torn last line is not a record."""
    records = []
    for path in sorted(folder.glob("segment-*.jsonl"), key=lambda path: int(path.stem.split("-")[-1])):
        *complete, _ = path.read_bytes().split(b"\n")
        records += [json.loads(line) for line in complete]
    return records


def test_records_come_back_in_order(tmp_path):
    with SegmentWriter(tmp_path, flush_ms=5) as writer:
        for number in range(100):
            writer.append({"n": number, "text": "é\n\u2028\x00"})
    assert [record["n"] for record in read(tmp_path)] == list(range(100))
    assert read(tmp_path)[0]["text"] == "é\n\u2028\x00"


def test_an_idle_writer_leaves_no_file(tmp_path):
    SegmentWriter(tmp_path / "new").close()
    assert list((tmp_path / "new").iterdir()) == []


def test_flush_returns_only_when_everything_is_on_disk(tmp_path):
    with SegmentWriter(tmp_path, flush_ms=60_000) as writer:
        writer.append({"n": 1})
        assert read(tmp_path) == []
        writer.flush()
        assert read(tmp_path) == [{"n": 1}]
        writer.flush()


def test_the_interval_commits_without_a_flush(tmp_path):
    with SegmentWriter(tmp_path, flush_ms=20) as writer:
        writer.append({"n": 1})
        deadline = time.monotonic() + 10
        while not read(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert read(tmp_path) == [{"n": 1}]


def test_segments_rotate(tmp_path):
    with SegmentWriter(tmp_path, flush_ms=1, rotate_mb=0.001) as writer:
        for number in range(8):
            writer.append({"n": number, "text": "x" * 700})
            writer.flush()
    assert [record["n"] for record in read(tmp_path)] == list(range(8))
    assert len(list(tmp_path.glob("*.jsonl"))) == 4


def test_two_writers_share_a_folder(tmp_path):
    with SegmentWriter(tmp_path) as one, SegmentWriter(tmp_path) as two:
        one.append({"from": "one"})
        two.append({"from": "two"})
    assert sorted(str(record["from"]) for record in read(tmp_path)) == ["one", "two"]


def test_threads_share_a_writer(tmp_path):
    with SegmentWriter(tmp_path, flush_ms=1) as writer:
        threads = [
            threading.Thread(target=lambda: [writer.append({"n": n}) for n in range(200)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(record["n"] for record in read(tmp_path)) == sorted(list(range(200)) * 4)


def test_a_closed_writer_refuses(tmp_path):
    writer = SegmentWriter(tmp_path)
    writer.close()
    writer.close()
    with pytest.raises(ServeError, match="closed"):
        writer.append({"n": 1})


def test_a_failed_write_reaches_the_caller(tmp_path):
    folder = tmp_path / "log"
    writer = SegmentWriter(folder, flush_ms=1)
    folder.rmdir()
    writer.append({"n": 1})
    with pytest.raises(ServeError, match="cannot be written"):
        writer.flush()
    with pytest.raises(ServeError, match="cannot be written"):
        writer.append({"n": 2}, must=True)
    with pytest.raises(ServeError, match="cannot be written"):
        writer.close()


KILLED = """
import sys
from pathlib import Path
from echo_ray.log.segment import SegmentWriter

writer = SegmentWriter(Path(sys.argv[1]), flush_ms=1)
n = 0
while True:
    for _ in range(50):
        writer.append({"n": n, "text": "x" * 20_000})
        n += 1
    writer.flush()
    print(n, flush=True)
"""


def test_kill_9_loses_nothing_that_was_flushed(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert process.stdout is not None
    for _ in range(3):
        flushed = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    numbers = [record["n"] for record in read(tmp_path)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= flushed


def test_a_torn_last_line_hurts_nobody(tmp_path):
    with SegmentWriter(tmp_path) as writer:
        writer.append({"n": 1})
        writer.append({"n": 2})
    [segment] = tmp_path.glob("*.jsonl")
    segment.write_bytes(segment.read_bytes()[:-3])
    with SegmentWriter(tmp_path) as writer:
        writer.append({"n": 3})
    assert [record["n"] for record in read(tmp_path)] in ([1, 3], [3, 1])
