"""Settings of supervised fine-tuning; importing this needs no torch."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from echo_ray.config import Config


class TrainConfig(Config):
    """Supervised fine-tuning on packed samples (paper 4.6), DeepSpeed under Ray Train."""

    input: Path | None = None
    """Folder of packed samples; a folder of samples is packed first, with the settings of `pack`."""
    output: Path | None = None
    """Folder for `metrics.jsonl`, checkpoints and the finished model in `model/`."""
    model: Path | None = None
    """Model folder to start from, or `REGISTRY@champion`; the bundled base when absent."""

    # The machine.
    workers: int = Field(2, ge=1)
    """Ray Train workers, one process each; on GPU machines one per GPU."""
    threads_per_worker: int = Field(1, ge=1)
    """CPU threads of one worker."""
    zero_stage: int = Field(1, ge=0, le=3)
    """DeepSpeed ZeRO stage: what is sharded over the workers (1 optimizer, 2 gradients, 3 weights)."""
    offload_optimizer: bool = False
    """Keep optimizer states in the memory of the host (DeepSpeed ZeRO-Offload; stages 1 to 3)."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """`bf16`: weights and activations in bf16, optimizer and master weights in fp32. `fp32`: everything."""
    gradient_dtype: Literal["bf16", "fp32"] = "fp32"
    """What gradients are summed in over the forward passes of one step. `bf16` saves two bytes a
    parameter."""
    activation_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, a third more
    work."""
    micro_tokens: int = Field(2048, ge=64)
    """Most tokens of one forward pass (whole samples, packed); a longer sample has a pass of its own."""

    # The schedule.
    epochs: int = Field(2, ge=1)
    """Passes over the samples."""
    max_steps: int = Field(0, ge=0)
    """Optimizer steps at most; the schedule ends there. 0 takes all epochs."""
    max_minutes: float = Field(0.0, ge=0)
    """Stop starting new steps after this long; the schedule then ends early. 0 never stops."""
    batch: int = Field(32, ge=1)
    """Samples per optimizer step, over all workers."""
    lr: float = Field(5e-4, gt=0)
    """Peak learning rate of AdamW."""
    warmup_share: float = Field(0.1, ge=0, lt=1)
    """Share of the steps over which the rate rises."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this norm."""
    seed: int = 0
    """Seed of the order of the samples, and of LoRA's start."""

    # LoRA.
    lora_rank: int = Field(0, ge=0)
    """Rank of LoRA adapters (Hu et al. 2021); 0 trains every weight. The adapter is kept in `adapter/`, and
    `model/` has it merged."""
    lora_alpha: float = Field(32.0, gt=0)
    """Adapters are scaled by `lora_alpha` / `lora_rank`."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout before the adapters."""
    lora_targets: tuple[str, ...] = ("all-linear",)
    """Names of the layers that get adapters; `all-linear` is every linear layer but the head."""

    # Measuring.
    heldout_share: float = Field(0.05, ge=0, lt=0.5)
    """Share of the users, by hash, whose samples are measured and never trained on."""
    eval_samples: int = Field(512, ge=0)
    """Samples of held-out users whose loss is measured at every checkpoint, drawn by their ids (count)."""
    eval_answers: int = Field(32, ge=0)
    """How many of these are also answered (greedy) and scored: exact match, edit similarity, BLEU,
    CodeBLEU."""
    eval_answer_tokens: int = Field(48, ge=1)
    """Longest of these answers (tokens)."""
    tensorboard: bool = True
    """Write `tensorboard/` beside `metrics.jsonl`."""
    mlflow: str | None = None
    """Address of an MLflow server or folder that gets the same figures; needs the package `mlflow-skinny`."""

    # Coming back.
    checkpoint_every: int = Field(50, ge=0)
    """Steps between checkpoints and held-out measurements; a killed run resumes from the last one. 0 keeps
    none and measures at the end."""
    storage_path: str | None = None
    """Where checkpoints are kept: a folder, or an fsspec address (`s3://bucket/run`) that all workers reach.
    Absent: `checkpoints/` in the output folder."""
    max_failures: int = Field(1, ge=0)
    """How often Ray Train restarts the workers after one died."""
    registry: Path | None = None
    """Registry of models (`echo-ray models`) that gets the finished model; absent keeps it in `output`
    alone."""
