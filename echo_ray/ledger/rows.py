"""Finding a few rows in large folders: one narrow column is searched, then single row groups are read.

A file of a stage has the name of the file that it was made from, so a row that was found in one folder is
looked for in the file of the same name first. Columns are read by name; one that is not there is null.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


class Place(NamedTuple):
    """A row: its file, and its number in it."""

    path: Path
    row: int


def locate(
    paths: Iterable[Path], column: str, values: Sequence[str], hints: Collection[str] = ()
) -> list[Place]:
    """Rows whose `column` is one of `values`. Files whose stem is one of `hints` are searched first; when
    they have any no others are.
    """
    ordered = sorted(paths)
    wanted = pa.array(values, pa.string())
    found: list[Place] = []
    for likely in (True, False):
        for path in ordered:
            if (path.stem in hints) is likely:
                found += (Place(path, row) for row in _matching(path, column, wanted))
        if found:
            break
    return found


def _matching(path: Path, column: str, wanted: pa.Array) -> list[int]:
    with pq.ParquetFile(path) as file:
        if column not in file.schema_arrow.names:
            return []
        array = file.read([column])[column].cast(pa.string())
    numbers: list[int] = np.flatnonzero(pc.is_in(array, wanted).to_numpy(zero_copy_only=False)).tolist()
    return numbers


def read(places: Sequence[Place], columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The rows at `places`, in that order, as plain values; only row groups that hold one are read."""
    found: dict[Place, dict[str, Any]] = {}
    for path in {place.path for place in places}:
        numbers = sorted(place.row for place in places if place.path == path)
        for number, row in _rows(path, numbers, columns):
            found[Place(path, number)] = row
    return [found[place] for place in places]


def _rows(
    path: Path, numbers: Sequence[int], columns: Sequence[str] | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    with pq.ParquetFile(path) as file:
        here = [name for name in columns or file.schema_arrow.names if name in file.schema_arrow.names]
        first = 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            inside = [number - first for number in numbers if first <= number < first + size]
            if inside:
                table = file.read_row_group(group, columns=here).take(pa.array(inside))
                nothing = dict.fromkeys(name for name in columns or () if name not in here)
                for number, row in zip(inside, table.to_pylist(), strict=True):
                    yield first + number, nothing | row
            first += size


def batches(path: Path, columns: Sequence[str], size: int = 4096) -> Iterator[pa.RecordBatch]:
    """Pieces of one file with the named columns, in that order; those that it lacks are null."""
    with pq.ParquetFile(path, buffer_size=1 << 20) as file:
        here = [name for name in columns if name in file.schema_arrow.names]
        for batch in file.iter_batches(size, columns=here):
            arrays = [
                batch.column(name) if name in here else pa.nulls(batch.num_rows, pa.string())
                for name in columns
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=list(columns))
        if not here and file.metadata.num_rows:
            yield pa.RecordBatch.from_arrays(
                [pa.nulls(file.metadata.num_rows, pa.string()) for _ in columns], names=list(columns)
            )


def column(path: Path, name: str) -> list[Any]:
    """All values of one column; nulls when the file does not have it."""
    return [value for batch in batches(path, [name], 1 << 16) for value in batch.column(0).to_pylist()]
