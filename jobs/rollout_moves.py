"""The changes of a rollout: given to some, taken back, given to all; each may be repeated, or killed.

What is going to be done is written down first, and that it was done at last, so a command that finds an
intention completes it. The two halves of a change have an order in which the state between is a good one:

- *promote*: the registry first, then the arms. Between, the experiment goes on, and a service that is
  restarted begins with the promoted version.
- *roll back*: the arms first, then the registry. Nobody keeps the candidate because a registry is slow or
  gone; and where the service does not answer, the registry is put right all the same, for its restart.

The lock is held while something is written, never while a model loads. Who loads one asks afterwards whether
it is still wanted.
"""

import secrets
from collections.abc import Callable
from pathlib import Path

from echo_ray.errors import ConfigError, EchoError
from echo_ray.registry import Registry, Version
from jobs import rollout_arms
from jobs.rollout_config import RolloutConfig
from jobs.rollout_state import Phase, Side, State, changing, folder, load, must_load, save

Clock = Callable[[], int]
"""UTC milliseconds."""

_AGAIN = "echo-ray rollout {} rollout.output={}"


def start(settings: RolloutConfig, clock: Clock) -> State:
    """Give the candidate its share of the users; returns when both arms answer.

    Raises ConfigError for a candidate, registry or service with which it cannot begin, ServeError when the
    service refuses; what was begun then is completed by the next call, or ended by `roll_back`.
    """
    output = folder(settings.output)
    with changing(output):
        state = load(output)
        if state is None:
            state = _planned(settings)
            _serves_control(state, rollout_arms.plan_of(state.url, settings))
        else:
            _same(settings, state, output)
            plan = rollout_arms.plan_of(state.url, settings)
            if state.phase is Phase.RUNNING and rollout_arms.as_set(plan, state):
                return state
            _no_strangers(state, plan)
        state = save(output, state.to(Phase.STARTING, clock()))
    rollout_arms.begin(state, settings)
    with changing(output):
        now = must_load(output)
        if now.phase is Phase.STARTING:
            at = clock()
            return save(output, now.to(Phase.RUNNING, at, start_ms=at, ends_ms=at + now.length_ms))
        _not_after_all(now, settings)
    raise ConfigError(f"rollout.output={output} was rolled back while {state.candidate.name} loaded")


def promote(settings: RolloutConfig, clock: Clock, why: str, seen: State | None = None) -> State:
    """Let the alias point at the candidate, and everybody have it. Nothing is changed where that is done, or
    the rollout has moved on since it was `seen`.

    Raises ConfigError for a rollout that does not run, and when the alias or the arms were changed by others;
    what `start` raises for the service.
    """
    output = folder(settings.output)
    state = must_load(output)
    registry = _registry(state)
    if settings.verify and state.phase in (Phase.RUNNING, Phase.PROMOTING):
        registry.verify(registry.version(state.candidate.name))
    with changing(output):
        state = must_load(output)
        if state.phase is Phase.PROMOTED or _moved_on(state, seen):
            return state
        if state.phase not in (Phase.RUNNING, Phase.PROMOTING):
            raise ConfigError(
                f"{state.candidate.name} cannot be promoted, its rollout is {state.phase.value}: "
                f"{_advice(state, output)}"
            )
        pointed = registry.aliases().get(state.alias)
        if pointed not in (_number(state.control), _number(state.candidate)):
            raise ConfigError(
                f"{state.alias} of {state.registry} points to {f'v{pointed}' if pointed else 'nothing'}, and "
                f"pointed to {state.control.name} when the rollout began: nothing was promoted; "
                f"{_AGAIN.format('rollback', output)} ends it"
            )
        plan = rollout_arms.plan_of(state.url, settings)
        _no_strangers(state, plan)
        if state.phase is Phase.RUNNING:
            state = save(output, state.to(Phase.PROMOTING, clock(), why))
        registry.promote(state.candidate.name, state.alias, f"rollout: {state.why}", verify=False)
    if set(rollout_arms.contents(plan).values()) != {state.candidate.content}:
        rollout_arms.give_all(state, plan, settings)
    with changing(output):
        now = must_load(output)
        if now.phase is Phase.PROMOTING:
            return save(output, now.to(Phase.PROMOTED, clock(), now.why))
        if now.phase is not Phase.PROMOTED:
            _not_after_all(now, settings)
    return now


def roll_back(settings: RolloutConfig, clock: Clock, why: str, seen: State | None = None) -> State:
    """Take the candidate from everybody, and mark it in the registry; an alias that points to it goes back.
    Done already, only what others undid of it is done again; nothing where the rollout has moved on since it
    was `seen`.

    Raises ConfigError or ServeError when one half could not be done; the other one is, and the next call goes
    on.
    """
    output = folder(settings.output)
    trouble: EchoError | None = None
    with changing(output):
        state = before = must_load(output)
        if _moved_on(state, seen):
            return state
        if state.phase is Phase.PROMOTED:
            _no_strangers(state, rollout_arms.plan_of(state.url, settings))
        if state.phase not in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
            state = state.to(Phase.ROLLING_BACK, clock(), why)
            try:
                save(output, state)
            except ConfigError as error:  # nobody keeps a harmful candidate because a disk is full
                trouble = error
    try:
        plan = rollout_arms.plan_of(state.url, settings)
        served = rollout_arms.serves(plan, state.candidate)
        if before.phase is Phase.ROLLED_BACK:
            due = served and plan["salt"] == state.salt  # else somebody else gives it to users
        else:
            # A change that names no model also ends one of this rollout that still waits for its model.
            due = served or rollout_arms.serves(plan, state.control)
        if due:
            rollout_arms.take_back(state, plan, settings)
    except EchoError as error:
        trouble = trouble or error
    with changing(output):
        now = must_load(output)
        if now.phase is Phase.ROLLING_BACK:
            _marked(now, settings)
            if trouble is None:
                now = save(output, now.to(Phase.ROLLED_BACK, clock(), now.why))
    if trouble is not None:
        raise trouble
    return now


