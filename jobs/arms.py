"""Verb `arms`: what a running service serves to whom, and how to change that without stopping it."""

import json
from pathlib import Path
from typing import Any

from echo_ray import registry
from echo_ray.errors import ConfigError
from jobs.arms_config import ArmsConfig, PlannedArm
from jobs.models_text import table
from jobs.service_api import call
from jobs.settings import RunConfig

PATH = "/v1/echo/arms"


def run(config: RunConfig, command: str = "") -> None:
    """Show the plan of the service at `arms.url`, or change it and show the new one."""
    settings = config.arms
    if settings.action == "show":
        plan = call(settings.url, PATH, settings.api_key_env, "arms.url")
    else:
        plan = call(
            settings.url,
            PATH,
            settings.api_key_env,
            "arms.url",
            body=wanted(settings),
            method="PUT",
            timeout_s=settings.timeout_s,
        )
    print(json.dumps(plan, indent=1) if settings.format == "json" else text(plan))


def wanted(settings: ArmsConfig) -> dict[str, Any]:
    """Body of the change that `settings` ask for. Raises ConfigError for a plan without arms."""
    if settings.action in ("on", "off"):
        return {"on": settings.action == "on"}
    if not settings.plan:
        raise ConfigError(
            "arms.plan is not set: echo-ray arms set 'arms.plan={NAME: {model: FOLDER, weight: 1}}'"
        )
    return {"arms": {name: _arm(name, arm) for name, arm in settings.plan.items()}}


def _arm(name: str, arm: PlannedArm) -> dict[str, Any]:
    if arm.model is None:
        return {"weight": arm.weight}
    folder = registry.resolve(Path(arm.model), f"arms.plan.{name}.model")
    return {"weight": arm.weight, "model": str(folder.absolute())}


def text(plan: dict[str, Any]) -> str:
    """The plan for people."""
    arms = plan["arms"]
    whole = sum(arm["weight"] for arm in arms.values())
    rows = [
        (name, f"{100 * arm['weight'] / whole:.1f}%", arm["version"], arm["model"] or "")
        for name, arm in arms.items()
    ]
    note = "" if plan["on"] else "\nswitched off: every request is answered with silence; echo-ray arms on"
    return table(("arm", "users", "version", "model"), rows, right=(1,)) + note
