"""Editor plug-ins: when they ask, what they send, what they keep and report (sections 1.4, 3.3).

`default` is the production plug-in of the specification: a fixed debounce and a gate. The others follow the
public sources of real clients: Copilot 1.57, tabby-agent 1.5/1.9, Continue, llama.vim; which clients share
which habit is told at the fields of `Profile`. Every plug-in keeps its answer while the user types along it
(type-through cache) and aborts requests that a key made void, except llama.vim, which never aborts.
Not covered: retries of the same context (Tabby's manual trigger, minuet's triples), streaming, several
proposals per request, Copilot's contextual filter, of which only the rule against requests behind a
finished statement is kept [A].
"""

from dataclasses import dataclass
from enum import StrEnum

from echo_ray import text as texts
from echo_ray.errors import ConfigError
from simulator.config import SimulateConfig
from simulator.desk.document import Document
from simulator.desk.drafts import comment_mark


class Touch(StrEnum):
    """What the user did last; a debounce runs only after a touch."""

    TYPED = "typed"
    DELETED = "deleted"
    NAVIGATED = "navigated"


class Situation(StrEnum):
    """What the plug-in sees around the cursor when the debounce runs out."""

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
"""P(request | opportunity) of `default`, tuned by the specification to 250 to 280 requests per day."""

_TRIGGERS = frozenset("\n\t .,;:(){}[]<>+-*/=&|!?@'\"")
_CLOSERS = frozenset(")]}>'\"`;:,")
_FINISHED = frozenset(";})")


@dataclass(frozen=True, slots=True)
class Profile:
    """Habits of one plug-in."""

    name: str
    user_agent: str
    debounce_ms: float | None
    """Silence after a key before it asks; None: adaptive (Tabby)."""
    prefix_chars: int | None = None
    suffix_chars: int | None = None
    """Windows in characters, cut at line ends (Copilot, Continue; `default` takes them from the settings)."""
    prefix_lines: int | None = None
    suffix_lines: int | None = None
    """Windows in whole lines besides the cursor's (Tabby 20 + 20, llama.vim 256 + 64)."""
    gated: bool = False
    """Asks with the probabilities of `GATE` (`default` only)."""
    min_prompt_chars: int = 0
    """Asks with no shorter prefix (Copilot: 10)."""
    max_line_suffix_chars: int | None = None
    """Asks with no more than so many characters right of the cursor (llama.vim: 8)."""
    only_before_closers: bool = False
    """Within a line asks only before white space and closing characters (Copilot)."""
    not_after_statement: bool = False
    """Does not ask behind `;`, `)` or `}` (Copilot's contextual filter, reduced)."""
    min_proposal_chars: int = 1
    """Shows nothing shorter (Tabby: 4)."""
    many_lines: bool = False
    """Shows all lines of an answer anywhere; without, only at the start of an empty block, elsewhere the
    first line with text (Copilot, Continue `auto`)."""
    aborts: bool = True
    """A key aborts the request; without, one request at a time and a retry every 100 ms (llama.vim)."""
    speculates: bool = False
    """While a suggestion is on the screen, asks for what would follow it (llama.vim)."""
    reports_shown: bool = True
    reports_accepted: bool = True
    reports_dismissed: bool = True
    """Tells the service of lifecycle events (none: llama.vim; Continue does not tell what it shows)."""
    dismissed_after_ms: float | None = None
    """Reports what was not taken this long after display, and only then (Continue: 10 s)."""
    dismissed_min_ms: float = 0.0
    """Does not report a dismissal of what was visible for less (Continue: 500 ms)."""


_TOKENS = 4  # characters, for clients that count tokens
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("default", "echo-sim", 300.0, gated=True, min_prompt_chars=10),
        Profile(
            "copilot",
            "echo-sim copilot",
            75.0,
            prefix_chars=4_000,
            suffix_chars=1_000,
            min_prompt_chars=10,
            only_before_closers=True,
            not_after_statement=True,
        ),
        Profile(
            "tabby",
            "echo-sim tabby-agent",
            None,
            prefix_lines=20,
            suffix_lines=20,
            min_proposal_chars=4,
            many_lines=True,
        ),
        Profile(
            "continue",
            "echo-sim continue",
            350.0,
            prefix_chars=int(0.3 * 1024 * _TOKENS),
            suffix_chars=int(0.2 * 1024 * _TOKENS),
            reports_shown=False,
            dismissed_after_ms=10_000.0,
            dismissed_min_ms=500.0,
        ),
        Profile(
            "llama.vim",
            "echo-sim llama.vim",
            0.0,
            prefix_lines=256,
            suffix_lines=64,
            max_line_suffix_chars=8,
            many_lines=True,
            aborts=False,
            speculates=True,
            reports_shown=False,
            reports_accepted=False,
            reports_dismissed=False,
        ),
    )
}
"""All plug-ins by name."""


