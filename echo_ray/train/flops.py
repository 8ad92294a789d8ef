"""What a model's shape says about its cost: parameters, floating point operations of training, MFU.

Source: PaLM (Chowdhery et al. 2022, appendix B) for the convention of model FLOPs utilization: the work that
the mathematics needs, over the peak of the machine; what is computed a second time (activation checkpointing)
does not count. One multiplication with addition is two operations; the backward pass takes twice the forward
pass. Norms, rotary embeddings, softmax and the optimizer do not count, here as there.

Two differences to PaLM's `6 N + 12 L H Q T` for each token, both because we count what this trainer needs:
attention is causal within each sample, and the head computes logits only where a target is. `full_head` gives
others' convention for the head, so that figures can be compared.
Invariants: adding samples adds their work; no sample makes another dearer. Not covered: mixtures of experts,
encoders, models with layers of different shape.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from echo_ray.errors import ConfigError


@dataclass(frozen=True, slots=True)
class _Family:
    """What a `model_type` means where config.json is silent, and which vectors it has beside the matrices."""

    gated: bool = True
    tied: bool = False
    norm_vectors: int = 1
    kv_heads: int | None = None
    head_dim: int | None = None
    window: int | None = None


_FAMILIES = {
    "llama": _Family(),
    "granite": _Family(),
    "qwen2": _Family(kv_heads=32, window=4096),
    "mistral": _Family(kv_heads=8, window=4096),
    "starcoder2": _Family(gated=False, tied=True, norm_vectors=2, kv_heads=2),
    "gemma": _Family(tied=True, kv_heads=16, head_dim=256),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a decoder of the Llama kind."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    """The head uses the embedding's matrix."""
    gated: bool
    """Three matrices in the feed-forward layer, or two."""
    vectors: int
    """Parameters of one layer outside its matrices: norms and biases."""
    final_vectors: int
    """Parameters of the norm after the last layer."""
    window: int | None = None
    """How many tokens back attention reaches, the token itself included; None is all."""

    @staticmethod
    def of(config: Mapping[str, Any]) -> "Shape":
        """Shape of a Hugging Face `config.json`. Raises ConfigError for a layout that is not known here."""
        name = config.get("model_type")
        family = _FAMILIES.get(str(name))
        if family is None:
            known = ", ".join(sorted(_FAMILIES))
            raise ConfigError(
                f"train.model has model_type={name!r}, whose layout is not known; known: {known}"
            )
        hidden, heads = _size(config, "hidden_size"), _size(config, "num_attention_heads")
        given = config.get("num_key_value_heads", family.kv_heads)
        kv_heads = heads if given is None else int(given)
        head_dim = int(config.get("head_dim") or family.head_dim or hidden // heads)
        intermediate = _size(config, "intermediate_size")
        queries, keys = heads * head_dim, kv_heads * head_dim
        every = name == "starcoder2" and bool(config.get("use_bias", True))
        in_bias = (
            every or name == "qwen2" or (name != "mistral" and bool(config.get("attention_bias", False)))
        )
        out_bias = in_bias and name != "qwen2"
        mlp_bias = every or (name in ("llama", "granite") and bool(config.get("mlp_bias", False)))
        vectors = 2 * family.norm_vectors * hidden
        vectors += (queries + 2 * keys) * in_bias + hidden * out_bias
        vectors += (intermediate * (1 + family.gated) + hidden) * mlp_bias
        windowed = name != "qwen2" or bool(config.get("use_sliding_window", False))
        window = config.get("sliding_window", family.window) if windowed else None
        return Shape(
            hidden=hidden,
            intermediate=intermediate,
            layers=_size(config, "num_hidden_layers"),
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            vocab=_size(config, "vocab_size"),
            tied=bool(config.get("tie_word_embeddings", family.tied)),
            gated=family.gated,
            vectors=vectors,
            final_vectors=family.norm_vectors * hidden,
            window=None if window is None else int(window),
        )

    @property
    def layer_matrices(self) -> int:
        """Parameters of one layer that take part in matrix products."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        return attention + (3 if self.gated else 2) * self.hidden * self.intermediate

    @property
    def matrices(self) -> int:
        """Parameters that every token is multiplied with: all layers, neither embedding nor head."""
        return self.layers * self.layer_matrices

    @property
    def head(self) -> int:
        """Parameters of the head, of its own or shared with the embedding."""
        return self.hidden * self.vocab

    @property
    def touched(self) -> int:
        """Parameters in matrix products of a token with logits: all but norms, biases and a look-up."""
        return self.matrices + self.head

    @property
    def parameters(self) -> int:
        """All parameters, shared ones once."""
        embeddings = self.head * (1 if self.tied else 2)
        return embeddings + self.matrices + self.layers * self.vectors + self.final_vectors

    def attended(self, length: int) -> int:
        """Pairs of tokens that causal attention looks at in one sample of `length` tokens."""
        reach = length if self.window is None else min(length, self.window)
        return reach * (reach + 1) // 2 + (length - reach) * reach


@dataclass(frozen=True, slots=True)
class Forward:
    """Floating point operations of one forward pass, by where they happen."""

    layers: float
    """Products with the matrices of all layers."""
    attention: float
    """Scores and weighted sums of attention."""
    head: float
    """Logits."""


def forward_flops(shape: Shape, lengths: Sequence[int], logits: int) -> Forward:
    """Operations of a forward pass over samples of `lengths` tokens, with logits at `logits` of them."""
    pairs = sum(shape.attended(length) for length in lengths)
    return Forward(
        layers=2.0 * shape.matrices * sum(lengths),
        attention=4.0 * shape.layers * shape.heads * shape.head_dim * pairs,
        head=2.0 * shape.head * logits,
    )


def train_flops(
    shape: Shape,
    lengths: Sequence[int],
    target_tokens: int,
    *,
    full_head: bool = False,
    adapters: int = 0,
) -> float:
    """Model FLOPs of forward and backward of packed samples: three forward passes, nothing recomputed.

    `lengths` are tokens of each sample, padding left out. `full_head` counts logits at every token. With
    `adapters` trained parameters in LoRA matrices the model's own are frozen and get no gradient: their work
    is that of two forward passes, attention's of three, and each adapter parameter's six operations a token.
    """
    tokens = sum(lengths)
    forward = forward_flops(shape, lengths, tokens if full_head else target_tokens)
    if adapters:
        return 2 * (forward.layers + forward.head) + 3 * forward.attention + 6.0 * adapters * tokens
    return 3 * (forward.layers + forward.attention + forward.head)


def lora_parameters(shape: Shape, rank: int) -> int:
    """Parameters of LoRA adapters of `rank` on every matrix of every layer (Hu et al. 2021: r (in + out))."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    attention = 2 * (shape.hidden + queries) + 2 * (shape.hidden + keys)
    feed_forward = (3 if shape.gated else 2) * (shape.hidden + shape.intermediate)
    return rank * shape.layers * (attention + feed_forward)


def mfu(flops: float, seconds: float, peak: float | None, workers: int = 1) -> float | None:
    """Model FLOPs utilization: share of the peak of all `workers` devices; None where the peak is not known.

    `flops` is the work of all workers together in `seconds`, `peak` the operations per second of one device.
    """
    if peak is None or peak <= 0 or seconds <= 0:
        return None
    return flops / seconds / (peak * workers)


def _size(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"train.model has {key}={value!r} in its config.json: a positive number is needed")
    return value
