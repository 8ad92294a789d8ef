"""Packed training is unpacked training: gradients against the models as transformers ships them."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echo_ray.errors import ConfigError
from echo_ray.train import attention
from echo_ray.train.attention import install, summed_loss, target_logits
from echo_ray.train.collate import Packed, collate

Sample = tuple[list[int], int]

SMALL = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "max_position_embeddings": 128}
SMALL |= {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"num_key_value_heads": 2}),
    "llama-mqa": ("llama", {"num_key_value_heads": 1, "attention_bias": True, "tie_word_embeddings": True}),
    "llama-mha": ("llama", {"num_key_value_heads": 4, "head_dim": 12}),
    "qwen2": ("qwen2", {"num_key_value_heads": 2}),
    "qwen2-window": (
        "qwen2",
        {"num_key_value_heads": 2, "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    ),
    "starcoder2": ("starcoder2", {"num_key_value_heads": 2, "sliding_window": 5}),
    "mistral": ("mistral", {"num_key_value_heads": 2, "sliding_window": 5, "head_dim": 8}),
    "gemma": ("gemma", {"num_key_value_heads": 1, "head_dim": 16}),
    "granite": (
        "granite",
        {
            "num_key_value_heads": 2,
            "logits_scaling": 4.0,
            "attention_multiplier": 0.2,
            "embedding_multiplier": 3.0,
        },
    ),
    # Absolute positions: the only one here whose gradients tell whether positions start anew.
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "n_inner": 48}),
}
NO_DROPOUT = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
NO_DROPOUT |= {"attention_dropout": 0.0, "residual_dropout": 0.0, "embedding_dropout": 0.0}

SAMPLES: list[Sample] = [
    ([7, 3, 9, 11, 2, 5, 8, 1, 30, 31, 2, 0], 4),
    ([5, 0], 1),  # the shortest there is: one token of prompt, silence
    ([40, 41, 42, 43, 44, 45, 46, 47, 48, 0], 9),  # silence
    ([13, 12, 11, 10, 9, 8, 0], 1),
    ([7, 3, 9, 11, 2, 5, 8, 1, 30, 31, 2, 50, 51, 52, 53, 54, 55, 56, 57, 0], 12),
]


def build(name: str, implementation: str = "sdpa", dtype: torch.dtype = torch.float32) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, changes = SHAPES[name]
    config = AutoConfig.for_model(kind, **SMALL | NO_DROPOUT | changes)
    state = torch.random.get_rng_state()
    torch.manual_seed(11)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=implementation)
    for parameter in model.parameters():  # biases and norms start as constants; here they differ
        torch.nn.init.normal_(parameter, std=0.15) if parameter.dim() > 1 else parameter.data.add_(
            torch.randn_like(parameter) * 0.1
        )
    torch.random.set_rng_state(state)
    return model.to(dtype).train()


@cache
def shipped(name: str) -> Any:
    return build(name, "eager" if name in ("gemma", "mistral") else "sdpa")


@cache
def installed(name: str) -> Any:
    model = build(name)
    install(model)
    return model


def gradients(model: Any) -> dict[str, Tensor]:
    found = {name: p.grad.float().clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def alone(model: Any, samples: Sequence[Sample]) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of each sample by itself, as any trainer computes them from `labels`."""
    total = 0.0
    for ids, prompt in samples:
        tokens = torch.tensor([ids])
        labels = tokens.clone()
        labels[:, :prompt] = -100
        loss = model(input_ids=tokens, labels=labels, use_cache=False).loss * (len(ids) - prompt)
        loss.backward()
        total += loss.item()
    return total, gradients(model)


def together(model: Any, bins: Sequence[Packed]) -> tuple[float, dict[str, Tensor]]:
    total = 0.0
    for packed in bins:
        loss = summed_loss(model, packed)
        assert torch.float32 == loss.dtype
        loss.backward()
        total += loss.item()
    return total, gradients(model)


def distance(expected: dict[str, Tensor], actual: dict[str, Tensor]) -> float:
    """Largest relative difference of a parameter's gradient.

    Gradients that are zero but for rounding (of a query with a single key, say) count against the others.
    """
    assert expected.keys() == actual.keys()
    whole = torch.stack([g.norm() for g in expected.values()]).norm() / len(expected) ** 0.5
    return max(
        float((actual[name] - g).norm() / torch.maximum(g.norm(), whole / 10)) for name, g in expected.items()
    )


