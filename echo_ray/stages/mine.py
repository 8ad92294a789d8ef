"""Mining: what the user finally left in the gap (paper 4.2). The stage around the rule in `gaps`.

Requests come with the edits that led to them (`schema.LINKS`), so only narrow columns are looked at; the
contexts pass through untouched. A table without these columns is linked first.

Invariant: one sample per request of the timeline (`automatic`, `manual`), in the order of the table.
"""

from collections.abc import Iterator
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from echo_ray import schema
from echo_ray.config import Config
from echo_ray.link import LinkKind
from echo_ray.link_table import edits_of, in_timeline, link_table
from echo_ray.schema import Drop, EndReason
from echo_ray.stages.gaps import Moment, Outcome, Rule, mine_session


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
_READ = (
    *("session", "user", "file", "ts_ms", "delivered", "proposal", "prefix_complete", "suffix_complete"),
    *schema.LINKS.names,
)


def mine(table: pa.Table, config: MineConfig) -> pa.Table:
    """Samples of whole sessions: request rows (`schema.LOGGED` or `REQUEST`) in, `schema.SAMPLE` rows out.

    The table must hold every request of the sessions in it; the order of their rows does not matter.
    """
    if "seq" not in table.column_names:
        table = link_table(table)
    mask = in_timeline(table)
    if not pc.all(mask, min_count=0).as_py():
        table = table.filter(mask)
    outcomes = _outcomes(table, config.rule())
    columns: dict[str, Any] = {"sample_id": table["request_id"]} | {name: table[name] for name in _KEPT}
    found = list(zip(*outcomes, strict=True)) or [()] * len(Outcome._fields)
    columns |= dict(zip(Outcome._fields, found, strict=True))
    columns["drop"] = [_drop(outcome) for outcome in outcomes]
    return pa.table({name: columns[name] for name in schema.SAMPLE.names}, schema=schema.SAMPLE)


def _outcomes(table: pa.Table, rule: Rule) -> list[Outcome]:
    """The outcome of every row, in the table's order."""
    columns = {name: table[name].to_pylist() for name in _READ}
    sessions, users, seqs = columns["session"], columns["user"], columns["seq"]
    # The store keeps sessions together and almost always in the order of the timeline: then this is quick.
    rows = sorted(range(table.num_rows), key=lambda row: (sessions[row], users[row], seqs[row]))
    outcomes: list[Outcome | None] = [None] * table.num_rows
    for _, group in groupby(rows, key=lambda row: (sessions[row], users[row])):
        for outcome in mine_session(list(_moments(columns, group)), rule):
            outcomes[outcome.row] = outcome
    complete = [outcome for outcome in outcomes if outcome is not None]
    assert len(complete) == table.num_rows
    return complete


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


def _drop(outcome: Outcome) -> str | None:
    """A gap that nothing was logged after says nothing, not even that silence was right."""
    unseen = outcome.snapshots == 0 and outcome.end_reason in (
        EndReason.SESSION_END,
        EndReason.IDLE,
        EndReason.LOST,
        EndReason.QUIESCENCE,
    )
    return Drop.UNOBSERVED.value if unseen else None
