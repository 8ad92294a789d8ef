"""One Ray Train worker: supervised fine-tuning with DeepSpeed (paper 4.6).

The loss of a step is the mean over all its target tokens, whichever worker and forward pass holds them: each
worker's sum is scaled so that DeepSpeed's averaging over workers gives exactly that mean. A forward pass is a
packed row of whole samples that do not see each other (`attention`), streamed from Ray Data (`stream`).
After a restart every worker loads the newest complete checkpoint (`checkpoint`) and goes on at the step
after it, with the same samples in the same order. Not covered: tensor or pipeline parallelism.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from echo_ray.errors import EchoError, TrainingError
from echo_ray.train import measure, stream, track
from echo_ray.train.attention import install, summed_loss
from echo_ray.train.checkpoint import Store
from echo_ray.train.collate import collate
from echo_ray.train.config import TrainConfig
from echo_ray.train.flops import Shape, mfu, train_flops
from echo_ray.train.lora import adapt
from echo_ray.train.peak import peak_flops_per_s
from echo_ray.train.save import save

REFUSAL = "refused.txt"
"""File in the output folder: why a worker gave up, in one sentence. Trying again would end the same way."""


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker is told; plain values, because they travel to other processes."""

    config: dict[str, Any]
    folder: str
    model: str
    run: str
    storage: str
    targets: list[int]
    """Target tokens of each step, over all workers."""
    heldout: list[stream.Sample]
    ends: tuple[int, ...]
    """Tokens that end an answer."""


def worker(told: dict[str, Job]) -> None:
    """Entry point of a Ray Train worker; `told["job"]` is its job. What the user can repair is left in
    `refused.txt` as a sentence.
    """
    job = told["job"]
    refusal = Path(job.folder) / REFUSAL
    if refusal.is_file():
        raise TrainingError(refusal.read_text(encoding="utf-8"))
    try:
        _train(job)
    except EchoError as error:
        # Ray keeps the text of a worker's exception, not its type, and would start the workers again.
        refusal.write_text(str(error), encoding="utf-8")
        raise


def _train(job: Job) -> None:
    import ray.train
    import torch

    config = TrainConfig.model_validate(job.config)
    folder = Path(job.folder)
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    engine = _engine(job, config)
    cuda = engine.device.type == "cuda"
    store = Store(job.storage, job.run)
    newest = store.newest()
    if newest is not None:
        store.load(engine, newest)
    done, spent_s = (newest.step, newest.seconds) if newest else (0, 0.0)
    log = track.Log(folder, config, rank, done, job.run)
    name = torch.cuda.get_device_name() if cuda else ""
    torch.distributed.barrier()
    peak = peak_flops_per_s(engine.device.type, name, config.threads_per_worker)
    meter = _Meter(engine, job, config, world, peak, cuda)
    began = time.monotonic() - spent_s
    first = meter.heldout(rank) if job.heldout and not done else {}
    total = len(job.targets)
    for number, passes in _steps(stream.rows_of(ray.train.get_dataset_shard(shard(rank))), done, meter.watch):
        spent = time.monotonic() - began
        if _out_of_time(config, spent, engine.device):
            break
        rate = learning_rate(number, total, config, spent)
        written = None
        record = meter.step(number, passes, rate)
        if not math.isfinite(record["loss"]):
            raise TrainingError(
                f"loss is {record['loss']} at step {number + 1}: lower train.lr={config.lr:g}; the last "
                "checkpoint is intact"
            )
        record = {"step": number + 1, "steps": total, **record, "seconds": time.monotonic() - began}
        if number == 0:
            record |= {f"{key}_untrained": value for key, value in first.items()}
        if number + 1 == total or (config.checkpoint_every and (number + 1) % config.checkpoint_every == 0):
            started = time.monotonic()
            record |= meter.heldout(rank) if job.heldout else {}
            record["eval_s"] = time.monotonic() - started
            if config.checkpoint_every:
                started = time.monotonic()
                written = store.write(engine, number + 1, started - began)
                record["checkpoint_s"] = time.monotonic() - started
        # The curve first: what a checkpoint covers is never missing from it, and what is too much is dropped.
        log.write(record)
        if written is not None:
            store.commit(written)
    save(engine, folder, Path(job.model), config, rank)
    log.close()
    # One report in all: each waits for the controller's next poll, about two seconds (measured).
    ray.train.report({"steps": total})


