"""Termination policies of mining side by side, scored against what really happened (verb `compare`).

Truth is either recorded edits, read by the keystroke oracle, or the sealed truth of a simulation. A log
without truth still gives yield, delay and, where clients reported acceptances, how well the miner infers
them from the requests alone. Nothing here feeds a stage.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from echo_ray import __version__
from echo_ray.cluster import running
from echo_ray.config import fingerprint
from echo_ray.data import Manifest, claim, input_fingerprint, read_manifest, settings, write_manifest
from echo_ray.errors import ConfigError, EchoError
from echo_ray.log import partition
from echo_ray.progress import bar
from jobs import compare_inputs
from jobs.compare_inputs import Piece
from jobs.compare_page import page
from jobs.compare_rules import Comparison
from jobs.settings import RunConfig
from jobs.stages import folders, warn
from simulator.judge.witness import Witness

STAGE = "compare"
LOG = "log"
"""Source of everything that is no recording; also the folder of a log that was not partitioned yet."""


def compare(config: RunConfig, command: str) -> None:
    """Verb `compare`."""
    source, output = folders(STAGE, config.compare)
    recorded = _check(config, source, output)
    mark = _identity(config, source)
    done = read_manifest(output)
    if done is None or done.fingerprint != mark or not (output / "compare.md").is_file():
        fresh = not output.exists()
        claim(output)
        try:
            _run(config, source, output, recorded, mark)
        except EchoError:
            if fresh:
                shutil.rmtree(output)
            raise
    print((output / "compare.md").read_text(encoding="utf-8"))
    print(f"compare: this table and every figure of it are in {output}/compare.md and compare.json")


def _check(config: RunConfig, source: Path, output: Path) -> list[Path] | None:
    """The recordings under `source`, None for a log. Raises ConfigError for settings that do not fit."""
    truth = config.compare.truth
    if source.is_file():
        raise ConfigError(f"compare.input={source} is a file: name the folder that holds it")
    if truth is not None and not truth.is_dir():
        raise ConfigError(f"compare.truth={truth} does not exist; name the folder `truth` of a simulation")
    done = read_manifest(output)
    if done is not None and done.stage != STAGE:
        raise ConfigError(f"compare.output={output} holds the results of {done.stage}: name another folder")
    if partition.is_partitioned(source):
        return None
    recorded = compare_inputs.recorded(source, "compare.input")
    if recorded is not None and truth is not None:
        raise ConfigError(
            f"compare.truth={truth} belongs to the log of a simulation, and compare.input={source} holds "
            "recorded edits, which are their own truth: leave one out"
        )
    return recorded


def _run(config: RunConfig, source: Path, output: Path, recorded: list[Path] | None, mark: str) -> None:
    began = time.monotonic()
    comparison = Comparison()
    pieces, count = _pieces(config, source, output, recorded)
    with bar(STAGE, count, "sources") as shown:
        latest = None
        for latest_source, piece in pieces:
            shown.update(latest_source != latest)
            latest = latest_source
            if piece.requests.num_rows:
                comparison.add(piece, config.compare, config.mine)
            shown.set_postfix_str(f"{comparison.requests:,} requests", refresh=False)
    if config.compare.truth is not None and comparison.elsewhere == comparison.requests:
        raise ConfigError(
            f"compare.truth={config.compare.truth} knows none of the {comparison.requests:,} requests of "
            f"compare.input={source}: name the truth of the same run"
        )
    summary = summarise(comparison, config, source)
    _write(output / "compare.json", json.dumps(summary, indent=1) + "\n")
    _write(output / "compare.md", page(summary))
    manifest = Manifest(
        stage=STAGE,
        fingerprint=mark,
        input=str(source),
        input_fingerprint=input_fingerprint(source),
        config=summary["settings"],
        columns={},
        rows_in=comparison.requests,
        rows_out=len(summary["rows"]),
        drops={},
        seconds=round(time.monotonic() - began, 3),
        engine="one process",
        notes={"requests_without_truth": comparison.elsewhere},
    )
    write_manifest(output, manifest)


def _pieces(
    config: RunConfig, source: Path, output: Path, recorded: list[Path] | None
) -> tuple[Iterator[tuple[str, Piece]], int]:
    """(where it is from, piece) of everything to compare, lazily, and how many places there are."""
    idle_ms = config.mine.idle_s * 1000
    if recorded is not None:
        return (
            (str(path), piece)
            for path in recorded
            for piece in compare_inputs.from_recording(
                path, str(path.relative_to(source)), idle_ms, config.compare.uncancelled_ms
            )
        ), len(recorded)
    truth = config.compare.truth
    told = None if truth is None else Witness(truth, "compare.truth", idle_ms)
    log = source
    if not partition.is_partitioned(source):
        log = output / LOG
        with running(config.cluster):
            warn(partition.partition(config.import_, source, log, "compare.input"), log)
    reported = compare_inputs.events(log)
    parts = compare_inputs.parts(log)
    return ((str(path), compare_inputs.from_part(path, LOG, reported, told)) for path in parts), len(parts)


def summarise(comparison: Comparison, config: RunConfig, source: Path) -> dict[str, Any]:
    """Everything that `compare.json` holds: what was compared, how, and every figure with its counts."""
    sources = sorted({name for name, _, _ in comparison.scores})
    rows = [
        {"source": "all", "density": density, "policy": policy, **score.figures()}
        for (density, policy), score in comparison.pooled().items()
    ]
    if len(sources) > 1:
        rows += [
            {"source": name, "density": density, "policy": policy, **score.figures()}
            for (name, density, policy), score in comparison.scores.items()
        ]
    return {
        "input": str(source),
        "truth": None if config.compare.truth is None else str(config.compare.truth),
        "settings": _settings(config),
        "sources": sources,
        "requests": comparison.requests,
        "requests_without_truth": comparison.elsewhere,
        "rows": rows,
        "clients": [
            {"client": client, "density": density, "policy": policy, **score.figures()}
            for (client, density, policy), score in sorted(
                comparison.clients.items(), key=lambda item: item[0][0]
            )
        ],
        "acceptance": {name: table.figures() for name, table in comparison.agreements.items()},
    }


def _settings(config: RunConfig) -> dict[str, Any]:
    """What decides the figures besides the input; paths do not."""
    compared = settings(config.compare)
    del compared["truth"]
    return compared | {name: getattr(config.mine, name) for name in ("idle_s", "quiescence_s", "ttl_s")}


def _identity(config: RunConfig, source: Path) -> str:
    truth = config.compare.truth
    identity = {
        "stage": STAGE,
        "code": __version__,
        "config": _settings(config),
        "truth": None if truth is None else _digest(truth),
        "input": input_fingerprint(source),
    }
    return fingerprint(identity)


def _digest(truth: Path) -> str:
    """Content of a folder of truth; `input_fingerprint` refuses it, as everything does that stages use."""
    hasher = hashlib.blake2b(digest_size=8)
    for path in sorted(path for path in truth.iterdir() if path.is_file()):
        with path.open("rb") as file:
            hasher.update(path.name.encode() + hashlib.file_digest(file, "blake2b").digest())
    return hasher.hexdigest()


def _write(path: Path, text: str) -> None:
    """A file that appears whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
