"""Settings of a simulation: who works, on what, in which editor, against which service.

The typing model has no settings on purpose: its constants come from the specification and from fits to
recorded traces (section 3). The acceptance policy is named, never tuned: `policy` is one of the frozen
rules, or a file that `calibrate` wrote (section 4, rule 2).
"""

from typing import Literal

from pydantic import Field, model_validator

from echo_ray.config import Config

Split = Literal["train", "heldout"]


class SimulateConfig(Config):
    """Simulated developers and their editor."""

    users: int = Field(40, ge=1)
    """Developers (count). The unit of randomisation and of every interval."""
    days: int = Field(1, ge=1)
    """Working days of each developer (count)."""
    active_minutes: float = Field(80.0, gt=0, le=600)
    """Median of a developer's active minutes per day, lognormal with a spread of 0.6 (virtual minutes;
    section 3.3). The work of a day is planned for it before the day begins, the same for every model."""
    seed: int = 0
    """Key of all draws: traits, work, typing, gating, latency, acceptance."""

    sources: list[str] = Field(["deepspeed"], min_length=1)
    """Where the code comes from: folders, installed packages, git repositories (work tree, bare or
    `.bundle`), Parquet files with the columns `repo`, `path`, `content`."""
    languages: list[str] = Field(["python"], min_length=1)
    """VS Code language identifiers to take from the sources, told by file extension."""
    history_share: float = Field(0.7, ge=0, le=1)
    """Share of the work that replays commits, where the source has a history; the rest writes pieces of
    its files anew (section 3.2)."""
    max_commits: int = Field(1_000, ge=1)
    """Use at most this many commits of each repository, the newest first (count)."""
    style: bool = True
    """Each developer writes in a style of their own (names, quotes, commas, comments), so that nobody is
    judged on the exact text of the repository (section 3.2)."""
    heldout_share: float = Field(0.3, gt=0, lt=1)
    """Share of source files kept for experiments; the others give experience. By hash of the path, the
    same for every seed, so an experiment never sees a file that a model has learned from."""
    min_file_chars: int = Field(400, ge=1)
    """Shorter files are skipped (characters)."""
    max_file_chars: int = Field(12_000, ge=100)
    """Longer files are skipped (characters)."""
    max_line_chars: int = Field(160, ge=20)
    """Files with a longer line count as generated and are skipped (characters)."""
    max_files: int = Field(2_000, ge=1)
    """Use at most this many files of each source, picked by hash of the path (count)."""
    min_intent_chars: int = Field(12, ge=1)
    """Shorter work items cut from files are not offered (characters). Those of commits may be shorter."""
    max_intent_chars: int = Field(1_000, ge=1)
    """Longer work items are not offered (characters)."""

    clients: dict[str, float] = Field({"default": 1.0}, min_length=1)
    """Editor plug-ins by name and weight; each developer has one. `default` follows section 3.3; `copilot`,
    `tabby`, `continue`, `llama.vim` behave as those do."""
    debounce_ms: float = Field(300.0, ge=0)
    """The plug-in `default` asks when no key came for this long (virtual milliseconds; section 3.3)."""
    gate_scale: float = Field(1.9, gt=0)
    """Factor on the share of opportunities at which `default` asks; the knob of requests per day
    (section 3.7)."""
    latency: Literal["drawn", "measured"] = "drawn"
    """`drawn`: every request takes a virtual time from a table that all arms share, so that queueing caused
    by the speed-up never leaks into behaviour. `measured`: developers live through the real time of the
    service, for a service whose slowness is what is studied."""
    latency_median_ms: float = Field(280.0, gt=0)
    """Median of the drawn latency, lognormal (milliseconds; section 3.3)."""
    latency_sd: float = Field(0.45, ge=0)
    """Standard deviation of the logarithm of the drawn latency (section 3.3)."""
    prefix_chars: int = Field(16_000, ge=1)
    """Characters before the cursor that `default` sends. The default covers every admitted file."""
    suffix_chars: int = Field(16_000, ge=0)
    """Characters after the cursor that `default` sends."""

    policy: str = "p1"
    """Acceptance policy: `p1` to `p5` (section 3.5), or a JSON file written by `calibrate`."""
    trust_drift: bool = False
    """Developers trust more after a good surprise and less after a bad one (section 3.5; sensitivity)."""
    partial_share: float = Field(0.03, ge=0, le=1)
    """Share of attended suggestions of which only the right beginning is taken (section 3.5 [A])."""

    model: str | None = None
    """`model` of the request body; null leaves it to the server."""
    max_tokens: int | None = Field(None, ge=1)
    """`max_tokens` of the request body; null leaves it to the server."""
    concurrency: int = Field(32, ge=1)
    """Developers that one worker lets work at the same time (count); also its most requests in flight."""
    request_timeout_s: float = Field(60.0, gt=0)
    """A request without an answer for this long stays unanswered (real seconds)."""
    attempts: int = Field(3, ge=1)
    """Tries per request when the service is unreachable or answers 429 or 503 (count)."""
    cancel_after_ms: float = Field(80.0, ge=0)
    """A request that the user's next key cancels is aborted this long after sending (real milliseconds).
    Shorter than an answer takes, longer than a busy proxy needs to hand the request to the service."""

    @model_validator(mode="after")
    def _consistent(self) -> "SimulateConfig":
        if self.min_file_chars > self.max_file_chars:
            raise ValueError(
                f"simulate.min_file_chars {self.min_file_chars} exceeds max_file_chars {self.max_file_chars}"
            )
        if self.min_intent_chars > self.max_intent_chars:
            raise ValueError(
                f"simulate.min_intent_chars {self.min_intent_chars} exceeds "
                f"max_intent_chars {self.max_intent_chars}"
            )
        if min(self.clients.values()) < 0 or not sum(self.clients.values()):
            raise ValueError("simulate.clients needs weights of 0 or more, one of them above 0")
        return self
