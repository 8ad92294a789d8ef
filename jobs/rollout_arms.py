"""The arms of a running service, as a rollout sets and meets them.

Versions are told apart by their content: a service names them by folder and hash. Taking the candidate away
names no model where the control is served, which the service does at once, whatever it is loading.
"""

from typing import Any

from echo_ray.errors import ConfigError
from echo_ray.registry.values import content_of
from jobs.rollout_config import RolloutConfig
from jobs.rollout_state import CONTROL, TREATMENT, Side, State
from jobs.service_api import call

PATH = "/v1/echo/arms"
KEY = "rollout.url"
Plan = dict[str, Any]
_QUICK_S = 30.0  # for an answer that waits for no model


def plan_of(url: str, settings: RolloutConfig) -> Plan:
    """The plan of the service at `url`. Raises ConfigError when it is none, or does not answer."""
    found = call(url, PATH, settings.api_key_env, KEY)
    try:
        return {
            "on": bool(found["on"]),
            "salt": str(found["salt"]),
            "arms": {
                str(name): {"version": str(arm["version"]), "weight": float(arm["weight"])}
                for name, arm in found["arms"].items()
            },
        }
    except (TypeError, KeyError, ValueError, AttributeError):
        raise ConfigError(f"what answers at {url} is no echo-ray service: change {KEY}") from None


def contents(plan: Plan) -> dict[str, str]:
    """Content that every arm serves."""
    return {name: content_of(arm["version"]) or str(arm["version"]) for name, arm in plan["arms"].items()}


def begin(state: State, settings: RolloutConfig) -> None:
    """Let the service serve both arms; returns when the candidate answers."""
    sides = {CONTROL: state.control, TREATMENT: state.candidate}
    arms = {name: {"model": side.model, "weight": state.weights[name]} for name, side in sides.items()}
    _put(state, settings, {"salt": state.salt, "arms": arms})


def take_back(state: State, plan: Plan, settings: RolloutConfig) -> None:
    """Take the candidate from everybody: the other arms stay, which is the control alone unless somebody
    else added one. Only where nobody serves the control it has to be loaded.
    """
    found = contents(plan)
    left = [name for name in plan["arms"] if found[name] != state.candidate.content]
    if any(found[name] == state.control.content for name in left):
        _put(state, settings, {"arms": {name: {"weight": plan["arms"][name]["weight"]} for name in left}})
    else:
        _put(state, settings, {"arms": {CONTROL: {"model": state.control.model, "weight": 1}}})


def give_all(state: State, plan: Plan, settings: RolloutConfig) -> None:
    """Let everybody have the candidate, which is loaded only where no arm serves it."""
    serving = [name for name, content in contents(plan).items() if content == state.candidate.content]
    arm = {"weight": 1} if serving else {"model": state.candidate.model, "weight": 1}
    _put(state, settings, {"arms": {serving[0] if serving else TREATMENT: arm}})


def serves(plan: Plan, side: Side) -> bool:
    """Whether anybody gets this version."""
    return side.content in contents(plan).values()


def serves_only(plan: Plan, side: Side) -> bool:
    """Whether everybody gets this version."""
    return set(contents(plan).values()) == {side.content}


def strangers(plan: Plan, state: State) -> list[str]:
    """Versions in the plan that are none of the rollout's."""
    ours = {state.control.content, state.candidate.content}
    found = contents(plan)
    return [arm["version"] for name, arm in plan["arms"].items() if found[name] not in ours]


def as_set(plan: Plan, state: State) -> bool:
    """Whether the plan is what `begin` set; the kill switch is none of its business."""
    wanted = {CONTROL: state.control.content, TREATMENT: state.candidate.content}
    if contents(plan) != wanted or plan["salt"] != state.salt:
        return False
    whole = sum(arm["weight"] for arm in plan["arms"].values())
    return all(abs(arm["weight"] / whole - state.weights[name]) < 1e-9 for name, arm in plan["arms"].items())


def told(plan: Plan) -> str:
    """The plan in a few words."""
    whole = sum(arm["weight"] for arm in plan["arms"].values())
    return ", ".join(
        f"{name} {arm['version']} ({100 * arm['weight'] / whole:g}%)" for name, arm in plan["arms"].items()
    )


def _put(state: State, settings: RolloutConfig, body: Plan) -> None:
    loads = any("model" in arm for arm in body["arms"].values())
    timeout_s = settings.timeout_s if loads else min(settings.timeout_s, _QUICK_S)
    call(state.url, PATH, settings.api_key_env, KEY, body=body, method="PUT", timeout_s=timeout_s)
