"""A rollout in a test: a registry, a service that serves its champion, a log, and a clock to be set."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echo_ray.registry import Registry
from jobs import rollout_moves, rollout_state, rollout_watch
from jobs.rollout_config import RolloutConfig
from jobs.rollout_state import State
from jobs.service_api import call
from jobs.settings import RunConfig
from tests import gateways
from tests.gateways import Engine
from tests.served import BEGIN_MS, served

ARMS = "/v1/echo/arms"
HOUR_MS = 3_600_000


@dataclass
class Hands:
    """Everything that a person has at hand."""

    root: Path
    url: str
    registry: Registry
    service: Any = None
    now_ms: int = BEGIN_MS
    waits: list[Callable[[], Any]] = field(default_factory=list)
    """What happens during each wait, the first first; then nothing does."""

    @property
    def output(self) -> Path:
        return self.root / "rollout"

    @property
    def log(self) -> Path:
        return self.root / "served"

    def settings(self, **changes: Any) -> RolloutConfig:
        return RolloutConfig(
            **{
                "output": self.output, "url": self.url, "log": self.log, "max_hours": 4, "every_s": 3600,
                "candidate": f"{self.registry.root}@v2",
            }
            | changes
        )  # fmt: skip

    def clock(self) -> int:
        self.now_ms += 1
        return self.now_ms

    def wait(self, seconds: float) -> None:
        self.now_ms += round(1000 * seconds)
        if self.waits:
            self.waits.pop(0)()

    def start(self, **changes: Any) -> State:
        return rollout_moves.start(self.settings(**changes), self.clock)

    def watch(self, **changes: Any) -> State:
        experiment = {"resamples": 200}
        config = RunConfig(rollout=self.settings(**changes), experiment=experiment)  # type: ignore[arg-type]
        return rollout_watch.watch(config, self.clock, self.wait)

    def promote(self) -> State:
        return rollout_moves.promote(self.settings(), self.clock, "by hand")

    def roll_back(self) -> State:
        return rollout_moves.roll_back(self.settings(), self.clock, "by hand")

    def feed(self, rates: tuple[float, float], users: int = 80, asks: int = 40, seed: int = 1) -> None:
        """Developers work now, with these acceptance rates in control and treatment."""
        made = served(
            users, asks, rates=rates, names=("control", "treatment"), seed=seed, begin_ms=self.now_ms,
            begin_id=f"{seed}-", taste=0.05,
        )  # fmt: skip
        made.write(self.log, f"part-{seed}.jsonl")

    def put(self, **body: Any) -> Any:
        return call(self.url, ARMS, "ECHO_RAY_NO_KEY", "arms.url", body=body, method="PUT")

    def live(self) -> dict[str, str]:
        """Number of the registry's version that every arm serves."""
        names = {version.content: version.name for version in self.registry.versions()}
        arms = call(self.url, ARMS, "ECHO_RAY_NO_KEY", "arms.url")["arms"]
        return {name: names[arm["version"].rpartition("-")[2]] for name, arm in arms.items()}

    def champion(self) -> str:
        return f"v{self.registry.aliases()['champion']}"

    def looks(self) -> list[dict[str, Any]]:
        return rollout_state.looks(self.output)

    def notes(self) -> list[tuple[str, str]]:
        """(what, note) of the registry's history, of lines with a note."""
        return [(entry.what, entry.note) for entry in self.registry.history() if entry.note]

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.output / rollout_state.STATE).read_text(encoding="utf-8"))
        return found


@contextmanager
def hands(models: tuple[Path, ...], root: Path, **changes: Any) -> Iterator[Hands]:
    """A registry of `models` whose champion is the first, which is served."""
    registry = Registry(root / "registry")
    for model in models:
        registry.add(model)
    registry.promote("v1")
    with (
        gateways.service(models[0], root / "log", Engine(), **changes) as service,
        gateways.listening(service) as url,
    ):
        made = Hands(root, url, registry, service)
        made.log.mkdir()
        made.put(arms={"base": {"model": str(registry.version("v1").model)}})
        yield made
