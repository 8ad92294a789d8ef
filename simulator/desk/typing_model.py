"""How keys come: gaps between them, slips, dwell in the states between pieces of work (sections 1.2, 3.3).

Gap = motor + cognitive pause. Motor is lognormal with median 135 ms times the user's speed; whether and
how long the user thinks depends on the place in the text. Constants are the specification's; those that it
leaves free ("pause scale", "false-start rate", "rates" of section 3.7) are fitted to its targets with the
engine `empty`, and marked "fitted". Times are virtual milliseconds.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from simulator.draws import Draws

MOTOR_MEDIAN_MS, MOTOR_SD = 135.0, 0.45
TYPO_SHARE = 0.055
"""Keys that go wrong (section 3.3)."""
LATE_SHARE = 0.95
"""Slips that are noticed only after some more text, most of them soon, and repaired by going back; the
others are taken back at once. Fitted: jump share."""
UNSEEN_SHARE = 0.004
"""Slips that nobody notices until the code is run (section 3.3)."""
UNDO_SHARE = 0.12
"""What is taken back at once with undo instead of backspace. Fitted: undo is .5% of the edits."""
FALSE_START_SHARE = 0.55
"""Lines of which the user first types something else and takes it back. Section 3.2 begins with .06; that
28% of the typed characters are gone after 30 s asks for ten times as many. Fitted."""
FALSE_START_CHARS = (4, 30)
"""Least and most characters of a false start. Fitted with its share."""
EXTRA_SHARE = 0.24
"""Lines before which a line stands for a while that does not stay (debugging output). Fitted: characters
that are gone after 10 minutes."""
REPHRASE_SHARE = 0.08
"""Lines whose end is first written differently and revised later. Fitted likewise; more of them would hit
accepted text oftener than is published."""
SKIP_SHARE = 0.15
"""Words of up to 12 characters after a space or an opening bracket, within a line, that are left out and
filled in a moment later, where nothing else waits. Fitted: jump share."""
TOUR_SHARE, TOUR_GOES_ON = 0.38, 0.6
"""Lines after which the user tours the file, and the share of places from which the tour goes on to another.
Fitted: jump share."""
TOUR_CHARS = (41.0, 1.6)
"""How far a tour goes at a time: median and log sd (characters; section 1.3)."""
PROMPT_SHARE = 0.03
"""Lines before which the user writes a comment to steer the model; it goes again (section 3.3)."""
PASTE_SHARE = 0.4
"""Lines that are pasted, from another file or from elsewhere, where no revision waits. Fitted: pastes are
.4% of the edits."""
PASTE_NAME_SHARE = 0.09
"""Names of 6 characters or more that are pasted when they stand elsewhere in the file. Fitted likewise, so
that half of the pastes come from the same file (section 3.3)."""
REVISE = (60.0, 1.2)
"""Seconds until a line is revised: median and log sd. Fitted: typed-character survival."""
DWELL_CAP_MS = 600_000.0
"""Longest dwell between pieces of work. Our choice: the lognormals' tails reach days."""
STROKES = re.compile(r"\n[ \t]*|[ \t]{2,}|\t|.", re.DOTALL)
"""One key each: Enter with its indentation, Tab, a character."""
SELECT_CHARS = 4
"""As many or more characters are deleted as one selection, fewer with Backspace (P90 of runs is 3)."""


class Place(StrEnum):
    """Where in the text the next key goes."""

    LINE_START = "line_start"
    OPENER = "opener"
    PUNCTUATION = "punctuation"
    WORD_END = "word_end"
    WITHIN = "within"


@dataclass(frozen=True, slots=True)
class Pause:
    """With probability `share` the user stops, lognormal with this median (seconds) and log sd."""

    share: float
    median_s: float
    log_sd: float


