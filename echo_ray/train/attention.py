"""Attention that ends at a sample's borders, and the loss of packed samples.

Samples that share a sequence must not see one another, or packed training is not the training of paper 4.6.
`install` gives a transformers model an attention function that reads the borders from the keywords that
FlashAttention models already pass through (`cu_seq_lens_q`), so no T x T mask is ever built: on a GPU one
variable-length kernel takes the whole sequence, elsewhere every sample is attended to by itself.

Invariant, proven by test: gradients equal those of each sample alone through the model as transformers ships
it. An installed model refuses to run without borders or mask: samples cannot leak into one another unnoticed.
Not covered: capped attention scores (Gemma 2), recurrent layers, caches beside packed samples.
"""

import inspect
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from echo_ray.errors import ConfigError
from echo_ray.train.collate import IGNORED, Packed

NAME = "echo_ray_packed"
"""The attention implementation's name in transformers' registry."""

_KNOWN_LAYERS = {"full_attention", "sliding_attention"}
_MORE_THAN_SOFTMAX = ("softcap", "s_aux", "position_bias")
"""What some models hand to their attention beside queries, keys and values."""
_FUSED_FROM = 1024
"""Tokens of a sample from which torch's fused attention is as fast in bf16 on CPU as plain products: these
are 1.4 to 4 times as fast at 100 to 512 tokens, slower at 2,048 (forward, backward), never faster in fp32."""
_SOFTMAX_ELEMENTS = 1 << 26
"""Logits taken through the softmax at once: 256 MiB in fp32, several times over in its backward pass."""


def install(model: Any) -> None:
    """Make `model` (transformers, or peft around it; before DeepSpeed wraps it) attend within packed samples.

    Raises ConfigError for a model whose samples would see one another, or whose attention is another one.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    reason = _refusal(base)
    if reason:
        raise ConfigError(
            f"train.model: samples cannot be packed for a {base.config.model_type} model because {reason}; "
            "choose a Llama-like one (Llama, Qwen2, StarCoder2, Mistral, Gemma, Granite)"
        )
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)
    base.set_attn_implementation(NAME)


def _refusal(base: Any) -> str | None:
    """Why this model cannot be trained on packed samples; None when it can."""
    config = base.config
    if not getattr(base, "_supports_attention_backend", False):
        return "its attention cannot be replaced"
    if getattr(config, "is_encoder_decoder", False) or not getattr(config, "is_causal", True):
        return "it does not read from left to right"
    if (
        getattr(base, "_is_stateful", False)
        or set(getattr(config, "layer_types", None) or ()) - _KNOWN_LAYERS
    ):
        return "some of its layers are not attention"
    if getattr(config, "attn_logit_softcapping", None):
        return "it caps its attention scores"
    if not {"logits_to_keep", "position_ids"} <= set(inspect.signature(base.forward).parameters):
        return "it takes neither positions nor a choice of logits"
    return None


def summed_loss(model: Any, packed: Packed) -> Any:
    """Sum over the target tokens of -log p(token | what stands before it in its sample), in nats, float32.

    `model` is what `install` was given, or DeepSpeed's engine around it. Without a target the loss is 0 and
    its gradients are zeros, not missing, so that workers still exchange as many of them.
    """
    return _nats(*target_logits(model, packed), _SOFTMAX_ELEMENTS)


def target_logits(model: Any, packed: Packed) -> tuple[Any, Any]:
    """(logits (N, vocabulary) before each of the N target tokens, those tokens (N,)), sample after sample.

    Other places get no logits: the vocabulary is the widest layer and targets are few.
    """
    import torch

    following = packed.labels[0, 1:]
    places = (following != IGNORED).nonzero().flatten()
    borders = torch.tensor(
        [*accumulate(packed.segments, initial=0)], dtype=torch.int32, device=packed.input_ids.device
    )
    longest = max(packed.segments)
    logits = model(
        input_ids=packed.input_ids,
        position_ids=packed.positions,
        use_cache=False,
        logits_to_keep=places,
        cu_seq_lens_q=borders,
        cu_seq_lens_k=borders,
        max_length_q=longest,
        max_length_k=longest,
    ).logits[0]
    return logits, following[places]


def _nats(logits: Any, wanted: Any, elements: int) -> Any:
    """Summed cross entropy in fp32; in parts, softmax computed again backwards, above `elements` logits."""
    import torch
    from torch.utils.checkpoint import checkpoint

    rows = max(1, elements // logits.shape[1])
    if len(wanted) <= rows:
        return _cross_entropy(logits, wanted)
    parts = zip(logits.split(rows), wanted.split(rows), strict=True)
    sums = [
        checkpoint(_cross_entropy, *part, use_reentrant=False, preserve_rng_state=False) for part in parts
    ]
    return torch.stack(sums).sum()


def _cross_entropy(logits: Any, wanted: Any) -> Any:
    import torch.nn.functional as functional

    return functional.cross_entropy(logits.float(), wanted, reduction="sum")


def _mask(*, attention_mask: Any = None, **rest: Any) -> Any:
    """Mask hook of transformers: packed samples need none; whoever passes a mask (`generate`) gets SDPA's."""
    from transformers.masking_utils import sdpa_mask

    if attention_mask is None:
        return None
    # Never left out, even where causality would do: `_attention` tells by it that no samples are packed.
    return sdpa_mask(attention_mask=attention_mask, **rest | {"allow_is_causal_skip": False})


