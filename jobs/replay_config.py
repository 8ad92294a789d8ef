"""Settings of `replay`."""

from pathlib import Path

from pydantic import Field

from echo_ray.config import Config
from echo_ray.experiment.tally import Acceptance


class ReplayConfig(Config):
    """Offline replay: candidates answer the contexts of a log, and what the control's proposals met there
    predicts their acceptance. Draw and engine are those of `evaluate`; the window (`serve.context_tokens`,
    `serve.suffix_share`, `serve.max_tokens`) is the service's that left the log.
    """

    candidates: list[Path] = Field(default_factory=list)
    """Models to predict: folders, or versions of a registry (`REGISTRY@champion`)."""
    control: Path | None = None
    """Model that was served, to be asked again: how often it says what the log says shows whether the replay
    is faithful. Absent: the log alone speaks for it."""
    input: Path | None = None
    """Folder of samples mined from `replay.log`, after any stage from `mine` to `balance`."""
    log: Path | None = None
    """Experience log that the samples were mined from."""
    output: Path | None = None
    """Folder for `replay.json`, `replay.html`, contexts and predictions."""
    arm: str | None = None
    """Arm of the log that is the control; needed where the log has several."""
    acceptance: Acceptance = Acceptance.AUTO
    """Whose word counts. `auto`: what a user's client reports, where it reports anything, else what the
    requests show; `events` or `stream`: one of the two for everybody."""
    measured: list[Path] = Field(default_factory=list)
    """`report.json` of experiments that compared candidates with the control, to stand beside the prediction.
    A report that names its models is matched by them, another by its place among the candidates."""
    refine: bool = True
    """Cut answers as `serve` does before anybody sees them. False for candidates that another service will
    serve as they are."""
    folds: int = Field(5, ge=2)
    """Groups of users; each is predicted by curves of the others (count)."""
    ridge: float = Field(1.0, gt=0)
    """Penalty on the squared slopes of standardised features."""
    resamples: int = Field(1000, ge=100)
    """Resamples of the users behind an interval; each fits all curves again (count)."""
    seed: int = 0
    """Seed of folds and resamples."""
