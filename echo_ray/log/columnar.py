"""Parquet files as experience logs: row groups in pieces, columns of any type that holds the same values.

Text may be `string`, `large_string`, `string_view`, dictionary-encoded or UTF-8 `binary`; times may be
timestamps (naive ones are UTC). A column `record` tells requests from events row by row; without it the
columns tell. A row group that cannot be decoded costs its own rows only, a file without a footer is one
rejected row: nobody can say how many it held. Not covered: nested columns, encrypted files.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from echo_ray import schema
from echo_ray.log.contract import KINDS, OTHER, Collector, Records, filled

_BROKEN = (pa.ArrowException, OSError)
_ROWS = 1024
"""Most rows decoded at once."""


def raw_bytes(path: Path) -> int:
    """Bytes of the file's columns before compression, 0 when it cannot be read.

    Repeated text that the encoding itself removes (dictionaries, shared prefixes) is not counted.
    """
    try:
        found = pq.read_metadata(path)
    except _BROKEN:
        return 0
    return sum(found.row_group(number).total_byte_size for number in range(found.num_row_groups))


def batches(path: Path, max_bytes: int) -> Iterator[Records]:
    """The records of one Parquet file in pieces of about `max_bytes`."""
    held = Collector(path.name, max_bytes)
    try:
        # A buffer makes the decoder stream a column's pages instead of holding the row group.
        with pq.ParquetFile(path, buffer_size=1 << 20, page_checksum_verification=True) as file:
            yield from _pieces(file, held, max_bytes)
    except _BROKEN as error:
        held.reject(0, f"not a Parquet file: {_first_line(error)}")
    yield held.take()


def _pieces(file: pq.ParquetFile, held: Collector, max_bytes: int) -> Iterator[Records]:
    names = file.schema_arrow.names
    fallback = "event" if "type" in names and "prefix" not in names else "request"
    missing = [name for name in schema.REQUIRED[fallback] if name not in names]
    twice = [name for name in names if names.count(name) > 1]
    if file.metadata.num_rows and (twice or (missing and "record" not in names)):
        reason = f"column {twice[0]} is there twice" if twice else f"column {missing[0]} is missing"
        held.reject(0, reason, rows=file.metadata.num_rows)
        return
    wanted = {"record"}.union(*(columns.names for columns in KINDS.values()))
    columns = [name for name in names if name in wanted]
    known = {"record", "schema", *KINDS[fallback].names, *schema.LINKS.names}  # links are made anew
    unknown = [name for name in names if name not in known]
    first = 1
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        seen, per_row = 0, max(1, group.total_byte_size // max(1, group.num_rows))
        size = min(_ROWS, max(1, max_bytes // per_row))
        try:
            for batch in file.iter_batches(size, row_groups=[number], columns=columns, use_threads=False):
                _split(batch, fallback, unknown, first + seen, held)
                seen += batch.num_rows
                if held.full:
                    yield held.take()
        except _BROKEN as error:
            reason = f"row group {number} cannot be read: {_first_line(error)}"
            held.reject(first + seen, reason, kind=fallback, rows=group.num_rows - seen)
        first += group.num_rows


def _split(batch: pa.RecordBatch, fallback: str, unknown: list[str], first: int, held: Collector) -> None:
    """Check the rows of a piece, each as the kind that it says it is."""
    lines = np.arange(first, first + batch.num_rows)
    if "record" not in batch.schema.names:
        _check(batch, fallback, unknown, lines, held)
        return
    marks, odd = _convert(batch.column("record"), pa.string(), "record")
    marks = marks.to_pylist()
    for kind in (*KINDS, OTHER):
        rows = [
            row
            for row, mark in enumerate(marks)
            if kind == (OTHER if row in odd or mark not in (None, *KINDS) else mark or "request")
        ]
        if kind == OTHER:
            for row in rows:
                held.reject(int(lines[row]), odd.get(row, f"record is {marks[row]!r:.80}"))
        elif rows:
            _check(batch.take(pa.array(rows)), kind, unknown, lines[rows], held)


def _check(batch: pa.RecordBatch, kind: str, unknown: list[str], lines: Any, held: Collector) -> None:
    reasons: dict[int, str] = {}
    arrays = []
    for column in KINDS[kind]:
        if column.name in batch.schema.names:
            array, bad = _convert(batch.column(column.name), column.type, column.name)
        else:
            array, bad = pa.nulls(batch.num_rows, column.type), {}
        if column.name in schema.REQUIRED[kind] and array.null_count:
            empty = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)).tolist()
            bad = dict.fromkeys(empty, f"field {column.name} is missing") | bad
        reasons = bad | reasons
        arrays.append(filled(array, column.name, kind))
    allowed: dict[str, list[str]] = {"schema": [schema.VERSION], "kind": list(schema.Kind)}
    for name, values in allowed.items():
        if kind == "request":
            array = arrays[KINDS[kind].get_field_index(name)]
        elif name == "schema" and name in batch.schema.names:
            array = _convert(batch.column(name), pa.string(), name)[0].fill_null(schema.VERSION)
        else:
            continue
        for row in np.flatnonzero(~pc.is_in(array, pa.array(values)).to_numpy(zero_copy_only=False)).tolist():
            expected = repr(values[0]) if name == "schema" else f"one of {', '.join(values)}"
            reasons.setdefault(row, f"{name} is {array[row].as_py()!r:.80}, expected {expected}")
    held.count(kind, batch.num_rows, unknown)
    for row, reason in sorted(reasons.items()):
        held.reject(int(lines[row]), reason, kind=kind, read=False)
    good = pa.record_batch(arrays, schema=KINDS[kind])
    if reasons:
        good = good.take(pa.array([row for row in range(batch.num_rows) if row not in reasons], pa.int64()))
    held.add(kind, good)


def _convert(values: Any, wanted: Any, name: str) -> tuple[Any, dict[int, str]]:
    """`values` as `wanted`, null where that is impossible, and why by row."""
    try:
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if not _fits(values.type, wanted):
            valid = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False)).tolist()
            reason = f"field {name} is {values.type}, expected {wanted}"
            return pa.nulls(len(values), wanted), dict.fromkeys(valid, reason)
        return _cast(values, wanted), {}
    except (pa.ArrowException, ValueError):
        pieces, bad = _halves(values, wanted, 0)
        return pa.concat_arrays(pieces), {row: f"field {name} {what}" for row, what in bad.items()}


def _fits(found: Any, wanted: Any) -> bool:
    types = pa.types
    if types.is_null(found):
        return True
    text = types.is_string(found) or types.is_large_string(found) or types.is_string_view(found)
    if types.is_string(wanted) or types.is_large_string(wanted):
        raw = types.is_binary(found) or types.is_large_binary(found) or types.is_binary_view(found)
        return bool(text or raw)
    if types.is_boolean(wanted):
        return bool(types.is_boolean(found))
    number = types.is_integer(found) or types.is_floating(found) or types.is_decimal(found)
    return bool(number or text or (types.is_timestamp(found) and types.is_integer(wanted)))


def _cast(values: Any, wanted: Any) -> Any:
    if pa.types.is_timestamp(values.type):  # finer units than milliseconds lose their rest
        values = values.cast(pa.timestamp("ms", values.type.tz), safe=False)
    done = values.cast(wanted)
    done.validate(full=True)  # Parquet promises UTF-8, its decoder does not look
    return done


def _halves(values: Any, wanted: Any, start: int) -> tuple[list[Any], dict[int, str]]:
    """Find the values that cannot be cast by halving: cheap when they are few."""
    try:
        return [_cast(values, wanted)], {}
    except (pa.ArrowException, ValueError):
        if len(values) == 1:
            return [pa.nulls(1, wanted)], {start: f"is {_shown(values[0])}, expected {wanted}"}
    middle = len(values) // 2
    left, bad = _halves(values[:middle], wanted, start)
    right, more = _halves(values[middle:], wanted, start + middle)
    return left + right, bad | more


def _shown(value: Any) -> str:
    try:
        return f"{value.as_py()!r:.80}"
    except UnicodeDecodeError:
        return "not UTF-8"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
