"""What only the simulator knows: truth events and the tally of one developer (section 3.4).

Truth goes to files of its own that no stage can open; nothing here is part of a request. `request_id` of a
`request` event finds the request in the experience log.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class TruthKind(StrEnum):
    """Kinds of truth events."""

    SESSION_START = "session_start"
    """`session`, `day`."""
    FILE_SWITCH = "file_switch"
    """A document is opened: `file`, `repository`, `language`, `chars` of its text. Edits from here on are
    edits of it."""
    ITEM_START = "item_start"
    """A work item begins: `item_kind`, `removes`, `writes` (characters)."""
    STATE = "state"
    """The developer enters `state` (section 3.3)."""
    NAV = "nav"
    """The cursor jumps to `cursor`, from `origin`."""
    EDIT = "edit"
    """One change of the document: `at`, `removed`, `inserted`, `by` (see `By`). They replay to the text."""
    OPPORTUNITY = "opportunity"
    """The debounce ran out: `situation`, `gate_share`, `gate_draw`. `place` (the item, or a detour within
    it), `left` and `occurrence` name the draws of what follows."""
    REQUEST = "request"
    """A request was sent: `request_id`, `request_ts_ms` as sent, `request_kind`, `cursor`, `cancelled`,
    `latency_ms`, `judging` (false while something wrong stands: then the document is not on the way to
    `intent`), and `intent`, what is still to be written at the cursor."""
    RESPONSE = "response"
    """An answer came in time: `request_id`, `chars` (0: silence)."""
    SHOWN = "shown"
    """`exposure`, `request_id` whose answer it is, `proposal`."""
    DECISION = "decision"
    """The user judged a suggestion: `exposure`, `accept`, `p_accept`, `u_draw`, `chars` L, `distance` D,
    `matched` M, `mode`, `attended`, `partial`, `decision_s` (seconds from display to decision); `place`,
    `asked_left` and `occurrence` of the opportunity on which its draws hang."""
    ACCEPTED = "accepted"
    """`exposure`, `request_id`, `chars` taken, `lines`, `partial`."""
    EXPOSURE_END = "exposure_end"
    """`exposure`, `how` (see `How`), `visible_ms`, `counted` (enters AR), `decided`, `chars`, `lines`."""
    PERSIST = "persist"
    """`after_s` seconds after an acceptance: `exposure`, `chars`, `alive` of them, `unchanged`, `distance`
    (edit distance between the text that was taken and what stands in its place)."""
    RUN = "run"
    """The developer ran or tested something, for `seconds`."""
    COMMIT = "commit"
    """A work item is done; the document equals its intended text, but for `kept` variants."""


class By(StrEnum):
    """Who or what changed the document."""

    KEY = "key"
    SLIP = "slip"
    """A key that went wrong, or text that is taken back."""
    DELETE = "delete"
    DEDENT = "dedent"
    ACCEPT = "accept"
    FIX = "fix"
    """Repair of accepted text."""
    REVISE = "revise"
    """Own text written differently, later."""
    PASTE = "paste"
    UNDO = "undo"


class How(StrEnum):
    """How a suggestion left the screen."""

    ACCEPTED = "accepted"
    PARTIAL = "partial"
    DISMISSED = "dismissed"
    TYPED_OVER = "typed_over"
    TYPED_THROUGH = "typed_through"
    NAV_AWAY = "nav_away"
    EXPIRED = "expired"


COUNTED_MS = 750.0
"""Visible for this long, or accepted: the exposure counts for AR (section 3.6)."""

Detail = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Truth:
    """One truth event; `item` and `left` (characters of it still to be written; -1: nowhere) say where."""

    kind: TruthKind
    ts_ms: float
    user: str
    item: str
    left: int
    detail: dict[str, Detail]

    def row(self) -> dict[str, Detail]:
        """Flat mapping for a line of the truth file."""
        return {
            "kind": self.kind.value,
            "ts_ms": round(self.ts_ms, 1),
            "user": self.user,
            "item": self.item,
            "left": self.left,
            **self.detail,
        }


@dataclass(slots=True)
class Tally:
    """Sums over one developer's work; the rows of every estimator (counts unless the name has a unit)."""

    user: str
    client: str = "default"
    days: int = 0
    sessions: int = 0
    items: int = 0
    edits: int = 0
    """Changes of the document; one key or one acceptance each."""
    keys: int = 0
    """Keys pressed: one for every edit, acceptances and pastes included, and for every bracket gone past."""
    deletes: int = 0
    """Edits that only remove."""
    jumps: int = 0
    """Edits that do not begin where the one before ended."""
    pastes: int = 0
    undos: int = 0
    gaps: int = 0
    """Pauses between two edits."""
    gaps_2s: int = 0
    gaps_15s: int = 0
    gaps_180s: int = 0
    opportunities: int = 0
    requests: int = 0
    """Sent for a suggestion, cancelled ones included; without speculative ones."""
    speculative: int = 0
    cancelled: int = 0
    failed: int = 0
    """Not cancelled and never answered."""
    answered: int = 0
    """Not cancelled, and the proposal has text."""
    silent: int = 0
    """Not cancelled, and the proposal is empty or blank."""
    leaks: int = 0
    """Of `answered`: with a special token of a model that the context does not hold."""
    voids: int = 0
    """Of `answered` and `silent`: asked where nothing was left to be written, so that silence was right. Not
    counted while something wrong stands, for then nobody knows what is left."""
    silent_voids: int = 0
    """Of `voids`: `silent`."""
    shown: int = 0
    """Suggestions painted, however briefly."""
    shown_250: int = 0
    """Painted and (visible for 250 ms or accepted)."""
    shown_750: int = 0
    """Painted and (visible for 750 ms or accepted): the denominator of AR (section 3.6)."""
    shown_chars: int = 0
    """Characters of the suggestions that `shown_750` counts."""
    shown_by_length: dict[str, int] = field(default_factory=dict)
    """`shown_750` by length (`echo_ray.experiment.lengths`)."""
    accepted_by_length: dict[str, int] = field(default_factory=dict)
    """`accepted` likewise."""
    multiline: int = 0
    """Suggestions of `shown_750` with more than one line."""
    decided: int = 0
    """Visible for 250 ms, so the policy decided."""
    accepted: int = 0
    """Whole suggestions taken: the numerator of AR."""
    partial: int = 0
    """Suggestions of which only the beginning was taken."""
    accepted_chars: int = 0
    """Characters that suggestions put into the document, partial ones included."""
    multiline_chars: int = 0
    """`accepted_chars` of suggestions with more than one line."""
    typed_chars: int = 0
    """Keys that put text into the document; Tab and Enter count one."""
    auto_chars: int = 0
    """Characters that the editor put: indentation, closing brackets."""
    pasted_chars: int = 0
    removed_chars: int = 0
    """Characters removed, whoever put them."""
    retained_chars: int = 0
    """Accepted characters alive when their work item was done."""
    fix_s: float = 0.0
    """Virtual seconds spent on repairs of accepted text."""
    read_s: float = 0.0
    """Virtual seconds during which the developer waited or looked at a suggestion instead of typing."""
    virtual_s: float = 0.0
    """Virtual seconds from the first session's start to the end, breaks included."""
    active_s: float = 0.0
    """Virtual seconds of pauses below 15 minutes."""
    requests_by_situation: dict[str, int] = field(default_factory=dict)
