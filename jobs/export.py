"""Balanced samples for other trainers: `echo-ray export`, to Hugging Face, axolotl and LLaMA-Factory.

Shard by shard: one file in `data/` for every shard of the input, in its order, copies side by side; a command
that was cut short goes on with the shards that are missing. Dropped rows stay out and are counted, and so are
samples that no text can stand for (`export_prompts`). Formats are described in `export_formats`.

Invariants: the order is that of the samples; the same input and settings give the same bytes. Not covered:
shuffling, which trainers do; splitting off an evaluation set.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import __version__, models
from echo_ray.config import fingerprint
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.ledger import people
from echo_ray.ledger.rows import batches
from echo_ray.manifest import (
    MARKER,
    Manifest,
    claim,
    input_fingerprint,
    read_manifest,
    settings,
    units_of,
    write_manifest,
)
from echo_ray.progress import bar
from echo_ray.stages.pack import PackConfig
from jobs import export_formats
from jobs.export_prompts import Left, Renderer
from jobs.ledger_config import ExportConfig
from jobs.settings import RunConfig

STAGE = "export"
DATA = "data"
"""Folder of the records in an export."""
COUNTS = ".counts"
"""Folder of what was counted, a file a shard, until the manifest is written."""
_READ = ("sample_id", "user", "prefix", "suffix", "target", "copies", "drop")


def export(config: RunConfig, command: str) -> None:
    """Verb `export`."""
    manifest = run(config.export, config.pack)
    output = config.export.output
    left = ", ".join(f"{count:,} {reason}" for reason, count in manifest.notes["left_out"].items())
    print(
        f"export     {manifest.rows_in:,} samples in, {manifest.rows_out:,} records out as "
        + manifest.notes["format"]
        + (f"; left out: {left}" if left else "")
        + f" -> {output} (README.md says how to use it)"
    )


def run(config: ExportConfig, pack: PackConfig) -> Manifest:
    """Write the export and its manifest.

    Raises ConfigError for a folder or a model that cannot be used, SchemaError for samples that are not
    balanced.
    """
    source, output = _folders(config)
    model = config.model or pack.model or models.BASE
    models.check(model, "export.model")
    chosen = pack.updated(model=model.resolve())
    units = units_of(source)
    before = input_fingerprint(source)
    identity: dict[str, Any] = {
        "tokenizer": models.version(model),
        "pack": settings(chosen.updated(model=None)),
        "code": __version__,
    }
    plain = settings(config.updated(model=None))
    mark = fingerprint({"stage": STAGE, "config": plain, "input": before, **identity})
    done = read_manifest(output)
    if done is not None and done.fingerprint == mark:
        return done
    began = time.monotonic()
    _prepare(output, mark)
    renderer = Renderer(model, chosen)
    total: Counter[str] = Counter()
    longest = 0
    with bar(STAGE, len(units), "shards") as shown:
        for unit in units:
            kept = output / COUNTS / f"{unit.name}.json"
            if not kept.is_file():
                counts = _shard(Path(unit.paths[0]), output, config, renderer, salt=mark)
                kept.write_text(json.dumps(counts), encoding="utf-8")
            counts = json.loads(kept.read_text(encoding="utf-8"))
            longest = max(longest, counts.pop("longest"))
            total.update(counts)
            shown.set_postfix_str(f"{total['records']:,} records", refresh=False)
            shown.update(1)
    facts = _facts(total, longest, renderer, before, identity["tokenizer"])
    for name, text in export_formats.companions(config.format, config.files, str(model), longest).items():
        (output / name).write_text(text, encoding="utf-8")
    text = export_formats.readme(config.format, config.files, facts)
    reader = "json" if config.files == "jsonl" else config.files
    (output / "README.md").write_text(
        text.replace("READER", reader).replace("MODEL", str(model)), encoding="utf-8"
    )
    manifest = Manifest(
        stage=STAGE,
        fingerprint=mark,
        input=str(source),
        input_fingerprint=before,
        config=plain,
        columns={},
        rows_in=total["rows"],
        rows_out=total["records"],
        drops={},
        seconds=round(time.monotonic() - began, 3),
        engine="local",
        notes={"format": config.format, "salt": mark, **facts},
    )
    write_manifest(output, manifest)
    for path in (output / COUNTS).iterdir():
        path.unlink()
    (output / COUNTS).rmdir()
    return manifest


def _folders(config: ExportConfig) -> tuple[Path, Path]:
    for key in ("input", "output"):
        if getattr(config, key) is None:
            raise ConfigError(f"export.{key} is not set: add export.{key}=FOLDER")
    source, output = config.input, config.output
    assert source is not None
    assert output is not None
    if not source.is_dir():
        raise ConfigError(f"export.input={source} does not exist")
    if source.resolve() in (output.resolve(), *output.resolve().parents):
        raise ConfigError(f"export.output={output} lies in export.input={source}: name another folder")
    names = pq.read_schema(units_of(source)[0].paths[0]).names
    missing = [name for name in ("sample_id", "prefix", "suffix", "target", "copies") if name not in names]
    if missing:
        raise SchemaError(f"{source} lacks the columns {', '.join(missing)}: export needs balanced samples")
    return source, output


def _prepare(output: Path, mark: str) -> None:
    """Keep what a cut-short export with the same settings finished, remove what another one left."""
    claim(output)
    (output / "manifest.json").unlink(missing_ok=True)
    marker = output / MARKER
    places = [output / DATA, output / COUNTS]
    if marker.read_text() != mark:
        for path in (path for place in places if place.is_dir() for path in place.iterdir()):
            path.unlink()
        for name in ("README.md", "axolotl.yaml", "dataset_info.json", "llamafactory.yaml"):
            (output / name).unlink(missing_ok=True)
    for place in places:
        place.mkdir(exist_ok=True)
    marker.write_text(mark)


def _facts(
    total: Mapping[str, int], longest: int, renderer: Renderer, data_set: str, tokenizer: str
) -> dict[str, Any]:
    """What the manifest and the README say."""
    return {
        "records": total["records"],
        "samples": total["samples"],
        "edge_moved": total["edge_moved"],
        "tokens": total["tokens"],
        "longest": longest,
        "left_out": {name: total[name] for name in ("dropped", *Left) if total[name]},
        "data_set": data_set,
        "tokenizer": tokenizer,
        "template": renderer.template.name,
        "end": renderer.end,
        "begins": renderer.begins,
    }


def _shard(path: Path, output: Path, config: ExportConfig, renderer: Renderer, salt: str) -> dict[str, int]:
    """Write the records of one shard; what was counted."""
    counts: Counter[str] = Counter(longest=0)
    target = output / DATA / f"{path.stem}.{config.files}"
    part = target.with_name(f".{target.name}.part")
    records = _records(path, config.format, renderer, salt, counts)
    if config.files == "jsonl":
        with part.open("wb") as file:
            for one in records:
                file.write(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE))
    else:
        _write_parquet(records, config.format, part)
    part.replace(target)
    return dict(counts)


def _records(
    path: Path, form: str, renderer: Renderer, salt: str, counts: Counter[str]
) -> Iterator[dict[str, Any]]:
    for batch in batches(path, _READ, size=512):
        for row in batch.to_pylist():
            counts["rows"] += 1
            if row["drop"] is not None or not row["copies"]:
                counts["dropped"] += 1
                continue
            text = renderer.render(row["prefix"], row["suffix"], row["target"])
            if isinstance(text, Left):
                counts[text.value] += 1
                continue
            counts["samples"] += 1
            counts["edge_moved"] += text.moved
            counts["longest"] = max(counts["longest"], text.tokens)
            owner = people.mark(row["user"] or "", salt)
            made = export_formats.record(form, text, renderer.end, row["sample_id"], owner)
            for _ in range(row["copies"]):
                counts["records"] += 1
                counts["tokens"] += text.tokens
                yield made


def _write_parquet(records: Iterator[dict[str, Any]], form: str, path: Path) -> None:
    columns = _columns(form)
    held: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, columns, compression="zstd") as writer:
        for one in records:
            held.append(one)
            if len(held) == 4096:
                writer.write_table(pa.Table.from_pylist(held, columns))
                held.clear()
        writer.write_table(pa.Table.from_pylist(held, columns))


def _columns(form: str) -> pa.Schema:
    segment = pa.struct([("label", pa.bool_()), ("text", pa.string())])
    fields: dict[str, list[tuple[str, pa.DataType]]] = {
        "hf": [("prompt", pa.string()), ("completion", pa.string())],
        "axolotl": [("segments", pa.list_(segment))],
        "llamafactory": [(name, pa.string()) for name in ("instruction", "input", "output")],
    }
    return pa.schema([*fields[form], ("sample_id", pa.string()), ("owner", pa.string())])
