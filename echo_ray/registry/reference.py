"""What settings say instead of a model folder: `REGISTRY@champion`, `REGISTRY@v3`, `REGISTRY@<content>`."""

from pathlib import Path

from echo_ray.errors import ConfigError
from echo_ray.manifest import MARKER, read_manifest
from echo_ray.registry.files import Tick
from echo_ray.registry.store import Registry
from echo_ray.registry.values import Version

_TRAININGS = ("train", "pretrain")


def resolve(reference: Path, key: str) -> Path:
    """The model folder that `reference` names; a folder that exists is its own name, whatever it is called.

    An alias is looked up now: who keeps the answer keeps the version. Raises ConfigError, one sentence that
    names the setting `key`, when there is no such folder, registry or version.
    """
    if reference.is_dir():
        return reference
    root, at, name = str(reference).rpartition("@")
    if not at:
        raise ConfigError(f"model folder {reference} does not exist: change {key}")
    registry = Registry(Path(root or "."))
    if not registry.exists:
        raise ConfigError(
            f"{key}={reference} is no folder, and {root or '.'} is no registry: name a model folder, or a "
            "version as REGISTRY@champion or REGISTRY@v3"
        )
    version = registry.version(name, f"{key}={reference}")
    if not version.model.is_dir():
        raise ConfigError(
            f"{key}={reference}: {version.name} has lost its model folder: name another version"
        )
    return version.model


def located(folder: Path, key: str = "models.folder") -> tuple[Path, Path | None]:
    """(model folder, folder of its training or None) where `folder` is either of them.

    Raises ConfigError for a folder that is not there, and for a training that was cut short.
    """
    if not folder.is_dir():
        raise ConfigError(f"{key}={folder} is no folder: name a training's output, or a model folder")
    inside = folder / "model"
    if (folder / "config.json").is_file() or not inside.is_dir():
        inside = folder
    for place in dict.fromkeys((folder, inside.resolve().parent)):
        manifest = read_manifest(place)
        if manifest is not None and manifest.stage in _TRAININGS:
            return inside, place
    if inside != folder and (folder / MARKER).is_file():
        raise ConfigError(f"{key}={folder} is a training that was cut short: finish it first")
    return inside, None


def register_training(
    registry: Path,
    train_output: Path,
    note: str = "",
    *,
    key: str = "train.registry",
    tick: Tick | None = None,
) -> Version:
    """Add the model of a finished training to the registry, which is made where there is none; the same
    training again is the version that there is. `key` is the setting that names the registry.

    Raises ConfigError or SchemaError for a training that is not finished, a folder that is no registry, and a
    registry that cannot be written.
    """
    model, training = located(train_output, "train.output")
    if training is None:
        raise ConfigError(f"train.output={train_output} is no finished training: run echo-ray train first")
    return Registry(registry, key).add(model, training, note, key="train.output", tick=tick)
