"""What only the simulator knows: truth events and the tally of one developer (section 3.4).

Truth goes to a file of its own that no stage can open; nothing here is part of a request. `(user,
request_ts_ms)` of a `request` event finds the request in the experience log: a user's time stamps are unique.
Not covered: partial acceptance, defer, run, paste and undo, which the thin developer does not do.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from simulator.document import Document


class TruthKind(StrEnum):
    """Kinds of truth events."""

    SESSION_START = "session_start"
    FILE_SWITCH = "file_switch"
    NAV = "nav"
    EDIT = "edit"
    """One change of the document: `at`, `removed`, `inserted`, `by`. They replay to the document."""
    OPPORTUNITY = "opportunity"
    """The debounce ran out: `situation`, `gate_share`, `gate_draw`."""
    REQUEST = "request"
    """A request was sent: `request_ts_ms` as sent, `intent` (what is still to be written at the cursor),
    `cancelled`, `latency_ms`, `judging` (false while a slip or a repair stands: then the document is not on
    the way to `intent`)."""
    SHOWN = "shown"
    DECISION = "decision"
    """The user judged a suggestion: `p_accept`, `u_draw`, `chars` L, `distance` D, `matched` M, `mode`;
    `asked_offset` and `occurrence` name the opportunity on which its draws hang."""
    ACCEPTED = "accepted"
    EXPOSURE_END = "exposure_end"
    """`how`: accepted, dismissed, typed_over, typed_through, nav_away; `visible_ms`, `counted`."""
    PERSIST = "persist"
    """`after_s` seconds after an acceptance: `alive` characters of `chars`, `unchanged`."""
    COMMIT = "commit"
    """A work item is done; the document equals its intended text."""


Detail = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Truth:
    """One truth event; `item` and `offset` (characters of the intent already written) say where."""

    kind: TruthKind
    ts_ms: float
    user: str
    item: str
    offset: int
    detail: dict[str, Detail]

    def row(self) -> dict[str, Detail]:
        """Flat mapping for a line of the truth file."""
        return {
            "kind": self.kind.value,
            "ts_ms": round(self.ts_ms, 1),
            "user": self.user,
            "item": self.item,
            "offset": self.offset,
            **self.detail,
        }


@dataclass(frozen=True, slots=True)
class Check:
    """A look, `after_s` seconds after an acceptance, at what became of its `chars` characters."""

    document: Document
    user: str
    item: str
    exposure: int
    chars: int
    after_s: int

    def truth(self, now_ms: float) -> Truth:
        """What stands now; the offset of such an event is -1, it belongs to no place in the intent."""
        alive = self.document.alive(self.exposure)
        unchanged = alive == self.chars and self.document.unbroken(self.exposure)
        detail: dict[str, Detail] = {
            "exposure": self.exposure,
            "after_s": self.after_s,
            "chars": self.chars,
            "alive": alive,
            "unchanged": unchanged,
        }
        return Truth(TruthKind.PERSIST, now_ms, self.user, self.item, -1, detail)


@dataclass(slots=True)
class Tally:
    """Sums over one developer's work; the rows of every estimator (counts unless the name has a unit)."""

    user: str
    items: int = 0
    edits: int = 0
    """Changes of the document; one key or one acceptance each."""
    deletes: int = 0
    """Edits that only remove."""
    long_gaps: int = 0
    """Gaps of 2 s or more between two edits of a work item."""
    gaps: int = 0
    opportunities: int = 0
    requests: int = 0
    cancelled: int = 0
    answered: int = 0
    """Not cancelled, and the proposal has text."""
    silent: int = 0
    """Not cancelled, and the proposal is empty or blank."""
    shown: int = 0
    """Suggestions painted, however briefly."""
    shown_750: int = 0
    """Painted and (visible for 750 ms or accepted): the denominator of AR (section 3.6)."""
    shown_chars: int = 0
    """Characters of the suggestions that `shown_750` counts."""
    decided: int = 0
    """Visible for 250 ms, so the policy decided."""
    accepted: int = 0
    accepted_chars: int = 0
    typed_chars: int = 0
    """Keys that put text into the document; automatic indentation excluded, Tab and Enter count one."""
    retained_chars: int = 0
    """Accepted characters alive when their work item was done."""
    virtual_s: float = 0.0
    """Virtual seconds from the first session's start to the end, breaks included."""
    active_s: float = 0.0
    """Virtual seconds of pauses below 15 minutes."""
    requests_by_situation: dict[str, int] = field(default_factory=dict)
