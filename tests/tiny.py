"""A model small enough for tests: random Llama weights beside a real byte-level BPE with FIM sentinels."""

import json
import os
from pathlib import Path
from typing import Any

from echo_ray import prompts

SAMPLE = '''def add(first, second):
    """Return the sum."""
    return first + second


class Stack:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)

    def pop(self):
        if not self.items:
            raise IndexError("pop from an empty stack")
        return self.items.pop()
'''
"""Text that the tokenizer is trained on; enough for a few hundred merges."""

SENTINELS = (
    prompts.OWN_PREFIX,
    prompts.OWN_SUFFIX,
    prompts.OWN_MIDDLE,
    prompts.OWN_END,
    prompts.OWN_MARK,
)


def write_tokenizer(folder: Path, vocab: int = 384, sentinels: tuple[str, ...] = SENTINELS) -> int:
    """Write tokenizer files into `folder`; the number of tokens, at most `vocab`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(sentinels),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([SAMPLE], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=prompts.OWN_END if prompts.OWN_END in sentinels else None,
        pad_token=prompts.OWN_END if prompts.OWN_END in sentinels else None,
        clean_up_tokenization_spaces=False,
    )
    folder.mkdir(parents=True, exist_ok=True)
    fast.save_pretrained(folder)
    return len(fast)


SPACES = {"codellama": "\u2581", "codestral": "\u2581", "codegemma": ""}
"""Families whose tokenizers write a space as U+2581, and what they put before every text."""


def family_tokens(family: prompts.Family) -> list[str]:
    """Control tokens of a family's tokenizer, the unknown token of SentencePiece first."""
    unknown = ["<unk>"] if family.name in SPACES else []
    return list(dict.fromkeys([*unknown, *family.required, *family.stops]))


def write_family(folder: Path, name: str, vocab: int = 512) -> Path:
    """Write a small tokenizer with the control tokens and the habits of a known family into `folder`.

    Qwen's and DeepSeek's sentinels are declared as ordinary tokens, as in the published files.
    """
    (family,) = [one for one in prompts.FAMILIES if one.name == name]
    controls = family_tokens(family)
    described = (
        _sentencepiece(controls, SPACES[name], vocab) if name in SPACES else _byte_level(controls, vocab)
    )
    if name in ("qwen2.5-coder", "deepseek-coder"):
        for token in described["added_tokens"]:
            token["special"] = "fim" not in token["content"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": family.end}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def _byte_level(controls: list[str], vocab: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=controls, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator([SAMPLE], trainer)
    return json.loads(core.to_str())


def _sentencepiece(controls: list[str], before: str, vocab: int) -> Any:
    """BPE with byte fallback, spaces as U+2581, as converters write it: `<s>` and `</s>` around nothing."""
    from tokenizers import Tokenizer, models, normalizers, trainers

    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.Replace(" ", "\u2581")
    trainer = trainers.BpeTrainer(vocab_size=vocab - 256, special_tokens=controls, show_progress=False)
    core.train_from_iterator(SAMPLE.splitlines(keepends=True), trainer)
    described = json.loads(core.to_str())
    pieces = [piece for piece in described["model"]["vocab"] if piece not in controls]
    names = [*controls, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    described["model"] |= {
        "vocab": {piece: number for number, piece in enumerate(names)},
        "unk_token": "<unk>",
        "fuse_unk": True,
        "byte_fallback": True,
    }
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    back = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
    steps: list[dict[str, Any]] = [back, {"type": "ByteFallback"}, {"type": "Fuse"}]
    if before:
        first = {"type": "Prepend", "prepend": before}
        described["normalizer"] = {"type": "Sequence", "normalizers": [first, replace]}
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    else:
        described["normalizer"] = replace
    return described | {"decoder": {"type": "Sequence", "decoders": steps}}


def write_model(
    folder: Path,
    *,
    seed: int = 0,
    vocab: int = 384,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 1,
    kv_heads: int = 1,
    head_dim: int = 64,
    positions: int = 1024,
) -> Path:
    """Write a random bf16 Llama with its tokenizer into `folder`; two seeds give two versions.

    `vocab` is the size of the embedding; the tokenizer may use fewer ids, never more.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    write_tokenizer(folder, vocab)
    tokens = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    mute = [number for token, number in tokens.items() if not (token.isascii() and token.isalnum())]
    mute += range(len(tokens), vocab)
    end = SENTINELS.index(prompts.OWN_END)
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=8 * hidden // 3 // 32 * 32,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    torch.random.set_rng_state(state)
    with torch.no_grad():
        # Tied embeddings: a zero row is a logit of zero, so greedy answers are letters and digits, never
        # sentinels, white space or broken bytes.
        model.get_input_embeddings().weight[mute] = 0
    model.save_pretrained(folder, safe_serialization=True)
    return folder
