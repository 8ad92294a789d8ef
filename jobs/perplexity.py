"""Running `perplexity`: the model in Ray Data actors, or no model at all."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from echo_ray import data, models, schema
from echo_ray.data import Manifest, Outcome, Summary, Workers
from echo_ray.errors import ConfigError
from echo_ray.llm import perplexity as scoring
from echo_ray.llm.config import LlmConfig
from echo_ray.prompts import FastTokenizer, template_for
from echo_ray.stages import surprisal
from echo_ray.stages.surprisal import Applied, PerplexityConfig, Scorer
from jobs.settings import RunConfig


def perplexity_samples(config: RunConfig, source: Path, output: Path) -> Manifest:
    """Score every target under `source` with the current model. Needs a running Ray.

    Raises ConfigError or SchemaError, before any worker starts, for a model that cannot be loaded, has no
    fill-in-the-middle tokens or is made for shorter sequences.
    """
    settings = config.perplexity
    key = "perplexity.model" if settings.model else "train.model"
    model = (settings.model or config.train.model or models.BASE).resolve()
    models.check(model, key)
    longest = models.context_limit(model)
    needed = config.pack.cutoff_len + (settings.backend == "vllm")  # which makes one token more
    if settings.backend != "none" and longest is not None and longest < needed:
        raise ConfigError(
            f"{key}={model} is made for {longest} tokens and {needed} are needed: lower pack.cutoff_len"
        )
    window = config.pack.model_copy(update={"input": None, "output": None, "model": None})
    applied = Applied(backend=settings.backend, dtype=settings.dtype, window=window)
    workers = None
    if settings.backend != "none":
        workers = Workers(
            functools.partial(Stage, str(model), settings, needed),
            count=settings.workers,
            cpus=settings.cpus,
            gpus=settings.gpus,
            environment=scoring.environment(settings.backend, engine(model, settings, needed)),
        )
    return data.run_stage(
        "perplexity",
        functools.partial(lengths, model=str(model)) if workers is None else None,
        applied,
        source,
        output,
        schema.SCORED,
        identity={"model": models.version(model)},
        workers=workers,
        conclude=_conclude,
    )


class Stage:
    """The stage with a model: built once in each actor."""

    def __init__(self, model: str, settings: PerplexityConfig, longest: int) -> None:
        self._tokenizer = FastTokenizer(Path(model))
        self._template = template_for(self._tokenizer)
        self._scorer = scorer(Path(model), settings, longest)

    def __call__(self, table: pa.Table, config: Applied) -> Outcome:
        """SELECTED rows to SCORED rows."""
        return Outcome(*surprisal.measure(table, config, self._tokenizer, self._template, self._scorer))


def scorer(model: Path, settings: PerplexityConfig, longest: int) -> Scorer:
    """The model behind `settings.backend`, for sequences of at most `longest` tokens."""
    if settings.backend == "torch":
        return scoring.TorchScorer(
            model, settings.dtype, settings.micro_tokens, settings.threads, gpu=settings.gpus > 0
        )
    return scoring.VllmScorer(engine(model, settings, longest))


def engine(model: Path, settings: PerplexityConfig, longest: int) -> LlmConfig:
    """The settings that a worker's engine shares with a teacher's."""
    shared = ("dtype", "concurrency", "kv_cache_mb", "gpus", "gpu_memory_share", "threads")
    chosen = {name: getattr(settings, name) for name in shared}
    return LlmConfig(model=str(model), max_model_len=longest, **chosen)


def lengths(table: pa.Table, config: Applied, model: str) -> Outcome:
    """The stage without a model: lengths in tokens, null perplexities."""
    tokenizer = FastTokenizer(Path(model))
    return Outcome(*surprisal.measure(table, config, tokenizer, template_for(tokenizer), None))


def _conclude(summary: Summary) -> Mapping[str, Any]:
    """The workers' sums, and quantiles of the perplexity of voids and of code."""
    facts: dict[str, Any] = summary.facts.get("perplexity", {})
    bins: Mapping[str, Mapping[str, int]] = facts.get("bins", {})
    found = {kind: surprisal.quantiles(counts) for kind, counts in bins.items() if counts}
    return {"perplexity": facts | {"quantiles": found}}
