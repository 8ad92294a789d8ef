"""Changing what is served while it is served: weights, models, and the kill switch.

`PUT /v1/echo/arms` with `{"on": bool, "salt": TEXT, "arms": {NAME: {"model": FOLDER, "weight": NUMBER}}}`
replaces the plan as a whole; an arm without `model` keeps the one it has, and a new `salt` draws every user's
arm anew. A version that is new gets its engine first and a
user only when that is healthy, so no request waits or is dropped; a version that no arm has any more keeps
its engine until its last request is answered. A change that names no model (the kill switch, an arm that
ends) happens at once: it never waits for models that another change is loading, and that one is then refused.
A plan outlives the gateway's own crash, not the end of
`echo-ray serve`, which begins with its configuration.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from echo_ray import models
from echo_ray.dialects import openai
from echo_ray.dialects.asked import JSON, Refusal
from echo_ray.dialects.body import Body
from echo_ray.errors import EchoError
from echo_ray.serve import recall
from echo_ray.serve.config import ARM_NAME
from echo_ray.serve.door import Caller
from echo_ray.serve.engine import EngineSettings
from echo_ray.serve.gateway import Gateway
from echo_ray.serve.lanes import Lane, Plan, lane
from echo_ray.serve.replies import json_reply, refuse

MAX_ARMS = 16
"""Arms of one plan (count)."""
MAX_SALT_CHARS = 64
DRAIN_POLL_S = 0.1


class Control:
    """Handlers that show and change the plan. `start` and `stop` deploy and remove a version's engine."""

    def __init__(
        self,
        gateway: Gateway,
        like: EngineSettings,
        start: Callable[[EngineSettings], Any],
        stop: Callable[[str], None],
    ) -> None:
        self._gateway = gateway
        self._like = like
        self._start, self._stop = start, stop
        self._changing = asyncio.Lock()
        self._draining: set[asyncio.Task[None]] = set()

    async def show(self, request: Request, body: JSON, caller: Caller) -> Response:
        """`GET /v1/echo/arms`."""
        return json_reply(self._gateway.plan.plain())

    async def change(self, request: Request, body: JSON, caller: Caller) -> Response:
        """`PUT /v1/echo/arms`; answers with the new plan once every version of it can be asked."""
        if not _names_models(body):
            found = self._wanted(body)
            return refuse(openai, found, request) if isinstance(found, Refusal) else self._replace(found[0])
        async with self._changing:
            before = self._gateway.plan
            # Naming a version reads its weights, which an event loop that answers people cannot wait for.
            found = await asyncio.to_thread(self._wanted, body)
            if isinstance(found, Refusal):
                return refuse(openai, found, request)
            plan, new = found
            try:
                lanes = await asyncio.gather(*(asyncio.to_thread(self._open, item) for item in new))
            except EchoError as error:
                await self._forget(new)
                return refuse(openai, Refusal(503, str(error), "service_unavailable"), request)
            if self._gateway.plan is not before:
                for one in lanes:
                    one.engine.close()
                await self._forget(new)
                told = "the plan was changed while models were loaded for this change: ask again"
                return refuse(openai, Refusal(409, told, param="arms"), request)
            return self._replace(plan, {one.version: one for one in lanes})

    async def _forget(self, new: Sequence[EngineSettings]) -> None:
        """All or nothing: an engine that nobody will ask must not keep its memory."""
        for item in new:
            await asyncio.to_thread(self._stop, item.version)

    def _replace(self, plan: Plan, lanes: Mapping[str, Lane] | None = None) -> Response:
        """From now on `plan`; without a pause, so that nothing comes between. The answer to who asked."""
        gateway = self._gateway
        gateway.lanes = {**gateway.lanes, **(lanes or {})}
        gateway.plan = plan
        recall.keep(gateway.config, plan)
        for version in set(gateway.lanes) - set(plan.versions.values()):
            task = asyncio.create_task(self._drain(version))
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)
        return json_reply(plan.plain())

    def _wanted(self, body: JSON) -> tuple[Plan, list[EngineSettings]] | Refusal:
        """The plan that `body` asks for, and the engines that it needs and that do not run."""
        given, now = Body(body), self._gateway.plan
        asked = given.inner("arms")
        on = given.flag("on") if "on" in given.fields else now.on
        salt = given.text("salt")
        if salt is not None and not 0 < len(salt) <= MAX_SALT_CHARS:
            given.wrong("salt", f"a text of 1 to {MAX_SALT_CHARS} characters")
        if given.fault is not None:
            return given.fault
        if len(asked) > MAX_ARMS:
            return Refusal(400, f"arms must be at most {MAX_ARMS}, got {len(asked)}", param="arms")
        versions, weights, folders = dict(now.versions), dict(now.weights), dict(now.models)
        if asked:
            versions, weights = {}, {}
        for name, said in asked.items():
            if not re.fullmatch(ARM_NAME, name):
                told = f"an arm's name must be 1 to 64 letters, digits, '.', '_' or '-', got {name!r:.80}"
                return Refusal(400, told, param="arms")
            arm = Body(said)
            weight = arm.number("weight", 0, 1e9)
            model = arm.text("model")
            if weight == 0:
                arm.wrong("weight", "a number above 0; leave the arm out to end it")
            if model is None and name not in now.versions:
                arm.wrong("model", f"the folder of a model, because there is no arm {name} yet")
            if arm.fault is not None:
                return Refusal(400, f"arms.{name}.{arm.fault.message}", param="arms")
            weights[name] = now.weights.get(name, 1.0) if weight is None else weight
            version = _checked(Path(model), f"arms.{name}.model") if model else now.versions[name]
            if isinstance(version, Refusal):
                return version
            versions[name] = version
            if model:
                folders[version] = str(Path(model).absolute())
        used = set(versions.values())
        plan = Plan(versions, weights, salt or now.salt, on, {v: folders[v] for v in used if v in folders})
        new = [
            self._like.updated(model=Path(folders[version]), version=version)
            for version in sorted(used - set(self._gateway.lanes))
        ]
        return plan, new

    def _open(self, settings: EngineSettings) -> Lane:
        return lane(settings, self._start(settings))

    async def _drain(self, version: str) -> None:
        """End the engine of a version that has left the plan, after its last answer."""
        gateway = self._gateway
        while gateway.running[version]:
            await asyncio.sleep(DRAIN_POLL_S)
        # A change that brings the version back waits until its engine is gone, and starts a new one.
        async with self._changing:
            if version in gateway.plan.versions.values() or version not in gateway.lanes:
                return  # it came back, or another task has ended it
            gateway.lanes[version].engine.close()
            gateway.lanes = {name: one for name, one in gateway.lanes.items() if name != version}
            await asyncio.to_thread(self._stop, version)


def _names_models(body: JSON) -> bool:
    """Whether folders have to be looked at to know what `body` asks for."""
    arms = body.get("arms") if isinstance(body, dict) else None
    named = arms.values() if isinstance(arms, dict) else ()
    return any(isinstance(arm, dict) and arm.get("model") is not None for arm in named)


def _checked(folder: Path, key: str) -> str | Refusal:
    """Version of the model in `folder`."""
    try:
        models.check(folder, key)
        return models.version(folder)
    except EchoError as error:
        return Refusal(400, str(error), param="arms")
    except OSError as error:  # a name that is too long, a folder that may not be read
        told = f"{key} cannot be read ({error.strerror}): name the folder of a model"
        return Refusal(400, told, param="arms")
