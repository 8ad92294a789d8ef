"""Calibration of one number: the intercept shift with which a baseline's AR meets its target (section 3.7).

The shift is set on the first model alone and at most 1 in size; GR is recorded, never fitted: it is a
prediction. A run is a closed loop (what is accepted changes what is written next), so the shift is found by
running, from a first guess that reweights the decisions of the unshifted run. Pure: the runs come from the
caller. Not covered: noise of the runs; with common random numbers two runs at one shift are the same run.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from simulator.rules.policy import chance
from simulator.truth import COUNTED_MS, TruthKind

_RATE_FLOOR = 1e-6  # the logit of a rate needs room on both sides
_SPAN = 8.0
_BISECTIONS = 60
_MARGIN = 0.05  # of the bracket: a secant that lands nearer to its ends is replaced by the middle


@dataclass(frozen=True, slots=True)
class Decision:
    """One exposure of the unshifted run."""

    logit: float
    """Of P(accept) at shift 0; minus infinity for a suggestion that was shown but never judged."""
    counted: bool
    """Whether it enters AR's denominator even when it is not accepted (visible for 750 ms)."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What one closed-loop run shows."""

    acceptance_rate: float
    generation_rate: float
    requests_per_day: float
    decisions: Sequence[Decision] = ()
    """For the first guess; only those of the unshifted run are used. May be empty."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of the search."""

    shift: float
    acceptance_rate: float
    generation_rate: float
    requests_per_day: float


@dataclass(frozen=True, slots=True)
class Fit:
    """Result of a calibration."""

    shift: float
    """That of the run nearest to the target."""
    met: bool
    """Whether that run's AR is within the tolerance."""
    clamped: bool
    """Whether the target asks for a larger shift than is allowed."""
    target: float
    tolerance: float
    trace: tuple[Trial, ...]
    """All runs in order; the first is the unshifted one."""

    @property
    def best(self) -> Trial:
        """The run whose shift was chosen."""
        return next(trial for trial in self.trace if trial.shift == self.shift)

    def figures(self) -> dict[str, Any]:
        """JSON values for the frozen file and for reports; rates are shares."""
        return {
            "target_acceptance_rate": self.target,
            "tolerance": self.tolerance,
            "met": self.met,
            "clamped": self.clamped,
            "unshifted": asdict(self.trace[0]),
            "calibrated": asdict(self.best),
            "trace": [asdict(trial) for trial in self.trace],
        }


def decisions(rows: Iterable[Mapping[str, Any]]) -> list[Decision]:
    """One decision for each exposure that the truth rows of an unshifted run end.

    How long an accepted suggestion would have been visible otherwise is unknown; the time until it was
    accepted stands for it.
    """
    p_accept: dict[tuple[str, int], float] = {}
    found: list[Decision] = []
    for row in rows:
        if row["kind"] == TruthKind.DECISION:
            p_accept[row["user"], row["exposure"]] = row["p_accept"]
        elif row["kind"] == TruthKind.EXPOSURE_END:
            judged = p_accept.pop((row["user"], row["exposure"]), None)
            logit = -math.inf if judged is None else _logit(judged)
            found.append(Decision(logit, row["visible_ms"] >= COUNTED_MS))
    return found


def open_loop(decisions: Sequence[Decision], target: float) -> float:
    """The shift at which reweighted `decisions` have an expected AR of `target` (logit, within +-8).

    Every decision keeps its exposure; that acceptances change what follows is ignored, so this is a first
    guess. Raises ValueError when `decisions` are empty.
    """
    if not decisions:
        raise ValueError("open_loop needs at least one decision")

    def rate(shift: float) -> float:
        accepted = shown = 0.0
        for decision in decisions:
            p_accept = chance(decision.logit + shift)
            accepted += p_accept
            shown += p_accept + (1 - p_accept) * decision.counted
        return accepted / shown if shown else 0.0

    low, high = -_SPAN, _SPAN
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if rate(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def fit(
    run: Callable[[float], Rates],
    target: float,
    tolerance: float,
    limit: float = 1.0,
    max_runs: int = 6,
) -> Fit:
    """The shift in +-`limit` at which AR of `run` is within `tolerance` of `target`, with the runs made.

    A secant on the logit of AR, kept inside the bracket once there is one. AR should rise with the shift;
    where it does not, the search halves the bracket, and gives up after `max_runs` runs with the nearest.
    Raises ValueError unless 0 < target < 1, tolerance > 0, limit > 0 and max_runs >= 1.
    """
    if not (0 < target < 1 and tolerance > 0 and limit > 0 and max_runs >= 1):
        raise ValueError(f"fit: {target=}, {tolerance=}, {limit=}, {max_runs=} out of range")
    trace: list[Trial] = []
    shift, guess = 0.0, None
    while True:
        rates = run(shift)
        trace.append(Trial(shift, rates.acceptance_rate, rates.generation_rate, rates.requests_per_day))
        if abs(rates.acceptance_rate - target) <= tolerance or len(trace) >= max_runs:
            break
        if not shift and rates.decisions:
            guess = open_loop(rates.decisions, target)
        following = _next(trace, target, limit, guess if len(trace) == 1 else None)
        if any(trial.shift == following for trial in trace):
            break  # at the limit, or the bracket is as narrow as numbers are
        shift = following
    best = min(trace, key=lambda trial: (abs(trial.acceptance_rate - target), abs(trial.shift)))
    met = abs(best.acceptance_rate - target) <= tolerance
    clamped = not met and any(
        abs(trial.shift) == limit and (trial.acceptance_rate < target) == (trial.shift > 0) for trial in trace
    )
    return Fit(best.shift, met, clamped, target, tolerance, tuple(trace))


def _next(trace: Sequence[Trial], target: float, limit: float, guess: float | None) -> float:
    """Where to run next."""
    below = [trial.shift for trial in trace if trial.acceptance_rate < target]
    above = [trial.shift for trial in trace if trial.acceptance_rate >= target]
    low, high = max(below, default=-limit), min(above, default=limit)
    if low >= high:  # AR falls somewhere: any step between the two inner runs is as good as another
        return (low + high) / 2
    if guess is None:
        last = trace[-1]
        slope = _slope(trace[-2], last) if len(trace) > 1 else 1.0
        toward = math.copysign(math.inf, target - last.acceptance_rate)
        gap = _logit(target) - _logit(last.acceptance_rate)
        guess = last.shift + gap / slope if slope > 0 else toward
    if below and above:
        width = high - low
        inside = low + _MARGIN * width <= guess <= high - _MARGIN * width
        return guess if inside else (low + high) / 2
    # Without a bracket, go on toward the limit; a first guess may point the other way.
    if below:
        return min(guess if guess > low else (low + limit) / 2, limit)
    return max(guess if guess < high else (high - limit) / 2, -limit)


def _slope(one: Trial, other: Trial) -> float:
    rise = _logit(other.acceptance_rate) - _logit(one.acceptance_rate)
    return rise / (other.shift - one.shift)


def _logit(rate: float) -> float:
    kept = min(max(rate, _RATE_FLOOR), 1 - _RATE_FLOOR)
    return math.log(kept / (1 - kept))
