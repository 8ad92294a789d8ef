"""What the validity report reads: the sealed truth of runs, their tallies and manifests, bounds.

Only jobs that judge may look at truth; no stage can open it. One user's rows pass at a time, so memory does
not grow with the length of the days. Not covered: truth of other versions, which is refused.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import zstandard

from echo_ray.data import read_manifest
from echo_ray.errors import ConfigError
from echo_ray.progress import bar
from simulator.fleet import ledger
from simulator.judge.measure import User, measure

_TALLIED = {
    "requests": "requests", "shown_750": "shown", "accepted": "accepted", "edits": "edits",
    "accepted_chars": "accepted_chars", "typed_chars": "typed_chars",
}  # fmt: skip
"""Counts that the tallies of a run must share with its truth, and the columns that hold them here."""


def read_truth(folder: Path, key: str) -> list[User]:
    """What the developers of a run did, by name. `folder` is the run's or its `truth/`.

    Raises ConfigError, naming the setting `key`, when there is no truth of this version.
    """
    inner = folder / ledger.TRUTH
    place = inner if inner.is_dir() else folder
    paths = sorted(place.glob(f"*{ledger.ENDING}"))
    if not paths:
        raise ConfigError(
            f"{key}={folder} holds no truth of a simulation: name the output folder of simulate"
        )
    clients = {row["user"]: row.get("client", "unknown") for row in _tallies(folder)}
    users = []
    with bar("validity", len(paths), "users") as shown:
        for path in paths:
            try:
                user = measure(ledger.rows(path))
            except (OSError, zstandard.ZstdError, orjson.JSONDecodeError) as error:
                raise ConfigError(f"{key}={folder}: {path.name} cannot be read: {error}") from None
            except (KeyError, TypeError) as error:
                raise ConfigError(
                    f"{key}={folder}: {path.name} is no truth of this version: {error!r}"
                ) from None
            client = clients.get(user.user, user.client)
            users.append(User(user.user, client, user.columns))
            shown.update(1)
    return users


def read_bounds(path: Path) -> list[dict[str, Any]]:
    """The stand-in engines of a bounds file. Raises ConfigError for a file that is none."""
    wanted = ("engine", "ar", "gr", "time_saved", "requests", "shown", "users")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"validity.bounds={path} cannot be read: {error}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"validity.bounds={path} is no list of engines")
    for row in rows:
        missing = [name for name in wanted if name not in row]
        if missing:
            raise ConfigError(f"validity.bounds={path}: an engine lacks {', '.join(missing)}")
    return [{name: row[name] for name in wanted} for row in rows]


def facts(folder: Path) -> dict[str, Any]:
    """What the manifest of the run says of itself."""
    manifest = read_manifest(folder)
    if manifest is None:
        return {}
    found: dict[str, Any] = {"answered by": manifest.engine}
    for name in ("engine", "policy", "policy_hash"):
        if name in manifest.notes:
            found[name] = manifest.notes[name]
    return {**found, "fingerprint": manifest.fingerprint}


def differences(folder: Path, users: Sequence[User]) -> dict[str, list[float]] | None:
    """Counts in which the run's own tallies and its truth differ ([tallies, truth]); None without tallies."""
    rows = _tallies(folder)
    if not rows:
        return None
    found = {}
    for tallied, column in _TALLIED.items():
        told, counted = sum(row.get(tallied, 0) for row in rows), sum(_scalar(user, column) for user in users)
        if told != counted:
            found[tallied] = [float(told), counted]
    return found


def _scalar(user: User, column: str) -> float:
    found = user.columns.get(column)
    return 0.0 if found is None else float(found[0])


def _tallies(folder: Path) -> list[dict[str, Any]]:
    path = folder / "tallies.jsonl"
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return [row for row in rows if isinstance(row, dict) and "user" in row]
