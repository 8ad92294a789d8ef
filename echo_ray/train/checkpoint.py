"""Checkpoints of one training run: complete or not there, in a folder or at an fsspec address.

Every worker writes its own files of a checkpoint; when all are written, the first worker replaces the marker
`newest.json`, which alone says what a resumed run loads; then older checkpoints go. A worker or driver that
dies at any moment leaves the marker on a complete checkpoint. The marker carries the fingerprint of the run,
so a checkpoint of another model or other samples is refused, not loaded. Not covered: resuming with another
number of workers.
"""

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fsspec

from echo_ray.errors import ConfigError, TrainingError

NEWEST = "newest.json"


@dataclass(frozen=True, slots=True)
class Newest:
    """The marker: which checkpoint is complete, and of which run."""

    tag: str
    step: int
    seconds: float
    run: str


class Store:
    """Where the checkpoints of the run with fingerprint `run` are kept.

    `address` is a folder or an fsspec URL. Raises ConfigError when it names a file system that is not
    installed.
    """

    def __init__(self, address: str, run: str) -> None:
        self.address, self._run = address.rstrip("/"), run
        self._local = "://" not in address
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.address)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"train.storage_path={address} cannot be used: {error}") from None

    def newest(self) -> Newest | None:
        """The complete checkpoint, or None. Raises ConfigError for one of another run."""
        if not self._files.exists(f"{self._root}/{NEWEST}"):
            return None
        found = self._marked()
        if found.run != self._run:
            raise ConfigError(
                f"{self.address} holds checkpoints of another run (another model, samples or settings): "
                "name another folder in train.storage_path, or give that run's command again"
            )
        return found

    def load(self, engine: Any, newest: Newest) -> None:
        """Load the weights, optimizer states and counters of `newest` into a DeepSpeed engine."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(self._root)
            if not self._local:
                folder = Path(scratch)
                self._files.get(f"{self._root}/{newest.tag}", str(folder / newest.tag), recursive=True)
            path, _ = engine.load_checkpoint(str(folder), tag=newest.tag, load_module_strict=False)
        if path is None:
            raise TrainingError(
                f"the checkpoint {newest.tag} in {self.address} is not complete: remove {NEWEST}"
            )

    def write(self, engine: Any, step: int, seconds: float) -> Newest:
        """Write the state after `step`; it counts from `commit` on. Raises TrainingError in one sentence when
        the storage does not take it; the checkpoint before stays what it is.
        """
        tag = f"step-{step:07d}"
        try:
            self._write(engine, tag)
        except (OSError, RuntimeError) as error:
            self._discard(tag)
            raise TrainingError(
                f"the checkpoint of step {step} could not be written to {self.address} ({_reason(error)}); "
                "the one before is intact: make room or change train.storage_path, and give the same command "
                "again"
            ) from error
        return Newest(tag, step, seconds, self._run)

    def commit(self, newest: Newest) -> None:
        """Make `newest`, which every worker has written its part of, the one that counts; every worker must
        call this.
        """
        import torch.distributed as distributed

        distributed.barrier()
        if distributed.get_rank() == 0:
            self._mark(newest)
        distributed.barrier()

    def remove(self) -> None:
        """Take away every checkpoint of this run, the marker last: the run is done. Those of another run,
        which got the address since, are left alone.
        """
        marker = f"{self._root}/{NEWEST}"
        if not self._files.exists(marker) or self._marked().run != self._run:
            return
        for path in self._files.ls(self._root, detail=False):
            if str(path).rsplit("/", 1)[-1].startswith("step-"):
                self._files.rm(str(path), recursive=True)
        self._files.rm(marker)

    def _marked(self) -> Newest:
        return Newest(**json.loads(self._files.cat_file(f"{self._root}/{NEWEST}")))

    def _write(self, engine: Any, tag: str) -> None:
        if self._local:
            engine.save_checkpoint(self._root, tag=tag, save_latest=False, exclude_frozen_parameters=True)
            return
        with tempfile.TemporaryDirectory() as scratch:
            engine.save_checkpoint(scratch, tag=tag, save_latest=False, exclude_frozen_parameters=True)
            self._files.makedirs(f"{self._root}/{tag}", exist_ok=True)
            for file in sorted((Path(scratch) / tag).iterdir()):
                self._files.put_file(str(file), f"{self._root}/{tag}/{file.name}")

    def _mark(self, newest: Newest) -> None:
        text = json.dumps(asdict(newest)).encode()
        path = f"{self._root}/{NEWEST}"
        if self._local:
            part = Path(f"{path}.part")
            part.write_bytes(text)
            part.replace(path)
        else:
            self._files.pipe_file(path, text)
        for old in self._files.ls(self._root, detail=False):
            name = str(old).rsplit("/", 1)[-1]
            if name.startswith("step-") and name < newest.tag:
                self._files.rm(str(old), recursive=True)

    def _discard(self, tag: str) -> None:
        if self._local:
            shutil.rmtree(Path(self._root) / tag, ignore_errors=True)


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
    return str(text)[:200]
