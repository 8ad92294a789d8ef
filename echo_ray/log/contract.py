"""Which values are records of version 1, and their columns.

Records are collected by shape (the same keys in the same order) and turned into Arrow columns together;
building a typed column is the check. Only when a whole chunk does not pass is each of its records asked
with `problem`, which names the reason. (Measured: asking every record costs more than parsing it.)

Invariant: `Records.read` counts, by kind, every row looked at; each is in a table or in `rejected`. Rows
keep their order within a shape, not between shapes; the store sorts them anyway.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from echo_ray import schema

KINDS = {"request": schema.REQUEST, "event": schema.EVENT}
"""Columns of each kind of record."""
OTHER = "other"
"""Kind of a row that is neither."""

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "large_string": str,
    "int64": int,
    "double": (float, int),
    "bool": bool,
}
_NUMBERS: dict[str, set[type]] = {"int64": {int, type(None)}, "double": {int, float, type(None)}}
"""Exact types of numeric columns: Arrow itself would cut 1.5 to 1 and take true for 1."""
_REFUSED = (pa.ArrowException, OverflowError, TypeError, ValueError)
_CHUNK_BYTES = 4 << 20
"""Raw text that is turned into columns at once: small enough for a cache, large enough to amortise."""
_REJECTS = 10_000
_NAMES = 1000


@dataclass(frozen=True, slots=True)
class Rejected:
    """Rows that are not records of the contract: one line, or `rows` rows that share a fate."""

    file: str
    line: int
    """Line, entry or row number from 1; 0 for the file itself."""
    reason: str
    text: str
    kind: str = OTHER
    rows: int = 1


@dataclass(slots=True)
class Records:
    """What a piece of a file held. `unknown` counts fields outside the contract by name."""

    requests: pa.Table
    events: pa.Table
    rejected: list[Rejected] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)


def problem(record: Any, kind: str) -> str | None:
    """Why `record` is not a `kind` record of version 1; None when it is one."""
    if not isinstance(record, Mapping):
        return f"not an object but {type(record).__name__}"
    for name in schema.REQUIRED[kind]:
        if record.get(name) is None:
            return f"field {name} is missing"
    version = record.get("schema")
    if version is not None and version != schema.VERSION:
        return f"schema is {version!r:.80}, expected {schema.VERSION!r}"
    for column in KINDS[kind]:
        value = record.get(column.name)
        wanted = _TYPES[str(column.type)]
        if value is None:
            continue
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            return f"field {column.name} is {type(value).__name__}, expected {column.type}"
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return f"field {column.name} is out of range"
        if isinstance(value, str) and not _is_text(value):
            return f"field {column.name} holds half of a surrogate pair"
    guess = record.get("kind")
    if kind == "request" and guess is not None and guess not in set(schema.Kind):
        return f"kind is {guess!r:.80}, expected one of {', '.join(schema.Kind)}"
    return None


def kind_of(record: Any) -> str:
    """Kind that `record` says it is, a request when it says nothing; `OTHER` for anything else."""
    if not isinstance(record, dict):
        return OTHER
    kind = record.get("record")
    return "request" if kind is None else kind if isinstance(kind, str) and kind in KINDS else OTHER


@dataclass(slots=True)
class _Shape:
    """Records with the same keys: their values end to end, and their line numbers."""

    keys: tuple[str, ...]
    flat: list[Any] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


class Collector:
    """Gathers the records of one file; `take` hands out what came since the last call."""

    def __init__(self, file: str, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self.chunk_bytes = min(_CHUNK_BYTES, max_bytes)
        self._shapes: dict[tuple[str, ...], _Shape] = {}
        self._clear()

    def _clear(self) -> None:
        self._held: dict[str, list[pa.RecordBatch]] = {kind: [] for kind in KINDS}
        self._bytes = 0
        self._rejected: list[Rejected] = []
        self._unknown: Counter[str] = Counter()
        self._read: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether it is time to `take`."""
        return self._bytes >= self._max_bytes or len(self._rejected) >= _REJECTS

    def shape(self, record: dict[str, Any]) -> _Shape:
        """Where values of records with these keys go, until the next `flush`."""
        keys = tuple(record)
        return self._shapes.setdefault(keys, _Shape(keys))

    def reject(
        self, line: int, reason: str, text: str = "", kind: str = OTHER, rows: int = 1, read: bool = True
    ) -> None:
        """Set `rows` rows aside; `read` says that they are not counted yet."""
        self._rejected.append(Rejected(self._file, line, reason, text[:200], kind, rows))
        if read:
            self._read[kind] += rows

    def count(self, kind: str, rows: int, unknown: Iterable[str] = ()) -> None:
        """Count `rows` rows as read, and their fields outside the contract."""
        self._read[kind] += rows
        for name in unknown:
            # Names come from outside: a log with a new one on every line must not fill the memory.
            known = name in self._unknown or len(self._unknown) < _NAMES
            self._unknown[name if known else "..."] += rows

    def add(self, kind: str, batch: pa.RecordBatch) -> None:
        """Rows of the contract; the caller has counted them as read."""
        if batch.num_rows:
            self._held[kind].append(batch)
            self._bytes += batch.nbytes

    def flush(self) -> None:
        """Turn the values of all shapes into columns."""
        for shape in self._shapes.values():
            rows = len(shape.numbers)
            made = _columns(shape) if rows else None
            if made is not None:
                kind, batch = made
                self.count(kind, rows, _outside(shape.keys, kind))
                self.add(kind, batch)
            elif rows:
                self._one_by_one(shape)
        self._shapes.clear()

    def _one_by_one(self, shape: _Shape) -> None:
        width = len(shape.keys)
        good: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        for row, number in enumerate(shape.numbers):
            record = dict(zip(shape.keys, shape.flat[row * width : (row + 1) * width], strict=True))
            kind = kind_of(record)
            if kind == OTHER:
                reason: str | None = f"record is {record.get('record')!r:.80}"
            else:
                reason = problem(record, kind)
            if reason is not None:
                self.reject(number, reason, json.dumps(record, default=str), kind)
                continue
            self.count(kind, 1, _outside(shape.keys, kind))
            good[kind].append(record)
        for kind, records in good.items():
            if records:
                self.add(kind, _slow_columns(records, kind))

    def take(self) -> Records:
        """What was collected since the last call."""
        self.flush()
        tables = {
            kind: pa.Table.from_batches(self._held[kind], schema=columns) for kind, columns in KINDS.items()
        }
        records = Records(tables["request"], tables["event"], self._rejected, self._unknown, self._read)
        self._clear()
        return records


