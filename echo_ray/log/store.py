"""One partition of the log store: whole sessions, in order, each request once.

Order: session, user, then time. Requests of one millisecond (or second, for coarse clocks) are ordered by
their ids, read as people read them: cut at punctuation, shorter parts first, so `r-9` comes before `r-10`
and ids of one length (ULID, UUIDv7, zero-padded counters) keep their alphabet. Our choice: the place in a
file never decides, because a log may be split into files and shuffled in any way, and the store must not
depend on that. Random ids with coarse clocks leave the order inside a tick to the miner.

Merging: one (session, user, request_id) is one request, whatever file it came in. Of several rows the
delivered one wins, then the one with a proposal, the longer proposal, the earlier time, and last the
smaller row, so that the order of arrival never decides. Identical events are merged too.

Memory: the fragments of a partition lie in memory once; rows leave in batches of `BATCH_BYTES`. Only the
narrow columns are sorted, and text is picked fragment by fragment, never joined.

Reading a store, pyarrow: `pyarrow.parquet.read_table(sorted(Path("LOG").glob("part-*.parquet")))`
Reading a store, DuckDB: `SELECT * FROM 'LOG/part-*.parquet'`, events from `'LOG/events/*.parquet'`.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Rows: TypeAlias = npt.NDArray[np.int64]
"""Row numbers across the fragments of a partition."""


BATCH_BYTES = 32 << 20
"""Text of one batch, and of one row group: what a reader of the store holds at once."""
REPEAT_MS = 2000
"""A request with the text of the one before it, no later than this, is a client's retry."""

_TEXT = ("prefix", "suffix", "proposal")
_REPEATED = ("schema", "user", "session", "file", "language", "kind", "model", "arm", "client", "type")
_ORDER = ("session", "user", "ts_ms", "request_id")
_CUTS = re.compile(r"[^0-9A-Za-z]+")


def write(path: Path, batches: Iterable[pa.Table], columns: pa.Schema) -> int:
    """Write a file of the store, one row group per batch; it appears whole or not at all. Returns rows.

    Measured on 20,000 keystrokes of 200 users with windows of 6 KB (the log of `tests/benchmarks/store.py`,
    without links; JSON Lines takes 6,251 bytes per request): bytes, and microseconds on one core to write
    and to read, per request. Level 1, pages of 1 MB and four groups where nothing is said. Times are medians
    of 7 rounds in which the layouts took turns; within a row they spread by a quarter and more, so the
    reads of the sorted layouts cannot be told apart.

    | layout                                 | bytes              | write     | read      |
    |----------------------------------------|--------------------|-----------|-----------|
    | order of arrival                       | 1,099              | 10.0      | 2.9       |
    | sorted, dictionaries everywhere        | 91.4               | 2.5       | 1.3       |
    | pages of 256 KB / 4 MB / 16 MB         | 91.4 / 91.1 / 90.5 | 2.1 - 2.8 | 1.3 - 1.7 |
    | no dictionary for text and ids         | 88.2               | 2.1       | 1.4       |
    | **that, level 3**                      | 87.4               | 2.9       | 1.1       |
    | that, level 6                          | 81.4               | 5.6       | 1.7       |
    | level 3, pages of 16 MB                | 85.5               | 3.1       | 1.2       |
    | pages of 4 MB, groups of 5,000 / 2,000 | 86.5 / 84.9        | 2.9 - 3.0 | 1.4 - 1.7 |
    | DELTA_LENGTH_BYTE_ARRAY for text       | 86.2               | 3.7       | 1.4       |
    | DELTA_BYTE_ARRAY for text              | 83.2               | 3.9       | 1.6       |

    The order is what counts; the rest are a few bytes. So: encodings that every reader knows, and whose
    metadata tell the true size of the text.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    rows = 0
    with pq.ParquetWriter(
        part,
        columns,
        compression="zstd",
        compression_level=3,
        use_dictionary=[name for name in columns.names if name in _REPEATED],
        write_statistics=[name for name in columns.names if name in (*_REPEATED, "ts_ms")],
    ) as writer:
        for batch in batches:
            writer.write_table(batch, row_group_size=max(1, batch.num_rows))
            rows += batch.num_rows
    part.replace(path)
    return rows


def write_fragment(table: pa.Table, path: Path) -> None:
    """Write rows on their way to a partition: fast, not small."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    pq.write_table(
        table, part, compression="zstd", compression_level=1, use_dictionary=False, write_statistics=False
    )
    part.replace(path)