def shard(rank: int) -> str:
    """Name of the dataset with the forward passes of worker `rank`."""
    return f"rank-{rank}"


def _engine(job: Job, config: TrainConfig) -> Any:
    """A DeepSpeed engine around the model of the job, ready to train."""
    import deepspeed
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(config.threads_per_worker)
    torch.manual_seed(config.seed)
    dtype: Any = "auto" if _in_bf16(config) else torch.float32
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=dtype)
    install(model)
    if config.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if config.lora_rank:
        model = adapt(model, config)
    parameters = [p for p in model.parameters() if p.requires_grad]
    # DeepSpeed makes the optimizer of an offloaded run itself, from its configuration.
    optimizer = (
        None
        if config.offload_optimizer
        else torch.optim.AdamW(
            parameters, lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
        )
    )
    engine, _, _, _ = deepspeed.initialize(
        model=model, model_parameters=parameters, optimizer=optimizer, config=deepspeed_config(config)
    )
    return engine


def deepspeed_config(config: TrainConfig) -> dict[str, Any]:
    """What DeepSpeed is told; gradient accumulation is ours, because steps differ in forward passes."""
    zero: dict[str, Any] = {"stage": config.zero_stage, "overlap_comm": False}
    told: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "zero_optimization": zero,
        "bf16": {"enabled": _in_bf16(config)},
        "gradient_clipping": config.max_grad_norm,
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
    }
    if _in_bf16(config):
        told["data_types"] = {"grad_accum_dtype": config.gradient_dtype}
    elif config.precision == "bf16":
        told["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    if config.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
        told["optimizer"] = {
            "type": "AdamW",
            "params": {"lr": config.lr, "betas": [0.9, 0.98], "weight_decay": config.weight_decay},
        }
    return told


def _in_bf16(config: TrainConfig) -> bool:
    """Whether DeepSpeed keeps bf16 weights beside fp32 ones. Not at stage 0: there its bf16 optimizer left
    the losses of every other stage after one step (measured), so weights stay in fp32 and autocast computes
    in bf16.
    """
    return config.precision == "bf16" and config.zero_stage > 0


def learning_rate(step: int, steps: int, config: TrainConfig, seconds: float) -> float:
    """Linear warm-up, then a cosine to a tenth; a time limit shortens the cosine, not the run's end."""
    warmup = max(1, round(steps * config.warmup_share))
    if step < warmup:
        return config.lr * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    if config.max_minutes:
        done = max(done, min(1.0, seconds / (config.max_minutes * 60)))
    return config.lr * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))


