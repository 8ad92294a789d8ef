"""Fine-tuning as one call: Ray Train starts the workers, DeepSpeed trains in them.

The output folder gets `metrics.jsonl`, `checkpoints/`, `model/` (plain Hugging Face) and, written last,
`manifest.json`; a finished run with the same settings, samples and start model is not run again, and a
killed one goes on from its last checkpoint. Not covered: a model registry.
"""

import json
import shutil
import threading
import time
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from echo_ray.cluster import has_gpu, worker_environment
from echo_ray.config import fingerprint
from echo_ray.data import (
    MARKER,
    Manifest,
    claim,
    input_fingerprint,
    prepare,
    read_manifest,
    settings,
    units_of,
    write_manifest,
)
from echo_ray.errors import SchemaError, TrainingError
from echo_ray.ledger import people
from echo_ray.models import version
from echo_ray.progress import Bar, bar
from echo_ray.train.batches import padding_share, plan
from echo_ray.train.card import train_card
from echo_ray.train.config import TrainConfig
from echo_ray.train.loop import load_rows, worker

STAGE = "train"


def train(config: TrainConfig, source: Path, output: Path, model: Path) -> Manifest:
    """Fine-tune `model` on the packed samples under `source`. Needs a running Ray.

    Raises SchemaError when there is nothing to train on, TrainingError when the workers fail.
    """
    units_of(source)
    before = input_fingerprint(source)
    base = version(model)
    mark = fingerprint({"stage": STAGE, "config": settings(config), "input": before, "base": base})
    done = read_manifest(output)
    if done is not None and done.fingerprint == mark:
        return done
    rows, heldout = load_rows(source, config)
    if not rows:
        raise SchemaError(f"{source} holds no sample to train on: see the drop reasons in its manifest")
    claim(output)
    if (output / MARKER).read_text() != mark:
        shutil.rmtree(output)
    prepare(output, mark)
    began = time.monotonic()
    steps = len(plan(rows, config.batch, config.micro_tokens, config.workers, config.seed, 0)) * config.epochs
    with bar("train", steps, "steps") as shown, _Watcher(output / "metrics.jsonl", shown):
        _fit(config, source, output, model)
    lines = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    curve = [json.loads(line) for line in lines]
    one = plan(rows, config.batch, config.micro_tokens, config.workers, config.seed, 0)
    manifest = Manifest(
        stage=STAGE,
        fingerprint=mark,
        input=str(source),
        input_fingerprint=before,
        config=settings(config),
        columns={},
        rows_in=len(rows) + len(heldout),
        rows_out=len(rows),
        drops={"heldout": len(heldout)} if heldout else {},
        seconds=round(time.monotonic() - began, 3),
        engine=f"deepspeed {installed('deepspeed')} under ray.train {installed('ray')}",
        notes={
            "base": base,
            "steps": curve[-1]["step"],
            "tokens": sum(point["tokens"] for point in curve),
            "target_tokens": sum(row.targets for row in rows),
            "padding_share": round(padding_share(rows, one), 5),
            "first_loss": curve[0]["loss"],
            "last_loss": curve[-1]["loss"],
            "heldout_loss": next((p["heldout_loss"] for p in reversed(curve) if "heldout_loss" in p), None),
            "model": str(output / "model"),
        },
    )
    card = train_card(config, manifest, curve)
    (output / "model" / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    # Whose samples these were, by one-way mark: `erase` asks when the packed samples are gone.
    people.write_users(output, people.trained(source, settings(config)), mark)
    write_manifest(output, manifest)
    return manifest


def _fit(config: TrainConfig, source: Path, output: Path, model: Path) -> None:
    import ray.train
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    gpu = has_gpu()
    job: dict[str, Any] = {
        "config": config.model_dump(mode="json"),
        "rows": str(source.resolve()),
        "folder": str(output.resolve()),
        "model": str(model.resolve()),
    }
    trainer = TorchTrainer(
        worker,
        train_loop_config=job,
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=config.workers,
            use_gpu=gpu,
            resources_per_worker={"CPU": 1} | ({"GPU": 1} if gpu else {}),
        ),
        run_config=RunConfig(
            name="echo-ray",
            storage_path=str((output / "ray").resolve()),
            failure_config=FailureConfig(max_failures=config.max_failures),
            worker_runtime_env={"env_vars": worker_environment()},
        ),
    )
    try:
        trainer.fit()
    except SystemExit as stop:
        # Ray Train answers Ctrl-C by ending the process with status 0; for us it is an interruption.
        raise KeyboardInterrupt from stop
    except ray.train.TrainingFailedError as error:
        raise TrainingError(f"the training workers failed: {_cause(error)}") from error
    shutil.rmtree(output / "ray", ignore_errors=True)
    if not (output / "model" / "config.json").is_file():
        raise TrainingError(f"training ended without a model in {output / 'model'}")


def _cause(error: BaseException) -> str:
    """The last line of a worker's traceback that says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "Error" in line and not line.startswith(("File", "ray.train"))]
    return (named or lines or ["no reason given"])[-1]


class _Watcher:
    """Moves a bar with the lines of `metrics.jsonl`; Ray Train reports to the driver only at the end."""

    def __init__(self, path: Path, shown: Bar) -> None:
        self._path, self._bar, self._stop = path, shown, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "_Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.is_file() else []
            if lines and lines[-1].endswith("}"):
                point = json.loads(lines[-1])
                note = f"loss {point['loss']:.3f}, {point['tokens_per_s']:,.0f} tokens/s"
                self._bar.set_postfix_str(note, refresh=False)
                self._bar.update(point["step"] - self._bar.n)
