"""Tours of the file: leaving a line to try something at other places, and coming back (section 1.3).

In the recorded code trace one edit in nine follows a jump, half of the jumps go back, half go further than 41
characters, and after half of them two edits follow at most before the next: people go round several places
and change little at each. What they try there is put back before they go on, so a tour leaves the text as it
was: a line is commented out for a look, a key is pressed and undone, a word is written again. Our choice:
what a tour does; that there are tours, how far they go and how many places they have is from the trace.
"""

import math
import re

from simulator.desk import typing_model
from simulator.desk.books import Flow
from simulator.desk.drafts import comment_mark
from simulator.desk.keyboard import Keyboard
from simulator.rules.policy import State
from simulator.truth import By

_WORD = re.compile(r"\w{2,12}")
_TRIES = ("comment", "key", "word")
_SHARES = (0.5, 0.15, 0.35)
_MOST_PLACES = 6


class Wanderer(Keyboard):
    """A developer who looks around."""

    def tour(self) -> Flow[None]:
        """Perhaps a tour, at the end of a line."""
        frame, document = self.frame, self.document
        key, left = frame.key, frame.left
        if self.draws.unit("tour", key, left) >= typing_model.TOUR_SHARE:
            return
        more = math.log(1 - self.draws.unit("tour places", key, left)) / math.log(typing_model.TOUR_GOES_ON)
        home = len(document.text) - document.cursor
        yield from self.enter(State.EDIT_OWN)
        for stop in range(min(1 + int(more), _MOST_PLACES)):
            yield from self.wait(self.notice_ms(), judging=False)
            far = self.draws.lognormal(*typing_model.TOUR_CHARS, "tour far", key, left, stop)
            back = self.draws.unit("tour back", key, left, stop) < 0.5
            target = document.cursor + int(-far if back else far)
            draw = self.draws.unit("tour try", key, left, stop)
            at = sum(draw >= edge for edge in (_SHARES[0], _SHARES[0] + _SHARES[1]))
            yield from self._try(_TRIES[at], min(max(target, 0), len(document.text)))
        yield from self.wait(self.notice_ms(), judging=False)
        yield from self.navigate(len(document.text) - home)
        yield from self.enter(State.WRITE)

    def _try(self, what: str, target: int) -> Flow[None]:
        """Change something at `target`, look at it, and put it back."""
        document = self.document
        text = document.text
        if what == "comment":
            start = text.rfind("\n", 0, target) + 1
            start += len(text[start : start + 200]) - len(text[start : start + 200].lstrip(" \t"))
            yield from self.navigate(start)
            mark = comment_mark(self.item.language)
            yield from self.keys(mark, By.REVISE)
            yield from self.wait(self.dwell_ms(typing_model.EDIT_OWN, "tour"), judging=False)
            yield from self.delete(len(mark))
        elif what == "key":
            yield from self.navigate(target)
            yield from self.keys("x", By.SLIP)
            yield from self.wait(self.notice_ms(), judging=False)
            yield from self.edited(document.backspace(1), By.UNDO)
        else:
            match = _WORD.search(text, target, target + 200)
            if match is None:
                return
            yield from self.navigate(match.end())
            yield from self.wait(self.notice_ms(), judging=False)
            yield from self.delete(len(match.group()), By.REVISE)
            yield from self.keys(match.group(), By.REVISE)
