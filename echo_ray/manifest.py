"""Folders of stages: units of work, the manifest of a finished stage, the marker of an unfinished one.

A stage's folder is `part-*.parquet` plus `manifest.json`, written last: it is the commit marker. A folder
without one is work that was cut short; its marker says for which settings. Nothing here needs Ray.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import __version__, sealed
from echo_ray.config import Config
from echo_ray.errors import ConfigError, SchemaError

MANIFEST = "manifest.json"
MARKER = ".running"
"""Says that a folder is a stage's, finished or not, and for which settings."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Files that one task reads together; `name` becomes the name of the output file."""

    name: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a stage did: enough to trust its output, to skip it next time, and to explain it later."""

    stage: str
    fingerprint: str
    input: str
    input_fingerprint: str
    config: dict[str, Any]
    columns: dict[str, str]
    rows_in: int
    rows_out: int
    drops: dict[str, int]
    seconds: float
    engine: str
    code: str = __version__
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """What all units of a stage came to, before its manifest is written."""

    rows_in: int
    rows_out: int
    drops: dict[str, int]
    facts: dict[str, Any]
    """Sums over all units."""
    seconds: float
    """Wall time of this run."""


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a finished stage; None when there is none or it cannot be read."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        return Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, TypeError):
        return None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Commit a finished stage: the file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{MANIFEST}.part"
    part.write_text(json.dumps(asdict(manifest), indent=1, default=str) + "\n", encoding="utf-8")
    part.replace(folder / MANIFEST)


def input_fingerprint(folder: Path) -> str:
    """Identity of a stage's input: its manifest's fingerprint, or the content of every file (or of one).
    Hidden files are nobody's input, and may come and go.

    Raises ConfigError for the sealed truth of a simulation.
    """
    sealed.refuse(folder, "input")
    manifest = read_manifest(folder)
    if manifest is not None:
        return manifest.fingerprint
    hasher = hashlib.blake2b(digest_size=8)
    paths = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    for path in paths:
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        hasher.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            hasher.update(hashlib.file_digest(file, "blake2b").digest())
    return hasher.hexdigest()


def units_of(folder: Path) -> list[Unit]:
    """One unit per Parquet file of a stage's folder. Raises SchemaError when there is none, ConfigError for
    the sealed truth of a simulation.
    """
    sealed.refuse(folder, "input")
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise SchemaError(f"{folder} holds no Parquet file: run the stage before this one first")
    return [Unit(path.stem, (str(path),)) for path in paths]


def settings(config: Config) -> dict[str, Any]:
    """A stage's settings as plain values, without the paths: moving a run does not change its identity."""
    plain: dict[str, Any] = config.model_dump(mode="json", exclude={"input", "output"})
    return plain


def claim(output: Path) -> None:
    """Make `output` a stage's folder. A folder with files that no stage wrote is never emptied.

    Raises ConfigError for such a folder.
    """
    marker = output / MARKER
    occupied = output.is_dir() and any(output.iterdir())
    if occupied and not marker.is_file() and read_manifest(output) is None:
        raise ConfigError(
            f"{output} holds files that no stage wrote: name an empty or a new folder as output"
        )
    output.mkdir(parents=True, exist_ok=True)
    marker.touch()


def prepare(output: Path, mark: str) -> None:
    """Empty `output` of anything that another configuration left, keep what this one had finished."""
    claim(output)
    marker = output / MARKER
    (output / MANIFEST).unlink(missing_ok=True)
    if not marker.is_file() or marker.read_text() != mark:
        for path in output.glob("*.parquet"):
            path.unlink()
        marker.write_text(mark)


def write_table(table: pa.Table, path: Path) -> None:
    """Write one Parquet file that appears whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    pq.write_table(table, part, compression="zstd")
    part.replace(path)


def summarize(paths: Sequence[Path], seconds: float) -> Summary:
    """What the finished units in `paths` came to."""
    rows_in = rows_out = 0
    drops: Counter[str] = Counter()
    facts: dict[str, Any] = {}
    for path in paths:
        file = pq.ParquetFile(path)
        rows_in += int((file.schema_arrow.metadata or {}).get(b"rows_in", b"0"))
        rows_out += file.metadata.num_rows
        facts = added(facts, facts_of(path))
        if "drop" in file.schema_arrow.names:
            drops.update(reason for reason in file.read(["drop"])["drop"].to_pylist() if reason is not None)
    return Summary(rows_in, rows_out, dict(sorted(drops.items())), facts, seconds)


def facts_of(path: Path) -> dict[str, Any]:
    """What the stage told about the unit in `path` beside its table."""
    facts: dict[str, Any] = json.loads((pq.read_schema(path).metadata or {}).get(b"facts", b"{}"))
    return facts


def added(total: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Both together: numbers are added, mappings merged key by key; of anything else the first is kept."""
    result = dict(total)
    for key, value in facts.items():
        known = result.get(key)
        if known is None:
            result[key] = value
        elif isinstance(known, Mapping) and isinstance(value, Mapping):
            result[key] = added(known, value)
        elif isinstance(known, int | float) and isinstance(value, int | float):
            result[key] = known + value
    return result