def check(names: list[str]) -> None:
    """Raise ConfigError for a plug-in that does not exist."""
    for name in names:
        if name not in PROFILES:
            raise ConfigError(f"simulate.clients: {name!r} is not one of {', '.join(PROFILES)}")


class Plugin:
    """The plug-in of one developer: a profile and what it has learned from the typing so far."""

    def __init__(self, profile: Profile, config: SimulateConfig) -> None:
        self.profile = profile
        self._gate = {where: min(1.0, share * config.gate_scale) for where, share in GATE.items()}
        self._debounce_ms = config.debounce_ms if profile.gated else profile.debounce_ms
        self._windows = (
            (config.prefix_chars, config.suffix_chars)
            if profile.gated
            else (profile.prefix_chars, profile.suffix_chars)
        )
        self._latency_ms = config.latency_median_ms
        self._interval_ms = 200.0  # tabby-agent's start value
        self._last_key_ms = 0.0

    def keyed(self, now_ms: float) -> None:
        """A key came; Tabby follows the mean of the intervals between 100 and 400 ms."""
        interval = now_ms - self._last_key_ms
        self._last_key_ms = now_ms
        if 100 <= interval <= 400:
            self._interval_ms += 0.1 * (interval - self._interval_ms)

    def delay_ms(self, document: Document) -> float:
        """Silence after the last touch before the plug-in asks."""
        if self._debounce_ms is not None:
            return self._debounce_ms
        # tabby-agent: 0.5 for a trigger character, 0.4 for an empty rest of the line, 0.1 for an empty rest.
        left, right = document.left, document.right
        score = 0.5 * (left[-1:] in _TRIGGERS) + 0.4 * (not right.split("\n", 1)[0].strip())
        score += 0.1 * (not right.strip())
        return min(max(self._interval_ms * (3.0 - 1.5 * score) - self._latency_ms, 100.0), 1000.0)

    def share(self, document: Document, where: Situation) -> float:
        """Probability that the plug-in asks at this opportunity; 0 and 1 for those that do not gamble."""
        profile = self.profile
        if document.cursor < profile.min_prompt_chars:
            return 0.0
        rest = document.text[document.cursor : document.cursor + 200].split("\n", 1)[0]
        if profile.max_line_suffix_chars is not None and len(rest) > profile.max_line_suffix_chars:
            return 0.0
        if profile.only_before_closers and rest.strip() and not set(rest.strip()) <= _CLOSERS:
            return 0.0
        if profile.not_after_statement and document.text[document.cursor - 1 : document.cursor] in _FINISHED:
            return 0.0
        return self._gate[where] if profile.gated else 1.0

    def shown(self, proposal: str, left: str) -> str:
        """What of an answer for the cursor behind `left` is painted; "" for nothing."""
        if not self.profile.many_lines and not _opens_block(left):
            body = proposal.lstrip()
            start = len(proposal) - len(body)
            proposal = proposal[:start] + body.split("\n", 1)[0]
        return proposal if len(proposal.strip()) >= self.profile.min_proposal_chars else ""

    def window(self, left: str, right: str) -> tuple[str, str]:
        """What of the text around the cursor is sent."""
        profile = self.profile
        if profile.prefix_lines is not None:
            left = _last_lines(left, profile.prefix_lines)
        if profile.suffix_lines is not None:
            right = _first_lines(right, profile.suffix_lines)
        most_left, most_right = self._windows
        if most_left is not None:
            left = texts.tail(left, most_left)
        if most_right is not None:
            right = texts.head(right, most_right)
        return left, right


def situation(document: Document, touch: Touch, language: str) -> Situation:
    """What the gate depends on. A comment marker inside a string counts as a comment, as in many plug-ins."""
    if touch is Touch.NAVIGATED:
        return Situation.AFTER_NAVIGATION
    if touch is Touch.DELETED:
        return Situation.AFTER_DELETE
    text, cursor = document.text, document.cursor
    line = text[text.rfind("\n", 0, cursor) + 1 : cursor]
    if comment_mark(language) in line:
        return Situation.COMMENT
    if not line.strip():
        return Situation.LINE_START
    if line[-1].isalnum() or line[-1] == "_":
        return Situation.MID_IDENTIFIER
    return Situation.BOUNDARY


def _opens_block(left: str) -> bool:
    """Whether the cursor is on a blank line below one that opens a block."""
    line = texts.current_line(left)
    return not line.strip() and left[: len(left) - len(line)].rstrip()[-1:] in (":", "{", "(", "[")


def _last_lines(text: str, lines: int) -> str:
    at = len(text)
    for _ in range(lines + 1):
        at = text.rfind("\n", 0, at)
        if at < 0:
            return text
    return text[at + 1 :]


def _first_lines(text: str, lines: int) -> str:
    at = -1
    for _ in range(lines + 1):
        at = text.find("\n", at + 1)
        if at < 0:
            return text
    return text[: at + 1]
