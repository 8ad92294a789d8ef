"""Parameters, FLOPs, memory: against real models, torch's own counter, and published figures."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from echo_ray.config import load
from echo_ray.errors import ConfigError
from echo_ray.train.flops import Shape, forward_flops, lora_parameters, mfu, train_flops
from echo_ray.train.memory import Memory, layer_activation_bytes, memory_bytes
from echo_ray.train.peak import peak_flops_per_s, published
from jobs.settings import RunConfig
from tests.benchmarks.shape import DERIVED_BATCH, expected, lengths

SMALL: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
LLAMA_2 = {
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "tie_word_embeddings": False,
}
DEEPSEEK = LLAMA_2 | {"vocab_size": 32256, "rope_theta": 100000, "max_position_embeddings": 16384}
QWEN_7B = LLAMA_2 | {
    "model_type": "qwen2",
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
}
STARCODER_3B = {
    "model_type": "starcoder2",
    "vocab_size": 49152,
    "hidden_size": 3072,
    "intermediate_size": 12288,
    "num_hidden_layers": 30,
    "num_attention_heads": 24,
    "num_key_value_heads": 2,
    "use_bias": True,
    "sliding_window": 4096,
}
H200_BYTES = 139 * 2**30


def model(kind: str, **changes: Any) -> Any:
    """A tiny random transformers model of `model_type` `kind`."""
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = CONFIG_MAPPING[kind](**SMALL | changes)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager")


KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("llama", {}),
    ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("llama", {"head_dim": 16, "num_key_value_heads": None}),
    ("qwen2", {}),
    ("starcoder2", {}),
    ("starcoder2", {"use_bias": False, "tie_word_embeddings": False}),
    ("mistral", {}),
    ("gemma", {"head_dim": 16}),
    ("granite", {}),
    ("granite", {"attention_bias": True, "mlp_bias": True}),
)


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_parameters_are_those_of_the_model(kind: str, changes: dict[str, Any]) -> None:
    made = model(kind, **changes)
    for whole in (True, False):
        shape = Shape.of(json.loads(made.config.to_json_string(use_diff=not whole)))
        assert sum(p.numel() for p in made.parameters()) == shape.parameters


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_operations_are_what_torch_counts(kind: str, changes: dict[str, Any]) -> None:
    made, length = model(kind, **changes), 24
    shape = Shape.of(made.config.to_dict())
    ids = torch.arange(length)[None]
    with FlopCounterMode(display=False) as forward:
        logits = made(input_ids=ids, use_cache=False, logits_to_keep=torch.tensor([3, 7])).logits
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    ours = forward_flops(shape, [length], 2)
    # Torch counts the whole square of scores; we count what causal attention needs of it.
    square = ours.attention * length**2 / shape.attended(length)
    assert ours.layers + square + ours.head == forward.get_total_flops()
    assert 2 * forward.get_total_flops() == backward.get_total_flops()
    assert 3 * (ours.layers + ours.attention + ours.head) == train_flops(shape, [length], 2)


def test_published_parameters() -> None:
    assert Shape.of(LLAMA_2).parameters == 6_738_415_616
    assert Shape.of(DEEPSEEK).parameters == 6_740_512_768
    assert Shape.of(QWEN_7B).parameters == 7_615_616_512
    assert Shape.of(STARCODER_3B).parameters == 3_030_371_328
    gemma = {"model_type": "gemma", "vocab_size": 256000, "hidden_size": 3072, "intermediate_size": 24576}
    gemma |= {"num_hidden_layers": 28, "num_attention_heads": 16}
    assert Shape.of(gemma).parameters == 8_537_680_896


def test_the_convention_of_palm() -> None:
    """`6 N + 12 L H Q T` operations a token, with the whole square of attention and the head everywhere."""
    shape, length = Shape.of(LLAMA_2), 4096
    forward = forward_flops(shape, [length], length)
    whole = 3 * (forward.layers + forward.head + forward.attention * length**2 / shape.attended(length))
    palm = 6 * (shape.parameters - shape.head) + 12 * 32 * 32 * 128 * length
    assert palm * length == pytest.approx(whole, rel=1e-4)
    assert train_flops(shape, [length], length) == train_flops(shape, [length], 5, full_head=True)


@given(
    st.lists(st.integers(0, 300), max_size=5),
    st.lists(st.integers(0, 300), max_size=5),
    st.sampled_from([None, 1, 7, 100]),
)
def test_samples_add_up_and_do_not_see_each_other(
    one: list[int], other: list[int], window: int | None
) -> None:
    shape = Shape.of(SMALL | {"model_type": "mistral", "sliding_window": window})
    apart = train_flops(shape, one, len(one)) + train_flops(shape, other, len(other))
    assert apart == pytest.approx(train_flops(shape, one + other, len(one) + len(other)))
    for length in one:
        pairs = sum(1 for i in range(length) for j in range(i + 1) if window is None or i - j < window)
        assert pairs == shape.attended(length)


def test_lora_has_the_adapters_of_peft_and_no_gradients_of_the_rest() -> None:
    from peft import LoraConfig, get_peft_model

    made = model("llama")
    shape = Shape.of(made.config.to_dict())
    adapted = get_peft_model(made, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert trained == lora_parameters(shape, 4)
    length = 24
    with FlopCounterMode(display=False) as counted:
        adapted(input_ids=torch.arange(length)[None], use_cache=False).logits.sum().backward()
    ours = train_flops(shape, [length], length, adapters=trained)
    square = 3 * forward_flops(shape, [length], 0).attention * (length**2 / shape.attended(length) - 1)
    # The embedding is frozen: the first layer's q, k, v need no gradient of their input.
    first = 2 * shape.hidden * shape.head_dim * (shape.heads + 2 * shape.kv_heads) * length
    first += 2 * 3 * 4 * shape.hidden * length
    assert ours + square - first == counted.get_total_flops()


def test_mfu_is_a_share_of_all_devices() -> None:
    assert mfu(10.0, 2.0, 5.0) == 1.0
    assert mfu(10.0, 2.0, 5.0, workers=2) == 0.5
    assert mfu(10.0, 2.0, None) is None
    assert mfu(10.0, 0.0, 5.0) is None


@pytest.mark.parametrize(
    ("name", "tera"),
    [
        ("NVIDIA H200", 989),
        ("NVIDIA H200 NVL", 835),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10G", 70),
        ("NVIDIA A10", 125),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA H20", 148),
        ("NVIDIA GB200", 2500),
    ],
)
def test_published_peaks(name: str, tera: float) -> None:
    assert tera * 1e12 == peak_flops_per_s("cuda", name, 1)


def test_nobody_knows_the_peak_of_a_slice_or_of_a_stranger() -> None:
    assert published("NVIDIA H100 80GB HBM3 MIG 1g.10gb") is None
    assert published("Quadro P2000") is None
    assert peak_flops_per_s("tpu", "v5e", 1) is None


def test_a_cpu_is_measured_once_and_leaves_torch_as_it_was() -> None:
    torch.manual_seed(3)
    draws, threads = torch.random.get_rng_state(), torch.get_num_threads()
    peak = peak_flops_per_s("cpu", "", 1)
    assert peak is not None
    assert peak > 1e9
    assert peak == peak_flops_per_s("cpu", "another name", 1)
    assert threads == torch.get_num_threads()
    assert torch.equal(draws, torch.random.get_rng_state())


def kept_bytes(made: Any, tokens: int) -> int:
    """Bytes that autograd keeps of a forward pass through the layers, each storage once, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in made.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = made.model(input_ids=torch.zeros((1, tokens), dtype=torch.long), use_cache=False)
    assert out.last_hidden_state.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2"])
