"""Stages that hold a model: built once per actor, facts counted once, deaths and redone units."""

import functools
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echo_ray import data
from echo_ray.config import Config
from echo_ray.data import Outcome, Summary, Workers, added
from echo_ray.errors import StageError

NUMBERS = pa.schema([("n", pa.int64())])


class Times:
    """Multiplies, and tells who did it; some values make it stumble."""

    def __init__(self, factor: int, folder: str) -> None:
        if factor == 0:
            raise ValueError("no factor\nat all")
        self._factor, self._folder = factor, Path(folder)
        (self._folder / f"built-{os.getpid()}").touch()

    def __call__(self, table: pa.Table, config: Any) -> Outcome:
        values = table["n"].to_pylist()
        if 99 in values and not (self._folder / "died").exists():
            (self._folder / "died").touch()
            os._exit(1)
        if 98 in values:
            os._exit(1)
        if 97 in values:
            raise StageError("the purse is empty: fill it")
        facts = {"rows": len(values), "by": {str(value % 2): 1 for value in values}, "first": values[0]}
        told = {"model": facts | {"name": os.environ["ECHO_TEST"], "odd": any(v % 2 for v in values)}}
        return Outcome(pa.table({"n": [value * self._factor for value in values]}, NUMBERS), told)


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    folder = tmp_path / "numbers"
    folder.mkdir()
    for number in range(6):
        write(folder, number, [number, number + 10])
    return folder


def write(folder: Path, number: int, values: list[int]) -> None:
    pq.write_table(pa.table({"n": values}, NUMBERS), folder / f"part-{number}.parquet")


def run(source: Path, factor: int = 2, count: int = 2, **more: Any) -> data.Manifest:
    build = functools.partial(Times, factor, str(source.parent))
    workers = Workers(build, count, environment={"ECHO_TEST": "tiny"})
    out = source.parent / "out"
    return data.run_stage("times", None, Config(), source, out, NUMBERS, workers=workers, **more)


def test_facts_are_added_key_by_key() -> None:
    total = added({}, {"a": 1, "b": {"x": 1.5}, "c": "first"})
    total = added(total, {"a": 2, "b": {"x": 1, "y": 2}, "c": "second", "d": 0})
    assert {"a": 3, "b": {"x": 2.5, "y": 2}, "c": "first", "d": 0} == total


@pytest.mark.ray
def test_a_stage_is_built_once_per_actor_and_tells_its_facts(numbers: Path, cluster: None) -> None:
    manifest = run(numbers)
    assert 1 <= len(list(numbers.parent.glob("built-*"))) <= 2
    for number in range(6):
        path = numbers.parent / "out" / f"part-{number}.parquet"
        assert [2 * number, 2 * number + 20] == pq.read_table(path)["n"].to_pylist()
    told = manifest.notes["model"]
    assert (12, {"0": 3, "1": 3}, "tiny") == (told["rows"], told["by"], told["name"])


@pytest.mark.ray
def test_a_cut_short_run_counts_every_unit_once_and_redoes_what_it_should(
    numbers: Path, cluster: None
) -> None:
    whole, out = run(numbers), numbers.parent / "out"
    (out / "manifest.json").unlink()
    (out / "part-0.parquet").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    again = run(numbers, redo=lambda facts: facts["model"]["odd"])
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert {"part-2.parquet", "part-4.parquet"} == {name for name in after if after[name] == before.get(name)}
    assert whole.notes == again.notes
    assert (whole.rows_in, whole.rows_out) == (again.rows_in, again.rows_out)


@pytest.mark.ray
def test_the_conclusion_sees_the_totals_and_may_refuse(numbers: Path, cluster: None) -> None:
    def refuse(summary: Summary) -> dict[str, Any]:
        raise StageError(f"{summary.facts['model']['rows']} rows are too many")

    with pytest.raises(StageError, match=r"^12 rows are too many$"):
        run(numbers, conclude=refuse)
    assert data.read_manifest(numbers.parent / "out") is None
    manifest = run(numbers, notes={"why": "x"}, conclude=lambda summary: {"rows": summary.rows_out})
    assert {"why": "x", "rows": 12} == manifest.notes


@pytest.mark.ray
def test_a_worker_that_dies_is_replaced_and_one_that_always_dies_is_not(numbers: Path, cluster: None) -> None:
    write(numbers, 3, [99])
    assert 11 == run(numbers).rows_out
    write(numbers, 4, [98])
    with pytest.raises(StageError, match="process died 3 times"):
        run(numbers, count=1)


@pytest.mark.ray
def test_a_failure_to_build_and_a_stop_are_one_sentence(numbers: Path, cluster: None) -> None:
    with pytest.raises(StageError, match=r"^a worker failed: part-\d: ValueError: no factor at all$"):
        run(numbers, factor=0)
    write(numbers, 3, [97])
    with pytest.raises(StageError, match=r"^the purse is empty: fill it$"):
        run(numbers)
