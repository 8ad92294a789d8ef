"""What happens after a decision for a suggestion: it goes into the document and what is wrong is repaired.

Section 3.5, "after accept": the user restores the intent with the fewest edits, the first of them after
LN(ln 6, 1) seconds; a lenient user keeps an equivalent variant, and the remaining intent follows it. A
suggestion that is mostly wrong is sometimes undone as a whole (our choice). Closing brackets that the editor
had put are replaced when the suggestion brings its own, as editors do.
"""

from echo_ray.schema import EventType
from simulator.desk import typing_model
from simulator.desk.books import Flow
from simulator.desk.decisions import Taking
from simulator.desk.screen import Screen
from simulator.desk.timers import Check
from simulator.rules import distance
from simulator.rules.policy import State
from simulator.truth import By, How, TruthKind

PERSIST_S = (15, 30, 120, 300, 600)
"""When the fate of accepted text is checked (section 3.4)."""
UNDONE_SHARE = 0.3
"""Taken suggestions that are undone as a whole, of those of which less than half survives [A]."""


class Taker(Screen):
    """A developer who takes suggestions."""

    varied: bool = False
    """Whether the intent of this work item gave way to a variant."""

    def take(self, taking: Taking) -> Flow[None]:
        """Accept, and make the document say what is meant."""
        frame, document, ghost = self.frame, self.document, self.ghost
        assert ghost is not None  # a decision is only made about a suggestion on the screen
        text, tally, meant = taking.text, self.tally, frame.rest
        if taking.variant is not None:
            grown = len(taking.variant) - len(frame.rest)
            for revision in frame.revisions:
                if revision.stop > frame.written:
                    revision.start += grown
                    revision.stop += grown
            frame.text = frame.text[: frame.written] + taking.variant
            self.varied = True
        cut, wrong = distance.best_cut(text, frame.rest)
        over = 0
        while frame.pending and frame.left - cut < frame.pending[-1].left:
            over += len(frame.pending.pop().stands)
        visible_ms = round(self.clock.now_ms - ghost.shown_ms)
        yield from self.drop_ghost(How.PARTIAL if taking.partial else How.ACCEPTED)
        yield from self.shadow_gone(meant)
        lines = text.strip("\n").count("\n") + 1
        tally.accepted += not taking.partial
        tally.partial += taking.partial
        tally.accepted_chars += len(text)
        tally.multiline_chars += len(text) if lines > 1 else 0
        yield self.truth(
            TruthKind.ACCEPTED,
            exposure=ghost.exposure,
            request_id=ghost.request_id,
            chars=len(text),
            lines=lines,
            partial=taking.partial,
            wrong=wrong,
        )
        if self.plugin.profile.reports_accepted:
            kind = EventType.PARTIALLY_ACCEPTED if taking.partial else EventType.ACCEPTED
            yield self.report(ghost.request_id, kind, len(text), visible_ms)
        at = document.cursor
        edit = document.replace(at, at + over, text, ghost.exposure)
        span = document.span(at, at + len(text))
        for after_s in PERSIST_S:
            check = Check(document, span, text, self.item.key, ghost.exposure, after_s)
            self.clock.at(self.clock.now_ms + 1000 * after_s, check)
        yield self.book(edit, By.ACCEPT)
        self.shown_ahead()
        yield from self._repair(cut)

    def delete(self, count: int, by: By = By.DELETE) -> Flow[None]:
        """Backspaces before the cursor, or one selection."""
        size = 1 if count < typing_model.SELECT_CHARS else count
        for index in range(count // size):
            if index:
                yield from self.wait(self.motor_ms(), judging=False)
            yield from self.edited(self.document.backspace(size), by)

    def keys(self, text: str, by: By) -> Flow[None]:
        """Type `text` without thinking, beginning after one key's time."""
        for stroke in typing_model.STROKES.findall(text):
            yield from self.wait(self.motor_ms(), judging=False)
            yield from self.edited(self.document.insert(stroke), by, typed=1)

    def motor_ms(self) -> float:
        """Time of one key that needs no thought."""
        median_ms = typing_model.MOTOR_MEDIAN_MS * self.person.speed
        frame = self.frame
        return self.draws.lognormal(
            median_ms, typing_model.MOTOR_SD, "quick key", frame.key, frame.left, self.nth("quick key")
        )

    def notice_ms(self) -> float:
        """Time to one key within a word, thought included."""
        frame, count = self.frame, self.nth("notice")
        return typing_model.gap_ms(
            self.draws, self.person.speed, typing_model.Place.WITHIN, f"{frame.key}?", frame.left, count
        )

    def _repair(self, cut: int) -> Flow[None]:
        """The fewest edits from what was taken to the first `cut` characters that were to be written."""
        frame, document = self.frame, self.document
        start = frame.base + frame.written
        actual, wanted = document.text[start : document.cursor], frame.rest[:cut]
        if actual == wanted:
            frame.written += cut
            return
        began_ms = self.clock.now_ms
        yield from self.enter(State.FIX)
        yield from self.wait(self.dwell_ms(typing_model.FIX, "fix"), judging=False)
        ops = distance.edit_script(actual, wanted)
        touched = sum(max(op.stop - op.start, len(op.text)) for op in ops)
        if 2 * touched > len(actual) and self.unit("undone") < UNDONE_SHARE:
            yield from self.edited(document.replace(start, start + len(actual), ""), By.UNDO)
        else:
            shift = 0
            for op in ops:
                yield from self.navigate(start + shift + op.stop)
                if op.stop > op.start:
                    yield from self.wait(self.notice_ms(), judging=False)
                    yield from self.delete(op.stop - op.start, By.FIX)
                yield from self.keys(op.text, By.FIX)
                shift += len(op.text) - (op.stop - op.start)
            yield from self.navigate(start + cut)
            frame.written += cut
        self.tally.fix_s += (self.clock.now_ms - began_ms) / 1000
        yield from self.enter(State.WRITE)