@pytest.mark.parametrize("kv_heads", [2, 4])
def test_activations_are_what_autograd_keeps(kind: str, kv_heads: int) -> None:
    tokens, found = 64, {}
    for again in (False, True):
        sizes = []
        for layers in (2, 4):
            made = model(kind, num_hidden_layers=layers, num_key_value_heads=kv_heads)
            made.set_attn_implementation("sdpa")
            made = made.to(torch.bfloat16).train()
            if again:
                made.gradient_checkpointing_enable({"use_reentrant": False})
            sizes.append(kept_bytes(made, tokens))
        found[again] = (sizes[1] - sizes[0]) / 2 / tokens
    shape = Shape.of(made.config.to_dict())
    assert layer_activation_bytes(shape) == found[False]
    assert 2 * shape.hidden == found[True]


def sized(**changes: Any) -> Memory:
    settings: dict[str, Any] = {"workers": 1, "zero_stage": 3, "micro_tokens": 16384}
    settings |= {"activation_checkpointing": True, "target_tokens": 1024}
    return memory_bytes(Shape.of(DEEPSEEK), **settings | changes)


def test_sixteen_bytes_a_parameter() -> None:
    assert 16 * 6_740_512_768 == sized().resting
    assert 107.8e9 == pytest.approx(sized().resting, rel=1e-3)
    assert 16 * 6_740_512_768 / 8 == sized(workers=8).resting


