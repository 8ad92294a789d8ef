"""The completion plugin of the simulated editor: when it asks, what it sends, what it paints (section 3.3).

After each edit a debounce starts; when it runs out before the next key, a gate decides whether to ask.
While typed characters match the painted suggestion nothing is asked (type-through cache).
Not covered: partial acceptance, expiry after 10 s, the contextual filter, adaptive debounce, Copilot's
mid-line rule (requests inside a line are sent, which reproduces mid-token triggers).
"""

from dataclasses import dataclass
from enum import StrEnum

from echo_ray import rng
from echo_ray import text as texts
from simulator.config import SimulateConfig
from simulator.document import Document, Edit


class Touch(StrEnum):
    """What the user did last; a debounce runs only after a touch."""

    TYPED = "typed"
    DELETED = "deleted"
    NAVIGATED = "navigated"


class Situation(StrEnum):
    """What the plugin sees around the cursor when the debounce runs out."""

    MID_IDENTIFIER = "mid_identifier"
    BOUNDARY = "boundary"
    LINE_START = "line_start"
    AFTER_DELETE = "after_delete"
    AFTER_NAVIGATION = "after_navigation"
    COMMENT = "comment"


GATE = {
    Situation.MID_IDENTIFIER: 0.18,
    Situation.BOUNDARY: 0.42,
    Situation.LINE_START: 0.70,
    Situation.AFTER_DELETE: 0.15,
    Situation.AFTER_NAVIGATION: 0.15,
    Situation.COMMENT: 0.25,
}
"""P(request | opportunity), tuned by the specification to 250 to 280 requests per day."""

_HASH_COMMENTS = frozenset({"python", "ruby", "shellscript", "yaml", "r", "perl"})


@dataclass(frozen=True, slots=True)
class Ask:
    """One completion request, exactly what the production schema knows of it.

    `cancelled`: in virtual time the next key comes before the answer, so the request is sent and aborted.
    """

    user: str
    session: str
    file: str
    language: str
    prefix: str
    suffix: str
    prefix_complete: bool
    suffix_complete: bool
    ts_ms: int
    cancelled: bool


@dataclass(slots=True)
class Ghost:
    """A suggestion on the screen; `text` is what of it has not been typed yet."""

    exposure: int
    key: tuple[rng.Key, ...]
    """Opportunity that it answers; all draws of the decision hang on it."""
    text: str
    size: int
    """Characters when it was painted."""
    shown_ms: float
    decided: bool = False

    def follows(self, edit: Edit) -> bool:
        """Whether the edit typed on into the suggestion; then `text` is shortened."""
        if edit.removed or not self.text.startswith(edit.inserted):
            return False
        self.text = self.text[len(edit.inserted) :]
        return True


def situation(document: Document, touch: Touch, language: str) -> Situation:
    """What the gate depends on. A comment marker inside a string counts as a comment, as in many plugins."""
    line = texts.current_line(document.left)
    if touch is Touch.NAVIGATED:
        return Situation.AFTER_NAVIGATION
    if touch is Touch.DELETED:
        return Situation.AFTER_DELETE
    if ("#" if language in _HASH_COMMENTS else "//") in line:
        return Situation.COMMENT
    if not line.strip():
        return Situation.LINE_START
    if line[-1].isalnum() or line[-1] == "_":
        return Situation.MID_IDENTIFIER
    return Situation.BOUNDARY


def ask(
    document: Document,
    config: SimulateConfig,
    *,
    user: str,
    session: str,
    file: str,
    language: str,
    ts_ms: int,
    cancelled: bool,
) -> Ask:
    """The request for the cursor of `document`; windows are cut at line ends."""
    left, right = document.left, document.right
    prefix = texts.tail(left, config.prefix_chars)
    suffix = texts.head(right, config.suffix_chars)
    return Ask(
        user=user,
        session=session,
        file=file,
        language=language,
        prefix=prefix,
        suffix=suffix,
        prefix_complete=len(prefix) == len(left),
        suffix_complete=len(suffix) == len(right),
        ts_ms=ts_ms,
        cancelled=cancelled,
    )
