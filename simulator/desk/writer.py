"""How a developer writes a frame: key by key, with slips, false starts, pastes, and what is left for later.

Sections 1.3 and 3.3. Mistakes that are noticed at once are taken back on the spot. Those that are noticed
later become revisions of the frame, like the changes of mind of its draft, and are repaired by going back.
Our choice: while something wrong is being typed, the user does not judge what appears.
"""

import re

from echo_ray import text as texts
from simulator.desk import drafts, typing_model
from simulator.desk.books import Flow, Frame
from simulator.desk.detours import Wanderer
from simulator.desk.document import PASTED
from simulator.desk.drafts import Revision, Why
from simulator.desk.typing_model import Place
from simulator.rules.policy import State
from simulator.truth import By

_SKIPPED = re.compile(r"\w{2,12}(?!\w)")
_NAME = re.compile(r"[\w.]{6,60}")
_NOISY_SHARE, _NOISE_S = 0.4, 10.0  # of pasted lines; seconds until what does not belong is taken away


class Writer(Wanderer):
    """A developer with a keyboard; `self.lines` are other lines of the file."""

    lines: list[str]
    thinking_ms: float = 0.0
    """Before the next key."""

    def write(self) -> Flow[None]:
        """The frame on the desk, to its end; revisions that nothing waits for are done, others stay."""
        frame = self.frame
        while True:
            due = self._due(frame)
            if due is not None:
                yield from self.revise(due)
                continue
            if not frame.left:
                # As in VS Code, white space that the editor put on a blank line goes when the cursor does.
                extra = self.document.cursor - frame.base - frame.written
                if extra:
                    yield from self.edited(self.document.backspace(extra), By.DEDENT)
                return
            if frame.pending and frame.pending[-1].left == frame.left:
                yield from self.move_over()
                continue
            count = self.nth("stroke")
            if not count and not frame.nested and frame.written and frame.text[frame.written] == "\n":
                yield from self.tour()
            where = typing_model.place(frame.text, frame.written)
            gap_ms = typing_model.gap_ms(self.draws, self.person.speed, where, frame.key, frame.left, count)
            gap_ms, self.thinking_ms = gap_ms + self.thinking_ms, 0.0
            yield from self.enter(self._writing(where))
            taking = yield from self.wait(gap_ms)
            if taking is not None:
                yield from self.take(taking)
            elif count or not (yield from self._stumble(where)):
                yield from self.type()

    def revise(self, revision: Revision) -> Flow[None]:
        """Go back to what is to be different, change it, and return."""
        frame, document = self.frame, self.document
        quick = revision.why in (Why.SLIP, Why.SKIP)
        if not quick:
            yield from self.enter(State.EDIT_OWN)
        gap_ms = self.notice_ms() if quick else self.dwell_ms(typing_model.EDIT_OWN, "revise")
        taking = yield from self.wait(gap_ms)
        if taking is not None:
            yield from self.take(taking)  # the revision stays due
            return
        back = len(document.text) - document.cursor
        frame.revisions.remove(revision)
        removed = revision.stop - revision.start
        yield from self.navigate(frame.base + revision.stop)
        if removed:
            yield from self.wait(self.motor_ms(), judging=False)
            yield from self.delete(removed, By.REVISE)
        detour = Frame(
            f"{frame.key}^{frame.left}.{self.nth('revision')}",
            frame.base + revision.start,
            revision.final,
            nested=True,
        )
        if revision.final:
            self.frame = detour
            yield from self.write()
            self.frame = frame
        # What stands there now may be a variant of what was meant.
        grown = len(detour.text) - removed
        frame.text = frame.text[: revision.start] + detour.text + frame.text[revision.stop :]
        frame.written += grown
        for other in frame.revisions:
            if other.start >= revision.stop:
                other.start += grown
                other.stop += grown
        yield from self.navigate(len(document.text) - back)

    def _due(self, frame: Frame) -> Revision | None:
        """The first revision that the user turns to now."""
        for revision in frame.revisions:
            here = revision.why is Why.SKIP and revision.stop == frame.written and frame.left
            if revision.stop > frame.written or here:
                continue
            timed = revision.why in (Why.REPHRASE, Why.EXTRA, Why.PROMPT)
            if revision.due is None:
                now = self.clock.now_ms if timed else float(frame.left)
                revision.due = now + 1000 * revision.wait if timed else now - revision.wait
            if revision.why is Why.UNSEEN:
                continue
            if not frame.left or (
                self.clock.now_ms >= revision.due and frame.text[frame.written] == "\n"
                if timed
                else frame.left <= revision.due
            ):
                return revision
        return None

    def _writing(self, where: Place) -> State:
        if self.frame.nested:
            return State.EDIT_OWN
        if where is not Place.LINE_START:
            return self.state if self.state in (State.PROMPT, State.DOC) else State.WRITE
        frame = self.frame
        for revision in frame.revisions:
            if revision.why is Why.PROMPT and revision.start <= frame.written + 1 < revision.stop:
                return State.PROMPT
        mark = drafts.comment_mark(self.item.language)
        return State.DOC if frame.text.startswith(mark, frame.written) else State.WRITE

    def _stumble(self, where: Place) -> Flow[bool]:
        """What happens instead of the right key; at most once per place. True: the right key is not next."""
        frame = self.frame
        key, left = frame.key, frame.left
        if where is Place.LINE_START and not frame.nested:
            wrong = drafts.false_start(self.draws, self.lines, key, left)
            if wrong:
                yield from self._take_back(wrong)
                return True
        if where in (Place.LINE_START, Place.OPENER, Place.WORD_END) and not frame.nested:
            if (yield from self._paste(where)):
                return True
            if where is not Place.LINE_START and self._skip():
                return True
        char = frame.text[frame.written]
        if self.draws.unit("typo", key, left) >= typing_model.TYPO_SHARE:
            return False
        wrong = typing_model.wrong_key(self.draws, char, key, left)
        if not wrong or self.waits(frame.written + 1):
            return False
        late = self.draws.unit("typo late", key, left)
        if frame.nested or not wrong.isalnum() or late >= typing_model.LATE_SHARE:
            more = int(self.draws.unit("typo run", key, left) * 3)
            rest = frame.text[frame.written + 1 : frame.written + 1 + more].split("\n", 1)[0]
            yield from self._take_back(wrong + rest)
            return True
        why = Why.UNSEEN if late < typing_model.UNSEEN_SHARE else Why.SLIP
        wait = 1 + int(self.draws.unit("typo seen", key, left) ** 2 * 40)
        at = frame.written
        self._revise_later(Revision(at, at + 1, char, why, wait))
        frame.text = frame.text[:at] + wrong + frame.text[at + 1 :]
        frame.written += 1
        yield from self.edited(self.document.insert(wrong), By.SLIP, typed=1)
        return True

    def _skip(self) -> bool:
        """Leave out the next word, to fill it in a moment later."""
        frame = self.frame
        match = _SKIPPED.match(frame.text, frame.written)
        if match is None or self.draws.unit("skip", frame.key, frame.left) >= typing_model.SKIP_SHARE:
            return False
        at, stop = match.span()
        if any(revision.start == at for revision in frame.revisions):
            return False  # two words left out at one place could not be told apart
        if self.waits(stop) or frame.text[stop : stop + 1] in ("", "\n"):
            return False
        wait = 1 + int(self.draws.unit("skip seen", frame.key, frame.left) ** 2 * 40)
        grown = stop - at
        for revision in frame.revisions:
            if revision.start >= stop:
                revision.start -= grown
                revision.stop -= grown
        self._revise_later(Revision(at, at, match.group(), Why.SKIP, wait))
        frame.text = frame.text[:at] + frame.text[stop:]
        return True

    def _revise_later(self, revision: Revision) -> None:
        self.frame.revisions.append(revision)
        self.frame.revisions.sort(key=lambda item: (item.start, item.stop))

    def _paste(self, where: Place) -> Flow[bool]:
        """Perhaps the next name, or the line, comes from the clipboard (section 3.3)."""
        frame = self.frame
        key, left = frame.key, frame.left
        text, noise = "", ""
        if where is Place.LINE_START:
            if self.draws.unit("paste", key, left) < typing_model.PASTE_SHARE:
                text = frame.text[frame.written :].split("\n", 1)[0]
        elif self.draws.unit("paste name", key, left) < typing_model.PASTE_NAME_SHARE:
            match = _NAME.match(frame.text, frame.written)
            text = match.group() if match is not None and match.group() in self.item.before else ""
        if len(text) < 6 or self.waits(frame.written + len(text)):
            return False
        if (
            where is Place.LINE_START
            and self.draws.unit("paste source", key, left) < _NOISY_SHARE
            and self.lines
        ):
            # From elsewhere: with something that does not belong here.
            other = self.lines[int(self.draws.unit("paste noise", key, left) * len(self.lines))]
            noise = "\n" + texts.indent_of(texts.current_line(self.document.left)) + other
            at = frame.written + len(text)
            frame.text = frame.text[:at] + noise + frame.text[at:]
            for revision in frame.revisions:
                if revision.start >= at:
                    revision.start += len(noise)
                    revision.stop += len(noise)
            self._revise_later(Revision(at, at + len(noise), "", Why.EXTRA, _NOISE_S))
        yield from self.enter(State.PASTE)
        frame.written += len(text) + len(noise)
        yield from self.edited(self.document.insert(text + noise, PASTED), By.PASTE)
        yield from self.enter(State.WRITE)
        return True

    def _take_back(self, wrong: str) -> Flow[None]:
        """Type what was not meant, notice, delete it."""
        for index, char in enumerate(wrong):
            if index:
                yield from self.wait(self.motor_ms(), judging=False)
            yield from self.edited(self.document.insert(char), By.SLIP, typed=1)
        yield from self.wait(self.notice_ms(), judging=False)
        if self.unit("undo") < typing_model.UNDO_SHARE:
            cursor = self.document.cursor
            yield from self.edited(self.document.replace(cursor - len(wrong), cursor, ""), By.UNDO)
        else:
            yield from self.delete(len(wrong))
