"""What has to be done to erase a person from a folder: found by reading, written down, carried out.

`scan` reads everything below a folder and returns a plan: the files to rewrite, the manifests and markers as
they will be, the pages to remove, the models that learned from the person, and what only a person can
deal with. `steps` carries a plan out, one file at a time; every step may be done again, so a plan that was
cut short is finished by doing all of it. All numbers are taken before anything is changed: afterwards nobody
could count them. Manifests and models are `erase_manifests`.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from echo_ray.ledger import folders, journal, people
from echo_ray.ledger.folders import Lineage, Walk, relative
from echo_ray.log import source
from echo_ray.manifest import MANIFEST
from jobs import erase_lines, erase_manifests, erase_models
from jobs.erase_files import look, requests_of_others, rewrite
from jobs.erase_values import ERASED, QUARANTINE, Found, Person, Plan

PAGES = {"card.json": "card", "evaluate.json": "evaluate"}
"""What shows samples and can be made again, with the verb that does it."""
REPORT = "report.json"
_UNREADABLE = (pa.ArrowException, *source.UNREADABLE)
_LEFTOVER = re.compile(r"\..+\.part")
"""What a killed job leaves of a file that it was writing."""
_TEXTS = (".html", ".json", ".jsonl", ".md", ".yaml", ".yml", ".txt", ".log", ".csv")


def load(root: Path) -> Plan | None:
    """The plan of an erasure that was cut short in `root`."""
    found = journal.pending(root)
    return None if found is None else Plan(**found)


def scan(root: Path, user: str, salt: str, at: str, registry: Path | None = None) -> Plan:
    """Everything that is to be done for `user` below `root`; nothing is changed. Of `registry`, wherever it
    lies, the versions that learned from the person are named.
    """
    seen = folders.walk(root)
    lineage = erase_models.with_versions(folders.chained(root, seen.files), registry)
    owners = {
        people.mark(user, folder.manifest.notes["salt"])
        for folder in lineage.of("export")
        if "salt" in folder.manifest.notes
    }
    plan = Plan(user, salt, at, owners=sorted(owners))
    found, theirs = _look_twice(seen, plan, root)
    for path, one in found.items():
        # A file that holds nothing else and is called like the person goes; others stay, without their rows.
        if one.rows and not one.others and path.suffix != ".parquet" and user in path.name:
            plan.delete.append(relative(path, root))
        elif one:
            plan.rewrite[relative(path, root)] = None
    _cards(seen, plan, root, theirs)
    erase_manifests.renew(lineage, found, plan)
    erase_models.copies(lineage, registry, plan.models)
    _documents(seen, plan, root)
    for path, one in found.items():
        if one.rows and not erase_manifests.counts(path, lineage.at(erase_manifests.owner(path))):
            plan.removed.setdefault(relative(path.parent, root), {})[path.name] = one.rows
    _left_alone(seen, lineage, plan, root)
    return plan


def _look_twice(seen: Walk, plan: Plan, root: Path) -> tuple[dict[Path, Found], set[str]]:
    """What of each file is the person's, and all ids of their samples.

    The second look, only at what names samples and not persons, knows the ids.
    """
    found: dict[Path, Found] = {}
    for path in seen.files:
        if path.name != QUARANTINE:
            found[path] = _look(path, plan.person, plan)
    theirs = {name for one in found.values() for name in one.ids}
    if not theirs:
        for path in (path for path in seen.files if path.name == QUARANTINE):
            found[path] = _look(path, plan.person, plan, attributed=False)
        return found, theirs
    own = Person(plan.user, frozenset(plan.owners), frozenset(theirs))
    shared: set[str] = set()
    for path in seen.files:
        with contextlib.suppress(*_UNREADABLE):  # which has been told
            shared |= requests_of_others(path, own)
    own = Person(plan.user, own.owners, own.ids - shared)
    named: set[str] = set()
    for path in seen.files:
        attributed = path.name != QUARANTINE or any(
            one.rows for other, one in found.items() if other.is_relative_to(path.parent)
        )
        if attributed and path.name == QUARANTINE:
            plan.attributed.append(relative(path, root))
        found[path] = _look(path, own, plan, attributed)
        named |= found[path].named
    plan.ids = sorted(named & own.ids)
    return found, theirs


def _look(path: Path, person: Person, plan: Plan, attributed: bool = True) -> Found:
    try:
        return look(path, person, attributed)
    except _UNREADABLE as error:
        sentence = f"{path} cannot be read ({_first(error)}) and stays as it is"
        if sentence not in plan.told:
            plan.told.append(sentence)
        return Found()


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _cards(seen: Walk, plan: Plan, root: Path, theirs: set[str]) -> None:
    """Cards and evaluations that show samples of the person go; pages that may show some are named."""
    for path in seen.files:
        if path.name not in PAGES and path.name != REPORT:
            continue
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        shows = {name for name in _names_of(value) if name in theirs}
        page = path.with_suffix(".html")
        if path.name in PAGES and shows:
            plan.delete += [relative(one, root) for one in (path, page) if one.is_file()]
            plan.told.append(
                f"{page} showed samples of theirs and is removed: make it again with "
                f"echo-ray {PAGES[path.name]}"
            )
        elif shows:
            plan.told.append(
                f"{page} (and {path.name}) shows {len(shows)} of their samples: remove it, or make it again"
            )


def _documents(seen: Walk, plan: Plan, root: Path) -> None:
    """JSON documents about the person alone go; settings in other manifests name the mark instead of them."""
    mark = f"{ERASED}:{people.mark(plan.user, plan.salt)}"
    for path in seen.files:
        name = relative(path, root)
        if path.suffix != ".json" or name in plan.replace or path.name in (*PAGES, REPORT, journal.NAME):
            continue
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError):
            continue
        if isinstance(value, dict) and value.get("user") == plan.user:
            plan.delete.append(name)
        elif path.name == MANIFEST and (cleaned := erase_manifests.without(value, plan.user, mark)) != value:
            plan.replace[name] = json.dumps(cleaned, indent=1) + "\n"


def _names_of(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("sample_id", "request_id") and isinstance(item, str):
                yield item
            else:
                yield from _names_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from _names_of(item)


def _left_alone(seen: Walk, lineage: Lineage, plan: Plan, root: Path) -> None:
    """What is not touched, and should be known."""
    for place in seen.sealed:
        plan.told.append(f"{place} is the sealed truth of a simulation and is not touched")
    for link in seen.links:
        plan.told.append(f"{link} leads elsewhere and is not followed")
    for path in seen.files:
        if erase_lines.whole_document(path, plan.person):
            plan.told.append(
                f"{path} is a recording with requests of theirs, in one document: remove it yourself"
            )
    for folder in lineage.folders:
        given = Path(folder.manifest.input)
        changed = relative(folder.path, root) in plan.removed
        if changed and lineage.parent(folder) is None and given.exists() and not _inside(given, root):
            plan.told.append(
                f"{folder.path} was made from {given}, which lies outside of {root}: erase there too"
            )


def _inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def mentions(root: Path, user: str) -> list[Path]:
    """Files of text below `root` that still hold the pseudonym as a word; a journal does not count."""
    word = re.compile(rb"(?<![\w-])" + re.escape(user.encode("utf-8", "replace")) + rb"(?![\w-])")
    found = []
    for path in folders.walk(root).files:
        if path.name.endswith(_TEXTS) and path.name != journal.NAME:
            with path.open("rb") as file:
                if any(word.search(line) for line in file):
                    found.append(path)
    return found


def steps(plan: Plan, root: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """What is to be done, in order: a name, and a function that may be called again. The last one ends it."""
    person = plan.person
    for name, rows_in in plan.rewrite.items():
        attributed = Path(name).name != QUARANTINE or name in plan.attributed
        yield name, partial(_rewrite, root / name, person, rows_in, attributed)
    for name in plan.delete:
        yield name, partial((root / name).unlink, missing_ok=True)
    for name, text in plan.replace.items():
        yield name, partial(_put, root / name, text)
    for path in folders.walk(root).files:
        if _LEFTOVER.fullmatch(path.name):
            yield relative(path, root), partial(path.unlink, missing_ok=True)
    yield journal.NAME, partial(journal.remove, root)


def _rewrite(path: Path, person: Person, rows_in: int | None, attributed: bool) -> None:
    if path.is_file():  # a stage that was run again in between has other files
        rewrite(path, person, rows_in, attributed)


def _put(path: Path, text: str) -> None:
    if path.parent.is_dir():
        part = path.with_name(f".{path.name}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
