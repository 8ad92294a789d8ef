"""When a developer takes a suggestion, and how long that takes: the interface of all rules, and P1.

P1 (section 3.5): `logit P(accept) = B0 + BM ln(1 + M) - BD ln(1 + D) + reader`, fitted on 771 exposures of
21 programmers of the CUPS telemetry [D]. D is the edit distance from the suggestion to the nearest cut of
what the user means to write, M the characters of the suggestion that survive. The fit is a reduced form:
inattention is already in it. No rule can see the arm, the teacher, the verifier or a perplexity, and the
only number that may be set is one intercept shift of at most 1, by calibration on the first model.
`policies` has P2 to P5, `policy_file` the frozen files.

Modes (section 3.5 [A]): in acceleration (70%) the user judges a first glance, the first line up to 60
characters; in exploration the whole text, with B0 + 0.4 and M counted in characters of tokens that the
intent contains. Our choice: the glance starts at the first line that is not blank.
Lenient readers hand in equivalent intents too; D is the least over all of them, and equal distances go to
the intent itself. Not covered: partial acceptance (the desk takes it), deferring.
"""

import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

from simulator.rules import distance as distances

TASTE_SD = 0.44
"""Standard deviation of the user's own offset to the logit [D]."""
MIN_VISIBLE_MS = 250.0
"""A suggestion seen for less is typed over without a decision (section 3.5)."""
ACCELERATION_SHARE = 0.7
"""Share of work written in acceleration mode [A]."""
GLANCE_CHARS = 60
"""Characters of the first line that a glance takes in [A]."""
EXPLORATION_OFFSET = 0.4
"""Added to B0 in exploration mode [A]."""
ACCEPT_LN_BASE, ACCEPT_LN_SLOPE, ACCEPT_SD = -0.50, 0.433, 0.96
"""`ln seconds = base + slope ln L + N(0, sd)` from display to acceptance [D]."""
REJECT_LN_MEAN, REJECT_SD = 1.18, 1.40
"""Seconds from display to rejection, lognormal, whatever the length [D]."""
RULE_FILES = (
    *("policy.py", "policies.py", "distance.py", "equivalence.py", "equivalence_names.py"),
    "../work/style_names.py",
)
"""Sources that decide; `policy_hash` covers them."""

_TOKEN = re.compile(r"\w+|[^\w\s]")
_EXP_LIMIT = 700.0  # math.exp overflows a little above


class State(StrEnum):
    """What the developer was doing when the suggestion appeared (names of CUPS)."""

    WRITE = "write"
    PLAN = "plan"
    PROMPT = "prompt"
    FIX = "fix"
    EDIT_OWN = "edit_own"
    RUN = "run"
    LOOKUP = "lookup"
    DOC = "doc"
    NAV = "nav"
    DELETE = "delete"
    PASTE = "paste"


class Mode(StrEnum):
    """How a developer reads suggestions (Barke 2023)."""

    ACCELERATION = "acceleration"
    EXPLORATION = "exploration"


@dataclass(frozen=True, slots=True)
class Exposure:
    """One suggestion on the screen, all that a rule may know of it."""

    suggestion: str
    intent: str
    """What is still to be written at the cursor."""
    intents: tuple[str, ...]
    """Further texts that mean the same; empty unless the reader is lenient."""
    before: str
    """End of the text before the cursor."""
    language: str
    state: State
    mode: Mode
    pause_ms: float
    """How long the developer would pause here anyway (virtual milliseconds)."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads it."""

    taste: float
    """Standard normal; scaled by `TASTE_SD`."""
    role: float
    """Offset of the role to the logit."""
    drift: float
    """Offset of earned or lost trust to the logit; 0 unless trust drifts."""

    @property
    def offset(self) -> float:
        """Sum of the reader's offsets to the logit."""
        return TASTE_SD * self.taste + self.role + self.drift


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision with everything that it rests on; truth only, never logged.

    `accept` is `u_draw < p_accept` under every rule.
    """

    accept: bool
    p_accept: float
    """Under P2: given whether the reader attended."""
    u_draw: float
    chars: int
    """L: perceived length."""
    distance: int
    """D: edit distance to the nearest cut of an intent."""
    matched: int
    """M: surviving characters."""
    mode: Mode
    attended: bool
    """Whether the reader looked. Rules without a notion of attention (all but P2) say true."""
    nearest: int
    """The intent that D is measured against: -1 for the intent itself, else an index into `intents`."""


class Policy(Protocol):
    """An acceptance rule: frozen, picklable, the same verdict for the same arguments."""

    @property
    def name(self) -> str:
        """Which rule, e.g. `p1`."""

    @property
    def shift(self) -> float:
        """Calibrated shift of the intercept (logit); 0 for the published rule."""

    @property
    def hash(self) -> str:
        """Of the sources of the rules, the name and the shift."""

    def decide(self, exposure: Exposure, reader: Reader, u_draw: float, attend_draw: float) -> Verdict:
        """The verdict on a suggestion that was visible long enough; both draws are uniform in [0, 1)."""


class Reading(NamedTuple):
    """What a reader makes of a suggestion."""

    seen: str
    """The perceived text."""
    distance: int
    matched: int
    nearest: int

    def verdict(
        self, exposure: Exposure, p_accept: float, u_draw: float, *, attended: bool = True
    ) -> Verdict:
        """The decision when this reading is worth `p_accept`."""
        return Verdict(
            accept=u_draw < p_accept,
            p_accept=p_accept,
            u_draw=u_draw,
            chars=len(self.seen),
            distance=self.distance,
            matched=self.matched,
            mode=exposure.mode,
            attended=attended,
            nearest=self.nearest,
        )


@dataclass(frozen=True, slots=True)
class Curve:
    """Coefficients of the fitted curve."""

    b0: float
    bm: float
    bd: float

    def logit(self, reading: Reading, exposure: Exposure, offset: float) -> float:
        """Logit of P(accept); `offset` sums up shift and reader."""
        return self.at(reading.matched, reading.distance, offset + mode_offset(exposure.mode))

    def at(self, matched: int, edits: int, offset: float = 0.0) -> float:
        """Logit of P(accept) for M, D and the sum of all offsets."""
        return self.b0 + offset + self.bm * math.log1p(matched) - self.bd * math.log1p(edits)


FITTED = Curve(-1.63, 1.43, 1.31)
"""The fit [D]; user-bootstrap 95% intervals [-2.11,-1.25], [1.27,1.61], [1.13,1.45]."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What all rules have; a subclass gives the name and `decide`."""

    shift: float = 0.0
    name: str = ""

    @property
    def hash(self) -> str:
        """Of the sources of the rules, the name and the shift."""
        return identity(self.name, self.shift)


