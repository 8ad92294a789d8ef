"""What the sealed truth of a simulation says about each of its requests, to judge what was mined.

The truth file lists every change of every document, so the keystroke oracle can be asked about each
request; it also tells what the developer meant to write there and whether the proposal was accepted. Only
jobs that judge may look here: no stage can open a truth file.

A document is one visit to a file: a file that is opened again starts from its original text. Not covered:
truth files whose lines are not grouped by developer (the simulator writes them so); memory is about one
kilobyte per request.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from echo_ray.errors import ConfigError
from simulator.oracle import Asked, Event, Gap, Stroke, gaps
from simulator.truth import TruthKind


class Told(NamedTuple):
    """The truth about one request."""

    gap: Gap
    cursor: int
    """Characters before the cursor, to see whether a logged request is the same one."""
    intent: str | None
    """What was still to be written there; None while a slip or a repair stood."""
    accepted: bool


class Witness(NamedTuple):
    """A whole truth file: its arm, if the run had arms, and its requests by (user, time stamp)."""

    arm: str | None
    requests: dict[tuple[str, int], Told]


Row = dict[str, Any]


def read(path: Path, key: str, idle_ms: float) -> Witness:
    """The truth in `path`. Raises ConfigError, naming the setting `key`, when it is not a truth file."""
    if not path.is_file():
        raise ConfigError(f"{key}={path} does not exist; name the truth.jsonl of a simulation")
    requests: dict[tuple[str, int], Told] = {}
    with path.open("rb") as lines:
        rows = _rows(lines, f"{key}={path}")
        header = next(rows, {})
        if header.get("kind") != "run":
            raise ConfigError(f"{key}={path} does not begin like a truth file of a simulation")
        try:
            for user, own in groupby(rows, key=lambda row: str(row["user"])):
                requests.update(_told(user, own, idle_ms))
        except (KeyError, TypeError) as error:
            raise ConfigError(f"{key}={path} is not a truth file of this version: {error!r}") from None
    return Witness(header.get("arm"), requests)


@dataclass(slots=True)
class _Request:
    cursor: int
    intent: str | None
    accepted: bool = False


@dataclass(slots=True)
class _Desk:
    """One developer while the truth is read: the open document, the cursor, the requests so far."""

    user: str
    cursor: int = 0
    visits: int = 0
    requests: dict[str, _Request] = field(default_factory=dict)
    exposures: dict[int, _Request] = field(default_factory=dict)
    """The request that each suggestion on the screen answered."""

    def take(self, row: Row) -> Event | None:
        """What `row` tells the oracle."""
        kind = row["kind"]
        document = str(self.visits)
        if kind == TruthKind.NAV:
            self.cursor = row["cursor"]
        elif kind == TruthKind.FILE_SWITCH:
            self.visits += 1
        elif kind == TruthKind.EDIT:
            self.cursor = row["at"] + len(row["inserted"])
            return Stroke(int(row["ts_ms"]), document, row["at"], row["removed"], row["inserted"])
        elif kind == TruthKind.REQUEST:
            name = str(row["request_ts_ms"])
            self.requests[name] = _Request(self.cursor, row["intent"] if row["judging"] else None)
            return Asked(row["request_ts_ms"], document, self.cursor, name)
        elif kind == TruthKind.SHOWN:
            # An answer comes before the next key, and so before the next request.
            self.exposures[row["exposure"]] = self.requests[next(reversed(self.requests))]
        elif kind == TruthKind.ACCEPTED:
            self.exposures[row["exposure"]].accepted = True
        return None


def _told(user: str, rows: Iterable[Row], idle_ms: float) -> Iterator[tuple[tuple[str, int], Told]]:
    desk = _Desk(user)
    sessions: list[list[Event]] = [[]]
    for row in rows:
        if row["kind"] == TruthKind.SESSION_START:
            sessions.append([])
        event = desk.take(row)
        if event is not None:
            sessions[-1].append(event)
    for events in sessions:
        for name, gap in gaps(events, idle_ms):
            request = desk.requests[name]
            yield (user, int(name)), Told(gap, request.cursor, request.intent, request.accepted)


def _rows(lines: Iterable[bytes], what: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            row = None
        if not isinstance(row, dict):
            raise ConfigError(f"{what} is not a truth file: line {number} is not a JSON object")
        yield row
