"""Fine-tuning as one call: Ray Train starts the workers, DeepSpeed trains in them.

The output folder gets `metrics.jsonl`, `tensorboard/`, `checkpoints/`, `model/` (plain Hugging Face) and,
written last, `manifest.json`; a finished run with the same settings, samples and start model is not run
again, and a killed one goes on from its last checkpoint. What cannot work is refused before anything is
written.
"""

import json
import shutil
import threading
import time
from importlib.metadata import version as installed
from pathlib import Path

from echo_ray.cluster import has_gpu, worker_environment
from echo_ray.config import fingerprint
from echo_ray.data import (
    MARKER,
    Manifest,
    claim,
    in_order,
    input_fingerprint,
    prepare,
    read_manifest,
    settings,
    streamed,
    units_of,
    write_manifest,
)
from echo_ray.errors import ConfigError, EchoError, SchemaError, TrainingError
from echo_ray.ledger import people
from echo_ray.models import check, context_limit, tokenizer_version, version
from echo_ray.progress import Bar, bar
from echo_ray.train import stream, track
from echo_ray.train.card import train_card
from echo_ray.train.checkpoint import Store
from echo_ray.train.config import TrainConfig
from echo_ray.train.loop import REFUSAL, Job, shard, worker
from echo_ray.train.packing import Step, padding_share

STAGE = "train"
ELSEWHERE = {"storage_path", "registry", "mlflow", "tensorboard", "max_failures", "checkpoint_every"}
"""Settings that change where things lie, not what is learned: a run with others of these goes on."""


def train(config: TrainConfig, source: Path, output: Path, model: Path) -> Manifest:
    """Fine-tune `model` on the packed samples under `source`. Needs a running Ray.

    Raises SchemaError when there is nothing to learn or the samples do not fit the model, ConfigError for
    checkpoints of another run, TrainingError when the workers fail.
    """
    units_of(source)
    ends = check(model, "train.model").ends
    track.check_mlflow(config)
    if config.offload_optimizer and config.zero_stage == 0:
        raise ConfigError("train.offload_optimizer needs train.zero_stage of 1 to 3: set one of the two")
    before = input_fingerprint(source)
    base = version(model)
    learned = {name: value for name, value in settings(config).items() if name not in ELSEWHERE}
    mark = fingerprint({"stage": STAGE, "config": learned, "input": before, "base": base})
    storage = config.storage_path or str((output / "checkpoints").resolve())
    done = read_manifest(output)
    if done is not None and done.fingerprint == mark:
        _clear(output, Store(storage, mark))
        return done
    index = checked(stream.index(source, config), source, model, config)
    if config.storage_path:
        Store(storage, mark).newest()
    claim(output)
    if (output / MARKER).read_text() != mark:
        shutil.rmtree(output)
    prepare(output, mark)
    began = time.monotonic()
    planned = stream.steps([sample.row() for sample in index.training], config)
    stream.write_tokens(source, output)
    job = Job(
        config=config.model_dump(mode="json"),
        folder=str(output.resolve()),
        model=str(model.resolve()),
        run=mark,
        storage=storage,
        targets=[step.targets for step in planned],
        heldout=stream.measured(index.heldout, config),
        ends=ends,
    )
    with bar("train", len(planned), "steps") as shown, _Watcher(output, shown):
        _fit(config, job, planned, index, output)
    curve = track.read(output)
    rows = [sample.row() for sample in index.training]
    manifest = Manifest(
        stage=STAGE,
        fingerprint=mark,
        input=str(source),
        input_fingerprint=before,
        config=settings(config),
        columns={},
        rows_in=len(index.training) + len(index.heldout),
        rows_out=len(index.training),
        drops={"heldout": len(index.heldout)} if index.heldout else {},
        seconds=round(time.monotonic() - began, 3),
        engine=f"deepspeed {installed('deepspeed')} under ray.train {installed('ray')}",
        notes={
            "base": base,
            "steps": curve[-1]["step"],
            "tokens": sum(point["tokens"] for point in curve),
            "target_tokens": sum(row.targets for row in rows),
            "padding_share": round(padding_share(rows, planned, 1), 5),
            "first_loss": curve[0]["loss"],
            "last_loss": curve[-1]["loss"],
            "heldout_loss": next((p["heldout_loss"] for p in reversed(curve) if "heldout_loss" in p), None),
            "model": str(output / "model"),
        },
    )
    card = train_card(config, manifest, curve)
    (output / "model" / "README.md").write_text(card, encoding="utf-8")
    # Whose samples these were, by one-way mark: `erase` asks when the packed samples are gone. Where nobody
    # was held out, one user alone among them, everybody was trained on.
    share = config.heldout_share if index.heldout else 0.0
    people.write_users(output, people.trained(source, settings(config) | {"heldout_share": share}), mark)
    write_manifest(output, manifest)
    _clear(output, Store(storage, mark))
    return manifest


