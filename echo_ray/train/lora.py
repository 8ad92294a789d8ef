"""LoRA by peft: adapters on a model before training, merged into a plain model afterwards."""

from pathlib import Path
from typing import Any

from echo_ray.errors import ConfigError
from echo_ray.train.config import TrainConfig


def adapt(model: Any, config: TrainConfig) -> Any:
    """`model` with adapters of `lora_rank`, everything else frozen (Hu et al. 2021).

    Raises ConfigError when `lora_targets` names no layer of the model.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    targets = list(config.lora_targets)
    settings = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear" if targets == ["all-linear"] else targets,
    )
    try:
        return get_peft_model(model, settings)
    except ValueError as error:
        raise ConfigError(f"train.lora_targets={targets} fits no layer of this model: {error}") from None


def merged(base: Path, weights: dict[str, Any], config: TrainConfig, adapter: Path) -> Any:
    """The model in `base` with trained adapters merged in, in fp32; the adapter alone is left in `adapter`.

    `weights` holds at least the adapters, named as in the adapted model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    model = adapt(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), config)
    own = {name: value.float() for name, value in weights.items() if "lora_" in name}
    expected = {name for name in model.state_dict() if "lora_" in name}
    if expected != own.keys():
        raise ConfigError(f"trained adapters do not fit {base}: start the run again in a new train.output")
    model.load_state_dict(own, strict=False)
    model.save_pretrained(adapter)
    return model.merge_and_unload()
