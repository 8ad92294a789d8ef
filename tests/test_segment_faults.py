"""What can go wrong while records are written: the disk, the one who prepares, the process, the load."""

import asyncio
import os
import resource
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from echo_ray.errors import ServeError
from echo_ray.log.segment import SegmentWriter
from echo_ray.log.segment_sink import Child

SECRET = "hunter2"


def prepare(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Fails, refuses, dies, hangs or hides a secret, as the item says."""
    match item.get("do"):
        case "raise":
            raise ValueError(SECRET)
        case "skip":
            return None
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "odd":
            return {"n": object()}
        case "hang":
            while True:
                pass
    return {"n": item["n"], "secret": "***"}


def written(folder: Path) -> list[int]:
    """Numbers of the complete lines on disk; nothing raw may be among them."""
    raw = b"".join(path.read_bytes() for path in sorted(folder.glob("segment-*.jsonl")))
    assert SECRET.encode() not in raw
    return sorted(orjson.loads(line)["n"] for line in raw.splitlines())


def item(number: int, do: str = "write") -> dict[str, Any]:
    return {"n": number, "do": do, "secret": SECRET}


@pytest.fixture(params=[False, True], ids=["thread", "child"])
def writer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SegmentWriter]:
    with SegmentWriter(tmp_path, prepare=prepare, isolate=request.param, flush_ms=20) as made:
        yield made


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """No file of the process grows: writing fails as on a full disk."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def pid_of(writer: SegmentWriter) -> int:
    return writer._sink.pid if isinstance(writer._sink, Child) else os.getpid()


# Acknowledged records.


def test_a_ticket_is_on_disk_without_waiting_for_the_interval(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path, flush_ms=3_600_000) as writer:
        ticket = writer.append({"n": 1})
        assert [] == written(tmp_path)
        writer.durable(ticket, 60)
        assert [1] == written(tmp_path)
        writer.durable(ticket, 0)
        asyncio.run(writer.written(ticket))


def test_who_waits_together_shares_a_sync(writer: SegmentWriter, tmp_path: Path) -> None:
    async def all_at_once() -> None:
        tickets = [writer.append(item(number), must=True) for number in range(200)]
        await asyncio.gather(*(writer.written(ticket) for ticket in tickets))

    asyncio.run(all_at_once())
    assert list(range(200)) == written(tmp_path)
    assert writer.state().commits <= 4


def test_waiters_of_several_loops_and_threads(writer: SegmentWriter, tmp_path: Path) -> None:
    async def one(number: int) -> None:
        await writer.written(writer.append(item(number), must=True))
        assert number in written(tmp_path)

    threads = [threading.Thread(target=lambda n=n: asyncio.run(one(n))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(range(8)) == written(tmp_path)


def test_a_waiter_that_gives_up_hurts_nobody(tmp_path: Path) -> None:
    async def hasty(writer: SegmentWriter) -> None:
        ticket = writer.append({"n": 1})
        waiting = [asyncio.ensure_future(writer.written(ticket)) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await waiting[1]

    with SegmentWriter(tmp_path) as writer:
        asyncio.run(hasty(writer))


# Who prepares.


def test_only_what_could_be_prepared_is_written(writer: SegmentWriter, tmp_path: Path) -> None:
    for number, do in enumerate(["write", "raise", "skip", "odd", "write"]):
        writer.append(item(number, do))
    assert 0 == writer.append(item(9) | {"f": lambda: None})  # does not pickle
    writer.flush()
    assert [0, 4] == written(tmp_path)
    assert 3 == writer.failed


def test_an_event_that_could_not_be_prepared_is_not_acknowledged(writer: SegmentWriter) -> None:
    async def events() -> list[object]:
        tickets = [writer.append(item(0, do), must=True) for do in ("raise", "skip", "write")]
        return await asyncio.gather(*map(writer.written, tickets), return_exceptions=True)

    refused, *fine = asyncio.run(events())
    assert [None, None] == fine
    assert isinstance(refused, ServeError)
    assert SECRET not in str(refused)


def test_a_killed_child_is_replaced_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path, prepare=prepare, flush_ms=2) as writer:
        for number in range(600):
            ticket = writer.append(item(number))
            if number % 100 == 50:
                os.kill(pid_of(writer), signal.SIGKILL)
                writer.durable(ticket, 60)
        writer.flush()
        assert list(range(600)) == written(tmp_path)
        assert 6 == writer._sink.deaths


def test_a_spare_child_waits_for_the_death_of_the_first(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path, prepare=prepare) as writer:
        child = writer._sink
        assert isinstance(child, Child)
        for number in range(8):
            writer.append(item(number))
            writer.flush()
            first, spare = child.pid, child._spare.pid
            if number % 4 == 3:
                os.kill(spare, signal.SIGKILL)  # the spare one is dead when it is wanted
            os.kill(first, signal.SIGKILL)
            writer.append(item(100 + number))
            writer.flush()
            assert (child.pid == spare) is (number % 4 != 3)
        assert [*range(8), *range(100, 108)] == written(tmp_path)
        pids = [child.pid, child._spare.pid]
    assert not any(Path("/proc", str(pid)).exists() for pid in pids)


def test_an_item_that_kills_or_blocks_the_child_is_found_and_dropped(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path, prepare=prepare) as writer:
        for number in range(16):
            writer.append(item(number, {5: "die", 11: "hang"}.get(number, "write")))
        writer.flush()
        assert [number for number in range(16) if number not in (5, 11)] == written(tmp_path)
        assert 2 == writer.failed


def test_a_child_that_cannot_begin_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match=r"no process can write the experience log .*: prepare cannot be"):
        SegmentWriter(tmp_path, prepare=Unloadable())


class Unloadable:
    """Pickles here and cannot be built there."""

    def __call__(self, item: Any) -> None:
        raise NotImplementedError

    def __reduce__(self) -> Any:
        return int, ("no number",)


# The disk.


def test_a_full_disk_is_survived(writer: SegmentWriter, tmp_path: Path) -> None:
    writer.append(item(0))
    writer.flush()
    with full_disk(pid_of(writer)):
        writer.append(item(1))
        with pytest.raises(ServeError, match="cannot be written"):
            writer.flush()
        with pytest.raises(ServeError, match="cannot be written"):
            writer.durable(writer.append(item(2), must=True), 60)
        state = writer.state()
        assert state.failure
        assert 1 == state.refused
        assert [0] == written(tmp_path)
    writer.flush()
    assert [0, 1] == written(tmp_path)
    writer.durable(writer.append(item(3), must=True), 60)
    assert [0, 1, 3] == written(tmp_path)
    assert writer.state().failure is None
    assert (0, 0) == (writer.dropped, writer.state().buffered_bytes)


def test_it_goes_on_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with SegmentWriter(folder, flush_ms=1) as writer:
        folder.rmdir()
        ticket = writer.append({"n": 1})
        with pytest.raises(ServeError):
            writer.flush()
        folder.mkdir()
        writer.durable(ticket, 60)
        assert [1] == written(folder)


def test_what_does_not_fit_is_dropped_or_refused_and_counted(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path, flush_ms=3_600_000, buffer_mb=0.001) as writer:
        tickets = [writer.append({"n": number, "text": "x" * 90}) for number in range(20)]
        with pytest.raises(ServeError, match="buffer is full"):
            writer.append({"n": 99, "text": "x" * 90}, must=True)
        kept = [number for number, ticket in enumerate(tickets) if ticket]
        assert 20 - len(kept) == writer.dropped > 0
        with pytest.raises(ServeError, match="dropped"):
            writer.durable(tickets[-1], 1)
        writer.flush()
        assert kept == written(tmp_path)
        assert writer.append({"n": 20})


def test_closing_on_a_full_disk_says_what_is_lost(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, prepare=prepare, isolate=False)
    with full_disk(pid_of(writer)):
        for number in range(3):
            writer.append(item(number))
        with pytest.raises(ServeError, match="3 records are lost"):
            writer.close()
    assert 3 == writer.dropped


def test_a_segment_grows_old(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path, flush_ms=1, rotate_s=0) as writer:
        for number in range(3):
            writer.append({"n": number})
            writer.flush()
    assert [0, 1, 2] == written(tmp_path)
    assert 3 == len(list(tmp_path.glob("segment-*")))