@pytest.mark.parametrize("multiple", [1, 64])
@pytest.mark.parametrize("name", SHAPES)
def test_packed_gradients_are_those_of_each_sample_alone(name: str, multiple: int) -> None:
    loss, expected = alone(shipped(name), SAMPLES)
    bins = [collate(SAMPLES[:4], multiple), collate(SAMPLES[4:], multiple)]
    ours, actual = together(installed(name), bins)
    assert ours == pytest.approx(loss, rel=1e-5)
    assert distance(expected, actual) < 1e-5


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_random_samples_in_random_bins(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["llama", "starcoder2", "gpt2"]))
    sizes = data.draw(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 20)), min_size=1, max_size=8))
    samples = [(data.draw(st.lists(st.integers(0, 60), min_size=p + t, max_size=p + t)), p) for p, t in sizes]
    cut = data.draw(st.integers(0, len(samples)))
    _, expected = alone(shipped(name), samples)
    bins = [collate(part, data.draw(st.integers(1, 9))) for part in (samples[:cut], samples[cut:])]
    _, actual = together(installed(name), bins)
    assert distance(expected, actual) < 1e-5


@pytest.mark.parametrize("name", SHAPES)
def test_without_borders_between_samples_gradients_differ(name: str) -> None:
    _, expected = alone(shipped(name), SAMPLES)
    packed = collate(SAMPLES)
    leaking = Packed(packed.input_ids, packed.positions, packed.labels, (sum(packed.lengths),))
    _, actual = together(installed(name), [leaking])
    assert distance(expected, actual) > 1e-2


def test_without_positions_that_start_anew_gradients_differ() -> None:
    _, expected = alone(shipped("gpt2"), SAMPLES)
    packed = collate(SAMPLES)
    running = torch.arange(packed.input_ids.shape[1])[None]
    _, actual = together(
        installed("gpt2"), [Packed(packed.input_ids, running, packed.labels, packed.lengths)]
    )
    assert distance(expected, actual) > 1e-2


def test_without_the_window_gradients_differ() -> None:
    wide = build("starcoder2")
    wide.config.sliding_window = None
    install(wide)
    _, actual = together(wide, [collate(SAMPLES)])
    assert distance(alone(shipped("starcoder2"), SAMPLES)[1], actual) > 1e-2


def test_the_order_of_the_samples_of_a_bin_does_not_matter() -> None:
    _, forwards = together(installed("llama"), [collate(SAMPLES)])
    _, backwards = together(installed("llama"), [collate(SAMPLES[::-1], 32)])
    assert distance(forwards, backwards) < 1e-5


@pytest.mark.parametrize("name", ["llama", "llama-mqa", "mistral", "gemma"])
@pytest.mark.parametrize("autocast", [True, False])
def test_in_bf16_packing_adds_no_more_noise_than_bf16_itself(name: str, autocast: bool) -> None:
    # On a GPU this is the variable-length kernel, elsewhere plain products.
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _, exact = alone(shipped(name), SAMPLES)
    noise = []
    for packs in (True, False):
        model = build(name, dtype=torch.float32 if autocast else torch.bfloat16).to(device)
        if packs:
            install(model)
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            if packs:
                _, found = together(model, [collate(SAMPLES).to(device)])
            else:
                _, found = alone(model.cpu(), SAMPLES)
        noise.append(distance(exact, {name: g.cpu() for name, g in found.items()}))
    assert noise[0] < 2 * noise[1] < 0.2


