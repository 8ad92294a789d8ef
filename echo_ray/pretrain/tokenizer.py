"""The bundled model's own tokenizer: byte-level BPE with fill-in-the-middle sentinels."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from echo_ray import prompts

SPECIALS = (prompts.OWN_END, prompts.OWN_PREFIX, prompts.OWN_SUFFIX, prompts.OWN_MIDDLE, prompts.OWN_MARK)
"""Sentinels, at the ids 0 to 4."""


def train(texts: Iterable[str], vocab_size: int, folder: Path) -> Any:
    """Byte-level BPE trained on `texts`, saved to `folder` in Hugging Face form; returns the fast tokenizer.

    Every string can be encoded (bytes are the base alphabet) and decoded back to itself.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=prompts.OWN_END,
        pad_token=prompts.OWN_END,
        additional_special_tokens=[token for token in SPECIALS if token != prompts.OWN_END],
        clean_up_tokenization_spaces=False,
    )
    folder.mkdir(parents=True, exist_ok=True)
    fast.save_pretrained(folder)
    return fast
