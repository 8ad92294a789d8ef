"""What a training says while it runs: `metrics.jsonl`, TensorBoard, MLflow, and where a step's time went."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from echo_ray.errors import ConfigError
from echo_ray.train.config import TrainConfig

METRICS = "metrics.jsonl"
PARTS = ("data", "forward", "backward", "optimizer")
"""Parts of a step that are timed."""
_LAST_BYTES = 1 << 14


class Stopwatch:
    """Seconds per part of one step. On CUDA the parts are bracketed by events, which cost no
    synchronisation.
    """

    def __init__(self, cuda: bool) -> None:
        self._cuda = cuda
        self._spent = dict.fromkeys(PARTS, 0.0)
        self._events: list[tuple[str, Any, Any]] = []

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time inside for `name`; waiting for data is host time on any device."""
        if self._cuda and name != "data":
            import torch

            new: Any = torch.cuda.Event
            before, after = new(enable_timing=True), new(enable_timing=True)
            before.record()
            yield
            after.record()
            self._events.append((name, before, after))
        else:
            began = time.perf_counter()
            yield
            self._spent[name] += time.perf_counter() - began

    def lap(self) -> dict[str, float]:
        """Seconds by part, as `data_s` and so on, since the last call."""
        if self._events:
            import torch

            torch.cuda.synchronize()
            for name, before, after in self._events:
                self._spent[name] += before.elapsed_time(after) / 1000
            self._events.clear()
        spent = {f"{name}_s": seconds for name, seconds in self._spent.items()}
        self._spent = dict.fromkeys(PARTS, 0.0)
        return spent


class Log:
    """Figures of a run, written by its first worker; the others' calls do nothing.

    After a resume from step `done`, later lines of the run that died are dropped, so that the file is one
    curve.
    """

    def __init__(self, folder: Path, config: TrainConfig, rank: int, done: int, run: str) -> None:
        self._path = folder / METRICS if rank == 0 else None
        self._board: Any = None
        self._mlflow: Any = None
        if self._path is None:
            return
        kept = [line for line in read(folder) if line["step"] <= done]
        part = self._path.with_suffix(".part")
        part.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        part.replace(self._path)
        if config.tensorboard:
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1 if done else None)
        if config.mlflow:
            self._mlflow = _mlflow(config.mlflow, run)

    def write(self, record: dict[str, Any]) -> None:
        """One step's figures."""
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        numbers = {name: value for name, value in record.items() if isinstance(value, int | float)}
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(f"train/{name}", value, record["step"])
        if self._mlflow is not None:
            self._mlflow.log_metrics(numbers, step=record["step"])

    def close(self) -> None:
        """Finish the files that others read."""
        if self._board is not None:
            self._board.close()
        if self._mlflow is not None:
            self._mlflow.end_run()


def read(folder: Path) -> list[dict[str, Any]]:
    """The curve so far; a line that a dying process left half-written is not part of it."""
    path = folder / METRICS
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def last(folder: Path) -> dict[str, Any] | None:
    """The newest whole line of the curve, without reading the rest; None when there is none."""
    path = folder / METRICS
    if not path.is_file():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LAST_BYTES))
        lines = file.read().splitlines()
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            return found if isinstance(found, dict) else None
    return None


def check_mlflow(config: TrainConfig) -> None:
    """Raise ConfigError before anything starts when MLflow is wanted and not installed."""
    if config.mlflow:
        _import_mlflow()


def _import_mlflow() -> Any:
    try:
        import mlflow
    except ImportError:
        raise ConfigError(
            "train.mlflow needs the package mlflow-skinny: install it, or leave train.mlflow out"
        ) from None
    return mlflow


def _mlflow(address: str, run: str) -> Any:
    mlflow = _import_mlflow()
    mlflow.set_tracking_uri(address)
    mlflow.set_experiment("echo_ray")
    known = mlflow.search_runs(filter_string=f"tags.echo_run = '{run}'", output_format="list")
    if known:
        mlflow.start_run(run_id=known[0].info.run_id)
    else:
        mlflow.start_run(run_name=run, tags={"echo_run": run})
    return mlflow