def _attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    cu_seq_lens_q: Any = None,
    max_length_q: int | None = None,
    **rest: Any,
) -> tuple[Any, None]:
    """Attention hook of transformers: (1, heads, T, size) each in, (1, T, heads, size) out."""
    if any(rest.get(name) is not None for name in _MORE_THAN_SOFTMAX):
        raise ConfigError(
            "train.model: its attention is more than a softmax, which packed training cannot do"
        )
    if cu_seq_lens_q is None or max_length_q is None:
        if attention_mask is None:
            raise ValueError("a model for packed samples needs their borders, or else an attention_mask")
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **rest
        )
        return output, None
    import torch

    kind = query.device.type
    # Rotary positions leave fp32 behind under autocast, and autocast does not know FlashAttention's operator.
    kept = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else value.dtype
    query, key, value = (part.to(kept) for part in (query, key, value))
    window = sliding_window if sliding_window is not None and sliding_window < max_length_q else None
    with torch.autocast(kind, enabled=False):
        if _varlen_fits(query, value, dropout):
            return _varlen(query, key, value, scaling, window, cu_seq_lens_q, max_length_q), None
        lengths = [end - begin for begin, end in pairwise(cu_seq_lens_q.tolist())]
        return _each(query, key, value, scaling, window, dropout, lengths).transpose(1, 2), None


def _varlen_fits(query: Any, value: Any, dropout: float) -> bool:
    """Whether FlashAttention takes these: CUDA from Ampere on, 16 bit, head sizes it was compiled for."""
    import torch

    size = query.shape[3]
    return bool(
        query.is_cuda
        and query.dtype in (torch.float16, torch.bfloat16)
        and size == value.shape[3] <= 256
        and size % 8 == 0
        and dropout == 0.0
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


def _varlen(
    query: Any, key: Any, value: Any, scaling: float, window: int | None, borders: Any, longest: int
) -> Any:
    """All samples in one kernel; a window of W tokens is the token itself and the W - 1 before it."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
    output: Any = varlen_attn(
        query,
        key,
        value,
        borders,
        borders,
        longest,
        longest,
        scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return output[None]


def _each(
    query: Any,
    key: Any,
    value: Any,
    scaling: float,
    window: int | None,
    dropout: float,
    lengths: Sequence[int],
) -> Any:
    """One sample after the other; split as a whole, so that backward joins gradients once, not per sample."""
    import torch

    plain = query.dtype != torch.float32 and query.device.type == "cpu" and dropout == 0.0
    parts = (part.split(list(lengths), dim=2) for part in (query, key, value))
    outputs = [
        _products(q, k, v, scaling, window)
        if plain and q.shape[2] < _FUSED_FROM
        else _fused(q, k, v, scaling, window, dropout)
        for q, k, v in zip(*parts, strict=True)
    ]
    return torch.cat(outputs, dim=2)


def _fused(query: Any, key: Any, value: Any, scaling: float, window: int | None, dropout: float) -> Any:
    """One sample through torch's fused attention."""
    import torch.nn.functional as functional

    length = query.shape[2]
    mask = None if window is None or window >= length else _additive(length, window, query)
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _products(query: Any, key: Any, value: Any, scaling: float, window: int | None) -> Any:
    """softmax(Q K^T) V over one sample, all query heads of a key head in one product."""
    import torch

    _, heads, length, size = query.shape
    groups = key.shape[1]
    folded = (query * scaling).reshape(groups, heads // groups * length, size)
    scores = (folded @ key[0].transpose(1, 2)).view(groups, heads // groups, length, length)
    # Added, not filled in: adding costs nothing backwards.
    shares = torch.softmax(scores + _additive(length, window, query), dim=-1)
    return (shares.view(groups, heads // groups * length, length) @ value[0]).view(1, heads, length, -1)


def _additive(length: int, window: int | None, like: Any) -> Any:
    """(L, L): -inf where the row's token must not see the column's (later, or `window` back), else 0."""
    import torch

    blocked = torch.ones(length, length, dtype=torch.bool, device=like.device)
    blocked = blocked.triu(1) if window is None else blocked.triu(1) | blocked.tril(-window)
    return torch.zeros(length, length, dtype=like.dtype, device=like.device).masked_fill_(blocked, -torch.inf)
