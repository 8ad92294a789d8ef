"""Settings of a simulation: who works, on what, in which editor, against which service.

The acceptance policy and the typing model have no settings on purpose: their constants come from the
specification and stay frozen (section 4, rule 2), so no run can tune the gain that it measures.
"""

from typing import Literal

from pydantic import Field, model_validator

from echo_ray.config import Config

Split = Literal["train", "heldout"]


class SimulateConfig(Config):
    """Simulated developers and their editor."""

    users: int = Field(40, ge=1)
    """Developers (count). The unit of randomisation and of every interval."""
    sessions_per_user: int = Field(2, ge=1)
    """Working sessions of one developer, at least 15 virtual minutes apart (count)."""
    files_per_session: int = Field(4, ge=1)
    """Files that a developer opens in a session (count)."""
    items_per_file: int = Field(2, ge=1)
    """At most this many work items (blanked pieces of code) are written per opened file (count)."""
    seed: int = 0
    """Key of all draws: typing, gating, latency, acceptance, choice of work."""

    sources: list[str] = Field(["deepspeed"], min_length=1)
    """Where the code comes from: folders, installed packages, git repositories (work tree, bare or
    `.bundle`)."""
    languages: list[str] = Field(["python"], min_length=1)
    """VS Code language identifiers to take from the sources, told by file extension."""
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
    """Shorter work items are not offered (characters)."""
    max_intent_chars: int = Field(1_000, ge=1)
    """Longer work items are not offered (characters)."""

    debounce_ms: float = Field(300.0, ge=0)
    """The editor asks when no key came for this long (virtual milliseconds; section 3.3)."""
    min_prompt_chars: int = Field(10, ge=0)
    """The editor does not ask with a shorter prefix (characters; Copilot's rule, section 1.4)."""
    latency_median_ms: float = Field(280.0, gt=0)
    """Median of the virtual latency, lognormal (milliseconds; section 3.3). Real latency never leaks into
    behaviour."""
    latency_sd: float = Field(0.45, ge=0)
    """Standard deviation of the logarithm of the virtual latency (section 3.3)."""
    prefix_chars: int = Field(16_000, ge=1)
    """Characters before the cursor that are sent. The default covers every admitted file."""
    suffix_chars: int = Field(16_000, ge=0)
    """Characters after the cursor that are sent. The default covers every admitted file."""

    model: str | None = None
    """`model` of the request body; null leaves it to the server."""
    max_tokens: int | None = Field(None, ge=1)
    """`max_tokens` of the request body; null leaves it to the server."""
    concurrency: int = Field(32, ge=1)
    """Developers that work at the same time (count); also the most requests in flight."""
    request_timeout_s: float = Field(60.0, gt=0)
    """A request without an answer for this long counts as failed (real seconds)."""
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
        return self
