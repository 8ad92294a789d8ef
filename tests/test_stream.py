"""The way of packed samples to the workers: nothing lost, nothing twice, ids as they were packed."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.errors import SchemaError
from echo_ray.stages.pack import PACKED
from echo_ray.train import stream
from echo_ray.train.config import TrainConfig

LENGTHS = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 30)), min_size=1, max_size=50)


def write(folder: Path, rows: list[dict[str, Any]], files: int = 2) -> None:
    folder.mkdir(parents=True)
    empty = {field.name: None for field in PACKED}
    for number in range(files):
        part = [empty | {"copy": 0, "user": "ann", "drop": None} | row for row in rows[number::files]]
        pq.write_table(pa.Table.from_pylist(part, PACKED), folder / f"part-{number:04d}.parquet")


def made(lengths: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """Rows of (prompt, target) lengths whose ids say which row they belong to."""
    return [
        {
            "sample_id": f"s{i:04d}",
            "user": f"u{i % 5}",
            "input_ids": [1000 * i + k for k in range(prompt + target)],
            "prompt_tokens": prompt,
            "language": "go",
        }
        for i, (prompt, target) in enumerate(lengths)
    ]


@settings(deadline=None, max_examples=30)
@given(LENGTHS, st.integers(1, 3), st.integers(1, 9), st.integers(1, 3), st.integers(0, 6))
def test_every_sample_reaches_one_worker_once_an_epoch_with_its_own_ids(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[tuple[int, int]],
    workers: int,
    batch: int,
    epochs: int,
    first: int,
) -> None:
    folder = tmp_path_factory.mktemp("stream")
    rows = made(lengths)
    write(folder / "pack", rows)
    config = TrainConfig(workers=workers, batch=batch, epochs=epochs, micro_tokens=64, heldout_share=0.0)
    index = stream.index(folder / "pack", config)
    stream.write_tokens(folder / "pack", folder)
    planned = stream.steps([sample.row() for sample in index.training], config)
    seen: list[tuple[int, list[int], int]] = []
    for rank in range(workers):
        for block in stream.passes(index.training, planned, rank, first):
            for row in stream.look_up(block, str(folder / stream.TOKENS)).to_pylist():
                seen += [(row["step"], ids, prompt) for ids, prompt in stream.samples_of(row)]
    expected = [(row["input_ids"], row["prompt_tokens"]) for row in rows]
    steps_per_epoch = -(-len(rows) // batch)
    for epoch in range(epochs):
        span = range(epoch * steps_per_epoch, (epoch + 1) * steps_per_epoch)
        got = sorted((ids, prompt) for step, ids, prompt in seen if step in span)
        if span[0] >= first:
            assert expected == got
    assert all(step >= first for step, _, _ in seen)
    assert sum(step.targets for step in planned) == epochs * sum(target for _, target in lengths)


def test_steps_end_at_max_steps_and_are_those_of_the_longer_run(tmp_path: Path) -> None:
    write(tmp_path / "pack", made([(5, 3)] * 20))
    config = TrainConfig(workers=1, batch=4, epochs=3, heldout_share=0.0)
    rows = [sample.row() for sample in stream.index(tmp_path / "pack", config).training]
    every = stream.steps(rows, config)
    assert 15 == len(every)
    assert every[:7] == stream.steps(rows, config.updated(max_steps=7))


def test_the_index_does_not_depend_on_how_rows_are_filed(tmp_path: Path) -> None:
    rows = made([(4 + i % 7, 1 + i % 5) for i in range(30)])
    write(tmp_path / "two", rows, 2)
    write(tmp_path / "five", rows[::-1], 5)
    config = TrainConfig(heldout_share=0.3)

    def known(folder: Path) -> list[list[tuple[str, int, int]]]:
        index = stream.index(folder, config)
        return [[(s.key, s.length, s.prompt) for s in part] for part in (index.training, index.heldout)]

    assert known(tmp_path / "two") == known(tmp_path / "five")
    assert all(known(tmp_path / "two"))


def test_dropped_rows_are_not_read_and_other_files_are_refused(tmp_path: Path) -> None:
    rows = made([(4, 2)] * 3)
    rows[1] |= {"drop": "no_room", "input_ids": [], "prompt_tokens": 0}
    write(tmp_path / "pack", rows, 1)
    index = stream.index(tmp_path / "pack", TrainConfig(heldout_share=0.0))
    assert ["s0000/0", "s0002/0"] == [sample.key for sample in index.training]
    pq.write_table(pa.table({"prefix": ["a"]}), tmp_path / "pack" / "part-0009.parquet")
    with pytest.raises(SchemaError, match="sample_id"):
        stream.index(tmp_path / "pack", TrainConfig())


def test_folders_packed_before_there_was_a_language_can_be_read(tmp_path: Path) -> None:
    write(tmp_path / "pack", made([(4, 2)] * 3), 1)
    path = tmp_path / "pack" / "part-0000.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["language"]), path)
    index = stream.index(tmp_path / "pack", TrainConfig(heldout_share=0.0))
    assert ["", "", ""] == [sample.language for sample in index.training]
