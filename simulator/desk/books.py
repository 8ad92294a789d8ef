"""The desk of one developer: document, clock, draws, and the books in which everything is written.

A `Frame` is what the developer is writing: a text, where in the document it begins, and how much of it
stands. Nothing here decides anything; `screen`, `writer` and `developer` do, in this order.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeVar

from simulator.config import SimulateConfig
from simulator.desk.clients import PROFILES, Plugin, Touch
from simulator.desk.clock import Clock
from simulator.desk.document import Document, Edit
from simulator.desk.drafts import Revision
from simulator.desk.timers import Timer
from simulator.desk.typing_model import Pause, dwell_ms
from simulator.draws import Draws
from simulator.person import BREAK_MS, person
from simulator.rules.policy import Policy, State
from simulator.steps import Answer, Ask, Report, Withdrawal
from simulator.truth import By, Detail, Tally, Truth, TruthKind
from simulator.work.items import Plan

T = TypeVar("T")
Step = Ask | Report | Withdrawal | Truth
Flow = Generator[Step, Answer | None, T]


@dataclass(slots=True)
class Pending:
    """A closing bracket that the editor put behind the cursor.

    `text` is how the frame says it, with the line end and indentation before it, if any; `left` counts the
    characters of the frame from its begin. `stands` is what stands behind the cursor now.
    """

    left: int
    text: str
    stands: str


@dataclass(slots=True)
class Frame:
    """`text` is to be written at `base` of the document; `written` characters of it stand.

    Outside slips and repairs the document is `head + text[:written] + pending + tail`, where the head is
    `base` characters long and the pending closers stand innermost first.
    """

    key: str
    base: int
    text: str
    written: int = 0
    pending: list[Pending] = field(default_factory=list)
    revisions: list[Revision] = field(default_factory=list)
    nested: bool = False

    @property
    def left(self) -> int:
        """Characters still to be written: the place on which draws hang, whatever was written before."""
        return len(self.text) - self.written

    @property
    def rest(self) -> str:
        """The text still to be written."""
        return self.text[self.written :]


class Desk:
    """State of one developer between two keys."""

    def __init__(self, config: SimulateConfig, plan: Plan, policy: Policy) -> None:
        self.config = config
        self.plan = plan
        self.policy = policy
        self.draws = Draws(config.seed, plan.user)
        self.person = person(self.draws, config.clients)
        self.plugin = Plugin(PROFILES[self.person.client], config)
        self.tally = Tally(plan.user, self.person.client)
        self.item = plan.items[0]
        self.document = Document("", 0, self.item.language)
        self.frame = Frame("", 0, "")
        self.state = State.NAV
        self.touch: Touch | None = None
        self.clock: Clock[Timer] = Clock(plan.shifts[0].start_ms)
        self._seen: dict[tuple[str, str, int], int] = {}
        self._last_edit_ms: float | None = None
        self._cursor: int | None = None  # where the last edit of this document ended

    def opened(self, document: Document) -> None:
        """Another document is on the desk."""
        self.document = document
        self._cursor = None

    def nth(self, purpose: str) -> int:
        """How often a draw for `purpose` was made here before; counts on."""
        count = self.times(purpose)
        self._seen[purpose, self.frame.key, self.frame.left] = count + 1
        return count

    def times(self, purpose: str) -> int:
        """How often a draw for `purpose` was made here before."""
        return self._seen.get((purpose, self.frame.key, self.frame.left), 0)

    def unit(self, purpose: str) -> float:
        """The next uniform draw for `purpose` at this place."""
        return self.draws.unit(purpose, self.frame.key, self.frame.left, self.nth(purpose))

    def dwell_ms(self, pause: Pause, purpose: str) -> float:
        """Length of the next pause for `purpose` at this place."""
        frame = self.frame
        return dwell_ms(self.draws, pause, purpose, frame.key, frame.left, self.nth(purpose))

    def forget(self) -> None:
        """A work item is done: its places never come again."""
        self._seen.clear()
        self.draws.forget()

    def truth(self, kind: TruthKind, **detail: Detail) -> Truth:
        """A truth event of now and here."""
        return Truth(kind, self.clock.now_ms, self.tally.user, self.item.key, self.frame.left, detail)

    def enter(self, state: State) -> Flow[None]:
        """Go over to another state."""
        if state is not self.state:
            self.state = state
            yield self.truth(TruthKind.STATE, state=state.value)

    def book(self, edit: Edit, by: By, typed: int = 0) -> Truth:
        """Enter one change of the document; `typed` characters of it were keys that put text."""
        tally, now = self.tally, self.clock.now_ms
        tally.edits += 1
        tally.keys += 1
        tally.deletes += not edit.inserted
        tally.removed_chars += len(edit.removed)
        tally.typed_chars += typed
        if by is By.PASTE:
            tally.pastes += 1
            tally.pasted_chars += len(edit.inserted)
        elif by is not By.ACCEPT:
            tally.auto_chars += len(edit.inserted) - typed
        tally.undos += by is By.UNDO
        if self._last_edit_ms is not None:
            gap_ms = now - self._last_edit_ms
            tally.gaps += 1
            tally.gaps_2s += gap_ms >= 2_000
            tally.gaps_15s += gap_ms >= 15_000
            tally.gaps_180s += gap_ms >= 180_000
            tally.active_s += gap_ms / 1000 if gap_ms < BREAK_MS else 0.0
        self._last_edit_ms = now
        if self._cursor is not None and self._cursor not in (edit.at, edit.at + len(edit.removed)):
            tally.jumps += 1
        self._cursor = edit.at + len(edit.inserted)
        self.touch = Touch.TYPED if edit.inserted else Touch.DELETED
        self.plugin.keyed(now)
        return self.truth(
            TruthKind.EDIT, at=edit.at, removed=edit.removed, inserted=edit.inserted, by=by.value
        )
