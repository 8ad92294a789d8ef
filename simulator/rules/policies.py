"""Acceptance rules beside P1 (section 3.5), and variants of P1's coefficients (section 4, rules 7 and 8).

P2 splits P1 into looking and judging, P3 weighs seconds saved against seconds spent, P4 takes what is
exactly right, P5 judges by look alone. P2 and P3 check that a claim does not hang on P1's form; P4 and P5
are sensitivity only. All of them report L, D and M of the same reading, whatever they decide by.
Not covered: a language model as judge (P5 is a small fixed formula, so it cannot share the teacher's taste).
"""

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from echo_ray.errors import ConfigError
from simulator.draws import Draws
from simulator.rules import distance as distances
from simulator.rules.policy import (
    FITTED,
    P1,
    Curve,
    Exposure,
    Policy,
    Reader,
    Reading,
    Rule,
    State,
    Verdict,
    chance,
    mode_offset,
    nearest_intent,
    read,
)

ATTEND_SHARE = 0.31
"""Exposures that are decided while the developer verifies or defers [D]."""
ATTENDED_OFFSET, UNATTENDED_OFFSET = 2.3, -1.7
"""Logits of P2 against the curve, looking and not looking [D]."""
STATE_OFFSETS = {
    State.WRITE: -2.5,
    State.DELETE: -2.5,
    State.PASTE: -2.5,
    State.PLAN: -1.95,
    State.NAV: -1.95,
    State.EDIT_OWN: -1.6,
    State.FIX: -1.6,
    State.PROMPT: -1.1,
    State.DOC: -1.1,
    State.LOOKUP: -1.1,
    State.RUN: -0.8,
}
"""Logits of section 1.2 by state [D], on our states [A]: `write` also for other work with busy hands
(delete, paste), `think` for plan and navigation, the middle of `edit` for edit_own and fix, `prompt-craft`
for prompt and doc, `wait` for lookup, `debug` for run. A state far below the mean of those who do not look
is one in which few will turn to the suggestion."""
ATTEND_CENTRE = -0.358
"""Logit of looking for a state at that mean and the reference pause: with it 31% look, over the states of
`REFERENCE_MIX` and pauses of lognormal median 2.6 s and log sd 1.55, near those of the simulator."""
PAUSE_SLOPE, REFERENCE_PAUSE_S = 0.5, 2.6
"""Long pauses look more: added to the logit of looking per unit of ln(pause / reference) [A]."""
PAUSE_RANGE_S = (0.25, 60.0)
"""Shorter and longer pauses count as these."""
REFERENCE_MIX = {
    State.WRITE: 0.78,
    State.EDIT_OWN: 0.14,
    State.DOC: 0.03,
    State.PROMPT: 0.02,
    State.PLAN: 0.01,
    State.FIX: 0.01,
    State.RUN: 0.01,
}
"""States in which suggestions appear, near those of the simulator; only for `ATTEND_CENTRE` [A]."""

KAPPA_S = 0.28
"""Seconds that a surviving character saves (section 3.5)."""
KAPPA_SD = 0.30
"""Spread of that between users, as of typing speeds (log); slow typists like suggestions [A]."""
EDIT_START_S, EDIT_FACTOR = 1.0, 1.5
"""Seconds before any repair, and the price of a repaired character in typed ones (section 3.5)."""
NOISE_S = 3.75
"""Scale of the logistic noise of P3 (seconds). Our choice: nearest, by least squares and to a quarter of a
second, to the shares accepted by D/L of section 1.2 at lengths of 15, 27 and 55 characters."""

STRICT_CHARS = 3
"""P4 takes no shorter suggestion (characters; section 3.5)."""

LENGTH_RATES = ((5, 0.12), (10, 0.28), (40, 0.38), (80, 0.29), (160, 0.50), (math.inf, 0.69))
"""Shares accepted by length: below so many characters (section 1.2) [D]."""
MEAN_RATE = 0.336
"""Accepted of shown in CUPS [D]."""
ALIKE_BASE, ALIKE_SLOPE = -3.5, 5.4
"""P5's logit for a look that has nothing of the intent, and what a perfect one adds: shares accepted of
.03 and .87, those of the ends of the table by D/L in section 1.2."""

DRIFT_RATE, DRIFT_LIMIT = 0.05, 1.0
"""Trust moves by the rate times the surprise, within the limit (logit; section 3.5)."""

COVARIANCE = ((0.0523, -0.0100, 0.0074), (-0.0100, 0.0078, 0.0036), (0.0074, 0.0036, 0.0069))
"""Bootstrap covariance of (B0, BM, BD) (section 4, rule 7). The section gives it for the coefficient of
ln(1 + D) itself, which is -BD, as its interval [-1.45,-1.13] shows; hence the signs of the last row here."""
SHRINKAGE = 0.7
"""Factor on BM and BD of the variant that distrusts the fit (section 4, rule 8)."""

