"""What a pretraining run leaves on disk: a checkpoint that knows whose it is, and a finished model folder.

A file or folder appears whole or not at all: it is written beside its place and then renamed, so a full disk
or a killed process leaves the last good one. A checkpoint carries the settings that decide weights and data
order; a run with others is refused. Settings that may change between two starts of one run: how long it
trains, how fast it learns, what is measured, and how it uses the machine. Not covered: a power cut (nothing
is synced).
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from echo_ray import models
from echo_ray.errors import ConfigError, TrainingError
from echo_ray.pretrain.config import PretrainConfig
from echo_ray.pretrain.sources import SourceFile

FREE = frozenset(
    (
        *("output", "minutes", "muon_lr", "adam_lr", "warmup_steps", "decay_share"),
        *("eval_every_s", "eval_sequences", "heldout_spans", "heldout_gaps", "compare", "measure"),
        *("micro_batch", "threads", "compile", "loader_workers"),
    )
)
"""Settings that a resumed run may change."""
_BY_CONTENT = frozenset(("sources", "exclude", "heldout_share", "start"))
"""Settings that count by what they lead to: the files trained on, the weights started from."""


def settings(config: PretrainConfig, training: Iterable[SourceFile], tokenizer: Path) -> dict[str, str]:
    """What must be the same when a run is resumed, by the setting that a user would change."""
    fixed = config.model_dump(mode="json", exclude=set(FREE | _BY_CONTENT))
    corpus = hashlib.blake2b(digest_size=16)
    for file in training:
        corpus.update(f"{file.language}:{len(file.text)}:{file.name}\n".encode("utf-8", "surrogatepass"))
        corpus.update(file.text.encode("utf-8", "surrogatepass"))
    found = {name: json.dumps(value, sort_keys=True) for name, value in sorted(fixed.items())}
    found["sources"] = corpus.hexdigest()
    found["tokenizer"] = hashlib.sha256((tokenizer / "tokenizer.json").read_bytes()).hexdigest()[:32]
    found["start"] = models.version(config.start).rsplit("-", 1)[-1] if config.start else ""
    return found


def load(path: Path, wanted: dict[str, str]) -> dict[str, Any] | None:
    """The checkpoint at `path`; None when there is none.

    Raises TrainingError, naming what differs, for one of another run, and for a file that is no checkpoint.
    """
    import torch

    if not path.is_file():
        return None
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu")
        found: dict[str, str] = saved["settings"]
    except Exception as error:  # noqa: BLE001 - unpickling a foreign file may raise anything
        raise TrainingError(
            f"{path} is no checkpoint of this version ({_line(error)}): name another folder in "
            "pretrain.output"
        ) from None
    for name in wanted:
        if found.get(name) != wanted[name]:
            what = {
                "sources": "other training files (sources, exclude or heldout_share)",
                "tokenizer": "another vocabulary",
                "start": "another start model",
            }.get(name, f"{name}={found.get(name)}, not {wanted[name]}")
            raise TrainingError(
                f"{path} belongs to a run with {what}: name another folder in pretrain.output, or set it back"
            )
    return saved


def save(path: Path, state: dict[str, Any]) -> None:
    """Put `state` at `path`. Raises TrainingError when the disk does not take it; `path` stays as it was."""
    import torch

    whole(path, lambda part: torch.save(state, part))


def whole(path: Path, make: Callable[[Path], object]) -> None:
    """Let `make` write a file or folder and put it at `path`, in the place of what is there.

    Raises TrainingError in one sentence when writing fails; `path` stays as it was.
    """
    from safetensors import SafetensorError

    part = path.with_name(f"{path.name}.part")
    try:
        _remove(part)
        make(part)
        if part.is_dir():
            _remove(path)
        part.replace(path)
    # torch and safetensors have their own words for a full disk.
    except (OSError, RuntimeError, SafetensorError) as error:
        _remove(part)
        raise TrainingError(
            f"{path} cannot be written ({_line(error)}): make room or change pretrain.output; the last "
            "checkpoint is intact, and the same command goes on from it"
        ) from None


def write(path: Path, text: str) -> None:
    """Put `text` at `path`. Raises what `whole` does."""
    whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def check(config: PretrainConfig) -> None:
    """Raise ConfigError or SchemaError for settings that cannot work, before anything is read or written."""
    for whole_, part in (("batch", "micro_batch"), ("hidden", "heads"), ("heads", "kv_heads")):
        if getattr(config, whole_) % getattr(config, part):
            raise ConfigError(
                f"pretrain.{whole_}={getattr(config, whole_)} is no multiple of "
                f"pretrain.{part}={getattr(config, part)}"
            )
    if config.sequence > config.max_position:
        raise ConfigError(
            f"pretrain.sequence={config.sequence} is longer than pretrain.max_position={config.max_position}"
        )
    for key in ("start", "compare", "measure"):
        folder = getattr(config, key)
        if folder is not None:
            models.check(folder, f"pretrain.{key}")
