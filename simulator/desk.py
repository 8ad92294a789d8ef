"""The desk of one developer: document, clock and completion plugin, and how they interleave (section 3.3).

Between two keys the next key, the debounce, the answer, an acceptance, Esc and the persistence checks race
on the virtual clock; `wait` runs that race. Methods that take virtual time or change the document are
generators of `Ask` (answered with the proposal) and `Truth` (not answered).

Our choices: a suggestion is judged once, in the first pause that leaves it 250 ms on screen; a rejection
that takes longer than the planned pause delays the next key, and 30% of the others end with Esc [A].
Not covered: partial acceptance, deferring, expiry after 10 s, states of attention (policy P2).
"""

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from echo_ray import rng
from simulator import assistant, policy, typing_model
from simulator.assistant import GATE, Ask, Ghost, Touch
from simulator.clock import Clock
from simulator.config import SimulateConfig
from simulator.document import Document, Edit
from simulator.draws import Draws
from simulator.person import person
from simulator.truth import Check, Detail, Tally, Truth, TruthKind
from simulator.typing_model import Pause, Place
from simulator.work import WorkItem

T = TypeVar("T")
Flow = Generator[Ask | Truth, str | None, T]

PERSIST_S = (15, 30, 120, 300, 600)
"""When the fate of accepted text is checked (section 3.4)."""
ESC_SHARE = 0.3
"""Rejections ended by Esc, of those decided before the next key [A]."""
COUNTED_MS = 750.0
"""Visible for this long, or accepted: the exposure counts for AR (section 3.6)."""


class _On(StrEnum):
    KEY = "key"
    DEBOUNCE = "debounce"
    RESPONSE = "response"
    ACCEPT = "accept"
    ESCAPE = "escape"
    PERSIST = "persist"


@dataclass(frozen=True, slots=True)
class _Timer:
    on: _On
    proposal: str = ""
    key: tuple[rng.Key, ...] = ()
    check: Check | None = None


