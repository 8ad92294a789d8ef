"""Settings of pretraining; importing this needs no torch."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from echo_ray.config import Config

WORK_REPOSITORIES = (
    *("encode/httpx", "pallets/flask", "expressjs/express", "vuejs/pinia", "spf13/cobra"),
    *("square/javapoet", "google/leveldb", "open-source-parsers/jsoncpp", "elk-zone/elk"),
)
"""Where simulated developers work: a base model that knew them would look better than it is."""


class PretrainConfig(Config):
    """How the bundled base model is made: tokenizer, corpus, shape, schedule."""

    output: Path = Path("runs/pretrain")
    """Folder for checkpoints, `metrics.jsonl` and the finished model in `model/`."""
    sources: tuple[str, ...] = ("stdlib",)
    """What to learn from: `stdlib` (of the running interpreter), folders, or Parquet files with the string
    columns `repo`, `path`, `content`. Tests and benchmarks are left out by path."""
    shares: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default_factory=lambda: {"python": 1.0}, min_length=1
    )
    """How much of the training each language gets (relative; `python`, `javascript`, `typescript`, `vue`,
    `java`, `go`, `cpp`). Files in other languages are left out, and languages that no source holds."""
    exclude: tuple[str, ...] = WORK_REPOSITORIES
    """Repositories (`owner/name`) that are never trained on: where simulated developers work."""
    start: Path | None = None
    """Model folder of the same layout whose weights are the start, whatever its vocabulary; random weights
    when absent."""
    measure: Path | None = None
    """Model folder that is only measured on the held-out files: nothing is trained."""
    compare: Path | None = None
    """Model folder that the held-out report puts beside this one, such as the base model before."""
    heldout_spans: int = Field(200, ge=1)
    """Spans of held-out text per language for bits per byte."""
    heldout_gaps: int = Field(300, ge=1)
    """Held-out gaps per language for exact match."""
    heldout_share: float = Field(0.02, gt=0, lt=0.5)
    """Share of the files, by hash of their name, that is never trained on but measured."""
    vocab_size: int = Field(8192, ge=512)
    """Tokens of the byte-level BPE vocabulary, sentinels included."""
    hidden: int = Field(320, ge=64)
    """Width of the model."""
    layers: int = Field(6, ge=1)
    """Transformer blocks."""
    heads: int = Field(5, ge=1)
    """Attention heads; the width must be a multiple."""
    kv_heads: int = Field(1, ge=1)
    """Key and value heads (grouped-query attention)."""
    intermediate: int = Field(960, ge=64)
    """Width of the feed-forward layers."""
    max_position: int = Field(1024, ge=128)
    """Longest sequence the model is declared to handle (tokens)."""
    sequence: int = Field(512, ge=64)
    """Length of a training sequence (tokens)."""
    batch: int = Field(32, ge=1)
    """Sequences per optimizer step."""
    micro_batch: int = Field(16, ge=1)
    """Sequences per forward pass; `batch` is accumulated from these."""
    minutes: float = Field(90.0, gt=0)
    """Training time; the learning rate decays to zero at its end, so a run may be as long as one likes."""
    muon_lr: float = Field(0.02, gt=0)
    """Peak learning rate of Muon, for the matrices inside the blocks."""
    adam_lr: float = Field(0.004, gt=0)
    """Peak learning rate of AdamW, for embeddings and norms."""
    warmup_steps: int = Field(40, ge=0)
    """Steps of linear warm-up."""
    decay_share: float = Field(0.4, gt=0, le=1)
    """Last share of the time, over which the learning rate falls linearly to zero."""
    fim_share: float = Field(0.75, ge=0, le=1)
    """Share of the examples that are fill-in-the-middle; the rest is plain left to right."""
    eval_every_s: float = Field(180.0, gt=0)
    """Seconds of training between held-out measurements, each with a checkpoint."""
    eval_sequences: int = Field(96, ge=1)
    """Held-out sequences per measurement, always the same ones."""
    threads: int = Field(0, ge=0)
    """CPU threads; 0 uses every core."""
    loader_workers: int = Field(0, ge=0)
    """Processes that make batches ahead; 0 makes them in between, which is best on a CPU. A GPU needs one for
    about 150,000 tokens/s."""
    compile: bool = True
    """Compile the model (needs a C++ compiler on CPU); slower to start, faster to train."""
    seed: int = 0
    """Seed of weights, order and gaps."""
