"""Acceptance policy P1, frozen (section 3.5): when a developer takes a suggestion, and how long that takes.

`logit P(accept) = B0 + taste + BM ln(1 + M) - BD ln(1 + D)`, fitted on 771 exposures of 21 programmers of
the CUPS telemetry [D]. D is the edit distance from the suggestion to the nearest cut of what the user
means to write, M the characters of the suggestion that survive. The fit is a reduced form: inattention is
already in it. It cannot see the arm, the teacher, the verifier or a perplexity, and has no setting.
`policy_hash` names this file and `distance.py`, so a report can prove that the policy did not move.

Modes (section 3.5 [A]): in acceleration (70%) the user judges a first glance, the first line up to 60
characters; in exploration the whole text, with B0 + 0.4 and M counted in characters of tokens that the
intent contains. Our choice: the glance starts at the first line that is not blank.
Not covered: P2 to P5, lenient users and their equivalence set E(I), partial acceptance, trust drift.
"""

import hashlib
import math
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from simulator import distance as distances

B0, BM, BD = -1.63, 1.43, 1.31
"""Coefficients [D]; user-bootstrap 95% intervals [-2.11,-1.25], [1.27,1.61], [1.13,1.45]."""
TASTE_SD = 0.44
"""Standard deviation of the user's own offset to the logit [D]."""
ROLE_OFFSET = 0.2
"""Juniors accept this much more easily, seniors less (logit) [A]."""
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

_TOKEN = re.compile(r"\w+|[^\w\s]")


class Mode(StrEnum):
    """How a developer reads suggestions (Barke 2023)."""

    ACCELERATION = "acceleration"
    EXPLORATION = "exploration"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision with everything that it rests on; truth only, never logged."""

    accept: bool
    p_accept: float
    u_draw: float
    chars: int
    """L: perceived length."""
    distance: int
    """D: edit distance to the nearest cut of the intent."""
    matched: int
    """M: surviving characters."""
    mode: Mode


def mode(draw: float) -> Mode:
    """The mode that a uniform draw stands for. Our choice: one draw per work item, a mode is a mood."""
    return Mode.ACCELERATION if draw < ACCELERATION_SHARE else Mode.EXPLORATION


def distance(suggestion: str, intent: str) -> int:
    """D: least Levenshtein distance from `suggestion` to a cut of `intent` of at most 1.25 L + 4 characters.

    White space at line ends and at the very end is taken off both texts before the intent is cut.
    """
    source = distances.normal(suggestion)
    limit = distances.horizon(len(source))
    # Normalising can only shorten, so twice the horizon is enough to normalise; no cut sees beyond it.
    text = distances.normal(intent[: 2 * limit + 200])[:limit]
    return min(distances.cut_distances(source, text))


def probability(matched: int, edits: int, offset: float) -> float:
    """P(accept) of P1 for M, D, and the sum of the offsets to the logit."""
    logit = B0 + offset + BM * math.log1p(matched) - BD * math.log1p(edits)
    return 1.0 / (1.0 + math.exp(-logit))


def decide(suggestion: str, intent: str, taste: float, reading: Mode, u_draw: float) -> Verdict:
    """The decision on a suggestion that was visible long enough; `taste` is the user's offset."""
    seen = glance(suggestion) if reading is Mode.ACCELERATION else distances.normal(suggestion)
    edits = distance(seen, intent)
    offset = taste
    if reading is Mode.ACCELERATION:
        matched = len(seen) - edits
    else:
        ahead = set(_TOKEN.findall(intent[: distances.horizon(len(seen))]))
        matched = sum(len(token) for token in _TOKEN.findall(seen) if token in ahead)
        offset += EXPLORATION_OFFSET
    p_accept = probability(matched, edits, offset)
    return Verdict(u_draw < p_accept, p_accept, u_draw, len(seen), edits, matched, reading)


def glance(suggestion: str) -> str:
    """What acceleration mode perceives: up to the end of the first line with text, 60 characters of it."""
    body = suggestion.lstrip()
    start = len(suggestion) - len(body)
    return distances.normal(suggestion[:start] + body.split("\n", 1)[0][:GLANCE_CHARS])


def accept_s(chars: int, normal: float) -> float:
    """Seconds from display to acceptance of `chars` characters, for a standard normal draw."""
    seconds = math.exp(ACCEPT_LN_BASE + ACCEPT_LN_SLOPE * math.log(max(chars, 1)) + ACCEPT_SD * normal)
    return max(seconds, MIN_VISIBLE_MS / 1000)


def reject_s(normal: float) -> float:
    """Seconds from display to rejection, for a standard normal draw."""
    return max(math.exp(REJECT_LN_MEAN + REJECT_SD * normal), MIN_VISIBLE_MS / 1000)


def policy_hash() -> str:
    """Hash of the source of the policy, constants included."""
    hasher = hashlib.blake2b(digest_size=8)
    for path in (Path(__file__), Path(distances.__file__)):
        hasher.update(path.read_bytes())
    return hasher.hexdigest()
