"""Arrow in and out for `link`: requests in time order get the columns of `schema.LINKS`."""

import json
from collections import deque
from collections.abc import Container, Iterator
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from echo_ray import schema
from echo_ray.edits import Edit, View
from echo_ray.link import Link, Look, link_session

TIMELINE = (schema.Kind.AUTOMATIC.value, schema.Kind.MANUAL.value)
"""Kinds of requests that show the user's document; `speculative` and `warmup` ones show what may become."""

_READ = ("session", "user", "file", "ts_ms", "kind", "prefix", "suffix", "prefix_complete", "suffix_complete")


def in_timeline(table: pa.Table) -> pa.ChunkedArray:
    """Mask of the rows whose kind belongs to the timeline."""
    return pc.is_in(table["kind"], pa.array(TIMELINE))


def linked(batches: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The batches again with the columns of `schema.LINKS`.

    Rows must come by session and user, then time. At most the batches that hold one look-ahead of a
    session (a few thousand requests) are held at once.
    """
    waiting: deque[tuple[int, pa.Table]] = deque()
    done: dict[int, Link | None] = {}

    def looks() -> Iterator[tuple[tuple[str, str], Look]]:
        row = 0
        for batch in batches:
            waiting.append((row, batch))
            columns = [batch[name].to_pylist() for name in _READ]
            for session, user, file, ts_ms, kind, prefix, suffix, from_start, to_end in zip(
                *columns, strict=True
            ):
                if kind in TIMELINE:
                    yield (session, user), Look(row, ts_ms, file, View(prefix, suffix, from_start, to_end))
                else:
                    done[row] = None
                row += 1

    for _, session_looks in groupby(looks(), key=lambda pair: pair[0]):
        for link in link_session(look for _, look in session_looks):
            done[link.row] = link
            while waiting and len(done) >= waiting[0][1].num_rows and _complete(waiting[0], done):
                yield _widen(*waiting.popleft(), done)
    for first, batch in waiting:
        yield _widen(first, batch, done)


def link_table(table: pa.Table) -> pa.Table:
    """`table` (`schema.REQUEST`) in session and time order, with the columns of `schema.LINKS`."""
    order = [(name, "ascending") for name in ("session", "user", "ts_ms", "request_id")]
    rows = pc.sort_indices(table, sort_keys=order).to_numpy()
    if np.any(np.diff(rows.astype(np.int64)) < 0):
        table = table.take(pa.array(rows))
    return pa.concat_tables(linked(iter([table])))


def edits_of(columns: dict[str, list[Any]], row: int) -> tuple[Edit, ...]:
    """The edits that led to the request in `row` of `columns` (lists by name of `schema.LINKS`)."""
    at = columns["edit_at"][row]
    if at is None:
        return ()
    first = Edit(at, at + columns["edit_removed"][row], columns["edit_text"][row])
    more = columns["more_edits"][row]
    if more is None:
        return (first,)
    return first, *(Edit(start, start + removed, text) for start, removed, text in json.loads(more))


def _complete(waiting: tuple[int, pa.Table], done: Container[int]) -> bool:
    first, batch = waiting
    return all(row in done for row in range(first, first + batch.num_rows))


def _widen(first: int, batch: pa.Table, done: dict[int, Link | None]) -> pa.Table:
    links = [done.pop(row) for row in range(first, first + batch.num_rows)]
    edits = [link.edits[0] if link is not None and link.edits else None for link in links]
    columns: tuple[list[Any], ...] = (
        [None if link is None else link.seq for link in links],
        [None if link is None else link.kind.value for link in links],
        [None if link is None else link.cursor for link in links],
        [None if edit is None else edit.start for edit in edits],
        [None if edit is None else edit.stop - edit.start for edit in edits],
        [None if edit is None else edit.text for edit in edits],
        [None if link is None or len(link.edits) < 2 else _more(link.edits[1:]) for link in links],
    )
    for column, values in zip(schema.LINKS, columns, strict=True):
        batch = batch.append_column(column, pa.array(values, column.type))
    return batch


def _more(edits: tuple[Edit, ...]) -> str:
    return json.dumps([[start, stop - start, text] for start, stop, text in edits])
