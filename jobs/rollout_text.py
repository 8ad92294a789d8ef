"""Words of a rollout: one line for a look, a few for its state."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jobs.rollout_arms import Plan, told
from jobs.rollout_state import CONTROL, TREATMENT, Phase, State

Look = Mapping[str, Any]
_NAMES = {"acceptance_rate": "AR", "generation_rate": "GR"}
_OUTCOMES = {
    "improved": "improved, and nothing else is worse",
    "mixed": "mixed at the planned end",
    "no_change": "no change shown by the planned end",
    "worse": "worse at the planned end",
    "too_few_data": "too few data by the planned end",
    "no_claim": "nothing can be claimed of these arms",
    "no_analysis": "no analysis by the planned end",
    "sample_ratio_mismatch": "the arms did not get their users",
}
_ACTIONS = {"go_on": "goes on", "roll_back": "taken back", "promote": "promoted"}


def at(ms: int, text: str) -> str:
    """A line with its time."""
    return f"{_time(ms)}  {text}"


def look(found: Look) -> str:
    """One line."""
    parts = [f"look {found['look']}"]
    arms = found["arms"]
    if arms:
        parts[0] += f": {arms[CONTROL]['users']:,} and {arms[TREATMENT]['users']:,} users"
        parts += [
            _metric(_NAMES[name], found["metrics"][name]) for name in _NAMES if name in found["metrics"]
        ]
    parts += [text for text in (found["trouble"], found["service"]) if text]
    reasons = f" ({why(found)})" if found["reasons"] else ""
    return at(found["at_ms"], f"{', '.join(parts)}: {_ACTIONS[found['action']]}{reasons}")


def why(found: Look) -> str:
    """Why the rule acts."""
    return ", ".join(_OUTCOMES.get(name, f"{name} is harmed") for name in found["reasons"])


def status(state: State, plan: Plan | None, trouble: str | None, looks: Sequence[Look]) -> str:
    """What a rollout is, and how far."""
    lines = [
        f"rollout    {state.candidate.name} of {state.registry} for {100 * state.share:g}% of the users, "
        f"against {state.control.name}",
        f"state      {state.phase.value.replace('_', ' ')}{f': {state.why}' if state.why else ''}",
    ]
    if state.start_ms is not None and state.ends_ms is not None:
        lines.append(f"span       {_time(state.start_ms)} to {_time(state.ends_ms)} UTC at the latest")
    lines.append(f"service    {state.url}: {told(plan) if plan else trouble}")
    if looks:
        lines.append(f"last look  {look(looks[-1])}")
    if state.phase in (Phase.PROMOTED, Phase.ROLLED_BACK) and state.start_ms is not None:
        lines.append(
            "report     echo-ray experiment experiment.log=LOG experiment.control=control "
            f"experiment.treatment=treatment experiment.start_ms={state.start_ms} "
            f"experiment.end_ms={min(state.ends_ms or 0, _acted_ms(state))} experiment.weights="
            f"'{{control: {1 - state.share:g}, treatment: {state.share:g}}}' experiment.output=FOLDER"
        )
    return "\n".join(lines)


def _acted_ms(state: State) -> int:
    """When the first change after the start was decided."""
    after = (one.at_ms for one in state.history if one.phase in (Phase.PROMOTING, Phase.ROLLING_BACK))
    return next(after, state.history[-1].at_ms)


def _metric(name: str, one: Mapping[str, Any]) -> str:
    if one["estimate"] is None:
        return f"{name} not known"
    low, high = one["sequence"]
    sequence = "too early" if low is None else f"{100 * low:+.1f} to {100 * high:+.1f}"
    return f"{name} {100 * one['estimate']:+.1f} points ({sequence})"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
