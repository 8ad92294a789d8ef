"""The model registry on the command line: `echo-ray models`, and what it answers.

What is printed is made of plain values (`models_text`), which `models.format=json` prints as they are.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from echo_ray.errors import ConfigError, SchemaError
from echo_ray.manifest import read_manifest
from echo_ray.progress import bar
from echo_ray.registry import Registry, Version
from echo_ray.registry.files import chosen, size
from echo_ray.registry.reference import located
from echo_ray.registry.values import ADD, check_alias
from jobs import models_text
from jobs.models_config import ModelsConfig
from jobs.report import plain
from jobs.settings import RunConfig

Value = dict[str, Any]
FIGURES = "evaluate.json"


def run(config: RunConfig, command: str = "") -> None:
    """Verb `models`."""
    settings = config.models
    value = _ACTIONS[settings.action](Registry(settings.registry), settings)
    if settings.format == "json":
        print(json.dumps(plain(value), indent=1, ensure_ascii=False))
    else:
        print(models_text.WRITERS[settings.action](value))


def _list(registry: Registry, settings: ModelsConfig) -> Value:
    versions = [summary(registry, one) for one in registry.versions()] if registry.exists else []
    gone = sorted(registry.state().removed)
    return {
        "registry": str(registry.root),
        "versions": versions,
        "removed": [f"v{number}" for number in gone],
    }


def _show(registry: Registry, settings: ModelsConfig) -> Value:
    version = _version(registry, settings, removed=True)
    manifest = read_manifest(version.folder)
    told = [
        entry.plain()
        for entry in registry.history()
        if version.number in (entry.version, entry.before) and entry.what != ADD
    ]
    card = version.model / "README.md"
    chain = registry.lineage(version)
    return summary(registry, version) | {
        "removed": version.number in registry.state().removed,
        "files": {
            name: {"bytes": bytes_, "sha256": digest} for name, (bytes_, digest) in version.files.items()
        },
        "source": version.source,
        "echo_ray": version.echo_ray,
        "note": version.note,
        "lineage": [{"version": one.name, "content": one.content, "data": one.data} for one in chain],
        "card": str(card) if card.is_file() else None,
        "engine": None if manifest is None else manifest.engine,
        "rows": None if manifest is None else manifest.rows_out,
        "settings": {} if manifest is None else manifest.config,
        "notes": {} if manifest is None else manifest.notes,
        "figures": registry.figures(version),
        "history": told,
    }


def _add(registry: Registry, settings: ModelsConfig) -> Value:
    if settings.folder is None:
        raise ConfigError(
            "models.folder is not set: echo-ray models add FOLDER, a training's output or a model"
        )
    model, training = located(settings.folder)
    before = {one.number for one in registry.versions()} if registry.exists else set()
    with bar("add", 2 * size(chosen(model)), "B") as shown:
        version = registry.add(model, training, settings.note, link=settings.link, tick=shown.update)
    return summary(registry, version) | {"new": version.number not in before}


def _promote(registry: Registry, settings: ModelsConfig) -> Value:
    check_alias(settings.alias, "models.alias")
    version = _version(registry, settings)
    before = registry.aliases().get(settings.alias)
    with _reading(version, settings.verify) as tick:
        registry.promote(version.name, settings.alias, settings.note, verify=settings.verify, tick=tick)
    return _moved(registry, settings.alias, before, version)


def _rollback(registry: Registry, settings: ModelsConfig) -> Value:
    before = registry.aliases().get(settings.alias) if registry.exists else None
    with bar("verify", None, "B") as shown:
        version = registry.rollback(
            settings.alias, settings.note, bad=settings.version, verify=settings.verify, tick=shown.update
        )
    return _moved(registry, settings.alias, before, version)


def _unset(registry: Registry, settings: ModelsConfig) -> Value:
    before = registry.aliases().get(settings.alias) if registry.exists else None
    registry.unset(settings.alias, settings.note)
    return _moved(registry, settings.alias, before, None)


def _moved(registry: Registry, alias: str, before: int | None, now: Version | None) -> Value:
    value = {"registry": str(registry.root), "alias": alias, "before": before and f"v{before}"}
    return value | {"version": now and now.name, "model": now and str(now.model)}


def _attach(registry: Registry, settings: ModelsConfig) -> Value:
    version = _version(registry, settings)
    if settings.figures is None:
        raise ConfigError("models.figures is not set: echo-ray models attach VERSION evaluate.json")
    registry.attach(version.name, figures_of(version, settings.figures), settings.note)
    return summary(registry, version) | {"figures": registry.figures(version)}


def figures_of(version: Version, path: Path) -> Value:
    """What the `evaluate.json` in or at `path` says about `version`: its figures by group, without the
    examples, which are code of people, and which an erasure would not find here.

    Raises ConfigError for a file that is not there, SchemaError for one that does not measure this version.
    """
    path = path / FIGURES if path.is_dir() else path
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        labels = {one["content"]: one["label"] for one in reversed(value["models"])}
        first = value["models"][0]["content"]
        label = labels.get(version.content)
        groups = {
            name: {key: group[key] for key in ("samples", "voids", "users")}
            | {"figures": group["models"][label]}
            for name, group in value["groups"].items()
            if label is not None
        }
        told = {key: value[key] for key in ("version", "input", "input_fingerprint", "rows", "settings")}
    except OSError as error:
        raise ConfigError(f"models.figures={path} cannot be read: {error.strerror or error}") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise SchemaError(f"{path} holds no figures of echo-ray evaluate: change models.figures") from None
    if label is None:
        raise SchemaError(
            f"{path} measures no model with the content {version.content} of {version.name}: name its own "
            "figures with models.figures"
        )
    return told | {"against": None if first == version.content else first, "groups": groups}


def _verify(registry: Registry, settings: ModelsConfig) -> Value:
    chosen_ = [_version(registry, settings)] if settings.version else []
    if not chosen_:
        registry.must_exist()
        chosen_ = registry.versions()
    faults = []
    with bar("verify", sum(one.bytes for one in chosen_), "B") as shown:
        for one in chosen_:
            try:
                registry.verify(one, shown.update)
            except SchemaError as error:
                faults.append(str(error))
    if faults:
        count = len(faults) - 1
        more = f", and {count} more version{'s that are' if count > 1 else ' that is'} not what was added"
        raise SchemaError(faults[0] + more * bool(count))
    return {"registry": str(registry.root), "verified": [summary(registry, one) for one in chosen_]}


def _remove(registry: Registry, settings: ModelsConfig) -> Value:
    version = _version(registry, settings)
    value = summary(registry, version)
    registry.remove(version.name, settings.note)
    return value


def summary(registry: Registry, version: Version) -> Value:
    """The main facts about a version."""
    *before, _ = registry.lineage(version)
    manifest = read_manifest(version.folder)
    notes = {} if manifest is None else manifest.notes
    numbers = {
        key: item
        for key, item in notes.items()
        if isinstance(item, int | float) and not isinstance(item, bool)
    }
    return {
        "version": version.name,
        "content": version.content,
        "aliases": [alias for alias, number in registry.aliases().items() if number == version.number],
        "model": str(version.model),
        "created_at": version.created_at,
        "by": version.by,
        "bytes": version.bytes,
        "family": version.family,
        "trained_from": version.trained_from,
        "parent": before[-1].name if before else None,
        "base": before[0].name if before else None,
        "data": version.data,
        "training": version.training,
        "metrics": numbers,
        "measured": _measured(registry.figures(version)),
    }


def _measured(figures: Sequence[Value]) -> Value:
    """The figures over all languages that were attached last."""
    found = figures[-1]["groups"].get("all", {}).get("figures", {}) if figures else {}
    return {name: one["value"] for name, one in found.items() if one["value"] is not None}


def _version(registry: Registry, settings: ModelsConfig, removed: bool = False) -> Version:
    registry.must_exist()
    if not settings.version:
        known = ", ".join(one.name for one in registry.versions()) or "none yet"
        raise ConfigError(f"models.version is not set: echo-ray models {settings.action} VERSION, of {known}")
    return registry.version(settings.version, removed=removed)


@contextlib.contextmanager
def _reading(version: Version, wanted: bool) -> Iterator[Callable[[int], object] | None]:
    """A bar over the bytes of a version that are read again."""
    if not wanted:
        yield None
        return
    with bar("verify", version.bytes, "B") as shown:
        yield shown.update


_ACTIONS: dict[str, Callable[[Registry, ModelsConfig], Value]] = {
    "list": _list,
    "show": _show,
    "add": _add,
    "promote": _promote,
    "rollback": _rollback,
    "unset": _unset,
    "attach": _attach,
    "verify": _verify,
    "remove": _remove,
}
