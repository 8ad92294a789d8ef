"""Verb `rollout`: a new version for some users of a running service, watched, and promoted or taken back."""

import json
from pathlib import Path
from typing import Any

from echo_ray.errors import EchoError
from jobs import rollout_arms, rollout_moves, rollout_state, rollout_text, rollout_watch
from jobs.rollout_state import Phase, State
from jobs.settings import RunConfig

BY_HAND = "by hand"


def run(config: RunConfig, command: str = "") -> None:
    """Do what `rollout.action` says, and print where the rollout stands."""
    settings = config.rollout
    output = rollout_state.folder(settings.output)
    why = settings.note or BY_HAND
    if settings.action == "start":
        rollout_moves.start(settings, rollout_watch.now_ms)
    elif settings.action == "watch":
        rollout_watch.watch(config)
    elif settings.action == "promote":
        rollout_moves.promote(settings, rollout_watch.now_ms, why)
    elif settings.action == "rollback":
        rollout_moves.roll_back(settings, rollout_watch.now_ms, why)
    state = rollout_state.must_load(output)
    plan, trouble = _live(state, config)
    looks = rollout_state.looks(output)
    if settings.format == "json":
        print(json.dumps(_value(state, plan, trouble, looks), indent=1, ensure_ascii=False))
        return
    print(rollout_text.status(state, plan, trouble, looks))
    if state.phase is Phase.RUNNING:
        print(f"\nrollout: echo-ray rollout watch rollout.output={output} rollout.log=FOLDER judges it")
    else:
        print(f"\nrollout: what was done is in {_at(output)}")


def _live(state: State, config: RunConfig) -> tuple[rollout_arms.Plan | None, str | None]:
    try:
        return rollout_arms.plan_of(state.url, config.rollout), None
    except EchoError as error:
        return None, str(error)


def _value(
    state: State, plan: rollout_arms.Plan | None, trouble: str | None, looks: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        **state.model_dump(mode="json"),
        "why": state.why,
        "service": {"plan": plan, "as_set": plan and rollout_arms.as_set(plan, state), "trouble": trouble},
        "looks": len(looks),
        "last_look": looks[-1] if looks else None,
    }


def _at(output: Path) -> Path:
    return output / rollout_state.STATE
