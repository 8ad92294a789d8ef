"""Settings of the verb `validity`."""

from pathlib import Path

from pydantic import Field

from echo_ray.config import Config


class ValidityConfig(Config):
    """Settings of `validity`: are the simulated developers like real ones, as far as public figures tell?"""

    input: Path | None = None
    """Folder that `simulate` left (with `truth/`), of the base model that the policy was fitted for."""
    output: Path | None = None
    """Folder for `validity.json` and `validity.html`."""
    traces: Path | None = None
    """Folder of recorded edits of real people (editing traces, VS Code recordings). Absent: only the figures
    that the specification prints of them."""
    control: Path | None = None
    """Folder that `simulate` left of the same users without suggestions (`simulate.engine=empty`): what
    typing is like without them, and what they save. Absent: neither is known."""
    bounds: Path | None = None
    """JSON list of stand-in engines with `engine`, `ar`, `gr`, `time_saved`, `requests`, `shown`, `users`."""
    resamples: int = Field(1_000, ge=100)
    """Resamples of the users behind every interval (count)."""
