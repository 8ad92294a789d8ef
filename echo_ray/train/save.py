"""The finished model: a plain Hugging Face folder that transformers and vLLM load unchanged."""

import os
import shutil
from pathlib import Path
from typing import Any

from echo_ray.errors import TrainingError
from echo_ray.train.config import TrainConfig
from echo_ray.train.lora import merged

TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model"),
    *("added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja"),
)
"""Files of a tokenizer, copied byte for byte from the start model."""


def save(engine: Any, folder: Path, base: Path, config: TrainConfig, rank: int) -> None:
    """The first worker writes `folder/model`: safetensors in bf16 and the tokenizer; with LoRA also
    `folder/adapter`. The folder appears whole or not at all. Raises TrainingError when it cannot be written.
    """
    weights = (
        engine._zero3_consolidated_16bit_state_dict()
        if config.zero_stage == 3 and config.precision == "bf16"
        else _gathered(engine)
        if config.zero_stage == 3
        else engine.module.state_dict()
    )
    if rank != 0:
        return
    part = folder / ".model.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        _write(engine, weights, part, folder, base, config)
    except (OSError, RuntimeError) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise TrainingError(
            f"the model could not be written to {folder / 'model'} ({str(error).splitlines()[0][:200]}): "
            "make room; the last checkpoint is intact, and the same command goes on from it"
        ) from error
    shutil.rmtree(folder / "model", ignore_errors=True)
    os.replace(part, folder / "model")


def _gathered(engine: Any) -> dict[str, Any]:
    """All weights of a ZeRO-3 engine that trains in fp32; every worker must call this."""
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(engine.module.parameters())):
        return {name: value.detach().clone() for name, value in engine.module.state_dict().items()}


def _write(
    engine: Any, weights: dict[str, Any], part: Path, folder: Path, base: Path, config: TrainConfig
) -> None:
    import torch

    if config.lora_rank:
        model = merged(base, weights, config, folder / "adapter")
        weights = model.state_dict()
    else:
        model = engine.module
    model.config.dtype = torch.bfloat16
    # How attention was computed here is no property of the model.
    model.set_attn_implementation("sdpa")
    saved = {name: value.to(torch.bfloat16) for name, value in weights.items()}
    model.save_pretrained(part, state_dict=saved)
    for name in TOKENIZER:
        if (base / name).is_file():
            shutil.copyfile(base / name, part / name)
