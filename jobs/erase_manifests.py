"""The manifests of an erasure: as they will be without the person, and the models that learned from them.

A manifest of a stage gets its new counts, a new fingerprint, the old one in `notes["was"]`, and an entry in
`notes["erased"]`: a mark of the person (`ledger.people`), the time, rows removed. A training keeps its
fingerprint, since its model is what it was, and gets the entry. A folder whose input has changed gets a new
fingerprint too, so that a later run does it again.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from echo_ray.config import fingerprint
from echo_ray.ledger import accounts, folders, people
from echo_ray.ledger.folders import WAS, Folder, Lineage, relative
from echo_ray.manifest import MANIFEST, MARKER, Manifest
from jobs import erase_models
from jobs.erase_values import ERASED, QUARANTINE, Found, Plan


def owner(path: Path) -> Path:
    """The stage folder that a file belongs to: events lie one deeper, and so do exported files."""
    return path.parent.parent if path.parent.name in ("events", "data") else path.parent


def counts(path: Path, folder: Folder | None) -> bool:
    """Whether the manifest of `folder` counts the rows of this file."""
    if folder is None or owner(path) != folder.path:
        return False
    if folder.stage == "export":
        return path.parent.name == "data"
    events = path.parent != folder.path
    return (path.suffix == ".parquet" and (folder.stage == "log" or not events)) or (
        folder.stage == "log" and path.name == QUARANTINE
    )


def renew(lineage: Lineage, found: Mapping[Path, Found], plan: Plan) -> None:
    """New manifests of the folders that change, inputs first, and the models that learned from the person."""
    who = people.mark(plan.user, plan.salt)
    renewed: dict[Path, Manifest] = {}
    rows: dict[Path, int] = {}
    for folder, parent in folders.steps(lineage):
        theirs = {path: one for path, one in found.items() if one.rows and counts(path, folder)}
        entry = {"who": who, "salt": plan.salt, "at": plan.at}
        if folder.stage == "train":
            before = 0 if parent is None else _removed(found, parent.path)
            model = erase_models.learned(folder, parent, before, plan.user)
            if model is not None:
                plan.models.append(model)
                # A version of a registry elsewhere is only named: its own list tells as much for ever.
                here = folder.path.is_relative_to(lineage.root)
                known = people.erased(folder.manifest.notes, plan.user)
                if here and not known and model["rows"] is not None:
                    gone = {**entry, "rows": model["rows"] + model["measured_rows"], "trained": model["rows"]}
                    manifest = _noted(folder.manifest, gone)
                    plan.replace[relative(folder.path / MANIFEST, lineage.root)] = _text(manifest, plan, who)
            continue
        above = None if parent is None else renewed.get(parent.path)
        if not theirs and above is None:
            continue
        manifest = _renewed(folder, theirs, parent, above, rows, entry)
        renewed[folder.path] = manifest
        rows[folder.path] = manifest.rows_out
        plan.replace[relative(folder.path / MANIFEST, lineage.root)] = _text(manifest, plan, who)
        if (folder.path / MARKER).is_file():
            plan.replace[relative(folder.path / MARKER, lineage.root)] = manifest.fingerprint
        plan.removed[relative(folder.path, lineage.root)] = _kinds(folder, theirs)
        _shards(folder, parent, found, plan, lineage.root)
    erase_models.descend(lineage, plan.models)


def _removed(found: Mapping[Path, Found], folder: Path) -> int:
    return sum(one.trained for path, one in found.items() if path.parent == folder)


def _kinds(folder: Folder, theirs: Mapping[Path, Found]) -> dict[str, int]:
    if folder.stage != "log":
        return {"rows": sum(one.rows for one in theirs.values())}
    kinds: Counter[str] = Counter()
    for path, one in theirs.items():
        kind = (
            "quarantined lines"
            if path.name == QUARANTINE
            else "events"
            if path.parent.name == "events"
            else None
        )
        kinds[kind or "requests"] += one.rows
    return dict(kinds)


def _renewed(
    folder: Folder,
    theirs: Mapping[Path, Found],
    parent: Folder | None,
    above: Manifest | None,
    rows: Mapping[Path, int],
    entry: Mapping[str, Any],
) -> Manifest:
    old = folder.manifest
    own = {
        path: one for path, one in theirs.items() if path.parent == folder.path or folder.stage == "export"
    }
    main = {path: one for path, one in own.items() if path.name != QUARANTINE}
    gone = sum(one.rows for one in main.values())
    drops = Counter(old.drops)
    notes = dict(old.notes)
    rows_in = old.rows_in
    if folder.stage == "log":
        rows_in -= gone
        notes |= _log_notes(notes, folder, theirs)
    elif parent is not None and parent.path in rows and old.rows_in == parent.manifest.rows_out:
        rows_in = rows[parent.path]
    elif folder.stage in accounts.ROWWISE:
        rows_in -= gone
    if folder.stage not in ("log", "export"):
        for one in main.values():
            drops -= one.drops
    changed = {**asdict(old), "rows_in": rows_in, "rows_out": old.rows_out - gone, "drops": dict(drops)}
    changed["input_fingerprint"] = old.input_fingerprint if above is None else above.fingerprint
    changed["fingerprint"] = fingerprint(
        {WAS: old.fingerprint, "erased": entry["who"], "input": above and above.fingerprint}
    )
    notes[WAS] = [*notes.get(WAS, []), old.fingerprint]
    changed["notes"] = notes
    return _noted(Manifest(**changed), {**entry, "rows": gone})


def _noted(manifest: Manifest, entry: Mapping[str, Any]) -> Manifest:
    notes = manifest.notes | {"erased": [*manifest.notes.get("erased", []), dict(entry)]}
    return Manifest(**{**asdict(manifest), "notes": notes})


def _log_notes(notes: Mapping[str, Any], folder: Folder, theirs: Mapping[Path, Found]) -> dict[str, Any]:
    """The accounts of an import without the person: what was read still is what became of it."""
    changed: dict[str, Any] = {}
    kinds = {"request": 0, "event": 0}
    for path, one in theirs.items():
        if path.name != QUARANTINE:
            kinds["event" if path.parent.name == "events" else "request"] += one.rows
    bad = next((one for path, one in theirs.items() if path.name == QUARANTINE), Found())
    told = {kind: dict(counts) for kind, counts in notes.get("accounts", {}).items()}
    for kind, counts in told.items():
        for name, less in (("kept", kinds.get(kind, 0)), ("quarantined", bad.drops[kind])):
            counts[name] -= less
            counts["read"] -= less
    if told:
        changed["accounts"] = told
    for name, less in (
        ("events", kinds["event"]),
        ("quarantined", bad.drops.total()),
        ("quarantine_lines", bad.rows),
    ):
        if name in notes:
            changed[name] = notes[name] - less
    return changed


def _text(manifest: Manifest, plan: Plan, who: str) -> str:
    """The manifest as it will lie there; settings that name the person name their mark."""
    value = without(asdict(manifest), plan.user, f"{ERASED}:{who}")
    return json.dumps(value, indent=1, default=str) + "\n"


def without(value: Any, user: str, mark: str) -> Any:
    """A JSON value in which `mark` stands wherever `user` stood."""
    if isinstance(value, dict):
        return {mark if key == user else key: without(item, user, mark) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without(item, user, mark) for item in value]
    return mark if value == user else value


def _shards(
    folder: Folder, parent: Folder | None, found: Mapping[Path, Found], plan: Plan, root: Path
) -> None:
    """Every shard of a stage tells how many rows its input had: as many less as the input loses."""
    if folder.stage in ("log", "export") or parent is None:
        return
    for path in folder.files():
        above = parent.path / path.name
        if above.is_file():
            less = found.get(above, Found()).rows
            if less or found.get(path, Found()):
                plan.rewrite[relative(path, root)] = pq.read_metadata(above).num_rows - less
