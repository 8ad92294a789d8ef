"""Looking at a rollout until it is promoted or taken back; see `echo_ray.experiment.rollout` for the rule."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from echo_ray.errors import ConfigError, EchoError
from echo_ray.experiment.rollout import Action
from jobs import rollout_arms, rollout_look, rollout_moves, rollout_state, rollout_text
from jobs.rollout_moves import Clock
from jobs.rollout_state import ENDED, Phase, State
from jobs.settings import RunConfig

Wait = Callable[[float], None]
"""Waits so many seconds."""
RETRY_S = 10.0
"""Until what could not be done is tried again, at most."""

_MOVES = {Phase.PROMOTING: rollout_moves.promote, Phase.ROLLING_BACK: rollout_moves.roll_back}
_WANTED = {
    Action.GO_ON.value: None,
    Action.PROMOTE.value: rollout_moves.promote,
    Action.ROLL_BACK.value: rollout_moves.roll_back,
}


def now_ms() -> int:
    """The time, UTC milliseconds."""
    return time.time_ns() // 1_000_000


def watch(config: RunConfig, clock: Clock = now_ms, wait: Wait = time.sleep) -> State:
    """Look every `rollout.every_s`, act on what the rule says, return the state that ended the rollout.

    What may pass (a service or a log that cannot be reached) is told and tried again. Raises ConfigError for
    a rollout that was not begun, a log that is none, and a plan that somebody else changed.
    """
    settings = config.rollout
    output = rollout_state.folder(settings.output)
    state = rollout_state.must_load(output)
    if settings.log is None:
        raise ConfigError("rollout.log is not set: add rollout.log=FOLDER, the service's serve.log_dir")
    if not settings.log.exists():
        raise ConfigError(
            f"{rollout_look.KEY}={settings.log} does not exist: name the service's serve.log_dir"
        )
    while state.phase not in ENDED:
        began = clock()
        if state.phase is Phase.STARTING:
            raise ConfigError(
                f"rollout.output={output} has not begun: complete it with echo-ray rollout start "
                f"rollout.output={output}"
            )
        move, why = _MOVES.get(state.phase), state.why
        if state.phase is Phase.RUNNING:
            found = _one(config, state, output, began)
            move, why = _WANTED[found["action"]], rollout_text.why(found)
        if move is not None:
            try:
                move(settings, clock, why, state)
            except EchoError as error:
                print(rollout_text.at(clock(), f"not done yet: {error}"), flush=True)
        state = rollout_state.must_load(output)
        if state.phase not in ENDED:
            wait(_pause_s(state, settings.every_s, began, clock()))
            state = rollout_state.must_load(output)
    return state


def _one(config: RunConfig, state: State, output: Path, at_ms: int) -> dict[str, Any]:
    """Look once, write it down, tell it."""
    settings = config.rollout
    earlier = [one for one in rollout_state.looks(output) if one.get("start_ms") == state.start_ms]
    unreachable = None
    try:
        plan = rollout_arms.plan_of(state.url, settings)
    except EchoError as error:
        unreachable = str(error)
    else:
        if not rollout_arms.as_set(plan, state):
            raise ConfigError(
                f"{state.url} serves {rollout_arms.told(plan)}, which is not the plan of this rollout: "
                "somebody changed it or restarted the service; echo-ray rollout rollback "
                f"rollout.output={output} ends the rollout, start begins it anew"
            )
    found: dict[str, Any] = {"look": len(earlier) + 1} | rollout_look.seen(config, state, output, at_ms)
    if unreachable is None and not plan["on"]:
        unreachable = f"{state.url} is switched off: echo-ray arms on"
    if found["trouble"] is None and earlier and earlier[-1]["requests"] == found["requests"]:
        found["trouble"] = f"no new request in {rollout_look.KEY}={settings.log}: is it the service's log?"
    found["service"] = unreachable
    try:
        rollout_state.append(output, found)
    except ConfigError as error:  # a full disk keeps nobody from acting on what was seen
        print(rollout_text.at(at_ms, str(error)), flush=True)
    print(rollout_text.look(found), flush=True)
    return found


def _pause_s(state: State, every_s: float, began_ms: int, now: int) -> float:
    """Until the next look: `every_s` after this one began, or the planned end; sooner where something has to
    be done that could not be.
    """
    due = began_ms + 1000 * (every_s if state.phase is Phase.RUNNING else min(every_s, RETRY_S))
    if state.ends_ms is not None and began_ms < state.ends_ms:
        due = min(due, state.ends_ms)
    return max(0.0, (due - now) / 1000)
