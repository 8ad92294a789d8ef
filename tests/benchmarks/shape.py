"""The paper's size on the device at hand: speed, MFU, memory, where time goes, beside what arithmetic says.

    python -m tests.benchmarks shape                          # DeepSeek-Coder-6.7B's shape, every variant
    python -m tests.benchmarks shape --try 4096 --try 16384+  # tokens of a pass; + with checkpointing
    python -m tests.benchmarks shape --shape tiny             # the same script in a minute on a CPU
    python -m tests.benchmarks shape --derive                 # only what arithmetic expects of an H200

Weights are random and so are tokens: neither changes the time. Lengths are those of mined samples: prompts
near their budget, short targets. Training is the verb `train` with the given configuration in a process of
its own. The expectation counts matrix products at a share of the peak, everything else by the bytes that it
moves, and nothing overlaps; no figure of it is measured.
"""

import argparse
import math
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray.stages.pack import PACKED
from echo_ray.train.flops import Shape, forward_flops, train_flops
from echo_ray.train.memory import Memory, memory_bytes
from tests import tiny
from tests.benchmarks import training
from tests.benchmarks.figure import Figure

DEEPSEEK: dict[str, Any] = {
    "vocab_size": 32256,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 16384,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 100000.0},
    "tie_word_embeddings": False,
}
"""DeepSeek-Coder-6.7B's `config.json` (Guo et al. 2024)."""
TINY = DEEPSEEK | {
    "vocab_size": 2048,
    "hidden_size": 128,
    "intermediate_size": 344,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}


@dataclass(frozen=True, slots=True)
class Setting:
    """What is trained, on how much."""

    config: dict[str, Any]
    yaml: str
    context_tokens: int
    batch: int
    """Samples of a step, fewer than in a real run: steps are short, and the optimizer's share is high."""
    variants: tuple[str, ...]


SETTINGS = {
    "deepseek": Setting(
        DEEPSEEK,
        "configs/deepseek_6p7b_h200.yaml",
        2048,
        32,
        ("16384+", "32768+", "8192+", "4096"),
    ),
    "tiny": Setting(TINY, "configs/deepseek_6p7b_h200.yaml", 256, 16, ("1024+", "1024")),
}

DERIVED_BATCH = 128
"""Samples of a step of a real run, as in the configurations."""
PEAK_FLOPS, BYTES_PER_S, DEVICE_BYTES = 989e12, 4.8e12, 139 * 2**30
"""One H200: dense bf16, memory bandwidth, memory."""
PRODUCTS_SHARE, TRAFFIC_SHARE = 0.72, 0.8
"""What of the peak large matrix products reach, and of the bandwidth elementwise kernels: usual on Hopper."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Seconds of one step on one H200, by cause."""

    products_s: float
    elementwise_s: float
    accumulate_s: float
    optimizer_s: float
    tokens: int
    flops: float
    memory: Memory

    @property
    def step_s(self) -> float:
        return self.products_s + self.elementwise_s + self.accumulate_s + self.optimizer_s

    @property
    def mfu(self) -> float:
        return self.flops / self.step_s / PEAK_FLOPS


def expected(shape: Shape, rows: Sequence[tuple[int, int]], micro_tokens: int, again: bool) -> Expected:
    """Arithmetic for a step over `rows` of (tokens, target tokens); `again` with activation checkpointing."""
    lengths, targets = [length for length, _ in rows], sum(target for _, target in rows)
    tokens = sum(lengths)
    passes = math.ceil(tokens / micro_tokens)
    forward = forward_flops(shape, lengths, targets)
    times = 4 if again else 3
    products = times * (forward.layers + forward.attention) + 3 * forward.head
    # Bytes a token and layer of an unfused forward pass: a norm casts to fp32 and back (32 a value), rotary
    # embeddings of queries and keys (18), residuals (6 each), the gate (10), attention's inputs and output.
    turned = shape.head_dim * (shape.heads + shape.kv_heads)
    traffic = 2 * 32 * shape.hidden + 18 * turned + 12 * shape.hidden + 10 * shape.intermediate
    traffic += 2 * shape.head_dim * (2 * shape.heads + 2 * shape.kv_heads)
    elementwise = times * traffic * shape.layers * tokens
    bandwidth = BYTES_PER_S * TRAFFIC_SHARE
    memory = memory_bytes(
        shape,
        workers=1,
        zero_stage=3,
        micro_tokens=micro_tokens,
        activation_checkpointing=again,
        target_tokens=targets * micro_tokens // tokens,
    )
    return Expected(
        products_s=products / (PEAK_FLOPS * PRODUCTS_SHARE),
        elementwise_s=elementwise / bandwidth,
        # The new gradient is written, then read, and the sum read and written: 2 bytes each.
        accumulate_s=passes * 8 * shape.parameters / bandwidth,
        # Norm and fp32 copy of the gradient 12; the update reads that (4), reads and writes three fp32
        # values (24), and writes the bf16 weight (2).
        optimizer_s=42 * shape.parameters / bandwidth,
        tokens=tokens,
        flops=train_flops(shape, lengths, targets),
        memory=memory,
    )


