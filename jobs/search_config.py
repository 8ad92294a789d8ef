"""Settings of `search`: which mixtures are tried, on what, and what counts."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from echo_ray.config import Config

Range = tuple[float, float]


class SearchConfig(Config):
    """Settings of the search for a mixture; what is not searched comes from `balance`, `pack` and `train`."""

    input: Path | None = None
    """Folder of samples with perplexity, not balanced yet."""
    output: Path | None = None
    """Folder for `search.json` (every trial) and `mixture.yaml` (the best one, for `echo-ray balance`)."""
    trials: int = Field(16, ge=3)
    """Mixtures tried, the present one included, which is tried twice with two seeds (count)."""
    metric: Literal["loss", "exact_match", "silence_f1"] = "loss"
    """What decides: `loss` per target token, `exact_match` of greedy completions, or `silence_f1`."""
    model: Path | None = None
    """Model folder that every trial starts from; that of `train.model` when absent."""
    rows: int = Field(20_000, ge=1)
    """Samples to train on from which every trial takes its mixture, a keyed draw (count)."""
    heldout_share: float = Field(0.2, gt=0, lt=1)
    """Share of the users, by keyed hash, whose samples are measured and never trained on in a trial."""
    heldout_rows: int = Field(400, ge=1)
    """Samples that are measured, in their natural mixture, a keyed draw (count)."""
    steps: int = Field(60, ge=1)
    """Optimizer steps of a trial: every mixture gets as many samples (count)."""
    batch: int = Field(16, ge=1)
    """Samples per step (count)."""
    cpus: float = Field(2.0, gt=0)
    """Logical CPUs that Ray reserves per trial."""
    threads: int = Field(2, ge=1)
    """Compute threads of a trial on CPU (count)."""
    gpus: float = Field(0.0, ge=0)
    """Part of a GPU per trial; 0 runs on CPU."""
    concurrent: int = Field(1, ge=1)
    """Trials at the same time (count)."""
    seed: int = 0
    """Seed of the mixtures, of the users held out and of training."""
    void_ratio: Range = (0.02, 0.5)
    """Where `balance.void_ratio` is tried (lowest, highest), evenly in the logarithm."""
    short_share: Range = (0.02, 0.3)
    """Where `balance.short_share` is tried; `medium_share` is what short and long leave."""
    long_share: Range = (0.02, 0.3)
    """Where `balance.long_share` is tried."""
    tail_keep: Range = (0.0, 1.0)
    """Where `balance.tail_keep` is tried."""
    max_copies: Range = (1.0, 3.0)
    """Where `balance.max_copies` is tried."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        limits = {"void_ratio": (1e-6, 10.0), "short_share": (0.0, 0.49), "long_share": (0.0, 0.49)}
        limits |= {"tail_keep": (0.0, 1.0), "max_copies": (1.0, 100.0)}
        for name, (least, most) in limits.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise ValueError(f"{name} must be two rising numbers between {least:g} and {most:g}")
        return self
