"""Settings of `arms` and `doctor`, which talk to a running service."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from echo_ray.config import Config


class PlannedArm(Config):
    """One arm of a new plan."""

    model: str | None = None
    """Model folder, or a version in a registry (`runs/models@champion`); none keeps the arm's model."""
    weight: float = Field(1.0, gt=0)
    """Share of the users relative to the other arms' weights."""


class ArmsConfig(Config):
    """What a running service serves to whom."""

    action: Literal["show", "set", "on", "off"] = "show"
    """`show` the plan; `set` a new one (`arms.plan`); `off` answers every request with silence at once, `on`
    takes that back."""
    plan: dict[str, PlannedArm] = Field(default_factory=dict)
    """Arms by name; those that are left out end once their last request is answered."""
    url: str = "http://127.0.0.1:8000"
    """Address of the service."""
    api_key_env: str = "ECHO_RAY_API_KEY"
    """Environment variable that holds an administrator's API key, where the service wants one."""
    timeout_s: float = Field(300.0, gt=0)
    """How long a new model may take to load (seconds)."""
    format: Literal["table", "json"] = "table"
    """`table` for people, `json` for machines."""


class DoctorConfig(Config):
    """What this machine lacks to run echo_ray."""

    url: str | None = None
    """Address of a running service to look at too."""
    api_key_env: str = "ECHO_RAY_API_KEY"
    """Environment variable that holds an API key, where the service wants one."""
    folder: Path = Path("runs")
    """Where results will be written."""
    min_disk_gb: float = Field(5.0, ge=0)
    """Warn when less is free there (GB)."""
    format: Literal["table", "json"] = "table"
    """`table` for people, `json` for machines."""
