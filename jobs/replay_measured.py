"""What an A/B measured, read from `report.json` of `experiment`, on simulated developers or a served log."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echo_ray.errors import ConfigError
from echo_ray.replay.predict import RATES

KEY = "replay.measured"
_ROLES = (("control", "treatment"), ("base", "echo"))
_VERSION = re.compile(r"-([0-9a-f]{10})\Z")


@dataclass(frozen=True, slots=True)
class Measured:
    """One report."""

    path: str
    control: frozenset[str]
    """Contents of the models that the control served; empty where the report does not say."""
    treatment: frozenset[str]
    rates: dict[str, dict[str, Any]]
    """By `RATES`: `control`, `treatment`, `estimate`, `ci95` (None where there is none)."""


def read(path: Path) -> Measured:
    """Raises ConfigError, one sentence, for a file that is no report."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{KEY}={path} cannot be read ({reason}): name a report.json") from None
    try:
        arms = value["arms"]
        roles = next(pair for pair in _ROLES if all(role in arms for role in pair))
        control, treatment = (arms[role] for role in roles)
        rates = {name: _rate(value["difference"][name], control[name], treatment[name]) for name in RATES}
        return Measured(str(path), _contents(control), _contents(treatment), rates)
    except (KeyError, TypeError, StopIteration, AttributeError, ValueError):
        raise ConfigError(
            f"{KEY}={path} is no report of experiment (arms, difference.acceptance_rate and "
            "difference.generation_rate are wanted): name its report.json"
        ) from None


def matched(
    reports: Sequence[Measured], candidates: Sequence[str], served: frozenset[str]
) -> dict[int, Measured]:
    """Reports by place of the candidate whose model's content they name, or else of the same place.

    `served` are contents of what the log's control was. Raises ConfigError for a report about other models.
    """
    found: dict[int, Measured] = {}
    for place, one in enumerate(reports):
        if served and one.control and not served & one.control:
            raise ConfigError(
                f"{KEY}={one.path} compares with the model {_named(one.control)} and the log was served by "
                f"{_named(served)}: name a report with the same control"
            )
        if one.treatment:
            at = next((n for n, content in enumerate(candidates) if content in one.treatment), None)
            if at is None:
                raise ConfigError(
                    f"{KEY}={one.path} measured the model {_named(one.treatment)}, which is none of "
                    "replay.candidates: add it there, or leave the report out"
                )
        elif place < len(candidates):
            at = place
        else:
            raise ConfigError(
                f"{KEY} names {len(reports)} reports for {len(candidates)} candidates: name one for each, in "
                "their order"
            )
        if at in found:
            raise ConfigError(f"{KEY}: {found[at].path} and {one.path} measured the same candidate: name one")
        found[at] = one
    return found


def contents(versions: Sequence[str]) -> frozenset[str]:
    """The part of immutable versions that is about content; other names say nothing."""
    return frozenset(match[1] for version in versions if (match := _VERSION.search(version)))


def overlap(a: Sequence[float] | None, b: Sequence[float] | None) -> bool | None:
    """Whether two intervals share a point; None where one does not exist."""
    if a is None or b is None:
        return None
    return max(a[0], b[0]) <= min(a[1], b[1])


def _rate(found: Any, control: Any, treatment: Any) -> dict[str, Any]:
    values = {"control": control, "treatment": treatment, "estimate": found["estimate"]}
    if any(isinstance(one, bool) or not isinstance(one, int | float | None) for one in values.values()):
        raise ValueError
    ends = [float(end) for end in found.get("ci95") or () if end is not None]
    return {**values, "ci95": ends if len(ends) == 2 else None}


def _contents(arm: dict[str, Any]) -> frozenset[str]:
    return contents([*arm.get("models", {}), *([arm["model"]] if arm.get("model") else [])])


def _named(models: frozenset[str]) -> str:
    return ", ".join(sorted(models))
