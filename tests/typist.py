"""A small developer for tests: types known texts into known documents and takes what fits.

It yields what `Developer.run` yields, with the truth rows that `witness` reads, and is simple enough that a
test can say by hand what was left in every gap.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echo_ray.schema import EventType, Kind
from simulator import engines
from simulator.engines import Material
from simulator.fleet import ledger
from simulator.fleet.crew import Crew, Flow, InProcess
from simulator.steps import Ask, Report
from simulator.truth import Tally, Truth, TruthKind

BEGIN_MS = 1_767_225_600_000
KEY_MS = 400
LEAST_CHARS = 4
"""A proposal is taken when it is this long and a beginning of what is still to be written."""


@dataclass(frozen=True)
class Visit:
    """`text` is typed between `before` and `after` of `file`; then a character may be put far away."""

    file: str
    before: str
    text: str
    after: str
    session: int = 0
    ends_elsewhere: bool = False


VISITS = (
    Visit("a", "def total(values):\n    ", "result = sum(values)\n    return result", "\n\n\nprint(1)\n"),
    Visit("b", "import os\n\n", "path = os.getcwd()", "\n", ends_elsewhere=True),
    Visit("a", "", "# the end 😀", "\n"),
    Visit("b", "x = ", "compute(1)", "\n", session=1),
)


@dataclass
class Typist:
    """`user` with a plug-in that calls itself `client`, asking after every `every` keys."""

    user: str
    client: str = "copilot/1.57"
    every: int = 1
    visits: Sequence[Visit] = VISITS
    tally: Tally = field(default_factory=lambda: Tally(""))
    now_ms: int = BEGIN_MS

    def flow(self) -> Flow:
        """The whole work."""
        self.tally = Tally(self.user, self.client)
        session = -1
        for number, visit in enumerate(self.visits):
            if visit.session != session:
                session = visit.session
                self.now_ms += 1_800_000
                yield self._truth(TruthKind.SESSION_START, session=session)
            yield self._truth(TruthKind.FILE_SWITCH, file=visit.file, chars=len(visit.before + visit.after))
            yield from self._write(number, visit)
        return self.tally

    def _write(self, number: int, visit: Visit) -> Flow:
        done = 0
        while done < len(visit.text):
            if done % self.every == 0:
                taken = yield from self._ask(number, visit, done)
                done += taken
                if taken:
                    continue
            yield self._edit(len(visit.before) + done, "", visit.text[done])
            self.tally.typed_chars += 1
            done += 1
        yield from self._ask(number, visit, done)
        if visit.ends_elsewhere:
            yield self._edit(0, "", "#")
        return self.tally

    def _ask(self, number: int, visit: Visit, done: int) -> Any:
        """Ask, and take the answer if it fits; returns the characters taken."""
        name = f"{self.user}-{number}-{done:04d}"
        prefix, intent = visit.before + visit.text[:done], visit.text[done:]
        cancelled = done % 5 == 3
        for kind in (Kind.AUTOMATIC, Kind.SPECULATIVE) if done % 4 == 2 else (Kind.AUTOMATIC,):
            own = name if kind is Kind.AUTOMATIC else f"{name}-ahead"
            yield self._truth(
                TruthKind.REQUEST, request_id=own, request_ts_ms=self.now_ms, request_kind=kind.value,
                cursor=len(prefix), cancelled=cancelled, judging=done % 7 != 6, intent=intent,
            )  # fmt: skip
            answer = yield Ask(
                request_id=own, user=self.user, session=f"{self.user}-{visit.session}", file=visit.file,
                language="python", prefix=prefix, suffix=visit.after, prefix_complete=True,
                suffix_complete=True, ts_ms=self.now_ms, kind=kind, client=self.client,
                cancelled=cancelled or kind is Kind.SPECULATIVE, latency_ms=100.0, intent=intent,
            )  # fmt: skip
            self.tally.requests += kind is Kind.AUTOMATIC
            self.tally.speculative += kind is not Kind.AUTOMATIC
            self.now_ms += 1
            if answer is None or not answer.text:
                continue
            self.tally.shown_750 += 1
            self.now_ms += KEY_MS
            if len(answer.text) >= LEAST_CHARS and intent.startswith(answer.text):
                yield self._truth(TruthKind.ACCEPTED, request_id=own, chars=len(answer.text))
                yield Report(own, self.now_ms, self.user, EventType.ACCEPTED, len(answer.text))
                yield self._edit(len(prefix), "", answer.text)
                self.tally.accepted += 1
                self.tally.accepted_chars += len(answer.text)
                return len(answer.text)
        return 0

    def _edit(self, at: int, removed: str, inserted: str) -> Truth:
        self.now_ms += KEY_MS
        return self._truth(TruthKind.EDIT, at=at, removed=removed, inserted=inserted, by="key")

    def _truth(self, kind: TruthKind, **detail: Any) -> Truth:
        return Truth(kind, self.now_ms, self.user, "item", 0, detail)


def simulated(folder: Path, typists: Sequence[Typist], engine: str, arm: str | None = None) -> None:
    """Logs and truth of some typists in `folder`."""
    ledger.prepare(folder, "mark")

    async def main() -> None:
        flows = {typist.user: typist.flow for typist in typists}
        header = {"kind": "run", "arm": arm}
        completer = InProcess(engines.engine(engine, Material(())))
        crew = Crew(folder, lambda user: flows[user](), lambda user: header, completer, arm=arm)
        await crew.work(list(flows))

    asyncio.run(main())
