"""What `compare` looks at: pieces of a log or of recorded edits, each with what is known from elsewhere.

A piece holds whole sessions, so pieces can be mined one by one and memory stays at one of them: a session
of a recording, or one partition of a log. Recorded edits become the requests that an import makes of them
(one after every change), and the keystroke oracle reads the same edits.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from echo_ray import schema
from echo_ray.errors import ConfigError
from echo_ray.link_table import in_timeline
from echo_ray.log import foreign, reader, recordings
from echo_ray.log.recordings import Change
from echo_ray.schema import EventType
from simulator.judge.oracle import Asked, Event, Gap, Reset, Stroke, gaps
from simulator.judge.witness import Told, Witness

RECORDED = ("vscode", "trace")
"""Formats that hold every edit."""
EVENTS, ACCEPTS, TRUTH = "events of the log", "accept events of the recordings", "truth of the simulator"
"""Who reports acceptances."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole sessions: their requests, and by request id what others know about some of them."""

    source: str
    requests: pa.Table
    """Requests of the timeline; `schema.REQUEST`, with the columns of `schema.LINKS` where stored."""
    uncancelled: frozenset[str]
    """Requests that an editor would not have cancelled."""
    gaps: dict[str, Gap] = field(default_factory=dict)
    """What was really left."""
    intents: dict[str, str] = field(default_factory=dict)
    accepted: dict[str, dict[str, bool]] = field(default_factory=dict)
    """For each reporter, whether delivered proposals with text were accepted."""
    elsewhere: int = 0
    """Requests that the truth knows nothing of, or knows at another cursor."""
    clients: dict[str, str] = field(default_factory=dict)
    """Which type of client sent a request, where it is known."""


@dataclass(frozen=True, slots=True)
class Events:
    """Lifecycle events of a log: who reports any, and which proposals were accepted."""

    users: frozenset[str]
    accepted: frozenset[str]


def recorded(source: Path, key: str) -> list[Path] | None:
    """The recordings and traces under `source`; None when it holds a log instead.

    Raises ConfigError, naming the setting `key`, for a folder with neither, or with both.
    """
    paths = reader.files(source, key)
    found = [path for path in paths if not path.name.endswith(".parquet") and foreign.sniff(path) in RECORDED]
    if found and len(found) < len(paths):
        other = next(path.name for path in paths if path not in found)
        raise ConfigError(f"{key}={source} holds recordings and also {other}: name a folder of one kind")
    return found or None


def from_recording(path: Path, source: str, idle_ms: float, uncancelled_ms: float | None) -> Iterator[Piece]:
    """One piece per session of a recording or trace; `uncancelled_ms` as in `CompareConfig`."""
    known = {
        session: dict(gaps(_events(changes), idle_ms))
        for session, changes in groupby(recordings.changes(path), key=lambda change: change.session)
    }
    rows: list[dict[str, Any]] = []
    accepts: set[str] = set()
    for _, record in recordings.records(path):
        if isinstance(record, str):
            continue
        if record["record"] == "event":
            accepts.add(_padded(record["request_id"]))
            continue
        record["request_id"] = _padded(record["request_id"])
        if rows and rows[0]["session"] != record["session"]:
            yield _recorded_piece(source, rows, known[rows[0]["session"]], accepts, uncancelled_ms)
            rows = []
        rows.append(record)
    if rows:
        yield _recorded_piece(source, rows, known[rows[0]["session"]], accepts, uncancelled_ms)


def _recorded_piece(
    source: str,
    rows: list[dict[str, Any]],
    known: dict[str, Gap],
    accepts: set[str],
    uncancelled_ms: float | None,
) -> Piece:
    table = pa.Table.from_pylist([schema.REQUEST_DEFAULTS | row for row in rows], schema=schema.REQUEST)
    quick = {
        row["request_id"]
        for row, later in pairwise(rows)
        if uncancelled_ms is not None and later["ts_ms"] - row["ts_ms"] < uncancelled_ms
    }
    ids = frozenset(row["request_id"] for row in rows)
    accepted = {name: name in accepts for name in _proposed(table)}
    return Piece(
        source,
        table,
        ids - quick,
        {_padded(name): gap for name, gap in known.items()},
        accepted={ACCEPTS: accepted} if accepted else {},
    )