class Fragments:
    """The rows of one partition as they came, addressed by number across all fragments."""

    def __init__(self, paths: Sequence[Path], columns: pa.Schema) -> None:
        self.columns = columns
        self._pieces: list[pa.RecordBatch] = []
        for path in paths:
            with pq.ParquetFile(path) as file:
                self._pieces += file.read(use_threads=False).cast(columns).to_batches()
        sizes = [0, *(piece.num_rows for piece in self._pieces)]
        self._starts: Rows = np.cumsum(np.array(sizes, np.int64))
        self.num_rows = int(self._starts[-1])

    def narrow(self, names: Iterable[str]) -> pa.Table:
        """Some columns of all rows, joined; not for text."""
        wanted = set(names)
        picked = [name for name in self.columns.names if name in wanted]
        fields = pa.schema([self.columns.field(name) for name in picked])
        return pa.Table.from_batches(
            [piece.select(picked) for piece in self._pieces], fields
        ).combine_chunks()

    def text_bytes(self, name: str) -> Rows:
        """Length of every value of a text column (UTF-8 bytes), -1 for null."""
        lengths = [
            pc.fill_null(pc.binary_length(piece.column(name)).cast(pa.int64()), -1).to_numpy()
            for piece in self._pieces
        ]
        return np.concatenate([np.empty(0, np.int64), *lengths])

    def row(self, number: int) -> dict[str, Any]:
        """One row as plain values."""
        place = int(np.searchsorted(self._starts, number, side="right")) - 1
        found: list[dict[str, Any]] = self._pieces[place].slice(number - self._starts[place], 1).to_pylist()
        return found[0]

    def pick(self, rows: Rows) -> pa.Table:
        """Rows by number, in that order, without joining the fragments first."""
        places = np.searchsorted(self._starts, rows, side="right") - 1
        by_place = np.argsort(places, kind="stable")
        ends = np.flatnonzero(np.diff(places[by_place])) + 1
        parts = []
        for group in np.split(by_place, ends) if len(rows) else ():
            place = places[group[0]]
            parts.append(self._pieces[place].take(pa.array(rows[group] - self._starts[place])))
        if not parts:
            return self.columns.empty_table()
        back = np.empty(len(rows), np.int64)
        back[by_place] = np.arange(len(rows))
        return pa.Table.from_batches([pa.concat_batches(parts).take(pa.array(back))])

    def batches(self, rows: Rows, limit: int = BATCH_BYTES) -> Iterator[pa.Table]:
        """`rows` in order, in pieces of about `limit` bytes of text."""
        sizes: Rows = np.full(self.num_rows, 200, np.int64)
        for name in _TEXT:
            if name in self.columns.names:
                sizes += np.maximum(self.text_bytes(name), 0)
        filled = np.cumsum(sizes[rows]) // limit
        for piece in np.split(rows, np.flatnonzero(np.diff(filled)) + 1) if len(rows) else ():
            yield self.pick(piece)


def order_requests(found: Fragments) -> Rows:
    """Numbers of the rows to keep, in the order of the store."""
    narrow = found.narrow(name for name in found.columns.names if name not in _TEXT)
    kept = _merged(found, narrow)
    if len(kept) < found.num_rows:
        narrow = narrow.take(pa.array(kept))
    keys = narrow.select(_ORDER)
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in _ORDER])
    ranks: Rows = np.array(order, np.int64)
    _settle_ties(keys, ranks)
    rows: Rows = kept[ranks]
    return rows


