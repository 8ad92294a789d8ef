"""One Ray Train worker: supervised fine-tuning with DeepSpeed (paper 4.6).

The loss of a step is the mean over all its target tokens, whichever worker holds them: each worker's sum
is scaled so that DeepSpeed's averaging over workers and micro-batches gives exactly that mean.
Checkpoints are written to the run's folder, which all workers share; after a restart every worker
loads the newest complete one and goes on at the step after it. Not covered: LoRA, packed sequences.
"""

import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from echo_ray.errors import TrainingError
from echo_ray.train.batches import Packed, Step, plan
from echo_ray.train.config import TrainConfig

IGNORED = -100
"""Label of a token without loss."""


def worker(job: dict[str, Any]) -> None:
    """Entry point of a Ray Train worker; `job` holds `config` (plain values), `model`, `rows`, `folder`."""
    import deepspeed
    import ray.train
    import torch
    from transformers import AutoModelForCausalLM

    config = TrainConfig.model_validate(job["config"])
    folder = Path(job["folder"])
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(config.threads_per_worker)
    torch.manual_seed(config.seed)
    rows, heldout = load_rows(Path(job["rows"]), config)
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    highest = max((max(row.ids) for row in rows), default=0)
    if highest >= model.config.vocab_size:
        raise TrainingError(
            f"packed samples hold token {highest} and the model knows {model.config.vocab_size}: "
            "set pack.model and train.model to the same folder"
        )
    engine, _, _, _ = deepspeed.initialize(
        model=model, model_parameters=list(model.parameters()), config=deepspeed_config(config)
    )
    steps = [
        step
        for epoch in range(config.epochs)
        for step in plan(rows, config.batch, config.micro_tokens, world, config.seed, epoch)
    ]
    checkpoints = folder / "checkpoints"
    done, spent_s = _resume(engine, checkpoints)
    began = time.monotonic() - spent_s
    log = _Log(folder / "metrics.jsonl", rank, done)
    untrained = _evaluate(engine, heldout, config, rank, world) if heldout and not done else None
    for number in range(done, len(steps)):
        if config.max_minutes and time.monotonic() - began > config.max_minutes * 60:
            break
        rate = learning_rate(number, len(steps), config, time.monotonic() - began)
        for group in engine.optimizer.param_groups:
            group["lr"] = rate
        started = time.monotonic()
        loss = _step(engine, steps[number], rows, rank, world)
        if not math.isfinite(loss):
            raise TrainingError(f"loss is {loss} at step {number + 1}: lower train.lr={config.lr:g}")
        took = time.monotonic() - started
        tokens = sum(len(rows[i].ids) for share in steps[number].workers for micro in share for i in micro)
        record = {"step": number + 1, "steps": len(steps), "loss": loss, "learning_rate": rate}
        record |= {"tokens": tokens, "tokens_per_s": tokens / took, "seconds": time.monotonic() - began}
        if number == 0 and untrained is not None:
            record["heldout_loss_untrained"] = untrained
        last = number + 1 == len(steps)
        if (number + 1) % config.checkpoint_every == 0 or last:
            if heldout:
                record["heldout_loss"] = _evaluate(engine, heldout, config, rank, world)
            _checkpoint(engine, checkpoints, number + 1, time.monotonic() - began)
        log.write(record)
    _save(engine, folder / "model", job["model"], rank, config.zero_stage)
    # One report in all: each waits for the controller's next poll, about two seconds (measured).
    ray.train.report({"steps": len(steps)})


def load_rows(folder: Path, config: TrainConfig) -> tuple[list[Packed], list[Packed]]:
    """(training rows, held-out rows) of a packed folder, in record order."""
    import pyarrow.parquet as pq

    from echo_ray.rng import unit

    rows: list[Packed] = []
    heldout: list[Packed] = []
    for path in sorted(folder.glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            if row["drop"] is None:
                measured = unit(config.seed, "heldout", row["user"]) < config.heldout_share
                packed = Packed(f"{row['sample_id']}/{row['copy']}", row["input_ids"], row["prompt_tokens"])
                (heldout if measured else rows).append(packed)
    return sorted(rows, key=lambda row: row.key), sorted(heldout, key=lambda row: row.key)


def deepspeed_config(config: TrainConfig) -> dict[str, Any]:
    """What DeepSpeed is told; gradient accumulation is ours, because steps differ in micro-batches."""
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "zero_optimization": {"stage": config.zero_stage, "overlap_comm": False},
        "bf16": {"enabled": True},
        "gradient_clipping": config.max_grad_norm,
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": config.lr,
                "betas": [0.9, 0.98],
                "weight_decay": config.weight_decay,
                "torch_adam": True,
            },
        },
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
    }


def learning_rate(step: int, steps: int, config: TrainConfig, seconds: float) -> float:
    """Linear warm-up, then a cosine to a tenth; a time limit shortens the cosine, not the run's end."""
    warmup = max(1, round(steps * config.warmup_share))
    if step < warmup:
        return config.lr * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    if config.max_minutes:
        done = max(done, min(1.0, seconds / (config.max_minutes * 60)))
    return config.lr * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))