def _steps(
    rows: Iterator[dict[str, Any]], done: int, watch: track.Stopwatch
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """(step, its forward passes) from the first step after `done` on; waiting for data is timed."""
    steps = groupby((row for row in rows if row["step"] >= done), key=lambda row: int(row["step"]))
    while True:
        with watch.part("data"):
            entry = next(steps, None)
            passes = list(entry[1]) if entry else []
        if entry is None:
            return
        yield entry[0], passes


def _out_of_time(config: TrainConfig, spent_s: float, device: Any) -> bool:
    """Whether the time is up, as the first worker's clock sees it: all workers stop at the same step."""
    if not config.max_minutes:
        return False
    import torch

    late = torch.tensor([float(spent_s > config.max_minutes * 60)], device=device)
    torch.distributed.broadcast(late, src=0)
    return bool(late.item())


class _Meter:
    """Runs steps and held-out measurements on one engine, and counts what they cost."""

    def __init__(
        self, engine: Any, job: Job, config: TrainConfig, world: int, peak: float | None, cuda: bool
    ) -> None:
        from echo_ray.prompts import FastTokenizer

        self.watch = track.Stopwatch(cuda)
        self._engine, self._job, self._config, self._world = engine, job, config, world
        self._peak, self._cuda = peak, cuda
        self._shape = Shape.of(engine.module.config.to_dict())
        # Under ZeRO-3 a worker holds a part of each weight, and `ds_numel` is the whole.
        trained = (p for p in engine.module.parameters() if p.requires_grad)
        numbers = sum(getattr(p, "ds_numel", p.numel()) for p in trained)
        self._adapters = numbers if config.lora_rank else 0
        self._tokenizer = FastTokenizer(Path(job.model))
        self._samples = stream.read_samples(job.heldout, Path(job.folder) / stream.TOKENS)

    def step(self, number: int, passes: list[dict[str, Any]], rate: float) -> dict[str, Any]:
        """One optimizer step over the forward passes of this worker; figures are of all workers."""
        import torch

        engine, targets = self._engine, self._job.targets[number]
        if self._config.lora_dropout:
            torch.manual_seed(self._config.seed + number)
        for group in engine.optimizer.param_groups:
            group["lr"] = rate
        began = time.perf_counter()
        # Sums over workers: nats, tokens, tokens that went through the model, FLOPs.
        sums = torch.zeros(4, dtype=torch.float64, device=engine.device)
        for index, row in enumerate(passes):
            engine.set_gradient_accumulation_boundary(index + 1 == len(passes))
            # A worker without samples still takes part in the exchange of gradients: its loss is zero.
            packed = collate(stream.samples_of(row)).to(engine.device)
            with self.watch.part("forward"):
                nats = summed_loss(engine, packed)
            with self.watch.part("backward"):
                engine.backward(nats * self._world / targets, scale_wrt_gas=False)
            with self.watch.part("optimizer"):
                engine.step()
            sums[0] += nats.detach()
            lengths = row["lengths"]
            inside = sum(lengths) - sum(row["prompts"])
            flops = train_flops(self._shape, lengths, inside, adapters=self._adapters)
            sums[1:] += torch.tensor([sum(lengths), packed.input_ids.shape[1], flops], device=engine.device)
        torch.distributed.all_reduce(sums)
        nats_sum, tokens, padded, flops = sums.tolist()
        parts = self.watch.lap()
        # Waiting for data happened before this call and belongs to the step.
        took = time.perf_counter() - began + parts["data_s"]
        record = {"loss": nats_sum / targets, "learning_rate": rate, "grad_norm": _norm(engine)}
        record |= {"tokens": int(tokens), "padded_tokens": int(padded), "target_tokens": targets}
        record |= {"tokens_per_s": tokens / took, "target_tokens_per_s": targets / took, "step_s": took}
        record |= {"mfu": mfu(flops, took, self._peak, self._world)} | parts
        if self._cuda:
            record["peak_memory_bytes"] = torch.cuda.max_memory_allocated()
        return record

    def heldout(self, rank: int) -> dict[str, float]:
        """Loss of the held-out samples, and scores of the first of them answered."""
        config = self._config
        found = {"heldout_loss": measure.loss(self._engine, self._samples, config, rank, self._world)}
        chosen = self._samples[: config.eval_answers]
        if chosen:
            texts = measure.answers(self._engine, chosen, self._job.ends, config, rank, self._world)
            languages = [sample.language for sample in self._job.heldout[: len(chosen)]]
            found |= measure.scored(self._tokenizer, chosen, languages, texts)
        return found


def _norm(engine: Any) -> float | None:
    norm = engine.get_global_grad_norm()
    return None if norm is None else float(norm)
