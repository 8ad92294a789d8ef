"""What a rollout wrote down: `rollout.json`, the plan and how far it is, and `looks.jsonl`, what was seen.

The state is written before a change is made and again when it is, so the next command goes on where a killed
one stopped. Neither file names a user. Commands that change something wait for each other.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from echo_ray.config import Config
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.registry import journal, shelf

STATE, LOOKS = "rollout.json", "looks.jsonl"
CONTROL, TREATMENT = "control", "treatment"
"""Names of the two arms."""


class Phase(StrEnum):
    """How far a rollout is. `starting`, `promoting` and `rolling_back` are intentions that may not be carried
    out yet; the command that had them, or `watch`, completes them.
    """

    STARTING = "starting"
    RUNNING = "running"
    PROMOTING = "promoting"
    PROMOTED = "promoted"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"


ENDED = (Phase.PROMOTED, Phase.ROLLED_BACK)


class Side(Config):
    """A version of the registry."""

    name: str
    """`v3`."""
    content: str
    """Hash with which the service's name of the version ends."""
    model: str
    """Absolute folder of the model."""


class Change(Config):
    """One step of a rollout."""

    at_ms: int
    phase: Phase
    why: str = ""


class State(Config):
    """Value of `rollout.json`. Times are UTC milliseconds."""

    version: str = "1"
    phase: Phase
    url: str
    registry: str
    alias: str
    control: Side
    candidate: Side
    share: float
    salt: str
    """Of the assignment: every rollout draws its own users."""
    length_ms: int
    start_ms: int | None = None
    """When both arms were there."""
    ends_ms: int | None = None
    """The planned end; nothing moves it."""
    history: tuple[Change, ...] = ()

    @property
    def weights(self) -> dict[str, float]:
        """Share of the users by arm."""
        return {CONTROL: 1 - self.share, TREATMENT: self.share}

    @property
    def why(self) -> str:
        """Why it is where it is."""
        return self.history[-1].why if self.history else ""

    def to(self, phase: Phase, at_ms: int, why: str = "", **changes: Any) -> "State":
        """The state after one more step."""
        step = Change(at_ms=at_ms, phase=phase, why=why)
        return self.updated(phase=phase, history=(*self.history, step), **changes)


def folder(output: Path | None) -> Path:
    """The rollout's folder. Raises ConfigError when none is named."""
    if output is None:
        raise ConfigError("rollout.output is not set: add rollout.output=FOLDER, one for each rollout")
    return output


def load(output: Path) -> State | None:
    """The state in a folder; None where there is none. Raises SchemaError for one that cannot be read."""
    path = output / STATE
    try:
        return State.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its content is not what a rollout writes"
        raise SchemaError(f"{path} cannot be read ({reason}): name another rollout.output") from None


def must_load(output: Path) -> State:
    """The state in a folder. Raises ConfigError where there is none."""
    found = load(output)
    if found is None:
        raise ConfigError(
            f"rollout.output={output} holds no rollout: begin one with echo-ray rollout start "
            "rollout.candidate=REGISTRY@VERSION"
        )
    return found


def save(output: Path, state: State) -> State:
    """Write the state, whole or not at all, and onto the disk. Raises ConfigError where that cannot be."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        shelf.write(output / STATE, state.model_dump(mode="json"))
    except OSError as error:
        raise ConfigError(f"rollout.output={output} cannot be written ({error.strerror or error})") from None
    return state


@contextmanager
def changing(output: Path) -> Iterator[None]:
    """One change at a time. Raises ConfigError when another command holds it for over a minute."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"rollout.output={output} cannot be written ({error.strerror or error})") from None
    with journal.locked(output, "rollout.output"):
        yield


def looks(output: Path) -> list[dict[str, Any]]:
    """Lines of `looks.jsonl`, the first first; what a killed command left of one is passed over."""
    try:
        lines = (output / LOOKS).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def append(output: Path, look: Mapping[str, Any]) -> None:
    """Add one look, on the disk when this returns. Raises ConfigError when it cannot be written."""
    line = json.dumps(look, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    try:
        with (output / LOOKS).open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read() == b"\n" else b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(f"{output / LOOKS} cannot be written ({error.strerror or error})") from None
