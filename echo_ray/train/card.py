"""Model cards: the page that travels with a model folder and says where it comes from."""

from collections.abc import Sequence
from typing import Any

from echo_ray.data import Manifest
from echo_ray.train.config import PretrainConfig, TrainConfig


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


def train_card(config: TrainConfig, manifest: Manifest, curve: Sequence[dict[str, Any]]) -> str:
    """Markdown card of a fine-tuned model: parent, data, settings, losses."""
    notes = manifest.notes
    every = max(1, len(curve) // 20)
    points = [point for i, point in enumerate(curve) if i % every == 0 or point is curve[-1]]
    rows = "\n".join(f"| {point['step']:,} | {point['loss']:.4f} |" for point in points)
    settings = "\n".join(f"- {name}: `{value}`" for name, value in manifest.config.items())
    heldout = "" if notes["heldout_loss"] is None else f"; held-out users {notes['heldout_loss']:.4f}"
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [code, fill-in-the-middle, echo]
---
# Fine-tuned on experience

- Parent: content `{notes["base"]}`
- Data: `{manifest.input_fingerprint}` ({manifest.rows_out:,} rows trained on,
  {notes["target_tokens"]:,} target tokens; {manifest.rows_in - manifest.rows_out:,} rows of held-out users
  only measured)
- Trained by {manifest.engine}, {config.workers} workers, ZeRO {config.zero_stage}
- Loss per target token (nats): first step {notes["first_loss"]:.4f}, last {notes["last_loss"]:.4f}{heldout}
- Run `{manifest.fingerprint}`

## Settings

{settings}

## Loss

| step | loss |
| --: | --: |
{rows}
"""