def lengths(count: int, context_tokens: int) -> list[tuple[int, int]]:
    """(tokens, target tokens) of samples like those that were mined from simulated developers.

    There prompts fill 0.83 of their budget in the geometric mean, half of them all of it; targets are
    log-normal with a median of 7 tokens (log standard deviation 0.98).
    """
    draw, rows = random.Random("shape"), []
    for _ in range(count):
        prompt = min(context_tokens, round(context_tokens * math.exp(draw.gauss(0.0, 0.5))))
        target = min(context_tokens // 4, max(1, round(math.exp(draw.gauss(1.96, 0.98)))))
        rows.append((max(8, prompt) + target, target))
    return rows


def figures(arguments: Sequence[str] = ()) -> Iterator[Figure]:
    """Train every variant and print what it took beside what was expected of one H200."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks shape")
    parser.add_argument("--shape", choices=SETTINGS, default="deepseek")
    parser.add_argument("--config", help="YAML file for `train`")
    parser.add_argument("--steps", type=int, default=5, help="optimizer steps; the first two are not timed")
    parser.add_argument(
        "--try", dest="variants", action="append", help="tokens of a pass, + with checkpointing"
    )
    parser.add_argument("--batch", type=int, help="samples of a step")
    parser.add_argument("--set", action="append", default=[], help="further train.KEY=VALUE")
    parser.add_argument("--derive", action="store_true", help="train nothing, print the expectation")
    told = parser.parse_args(list(arguments))
    setting = SETTINGS[told.shape]
    shape = Shape.of({"model_type": "llama", **setting.config})
    batch = told.batch or (DERIVED_BATCH if told.derive else setting.batch)
    rows = lengths(batch * told.steps, setting.context_tokens)
    yield Figure("parameters, millions", shape.parameters / 1e6)
    with tempfile.TemporaryDirectory(prefix="echo-") as name:
        root = Path(name)
        if not told.derive:
            write_model(root / "start", setting.config)
            write_rows(root / "data", rows, shape.vocab)
        for variant in told.variants or setting.variants:
            micro_tokens, again = int(variant.rstrip("+")), variant.endswith("+")
            way = "checkpointing" if again else "activations kept"
            yield Figure(f"tokens of a forward pass, {way}", micro_tokens)
            if told.shape != "tiny":
                yield from _derived(expected(shape, rows[:batch], micro_tokens, again))
            if told.derive:
                continue
            changes = {"micro_tokens": micro_tokens, "activation_checkpointing": str(again).lower()}
            changes |= {"batch": batch, "max_steps": told.steps, "epochs": 1, "workers": 1}
            changes |= {"heldout_share": 0, "eval_samples": 0, "checkpoint_every": 0, "tensorboard": "false"}
            changes |= {"input": root / "data", "model": root / "start", "output": root / "out"}
            words = [f"train.{key}={value}" for key, value in changes.items()] + told.set
            try:
                training.command("jobs", "train", told.config or setting.yaml, *words)
            except SystemExit as error:
                # Too much memory for this device, most likely: the others may still fit.
                print(error, file=sys.stderr)
                yield Figure("  failed", math.nan)
                continue
            bar = 45 if told.shape == "deepseek" else None
            yield from _measured(training.steps_of(root / "out")[2:], bar)
            shutil.rmtree(root / "out")


def _derived(found: Expected) -> Iterator[Figure]:
    yield Figure("  derived for one H200: tokens/s", found.tokens / found.step_s)
    yield Figure("  derived: MFU, percent", 100 * found.mfu)
    yield Figure(f"  derived: memory at the peak, GB of {DEVICE_BYTES / 1e9:.0f}", found.memory.peak / 1e9)
    for part in ("products", "elementwise", "accumulate", "optimizer"):
        share = getattr(found, f"{part}_s") / found.step_s
        yield Figure(f"    derived: {part}, percent of a step", 100 * share)


def _measured(lines: Sequence[dict[str, Any]], least: float | None) -> Iterator[Figure]:
    took = sum(line["step_s"] for line in lines)
    yield Figure("  measured: tokens/s", sum(line["tokens"] for line in lines) / took)
    if all(line["mfu"] is not None for line in lines):
        mfu = sum(line["mfu"] * line["step_s"] for line in lines) / took
        yield Figure("  measured: MFU, percent", 100 * mfu, least=least)
    if all("peak_memory_bytes" in line for line in lines):
        most = max(line["peak_memory_bytes"] for line in lines)
        yield Figure("  measured: memory at the peak, GB", most / 1e9)
    parts = {part: sum(line[f"{part}_s"] for line in lines) for part in training.PARTS}
    for part, spent in (parts | {"rest": took - sum(parts.values())}).items():
        yield Figure(f"    measured: {part}, percent of a step", 100 * spent / took)


def write_model(folder: Path, config: dict[str, Any]) -> None:
    """A model folder of that shape with random bf16 weights, and a tokenizer that has FIM sentinels."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tiny.write_tokenizer(folder)
    known = LlamaConfig(**config, bos_token_id=0, eos_token_id=0, pad_token_id=0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    torch.manual_seed(0)
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = LlamaForCausalLM(known)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)


def write_rows(folder: Path, rows: Sequence[tuple[int, int]], vocab: int) -> None:
    """Packed samples of random tokens with these lengths."""
    draw = random.Random("tokens")
    made = [
        {"sample_id": f"s-{number:06d}", "user": "u", "copy": 0}
        | {"input_ids": [draw.randrange(vocab) for _ in range(length)], "prompt_tokens": length - target}
        for number, (length, target) in enumerate(rows)
    ]
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(made, PACKED), folder / "part-0000.parquet")