@dataclass(frozen=True, slots=True)
class P1(Rule):
    """The frozen curve, or a variant of it with other coefficients under another name."""

    name: str = "p1"
    curve: Curve = FITTED

    def decide(self, exposure: Exposure, reader: Reader, u_draw: float, attend_draw: float) -> Verdict:
        """By the curve; `attend_draw` plays no part, for inattention is in the fit."""
        reading = read(exposure)
        p_accept = chance(self.curve.logit(reading, exposure, self.shift + reader.offset))
        return reading.verdict(exposure, p_accept, u_draw)


def load(name_or_path: str) -> Policy:
    """The rule of a name (`policies.named`), or of a JSON file that calibration wrote.

    Raises ConfigError that names simulate.policy.
    """
    from simulator.rules import (
        policy_file,  # here, because the files hold rules that are built on this module
    )

    return policy_file.load(name_or_path)


def mode(draw: float) -> Mode:
    """The mode that a uniform draw stands for. Our choice: one draw per work item, a mode is a mood."""
    return Mode.ACCELERATION if draw < ACCELERATION_SHARE else Mode.EXPLORATION


def mode_offset(reading: Mode) -> float:
    """What the mode adds to the logit."""
    return EXPLORATION_OFFSET if reading is Mode.EXPLORATION else 0.0


def read(exposure: Exposure) -> Reading:
    """L, D, M and the nearest intent, as the exposure's mode perceives the suggestion."""
    glancing = exposure.mode is Mode.ACCELERATION
    seen = glance(exposure.suggestion) if glancing else distances.normal(exposure.suggestion)
    edits, nearest = nearest_intent(seen, exposure)
    if glancing:
        return Reading(seen, edits, len(seen) - edits, nearest)
    intent = exposure.intent if nearest < 0 else exposure.intents[nearest]
    ahead = set(_TOKEN.findall(intent[: distances.horizon(len(seen))]))
    matched = sum(len(token) for token in _TOKEN.findall(seen) if token in ahead)
    return Reading(seen, edits, matched, nearest)


def nearest_intent(seen: str, exposure: Exposure) -> tuple[int, int]:
    """(D, which intent) with the least D; the intent itself, then the first, when several tie."""
    intents = (exposure.intent, *exposure.intents)
    edits, index = min((distance(seen, intent), index) for index, intent in enumerate(intents))
    return edits, index - 1


def distance(suggestion: str, intent: str) -> int:
    """D: least Levenshtein distance from `suggestion` to a cut of `intent` of at most 1.25 L + 4 characters.

    White space at line ends and at the very end is taken off both texts before the intent is cut.
    """
    source = distances.normal(suggestion)
    limit = distances.horizon(len(source))
    # Normalising can only shorten, so twice the horizon is enough to normalise; no cut sees beyond it.
    text = distances.normal(intent[: 2 * limit + 200])[:limit]
    return min(distances.cut_distances(source, text))


def glance(suggestion: str) -> str:
    """What acceleration mode perceives: up to the end of the first line with text, 60 characters of it."""
    body = suggestion.lstrip()
    start = len(suggestion) - len(body)
    return distances.normal(suggestion[:start] + body.split("\n", 1)[0][:GLANCE_CHARS])


def chance(logit: float) -> float:
    """The probability with this logit."""
    return 1.0 / (1.0 + math.exp(min(-logit, _EXP_LIMIT)))


def accept_s(chars: int, normal: float) -> float:
    """Seconds from display to acceptance of `chars` characters, for a standard normal draw."""
    seconds = math.exp(ACCEPT_LN_BASE + ACCEPT_LN_SLOPE * math.log(max(chars, 1)) + ACCEPT_SD * normal)
    return max(seconds, MIN_VISIBLE_MS / 1000)


def reject_s(normal: float) -> float:
    """Seconds from display to rejection, for a standard normal draw."""
    return max(math.exp(REJECT_LN_MEAN + REJECT_SD * normal), MIN_VISIBLE_MS / 1000)


@cache
def policy_hash() -> str:
    """Hash of the sources of all rules, constants included: a report can prove that they did not move.

    It is read once, as the rules themselves are. Comments count: a rule whose file changed is calibrated
    again.
    """
    folder = Path(__file__).parent
    return _digest((folder / name).read_bytes().replace(b"\r\n", b"\n") for name in RULE_FILES)


def identity(name: str, shift: float) -> str:
    """Hash of a rule: the sources of all rules, its name and its shift."""
    return _digest(part.encode() for part in (policy_hash(), name, float(shift).hex()))


def _digest(parts: Iterable[bytes]) -> str:
    hasher = hashlib.blake2b(digest_size=8)
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.hexdigest()
