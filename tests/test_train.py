"""Fine-tuning for real: DeepSpeed under Ray Train on a tiny model, killed, resumed, refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echo_ray.errors import ConfigError, SchemaError, TrainingError
from echo_ray.rng import unit
from echo_ray.stages.pack import PACKED
from echo_ray.train import track
from echo_ray.train.config import TrainConfig

EXACT = TrainConfig(
    workers=1,
    epochs=2,
    lr=2e-3,
    batch=16,
    checkpoint_every=5,
    heldout_share=0.0,
    precision="fp32",
    micro_tokens=64,
)
"""Small steps in fp32, where two ways of computing the same thing agree to many digits."""


def write_packed(folder: Path, rows: int, vocabulary: int = 200) -> None:
    """Samples with something to learn: the answer repeats the prompt's last token."""
    made: list[dict[str, Any]] = []
    for i in range(rows):
        token = 5 + i % vocabulary
        prompt = [2, *(token,) * (i % 4), 1, token, token, 3]
        made.append(
            {"sample_id": f"s{i:04d}", "user": f"u{i % 7}", "copy": 0, "language": "python"}
            | {"input_ids": [*prompt, token, token, 0], "prompt_tokens": len(prompt)}
        )
    folder.mkdir(parents=True)
    empty = {field.name: None for field in PACKED}
    pq.write_table(pa.Table.from_pylist([empty | row for row in made], PACKED), folder / "part-0000.parquet")


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny import write_model

    return write_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "pack"
    write_packed(folder, 160)
    return folder


