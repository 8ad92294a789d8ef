"""Removing a person: `echo-ray erase --user U`, from logs and data sets, naming the models that knew them.

Everything below a folder is looked at: logs (partitioned, raw, quarantined), the samples of every stage,
packed rows, exports, data cards. What is found is written to a journal first, then done file by file; a
command that was cut short is finished by the same command, and a second one finds nothing left. At the end
everything is read once more. The rules are in `erase_files` and `erase_plan`.

Not covered: copies elsewhere (exports that were handed on, back-ups, what a file system keeps of replaced
files); what a model has learned, which only training again takes back; the sealed truth of a simulation,
which no stage can read; code of the person inside rows of others; the answers of a language model that an
unfinished stage keeps, which are numbers under one-way hashes. Nothing else may write into the folder
meanwhile.
"""

import difflib
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from echo_ray import sealed
from echo_ray.errors import ConfigError, StageError
from echo_ray.ledger import folders, journal, people, rows
from echo_ray.ledger.folders import relative
from echo_ray.log import segment_file
from echo_ray.privacy.pseudonyms import Pseudonyms, load_key
from echo_ray.progress import bar
from jobs import erase_models, erase_plan
from jobs.erase_values import Plan
from jobs.ledger_config import EraseConfig
from jobs.settings import RunConfig

_ROUNDS = 3
_MOST_MENTIONS = 8


def erase(config: RunConfig, command: str) -> None:
    """Verb `erase`."""
    run(config.erase, config.run.output, config.models.registry)


def run(settings: EraseConfig, output: Path, registry: Path | None = None) -> Plan:
    """Remove the person and say what was done; returns the plan that was carried out (or would be). Versions
    of `registry` that learned from the person are named too, wherever it lies.

    Raises ConfigError for a folder that is not there, a person who is nowhere, StageError when a file cannot
    be replaced.
    """
    root, user = check(settings, output)
    began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    short = erase_plan.load(root)
    if short is not None:
        if settings.dry_run:
            raise ConfigError(
                f"an erasure in {root} was cut short on {short.at}: finish it without erase.dry_run"
            )
        print(f"erase      going on with the erasure of {short.at} that was cut short in {root}")
        carry_out(short, root)
    plan = short if short is not None and short.user == user else None
    for _ in range(_ROUNDS):
        found = erase_plan.scan(root, user, secrets.token_hex(8), began, registry)
        if settings.dry_run:
            plan = found
            break
        if not found.work:
            break
        _keep(found, root)
        carry_out(found, root)
        plan = found if plan is None else plan
    if plan is None or not plan.work:
        nothing_left(root, user, registry)
        return found
    tell(plan, root, settings.dry_run)
    return plan


def check(settings: EraseConfig, output: Path) -> tuple[Path, str]:
    """(folder, pseudonym). Raises ConfigError when either is missing, and for sealed truth."""
    if not settings.user:
        raise ConfigError("erase.user is not set: add --user PSEUDONYM")
    root = settings.input or output
    key = "run.output" if settings.input is None else "erase.input"
    if not root.is_dir():
        raise ConfigError(
            f"{key}={root} is no folder: name the folder of a run or of a log with {key}=FOLDER"
        )
    for folder in (root.resolve(), *root.resolve().parents):
        if (folder / sealed.SEALED).is_file():
            raise ConfigError(f"{key}={root} is the sealed truth of a simulation: it is not touched")
    for segment in sorted(root.rglob("segment-*.jsonl")):
        with segment_file.locked(segment) as free:
            if not free and segment.exists():
                raise ConfigError(f"a service that runs writes {segment}: stop it, then erase")
    if settings.key_file is None:
        return root, settings.user
    if not settings.key_file.is_file():
        raise ConfigError(
            f"erase.key_file={settings.key_file} is no file: name the key beside the log's folder"
        )
    return root, Pseudonyms(load_key(settings.key_file)).user(settings.user)


