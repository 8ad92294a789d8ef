"""Settings of `evaluate`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from echo_ray.config import Config


class EvaluateConfig(Config):
    """Offline benchmark of models on held-out gaps; sequences are cut as `pack` is told to."""

    models: list[Path] = Field(default_factory=list)
    """Models to compare: folders, or versions of a registry (`REGISTRY@champion`, `REGISTRY@v3`). Differences
    are taken to the first one."""
    input: Path | None = None
    """Folder of samples (Parquet) after any stage from `mine` to `balance`, or of JSON Lines with `prefix`,
    `suffix`, `target` or `commit`, and optionally `language`, `user`, `sample_id`."""
    output: Path | None = None
    """Folder for `evaluate.json`, `evaluate.html`, the samples and the predictions."""
    max_samples: int | None = Field(1000, ge=1)
    """Most samples of one language (count), drawn by their ids. Null takes all."""
    keep: list[str] = Field(default_factory=list)
    """Reasons for which a stage dropped rows that count here all the same, e.g. `[select_holdout]`."""
    trained_users: bool = False
    """Keep samples of users whom one of the models was trained on. As far as models say so (`users.json`
    beside them); what the models before them learned from is not known."""
    engine: Literal["vllm", "transformers"] = "vllm"
    """Who generates: `vllm`, or `transformers` for machines without it."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format. float32: an answer does not depend on what else is in the batch, but for exact ties;
    bfloat16 is what serving uses, and what a large model on a GPU needs."""
    max_tokens: int = Field(64, ge=1)
    """Longest answer (tokens)."""
    context_tokens: int | None = Field(None, ge=16)
    """Longest prompt (tokens); `pack.context_tokens` when absent."""
    suffix_share: float | None = Field(None, ge=0, le=0.9)
    """Most of the prompt that the suffix may take; `pack.suffix_share` when absent."""
    perplexity: bool = True
    """Also score the targets themselves."""
    workers: int = Field(1, ge=1)
    """Ray Data actors for one model, each with its own copy (count)."""
    cpus: float = Field(1.0, ge=0)
    """Logical CPUs that Ray reserves for each."""
    gpus: int = Field(0, ge=0)
    """GPUs of each (count); 0 runs on CPU. `transformers` uses one."""
    threads: int = Field(2, ge=1)
    """Compute threads of each on CPU (count)."""
    concurrency: int = Field(32, ge=1)
    """Samples decoded together (count)."""
    kv_cache_mb: int = Field(512, ge=16)
    """vllm: key-value cache of each on CPU (MiB)."""
    gpu_memory_share: float = Field(0.9, gt=0, le=1)
    """vllm: share of each GPU's memory that the engine may use."""
    resamples: int = Field(1000, ge=100)
    """Resamples of the users behind an interval (count)."""
    examples: int = Field(8, ge=0, le=50)
    """Samples that the page shows (count)."""
    seed: int = 0
    """Seed of the draw of samples and examples, and of the resamples."""