def _events(changes: Iterator[Change]) -> Iterator[Event]:
    """The changes of one session as the oracle wants them, a request after each."""
    documents: dict[str, str] = {}
    for change in changes:
        text = change.before
        if documents.get(change.file, text) != text:
            yield Reset(change.ts_ms, change.file)
        for edit in change.edits:
            yield Stroke(change.ts_ms, change.file, edit.start, text[edit.start : edit.stop], edit.text)
            text = text[: edit.start] + edit.text + text[edit.stop :]
        documents[change.file] = text
        yield Asked(change.ts_ms, change.file, change.caret, f"{change.session}-{change.number}")


def _padded(name: str) -> str:
    """A replayed request's id with its number at full width: in a table, ids order one tick of the clock."""
    session, _, number = name.rpartition("-")
    return f"{session}-{int(number):09d}"


def parts(log: Path) -> list[Path]:
    """The partitions of a log."""
    return sorted(log.glob("part-*.parquet"))


def events(log: Path) -> Events:
    """The lifecycle events of a partitioned log. An `accepted_chars` of 0 is no acceptance, null is one."""
    users: set[str] = set()
    accepted: set[str] = set()
    takes = pa.array([EventType.ACCEPTED.value, EventType.PARTIALLY_ACCEPTED.value])
    for path in sorted((log / "events").glob("part-*.parquet")):
        table = pq.read_table(path, columns=["request_id", "user", "type", "accepted_chars"])
        users.update(pc.unique(table["user"]).to_pylist())
        some = pc.fill_null(pc.greater(table["accepted_chars"], 0), True)
        taken = table.filter(pc.and_(pc.is_in(table["type"], takes), some))
        accepted.update(taken["request_id"].to_pylist())
    return Events(frozenset(users), frozenset(accepted))


def from_part(path: Path, source: str, reported: Events, witness: Witness | None) -> Piece:
    """One partition of a log with what its events and, where given, the truth say about its requests."""
    table = pq.read_table(path)
    names = schema.LOGGED.names if "seq" in table.column_names else schema.REQUEST.names
    table = table.select(names)
    mask = in_timeline(table)
    if witness is not None and witness.arm is not None:
        mask = pc.and_(mask, pc.fill_null(pc.equal(table["arm"], witness.arm), False))
    table = table.filter(mask)
    ids = table["request_id"].to_pylist()
    told = _matched(table, ids, witness)
    agents = zip(ids, table["client"].to_pylist(), strict=True)
    proposed = _proposed(table)
    accepted: dict[str, dict[str, bool]] = {}
    users = dict(zip(ids, table["user"].to_pylist(), strict=True))
    by_events = {name: name in reported.accepted for name in proposed if users[name] in reported.users}
    by_truth = {name: told[name].accepted for name in proposed if name in told}
    accepted |= {EVENTS: by_events} if by_events else {}
    accepted |= {TRUTH: by_truth} if by_truth else {}
    return Piece(
        source,
        table,
        frozenset(table.filter(table["delivered"])["request_id"].to_pylist()),
        {name: request.gap for name, request in told.items()},
        {name: request.intent for name, request in told.items() if request.intent is not None},
        accepted,
        len(ids) - len(told) if witness is not None else 0,
        {name: client_type(agent) for name, agent in agents if agent},
    )


def client_type(agent: str) -> str:
    """The products that a user agent names, without versions and remarks."""
    return " ".join(re.sub(r"\([^)]*\)|/\S*", " ", agent).split()) or agent


def _matched(table: pa.Table, ids: Sequence[str], witness: Witness | None) -> dict[str, Told]:
    """What the truth says, by request id. A request whose cursor it has elsewhere is not the same one."""
    if witness is None:
        return {}
    users, wholes = (table[name].to_pylist() for name in ("user", "prefix_complete"))
    sizes = pc.utf8_length(table["prefix"]).to_pylist()
    found = {}
    # The truth is read user by user, and a partition is ordered by sessions.
    for user, name, whole, size in sorted(zip(users, ids, wholes, sizes, strict=True)):
        told = witness.told(user).get(name)
        if told is not None and (not whole or told.cursor == size):
            found[name] = told
    return found


def _proposed(table: pa.Table) -> list[str]:
    """Ids of the requests whose user may have seen a proposal with text."""
    size = pc.fill_null(pc.utf8_length(table["proposal"]), 0)
    names: list[str] = table.filter(pc.and_(table["delivered"], pc.greater(size, 0)))[
        "request_id"
    ].to_pylist()
    return names
