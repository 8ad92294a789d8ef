"""Folders of samples for tests of stages."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def read(folder: Path) -> pa.Table:
    """All rows of a stage's folder, by sample id."""
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]).sort_by(
        "sample_id"
    )


def dealt(table: pa.Table, folder: Path, shards: int) -> Path:
    """`table` dealt over that many Parquet files in a new folder."""
    folder.mkdir(parents=True)
    for n in range(shards):
        part = table.take(pa.array(range(n, table.num_rows, shards), pa.int64()))
        pq.write_table(part, folder / f"part-{n}.parquet")
    return folder
