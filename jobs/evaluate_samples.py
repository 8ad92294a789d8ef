"""What models are asked: held-out gaps from samples of any stage, or from lines that somebody wrote.

Rows with a drop reason are left out and counted by it, as are rows of users whom one of the models was
trained on (`trained_user`), rows that lack a text (`incomplete`) and ids that come twice (`duplicate`). Of
each language at most `evaluate.max_samples` stay, drawn by their ids (`not_drawn`): a sample stays whatever
else is in the folder, its shards and their order included. Void targets are samples like any other.

Memory holds the samples that stay and one file at a time. Not covered: near duplicates of training samples of
other users (`select` looks for these before anything is packed).
"""

import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray.errors import ConfigError, SchemaError
from echo_ray.ledger import people
from echo_ray.rng import digest, unit
from echo_ray.stages import conform, rows
from jobs.evaluate_config import EvaluateConfig

SAMPLES = pa.schema(
    [
        ("sample_id", pa.string()),
        ("user", pa.string()),
        ("language", pa.string()),
        ("prefix", pa.large_string()),
        ("suffix", pa.large_string()),
        ("target", pa.large_string()),
    ]
)
"""A held-out gap; an empty `user` is nobody known."""
LINES = ".jsonl"
_READ = pa.schema([*SAMPLES, ("commit", pa.large_string()), ("drop", pa.string())])
_SHARD_ROWS = 200
"""Samples of one shard: the work that is lost when a run is killed."""


class Chosen(NamedTuple):
    """What is asked, and what became of the other rows."""

    table: pa.Table
    rows: int
    """Rows of the input."""
    left_out: dict[str, int]
    """By reason."""


def choose(source: Path, config: EvaluateConfig, trained: Callable[[str], bool]) -> Chosen:
    """The samples under `source`, by id; `trained` says whether a model was trained on a user.

    Raises SchemaError for files that are no samples, ConfigError when there is no row or all are left out.
    """
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    known: dict[str, bool] = {}
    best: dict[str, list[tuple[float, str, dict[str, Any]]]] = {}
    total = 0
    for row in _rows(source):
        total += 1
        reason = _reason(row, config, seen)
        if reason is None and not config.trained_users and row["user"]:
            user = row["user"]
            if user not in known:
                known[user] = trained(user)
            reason = "trained_user" if known[user] else None
        if reason is not None:
            left_out[reason] += 1
            continue
        heap = best.setdefault(row["language"], [])
        heapq.heappush(heap, (-unit(config.seed, "evaluate", row["sample_id"]), row["sample_id"], row))
        if config.max_samples is not None and len(heap) > config.max_samples:
            heapq.heappop(heap)
            left_out["not_drawn"] += 1
    chosen = sorted((row for heap in best.values() for _, _, row in heap), key=lambda row: row["sample_id"])
    if not chosen:
        raise ConfigError(_nothing(source, total, left_out))
    table = pa.Table.from_pylist(chosen, schema=SAMPLES)
    return Chosen(table, total, dict(sorted(left_out.items())))


def shards(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """(name, rows) of the files that the samples are kept in."""
    for number, start in enumerate(range(0, table.num_rows, _SHARD_ROWS)):
        yield f"part-{number:05d}", table.slice(start, _SHARD_ROWS)


def trained_on(models: Sequence[Path]) -> Callable[[str], bool]:
    """Whether a user is among those whom one of the model folders was trained on, as far as they say so."""
    return lambda user: any(people.rows_of(model.resolve().parent, user) for model in models)


def _reason(row: dict[str, Any], config: EvaluateConfig, seen: set[str]) -> str | None:
    """Why a row is no sample; None when it is one, and then it is made ready."""
    drop = row.pop("drop")
    commit = row.pop("commit")
    if drop is not None and drop not in config.keep:
        return str(drop)
    if row["target"] is None:
        row["target"] = commit
    if any(row[name] is None for name in ("prefix", "suffix", "target")):
        return "incomplete"
    row["user"] = row["user"] or ""
    if not row["sample_id"]:
        row["sample_id"] = f"{digest(row['prefix'], row['suffix'], row['target'], row['user']):016x}"
    if row["sample_id"] in seen:
        return "duplicate"
    seen.add(row["sample_id"])
    return None


def _nothing(source: Path, total: int, left_out: Counter[str]) -> str:
    if not total:
        return f"evaluate.input={source} holds no row: name a folder of samples"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out.most_common(5))
    if left_out["trained_user"]:
        advice = "add samples of other users, or keep these with evaluate.trained_users=true"
    else:
        advice = "name other samples, or the reasons that do not count here in evaluate.keep"
    return f"evaluate.input={source}: all {total:,} rows are left out ({reasons}): {advice}"


def _rows(source: Path) -> Iterator[dict[str, Any]]:
    paths = [source] if source.is_file() else sorted(source.glob("*"))
    paths = [path for path in paths if path.suffix in (".parquet", LINES) and not path.name.startswith(".")]
    if not paths:
        raise SchemaError(
            f"evaluate.input={source} holds neither Parquet nor JSON Lines (*.parquet, *{LINES}): name a "
            "folder of samples"
        )
    for path in paths:
        table = _lines(path) if path.suffix == LINES else _table(path)
        for values in rows(table, _READ.names):
            yield dict(zip(_READ.names, values, strict=True))


def _table(path: Path) -> pa.Table:
    try:
        file = pq.ParquetFile(path)
        names = [name for name in file.schema_arrow.names if name in _READ.names]
        _check(names, path)
        return conform(file.read(names), _READ, (), f"evaluate.input: {path}")
    except (OSError, pa.ArrowInvalid) as error:
        raise SchemaError(f"evaluate.input: {path} cannot be read: {' '.join(str(error).split())}") from None


def _lines(path: Path) -> pa.Table:
    found = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                found.append(_line(line, f"{path} line {number}"))
    return pa.Table.from_pylist(found, schema=_READ)


def _line(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise SchemaError(f"evaluate.input: {where} is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise SchemaError(f"evaluate.input: {where} is no JSON object")
    _check(list(value), where)
    row: dict[str, Any] = {}
    for name in _READ.names:
        text = value.get(name)
        if text is not None and not isinstance(text, str):
            raise SchemaError(f"evaluate.input: {where}: {name} is {type(text).__name__}, not a string")
        # Half a UTF-16 pair can be written in JSON, but neither in Arrow nor in UTF-8.
        row[name] = None if text is None else text.encode("utf-8", "replace").decode("utf-8")
    row["language"] = row["language"] or "plaintext"
    return row


def _check(names: Sequence[str], where: Path | str) -> None:
    missing = [name for name in ("prefix", "suffix") if name not in names]
    if "target" not in names and "commit" not in names:
        missing.append("target (or commit)")
    if missing:
        raise SchemaError(f"evaluate.input: {where} lacks {', '.join(missing)}: name a folder of samples")