@pytest.fixture(scope="module")
def straight(
    cluster: None, packed: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[float]:
    """The losses of one undisturbed run of `EXACT`."""
    return losses(fine_tune(EXACT, packed, tmp_path_factory.mktemp("straight") / "out", tiny_model))


def fine_tune(config: TrainConfig, source: Path, output: Path, model: Path) -> Path:
    from echo_ray.train.launch import train

    train(config, source, output, model)
    return output


def curve(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    points = curve(folder)
    assert list(range(1, len(points) + 1)) == [point["step"] for point in points]
    return [point["loss"] for point in points]


@contextmanager
def when_step(folder: Path, step: int, act: Any) -> Iterator[list[Any]]:
    """Call `act` once `metrics.jsonl` shows `step`; the list holds what it returned."""
    happened: list[Any] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            path = folder / "metrics.jsonl"
            if path.is_file() and len(path.read_text().splitlines()) >= step:
                happened.append(act())
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield happened
    finally:
        over.set()
        thread.join()


def kill_a_worker() -> int:
    """SIGKILL to one process in which a training worker of this test's cluster runs; how many there were."""
    workers = [
        process
        for process in psutil.Process().children(recursive=True)
        if "RayTrainWorker" in " ".join(process.cmdline()[:1])
    ]
    workers[-1].kill()
    return len(workers)


def test_learning_rate_rises_then_falls_to_a_tenth() -> None:
    from echo_ray.train.loop import learning_rate

    config = TrainConfig(lr=1.0, warmup_share=0.1)
    rates = [learning_rate(step, 100, config, 0.0) for step in range(100)]
    assert 10 == rates.index(max(rates)) or 9 == rates.index(max(rates))
    assert rates[-1] == pytest.approx(0.1, abs=0.01)
    assert all(a >= b for a, b in pairwise(rates[10:]))


@pytest.mark.ray
def test_two_deepspeed_workers_learn_measure_and_save_a_plain_folder(
    tiny_model: Path, tmp_path: Path, cluster: None
) -> None:
    from transformers import AutoModelForCausalLM

    from echo_ray.train.launch import train

    write_packed(tmp_path / "pack", 256)
    config = TrainConfig(workers=2, epochs=6, lr=5e-3, checkpoint_every=20, heldout_share=0.2)
    manifest = train(config, tmp_path / "pack", tmp_path / "train", tiny_model)
    points = curve(tmp_path / "train")
    assert points[-1]["loss"] < 0.5 * points[0]["loss"]
    assert points[-1]["heldout_loss"] < points[0]["heldout_loss_untrained"]
    assert points[-1]["heldout_exact_match"] > points[0]["heldout_exact_match_untrained"]
    for point in points:
        parts = sum(point[f"{part}_s"] for part in ("data", "forward", "backward", "optimizer"))
        assert 0 < parts <= point["step_s"] * 1.01
        assert point["tokens"] <= point["padded_tokens"] <= 1.02 * point["tokens"]
        assert 0 < point["mfu"] < 1
    assert manifest.notes["padding_share"] <= 0.02
    assert "deepspeed" in manifest.engine
    assert "ray.train" in manifest.engine
    assert list((tmp_path / "train" / "tensorboard").iterdir())
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "train" / "model")
    assert "bfloat16" in str(model.dtype)
    again = train(config, tmp_path / "pack", tmp_path / "train", tiny_model)
    assert manifest == again


@pytest.mark.ray
@pytest.mark.parametrize(("stage", "workers"), [(0, 2), (1, 2), (2, 2), (3, 2), (3, 1)])
def test_the_losses_depend_neither_on_the_zero_stage_nor_on_the_workers(
    stage: int, workers: int, straight: list[float], packed: Path, tiny_model: Path, tmp_path: Path
) -> None:
    output = fine_tune(EXACT.updated(zero_stage=stage, workers=workers), packed, tmp_path / "out", tiny_model)
    assert straight == pytest.approx(losses(output), rel=1e-4)


@pytest.mark.ray
@pytest.mark.parametrize("stage", [0, 2, 3])
def test_in_bf16_every_stage_stays_beside_the_losses_of_fp32(
    stage: int, straight: list[float], packed: Path, tiny_model: Path, tmp_path: Path
) -> None:
    config = EXACT.updated(zero_stage=stage, precision="bf16", workers=2)
    assert straight == pytest.approx(
        losses(fine_tune(config, packed, tmp_path / "out", tiny_model)), rel=0.02
    )


@pytest.mark.ray
def test_activation_checkpointing_and_the_size_of_a_pass_change_no_loss(
    straight: list[float], packed: Path, tiny_model: Path, tmp_path: Path
) -> None:
    config = EXACT.updated(activation_checkpointing=True, micro_tokens=512)
    assert straight == pytest.approx(
        losses(fine_tune(config, packed, tmp_path / "out", tiny_model)), rel=1e-4
    )


@pytest.mark.ray
@pytest.mark.parametrize("storage", [None, "local://{folder}/kept"])
def test_a_killed_worker_is_replaced_and_the_curve_is_the_same(
    storage: str | None, straight: list[float], packed: Path, tiny_model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    where = storage and storage.format(folder=tmp_path)
    config = EXACT.updated(workers=2, zero_stage=2, storage_path=where, max_failures=2)
    with when_step(output, 7, kill_a_worker) as killed:
        fine_tune(config, packed, output, tiny_model)
    assert [2] == killed
    assert straight == pytest.approx(losses(output), rel=1e-4)


@pytest.mark.ray
def test_a_killed_driver_goes_on_from_its_checkpoint_to_the_same_curve(
    straight: list[float], packed: Path, tiny_model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    told = {name: value for name, value in EXACT.model_dump(mode="json").items() if value is not None}
    words = [f"train.{name}={json.dumps(value)}" for name, value in told.items() if name != "lora_targets"]
    command = [sys.executable, "-m", "jobs", "train", *words, f"train.model={tiny_model}"]
    command += [f"train.input={packed}", f"train.output={output}"]
    environment = os.environ | {"RAY_ADDRESS": ""}
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with when_step(output, 7, lambda: driver.send_signal(signal.SIGKILL)):
        assert -signal.SIGKILL == driver.wait(timeout=300)
    newest = json.loads((output / "checkpoints" / "newest.json").read_text())
    assert 5 <= newest["step"] < len(straight)
    assert newest["step"] <= len(curve(output))
    # The workers notice on their own that their driver is gone.
    time.sleep(3)
    subprocess.run(command, env=environment, check=True, timeout=300, capture_output=True)
    assert straight == pytest.approx(losses(output), rel=1e-4)


@pytest.mark.ray
@pytest.mark.parametrize("stage", [1, 3])
def test_lora_trains_adapters_alone_and_merges_them(
    stage: int, packed: Path, tiny_model: Path, tmp_path: Path, cluster: None
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    config = EXACT.updated(workers=2, zero_stage=stage, lora_rank=4, lora_alpha=8, lr=1e-2, epochs=4)
    output = fine_tune(config, packed, tmp_path / "out", tiny_model)
    got = losses(output)
    assert got[-1] < got[0] - 0.1
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    before = {name: value.clone() for name, value in base.state_dict().items()}
    merged = AutoModelForCausalLM.from_pretrained(output / "model", dtype=torch.float32)
    changed = {
        name
        for name, value in merged.state_dict().items()
        if not value.equal(before[name].bfloat16().float())
    }
    assert changed
    assert all("_proj" in name for name in changed)
    ids = torch.arange(2, 40)[None]
    adapted = PeftModel.from_pretrained(base, output / "adapter")
    torch.testing.assert_close(
        merged(input_ids=ids).logits, adapted(input_ids=ids).logits, rtol=0.05, atol=0.05
    )


@pytest.mark.ray
def test_a_full_disk_leaves_the_last_good_checkpoint_and_the_run_goes_on_later(
    straight: list[float], packed: Path, tiny_model: Path, tmp_path: Path
) -> None:
    kept, output = tmp_path / "kept", tmp_path / "out"
    trap = kept / "step-0000010"
    trap.mkdir(parents=True)
    # Whatever is written into this file meets a device that has no room.
    (trap / "mp_rank_00_model_states.pt").symlink_to("/dev/full")
    config = EXACT.updated(storage_path=str(kept))
    with pytest.raises(TrainingError, match=r"step 10 could not be written.*train\.storage_path"):
        fine_tune(config, packed, output, tiny_model)
    assert 5 == json.loads((kept / "newest.json").read_text())["step"]
    assert not (output / "model").exists()
    assert straight == pytest.approx(losses(fine_tune(config, packed, output, tiny_model)), rel=1e-4)


@pytest.mark.ray
def test_a_run_that_only_lacks_its_model_trains_no_step_again(
    straight: list[float], packed: Path, tiny_model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    # Where the model is to be written lies something that is no folder.
    trap = output / ".model.part"
    with (
        when_step(output, 1, lambda: trap.symlink_to("/dev/null")),
        pytest.raises(TrainingError, match="the model could not be written"),
    ):
        fine_tune(EXACT, packed, output, tiny_model)
    before = (output / "metrics.jsonl").read_text()
    trap.unlink()
    fine_tune(EXACT, packed, output, tiny_model)
    assert before == (output / "metrics.jsonl").read_text()
    assert straight == pytest.approx(losses(output), rel=1e-4)
    assert (output / "model" / "config.json").is_file()
    assert not (output / "checkpoints").exists()


@pytest.mark.ray
def test_one_user_alone_is_trained_on_and_known_to_the_ledger(
    packed: Path, tiny_model: Path, tmp_path: Path, cluster: None
) -> None:
    from echo_ray.ledger import people

    user = next(f"u{n}" for n in range(1000) if unit(0, "heldout", f"u{n}") < 0.2)
    folder = rewritten(tmp_path, packed, lambda row: row | {"user": user})
    output = fine_tune(EXACT.updated(heldout_share=0.2, max_steps=2), folder, tmp_path / "out", tiny_model)
    assert 2 == len(losses(output))
    assert 160 == people.rows_of(output, user)


@pytest.mark.ray
def test_a_loss_that_is_not_finite_ends_in_a_sentence(
    packed: Path, tiny_model: Path, tmp_path: Path, cluster: None
) -> None:
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(tiny_model, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(TrainingError, match=r"^loss is nan at step 1: lower train\.lr="):
        fine_tune(EXACT, packed, tmp_path / "out", broken)
    assert not (tmp_path / "out" / "model").exists()


def refused(packed: Path, model: Path, tmp_path: Path, **changes: Any) -> None:
    """Run what must be refused; nothing may have been written."""
    try:
        fine_tune(EXACT.updated(**changes), packed, tmp_path / "out", model)
    finally:
        assert not (tmp_path / "out").exists()


def rewritten(tmp_path: Path, packed: Path, change: Any) -> Path:
    """The packed samples with `change` applied to each."""
    folder = tmp_path / "changed"
    folder.mkdir()
    rows = [change(row) for row in pq.read_table(packed / "part-0000.parquet").to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, PACKED), folder / "part-0000.parquet")
    return folder


def test_nothing_to_learn_is_refused(packed: Path, tiny_model: Path, tmp_path: Path) -> None:
    folder = rewritten(tmp_path, packed, lambda row: row | {"drop": "no_room", "input_ids": []})
    with pytest.raises(SchemaError, match="no sample to train on"):
        refused(folder, tiny_model, tmp_path)


def test_voids_alone_are_refused(packed: Path, tiny_model: Path, tmp_path: Path) -> None:
    folder = rewritten(tmp_path, packed, lambda row: row | {"prompt_tokens": len(row["input_ids"]) - 1})
    with pytest.raises(SchemaError, match=r"void.*balance\.void_ratio"):
        refused(folder, tiny_model, tmp_path)


def test_a_sample_longer_than_the_model_takes_is_refused(
    packed: Path, tiny_model: Path, tmp_path: Path
) -> None:
    folder = rewritten(tmp_path, packed, lambda row: row | {"input_ids": [5] * 5000})
    with pytest.raises(SchemaError, match=r"5000 tokens.*pack\.cutoff_len"):
        refused(folder, tiny_model, tmp_path)


def test_tokens_that_the_model_does_not_know_are_refused(
    packed: Path, tiny_model: Path, tmp_path: Path
) -> None:
    folder = rewritten(tmp_path, packed, lambda row: row | {"input_ids": [*row["input_ids"], 99_999]})
    with pytest.raises(SchemaError, match=r"token 99999.*pack\.model"):
        refused(folder, tiny_model, tmp_path)


@pytest.mark.ray
def test_checkpoints_of_another_run_are_refused(
    packed: Path, tiny_model: Path, tmp_path: Path, cluster: None
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "newest.json").write_text(
        json.dumps({"tag": "step-0000005", "step": 5, "seconds": 1.0, "run": "somebody else's"})
    )
    with pytest.raises(ConfigError, match=r"another run.*train\.storage_path"):
        refused(packed, tiny_model, tmp_path, storage_path=str(kept))


def test_offloading_what_is_not_sharded_is_refused(packed: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.offload_optimizer needs train\.zero_stage"):
        refused(packed, tiny_model, tmp_path, offload_optimizer=True, zero_stage=0)


def test_the_newest_line_is_found_behind_a_torn_one(tmp_path: Path) -> None:
    assert track.last(tmp_path) is None
    lines = [json.dumps({"step": n, "loss": 0.5, "pad": "x" * 900}) for n in range(1, 60)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 60, "lo')
    newest = track.last(tmp_path)
    assert newest is not None
    assert 59 == newest["step"] == track.read(tmp_path)[-1]["step"]


def test_an_unknown_storage_is_refused(packed: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.storage_path=nowhere://x"):
        refused(packed, tiny_model, tmp_path, storage_path="nowhere://x")


def test_mlflow_that_is_not_installed_is_named(packed: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mlflow-skinny"):
        refused(packed, tiny_model, tmp_path, mlflow=str(tmp_path / "mlruns"))
