"""Settings of `experiment`, on simulated users and on the log of a served A/B."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from echo_ray.config import Config
from echo_ray.experiment.tally import Acceptance


class ExperimentConfig(Config):
    """Settings of `experiment`: developers with two models (twins or parallel arms), or the arms of a log."""

    output: Path | None = None
    """Folder for tallies, truth, logs and the report."""
    base: Path | None = None
    """Model folder of the arm `base`; the bundled base when absent."""
    echo: Path | None = None
    """Model folder of the arm `echo`: developers are simulated with both models."""
    users: int = Field(48, ge=2)
    """Developers of an arm, on files that no model has learned from (count)."""
    design: Literal["twins", "parallel"] = "twins"
    """Simulated developers only. `twins`: each works once with either model, under the same draws, so that
    the model alone differs. `parallel`: each arm has developers of its own, as in an A/B test; needs several
    times as many."""
    resamples: int = Field(10_000, ge=100)
    """Bootstrap resamples and sign flips (count)."""
    log: Path | None = None
    """Experience log of a served A/B, instead of `experiment.echo`: nobody is simulated."""
    control: str | None = None
    """Log only: name of the arm to compare with."""
    treatment: str | None = None
    """Log only: name of the arm that is to be better."""
    acceptance: Acceptance = Acceptance.AUTO
    """Log only: whose word counts. `auto`: what a user's client reports, where it reports anything, else what
    the requests show; `events` or `stream`: one of the two for everybody."""
    start_ms: int | None = None
    """Log only: when the experiment began (UTC milliseconds). Requests before it are the pre-period that
    sharpens the comparison (CUPED), whatever arm they name."""
    end_ms: int | None = None
    """Log only: when it ended (UTC milliseconds); later requests do not count."""
    weights: dict[str, float] | None = None
    """Log only: share of the users that each of the two arms was promised, `{control: 1, treatment: 1}` by
    their names. Absent: equal."""
    twins: bool = False
    """Log only: every user worked in both arms."""
    seed: int = 0
    """Log only: of resamples."""
