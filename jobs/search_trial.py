"""One trial of a mixture: balance, pack, a few steps of fine-tuning, measured on users it has not seen.

Packing, loss and schedule are those of `echo_ray.train` (`plan`, `summed_loss`, `learning_rate`), AdamW with
the same constants; left out is DeepSpeed, whose start costs more than a trial. Greedy exact match and silence
come from the same forward pass as the loss: greedy decoding gives the target if and only if the most likely
token is the right one at each of its places, the end included, and it is silent if and only if the end token
is the most likely one right after the prompt.

Every mixture trains on the same number of samples, taken by a keyed draw among its copies, so that two
mixtures share most of their samples and none wins by being larger.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import rng
from echo_ray.errors import TrainingError
from echo_ray.stages import balance as balancing
from echo_ray.stages import pack as packing
from echo_ray.stages.counts import Counts
from echo_ray.train.attention import install, summed_loss, target_logits
from echo_ray.train.collate import collate
from echo_ray.train.config import TrainConfig
from echo_ray.train.loop import learning_rate
from echo_ray.train.packing import Row, bins, plan

MIXTURE = ("void_ratio", "short_share", "medium_share", "long_share", "tail_keep", "max_copies")
"""Settings of `balance` that a trial varies."""
NEEDED = ("sample_id", "user", "prefix", "suffix", "target")
"""Columns without which a mixture cannot be searched."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One packed row: token ids of which the first `prompt` carry no loss."""

    key: str
    ids: Sequence[int]
    prompt: int

    @property
    def targets(self) -> int:
        """Tokens that carry loss."""
        return len(self.ids) - self.prompt

    def row(self) -> Row:
        """What packing needs to know of it."""
        return Row(self.key, len(self.ids), self.targets)


def run(point: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """Metrics of one mixture. `job` holds `folder`, `model`, `balance`, `pack`, `train` and `counts` (plain
    values), `steps`, `threads`, `gpu`. Raises TrainingError when the loss is not finite or nothing is left.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = TrainConfig.model_validate(job["train"]).updated(seed=point["seed"])
    if not job["gpu"]:
        torch.set_num_threads(job["threads"])
    torch.manual_seed(config.seed)
    samples, mixture = mixed(point, job)
    if not samples:
        raise TrainingError("this mixture leaves no sample to train on")
    device = torch.device("cuda" if job["gpu"] else "cpu")
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32).to(device)
    install(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay
    )
    rows = [sample.row() for sample in samples]
    epochs = (
        step
        for epoch in count()
        for step in plan(rows, config.batch, config.micro_tokens, 1, config.seed, epoch)
    )
    loss = math.nan
    for number, step in enumerate(islice(epochs, job["steps"])):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(number, job["steps"], config, 0.0)
        total = 0.0
        for one in step.workers[0]:
            packed = collate([(samples[i].ids, samples[i].prompt) for i in one]).to(device)
            with torch.autocast(device.type, torch.bfloat16):
                nats = summed_loss(model, packed)
            (nats / step.targets).backward()
            total += float(nats.item())
        loss = total / step.targets
        if not math.isfinite(loss):
            raise TrainingError(f"loss is {loss} at step {number + 1}: lower train.lr={config.lr:g}")
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    heldout = load(Path(job["folder"]) / "heldout.parquet")
    return measure(model, heldout, config.micro_tokens, device) | {"train_loss": loss, "mixture": mixture}


def mixed(point: dict[str, Any], job: dict[str, Any]) -> tuple[list[Sample], dict[str, int]]:
    """(rows to train on, copies by band) of a mixture: `steps` times `batch` of its copies, or all."""
    balance = balancing.BalanceConfig.model_validate(job["balance"])
    balance = balance.updated(**{name: point[name] for name in MIXTURE})
    counts = Counts.model_validate(job["counts"])
    applied = balancing.applied(balance, balancing.plan(counts, balance))
    balanced = balancing.balance(pq.read_table(Path(job["folder"]) / "train.parquet"), applied)
    names = ("sample_id", "copies", "band")
    copies = [
        (sample_id, copy, band)
        for sample_id, number, band in zip(*(balanced[name].to_pylist() for name in names), strict=True)
        for copy in range(number)
    ]
    copies.sort(key=lambda item: rng.unit(balance.seed, "search", *item[:2]))
    chosen = copies[: job["steps"] * job["train"]["batch"]]
    wanted = Counter(sample_id for sample_id, _, _ in chosen)
    number = pa.array([wanted[sample_id] for sample_id in balanced["sample_id"].to_pylist()], pa.int32())
    limited = balanced.set_column(balanced.schema.get_field_index("copies"), "copies", number)
    packed = packing.pack(limited, packing.PackConfig.model_validate(job["pack"]))
    return as_rows(packed), dict(sorted(Counter(band for _, _, band in chosen).items()))


def load(path: Path) -> list[Sample]:
    """Packed rows of one file."""
    return as_rows(pq.read_table(path))


def as_rows(packed: pa.Table) -> list[Sample]:
    """PACKED rows that are not dropped, in record order."""
    rows = [
        Sample(f"{row['sample_id']}/{row['copy']}", row["input_ids"], row["prompt_tokens"])
        for row in packed.to_pylist()
        if row["drop"] is None
    ]
    return sorted(rows, key=lambda row: row.key)


def measure(model: Any, samples: Sequence[Sample], bin_tokens: int, device: Any) -> dict[str, Any]:
    """Metrics of `samples` under an installed `model`: losses (nats per target token), shares, counts."""
    import torch
    import torch.nn.functional as functional

    sums: Counter[str] = Counter()
    model.eval()
    for one in bins([sample.row() for sample in samples], range(len(samples)), bin_tokens):
        chosen = [samples[i] for i in one]
        packed = collate([(sample.ids, sample.prompt) for sample in chosen]).to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            logits, wanted = target_logits(model, packed)
            nats = functional.cross_entropy(logits.float(), wanted, reduction="none")
        best = logits.argmax(dim=1)
        sizes = [sample.targets for sample in chosen]
        parts = (torch.split(values, sizes) for values in (best == wanted, best, nats))
        for sample, right, greedy, lost in zip(chosen, *parts, strict=True):
            kind = "void" if sample.targets == 1 else "code"
            sums[f"{kind}_rows"] += 1
            sums[f"{kind}_tokens"] += sample.targets
            sums[f"{kind}_nats"] += float(lost.sum())  # type: ignore[assignment]
            sums[f"{kind}_silent"] += int(greedy[0]) == sample.ids[-1]
            sums[f"{kind}_right"] += bool(right.all())
    model.train()
    return figures(sums)


def figures(sums: Counter[str]) -> dict[str, Any]:
    """Ratios of the sums over held-out rows; null where there is nothing to divide by."""
    silent = sums["void_silent"] + sums["code_silent"]
    tokens = sums["void_tokens"] + sums["code_tokens"]
    both = 2 * sums["void_silent"]
    return {
        "loss": _ratio(sums["void_nats"] + sums["code_nats"], tokens),
        "loss_code": _ratio(sums["code_nats"], sums["code_tokens"]),
        "loss_void": _ratio(sums["void_nats"], sums["void_tokens"]),
        "exact_match": _ratio(sums["code_right"], sums["code_rows"]),
        "silence_precision": _ratio(sums["void_silent"], silent),
        "silence_recall": _ratio(sums["void_silent"], sums["void_rows"]),
        "silence_f1": _ratio(both, silent + sums["void_rows"]),
        "rows": sums["code_rows"] + sums["void_rows"],
        "voids": sums["void_rows"],
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
