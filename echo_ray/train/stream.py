"""Packed samples on their way to the workers: laid out once, then streamed in training order by Ray Data.

The driver reads every packed file twice, one file at a time: first for lengths, users and languages (what a
plan needs and what can be refused), then to append the token ids to one flat file. A plan is a table of
forward passes; each worker gets its own part of it as a Ray Data dataset, whose tasks look the ids up just
before they are needed. So no worker holds the data set, the order depends on record ids alone, and a resumed
run starts in the middle of the table. Not covered: workers that do not see the output folder; on several
machines it must lie on storage that they share.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from echo_ray.errors import SchemaError
from echo_ray.rng import unit
from echo_ray.train.config import TrainConfig
from echo_ray.train.packing import Row, Step, plan

TOKENS = "tokens.bin"
"""Token ids of all samples one after another, 32-bit integers of this machine's byte order."""

PASS = pa.schema(
    [
        ("step", pa.int64()),
        ("starts", pa.list_(pa.int64())),
        ("lengths", pa.list_(pa.int32())),
        ("prompts", pa.list_(pa.int32())),
    ]
)
"""One forward pass of one worker: its step (from 0), and where each sample lies in `tokens.bin`."""

PASSES_PER_BLOCK = 32


@dataclass(frozen=True, slots=True)
class Sample:
    """Where one packed row lies, and what is known of it without its ids."""

    key: str
    start: int
    length: int
    prompt: int
    language: str

    def row(self) -> Row:
        """What the plan needs to know of it."""
        return Row(self.key, self.length, self.length - self.prompt)


@dataclass(frozen=True, slots=True)
class Index:
    """All rows of a packed folder in record order, and the largest token id among them."""

    training: list[Sample]
    heldout: list[Sample]
    highest: int


def index(folder: Path, config: TrainConfig) -> Index:
    """Read what a plan needs. Raises SchemaError for files that are no packed samples."""
    training: list[Sample] = []
    heldout: list[Sample] = []
    highest = start = 0
    for path in sorted(folder.glob("*.parquet")):
        table = _kept(path)
        ids = table["input_ids"].combine_chunks()
        highest = max(highest, pc.max(ids.flatten()).as_py() or 0)
        columns = [
            table[name].to_pylist() for name in ("sample_id", "copy", "user", "prompt_tokens", "language")
        ]
        lengths = pc.list_value_length(ids).to_pylist()
        for sample_id, copy, user, prompt, language, length in zip(*columns, lengths, strict=True):
            apart = unit(config.seed, "heldout", user or "") < config.heldout_share
            sample = Sample(f"{sample_id}/{copy}", start, length, prompt, language or "")
            (heldout if apart else training).append(sample)
            start += length
    for part in (training, heldout):
        part.sort(key=lambda sample: sample.key)
    return Index(training, heldout, highest)


def measured(heldout: Sequence[Sample], config: TrainConfig) -> list[Sample]:
    """The held-out samples that are measured: `eval_samples` of them, drawn by their keys."""
    drawn = sorted(heldout, key=lambda sample: unit(config.seed, "measured", sample.key))
    return drawn[: config.eval_samples]


def _kept(path: Path) -> pa.Table:
    names = pq.read_schema(path).names
    wanted = ["sample_id", "copy", "user", "prompt_tokens", "input_ids"]
    missing = [name for name in [*wanted, "drop"] if name not in names]
    if missing:
        raise SchemaError(f"{path} has no column {missing[0]}: train.input wants what `echo-ray pack` writes")
    table = pq.read_table(path, columns=[*wanted, "drop", *(["language"] if "language" in names else [])])
    table = table.filter(pc.is_null(table["drop"]))
    if "language" not in names:
        table = table.append_column("language", pa.nulls(table.num_rows, pa.string()))
    return table


def write_tokens(folder: Path, output: Path) -> None:
    """Append the ids of every kept row under `folder` to `output/tokens.bin`, in the order `index`
    counted.
    """
    output.mkdir(parents=True, exist_ok=True)
    part = output / f".{TOKENS}.part"
    with part.open("wb") as file:
        for path in sorted(folder.glob("*.parquet")):
            ids = _kept(path)["input_ids"].combine_chunks().flatten()
            file.write(np.ascontiguousarray(ids.to_numpy(zero_copy_only=False), np.int32).tobytes())
    part.replace(output / TOKENS)


def steps(rows: Sequence[Row], config: TrainConfig) -> list[Step]:
    """The optimizer steps of the whole run, `epochs` passes or `max_steps` of them."""
    wanted = config.max_steps or None
    planned: list[Step] = []
    for epoch in range(config.epochs):
        if wanted is not None and len(planned) >= wanted:
            break
        planned += plan(rows, config.batch, config.micro_tokens, config.workers, config.seed, epoch)
    return planned[:wanted]


def passes(samples: Sequence[Sample], planned: Sequence[Step], rank: int, first: int = 0) -> list[pa.Table]:
    """The forward passes of worker `rank` from step `first` on, in order, as blocks for Ray Data."""
    rows = [
        {
            "step": number,
            "starts": [samples[i].start for i in one],
            "lengths": [samples[i].length for i in one],
            "prompts": [samples[i].prompt for i in one],
        }
        for number, step in enumerate(planned[first:], first)
        for one in step.workers[rank]
    ]
    blocks = [rows[at : at + PASSES_PER_BLOCK] for at in range(0, len(rows), PASSES_PER_BLOCK)]
    return [pa.Table.from_pylist(block, PASS) for block in blocks] or [PASS.empty_table()]


def look_up(table: pa.Table, tokens: str) -> pa.Table:
    """`PASS` rows with the column `ids`: the samples' token ids one after another."""
    flat = np.memmap(tokens, np.int32, "r")
    starts, lengths = table["starts"].to_pylist(), table["lengths"].to_pylist()
    spans = zip(chain.from_iterable(starts), chain.from_iterable(lengths), strict=True)
    ids = np.concatenate([flat[:0], *(flat[at : at + size] for at, size in spans)])
    ends = np.cumsum([0, *map(sum, lengths)], dtype=np.int32)
    return table.append_column("ids", pa.ListArray.from_arrays(ends, ids))


def samples_of(row: dict[str, Any]) -> list[tuple[list[int], int]]:
    """(ids, prompt tokens) of each sample in one forward pass of a streamed table."""
    found, at = [], 0
    for length, prompt in zip(row["lengths"], row["prompts"], strict=True):
        found.append((row["ids"][at : at + length], prompt))
        at += length
    return found


def read_samples(samples: Sequence[Sample], tokens: Path) -> list[tuple[list[int], int]]:
    """(ids, prompt tokens) of a few samples, straight from the flat file."""
    flat = np.memmap(tokens, np.int32, "r")
    return [(flat[s.start : s.start + s.length].tolist(), s.prompt) for s in samples]


def rows_of(shard: Any) -> Iterator[dict[str, Any]]:
    """The rows of a worker's dataset shard, read ahead while the worker computes."""
    for batch in shard.iter_batches(batch_size=8, batch_format="pyarrow", prefetch_batches=4):
        yield from batch.to_pylist()
