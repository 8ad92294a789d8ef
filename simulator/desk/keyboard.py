"""The right keys: characters, Enter with its indentation, brackets and quotes that close themselves.

As VS Code does (section 3.2): an opening bracket brings the closing one, Enter between the two makes three
lines, and a closing bracket that stands already is typed over. An editor closes every bracket; here only
those close of which the intent has the closing one where the editor puts it, so nobody has to take it away.
"""

from echo_ray import text as texts
from simulator.desk import typing_model
from simulator.desk.books import Flow, Pending
from simulator.desk.document import AUTO, CLOSERS
from simulator.desk.taking import Taker
from simulator.truth import By

_LOOK_AHEAD_CHARS = 2_000  # for the bracket that closes
_QUOTES = ('"', "'", "`")


class Keyboard(Taker):
    """A developer who types what is right."""

    def waits(self, stop: int) -> bool:
        """Whether a revision of something not yet written, or a closing bracket, lies before `stop`."""
        frame = self.frame
        if frame.pending and len(frame.text) - frame.pending[-1].left < stop:
            return True
        return any(frame.written < item.stop and item.start < stop for item in frame.revisions)

    def type(self) -> Flow[None]:
        """The next right key: Enter with its indentation, Tab, or a character."""
        frame = self.frame
        at, text = frame.written, frame.text
        if text[at] == "\n":
            yield from self._enter()
            return
        match = typing_model.STROKES.match(text, at)
        assert match is not None  # the pattern matches any character
        key = match.group()
        frame.written += len(key)
        closer = self._closer(at)
        if not closer:
            by = By.REVISE if frame.nested else By.KEY
            yield from self.edited(self.document.insert(key), by, typed=1)
            return
        edit = self.document.insert(key + closer)
        self.document.behind(len(closer))
        yield from self.edited(edit, By.KEY, typed=1, keyed=key)

    def _enter(self) -> Flow[None]:
        frame, document = self.frame, self.document
        line = frame.text[frame.written + 1 :].split("\n", 1)[0]
        pending = frame.pending[-1] if frame.pending else None
        opened = document.text[document.cursor - 1 : document.cursor]
        if pending is not None and pending.stands != pending.text and CLOSERS.get(opened) == pending.stands:
            # Enter between a bracket and the one that the editor had put behind it: three lines.
            outer = pending.text[:-1]
            pending.stands = pending.text
            edit = document.newline(outer)
            indent = edit.inserted[1 : -len(outer)]
        else:
            edit = document.newline()
            indent = edit.inserted[1:]
        wanted = texts.indent_of(line)
        # On a blank line the automatic indentation stays until the next Enter takes it away.
        right = texts.common_prefix(indent, wanted) if line else 0
        frame.written += 1 + right
        yield from self.edited(edit, By.KEY, typed=1, keyed="\n" + indent)
        if line and right < len(indent):
            yield from self.wait(self.motor_ms(), judging=False)
            yield from self.edited(document.backspace(len(indent) - right), By.DEDENT)

    def _closer(self, at: int) -> str:
        """What the editor puts behind the bracket or quote `text[at]`, "" for nothing."""
        frame, document = self.frame, self.document
        opener = frame.text[at]
        closer = CLOSERS.get(opener, "")
        behind = document.text[document.cursor : document.cursor + 1]
        if not closer or frame.nested or not (behind.isspace() or behind in (")", "]", "}", "")):
            return ""
        if opener in _QUOTES and (frame.text[at - 1 : at].isalnum() or frame.text[at - 1 : at] == opener):
            return ""
        match = _matching(frame.text, at, opener, closer)
        if match < 0 or self.waits(match + 1):
            return ""
        text = closer
        if frame.text[at + 1] == "\n":
            # The line of the closing bracket must be the one that the editor makes.
            begin = frame.text.rfind("\n", 0, match)
            outer = texts.indent_of(texts.current_line(document.left))
            if frame.text[begin:match] != "\n" + outer:
                return ""
            text = "\n" + outer + closer
        elif "\n" in frame.text[at:match]:
            return ""
        left = len(frame.text) - match + len(text) - 1
        frame.pending.append(Pending(left, text, closer))
        return closer

    def move_over(self) -> Flow[None]:
        """The closing bracket that the editor had put: typed over, or gone past with the arrows."""
        frame, document = self.frame, self.document
        pending = frame.pending.pop()
        yield from self.wait(self.motor_ms(), judging=False)
        blank = texts.current_line(document.left)
        if pending.text[0] == "\n" and blank and not blank.strip():
            yield from self.edited(document.backspace(len(blank)), By.DEDENT)
        if pending.stands != pending.text:  # the bracket was never moved to a line of its own
            edit = document.insert(pending.text[:-1], AUTO)
            yield from self.edited(edit, By.KEY, typed=1, keyed="")
        document.move(
            document.cursor + len(pending.stands if pending.stands == pending.text else pending.text[-1])
        )
        frame.written += len(pending.text)
        self.tally.keys += 1
        yield from self.follow(pending.text)


def _matching(text: str, at: int, opener: str, closer: str) -> int:
    """Place of the `closer` that belongs to `text[at]`; -1 when it is not near."""
    if opener == closer:
        end = text.find("\n", at)
        found = text.find(closer, at + 1, end if end >= 0 else len(text))
        return found if found > 0 and text[found - 1] != "\\" else -1
    depth = 0
    for place in range(at, min(len(text), at + _LOOK_AHEAD_CHARS)):
        char = text[place]
        if char == opener:
            depth += 1
        elif char == closer:
            depth -= 1
            if not depth:
                return place
    return -1
