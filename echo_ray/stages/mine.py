"""Mining: what the user finally left in the gap (paper 4.2). The stage around the rule in `gaps`.

Requests come with the edits that led to them (`schema.LINKS`), so only narrow columns are looked at; the
contexts pass through untouched. A table without these columns is linked first.

Invariant: one sample per request of the timeline (`automatic`, `manual`), in the order of the table.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from echo_ray import schema
from echo_ray.config import Config
from echo_ray.link import LinkKind
from echo_ray.link_table import edits_of, in_timeline, link_table
from echo_ray.schema import Drop, EndReason, LastEdit
from echo_ray.stages.gaps import Moment, Outcome, Rule, mine_session
from echo_ray.stages.sweep import CONFIDENCES, EMPTY, REASONS, Flags, Found, Timeline, sweep, timeline
from echo_ray.stages.sweep_text import Ints


class Termination(StrEnum):
    """When a gap closes at the latest; the contextual break always closes it."""

    CONTEXTUAL_BREAK = "contextual_break"
    """An edit touches an anchor or another file (paper 4.2)."""
    QUIESCENCE = "quiescence"
    """No request in the file for `quiescence_s`."""
    TTL = "ttl"
    """`ttl_s` after the request."""


class MineConfig(Config):
    """Settings of `mine`."""

    input: Path | None = None
    """Experience log: a directory of Parquet or JSON Lines record files."""
    output: Path | None = None
    """Folder for the samples and `manifest.json`."""
    idle_s: float = Field(300.0, gt=0)
    """A gap closes when the session is silent for longer than this (seconds)."""
    termination: Termination = Termination.CONTEXTUAL_BREAK
    """`contextual_break`, or an earlier end: `quiescence` or `ttl`."""
    quiescence_s: float = Field(10.0, gt=0)
    """Policy `quiescence`: silence in the file after which a gap closes (seconds)."""
    ttl_s: float = Field(30.0, gt=0)
    """Policy `ttl`: age at which a gap closes (seconds)."""

    def rule(self) -> Rule:
        """The rule that these settings describe."""
        return Rule(
            self.idle_s * 1000,
            self.quiescence_s * 1000 if self.termination is Termination.QUIESCENCE else None,
            self.ttl_s * 1000 if self.termination is Termination.TTL else None,
        )


_KEPT = ("request_id", "user", "session", "file", "language", "ts_ms", "prefix", "suffix", "proposal")
_COMPLETE = ("prefix_complete", "suffix_complete")
_READ = (
    *("session", "user", "file", "ts_ms", "delivered", "proposal", "prefix_complete", "suffix_complete"),
    *schema.LINKS.names,
)
_UNSEEN = (EndReason.SESSION_END, EndReason.IDLE, EndReason.LOST, EndReason.QUIESCENCE)
"""Ends after which a gap that nothing was logged in says nothing, not even that silence was right."""


def mine(table: pa.Table, config: MineConfig) -> pa.Table:
    """Samples of whole sessions: request rows (`schema.LOGGED` or `REQUEST`) in, `schema.SAMPLE` rows out.

    The table must hold every request of the sessions in it; the order of their rows does not matter.
    """
    if "seq" not in table.column_names:
        table = link_table(table)
    mask = in_timeline(table)
    if not pc.all(mask, min_count=0).as_py():
        table = table.filter(mask)
    rule = config.rule()
    requests = timeline(table, rule)
    quick = requests.covered
    parts = [sweep(table, requests.only(quick))] if quick.any() else []
    if not quick.all():
        parts.append(_one_by_one(table, requests.only(~quick), rule))
    columns: dict[str, Any] = {"sample_id": table["request_id"]} | {
        name: table[name] for name in (*_KEPT, *_COMPLETE)
    }
    columns["last_edit"] = _last_edit(table, requests)
    columns |= _columns(parts, table)
    return pa.table({name: columns[name] for name in schema.SAMPLE.names}, schema=schema.SAMPLE)


def _one_by_one(table: pa.Table, requests: Timeline, rule: Rule) -> Found:
    """The outcomes of sessions that `sweep` does not cover."""
    narrow = table.select(_READ).take(pa.array(requests.row))
    columns: dict[str, list[Any]] = narrow.to_pydict()
    outcomes: list[Outcome] = []
    for _, group in groupby(range(len(requests.row)), key=requests.session.tolist().__getitem__):
        outcomes += mine_session(list(_moments(columns, group)), rule)
    found: dict[str, Any] = dict(zip(Outcome._fields, map(list, zip(*outcomes, strict=True)), strict=True))
    found |= {
        "row": requests.row[found["row"]],
        "end_reason": list(map(REASONS.index, found["end_reason"])),
        "confidence": list(map(CONFIDENCES.index, found["confidence"])),
        "accepted_chars": [count or 0 for count in found["accepted_chars"]],
    }
    return Found._make(
        np.array(found[name], object if name == "commit" else np.int64) for name in Found._fields
    )


def _moments(columns: dict[str, list[Any]], rows: Iterator[int]) -> Iterator[Moment]:
    stamps, files, kinds, cursors = (columns[name] for name in ("ts_ms", "file", "link", "cursor"))
    proposals, delivered = columns["proposal"], columns["delivered"]
    from_start, to_end = columns["prefix_complete"], columns["suffix_complete"]
    for row in rows:
        yield Moment(
            row,
            stamps[row],
            files[row],
            LinkKind(kinds[row]),
            cursors[row],
            edits_of(columns, row),
            proposals[row] if delivered[row] else None,
            from_start[row] and to_end[row],
        )


def _columns(parts: list[Found], table: pa.Table) -> dict[str, pa.Array]:
    """The mined columns, in the order of the table."""
    whole = Found._make(map(np.concatenate, zip(EMPTY, *parts, strict=True)))
    back = np.empty(table.num_rows, np.int64)
    back[whole.row] = np.arange(table.num_rows)
    found = Found._make(values[back] for values in whole)
    unseen = np.isin(found.end_reason, [REASONS.index(reason) for reason in _UNSEEN]) & (found.snapshots == 0)
    shown = pc.and_(table["delivered"], pc.greater(pc.binary_length(pc.fill_null(table["proposal"], "")), 0))
    return {name: pa.array(values) for name, values in found._asdict().items()} | {
        "commit": pa.array(found.commit, pa.large_string()),
        "end_reason": _named(found.end_reason, REASONS),
        "confidence": _named(found.confidence, CONFIDENCES),
        "snapshots": pa.array(found.snapshots, pa.int32()),
        "accepted_chars": pa.array(found.accepted_chars, mask=~shown.to_numpy()),
        "drop": _named(np.zeros(len(unseen), np.int64), [Drop.UNOBSERVED], ~unseen),
    }


def _last_edit(table: pa.Table, requests: Timeline) -> pa.Array:
    """`schema.LastEdit` of each request, from the link to the request before of the same file."""
    edited = pc.is_in(table["link"], pa.array([LinkKind.EDIT.value, LinkKind.EDITS.value]))
    same = pc.equal(table["link"], LinkKind.SAME.value)
    several = pc.is_valid(table["more_edits"])
    added = pc.fill_null(pc.greater(pc.binary_length(table["edit_text"]), 0), False)
    removed = pc.fill_null(pc.greater(table["edit_removed"], 0), False)
    found = {
        LastEdit.DELETED: pc.and_(edited, pc.invert(pc.or_(added, several))),
        LastEdit.INSERTED: pc.and_(edited, pc.invert(pc.or_(removed, several))),
        LastEdit.REPLACED: edited,
        LastEdit.NONE: pc.and_(same, pa.array(_unmoved(table, requests))),
        LastEdit.MOVED: same,
    }
    conditions = pc.make_struct(*found.values(), field_names=list(found))
    return pc.case_when(conditions, *(pa.scalar(name.value) for name in found))


def _unmoved(table: pa.Table, requests: Timeline) -> Flags:
    """Whether the cursor stands where it stood at the request before of the same file."""
    order = np.argsort(requests.file, kind="stable")
    rows = requests.row[order]
    same = (np.diff(requests.file[order]) == 0) & (np.diff(table["cursor"].to_numpy()[rows]) == 0)
    unmoved = np.zeros(len(order), bool)
    unmoved[rows[1:]] = same
    return unmoved


def _named(places: Ints, names: Sequence[str], nothing: Flags | None = None) -> pa.Array:
    """`names` by place, null where `nothing`."""
    codes = pa.array(places, pa.int32(), mask=nothing)
    return pa.DictionaryArray.from_arrays(codes, pa.array(map(str, names))).cast(pa.string())