def _marked(state: State, settings: RolloutConfig) -> None:
    registry = _registry(state)
    note = f"rollout: taken back, {state.why}"
    if registry.aliases().get(state.alias) == _number(state.candidate):
        registry.rollback(state.alias, note, bad=state.candidate.name, verify=settings.verify)
    else:
        registry.note(state.candidate.name, note)


def _not_after_all(state: State, settings: RolloutConfig) -> None:
    """The candidate was taken back while this command gave it to users: whoever came last, it is gone."""
    plan = rollout_arms.plan_of(state.url, settings)
    if rollout_arms.serves(plan, state.candidate):
        rollout_arms.take_back(state, plan, settings)


def _planned(settings: RolloutConfig) -> State:
    """A new rollout. Raises ConfigError for what cannot be one."""
    root, at, name = (settings.candidate or "").rpartition("@")
    if not settings.candidate:
        raise ConfigError("rollout.candidate is not set: add rollout.candidate=REGISTRY@VERSION")
    if not at or not root:
        raise ConfigError(
            f"rollout.candidate={settings.candidate} is no version of a registry: name it as REGISTRY@v3; "
            "echo-ray models add FOLDER makes one of a folder"
        )
    registry = Registry(Path(root), "rollout.candidate")
    registry.must_exist()
    candidate = registry.version(name, f"rollout.candidate={settings.candidate}")
    pointed = registry.aliases().get(settings.alias)
    if pointed is None:
        raise ConfigError(
            f"rollout.alias={settings.alias} of {root} points nowhere, so there is no control: echo-ray "
            f"models promote VERSION {settings.alias} models.registry={root}, the version that is served now"
        )
    control = registry.version(f"v{pointed}")
    if control.content == candidate.content:
        raise ConfigError(
            f"rollout.candidate={settings.candidate} is {candidate.name}, the {settings.alias} already: name "
            "another version"
        )
    length_s = settings.max_hours * 3600
    if settings.looks is not None:
        length_s = min(length_s, settings.looks * settings.every_s)
    return State(
        phase=Phase.STARTING,
        url=settings.url,
        registry=str(Path(root).absolute()),
        alias=settings.alias,
        control=_side(control),
        candidate=_side(candidate),
        share=settings.share,
        salt=f"rollout-{secrets.token_hex(8)}",
        length_ms=max(1, round(1000 * length_s)),
    )


def _side(version: Version) -> Side:
    if not version.model.is_dir():
        raise ConfigError(f"{version.name} has lost its model folder {version.model}: name another version")
    return Side(name=version.name, content=version.content, model=str(version.model.absolute()))


def _serves_control(state: State, plan: rollout_arms.Plan) -> None:
    if set(rollout_arms.contents(plan).values()) != {state.control.content}:
        raise ConfigError(
            f"{state.url} serves {rollout_arms.told(plan)}, and {state.alias} is {state.control.name} "
            f"({state.control.content}): let the alias point to what is served, or serve it alone with "
            "echo-ray arms set"
        )
    if not plan["on"]:
        raise ConfigError(f"{state.url} is switched off: echo-ray arms on arms.url={state.url}")


def _same(settings: RolloutConfig, state: State, output: Path) -> None:
    """Raise ConfigError unless `settings` go on with `state`."""
    if state.phase not in (Phase.STARTING, Phase.RUNNING):
        raise ConfigError(
            f"rollout.output={output} holds the rollout of {state.candidate.name}, which is "
            f"{state.phase.value}: {_advice(state, output)}"
        )
    if settings.candidate is not None and _planned(settings).candidate.content != state.candidate.content:
        raise ConfigError(
            f"rollout.output={output} holds the rollout of {state.candidate.name}, not of "
            f"{settings.candidate}: name another rollout.output, after {_AGAIN.format('rollback', output)}"
        )


def _advice(state: State, output: Path) -> str:
    return {
        Phase.STARTING: f"complete it with {_AGAIN.format('start', output)}",
        Phase.PROMOTING: f"complete it with {_AGAIN.format('promote', output)}",
        Phase.ROLLING_BACK: f"complete it with {_AGAIN.format('rollback', output)}",
    }.get(state.phase, "begin another one with its own rollout.output")


def _no_strangers(state: State, plan: rollout_arms.Plan) -> None:
    found = rollout_arms.strangers(plan, state)
    if found:
        raise ConfigError(
            f"{state.url} serves {rollout_arms.told(plan)}: {found[0]} is no version of this rollout, so "
            "somebody else changed the plan, and nothing was changed; end that first"
        )


def _moved_on(state: State, seen: State | None) -> bool:
    return seen is not None and (state.phase, state.start_ms) != (seen.phase, seen.start_ms)


def _registry(state: State) -> Registry:
    registry = Registry(Path(state.registry), "rollout.candidate")
    registry.must_exist()
    return registry


def _number(side: Side) -> int:
    return int(side.name.removeprefix("v"))
