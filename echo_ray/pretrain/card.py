"""The model card of a base model: the page that travels with its folder and says where it comes from."""

from collections.abc import Mapping, Sequence
from typing import Any

from echo_ray.pretrain import heldout_table
from echo_ray.pretrain.config import PretrainConfig


def pretrain_card(
    config: PretrainConfig,
    command: str,
    curve: Sequence[Mapping[str, Any]],
    training_files: Mapping[str, int],
    heldout_files: Mapping[str, int],
    parameters: int,
    report: Mapping[str, Any] | None,
) -> str:
    """Markdown card of a base model: command, corpus (files by language), held-out report, curve, limits."""
    rows = "\n".join(
        f"| {point['seconds'] / 60:.0f} | {point['step']:,} | {point['tokens'] / 1e6:.2f} "
        f"| {point['heldout_loss']:.3f} | {_or_dash(point['heldout_gap_loss'])} "
        f"| {point['heldout_bits_per_char']:.3f} |"
        for point in curve
    )
    files = ", ".join(
        f"{name} {training_files[name]:,} + {heldout_files.get(name, 0):,}" for name in sorted(training_files)
    )
    total = sum(config.shares[name] for name in training_files)
    shares = ", ".join(f"{name} {config.shares[name] / total:.0%}" for name in sorted(training_files))
    start = f"the weights of `{config.start.name}`" if config.start else "random weights"
    measured = heldout_table.table(report) if report else "Not measured yet.\n"
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [code, fill-in-the-middle]
---
# echo_ray base model

A {parameters / 1e6:.1f}-million-parameter Llama-shaped fill-in-the-middle model for code, small enough to
train and serve on two CPU cores. It exists so that the whole loop runs anywhere; it is not meant to
write anybody's code.

- Made by `{command}`
- Corpus: {", ".join(source.rsplit("/", 1)[-1] for source in config.sources)}; files for training + held out
  by name hash: {files} (tests and benchmarks left out)
- Share of the training: {shares}; started from {start}
- Tokenizer: byte-level BPE, {config.vocab_size:,} tokens, trained on the training files
- Prompt: `<|fim_suffix|>S<|fim_prefix|>P<|fim_middle|>`, answer ends with `<|endoftext|>`
- Layout: {config.layers} layers, width {config.hidden}, {config.heads} heads, {config.kv_heads} key-value
  head(s), feed-forward {config.intermediate}, sequences of {config.sequence} tokens
- Limits: no instruction following, no knowledge beyond the corpus, short contexts

## On held-out files

{measured}
## Held-out curve

Nats per token over everything, and over the gap alone; bits per character:

| minutes | step | M tokens | loss | gap loss | bits/char |
| --: | --: | --: | --: | --: | --: |
{rows}
"""


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
