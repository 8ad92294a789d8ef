"""What the developers of a run have in common, and what their tallies add up to.

A `Job` is all that a worker process needs besides the corpus. Running the same users in two jobs that
differ in `arm` and `engine` gives twins: the same work and the same draws (section 5). A job with a shadow
has both engines asked at the same requests and lives with the first (`simulator.desk.shadow`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from echo_ray.config import fingerprint
from simulator import engines
from simulator.config import SimulateConfig, Split
from simulator.desk.developer import Developer
from simulator.fleet.client import CompletionClient
from simulator.fleet.crew import Completer, Crew, Flow, InProcess, Shadowed
from simulator.rules import policy
from simulator.truth import Tally
from simulator.work.plan import plan
from simulator.work.sources import Corpus

TECHNICAL = frozenset({"users", "concurrency", "attempts", "policy"})
"""Settings that do not decide what one developer does. The policy does, but by its content, not its name."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """Another engine that is asked beside the one that answers; its arm is forced like the job's."""

    engine: str
    arm: str | None


@dataclass(frozen=True, slots=True)
class Job:
    """Who works, for whom the log is, and where it goes; picklable."""

    config: SimulateConfig
    split: Split
    engine: str
    """Address of a completion service, or the name of a stand-in."""
    arm: str | None
    folder: Path
    """Where the ledgers are."""
    shadow: Shadow | None = None

    @property
    def over_http(self) -> bool:
        """Whether requests leave the process."""
        return any(is_address(engine) for engine in self.engines)

    @property
    def engines(self) -> tuple[str, ...]:
        """Who answers, and the shadow if there is one."""
        return (self.engine,) if self.shadow is None else (self.engine, self.shadow.engine)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run gave; `tallies` in the order of the users."""

    tallies: Sequence[Tally]

    @property
    def requests(self) -> int:
        """Requests sent, cancelled and speculative ones included."""
        return sum(tally.requests + tally.speculative for tally in self.tallies)

    @property
    def failed(self) -> int:
        """Requests that were not cancelled and never answered."""
        return sum(tally.failed for tally in self.tallies)

    @property
    def acceptance_rate(self) -> float | None:
        """AR: accepted / shown for 750 ms or accepted; None when nothing was shown."""
        shown = sum(tally.shown_750 for tally in self.tallies)
        return sum(tally.accepted for tally in self.tallies) / shown if shown else None

    @property
    def generation_rate(self) -> float:
        """GR: accepted characters / (accepted + typed characters)."""
        accepted = sum(tally.accepted_chars for tally in self.tallies)
        return accepted / max(1, accepted + sum(tally.typed_chars for tally in self.tallies))


def names(split: Split, count: int) -> list[str]:
    """Pseudonyms of the developers of one split; those of different splits are different people."""
    return [f"{split[0]}{number:05d}" for number in range(count)]


def is_address(engine: str) -> bool:
    """Whether `engine` is the address of a service."""
    return engine.startswith(("http://", "https://"))


def behaviour(config: SimulateConfig) -> dict[str, Any]:
    """The settings that decide what a developer does, as plain values, and the policy by its hash.

    Raises ConfigError for a policy that does not exist.
    """
    plain = config.model_dump(mode="json", include=set(SimulateConfig.model_fields) - TECHNICAL)
    return plain | {"policy": policy.load(config.policy).hash}


def crew(job: Job, corpus: Corpus, http: Callable[[], aiohttp.ClientSession]) -> Crew:
    """The developers of `job` in this process; `http` gives the connections when they are needed.

    Over HTTP many work at once. An engine in this process never waits, so there they work one by one.
    """
    rule = policy.load(job.config.policy)
    header = {
        "kind": "run",
        "arm": job.arm,
        "seed": job.config.seed,
        "policy": rule.name,
        "policy_hash": rule.hash,
        "shift": rule.shift,
        "config": fingerprint(behaviour(job.config)),
    }

    def flow(user: str) -> Flow:
        return Developer(job.config, plan(job.config, corpus, user), rule).run()

    def completer(engine: str, arm: str | None) -> Completer:
        if is_address(engine):
            return CompletionClient(http(), engine, job.config, arm)
        return InProcess(engines.engine(engine, engines.material(corpus, job.config.seed)))

    answering = completer(job.engine, job.arm)
    if job.shadow is not None:
        answering = Shadowed(answering, completer(job.shadow.engine, job.shadow.arm))
    return Crew(
        job.folder,
        flow,
        lambda user: header | {"user": user},
        answering,
        arm=job.arm,
        measured=job.config.latency == "measured",
        concurrency=job.config.concurrency if job.over_http else 1,
    )
