"""Arrow in and out for `link`: requests in time order get the columns of `schema.LINKS`."""

import json
from collections import deque
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from echo_ray import schema
from echo_ray.edits import Edit, View
from echo_ray.link import Link, LinkKind, Look, link_session

TIMELINE = (schema.Kind.AUTOMATIC.value, schema.Kind.MANUAL.value)
"""Kinds of requests that show the user's document; `speculative` and `warmup` ones show what may become."""

_READ = ("session", "user", "file", "ts_ms", "kind", "prefix", "suffix", "prefix_complete", "suffix_complete")
_NO_LINK: dict[str, None] = dict.fromkeys(schema.LINKS.names)


def in_timeline(table: pa.Table) -> pa.ChunkedArray:
    """Mask of the rows whose kind belongs to the timeline."""
    return pc.is_in(table["kind"], pa.array(TIMELINE))


def linked(batches: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The batches again with the columns of `schema.LINKS`.

    Rows must come by session and user, then time. At most the batches that hold one look-ahead of a
    session (a few thousand requests) are held at once.
    """
    waiting: deque[tuple[int, pa.Table]] = deque()
    done: dict[int, dict[str, Any]] = {}

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
                    done[row] = _NO_LINK
                row += 1

    for _, session_looks in groupby(looks(), key=lambda pair: pair[0]):
        for link in link_session(look for _, look in session_looks):
            done[link.row] = _cells(link)
            while waiting and len(done) >= waiting[0][1].num_rows and _complete(waiting[0], done):
                yield _widen(*waiting.popleft(), done)
    for first, batch in waiting:
        yield _widen(first, batch, done)


def link_table(table: pa.Table) -> pa.Table:
    """`table` (`schema.REQUEST`) in session and time order, with the columns of `schema.LINKS`."""
    order = [(name, "ascending") for name in ("session", "user", "ts_ms", "request_id")]
    ordered = table.sort_by(order)
    return pa.concat_tables(linked(iter([ordered])))


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


def _complete(waiting: tuple[int, pa.Table], done: dict[int, dict[str, Any]]) -> bool:
    first, batch = waiting
    return all(row in done for row in range(first, first + batch.num_rows))


def _cells(link: Link) -> dict[str, Any]:
    cells: dict[str, Any] = _NO_LINK | {"seq": link.seq, "link": link.kind.value, "cursor": link.cursor}
    if link.edits:
        start, stop, text = link.edits[0]
        cells |= {"edit_at": start, "edit_removed": stop - start, "edit_text": text}
    if len(link.edits) > 1:
        cells["more_edits"] = json.dumps(
            [[start, stop - start, text] for start, stop, text in link.edits[1:]]
        )
    return cells


def _widen(first: int, batch: pa.Table, done: dict[int, dict[str, Any]]) -> pa.Table:
    rows = [done.pop(row) for row in range(first, first + batch.num_rows)]
    for column in schema.LINKS:
        batch = batch.append_column(column, pa.array([row[column.name] for row in rows], column.type))
    return batch


__all__ = ["TIMELINE", "LinkKind", "edits_of", "in_timeline", "link_table", "linked"]
