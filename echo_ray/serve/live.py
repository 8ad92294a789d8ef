"""What would be mined from one session's log right now: the real miner, on records in memory. Pure.

The newest gaps are still open; the miner ends them where the log ends (`session_end`), so their commit is
what stands there at this moment. Not covered: refinement; the target that a model is trained on may be
shorter than the commit.
"""

from collections.abc import Iterable
from typing import Any, TypedDict

import pyarrow as pa

from echo_ray import schema
from echo_ray.log.contract import kind_of, problem
from echo_ray.stages.mine import MineConfig, mine

NEWEST = 100
"""Requests that are looked at. A sample depends on what came after its request only, so older requests can
be left out; following a session costs time that an event loop notices."""

TAIL_CHARS = 120
"""Most characters of a prefix that are shown before a commit; whole lines are preferred."""


class Mined(TypedDict):
    """One sample, as the playground shows it."""

    request_id: str
    prefix_tail: str
    """End of the prefix, at most `TAIL_CHARS`."""
    commit: str
    """What was left between the anchors; `""` says that silence was right."""
    end_reason: str
    """`schema.EndReason`; `session_end` means that the gap is still open."""
    proposal: str | None


def mined(records: Iterable[dict[str, Any]], config: MineConfig | None = None) -> list[Mined]:
    """Samples of the request records among `records` (of one session, in any order), newest first.

    Only the `NEWEST` requests are mined. What is no request of the contract is passed over, and a record
    that comes twice counts once. Requests after which nothing was logged say nothing yet and are left out, as
    `mine` drops them.
    """
    rows: dict[str, dict[str, Any]] = {}
    for record in records:
        if kind_of(record) == "request" and problem(record, "request") is None:
            given = {name: record[name] for name in schema.REQUEST.names if record.get(name) is not None}
            rows[given["request_id"]] = schema.REQUEST_DEFAULTS | given
    newest = sorted(rows.values(), key=lambda row: row["ts_ms"])[-NEWEST:]
    table = pa.Table.from_pylist(newest, schema=schema.REQUEST)
    samples = mine(table, config or MineConfig()).to_pylist()
    return [
        Mined(
            request_id=sample["request_id"],
            prefix_tail=_tail(sample["prefix"]),
            commit=sample["commit"],
            end_reason=sample["end_reason"],
            proposal=sample["proposal"],
        )
        for sample in reversed(samples)
        if sample["drop"] is None
    ]


def _tail(prefix: str) -> str:
    """The line of the cursor and, where there is room, the one before."""
    tail = prefix[-TAIL_CHARS:]
    lines = tail.split("\n")
    return "\n".join(lines[-2:]) if len(lines) > 2 or len(tail) == len(prefix) else lines[-1]