def collate(rows: Sequence[Packed], chosen: Sequence[int]) -> tuple[Any, Any]:
    """(ids, labels), each (B, T), padded on the right."""
    import torch

    longest = max(len(rows[i].ids) for i in chosen)
    ids = torch.zeros((len(chosen), longest), dtype=torch.long)
    labels = torch.full_like(ids, IGNORED)
    for line, i in enumerate(chosen):
        size = len(rows[i].ids)
        ids[line, :size] = torch.tensor(rows[i].ids)
        labels[line, rows[i].prompt : size] = ids[line, rows[i].prompt : size]
    return ids, labels


def summed_loss(model: Any, ids: Any, labels: Any) -> Any:
    """Sum over the target tokens of -log p(token | what stands before it), in nats.

    Only the columns in which some row has a target get logits: the vocabulary is the widest layer and
    targets are few. Padding needs no attention mask: it stands on the right, and attention is causal.
    """
    import torch.nn.functional as functional

    following = labels[:, 1:]
    columns = (following != IGNORED).any(dim=0).nonzero().flatten()
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=columns).logits
    return functional.cross_entropy(
        logits.float().flatten(0, 1), following[:, columns].flatten(), ignore_index=IGNORED, reduction="sum"
    )


def _step(engine: Any, step: Step, rows: Sequence[Packed], rank: int, world: int) -> float:
    """One optimizer step; returns the mean loss per target token over all workers (nats)."""
    import torch
    import torch.distributed as distributed

    total = torch.zeros(1, device=engine.device)
    share = step.workers[rank]
    for index, micro in enumerate(share):
        engine.set_gradient_accumulation_boundary(index + 1 == len(share))
        # A worker without rows still takes part in the exchange of gradients, with a loss of zero.
        ids, labels = (part.to(engine.device) for part in collate(rows, micro or (0,)))
        loss = summed_loss(engine, ids, labels) * (1.0 if micro else 0.0)
        engine.backward(loss * world / step.targets, scale_wrt_gas=False)
        total += loss.detach()
        engine.step()
    distributed.all_reduce(total)
    return float(total.item()) / step.targets


def _evaluate(engine: Any, rows: Sequence[Packed], config: TrainConfig, rank: int, world: int) -> float:
    """Mean held-out loss per target token (nats), the work shared by all workers."""
    import torch
    import torch.distributed as distributed

    sums = torch.zeros(2, device=engine.device)
    with torch.no_grad():
        for step in plan(rows, len(rows), config.micro_tokens, world, config.seed, 0):
            for micro in step.workers[rank]:
                ids, labels = (part.to(engine.device) for part in collate(rows, micro or (0,)))
                loss = summed_loss(engine, ids, labels) * (1.0 if micro else 0.0)
                sums += torch.tensor([loss.item(), sum(rows[i].targets for i in micro)])
    distributed.all_reduce(sums)
    return float(sums[0].item() / max(1.0, sums[1].item()))


def _resume(engine: Any, checkpoints: Path) -> tuple[int, float]:
    """(steps done, seconds spent) of the newest complete checkpoint, loaded; (0, 0.0) without one."""
    newest = checkpoints / "newest"
    if not newest.is_file():
        return 0, 0.0
    _, state = engine.load_checkpoint(str(checkpoints), tag=newest.read_text().strip())
    return int(state["step"]), float(state["seconds"])


def _checkpoint(engine: Any, checkpoints: Path, step: int, seconds: float) -> None:
    import torch.distributed as distributed

    tag = f"step-{step:06d}"
    engine.save_checkpoint(
        str(checkpoints), tag=tag, client_state={"step": step, "seconds": seconds}, save_latest=False
    )
    distributed.barrier()
    if distributed.get_rank() == 0:
        part = checkpoints / "newest.part"
        part.write_text(tag)
        part.replace(checkpoints / "newest")
        for old in _older(checkpoints, tag):
            _remove(old)


def _older(checkpoints: Path, tag: str) -> Iterator[Path]:
    return (path for path in checkpoints.glob("step-*") if path.is_dir() and path.name != tag)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _save(engine: Any, folder: Path, base: str, rank: int, zero_stage: int) -> None:
    """Rank 0 writes a plain Hugging Face folder: bf16 safetensors and the tokenizer, unchanged."""
    import shutil

    import torch

    weights = engine._zero3_consolidated_16bit_state_dict() if zero_stage == 3 else engine.module.state_dict()
    if rank != 0:
        return
    weights = {name: value.to(torch.bfloat16) for name, value in weights.items()}
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    engine.module.config.dtype = torch.bfloat16
    engine.module.save_pretrained(part, state_dict=weights)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (Path(base) / name).is_file():
            shutil.copyfile(Path(base) / name, part / name)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(part, folder)


class _Log:
    """metrics.jsonl of rank 0; lines after the checkpoint that a resumed run starts from are dropped."""

    def __init__(self, path: Path, rank: int, done: int) -> None:
        self._path = path if rank == 0 else None
        if self._path is None:
            return
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        kept = [line for line in lines if json.loads(line)["step"] <= done]
        path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def write(self, record: dict[str, Any]) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