def order_events(found: Fragments) -> Rows:
    """Numbers of the events to keep: by user and time, identical ones once."""
    if not found.num_rows:
        return np.empty(0, np.int64)
    table = found.narrow(found.columns.names)
    first = [name for name in ("user", "ts_ms", "request_id") if name in table.column_names]
    rest = [name for name in table.column_names if name not in first]
    keys = [(name, "ascending") for name in (*first, *rest)]
    ranks = pc.sort_indices(table, sort_keys=keys).to_numpy().astype(np.int64)
    same = np.ones(max(0, len(ranks) - 1), np.bool_)
    for name in table.column_names:
        codes = _codes(table[name])[ranks]
        same &= codes[1:] == codes[:-1]
    rows: Rows = ranks[np.concatenate([[True], ~same])]
    return rows


def natural(name: str) -> tuple[tuple[tuple[int, str], ...], str]:
    """Sort key of a request id: its parts between punctuation, shorter ones first."""
    return tuple((len(part), part) for part in _CUTS.split(name)), name


def counting_repeats(batches: Iterator[pa.Table], counts: Counter[str]) -> Iterator[pa.Table]:
    """Pass sorted requests on; count under `repeats` those that ask again what the one before asked."""
    names = ("session", "user", "file", "suffix", "prefix")
    last: pa.Table | None = None
    for batch in batches:
        # The table of the last row is a copy: a slice would keep its whole batch alive.
        joined = batch if last is None else pa.concat_tables([last, batch.slice(0, 1)])
        for rows in (joined, batch) if last is not None else (batch,):
            if rows.num_rows < 2:
                continue
            gaps = np.diff(rows["ts_ms"].to_numpy())
            same = (gaps >= 0) & (gaps <= REPEAT_MS)
            for name in names:
                if not same.any():
                    break
                values = rows[name].combine_chunks()
                same &= pc.equal(values[1:], values[:-1]).to_numpy(zero_copy_only=False)
            counts["repeats"] += int(same.sum())
        yield batch
        last = batch.take(pa.array([batch.num_rows - 1]))


def _merged(found: Fragments, narrow: pa.Table) -> Rows:
    """Numbers of the rows that stay when each request is kept once."""
    everything: Rows = np.arange(found.num_rows, dtype=np.int64)
    if not found.num_rows:
        return everything
    codes = _codes(narrow["request_id"])
    again = np.flatnonzero(np.bincount(codes)[codes] > 1)
    if not len(again):
        return everything
    groups: dict[tuple[str, str, str], list[int]] = {}
    ids = narrow.select(["session", "user", "request_id"]).take(pa.array(again))
    for row, *key in zip(again.tolist(), *(column.to_pylist() for column in ids.columns), strict=True):
        groups.setdefault((key[0], key[1], key[2]), []).append(row)
    delivered = narrow["delivered"].to_numpy()
    times, lengths = narrow["ts_ms"].to_numpy(), found.text_bytes("proposal")
    stays = np.ones(found.num_rows, np.bool_)
    for rows in groups.values():
        if len(rows) == 1:
            continue
        ranks = {row: (not delivered[row], -lengths[row], times[row]) for row in rows}
        best = min(ranks.values())
        tied = [row for row in rows if ranks[row] == best]
        winner = tied[0] if len(tied) == 1 else min(tied, key=lambda row: _whole(found.row(row)))
        stays[rows] = False
        stays[winner] = True
    return everything[stays]


def _whole(row: dict[str, Any]) -> list[tuple[bool, Any]]:
    return [(value is None, 0 if value is None else value) for value in row.values()]


def _settle_ties(keys: pa.Table, ranks: Rows) -> None:
    """Order rows of one session and one tick by their ids, in place."""
    if len(ranks) < 2:
        return
    tied = np.ones(len(ranks) - 1, np.bool_)
    for name in ("session", "user", "ts_ms"):
        codes = _codes(keys[name])[ranks]
        tied &= codes[1:] == codes[:-1]
    if not tied.any():
        return
    edges = np.diff(np.concatenate([[False], tied, [False]]).astype(np.int8))
    for start, stop in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) + 1, strict=True):
        rows = ranks[start:stop]
        names = keys["request_id"].take(pa.array(rows)).to_pylist()
        by_name = sorted(range(len(names)), key=lambda i: natural(names[i]))
        ranks[start:stop] = rows[by_name]


def _codes(column: Any) -> Any:
    """A number per row, equal for equal values (nulls included)."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return array.dictionary_encode(null_encoding="encode").indices.to_numpy()