def carry_out(plan: Plan, root: Path) -> None:
    """Do everything that the plan says. Raises StageError when a file cannot be replaced."""
    done = 0
    with bar("erase", plan.work + 1, "files") as shown:
        for name, act in erase_plan.steps(plan, root):
            try:
                act()
            except OSError as error:
                raise StageError(
                    f"{root / name} cannot be replaced ({error.strerror or error}), {done} of {plan.work} "
                    f"files are done: give the same command again, {root / journal.NAME} keeps what is left"
                ) from error
            done += 1
            shown.update(1)


def _keep(plan: Plan, root: Path) -> None:
    """Write the journal. Raises StageError when it cannot be written; nothing is changed then."""
    try:
        journal.write(root, _plain(plan))
    except OSError as error:
        raise StageError(
            f"{root / journal.NAME} cannot be written ({error.strerror or error}): nothing was changed"
        ) from error


def _plain(plan: Plan) -> dict[str, Any]:
    return asdict(plan)


def nothing_left(root: Path, user: str, registry: Path | None = None) -> None:
    """Say that there is nothing to do. Raises ConfigError for somebody of whom there is no trace at all."""
    lineage = erase_models.with_versions(folders.find(root), registry)
    notes = [entry for one in lineage.folders if (entry := people.erased(one.manifest.notes, user))]
    models = [erase_models.learned(one, lineage.parent(one), 0, user) for one in lineage.of("train")]
    known = [model for model in models if model is not None]
    if not notes and not any(model["rows"] for model in known):
        near = difflib.get_close_matches(user, _users(lineage), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"erase.user={user}: nobody of that name below {root}{hint}")
    when = f": erased on {max(entry['at'] for entry in notes)}" if notes else ""
    print(f"erase      nothing of {user} is left below {root}{when}")
    erase_models.descend(lineage, known)
    erase_models.copies(lineage, registry, known)
    for line in _models(known):
        print(line)


def _users(lineage: folders.Lineage) -> list[str]:
    """The persons of the first folder that names any."""
    for folder in lineage.folders:
        names = {name for path in folder.files() for name in rows.column(path, "user") if name}
        if names:
            return sorted(names)
    return []


def tell(plan: Plan, root: Path, dry_run: bool) -> None:
    """Print what was done, or would be."""
    mark = people.mark(plan.user, plan.salt)
    verb = "would be removed" if dry_run else "removed"
    print(f"erase      {plan.user} from {root}" + ("" if dry_run else f"; noted in the manifests as {mark}"))
    for folder, kinds in plan.removed.items():
        counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
        if counts:
            print(f"  {verb:<9} {folder}: {counts}")
    for line in _models(plan.models):
        print(line)
    for sentence in plan.told:
        print(f"  note      {sentence}")
    if not dry_run:
        still = erase_plan.mentions(root, plan.user)
        for path in still[:_MOST_MENTIONS]:
            print(f"  note      {relative(path, root)} still holds the word {plan.user}: look at it")
        if len(still) > _MOST_MENTIONS:
            print(f"  note      and so do {len(still) - _MOST_MENTIONS:,} further files of text")


def _models(models: Sequence[dict[str, Any]]) -> list[str]:
    """Lines about the models that learned from the person."""
    if not models:
        return ["  models    none below this folder was trained with them"]
    lines = []
    for model in models:
        names = ", ".join(name for name in (model["version"], model["registered"]) if name)
        name = f"{model['model']}" + (f" ({names})" if names else "")
        if model["same_as"]:
            what = f"is the same model as {model['same_as']}"
        elif model["built_on"]:
            what = f"was trained further from {model['built_on']}"
        elif model["rows"] is None:
            what = f"may know them: {model['by']}"
        elif not model["rows"]:
            what = f"was only measured on {model['measured_rows']:,} rows of theirs, not trained on any"
        else:
            times = "" if model["epochs"] is None else f" in {model['epochs']} epochs"
            what = f"was trained on {model['rows']:,} rows of theirs{times} (by {model['by']})"
        lines.append(f"  model     {name} {what}")
    return [*lines, "  note      what a model has learned stays in it: train again without them"]