THINK_SHARE_SCALE, THINK_TIME_SCALE = 1.25, 1.5
"""The pause scale of section 3.7, on the shares and on the medians of the pauses before a key. Fitted."""
PAUSES = {
    where: Pause(THINK_SHARE_SCALE * pause.share, THINK_TIME_SCALE * pause.median_s, pause.log_sd)
    for where, pause in {
        Place.LINE_START: Pause(0.60, 2.6, 1.2),
        Place.OPENER: Pause(0.38, 1.0, 1.1),
        Place.PUNCTUATION: Pause(0.30, 0.9, 1.1),
        Place.WORD_END: Pause(0.25, 0.8, 1.1),
        Place.WITHIN: Pause(0.10, 0.6, 1.0),
    }.items()
}
LONG_PAUSES = (Pause(0.016 * 1.3, 22.0, 0.9), Pause(0.0015 * 1.2, 200.0, 0.8))
"""Before any key; the specification asks for 1.8 times the prototype's rates."""
PLAN = Pause(1.0, 4.85, 1.92)
"""Before and after a piece of work in the same file: dwell of PLAN, LN(1.58, 1.92) [D]."""
LOOKUP = Pause(1.0, 90.0, 0.79)
"""When another file is opened: dwell of LOOKUP, LN(4.50, 0.79) [D]."""
RUN = Pause(0.24, 28.5, 1.49)
"""After one piece of work in four: dwell of RUN, LN(3.35, 1.49) [D]."""
EDIT_OWN = Pause(1.0, 7.2, 1.36)
"""Before own code is changed: dwell of EDIT_OWN, LN(1.97, 1.36) [D]. Our choice: a third of it is reading."""
FIX = Pause(1.0, 6.0, 1.0)
"""From an acceptance to the first repair (section 3.5)."""

_NEIGHBOURS = {
    key: row[index - 1 : index] + row[index + 1 : index + 2] if index else row[1:2]
    for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890")
    for index, key in enumerate(row)
}
_AFTER = dict.fromkeys("([{,=:.", Place.OPENER) | {" ": Place.WORD_END}


def place(text: str, offset: int) -> Place:
    """The place of `text[offset]`, told by the characters around it.

    Our choice: the key after a space counts as a word end, and Enter on an empty line as mid-word.
    """
    char, before = text[offset], text[offset - 1] if offset else "a"
    if before.isalnum() or before == "_":
        return Place.WITHIN if char.isalnum() or char == "_" else Place.WORD_END
    if before in "\n \t" and not text[text.rfind("\n", 0, offset) + 1 : offset].strip():
        return Place.WITHIN if char.isspace() else Place.LINE_START
    return _AFTER.get(before, Place.PUNCTUATION)


def gap_ms(draws: Draws, speed: float, where: Place, item: str, at: int, occurrence: int) -> float:
    """Time from the last key to the next one at `where`: the finger, and at most one pause.

    The kinds of pause exclude each other, so one draw decides which it is, if any.
    """
    motor = draws.lognormal(MOTOR_MEDIAN_MS * speed, MOTOR_SD, "motor", item, at, occurrence)
    draw = draws.unit("pause", item, at, occurrence)
    for pause in (PAUSES[where], *LONG_PAUSES):
        if draw < pause.share:
            return motor + dwell_ms(draws, pause, "pause time", item, at, occurrence)
        draw -= pause.share
    return motor


def dwell_ms(draws: Draws, pause: Pause, purpose: str, item: str, at: int, occurrence: int) -> float:
    """Length of one pause, at most `DWELL_CAP_MS`."""
    drawn = 1000 * draws.lognormal(pause.median_s, pause.log_sd, purpose, item, at, occurrence)
    return min(drawn, DWELL_CAP_MS)


def wrong_key(draws: Draws, right: str, item: str, at: int) -> str:
    """A neighbour of the key `right`; "" when it has none that differs."""
    near = _NEIGHBOURS.get(right.lower(), "'")
    wrong = near[int(draws.unit("typo key", item, at) * len(near))]
    wrong = wrong.upper() if right.isupper() else wrong
    return "" if wrong == right or right.isspace() else wrong
