"""Persons in the ledger: pseudonyms as one-way marks, and which models were trained on them.

An entry about an erased person must not name them, and must still answer "is it them?" to somebody who
knows the pseudonym. So a mark is a hash of the pseudonym, keyed with a salt that lies beside it: no table
of marks serves for two data sets. Who guesses a pseudonym can confirm the guess, as with any such mark.

`users.json` beside a trained model says how many rows of each marked person it was trained on. With it the
question survives the packed samples; without it (a model trained elsewhere) the answer is unknown.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from echo_ray.ledger.rows import column
from echo_ray.rng import unit

USERS = "users.json"
"""File of a training folder."""


def mark(user: str, salt: str) -> str:
    """One-way mark of a pseudonym (16 hexadecimal digits)."""
    key = hashlib.blake2b(salt.encode(), digest_size=32).digest()
    return hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=8, key=key).hexdigest()


def write_users(folder: Path, users: Iterable[str], salt: str) -> Path:
    """Keep in the training folder `folder` how many rows of each person were trained on: `users` holds the
    pseudonym of every row. `salt` is best the fingerprint of the training.
    """
    counts = Counter(users)
    rows = dict(sorted((mark(user, salt), count) for user, count in counts.items()))
    path = folder / USERS
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps({"salt": salt, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def trained(packed: Path, config: dict[str, Any]) -> Iterator[str]:
    """The person of every packed row that training with these settings learns from, row by row."""
    for path in sorted(packed.glob("*.parquet")):
        for user, drop in zip(column(path, "user"), column(path, "drop"), strict=True):
            if drop is None and not measured_only(user or "", config):
                yield user or ""


def rows_of(folder: Path, user: str) -> int | None:
    """Rows of `user` that the model in the training folder `folder` was trained on; None when it keeps no
    list.
    """
    try:
        kept = json.loads((folder / USERS).read_text(encoding="utf-8"))
        return int(kept["rows"].get(mark(user, kept["salt"]), 0))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None


def erased(notes: dict[str, Any], user: str) -> dict[str, Any] | None:
    """The latest entry of a manifest's `notes["erased"]` about `user`."""
    entries = [entry for entry in notes.get("erased", []) if entry["who"] == mark(user, entry["salt"])]
    return entries[-1] if entries else None


def measured_only(user: str, config: dict[str, Any]) -> bool:
    """Whether training with these settings only measured the rows of `user` (`train.heldout_share`)."""
    return bool(unit(config.get("seed", 0), "heldout", user) < config.get("heldout_share", 0.0))
