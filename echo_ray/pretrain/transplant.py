"""A model's weights under another vocabulary: the start of a new base model from an old one.

The blocks are taken as they are. The embedding of a token that the old vocabulary also has is kept; any
other token starts as the mean of the old embeddings of the pieces that its text had (fast vocabulary
transfer, Gee et al. 2022). With the same vocabulary the model is the same. Not covered: another width or
another number of layers; those are refused.
"""

from pathlib import Path
from typing import Any

from echo_ray.errors import ConfigError
from echo_ray.prompts import FastTokenizer

LAYOUT = (
    *("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *(
        "num_key_value_heads",
        "head_dim",
        "hidden_act",
        "rms_norm_eps",
        "rope_parameters",
        "tie_word_embeddings",
    ),
)
"""What two models must have in common for one's weights to mean the same in the other."""
_EMBEDDING = "model.embed_tokens.weight"


def start(model: Any, tokens: Any, folder: Path) -> None:
    """Give `model` (vocabulary of the transformers tokenizer `tokens`) the weights of the model in `folder`.

    Raises ConfigError when the two have different layouts, before a weight is changed.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    _same_layout(model.config.to_dict(), AutoConfig.from_pretrained(folder).to_dict(), folder)
    old_tokens = FastTokenizer(folder)
    old = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    new = model.state_dict()
    if new.keys() != old.keys():
        raise ConfigError(f"pretrain.start={folder} has other weights than a model made here: leave it out")
    rows = old[_EMBEDDING]
    with torch.no_grad():
        for name, value in new.items():
            if name not in (_EMBEDDING, "lm_head.weight"):
                value.copy_(old[name])
        # Rows that no token uses count too: each has a logit.
        unused = min(len(rows), len(new[_EMBEDDING]))
        new[_EMBEDDING][:unused] = rows[:unused]
        for token, number in tokens.get_vocab().items():
            new[_EMBEDDING][number] = rows[_pieces(token, tokens, old_tokens)].mean(dim=0)


def _same_layout(new: dict[str, Any], old: dict[str, Any], folder: Path) -> None:
    for name in LAYOUT:
        if old.get(name) != new[name]:
            raise ConfigError(
                f"pretrain.start={folder} has {name} {old.get(name)}, this run {new[name]}: give the run the "
                "same layout or start without it"
            )


def _pieces(token: str, tokens: Any, old: FastTokenizer) -> list[int]:
    """Ids of `token` in the old vocabulary: itself, else those of its text, else those of its bytes."""
    same = old.convert_tokens_to_ids(token)
    if same is not None:
        return [same]
    text = tokens.convert_tokens_to_string([token])
    pieces = old.encode(text) if "\ufffd" not in text else []
    # Part of a character: byte-level tokens are written with one letter per byte.
    pieces = pieces or [
        number for letter in token if (number := old.convert_tokens_to_ids(letter)) is not None
    ]
    return pieces or list(range(old.vocabulary))
