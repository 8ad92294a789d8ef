"""A Parquet file without one person.

Rows go whose `user` is the person or whose `owner` is their mark (exports); where a table names nobody, and
of events, also rows with the id of a sample that is theirs alone. Values of others stay as they are; only a
reference to an erased sample (`twin`) becomes `erased`. Memory: one row group.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.erase_values import ERASED, IDS, Found, Person, replaced

_REFERENCES = ("twin",)
Mask = npt.NDArray[np.bool_]


def look(path: Path, person: Person) -> Found:
    """What of the file is the person's; only narrow columns are read."""
    found = Found()
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        narrow = [n for n in ("user", "owner", "type", "drop", *IDS, *_REFERENCES) if n in names]
        if not narrow:
            return found
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=narrow)
            gone = _gone(table, person)
            _add(found, table.filter(pa.array(gone)), person)
            for name in (name for name in _REFERENCES if name in narrow):
                named = table.filter(pa.array(_refers(table, name, person) & ~gone))
                found.cleaned += named.num_rows
                found.named.update(named[name].to_pylist())
    return found


def _add(found: Found, theirs: pa.Table, person: Person) -> None:
    """Count the person's rows of a piece of a file."""
    names = theirs.column_names
    found.rows += theirs.num_rows
    drops = theirs["drop"].to_pylist() if "drop" in names else []
    found.drops.update(drop for drop in drops if drop is not None)
    found.trained += sum(drop is None for drop in drops)
    users = theirs["user"].to_pylist() if "user" in names else [None] * theirs.num_rows
    for name in (name for name in IDS if name in names):
        for user, value in zip(users, theirs[name].to_pylist(), strict=True):
            if isinstance(value, str):
                (found.ids if user == person.user else found.named).add(value)


def _gone(table: pa.Table, person: Person) -> Mask:
    """The person's rows of a table."""
    names = table.column_names
    gone: Mask = np.zeros(table.num_rows, np.bool_)
    if "user" in names:
        gone |= _is_in(table["user"], [person.user])
    if "owner" in names and person.owners:
        gone |= _is_in(table["owner"], person.owners)
    # An event may be told under another name than its request; `ids` holds only those that are theirs alone.
    nobody = "user" not in names and "owner" not in names
    if person.ids and (nobody or "type" in names):
        for name in IDS:
            if name in names:
                gone |= _is_in(table[name], person.ids)
    return gone


def _refers(table: pa.Table, name: str, person: Person) -> Mask:
    return _is_in(table[name], person.ids) if person.ids else np.zeros(table.num_rows, np.bool_)


def _is_in(column: pa.ChunkedArray, values: Iterable[str]) -> Mask:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        if not pa.types.is_dictionary(column.type):
            return np.zeros(len(column), np.bool_)
        column = column.cast(column.type.value_type)
    wanted = pa.array(sorted(values), column.type)
    mask: Mask = pc.is_in(column, wanted).to_numpy(zero_copy_only=False)
    return mask


def rewrite(path: Path, person: Person, rows_in: int | None) -> None:
    """Replace the file by one without the person; `rows_in` as in `erase_files.rewrite`."""
    with pq.ParquetFile(path) as file:
        columns = file.schema_arrow
        metadata = dict(columns.metadata or {})
        if rows_in is not None and b"rows_in" in metadata:
            metadata[b"rows_in"] = str(rows_in).encode()
        columns = columns.with_metadata(metadata or None)
        with replaced(path) as part, pq.ParquetWriter(part, columns, **_layout(file)) as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                gone = _gone(table, person)
                for name in _REFERENCES:
                    if name in table.column_names and person.ids:
                        named = pa.array(_refers(table, name, person))
                        changed = pc.if_else(named, pa.scalar(ERASED, table[name].type), table[name])
                        table = table.set_column(table.column_names.index(name), columns.field(name), changed)
                kept = table.filter(pa.array(~gone)).replace_schema_metadata(metadata or None)
                if kept.num_rows or not file.num_row_groups:
                    writer.write_table(kept, row_group_size=max(1, kept.num_rows))


def _layout(file: pq.ParquetFile) -> dict[str, Any]:
    """Settings of a writer that make a file like this one: dictionaries and statistics where it has them."""
    if not file.num_row_groups or not file.metadata.num_rows:
        return {"compression": "zstd"}
    group = file.metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    coded = [one.path_in_schema for one in columns if any("DICTIONARY" in name for name in one.encodings)]
    told = [one.path_in_schema for one in columns if one.is_stats_set]
    return {
        "compression": columns[0].compression.lower() if columns else "zstd",
        "use_dictionary": coded or False,
        "write_statistics": told or False,
    }


def shared_ids(path: Path, person: Person) -> set[str]:
    """Those of `person.ids` that requests or samples of others have too."""
    found: set[str] = set()
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if "user" not in names or "type" in names:
            return found
        for column in (name for name in IDS if name in names):
            for batch in file.iter_batches(1 << 16, columns=["user", column]):
                others = batch.filter(pc.not_equal(batch["user"].cast(pa.string()), person.user))
                found |= person.ids.intersection(others[column].to_pylist())
    return found
