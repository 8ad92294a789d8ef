"""Running stages: Ray gives what a plain call gives, manifests commit, cut-short work goes on."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echo_ray import data, models, schema
from echo_ray.config import Config
from echo_ray.errors import SchemaError, StageError
from echo_ray.stages import balance, distil, extend, mine, pack, verify
from echo_ray.stages.counts import Counts

pytestmark = pytest.mark.ray

CODE = '''def area(width, height):
    """Rectangle."""
    result = width * height
    if result < 0:
        raise ValueError("negative")
    return result
'''


def requests() -> pa.Table:
    """Twelve sessions in which somebody types CODE between two comments, every third key logged."""
    rows = []
    for session in range(12):
        begin = len("# start\n")
        for step, stop in enumerate(range(0, len(CODE), 3)):
            identity = {"user": f"u{session % 4}", "session": f"s{session}", "file": "a.py"}
            rows.append(
                schema.REQUEST_DEFAULTS
                | identity
                | {"request_id": f"{session}-{step}", "ts_ms": begin + step * 400, "language": "python"}
                | {"prefix": "# start\n" + CODE[:stop], "suffix": "\n# end\n", "proposal": "pass"}
            )
    return pa.Table.from_pylist(rows, schema=schema.REQUEST)


def shards(table: pa.Table, folder: Path, count: int) -> Path:
    """`table` by whole sessions into `count` files."""
    folder.mkdir(parents=True)
    sessions = table["session"].to_pylist()
    for number in range(count):
        rows = [i for i, name in enumerate(sessions) if int(name[1:]) % count == number]
        pq.write_table(table.take(pa.array(rows, pa.int64())), folder / f"part-{number:04d}.parquet")
    return folder


def read(folder: Path) -> list[dict[str, Any]]:
    """All rows of a folder, in record order."""
    table = pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])
    return sorted(table.to_pylist(), key=lambda row: (row["sample_id"], row.get("copy") or 0))


def chosen(table: pa.Table, config: Config) -> pa.Table:
    """Nothing left out; `select` itself needs all shards at once and has its own tests."""
    return extend(table, schema.SELECTED, dict.fromkeys(("gap", "twin"), [None] * table.num_rows))


def scored(table: pa.Table, config: Config) -> pa.Table:
    """Nothing measured; `perplexity` itself has its own tests."""
    none = [None] * table.num_rows
    return extend(table, schema.SCORED, dict.fromkeys(("target_tokens", "perplexity"), none))


@pytest.mark.parametrize("count", [1, 5])
def test_every_stage_on_ray_equals_a_plain_call(count: int, tmp_path: Path, cluster: None) -> None:
    settings = balance.BalanceConfig()
    plan = balance.applied(settings, balance.plan(Counts(), settings))
    chain: list[tuple[str, Any, Config, pa.Schema]] = [
        ("mine", mine.mine, mine.MineConfig(), schema.SAMPLE),
        ("distil", distil.distil, distil.DistilConfig(), schema.DISTILLED),
        ("verify", verify.verify, verify.VerifyConfig(), schema.VERIFIED),
        ("select", chosen, Config(), schema.SELECTED),
        ("perplexity", scored, Config(), schema.SCORED),
        ("balance", balance.balance, plan, schema.BALANCED),
        ("pack", pack.pack, pack.PackConfig(model=models.BASE), pack.PACKED),
    ]
    table = requests()
    source = shards(table, tmp_path / "log", count)
    for name, stage, config, columns in chain:
        manifest = data.run_stage(name, stage, config, source, tmp_path / name, columns)
        before, table = table, stage(table, config)
        expected = sorted(table.to_pylist(), key=lambda row: (row["sample_id"], row.get("copy") or 0))
        assert expected == read(tmp_path / name), name
        assert (before.num_rows, table.num_rows) == (manifest.rows_in, manifest.rows_out)
        assert sum(manifest.drops.values()) == sum(row["drop"] is not None for row in expected)
        assert manifest.engine.startswith("ray.data ")
        source = tmp_path / name


class Doubling(Config):
    """Settings of the stage below."""

    factor: int = 2
    """Multiplier."""
    fail_on: int = -1
    """Value that the stage stumbles over."""


NUMBERS = pa.schema([("n", pa.int64())])


def double(table: pa.Table, config: Doubling) -> pa.Table:
    values = table["n"].to_pylist()
    if config.fail_on in values:
        raise ValueError(f"no {config.fail_on} please")
    return pa.table({"n": [value * config.factor for value in values]}, NUMBERS)


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    folder = tmp_path / "numbers"
    folder.mkdir()
    for number in range(3):
        pq.write_table(pa.table({"n": [number, number + 10]}, NUMBERS), folder / f"part-{number}.parquet")
    return folder


def test_a_finished_stage_is_not_run_again(numbers: Path, tmp_path: Path, cluster: None) -> None:
    first = data.run_stage("double", double, Doubling(), numbers, tmp_path / "out", NUMBERS)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert first == data.run_stage("double", double, Doubling(), numbers, tmp_path / "out", NUMBERS)
    assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}


def test_other_settings_or_other_input_run_it_again(numbers: Path, tmp_path: Path, cluster: None) -> None:
    data.run_stage("double", double, Doubling(), numbers, tmp_path / "out", NUMBERS)
    data.run_stage("double", double, Doubling(factor=3), numbers, tmp_path / "out", NUMBERS)
    assert [0, 30] == pq.read_table(tmp_path / "out" / "part-0.parquet")["n"].to_pylist()
    pq.write_table(pa.table({"n": [7]}, NUMBERS), numbers / "part-0.parquet")
    data.run_stage("double", double, Doubling(factor=3), numbers, tmp_path / "out", NUMBERS)
    assert [21] == pq.read_table(tmp_path / "out" / "part-0.parquet")["n"].to_pylist()


def test_cut_short_work_does_only_the_missing_shards(numbers: Path, tmp_path: Path, cluster: None) -> None:
    out = tmp_path / "out"
    finished = data.run_stage("double", double, Doubling(), numbers, out, NUMBERS)
    (out / "manifest.json").unlink()
    (out / "part-1.parquet").unlink()
    kept = (out / "part-0.parquet").stat().st_mtime_ns
    again = data.run_stage("double", double, Doubling(), numbers, out, NUMBERS)
    assert kept == (out / "part-0.parquet").stat().st_mtime_ns
    assert (finished.rows_in, finished.rows_out) == (again.rows_in, again.rows_out)
    assert [2, 22] == pq.read_table(out / "part-1.parquet")["n"].to_pylist()


def test_a_failing_worker_names_its_shard_and_commits_nothing(
    numbers: Path, tmp_path: Path, cluster: None
) -> None:
    with pytest.raises(StageError, match="part-1: ValueError: no 11 please"):
        data.run_stage("double", double, Doubling(fail_on=11), numbers, tmp_path / "out", NUMBERS)
    assert data.read_manifest(tmp_path / "out") is None


def test_a_result_with_other_columns_is_refused(numbers: Path, tmp_path: Path, cluster: None) -> None:
    other = pa.schema([("m", pa.int64())])
    with pytest.raises(StageError, match=r"SchemaError: the stage returned \['n'\], declared are \['m'\]"):
        data.run_stage("double", double, Doubling(), numbers, tmp_path / "out", other)


def test_an_empty_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="holds no Parquet file"):
        data.units_of(tmp_path)


def test_the_manifest_is_plain_json(numbers: Path, tmp_path: Path, cluster: None) -> None:
    data.run_stage("double", double, Doubling(), numbers, tmp_path / "out", NUMBERS)
    plain = json.loads((tmp_path / "out" / "manifest.json").read_text())
    keys = {"stage", "fingerprint", "config", "columns", "rows_in", "rows_out", "drops", "seconds"}
    assert keys <= set(plain)
    assert {"factor": 2, "fail_on": -1} == plain["config"]
