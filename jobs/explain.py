"""The life of a request: `echo-ray explain REQUEST_ID`, and without an id the accounts of a whole run.

The stages below a folder are chained by their manifests (`echo_ray.ledger`); the request is followed from the
log through every stage that has it, to the models that were trained on it, or to the reason for which it
left. Several data sets and models made from the same samples are branches. Stages that are not there are
not printed. Secrets and personal data in shown text are masked (`jobs.shown`).

Only narrow columns are searched and single row groups read, so that a large folder answers in seconds.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from echo_ray import sealed
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.ledger import accounts, folders, journal, rows
from echo_ray.ledger.folders import Folder, Lineage
from echo_ray.ledger.reasons import meaning
from echo_ray.log import reader
from jobs import explain_steps as steps
from jobs import explain_text
from jobs.ledger_config import ExplainConfig
from jobs.settings import RunConfig

Step = dict[str, Any]
_RAW = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson")


def explain(config: RunConfig, command: str) -> None:
    """Verb `explain`."""
    run(config.explain, config.run.output)


def run(settings: ExplainConfig, output: Path) -> None:
    """Print the life of a request, or the accounts of the run.

    Raises ConfigError for a folder or an id that is not there, SchemaError when the files and the manifests
    say different things.
    """
    root = settings.input or output
    key = "run.output" if settings.input is None else "explain.input"
    lineage = look(root, key)
    if not settings.request_id:
        _accounts(lineage, settings.json_)
        return
    story = life(lineage, settings.request_id)
    if not story["lives"]:
        raise ConfigError(unknown(lineage, settings.request_id))
    print(json.dumps(story, indent=1, ensure_ascii=False) if settings.json_ else explain_text.life(story))


def look(root: Path, key: str) -> Lineage:
    """The stages below `root`. Raises ConfigError, naming the setting `key`, when it is not there, and for
    sealed truth.
    """
    if not root.is_dir():
        raise ConfigError(f"{key}={root} is no folder: name the folder of a run with {key}=FOLDER")
    for folder in (root.resolve(), *root.resolve().parents):
        if (folder / sealed.SEALED).is_file():
            raise ConfigError(f"{key}={root} is the sealed truth of a simulation: name the folder of a run")
    return folders.find(root)


def life(lineage: Lineage, request_id: str) -> Step:
    """What became of the request, as a JSON value: one life for every person who used that id."""
    found = _rows(lineage, request_id)
    people = sorted({_owner(row) for entries in found.values() for row in entries if "session" in row})
    people = people or sorted({_owner(row) for entries in found.values() for row in entries})
    lives = []
    for user, session in people:
        own = {
            path: [
                row for row in entries if row.get("user") == user and row.get("session", session) == session
            ]
            for path, entries in found.items()
        }
        commit = next(
            (row["commit"] for entries in own.values() for row in entries if row.get("commit")), None
        )
        for row in (row for folder in lineage.of("log") for row in own.get(folder.path, [])):
            row["commit"] = commit
        branches = [step for top in _tops(lineage, own) for step in _follow(lineage, top, own)]
        lives.append({"user": user, "session": session, "steps": branches})
    if not lives:
        lives = [
            {"user": row["user"], "session": row["session"], "steps": [steps.logged(None, row, events)]}
            for row, events in raw(lineage.root, request_id)
        ]
    return {"request_id": request_id, "run": str(lineage.root), "lives": lives}


def _owner(row: Step) -> tuple[str, str]:
    return row.get("user") or "", row.get("session") or ""


def _rows(lineage: Lineage, request_id: str) -> dict[Path, list[Step]]:
    """The request's rows in every folder that has any."""
    found: dict[Path, list[Step]] = {}
    hints: set[str] = set()
    samples = {request_id}
    for folder in lineage.folders:
        if folder.stage in ("train", "export"):
            continue
        column = "sample_id" if folder.stage == "pack" else "request_id"
        places = rows.locate(folder.files(), column, sorted(samples), hints)
        if not places and folder.stage != "log":
            places = rows.locate(folder.files(), "sample_id", sorted(samples), hints)
        if places:
            hints |= {place.path.stem for place in places}
            found[folder.path] = rows.read(places)
            samples |= {row["sample_id"] for row in found[folder.path] if row.get("sample_id")}
        if folder.stage == "log":
            events = sorted((folder.path / "events").glob("*.parquet"))
            told = rows.read(rows.locate(events, "request_id", [request_id], hints))
            for row in found.get(folder.path, []):
                row["events"] = [event for event in told if event["user"] == row["user"]]
    return found


