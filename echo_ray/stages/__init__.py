"""The stages of the pipeline (paper section 4): pure rules, wrapped as `fn(table, config) -> table`.

After `mine` every stage is 1:1: rows in == rows out, in the same order, and a stage only appends
columns, except that a null `drop` may become a reason. `extend` is that promise in code. Nothing in
this package imports Ray or a model library; `echo_ray.data` runs the stages.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow.types import is_binary, is_large_binary, is_large_string, is_string

from echo_ray.errors import SchemaError


def conform(table: pa.Table, schema: pa.Schema, needed: Sequence[str], stage: str) -> pa.Table:
    """`table` with the columns of `schema`: those in `needed` must be there, others are null when absent.

    A null language is `plaintext`; bytes that are no UTF-8 become U+FFFD. Raises SchemaError for a missing
    column, or one whose type cannot be the schema's.
    """
    missing = [name for name in needed if name not in table.schema.names]
    if missing:
        raise SchemaError(f"{stage}: the input lacks the columns {', '.join(missing)}")
    columns = []
    for field in schema:
        if field.name not in table.schema.names:
            column = pa.nulls(table.num_rows, field.type)
        else:
            try:
                column = _legible(table.column(field.name)).cast(field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise SchemaError(f"{stage}: column {field.name} cannot be {field.type}: {error}") from None
        columns.append(column.fill_null("plaintext") if field.name == "language" else column)
    return pa.Table.from_arrays(columns, schema=schema)


def _legible(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A text column whose bytes are UTF-8: where they are not, U+FFFD stands for what cannot be read."""
    kind = column.type
    if not any(test(kind) for test in (is_string, is_large_string, is_binary, is_large_binary)):
        return column
    try:
        column.cast(pa.large_string()).validate(full=True)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        values = (value.as_py() for value in column.cast(pa.large_binary()))
        texts = [None if value is None else value.decode("utf-8", "replace") for value in values]
        return pa.chunked_array([pa.array(texts, pa.large_string())])
    return column


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
