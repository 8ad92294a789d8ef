"""The plan of a running service on disk, so that a gateway that crashed goes on with it.

The file lies beside the log's folder; a new `echo-ray serve` removes it and begins with its configuration.
"""

import json
import os
from pathlib import Path

from echo_ray.serve.config import ServeConfig
from echo_ray.serve.lanes import Plan


def place(config: ServeConfig) -> Path:
    """Where the plan of the service with this log is kept."""
    folder = config.resolved_log_dir
    return folder.parent / f"{folder.name}.plan.json"


def keep(config: ServeConfig, plan: Plan) -> None:
    """Write `plan`, whole or not at all."""
    path = place(config)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(plan.plain()), encoding="utf-8")
    part.replace(path)


def recalled(config: ServeConfig) -> Plan | None:
    """The plan that was kept; None when there is none."""
    path = place(config)
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    arms = found["arms"]
    return Plan(
        versions={name: arm["version"] for name, arm in arms.items()},
        weights={name: arm["weight"] for name, arm in arms.items()},
        salt=found["salt"],
        on=found["on"],
        models={arm["version"]: arm["model"] for arm in arms.values() if arm["model"]},
    )


def forget(config: ServeConfig) -> None:
    """Remove what was kept."""
    place(config).unlink(missing_ok=True)
