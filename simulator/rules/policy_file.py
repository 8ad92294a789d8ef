"""Frozen policies: a rule with its calibrated shift, and proof that neither moved since (section 4, rule 2).

A frozen file is one JSON object: `policy` (name), `shift`, `rule_hash` (sources of the rules when it was
calibrated), `baseline` (version of the model on which the shift was set), `figures` (what calibration
measured, for readers) and `hash` over all of these. Not covered: who wrote it; the hash guards against
accidents and quiet edits, not against somebody who computes it anew.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echo_ray.errors import ConfigError
from simulator.rules import policies
from simulator.rules.policy import Policy, policy_hash

_FIELDS = {"policy", "shift", "rule_hash", "baseline", "figures", "hash"}


def freeze(path: Path, name: str, shift: float, *, baseline: str, figures: Mapping[str, Any]) -> Policy:
    """Write the frozen file of the rule `name` and return the policy that `load` will give.

    `figures` are JSON values. Raises ConfigError for an unknown rule, a shift beyond 1, or a `path` that
    does not end in `.json`.
    """
    frozen = policies.named(name, shift)
    if path.suffix != ".json":
        raise ConfigError(f"simulate.policy: a frozen policy must be a .json file, got {path}")
    content = {
        "policy": name,
        "shift": float(shift),
        "rule_hash": policy_hash(),
        "baseline": baseline,
        "figures": dict(figures),
    }
    text = json.dumps(content | {"hash": _hash(content)}, indent=2, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    return frozen


def load(name_or_path: str) -> Policy:
    """The rule of that name, or that of a frozen file, whose name ends in `.json`.

    Raises ConfigError, naming simulate.policy, for what is neither, and for a file that was edited by hand
    or calibrated with other rules than today's.
    """
    path = Path(name_or_path)
    if path.suffix != ".json":
        return policies.named(name_or_path)
    content = _content(path)
    if content["hash"] != _hash({key: value for key, value in content.items() if key != "hash"}):
        raise ConfigError(f"simulate.policy: {path} was changed after calibration (its hash does not match)")
    if content["rule_hash"] != policy_hash():
        raise ConfigError(
            f"simulate.policy: {path} was calibrated with rules {content['rule_hash']}, today's are "
            f"{policy_hash()}; calibrate again"
        )
    return policies.named(content["policy"], content["shift"])


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"simulate.policy: {path} cannot be read as JSON: {reason}") from error
    if not isinstance(content, dict) or set(content) != _FIELDS:
        raise ConfigError(f"simulate.policy: {path} must hold {', '.join(sorted(_FIELDS))} and nothing else")
    if not isinstance(content["policy"], str) or not _finite(content["shift"]):
        raise ConfigError(f"simulate.policy: {path} must hold a name and a number as policy and shift")
    return content


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _hash(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()