_TOKEN = re.compile(r"\w+|[^\w\s]")
_DRAW = re.compile(r"p1-draw-(\d{1,9})-(\d{1,9})")


@dataclass(frozen=True, slots=True)
class P2(Rule):
    """Structural: a developer looks or does not, and then judges with a raised or lowered curve.

    The section's numbers alone do not give P1's marginal: the mixture is flatter than the curve and differs
    by up to .21 in P(accept). Our choice: the gap of 4.0 between looking and not looking stays, and the
    curve below both is the one whose mixture at 31% is exactly P1, for every M, D and reader.
    """

    name: str = "p2"

    def decide(self, exposure: Exposure, reader: Reader, u_draw: float, attend_draw: float) -> Verdict:
        """Look with the chance of the state and the pause, then judge."""
        reading = read(exposure)
        base = unmixed(FITTED.logit(reading, exposure, self.shift + reader.offset))
        attended = attend_draw < attention(exposure.state, exposure.pause_ms)
        p_accept = chance(base + (ATTENDED_OFFSET if attended else UNATTENDED_OFFSET))
        return reading.verdict(exposure, p_accept, u_draw, attended=attended)


@dataclass(frozen=True, slots=True)
class P3(Rule):
    """Cost and benefit: taken when the seconds saved, plus noise, exceed those for reading and repair.

    The reader's role and drift, the mode and the shift move the logit, as in P1; taste moves the seconds
    per character. Fits CUPS worse than P1 (log-loss .388 against .346).
    """

    name: str = "p3"

    def decide(self, exposure: Exposure, reader: Reader, u_draw: float, attend_draw: float) -> Verdict:
        """By the seconds that it would save; `attend_draw` plays no part."""
        reading = read(exposure)
        kappa_s = KAPPA_S * math.exp(KAPPA_SD * reader.taste)
        gain_s = saved_s(len(reading.seen), reading.matched, reading.distance, kappa_s)
        offset = self.shift + reader.role + reader.drift + mode_offset(exposure.mode)
        return reading.verdict(exposure, chance(gain_s / NOISE_S + offset), u_draw)


@dataclass(frozen=True, slots=True)
class P4(Rule):
    """Strict: taken when the whole suggestion is the beginning of the intent, from 3 characters on.

    It always reads everything, knows no reader, and has no intercept that could be shifted.
    """

    name: str = "p4"

    def __post_init__(self) -> None:
        if self.shift:
            raise ConfigError(f"simulate.policy p4 has no intercept to shift, got a shift of {self.shift:g}")

    def decide(self, exposure: Exposure, reader: Reader, u_draw: float, attend_draw: float) -> Verdict:
        """Certain either way: `p_accept` is 0 or 1."""
        seen = distances.normal(exposure.suggestion)
        edits, nearest = nearest_intent(seen, exposure)
        right = edits == 0 and len(seen) >= STRICT_CHARS
        reading = Reading(seen, edits, len(seen) - edits, nearest)
        return reading.verdict(exposure, float(right), u_draw)


@dataclass(frozen=True, slots=True)
class P5(Rule):
    """Judge: by length, and by how much each line looks like a line of the intent; D and M play no part.

    Deaf to the order of tokens, so it falls for text that P1 sees through. Sensitivity only.
    """

    name: str = "p5"

    def decide(self, exposure: Exposure, reader: Reader, u_draw: float, attend_draw: float) -> Verdict:
        """By the look of what is seen; the best of several intents counts."""
        reading = read(exposure)
        look = max(alike(reading.seen, intent) for intent in (exposure.intent, *exposure.intents))
        rate = next(rate for below, rate in LENGTH_RATES if len(reading.seen) < below)
        offset = self.shift + reader.offset + mode_offset(exposure.mode)
        logit = ALIKE_BASE + ALIKE_SLOPE * look + _logit(rate) - _logit(MEAN_RATE) + offset
        return reading.verdict(exposure, chance(logit), u_draw)


_RULES: dict[str, Callable[[float], Policy]] = {"p1": P1, "p2": P2, "p3": P3, "p4": P4, "p5": P5}


