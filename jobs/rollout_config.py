"""Settings of `rollout`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from echo_ray.config import Config
from echo_ray.registry.values import CHAMPION


class RolloutConfig(Config):
    """A new version for some of the users of a running service, and what becomes of it."""

    action: Literal["status", "start", "watch", "promote", "rollback"] = "status"
    """`status`; `start`, which gives the candidate its share of the users; `watch`, which looks at the log
    until the candidate is promoted or taken back; `promote` or `rollback` by hand."""
    output: Path | None = None
    """Folder of one rollout: `rollout.json`, what was set, and `looks.jsonl`, what was seen."""
    candidate: str | None = None
    """`start` only: the version to try, `REGISTRY@v3`. Control is what the registry's alias points to."""
    alias: str = CHAMPION
    """`start` only: the registry's alias that is served, and that moves when the candidate is promoted."""
    share: float = Field(0.5, gt=0, lt=1)
    """`start` only: share of the users who get the candidate. A smaller one risks less and takes longer; a
    look counts from 30 users in each arm."""
    max_hours: float = Field(168.0, gt=0)
    """`start` only: the planned end, after this time (hours). Without a claim the candidate is taken back."""
    looks: int | None = Field(None, ge=1)
    """`start` only: end after so many looks `rollout.every_s` apart, where that is earlier (count)."""
    url: str = "http://127.0.0.1:8000"
    """`start` only: address of the service."""
    log: Path | None = None
    """`watch` only: the service's experience log (`serve.log_dir`)."""
    every_s: float = Field(600.0, gt=0)
    """Time between two looks (seconds)."""
    api_key_env: str = "ECHO_RAY_API_KEY"
    """Environment variable that holds an administrator's API key, where the service wants one."""
    timeout_s: float = Field(300.0, gt=0)
    """How long a new model may take to load (seconds)."""
    verify: bool = True
    """Read a version's bytes again before an alias is moved to it, and refuse one that has changed."""
    note: str = Field("", max_length=1000)
    """Why, in a few words, when it is done by hand; kept in the registry's history."""
    format: Literal["table", "json"] = "table"
    """`table` for people, `json` for machines."""