class Desk:
    """State of one developer between two keys. `Developer` adds what the developer wants."""

    def __init__(self, config: SimulateConfig, user: str, item: WorkItem) -> None:
        self.config = config
        self.draws = Draws(config.seed, user)
        self.person = person(self.draws)
        self.clock: Clock[_Timer] = Clock(self.person.start_ms)
        self.tally = Tally(user)
        self.item = item
        self.document = Document(item.before + item.after, len(item.before), item.language)
        self.written = 0  # characters of the intent that stand in the document
        self._touch: Touch | None = None
        self._ghost: Ghost | None = None
        self._exposures = 0
        self._last_ts_ms = 0
        self._last_edit_ms: float | None = None
        self._occurrences: Counter[tuple[str, int]] = Counter()

    def open(self, item: WorkItem) -> Flow[None]:
        """Begin with `item`: its document, the cursor in its hole."""
        self.item, self.written = item, 0
        self.document = Document(item.before + item.after, len(item.before), item.language)
        self._occurrences.clear()
        self._last_edit_ms = None
        yield from self._landed()

    def navigate(self, cursor: int) -> Flow[None]:
        """Move the cursor, unless it is there."""
        if cursor != self.document.cursor:
            self.document.move(cursor)
            yield from self._landed()

    def edited(self, edit: Edit, by: str, typed: int = 0) -> Flow[None]:
        """Book one change of the document; `typed` keys put text into it."""
        tally, now = self.tally, self.clock.now_ms
        tally.edits += 1
        tally.deletes += not edit.inserted
        tally.typed_chars += typed
        if self._last_edit_ms is not None:
            tally.gaps += 1
            tally.long_gaps += now - self._last_edit_ms >= 2000
        self._last_edit_ms = now
        self._touch = Touch.TYPED if edit.inserted else Touch.DELETED
        yield self.truth(TruthKind.EDIT, at=edit.at, removed=edit.removed, inserted=edit.inserted, by=by)
        if self._ghost and not self._ghost.follows(edit):
            yield from self.drop_ghost("typed_over")
        elif self._ghost and not self._ghost.text:
            yield from self.drop_ghost("typed_through")

    def wait(self, gap_ms: float, judging: bool = True) -> Flow[bool]:
        """Let `gap_ms` pass before the next key; True when a suggestion was accepted instead of it.

        `judging`: whether the user would take a suggestion now.
        """
        clock, begin_ms = self.clock, self.clock.now_ms
        key = (clock.at(begin_ms + gap_ms, _Timer(_On.KEY)), begin_ms + gap_ms)
        touch = self._touch
        if self._ghost is not None:
            key = yield from self._look(key, judging)
        elif touch is not None and self.config.debounce_ms < gap_ms:
            clock.at(begin_ms + self.config.debounce_ms, _Timer(_On.DEBOUNCE))
            self._touch = None
        while timer := clock.pop():
            if timer.on in (_On.KEY, _On.ACCEPT):
                break
            if timer.on is _On.DEBOUNCE and touch is not None:
                yield from self._opportunity(touch, key[1], judging)
            elif timer.on is _On.RESPONSE:
                yield from self._paint(timer)
                key = yield from self._look(key, judging)
            elif timer.on is _On.ESCAPE:
                yield from self.drop_ghost("dismissed")
            elif timer.check is not None:
                yield timer.check.truth(self.clock.now_ms)
        assert timer is not None  # the key or the acceptance always comes
        passed_s = (clock.now_ms - begin_ms) / 1000
        self.tally.active_s += passed_s if passed_s < typing_model.SESSION_BREAK_MS / 1000 else 0.0
        if timer.on is _On.ACCEPT:
            yield from self._accept()
        return timer.on is _On.ACCEPT

    def drop_ghost(self, how: str) -> Flow[None]:
        """The suggestion on the screen, if any, goes."""
        ghost, self._ghost = self._ghost, None
        if ghost is None:
            return
        visible_ms = self.clock.now_ms - ghost.shown_ms
        counted = how == "accepted" or visible_ms >= COUNTED_MS
        self.tally.shown_750 += counted
        self.tally.shown_chars += ghost.size if counted else 0
        yield self.truth(
            TruthKind.EXPOSURE_END,
            exposure=ghost.exposure,
            how=how,
            visible_ms=round(visible_ms, 1),
            counted=counted,
            decided=ghost.decided,
        )

    def finish(self) -> Flow[None]:
        """Checks of the last acceptances, which no key waits for; the documents are final."""
        while timer := self.clock.pop():
            if timer.check is not None:
                yield timer.check.truth(self.clock.now_ms)

    def key(self, purpose: str) -> tuple[rng.Key, ...]:
        """Key of the next draw for `purpose` at this offset of the intent; the last part counts from 0."""
        place = (purpose, self.written)
        self._occurrences[place] += 1
        return (purpose, self.item.key, self.written, self._occurrences[place] - 1)

    def motor_ms(self) -> float:
        """Time of one key that needs no thought."""
        return typing_model.motor_ms(self.draws, self.person.speed, *self.key("motor"))

    def notice_ms(self) -> float:
        """Time to one key within a word, thought included."""
        return typing_model.gap_ms(self.draws, self.person.speed, Place.WITHIN, *self.key("notice"))

    def dwell_ms(self, pause: Pause, purpose: str) -> float:
        """Length of a pause between pieces of work."""
        return typing_model.dwell_ms(self.draws, pause, purpose, *self.key(purpose))

    def truth(self, kind: TruthKind, **detail: Detail) -> Truth:
        """A truth event of now and here."""
        return Truth(kind, self.clock.now_ms, self.tally.user, self.item.key, self.written, detail)

    def _landed(self) -> Flow[None]:
        self._touch = Touch.NAVIGATED
        yield from self.drop_ghost("nav_away")
        yield self.truth(TruthKind.NAV, cursor=self.document.cursor)

    def _opportunity(self, touch: Touch, key_at_ms: float, judging: bool) -> Flow[None]:
        """The debounce ran out: perhaps a request, and the answer's timer unless the key comes first."""
        key, tally, now = self.key("ask"), self.tally, self.clock.now_ms
        where = assistant.situation(self.document, touch, self.item.language)
        draw = self.draws.unit("gate", *key)
        tally.opportunities += 1
        yield self.truth(
            TruthKind.OPPORTUNITY, situation=where, gate_share=GATE[where], gate_draw=draw, occurrence=key[-1]
        )
        if draw >= GATE[where] or self.document.cursor < self.config.min_prompt_chars:
            return
        latency_ms = self.draws.lognormal(
            self.config.latency_median_ms, self.config.latency_sd, "latency", *key
        )
        cancelled = now + latency_ms >= key_at_ms
        self._last_ts_ms = max(self._last_ts_ms + 1, int(now))
        tally.requests += 1
        tally.cancelled += cancelled
        tally.requests_by_situation[where] = tally.requests_by_situation.get(where, 0) + 1
        yield self.truth(
            TruthKind.REQUEST,
            request_ts_ms=self._last_ts_ms,
            cancelled=cancelled,
            latency_ms=round(latency_ms, 1),
            judging=judging,
            intent=self.item.intent[self.written :],
        )
        proposal = yield assistant.ask(
            self.document,
            self.config,
            user=tally.user,
            session=f"{tally.user}-{self.item.session}",
            file=self.item.file,
            language=self.item.language,
            ts_ms=self._last_ts_ms,
            cancelled=cancelled,
        )
        if cancelled:
            return
        if proposal is None or not proposal.strip():
            tally.silent += 1
            return
        tally.answered += 1
        self.clock.at(now + latency_ms, _Timer(_On.RESPONSE, proposal=proposal, key=key))

    def _paint(self, timer: _Timer) -> Flow[None]:
        self._exposures += 1
        self.tally.shown += 1
        self._ghost = Ghost(
            self._exposures, timer.key, timer.proposal, len(timer.proposal), self.clock.now_ms
        )
        yield self.truth(TruthKind.SHOWN, exposure=self._exposures, proposal=timer.proposal)

    def _look(self, key: tuple[int, float], judging: bool) -> Flow[tuple[int, float]]:
        """The user sees the suggestion until the key at `key[1]`; the key that comes then."""
        ghost, now = self._ghost, self.clock.now_ms
        assert ghost is not None  # there is a suggestion whenever this is called
        number, key_at_ms = key
        if ghost.decided or not judging or key_at_ms - ghost.shown_ms < policy.MIN_VISIBLE_MS:
            return key
        ghost.decided = True
        mode = policy.mode(self.draws.unit("mode", self.item.key))
        verdict = policy.decide(
            ghost.text,
            self.item.intent[self.written :],
            self.person.taste,
            mode,
            self.draws.unit("accept", *ghost.key),
        )
        self.tally.decided += 1
        yield self.truth(
            TruthKind.DECISION,
            exposure=ghost.exposure,
            asked_offset=ghost.key[-2],
            occurrence=ghost.key[-1],
            accept=verdict.accept,
            p_accept=verdict.p_accept,
            u_draw=verdict.u_draw,
            chars=verdict.chars,
            distance=verdict.distance,
            matched=verdict.matched,
            mode=verdict.mode,
        )
        if verdict.accept:
            self.clock.cancel(number)
            take_s = policy.accept_s(verdict.chars, self.draws.normal("accept time", *ghost.key))
            return self.clock.at(now + 1000 * take_s, _Timer(_On.ACCEPT)), now + 1000 * take_s
        done_at_ms = now + 1000 * policy.reject_s(self.draws.normal("reject time", *ghost.key))
        if done_at_ms >= key_at_ms:
            self.clock.cancel(number)
            return self.clock.at(done_at_ms, _Timer(_On.KEY)), done_at_ms
        if self.draws.unit("esc", *ghost.key) < ESC_SHARE:
            self.clock.at(done_at_ms, _Timer(_On.ESCAPE))
        return key

    def _accept(self) -> Flow[None]:
        ghost = self._ghost
        assert ghost is not None  # an acceptance is only scheduled with a suggestion on the screen
        yield from self.drop_ghost("accepted")
        self.tally.accepted += 1
        self.tally.accepted_chars += len(ghost.text)
        yield self.truth(TruthKind.ACCEPTED, exposure=ghost.exposure, chars=len(ghost.text))
        for after_s in PERSIST_S:
            check = Check(
                self.document, self.tally.user, self.item.key, ghost.exposure, len(ghost.text), after_s
            )
            self.clock.at(self.clock.now_ms + 1000 * after_s, _Timer(_On.PERSIST, check=check))
        yield from self.edited(self.document.insert(ghost.text, ghost.exposure), "accept")