def named(name: str, shift: float = 0.0) -> Policy:
    """The rule `name` with its intercept shifted by `shift` (logit, at most 1 either way).

    Names: `p1` to `p5`, `p1-shrunken`, and `p1-draw-SEED-NUMBER`, a draw of `posterior`.
    Raises ConfigError for another name or a larger shift.
    """
    if not abs(shift) <= 1.0:
        raise ConfigError(f"simulate.policy: the shift of {name} must be between -1 and 1, got {shift:g}")
    if name in _RULES:
        return _RULES[name](shift)
    if name == "p1-shrunken":
        return P1(shift, name, Curve(FITTED.b0, SHRINKAGE * FITTED.bm, SHRINKAGE * FITTED.bd))
    if match := _DRAW.fullmatch(name):
        seed, number = int(match[1]), int(match[2])
        return P1(shift, f"p1-draw-{seed}-{number}", _drawn(seed, number))
    known = ", ".join([*_RULES, "p1-shrunken", "p1-draw-SEED-NUMBER"])
    raise ConfigError(
        f"simulate.policy must be one of {known}, or a .json file of calibrate; got {name!r:.80}"
    )


def posterior(n: int, seed: int) -> list[Policy]:
    """`n` variants of P1 with coefficients drawn around the fit (section 4, rule 7: at least 200).

    The draw of one number does not depend on `n`.
    """
    return [named(f"p1-draw-{seed}-{number}") for number in range(n)]


def drifted(drift: float, accepted: bool, p_accept: float) -> float:
    """Trust after a decision: up after an acceptance that was unlikely, down after such a rejection.

    Our choice: the surprise is measured against the rule's own probability, so trust has no trend of its
    own. Section 3.5 keeps it out of primary results, because it amplifies any effect.
    """
    moved = drift + DRIFT_RATE * (accepted - p_accept)
    return min(max(moved, -DRIFT_LIMIT), DRIFT_LIMIT)


def attention(state: State, pause_ms: float) -> float:
    """P2's chance that a developer in `state` looks at a suggestion, pausing `pause_ms` anyway."""
    pause_s = min(max(pause_ms / 1000, PAUSE_RANGE_S[0]), PAUSE_RANGE_S[1])
    readiness = STATE_OFFSETS[state] - UNATTENDED_OFFSET
    return chance(ATTEND_CENTRE + readiness + PAUSE_SLOPE * math.log(pause_s / REFERENCE_PAUSE_S))


def unmixed(logit: float) -> float:
    """The logit whose P2 mixture, 31% raised and the others lowered, has the probability of `logit`.

    With z = e^result, a raised and b lowered odds factors and s the share that looks, the condition
    `s az/(1+az) + (1-s) bz/(1+bz) = p` is a quadratic in z with one positive root.
    """
    odds = math.exp(min(max(logit, -700.0), 700.0))  # p = odds / (1 + odds); scaled by 1 + odds below
    raised, lowered = math.exp(ATTENDED_OFFSET), math.exp(UNATTENDED_OFFSET)
    square = raised * lowered
    linear = (1 + odds) * (ATTEND_SHARE * raised + (1 - ATTEND_SHARE) * lowered) - odds * (raised + lowered)
    # The form of the root that adds numbers of one sign loses no digits.
    root = math.hypot(linear, 2 * math.sqrt(square * odds))
    z = 2 * odds / (root + linear) if linear >= 0 else (root - linear) / (2 * square)
    return math.log(z)


def saved_s(chars: int, matched: int, edits: int, kappa_s: float) -> float:
    """Seconds that P3 expects to save: M typed characters less the reading of L and the repair of D."""
    reading_s = math.exp(-0.50) * math.pow(chars, 0.433)
    repair_s = (EDIT_START_S if edits else 0.0) + EDIT_FACTOR * kappa_s * edits
    return kappa_s * matched - reading_s - repair_s


def alike(seen: str, intent: str) -> float:
    """Share from 0 to 1 of the tokens of `seen` that stand in its lines' best counterparts.

    Counterparts are the lines of the intent, as many as `seen` has and one more; a token counts as often as
    it stands there.
    """
    lines, ahead = _token_lines(seen), _token_lines(intent)
    shared = [
        max(((tokens & other).total() for other in ahead[: len(lines) + 1]), default=0) for tokens in lines
    ]
    return sum(shared) / max(sum(tokens.total() for tokens in lines), 1)


def _token_lines(text: str) -> list[Counter[str]]:
    return [tokens for line in text.split("\n") if (tokens := Counter(_TOKEN.findall(line)))]


def _drawn(seed: int, number: int) -> Curve:
    draws = Draws(seed, "policy posterior")
    normals = [draws.normal("coefficients", at=number, occurrence=axis) for axis in range(3)]
    b0, bm, bd = (
        sum(part * normal for part, normal in zip(row, normals, strict=True)) for row in _cholesky()
    )
    return Curve(FITTED.b0 + b0, FITTED.bm + bm, FITTED.bd + bd)


def _cholesky() -> list[list[float]]:
    """Lower triangle whose product with its transpose is `COVARIANCE`."""
    size = len(COVARIANCE)
    low = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            left = COVARIANCE[i][j] - sum(low[i][k] * low[j][k] for k in range(j))
            low[i][j] = math.sqrt(left) if i == j else left / low[j][j]
    return low


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
