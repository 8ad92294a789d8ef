"""Batching rules, and the real thing: DeepSpeed under Ray Train on a tiny model."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.stages.pack import PACKED
from echo_ray.train.batches import Packed, micro_batches, padding_share, plan
from echo_ray.train.config import TrainConfig
from echo_ray.train.loop import collate, learning_rate, summed_loss

LENGTHS = st.lists(st.integers(2, 300), min_size=1, max_size=80)


def packed(lengths: list[int]) -> list[Packed]:
    return [Packed(f"r{i}/0", [7] * size, size // 2) for i, size in enumerate(lengths)]


@given(LENGTHS, st.integers(1, 3), st.integers(1, 40))
def test_an_epoch_holds_every_row_once_and_even_shares(lengths: list[int], workers: int, batch: int) -> None:
    rows = packed(lengths)
    steps = plan(rows, batch, 600, workers, seed=1, epoch=0)
    seen = [i for step in steps for share in step.workers for micro in share for i in micro]
    assert list(range(len(rows))) == sorted(seen)
    for step in steps:
        assert 1 == len({len(share) for share in step.workers})
        inside = [i for share in step.workers for micro in share for i in micro]
        assert step.targets == sum(rows[i].targets for i in inside)


@given(LENGTHS)
def test_micro_batches_stay_within_the_token_budget(lengths: list[int]) -> None:
    rows = packed(lengths)
    for micro in micro_batches(range(len(rows)), rows, 600):
        assert len(micro) == 1 or len(micro) * max(len(rows[i].ids) for i in micro) <= 600


def test_order_depends_on_record_ids_and_not_on_row_numbers() -> None:
    rows = packed(list(range(10, 60)))
    turned = rows[::-1]

    def keys(chosen: list[Packed]) -> list[list[str]]:
        steps = plan(chosen, 8, 600, 1, seed=3, epoch=2)
        return [sorted(chosen[i].key for micro in step.workers[0] for i in micro) for step in steps]

    assert keys(rows) == keys(turned)


def test_sorting_by_length_leaves_little_padding() -> None:
    rows = packed([40 + (37 * i) % 400 for i in range(640)])
    assert padding_share(rows, plan(rows, 64, 2048, 2, seed=0, epoch=0)) < 0.10


def test_learning_rate_rises_then_falls_to_a_tenth() -> None:
    config = TrainConfig(lr=1.0, warmup_share=0.1)
    rates = [learning_rate(step, 100, config, 0.0) for step in range(100)]
    assert 10 == rates.index(max(rates)) or 9 == rates.index(max(rates))
    assert rates[-1] == pytest.approx(0.1, abs=0.01)
    assert all(a >= b for a, b in pairwise(rates[10:]))


def write_packed(folder: Path, rows: int, vocabulary: int = 200) -> None:
    """Samples with something to learn: the answer repeats the prompt's last token."""
    columns = []
    for i in range(rows):
        token = 5 + i % vocabulary
        prompt = [2, token, 1, token, token, 3]
        columns.append((f"s{i:04d}", f"u{i % 7}", 0, [*prompt, token, token, 0], len(prompt), None))
    folder.mkdir(parents=True)
    arrays = [pa.array(column, f.type) for column, f in zip(zip(*columns, strict=True), PACKED, strict=True)]
    pq.write_table(pa.table(arrays, PACKED), folder / "part-0000.parquet")


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny import write_model

    return write_model(tmp_path_factory.mktemp("tiny") / "model")


def test_the_loss_of_a_batch_is_the_sum_of_its_rows_alone_with_every_logit(tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    rows = [Packed(f"r{i}", [(7 * i + k) % 200 for k in range(9 + 5 * i)], 4 + 3 * i) for i in range(4)]

    def gradients(chosen: list[list[int]], masked: bool) -> tuple[float, list[Any]]:
        model.zero_grad()
        total = 0.0
        for group in chosen:
            if masked:
                loss = summed_loss(model, *collate(rows, group))
            else:
                ids = torch.tensor([rows[group[0]].ids])
                logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
                start = rows[group[0]].prompt
                loss = torch.nn.functional.cross_entropy(
                    logits[start - 1 : -1], ids[0, start:], reduction="sum"
                )
            loss.backward()
            total += loss.item()
        return total, [p.grad.clone() for p in model.parameters()]

    batched, ours = gradients([[3, 2, 1, 0]], masked=True)
    alone, expected = gradients([[0], [1], [2], [3]], masked=False)
    assert batched == pytest.approx(alone, rel=1e-5)
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(ours, expected, strict=True))


@pytest.mark.ray
@pytest.mark.parametrize("zero_stage", [1, 3])
def test_two_deepspeed_workers_learn_and_save_a_plain_folder(
    zero_stage: int, tiny_model: Path, tmp_path: Path, cluster: None
) -> None:
    from transformers import AutoModelForCausalLM

    from echo_ray.train.launch import train

    write_packed(tmp_path / "pack", 256)
    config = TrainConfig(workers=2, epochs=6, lr=5e-3, zero_stage=zero_stage, checkpoint_every=20)
    manifest = train(config, tmp_path / "pack", tmp_path / "train", tiny_model)
    curve = [json.loads(line) for line in (tmp_path / "train" / "metrics.jsonl").read_text().splitlines()]
    assert list(range(1, len(curve) + 1)) == [point["step"] for point in curve]
    assert curve[-1]["loss"] < 0.5 * curve[0]["loss"]
    assert "deepspeed" in manifest.engine
    assert "ray.train" in manifest.engine
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "train" / "model")
    assert "bfloat16" in str(model.dtype)
    again = train(config, tmp_path / "pack", tmp_path / "train", tiny_model)
    assert manifest == again


@pytest.mark.ray
def test_one_worker_and_two_follow_the_same_loss_curve_and_a_resumed_run_too(
    tiny_model: Path, tmp_path: Path, cluster: None
) -> None:
    from echo_ray.train.launch import train

    write_packed(tmp_path / "pack", 160)
    base = TrainConfig(epochs=2, lr=2e-3, batch=16, checkpoint_every=5, heldout_share=0.0)

    def losses(folder: Path) -> list[float]:
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    train(base.updated(workers=1), tmp_path / "pack", tmp_path / "one", tiny_model)
    train(base.updated(workers=2), tmp_path / "pack", tmp_path / "two", tiny_model)
    # bf16 rounds differently when sums are split over workers.
    assert losses(tmp_path / "one") == pytest.approx(losses(tmp_path / "two"), rel=0.03)
