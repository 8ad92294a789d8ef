"""The stages of the pipeline (paper section 4): pure rules, wrapped as `fn(table, config) -> table`.

After `mine` every stage is 1:1: rows in == rows out, in the same order, and a stage only appends
columns, except that a null `drop` may become a reason. `extend` is that promise in code. Nothing in
this package imports Ray or a model library; `echo_ray.data` runs the stages.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from echo_ray.errors import SchemaError


def require(table: pa.Table, schema: pa.Schema, stage: str) -> None:
    """Raise SchemaError unless `table` has every column of `schema`."""
    missing = [name for name in schema.names if name not in table.schema.names]
    if missing:
        raise SchemaError(f"{stage}: the input lacks the columns {', '.join(missing)}")


def rows(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Values of the named columns, row by row; the other columns are not converted."""
    return zip(*(table.column(name).to_pylist() for name in names), strict=True)


def extend(table: pa.Table, schema: pa.Schema, columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """`table` under `schema`: named `columns` replaced or added, all others carried over untouched.

    Columns of `table` that `schema` does not name are kept out, so that every shard of a stage's
    output has the same schema.
    """
    arrays = [
        pa.array(columns[field.name], type=field.type)
        if field.name in columns
        else table.column(field.name).cast(field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
