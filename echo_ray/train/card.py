"""Model cards: the page that travels with a model folder and says where it comes from."""

from collections.abc import Sequence
from typing import Any

from echo_ray.data import Manifest
from echo_ray.train.config import TrainConfig


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