def _outside(keys: Iterable[str], kind: str) -> list[str]:
    known = KINDS[kind].names
    return [name for name in keys if name not in known and name not in ("record", "schema")]


def _columns(shape: _Shape) -> tuple[str, pa.RecordBatch] | None:
    """Columns of a whole shape at once; None when any of its records is not as it should be."""
    width, rows = len(shape.keys), len(shape.numbers)
    found = {name: shape.flat[place::width] for place, name in enumerate(shape.keys)}
    marks = found.get("record", [None])
    kind = kind_of({"record": marks[0]})
    if kind == OTHER or marks.count(marks[0]) != len(marks):
        return None
    arrays = []
    for column in KINDS[kind]:
        values = found.get(column.name)
        exact = _NUMBERS.get(str(column.type))
        if values is not None and exact is not None and not exact.issuperset(map(type, values)):
            return None
        try:
            array = pa.nulls(rows, column.type) if values is None else pa.array(values, column.type)
        except _REFUSED:
            return None
        if array.null_count and column.name in schema.REQUIRED[kind]:
            return None
        arrays.append(filled(array, column.name, kind))
    if kind == "request":
        named = dict(zip(schema.REQUEST.names, arrays, strict=True))
        if not _all_one_of(named["schema"], {schema.VERSION}):
            return None
        if not _all_one_of(named["kind"], {kind.value for kind in schema.Kind}):
            return None
    elif "schema" in found and any(value not in (None, schema.VERSION) for value in found["schema"]):
        return None
    return kind, pa.record_batch(arrays, schema=KINDS[kind])


def filled(array: Any, name: str, kind: str) -> Any:
    """`array` with the default of an absent field in place of nulls."""
    default = schema.REQUEST_DEFAULTS.get(name) if kind == "request" else None
    return array if default is None or not array.null_count else pc.fill_null(array, default)


def _all_one_of(array: Any, allowed: set[str]) -> bool:
    return set(pc.unique(array).to_pylist()) <= allowed


def _slow_columns(records: list[dict[str, Any]], kind: str) -> pa.RecordBatch:
    arrays = []
    for column in KINDS[kind]:
        values = [record.get(column.name) for record in records]
        if str(column.type) == "double":  # Arrow refuses whole numbers that a double rounds
            values = [None if value is None else float(value) for value in values]
        arrays.append(filled(pa.array(values, column.type), column.name, kind))
    return pa.record_batch(arrays, schema=KINDS[kind])


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