def _clear(output: Path, store: Store) -> None:
    """Take away what only an unfinished run needs. After the manifest: a run that dies here is finished."""
    store.remove()
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    (output / stream.TOKENS).unlink(missing_ok=True)


def checked(index: stream.Index, source: Path, model: Path, config: TrainConfig) -> stream.Index:
    """`index`, or SchemaError when nothing can be learned from it or the model cannot take it."""
    if not index.training and index.heldout:
        # One user alone: there is nobody to hold out.
        index = stream.Index(index.heldout, [], index.highest)
    if not index.training:
        raise SchemaError(f"{source} holds no sample to train on: see the drop reasons in its manifest")
    if all(sample.length - sample.prompt == 1 for sample in index.training):
        raise SchemaError(
            f"all {len(index.training)} samples under {source} are void, and a model trained on them "
            "alone falls silent: collect more, or lower balance.void_ratio"
        )
    packed = read_manifest(source)
    tokenizer = packed.notes.get("tokenizer") if packed is not None else None
    if tokenizer is not None and tokenizer != tokenizer_version(model):
        raise SchemaError(
            f"{source} was packed with another tokenizer than that of {model}: "
            f"pack again with pack.model={model}"
        )
    vocabulary = json.loads((model / "config.json").read_text(encoding="utf-8")).get("vocab_size")
    if isinstance(vocabulary, int) and index.highest >= vocabulary:
        raise SchemaError(
            f"packed samples hold token {index.highest} and the model knows {vocabulary}: "
            "set pack.model and train.model to the same folder"
        )
    longest = max(sample.length for sample in [*index.training, *index.heldout])
    limit = context_limit(model)
    if limit is not None and longest > limit:
        raise SchemaError(
            f"the longest packed sample has {longest} tokens and {model} takes {limit}: lower pack.cutoff_len"
        )
    return index


def _fit(config: TrainConfig, job: Job, planned: list[Step], index: stream.Index, output: Path) -> None:
    import ray.train
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    gpu = has_gpu()
    (output / REFUSAL).unlink(missing_ok=True)
    newest = Store(job.storage, job.run).newest()
    first = newest.step if newest else 0
    tokens = (output / stream.TOKENS).resolve()
    trainer = TorchTrainer(
        worker,
        train_loop_config={"job": job},
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        datasets={
            shard(rank): streamed(
                stream.passes(index.training, planned, rank, first),
                stream.look_up,
                stream.PASSES_PER_BLOCK,
                tokens=str(tokens),
            )
            for rank in range(config.workers)
        },
        dataset_config=in_order(),
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
        raise _failure(output, error) from error
    finally:
        shutil.rmtree(output / "ray", ignore_errors=True)
    if not (output / "model" / "config.json").is_file():
        raise TrainingError(f"training ended without a model in {output / 'model'}")


def _failure(output: Path, error: BaseException) -> EchoError:
    """What the user is told: the worker's own sentence, else the last line of its traceback that names an
    error.
    """
    refusal = output / REFUSAL
    if refusal.is_file():
        return TrainingError(refusal.read_text(encoding="utf-8"))
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "Error" in line and not line.startswith(("File", "ray.train"))]
    cause = (named or lines or ["no reason given"])[-1]
    return TrainingError(
        f"the training workers failed: {cause}; the same command goes on from the last checkpoint"
    )


class _Watcher:
    """Moves a bar with the lines of `metrics.jsonl`; Ray Train reports to the driver only at the end."""

    def __init__(self, folder: Path, shown: Bar) -> None:
        self._folder, self._bar, self._stop = folder, shown, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "_Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            point = track.last(self._folder)
            if point is not None:
                note = f"loss {point['loss']:.3f}, {point['tokens_per_s']:,.0f} tokens/s"
                if point.get("mfu") is not None:
                    note += f", MFU {100 * point['mfu']:.0f}%"
                self._bar.set_postfix_str(note, refresh=False)
                self._bar.update(point["step"] - self._bar.n)
