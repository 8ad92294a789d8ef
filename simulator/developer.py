"""One developer at work: writes the items one after another and asks for completions (section 3).

`Developer.run` yields `Ask` and is sent the proposal (text, or None), and yields `Truth`, for which the
answer is ignored. It knows no arm, no network and no real time.

Invariants: outside slips, false starts and repairs the document is `before + intent[:written] + after`
(plus automatic white space on a blank line); at the end of an item it is the intended text; request time
stamps increase strictly.
Our choice: while a slip, a false start or a repair stands, the user does not judge what appears.
Not covered: jumps while writing (.109 of edits in the traces), late edits to accepted text, uncorrected
typos, pastes, undo; a file that is opened again later starts from its original text.
"""

import re
from collections.abc import Sequence

from echo_ray import text as texts
from simulator import distance, typing_model
from simulator.config import SimulateConfig
from simulator.desk import Desk, Flow
from simulator.truth import Tally, TruthKind
from simulator.typing_model import Place
from simulator.work import WorkItem

_STROKES = re.compile(r"\n[ \t]*|[ \t]{2,}|\t|.", re.DOTALL)
_SELECT_CHARS = 4  # longer deletions are one selection, shorter ones single backspaces (P90 of runs is 3)


class Developer(Desk):
    """`user` writing `items`, at least one. Holds the state of one run; use it once."""

    def __init__(self, config: SimulateConfig, user: str, items: Sequence[WorkItem]) -> None:
        super().__init__(config, user, items[0])
        self._items = items
        self._thinking_ms = 0.0  # before the item's first key
        self._others: list[str] = []  # lines of the file for false starts

    def run(self) -> Flow[Tally]:
        """All items in order; the return value is the tally."""
        previous: WorkItem | None = None
        for item in self._items:
            yield from self._arrive(item, previous)
            yield from self._write()
            yield from self._leave()
            previous = item
        self.tally.virtual_s = (self.clock.now_ms - self.person.start_ms) / 1000
        yield from self.finish()
        return self.tally

    def _arrive(self, item: WorkItem, previous: WorkItem | None) -> Flow[None]:
        if previous is not None and item.session != previous.session:
            pause_ms = self.dwell_ms(typing_model.BREAK, "break") + typing_model.SESSION_BREAK_MS
            yield from self.wait(pause_ms, judging=False)
        elif previous is not None and item.visit != previous.visit:
            yield from self.wait(self.dwell_ms(typing_model.LOOKUP, "lookup"), judging=False)
        yield from self.open(item)
        if previous is None or item.session != previous.session:
            yield self.truth(TruthKind.SESSION_START, session=item.session)
        if previous is None or item.visit != previous.visit:
            yield self.truth(TruthKind.FILE_SWITCH, file=item.file, language=item.language)
        self._thinking_ms = self.dwell_ms(typing_model.PLAN, "plan")
        self._others = [line.strip() for line in item.before.split("\n") if len(line.strip()) > 3]

    def _write(self) -> Flow[None]:
        intent = self.item.intent
        while self.written < len(intent):
            place = typing_model.place(intent, self.written)
            key = self.key("stroke")
            gap_ms = self._thinking_ms + typing_model.gap_ms(self.draws, self.person.speed, place, *key)
            self._thinking_ms = 0.0
            if (yield from self.wait(gap_ms)):
                yield from self._repair()
            elif wrong := self._stumble(place):
                yield from self._take_back(wrong)
            else:
                yield from self._type()

    def _leave(self) -> Flow[None]:
        while (yield from self.wait(self.dwell_ms(typing_model.PLAN, "leave"))):
            yield from self._repair()  # nothing was left to write: all of it goes
        yield from self.drop_ghost("nav_away")
        item = self.item
        assert self.document.text == item.before + item.intent + item.after
        self.tally.items += 1
        self.tally.retained_chars += self.document.accepted_alive()
        yield self.truth(TruthKind.COMMIT, chars=len(item.intent))

    def _stumble(self, place: Place) -> str:
        """What is typed instead of the right key; at most once per offset of the intent."""
        key = self.key("stumble")
        if key[-1]:
            return ""
        if place is Place.LINE_START:
            wrong = typing_model.false_start(self.draws, self._others, *key)
            if wrong:
                return wrong
        return typing_model.slip(self.draws, self.item.intent, self.written, *key)

    def _type(self) -> Flow[None]:
        """The next right key: Enter with its indentation, Tab, or a character."""
        intent, at = self.item.intent, self.written
        if intent[at] != "\n":
            match = _STROKES.match(intent, at)
            assert match is not None  # the pattern matches any character
            self.written += len(match.group())
            yield from self.edited(self.document.insert(match.group()), "key", typed=1)
            return
        line = intent[at + 1 :].split("\n", 1)[0]
        edit = self.document.newline()
        indent, wanted = edit.inserted[1:], texts.indent_of(line)
        # On a blank line the automatic indentation stays until the next Enter takes it away.
        right = texts.common_prefix(indent, wanted) if line else 0
        self.written += 1 + right
        yield from self.edited(edit, "key", typed=1)
        if line and right < len(indent):
            yield from self.wait(self.motor_ms(), judging=False)
            yield from self.edited(self.document.backspace(len(indent) - right), "dedent")

    def _take_back(self, wrong: str) -> Flow[None]:
        """Type what was not meant, notice, delete it."""
        for index, char in enumerate(wrong):
            if index:
                yield from self.wait(self.motor_ms(), judging=False)
            yield from self.edited(self.document.insert(char), "slip", typed=1)
        yield from self.wait(self.notice_ms(), judging=False)
        yield from self._delete(len(wrong))

    def _repair(self) -> Flow[None]:
        """After an acceptance: the fewest edits from what stands there to a cut of the intent."""
        start = len(self.item.before) + self.written
        actual, rest = self.document.text[start : self.document.cursor], self.item.intent[self.written :]
        cut, _ = distance.best_cut(actual, rest)
        ops = distance.edit_script(actual, rest[:cut])
        if ops:
            yield from self.wait(self.dwell_ms(typing_model.FIX, "fix"), judging=False)
        shift = 0
        for op in ops:
            yield from self.navigate(start + shift + op.stop)
            if op.stop > op.start:
                yield from self.wait(self.notice_ms(), judging=False)
                yield from self._delete(op.stop - op.start)
            for stroke in _STROKES.findall(op.text):
                yield from self.wait(self.motor_ms(), judging=False)
                yield from self.edited(self.document.insert(stroke), "fix", typed=1)
            shift += len(op.text) - (op.stop - op.start)
        yield from self.navigate(start + cut)
        self.written += cut

    def _delete(self, count: int) -> Flow[None]:
        """Backspaces before the cursor, or one selection."""
        size = 1 if count < _SELECT_CHARS else count
        for index in range(count // size):
            if index:
                yield from self.wait(self.motor_ms(), judging=False)
            yield from self.edited(self.document.backspace(size), "delete")
