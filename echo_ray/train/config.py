"""Settings of pretraining and of supervised fine-tuning; importing this needs no torch."""

from pathlib import Path

from pydantic import Field

from echo_ray.config import Config


class PretrainConfig(Config):
    """How the bundled base model is made: tokenizer, corpus, shape, schedule."""

    output: Path = Path("runs/pretrain")
    """Folder for checkpoints, `metrics.jsonl` and the finished model in `model/`."""
    sources: tuple[str, ...] = ("stdlib",)
    """What to learn from: `stdlib` (of the running interpreter), folders, or Parquet files with the string
    columns `repo`, `path`, `content`. Tests and benchmarks are left out by path."""
    extensions: tuple[str, ...] = (".py",)
    """File name endings that count as code."""
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
    compile: bool = True
    """Compile the model (needs a C++ compiler on CPU); slower to start, faster to train."""
    seed: int = 0
    """Seed of weights, order and gaps."""


class TrainConfig(Config):
    """Supervised fine-tuning on packed samples (paper 4.6), DeepSpeed under Ray Train."""

    input: Path | None = None
    """Folder of packed samples."""
    output: Path | None = None
    """Folder for checkpoints, `metrics.jsonl` and the finished model in `model/`."""
    model: Path | None = None
    """Model folder to start from; the bundled base when absent."""
    workers: int = Field(2, ge=1)
    """Ray Train workers, one process each; on GPU machines one per GPU."""
    threads_per_worker: int = Field(1, ge=1)
    """CPU threads of one worker."""
    zero_stage: int = Field(1, ge=0, le=3)
    """DeepSpeed ZeRO stage: what is sharded over the workers (1 optimizer, 2 gradients, 3 weights)."""
    epochs: int = Field(2, ge=1)
    """Passes over the samples."""
    max_minutes: float = Field(0.0, ge=0)
    """Stop starting new steps after this long; the schedule then ends early. 0 never stops."""
    batch: int = Field(32, ge=1)
    """Samples per optimizer step, over all workers."""
    micro_tokens: int = Field(2048, ge=64)
    """Most tokens of one forward pass, padding included."""
    lr: float = Field(5e-4, gt=0)
    """Peak learning rate of AdamW."""
    warmup_share: float = Field(0.1, ge=0, lt=1)
    """Share of the steps over which the rate rises."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this norm."""
    heldout_share: float = Field(0.05, ge=0, lt=0.5)
    """Share of the users, by hash, whose samples are measured and never trained on."""
    checkpoint_every: int = Field(50, ge=1)
    """Steps between checkpoints; a killed run resumes from the last one."""
    max_failures: int = Field(1, ge=0)
    """How often Ray Train restarts the workers after one died."""
    seed: int = 0
    """Seed of the order of the samples."""
