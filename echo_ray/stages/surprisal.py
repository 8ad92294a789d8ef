"""Surprisal of every target under the current model (paper 4.5, "PPL-based denoising"; Wenzek et al. 2020).

`target_tokens` is the target's length in the model's tokens, `perplexity` = exp(mean of -log p) over the
target and the end token, given the prompt that training and serving render. A void's is that of the end token
alone: 1 where the model is sure that silence is right. Rows with a `drop` get neither; a target that leaves
no room for a prompt (`pack` will drop it) gets its length only.

This module is the pure part: what to score, and how numbers become columns. A `Scorer` holds the model
(`llm.perplexity`). Values are rounded to 4 significant digits and capped at MAX_PERPLEXITY, also where a
model gives infinity or no number at all, so that what comes after can count on finite ones.

Not covered: perplexity of single tokens, of the context, or under a second model.
"""

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import pyarrow as pa
from pydantic import Field

from echo_ray import schema
from echo_ray.config import Config
from echo_ray.errors import SchemaError
from echo_ray.prompts import FastTokenizer, Template
from echo_ray.schema import Drop
from echo_ray.stages import conform, extend, rows
from echo_ray.stages.pack import PackConfig, encode

NEEDED = ("sample_id", "prefix", "suffix", "target")
"""Columns without which nothing can be scored; others may be missing."""
MAX_PERPLEXITY = 1e6
"""Finite stand-in for everything above it."""
DIGITS = 4
"""Significant digits kept: what lies below is noise of the arithmetic."""
BIN = 0.05
"""Width of a bin of perplexity (natural logarithm): 5% wide."""


class PerplexityConfig(Config):
    """Settings of `perplexity`; prompts are cut as `pack` is told to."""

    input: Path | None = None
    """Folder of selected samples."""
    output: Path | None = None
    """Folder for the samples with their perplexity."""
    backend: Literal["torch", "vllm", "none"] = "torch"
    """`torch` (transformers), `vllm` (prompt log-probabilities), or `none`: lengths only, no model."""
    model: Path | None = None
    """Model folder; that of `train.model` when absent."""
    dtype: Literal["bfloat16", "float32", "float16"] = "bfloat16"
    """Number format of the weights; bfloat16 is what serving uses."""
    micro_tokens: int = Field(4096, ge=64)
    """torch: tokens of one forward pass, padding included."""
    workers: int = Field(1, ge=1)
    """Ray Data actors, each with its own model (count)."""
    cpus: float = Field(1.0, ge=0)
    """Logical CPUs that Ray reserves per worker."""
    gpus: int = Field(0, ge=0)
    """GPUs per worker (count); 0 runs on CPU. `torch` uses one."""
    threads: int = Field(2, ge=1)
    """Compute threads per worker on CPU (count)."""
    concurrency: int = Field(64, ge=1)
    """vllm: samples in one engine step (count)."""
    kv_cache_mb: int = Field(512, ge=16)
    """vllm: key-value cache per worker on CPU (MiB)."""
    gpu_memory_share: float = Field(0.9, gt=0, le=1)
    """vllm: share of each GPU's memory that the engine may use."""


class Applied(Config):
    """What decides a result: how and how precisely it is computed, and the prompt window of `pack`."""

    backend: Literal["torch", "vllm", "none"]
    dtype: str
    window: PackConfig
    """Of these, `cutoff_len`, `context_tokens` and `suffix_share` decide the prompt."""


class Encoded(NamedTuple):
    """Token ids of one sample; those from `prompt` on are scored."""

    ids: list[int]
    prompt: int

    @property
    def answer(self) -> int:
        """Tokens that are scored: the target and the end token."""
        return len(self.ids) - self.prompt


class Scorer(Protocol):
    """A model that says how likely answers are."""

    def surprisal(self, samples: Sequence[tuple[Sequence[int], int]]) -> list[float]:
        """Sum over each sample's answer of -log p(token | what stands before it), nats."""
        ...


def bin_of(perplexity: float) -> int:
    """Number of the bin that holds `perplexity`; infinity is in the last."""
    return int(math.log(min(max(perplexity, 1.0), MAX_PERPLEXITY)) / BIN)


def edge(number: int) -> float:
    """Lowest perplexity of a bin."""
    return math.exp(number * BIN)


def rounded(perplexity: float) -> float:
    """`perplexity`, finite, with DIGITS significant digits."""
    known = perplexity if perplexity < MAX_PERPLEXITY else MAX_PERPLEXITY  # no number is never smaller
    return float(f"{known:.{DIGITS}g}")


def perplexity_of(nats: float, tokens: int) -> float:
    """Perplexity of an answer of `tokens` tokens with a surprisal of `nats` in all."""
    mean = nats / tokens
    return rounded(math.exp(mean) if mean < math.log(MAX_PERPLEXITY) else MAX_PERPLEXITY)


def measure(
    table: pa.Table, config: Applied, tokenizer: FastTokenizer, template: Template, scorer: Scorer | None
) -> tuple[pa.Table, dict[str, Any]]:
    """(SELECTED rows as SCORED rows, facts that add up); without a scorer perplexities are null."""
    began = time.monotonic()
    table = conform(table, schema.SELECTED, NEEDED, "perplexity")
    lengths: list[int | None] = [None] * table.num_rows
    values: list[float | None] = [None] * table.num_rows
    chosen: list[tuple[int, Encoded]] = []
    names = ("sample_id", "drop", "prefix", "suffix", "target")
    for row, (sample_id, drop, prefix, suffix, target) in enumerate(rows(table, names)):
        if drop is not None:
            continue
        if prefix is None or suffix is None or target is None:
            raise SchemaError(
                f"perplexity: sample {sample_id!r} has no drop and lacks a prefix, suffix or target"
            )
        if scorer is not None:
            encoded = encode(prefix, suffix, target, tokenizer, template, config.window)
            if not isinstance(encoded, Drop):
                chosen.append((row, Encoded(*encoded)))
                lengths[row] = chosen[-1][1].answer - 1
                continue
        lengths[row] = len(tokenizer.encode(target))
    broken = 0
    bins: dict[str, Counter[str]] = {"void": Counter(), "code": Counter()}
    if scorer is not None:
        found = scorer.surprisal([encoded for _, encoded in chosen])
        for (row, encoded), nats in zip(chosen, found, strict=True):
            broken += not math.isfinite(nats)
            value = values[row] = perplexity_of(nats, encoded.answer)
            bins["code" if lengths[row] else "void"][str(bin_of(value))] += 1
    facts = {
        "seconds": round(time.monotonic() - began, 3),
        "rows": len(chosen),
        "tokens": sum(len(encoded.ids) for _, encoded in chosen),
        "no_room": sum(n is not None for n in lengths) - len(chosen) if scorer is not None else 0,
        "not_finite": broken,
        "bins": {kind: dict(sorted(counts.items())) for kind, counts in bins.items()},
    }
    columns: dict[str, list[Any]] = {"target_tokens": lengths, "perplexity": values}
    return extend(table, schema.SCORED, columns), {"perplexity": facts}


def quantiles(bins: Mapping[str, int], shares: Sequence[float] = (0.5, 0.9, 0.99)) -> dict[str, float]:
    """Perplexities (upper edges, 5% coarse) below which the given shares of a histogram of `facts` lie."""
    total, result = sum(bins.values()), {}
    for share in shares:
        below = 0
        for number in sorted(map(int, bins)):
            below += bins[str(number)]
            if below >= share * total:
                result[f"{share:g}"] = rounded(edge(number + 1))
                break
    return result