@pytest.mark.parametrize("window", [None, 1, 7, 200])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_plain_products_equal_fused_attention(groups: int, window: int | None) -> None:
    torch.manual_seed(groups)
    for length in (1, 6, 33):
        parts = [torch.randn(1, heads, length, 8, requires_grad=True) for heads in (6, groups, groups)]
        upstream = torch.randn(1, 6, length, 8)
        results = []
        for attend in (
            lambda q, k, v: attention._products(q, k, v, 0.3, window),
            lambda q, k, v: attention._fused(q, k, v, 0.3, window, 0.0),
        ):
            output = attend(*parts)
            results.append([output, *torch.autograd.grad(output, parts, upstream)])
        for ours, expected in zip(*results, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("heads", [(4, 4, None), (4, 1, 5)])
def test_the_kernel_for_gpus_takes_and_gives_the_right_shapes(heads: tuple[int, int, int | None]) -> None:
    # Without a GPU only its shapes and its backward pass can be traced, not its numbers.
    many, few, window = heads
    parts = [torch.empty(1, n, 9, 16, device="meta", requires_grad=True) for n in (many, few, few)]
    borders = torch.empty(3, dtype=torch.int32, device="meta")
    output = attention._varlen(*parts, 0.25, window, borders, 6)
    assert (1, 9, many, 16) == output.shape
    found = torch.autograd.grad(output, parts, torch.empty_like(output))
    assert [part.shape for part in parts] == [g.shape for g in found]
    assert not attention._varlen_fits(torch.empty(1, 4, 9, 16), torch.empty(1, 4, 9, 16), 0.0)


def test_a_pass_without_samples_gives_zero_gradients_to_every_parameter() -> None:
    model = installed("llama")
    loss, found = together(model, [collate([], 8)])
    assert 0.0 == loss
    assert {name for name, _ in model.named_parameters()} == found.keys()
    assert all(not g.any() for g in found.values())


@pytest.mark.parametrize("elements", [1, 61 * 4, 61 * 5, 10**9])
def test_the_loss_in_parts_is_the_loss(elements: int) -> None:
    torch.manual_seed(5)
    logits = torch.randn(13, 61, dtype=torch.float64, requires_grad=True)
    wanted = torch.randint(0, 61, (13,))
    expected = torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")
    actual = attention._nats(logits, wanted, elements)
    torch.testing.assert_close(actual.double(), expected, rtol=1e-6, atol=0)
    found, right = (torch.autograd.grad(loss, logits)[0] for loss in (actual, expected))
    torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-7)


def test_target_logits_are_those_before_each_target() -> None:
    logits, wanted = target_logits(installed("qwen2"), collate(SAMPLES, 16))
    assert [token for ids, prompt in SAMPLES for token in ids[prompt:]] == wanted.tolist()
    expected = [
        shipped("qwen2")(input_ids=torch.tensor([ids])).logits[0, prompt - 1 : -1] for ids, prompt in SAMPLES
    ]
    torch.testing.assert_close(logits, torch.cat(expected), rtol=1e-4, atol=1e-5)


def test_activation_checkpointing_changes_nothing() -> None:
    model = build("llama")
    install(model)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    _, expected = together(installed("llama"), [collate(SAMPLES)])
    _, actual = together(model, [collate(SAMPLES)])
    assert distance(expected, actual) < 1e-6


def test_adapters_get_the_gradients_of_unpacked_training() -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    found = []
    for packs in (False, True):
        torch.manual_seed(2)
        model = get_peft_model(build("llama"), config)
        if packs:
            install(model)
        found.append(together(model, [collate(SAMPLES, 8)])[1] if packs else alone(model, SAMPLES)[1])
    assert {"lora_A", "lora_B"} == {name.split(".")[-3] for name in found[0]}
    assert distance(*found) < 1e-5


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "gemma"])
def test_an_installed_model_still_generates_from_a_padded_batch(name: str) -> None:
    ids = torch.tensor([[0, 0, 0, 7, 3, 9, 11], [5, 6, 7, 8, 9, 10, 11]])
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [1] * 7])
    answers = [
        model.generate(ids, attention_mask=mask, max_new_tokens=12, do_sample=False).tolist()
        for model in (build(name), installed(name))
    ]
    assert answers[0] == answers[1]


def test_a_saved_model_knows_nothing_of_packing(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = installed("llama")
    model.save_pretrained(tmp_path)
    assert attention.NAME not in (tmp_path / "config.json").read_text(encoding="utf-8")
    ids = torch.tensor([SAMPLES[0][0]])
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(input_ids=ids).logits, shipped("llama")(input_ids=ids).logits)


def test_samples_cannot_leak_unnoticed() -> None:
    with pytest.raises(ValueError, match="needs their borders"):
        installed("llama")(input_ids=torch.tensor([[1, 2, 3]]))


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("gemma2", {"num_key_value_heads": 2}, "it caps its attention scores"),
        ("bloom", {}, "its attention cannot be replaced"),
        ("mamba", {}, "its attention cannot be replaced"),
        (
            "llama4_text",
            {"num_key_value_heads": 2, "num_local_experts": 2},
            "some of its layers are not attention",
        ),
    ],
)
def test_a_model_that_cannot_be_packed_is_refused(kind: str, changes: dict[str, Any], reason: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SMALL | changes))
    before = model.config._attn_implementation
    with pytest.raises(ConfigError, match=f"train.model: .*{kind} model because {reason}"):
        install(model)
    assert before == model.config._attn_implementation
