"""Which models learned from a person, and how much: what an erasure must tell and cannot take back.

A training's manifest names its packed samples by fingerprint. While they are there, the person's rows in them
are counted; when they are gone the list that the training kept (`ledger.people`) answers, or the entry of an
earlier erasure, and else nobody knows. A model that was trained further from one of these carries the person
on: trainings are chained by the version of the model that they began with.

Versions of a model registry are trainings too, with their manifest and list beside them, also those that were
removed: they may run somewhere. A version that was added without them is named where its content is that of a
named model.
"""

from pathlib import Path
from typing import Any

from echo_ray.ledger import people
from echo_ray.ledger.folders import Folder, Lineage, walk
from echo_ray.ledger.rows import column
from echo_ray.manifest import read_manifest
from echo_ray.registry import Registry, Version
from echo_ray.registry.store import MARK
from jobs.explain_steps import version


def learned(folder: Folder, parent: Folder | None, rows: int, user: str) -> dict[str, Any] | None:
    """What the training in `folder` learned from `user`, of whom its packed samples `parent` hold `rows`
    rows; None when nothing. `rows` is None in the answer when nobody knows.
    """
    manifest = folder.manifest
    earlier = people.erased(manifest.notes, user)
    known, source = _known(folder, parent, rows, user) if earlier is None else (earlier["rows"], "")
    if earlier is not None:
        source = f"the erasure of {earlier['at']}"
    if known == 0:
        return None
    measured = people.measured_only(user, manifest.config)
    if earlier is not None:
        trained = earlier.get("trained", known)
    else:
        trained = known if known is None or not measured else 0
    return {
        **_called(folder.path),
        "training": manifest.fingerprint,
        "base": manifest.notes.get("base"),
        "data_set": manifest.input_fingerprint,
        "rows": trained,
        "measured_rows": 0 if known is None or trained is None else known - trained,
        "epochs": manifest.config.get("epochs"),
        "by": source,
        "built_on": None,
        "same_as": None,
    }


def _called(path: Path) -> dict[str, Any]:
    """Names of the model of a training, or of a version in a registry."""
    names = {"model": str(path / "model"), "version": version(path / "model"), "registered": None}
    registry = Registry(path.parent.parent)
    if path.parent.name != "versions" or not registry.exists:
        return names
    found = next((one for one in registry.every() if one.folder.name == path.name), None)
    if found is None:
        return names
    state = registry.state()
    also = [alias for alias, number in state.aliases.items() if number == found.number]
    also += ["removed"] if found.number in state.removed else []
    name = " and ".join([f"{found.name} of {registry.root}", *also])
    return names | {"version": f"model-{found.content}", "registered": name}


def with_versions(lineage: Lineage, registry: Path | None) -> Lineage:
    """The stages of `lineage`, and the trained versions of `registry` where that lies elsewhere."""
    known = {one.path.resolve() for one in lineage.folders}
    found = []
    for one in [] if registry is None else Registry(registry.resolve()).every():
        manifest = read_manifest(one.folder)
        if manifest is not None and manifest.stage == "train" and one.folder not in known:
            found.append(Folder(one.folder, manifest))
    return Lineage(lineage.root, (*lineage.folders, *found))


def copies(lineage: Lineage, registry: Path | None, models: list[dict[str, Any]]) -> None:
    """Add the versions of registries that have the content of a model in `models` and tell no training."""
    roots = [path.parent for path in walk(lineage.root).files if path.name == MARK]
    roots += [registry.resolve()] if registry is not None else []
    untold: dict[Path, Version] = {}
    for one in (one for root in roots for one in Registry(root).every()):
        if read_manifest(one.folder) is None:
            untold.setdefault(one.folder.resolve(), one)
    hashes = {_hash(model["version"]): model for model in models if model["version"]}
    for one in untold.values():
        same = hashes.get(one.content)
        if same is not None:
            models.append({**same, **_called(one.folder), "same_as": same["model"]})


def _known(folder: Folder, parent: Folder | None, rows: int, user: str) -> tuple[int | None, str]:
    """Rows of `user` that a training saw, and who says so."""
    if parent is None:
        return _elsewhere(folder, user)
    if rows:
        return rows, "its packed samples"
    kept = people.rows_of(folder.path, user)
    if kept:
        return kept, "the list that the training kept"
    before = people.erased(parent.manifest.notes, user)
    return (0, "") if before is None else (before["rows"], f"the erasure of {before['at']}")


def _elsewhere(folder: Folder, user: str) -> tuple[int | None, str]:
    """Rows of a training whose packed samples do not lie below the folder that is looked at."""
    given = Path(folder.manifest.input)
    there = read_manifest(given)
    names = set() if there is None else {there.fingerprint, *there.notes.get("was", [])}
    if folder.manifest.input_fingerprint in names:
        rows = 0
        for path in sorted(given.glob("*.parquet")):
            pairs = zip(column(path, "user"), column(path, "drop"), strict=True)
            rows += sum(name == user and drop is None for name, drop in pairs)
        if rows:
            return rows, f"its packed samples in {given}, which lie outside and still hold them"
    kept = people.rows_of(folder.path, user)
    if kept is not None:
        return kept, "the list that the training kept"
    if folder.manifest.input_fingerprint in names:
        return 0, ""
    return None, f"its packed samples ({given}) are gone and it kept no list"


def descend(lineage: Lineage, models: list[dict[str, Any]]) -> None:
    """Add the models that were trained further from those in `models`."""
    hashes = {_hash(model["version"]): model["model"] for model in models if model["version"]}
    trainings = lineage.of("train")
    found = True
    while found:
        found = False
        for folder in trainings:
            path = str(folder.path / "model")
            origin = hashes.get(_hash(folder.manifest.notes.get("base") or ""))
            if origin is None or any(model["model"] == path for model in models):
                continue
            found = True
            names = _called(folder.path)
            name = names["version"]
            models.append(
                {
                    **names,
                    "training": folder.manifest.fingerprint,
                    "base": folder.manifest.notes.get("base"),
                    "data_set": folder.manifest.input_fingerprint,
                    "rows": 0,
                    "measured_rows": 0,
                    "epochs": folder.manifest.config.get("epochs"),
                    "by": "the model that it began with",
                    "built_on": origin,
                    "same_as": None,
                }
            )
            if name:
                hashes[_hash(name)] = path


def _hash(version: str) -> str:
    """The part of a version that is about content, not about the folder's name."""
    return version.rpartition("-")[2]
