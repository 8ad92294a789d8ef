"""Model cards: the page that travels with a model folder and says where it comes from."""

from collections.abc import Sequence
from typing import Any

from echo_ray.train.config import PretrainConfig


def pretrain_card(
    config: PretrainConfig,
    command: str,
    curve: Sequence[dict[str, Any]],
    training_files: int,
    heldout_files: int,
    parameters: int,
) -> str:
    """Markdown card of a base model: command, corpus, held-out curve, limits."""
    rows = "\n".join(
        f"| {point['seconds'] / 60:.0f} | {point['step']:,} | {point['tokens'] / 1e6:.2f} "
        f"| {point['heldout_loss']:.3f} | {point['heldout_gap_loss']:.3f} "
        f"| {point['heldout_bits_per_char']:.3f} |"
        for point in curve
    )
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
- Corpus: {", ".join(source.rsplit("/", 1)[-1] for source in config.sources)}; files ending in
  {", ".join(config.extensions)}; {training_files:,} files for training, {heldout_files:,} held out by
  name hash (tests and benchmarks left out)
- Tokenizer: byte-level BPE, {config.vocab_size:,} tokens, trained on the training files
- Prompt: `<|fim_suffix|>S<|fim_prefix|>P<|fim_middle|>`, answer ends with `<|endoftext|>`
- Layout: {config.layers} layers, width {config.hidden}, {config.heads} heads, {config.kv_heads} key-value
  head(s), feed-forward {config.intermediate}, sequences of {config.sequence} tokens
- Limits: no instruction following, no knowledge beyond the corpus, short contexts

Held-out curve (nats per token over everything, and over the gap alone; bits per character):

| minutes | step | M tokens | loss | gap loss | bits/char |
| --: | --: | --: | --: | --: | --: |
{rows}
"""