def _tops(lineage: Lineage, own: dict[Path, list[Step]]) -> list[Folder]:
    """Folders with rows of the request whose inputs have none, or are gone."""
    here = [folder for folder in lineage.folders if own.get(folder.path)]
    return [one for one in here if not any(above in here for above in lineage.chain(one)[:-1])]


def _follow(lineage: Lineage, folder: Folder, own: dict[Path, list[Step]]) -> Iterator[Step]:
    """The step in `folder`, and those behind it until the request left."""
    entries = own.get(folder.path, [])
    if folder.stage == "train":
        yield steps.trained(folder, own.get(_path(lineage.parent(folder)), []))
        return
    if folder.stage == "export":
        yield steps.exported(folder, own.get(_path(lineage.parent(folder)), []))
        return
    if not entries:
        return
    step = steps.of(folder, entries)
    drop = next((row["drop"] for row in entries if row.get("drop")), None)
    step["left"] = None if drop is None else {"reason": drop, "meaning": meaning(drop)}
    yield step
    if drop is None:
        for child in lineage.children(folder):
            yield from _follow(lineage, child, own)


def _path(folder: Folder | None) -> Path:
    return Path() if folder is None else folder.path


def raw(root: Path, request_id: str) -> Iterator[tuple[Step, list[Step]]]:
    """The request and its events in logs that nobody has imported yet."""
    requests: list[Step] = []
    events: list[Step] = []
    for path in folders.walk(root).files:
        if not path.name.endswith(_RAW) or path.name == "quarantine.jsonl":
            continue
        for piece in reader.batches(path):
            for table, kept in ((piece.requests, requests), (piece.events, events)):
                ids = table["request_id"].to_pylist()
                kept += (table.slice(i, 1).to_pylist()[0] for i, name in enumerate(ids) if name == request_id)
    seen: list[Step] = []
    for row in sorted(requests, key=lambda row: not row["delivered"]):
        if _owner(row) not in map(_owner, seen):
            seen.append(row)
            yield row, [event for event in events if event["user"] == row["user"]]


def unknown(lineage: Lineage, request_id: str) -> str:
    """One sentence about an id that is nowhere, with the ids that stand beside it in the alphabet."""
    if not lineage.folders:
        return f"{lineage.root} holds no stage and no log with request {request_id}: name the folder of a run"
    first = lineage.folders[0]
    ids = sorted({name for path in first.files() for name in rows.column(path, "request_id") if name})
    near = explain_text.neighbours(ids, request_id)
    hint = f"; near it are {' and '.join(near)}" if near else ""
    return f"no stage below {lineage.root} knows the request {request_id}{hint}"


def _accounts(lineage: Lineage, as_json: bool) -> None:
    if not lineage.folders:
        raise ConfigError(
            f"{lineage.root} holds no finished stage: name the folder of a run with run.output="
        )
    found = accounts.audit(lineage)
    short = journal.pending(lineage.root)
    value = {
        "run": str(lineage.root),
        "agree": not any(account.problems for account in found),
        "folders": [_account(account) for account in found],
        "erasure_cut_short": short is not None,
    }
    print(json.dumps(value, indent=1, ensure_ascii=False) if as_json else explain_text.funnel(value))
    broken = [account for account in found if account.problems]
    if broken:
        raise SchemaError(
            f"the ledger and the manifests disagree in {len(broken)} of {len(found)} folders: "
            f"{broken[0].folder.path}: {broken[0].problems[0]}"
            + ("; an erasure was cut short there: give the same erase command again" if short else "")
        )


def _account(account: accounts.Account) -> Step:
    manifest = account.folder.manifest
    return {
        "stage": account.folder.stage,
        "folder": str(account.folder.path),
        "made_from": None if account.parent is None else str(account.parent.path),
        "data_set": manifest.fingerprint,
        "rows_in": manifest.rows_in,
        "rows_out": account.rows,
        "kept": account.kept,
        "new_drops": account.new_drops,
        "problems": account.problems,
    }
