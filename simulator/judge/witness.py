"""What the sealed truth of a simulation says about each of its requests, to judge what was mined.

The truth lists every change of every document, so the keystroke oracle can be asked about each request; it
also tells what the developer meant to write there and whether the proposal was accepted. Only jobs that
judge may look here: no stage can open the truth.

A document is one visit to a file: what a file holds when it is opened again is nobody's edit. Requests that
are not part of the timeline (speculative ones) are not told about. Memory: one developer at a time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import zstandard

from echo_ray.errors import ConfigError
from echo_ray.schema import Kind
from echo_ray.sealed import SEALED
from simulator.fleet import ledger
from simulator.judge.oracle import Asked, Event, Gap, Stroke, gaps
from simulator.truth import TruthKind

Row = dict[str, Any]

_OUTSIDE = (Kind.SPECULATIVE.value, Kind.WARMUP.value)


class Told(NamedTuple):
    """The truth about one request."""

    gap: Gap
    cursor: int
    """Characters before the cursor, to see whether a logged request is the same one."""
    intent: str | None
    """What was still to be written there; None while a slip or a repair stood."""
    accepted: bool


class Witness:
    """The truth in `folder`, read developer by developer.

    Raises ConfigError, naming the setting `key`, when it is not the truth of a simulation.
    """

    def __init__(self, folder: Path, key: str, idle_ms: float) -> None:
        self._folder = folder
        self._what = f"{key}={folder}"
        self._idle_ms = idle_ms
        self._latest: tuple[str, dict[str, Told]] = ("", {})
        if not folder.is_dir():
            raise ConfigError(f"{self._what} does not exist; name the folder `truth` of a simulation")
        first = next(folder.glob(f"*{ledger.ENDING}"), None)
        if first is None or not (folder / SEALED).is_file():
            raise ConfigError(f"{self._what} is not the truth of a simulation: name its folder `truth`")
        self.arm: str | None = next(self._rows(first))["arm"]
        """The run's arm, if it had arms."""

    def told(self, user: str) -> dict[str, Told]:
        """The truth about each request of `user`, by request id; nothing about somebody who was not there."""
        if self._latest[0] != user:
            self._latest = (user, self._read(user))
        return self._latest[1]

    def _read(self, user: str) -> dict[str, Told]:
        path = self._folder / f"{user}{ledger.ENDING}"
        if "/" in user or not path.is_file():
            return {}
        rows = self._rows(path)
        next(rows)
        try:
            return dict(_told(rows, self._idle_ms))
        except (KeyError, TypeError) as error:
            raise ConfigError(f"{self._what}: {path.name} is not of this version: {error!r}") from None

    def _rows(self, path: Path) -> Iterator[Row]:
        """The rows of one developer, the header first."""
        rows = ledger.rows(path)
        try:
            header = next(rows, None)
            if not isinstance(header, dict) or header.get("kind") != "run" or "arm" not in header:
                raise ConfigError(f"{self._what}: {path.name} does not begin like the truth of a simulation")
            yield header
            yield from rows
        except (OSError, zstandard.ZstdError, orjson.JSONDecodeError) as error:
            raise ConfigError(f"{self._what}: {path.name} cannot be read: {error}") from None


@dataclass(slots=True)
class _Request:
    cursor: int
    intent: str | None
    accepted: bool = False


@dataclass(slots=True)
class _Desk:
    """One developer while the truth is read: the open document and the requests so far."""

    visits: int = 0
    requests: dict[str, _Request] = field(default_factory=dict)

    def take(self, row: Row) -> Event | None:
        """What `row` tells the oracle."""
        kind = row["kind"]
        document = str(self.visits)
        if kind == TruthKind.FILE_SWITCH:
            self.visits += 1
        elif kind == TruthKind.EDIT:
            return Stroke(int(row["ts_ms"]), document, row["at"], row["removed"], row["inserted"])
        elif kind == TruthKind.REQUEST and row["request_kind"] not in _OUTSIDE:
            name, cursor = row["request_id"], row["cursor"]
            self.requests[name] = _Request(cursor, row["intent"] if row["judging"] else None)
            return Asked(row["request_ts_ms"], document, cursor, name)
        elif kind == TruthKind.ACCEPTED and row["request_id"] in self.requests:
            self.requests[row["request_id"]].accepted = True
        return None


def _told(rows: Iterable[Row], idle_ms: float) -> Iterator[tuple[str, Told]]:
    desk = _Desk()
    events: list[Event] = []
    sessions = [events]
    for row in rows:
        if row["kind"] == TruthKind.SESSION_START:
            events = []
            sessions.append(events)
        event = desk.take(row)
        if event is not None:
            events.append(event)
    for session in sessions:
        for name, gap in gaps(session, idle_ms):
            request = desk.requests[name]
            yield name, Told(gap, request.cursor, request.intent, request.accepted)
