"""One developer at work: sessions, files, work items, one after another (section 3).

`Developer.run` yields `Ask` and is sent an `Answer`, and yields `Report`, `Withdrawal` and `Truth`, for which
the answer is ignored. It knows no arm, no network and no real time.

Invariants: outside slips and repairs the document is what stood before + what is written of the draft +
brackets that wait + what stands behind; at the end of an item it is the intended text, but for equivalent
variants that a lenient user keeps; request time stamps increase strictly.
Not covered: a file that is opened again later starts from the text of its commit, not from what was left.
"""

from dataclasses import dataclass

from simulator.config import SimulateConfig
from simulator.desk import drafts, typing_model
from simulator.desk.books import Flow, Frame
from simulator.desk.document import Document
from simulator.desk.drafts import Why
from simulator.desk.typing_model import dwell_ms
from simulator.desk.writer import Writer
from simulator.person import BREAK_MS
from simulator.rules.policy import Policy, State
from simulator.truth import By, Tally, TruthKind
from simulator.work.items import Plan, WorkItem


@dataclass(slots=True)
class _Kept:
    """A variant that stands in the open document: where the plan has its text, and how much longer it is."""

    start: int
    stop: int
    grown: int


class Developer(Writer):
    """`plan.user` working through `plan`. Holds the state of one run; use it once."""

    def __init__(self, config: SimulateConfig, plan: Plan, policy: Policy) -> None:
        super().__init__(config, plan, policy)
        self.lines = []
        self._kept: list[_Kept] = []
        self._before = 0  # suggestions shown before this item

    def run(self) -> Flow[Tally]:
        """All items in order; the return value is the tally."""
        tally, begin_ms = self.tally, self.clock.now_ms
        previous: WorkItem | None = None
        for item in self.plan.items:
            self.item = item
            if previous is None or item.session != previous.session:
                yield from self._sit_down(item, previous is None)
            opens = previous is None or item.visit != previous.visit
            yield from self._arrive(
                item, opens, same_session=previous is not None and item.session == previous.session
            )
            yield from self.write()
            yield from self._leave()
            previous = item
        tally.days = len({shift.day for shift in self.plan.shifts})
        tally.virtual_s = (self.clock.now_ms - begin_ms) / 1000
        yield from self.finish()
        return tally

    def _sit_down(self, item: WorkItem, first: bool) -> Flow[None]:
        """A session begins when it is planned, and at least a quarter of an hour after the one before."""
        shift = next(shift for shift in self.plan.shifts if shift.number == item.session)
        if not first:
            begin_ms = max(shift.start_ms, self.clock.now_ms + BREAK_MS)
            yield from self.wait(begin_ms - self.clock.now_ms, judging=False)
        self.tally.sessions += 1
        yield self.truth(TruthKind.SESSION_START, session=item.session, day=shift.day)

    def _arrive(self, item: WorkItem, opens: bool, same_session: bool) -> Flow[None]:
        """Open the file if it is another one, go to the place, take away what is in the way."""
        self.frame = Frame(item.key, 0, item.intent)
        self._before, self.varied = self.exposures, False
        base = len(item.before)
        if opens:
            if same_session:
                yield from self.enter(State.LOOKUP)
                yield from self.wait(self.dwell_ms(typing_model.LOOKUP, "lookup"), judging=False)
            self._kept.clear()
            self.opened(Document(item.before + item.removed + item.after, 0, item.language))
            yield self.truth(
                TruthKind.FILE_SWITCH,
                file=item.file,
                repository=item.repository,
                language=item.language,
                chars=len(self.document.text),
            )
        base += yield from self._past_variants(item)
        yield self.truth(
            TruthKind.ITEM_START,
            item_kind=item.kind.value,
            removes=len(item.removed),
            writes=len(item.intent),
        )
        yield from self.enter(State.NAV)
        self.frame.base = base
        yield from self.navigate(base + len(item.removed))
        if item.removed:
            yield from self.enter(State.DELETE)
            yield from self.wait(self.dwell_ms(typing_model.PLAN, "plan"), judging=False)
            yield from self.delete(len(item.removed))
        else:
            self.thinking_ms = self.dwell_ms(typing_model.PLAN, "plan")
        yield from self.enter(State.PLAN)
        self.lines = drafts.others(item.before, item.removed, item.after)
        left = self.document.left
        self.frame.text, self.frame.revisions = drafts.draft(
            self.draws, item.key, item.intent, self.lines, item.language, not left or left[-1] == "\n"
        )

    def _leave(self) -> Flow[None]:
        """Run it, perhaps; repair what that shows; look at it once more."""
        frame, item = self.frame, self.item
        unseen = [revision for revision in frame.revisions if revision.why is Why.UNSEEN]
        if unseen or self.unit("run") < typing_model.RUN.share:
            yield from self.enter(State.RUN)
            run_ms = dwell_ms(self.draws, typing_model.RUN, "run time", frame.key, 0, 0)
            yield from self._pause(run_ms)
            yield self.truth(TruthKind.RUN, seconds=round(run_ms / 1000, 1))
        while frame.revisions:
            yield from self.revise(frame.revisions[0])
        yield from self.enter(State.PLAN)
        yield from self._pause(self.dwell_ms(typing_model.PLAN, "leave"))
        document, kept = self.document, self.varied
        assert kept or frame.text == item.intent
        assert not frame.left
        assert not frame.pending
        assert document.text.startswith(frame.text, frame.base)
        if kept:
            start = len(item.before)
            self._kept.append(_Kept(start, start + len(item.intent), len(frame.text) - len(item.intent)))
        tally = self.tally
        tally.items += 1
        tally.retained_chars += document.accepted_alive(self._before)
        yield self.truth(TruthKind.COMMIT, chars=len(item.intent), kept=frame.text if kept else None)
        self.forget()

    def _pause(self, gap_ms: float) -> Flow[None]:
        """Time passes; a suggestion that is taken meanwhile is put right at once."""
        while (taking := (yield from self.wait(gap_ms))) is not None:
            yield from self.take(taking)
            yield from self.write()

    def _past_variants(self, item: WorkItem) -> Flow[int]:
        """How far variants kept earlier in the document have moved the place of `item`.

        A variant that the item is about is first put back to what the plan has there.
        """
        start, stop = len(item.before), len(item.before) + len(item.removed)
        moved = 0
        for kept in list(self._kept):
            if kept.stop <= start and not kept.stop == kept.start == start:
                moved += kept.grown
            elif kept.start < stop or kept.start < start:
                planned = (item.before + item.removed + item.after)[kept.start : kept.stop]
                at = kept.start + moved
                yield from self.navigate(at)
                stands = kept.stop - kept.start + kept.grown
                edit = self.document.replace(at, at + stands, planned)
                yield from self.edited(edit, By.REVISE, typed=len(planned))
                self._kept.remove(kept)
        grown = len(item.intent) - len(item.removed)
        for kept in self._kept:
            if kept.start >= stop:
                kept.start += grown
                kept.stop += grown
        return moved
