"""Lets developers of one process work, many at a time, and writes what they leave.

A developer's flow yields requests and events; the crew has the requests answered, by a service over HTTP
or by an engine in this process, and keeps both logs on the client's side: the request log as a service
would write it, and the sealed truth. So both are the same bytes for any number of workers and for any
engine that answers alike. Developers are independent: each has a virtual clock of their own, and the next
request of one is sent when the one before has ended.

Not covered: with `latency: measured` the time that a busy process takes to notice an answer counts as
latency of the service; lower `concurrency` or add workers until it does not matter.
"""

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from echo_ray.schema import VERSION
from simulator.engines import Engine
from simulator.fleet.client import session_name
from simulator.fleet.ledger import Ledger
from simulator.steps import Answer, Ask, Report, Withdrawal
from simulator.truth import Tally, Truth, TruthKind

Flow: TypeAlias = Generator[Ask | Report | Withdrawal | Truth, Answer | None, Tally]
"""A developer at work; `Developer.run` makes one."""

_TURN = 32  # requests after which an engine that never waits lets others of this process run
_NOTHING = Answer(None)
_UNDELIVERED = {"delivered": False, "proposal": None, "model": None, "latency_ms": None}


class Completer(Protocol):
    """Answers requests; `CompletionClient`, `InProcess` and `Shadowed` are three."""

    async def complete(self, ask: Ask) -> Answer:
        """The answer to `ask`; raises ServeError when there is no hope of one."""
        ...


class InProcess:
    """Asks an engine of this process; a cancelled request never reaches it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def complete(self, ask: Ask) -> Answer:
        """The engine's proposal."""
        if ask.cancelled:
            return _NOTHING
        return Answer(self._engine.complete(ask), None, self._engine.version)


class Shadowed:
    """Asks `control`, whose answer counts, and `shadow` at the same time; both get the same ask.

    A cancelled request goes to `control` alone. Nothing that the shadow says is logged; one that fails for
    good ends the run, as the control does.
    """

    def __init__(self, control: Completer, shadow: Completer) -> None:
        self._control = control
        self._shadow = shadow

    async def complete(self, ask: Ask) -> Answer:
        """The control's answer, with the shadow's in it."""
        if ask.cancelled:
            return await self._control.complete(ask)
        asking = asyncio.create_task(self._shadow.complete(ask))
        try:
            answer = await self._control.complete(ask)
            return replace(answer, shadow=await asking)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


@dataclass(slots=True)
class Count:
    """What a crew has done so far."""

    users: int = 0
    requests: int = 0


class Crew:
    """Developers who share an engine and a folder; `flow` begins the work of one, `header` of their truth."""

    def __init__(
        self,
        folder: Path,
        flow: Callable[[str], Flow],
        header: Callable[[str], Mapping[str, Any]],
        completer: Completer,
        *,
        arm: str | None = None,
        measured: bool = False,
        concurrency: int = 1,
    ) -> None:
        self.count = Count()
        self._folder = folder
        self._flow = flow
        self._header = header
        self._completer = completer
        self._arm = arm
        self._measured = measured
        self._room = asyncio.Semaphore(concurrency)

    async def work(self, users: Sequence[str]) -> None:
        """Let `users` work; returns when all are done. A failure of one stops them all."""
        tasks = [asyncio.create_task(self._work(user)) for user in users]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, user: str) -> None:
        async with self._room:
            ledger = Ledger(self._folder, user, self._header(user))
            try:
                tally = await self._follow(self._flow(user), ledger)
            except BaseException:
                ledger.discard()
                raise
            ledger.close(tally)
            self.count.users += 1

    async def _follow(self, flow: Flow, ledger: Ledger) -> Tally:
        answer: Answer | None = None
        pending: dict[str, dict[str, Any]] = {}  # requests whose answer may still come too late
        while True:
            try:
                step = flow.send(answer)
            except StopIteration as stop:
                for row in pending.values():
                    ledger.record(row)
                tally: Tally = stop.value
                return tally
            answer = None
            if isinstance(step, Truth):
                if pending and step.kind is TruthKind.SESSION_START:
                    for row in pending.values():
                        ledger.record(row)
                    pending.clear()
                ledger.tell(step.row())
            elif isinstance(step, Ask):
                answer = await self._completer.complete(step)
                row = request_row(step, answer, self._arm, self._measured)
                if self._measured:
                    pending[step.request_id] = row
                else:
                    ledger.record(row)
                self.count.requests += 1
                if self.count.requests % _TURN == 0:
                    await asyncio.sleep(0)
            elif isinstance(step, Report):
                ledger.record(event_row(step))
            else:
                pending[step.request_id] |= _UNDELIVERED


def request_row(ask: Ask, answer: Answer, arm: str | None, measured: bool) -> dict[str, Any]:
    """The version-1 record of a request; `measured` says whose latency counts. An answer that never came
    leaves proposal, model and latency null.
    """
    row: dict[str, Any] = {
        "record": "request",
        "schema": VERSION,
        "request_id": ask.request_id,
        "ts_ms": ask.ts_ms,
        "user": ask.user,
        "session": session_name(ask, arm),
        "file": ask.file,
        "language": ask.language,
        "prefix": ask.prefix,
        "suffix": ask.suffix,
        "prefix_complete": ask.prefix_complete,
        "suffix_complete": ask.suffix_complete,
        "kind": ask.kind.value,
        "arm": arm,
        "client": ask.client,
        **_UNDELIVERED,
    }
    if answer.text is not None:
        own = answer.latency_ms if measured else None
        latency_ms = round(ask.latency_ms if own is None else own, 1)
        row |= {"delivered": True, "proposal": answer.text, "model": answer.model, "latency_ms": latency_ms}
    return row


def event_row(report: Report) -> dict[str, Any]:
    """The version-1 record of a lifecycle event."""
    return {
        "record": "event",
        "request_id": report.request_id,
        "ts_ms": report.ts_ms,
        "user": report.user,
        "type": report.type.value,
        "accepted_chars": report.accepted_chars,
        "visible_ms": report.visible_ms,
    }