def test_stages_1_and_2_step_on_everything_at_once_and_do_not_fit_one_h200() -> None:
    fits = [sized(zero_stage=stage).peak < 0.95 * H200_BYTES for stage in range(4)]
    assert [True, False, False, True] == fits


@given(
    st.integers(1, 64),
    st.integers(1, 2),
    st.integers(64, 65536),
    st.booleans(),
    st.sampled_from([0, 20_000_000]),
)
def test_more_workers_and_higher_stages_never_need_more(
    workers: int, stage: int, tokens: int, again: bool, adapters: int
) -> None:
    def resting(workers: int, stage: int) -> float:
        found = sized(workers=workers, zero_stage=stage, micro_tokens=tokens, adapters=adapters)
        return found.resting + found.stepping

    assert resting(workers + 1, stage) <= resting(workers, stage)
    assert resting(workers, stage + 1) <= resting(workers, stage)
    kept = sized(micro_tokens=tokens, activation_checkpointing=again).activations
    assert kept <= sized(micro_tokens=tokens + 1, activation_checkpointing=again).activations
    assert (
        sized(micro_tokens=tokens).activations
        <= sized(micro_tokens=tokens, activation_checkpointing=False).peak
    )


@pytest.mark.parametrize(
    "config",
    [{}, {"model_type": "bert"}, DEEPSEEK | {"hidden_size": None}, DEEPSEEK | {"num_hidden_layers": 0}],
)
def test_an_unknown_layout_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"train\.model has"):
        Shape.of(config)


CONFIGS = sorted(Path("configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_configuration_is_valid(path: Path) -> None:
    load(RunConfig, path)


def one_sized(name: str, shape: Shape, share: float = 0.05) -> Memory:
    settings = load(RunConfig, Path("configs") / name).train
    return memory_bytes(
        shape,
        workers=settings.workers,
        zero_stage=settings.zero_stage,
        micro_tokens=settings.micro_tokens,
        activation_checkpointing=settings.activation_checkpointing,
        target_tokens=round(share * settings.micro_tokens),
        gradient_bytes=2 if settings.gradient_dtype == "bf16" else 4,
    )


@pytest.mark.parametrize(
    ("name", "bytes_of_device"),
    [("deepseek_6p7b.yaml", 80e9), ("deepseek_6p7b_h200.yaml", H200_BYTES)],
)
def test_the_papers_model_fits_with_room_for_what_is_not_counted(name: str, bytes_of_device: float) -> None:
    assert one_sized(name, Shape.of(DEEPSEEK)).peak < 0.9 * bytes_of_device


@pytest.mark.parametrize("variant", ["4096", "8192+", "16384+", "32768+"])
def test_the_documentation_says_what_arithmetic_says(variant: str) -> None:
    shape, micro_tokens, again = Shape.of(DEEPSEEK), int(variant.rstrip("+")), variant.endswith("+")
    found = expected(shape, lengths(DERIVED_BATCH, 2048), micro_tokens, again)
    way = "checkpointed" if again else "kept"
    speed = round(found.tokens / found.step_s, -1)
    line = f"| {micro_tokens:,} | {way} | {found.memory.peak / 1e9:.0f} | {speed:,.0f} | {found.mfu:.0%} |"
    assert line in Path("docs/training.md").read_text(encoding="utf-8")
