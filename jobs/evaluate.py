"""Verb `evaluate`: several models on the same held-out gaps, side by side.

`OUTPUT/samples` holds what was asked, `OUTPUT/predictions/LABEL` what each model wrote (resumed by shard),
`evaluate.json` every figure, `evaluate.html` the page. Models come one after the other, so that one at a time
needs memory; one that fails is named at the end and costs the others nothing.

The same content under two names is asked once. Not covered: models that only an endpoint serves; code that is
run to see whether it works.
"""

import functools
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import __version__, data, models, registry
from echo_ray.cluster import running
from echo_ray.config import fingerprint
from echo_ray.data import Manifest, Workers
from echo_ray.errors import ConfigError, EchoError, StageError
from echo_ray.ledger import people
from echo_ray.llm import perplexity
from jobs import evaluate_engines, evaluate_page, evaluate_samples
from jobs.evaluate_config import EvaluateConfig
from jobs.evaluate_engines import PREDICTIONS, Asked
from jobs.evaluate_examples import examples
from jobs.evaluate_scores import figures
from jobs.report import plain
from jobs.settings import RunConfig
from jobs.stages import folders, say

STAGE = "evaluate"
PAGE, FIGURES = "evaluate.html", "evaluate.json"
_KEY = "evaluate.models"


@dataclass(frozen=True)
class Model:
    """One model of the comparison."""

    label: str
    """Its column: folder name and content, made unique."""
    reference: str
    """What the settings say."""
    folder: str
    content: str
    """Hash of configuration, tokenizer and weights."""
    family: str
    """Name of its fill-in-the-middle template."""


@dataclass(frozen=True)
class Answered:
    """What was asked, and the folders with the answers of every model, by label."""

    models: list[Model]
    samples: pa.Table
    manifest: Manifest
    """Of the samples."""
    places: dict[str, Path]


def run(config: RunConfig, command: str = "") -> None:
    """Verb `evaluate`."""
    value = evaluated(config)
    print(evaluate_page.text(value))
    assert config.evaluate.output is not None
    print(f"{STAGE:<10} {config.evaluate.output / PAGE} (and {FIGURES})")


def evaluated(config: RunConfig) -> dict[str, Any]:
    """Ask all models, write figures and page; the value of `evaluate.json`. What is done is not done again.

    Raises ConfigError and SchemaError for settings and input that cannot work, StageError for models that
    failed.
    """
    section = config.evaluate
    source, output = folders(STAGE, section)
    answered = ask(config, source, output)
    value = _value(section, answered)
    write(output / FIGURES, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write(output / PAGE, evaluate_page.render(value))
    return value


def ask(config: RunConfig, source: Path, output: Path, key: str = _KEY) -> Answered:
    """Draw samples from `source` and let every model of `evaluate.models` answer them, below `output`; what
    is done is not done again. `key` is where the user named the models. Raises as `evaluated` does.
    """
    section = config.evaluate
    chosen = models_of(config.evaluate.models, key)
    asked = Asked(
        engine=section.engine,
        dtype=section.dtype,
        max_tokens=section.max_tokens,
        perplexity=section.perplexity,
        window=_window(config),
    )
    _check(chosen, asked, key)
    samples, manifest = _samples(section, chosen, source, output)
    return Answered(chosen, samples, manifest, _predict(config, chosen, asked, output, key))


def models_of(references: Sequence[Path], key: str = _KEY) -> list[Model]:
    """The models to compare. Raises ConfigError or SchemaError, naming the setting `key`, for one that is not
    there, cannot be loaded or has no fill-in-the-middle tokens.
    """
    if not references:
        raise ConfigError(f"{key} is empty: add {key}=[FOLDER,...]")
    found: list[Model] = []
    for reference in references:
        folder = registry.resolve(reference, key)
        template = models.check(folder, key)
        content = models.version(folder).rpartition("-")[2]
        whole = folder.resolve()
        name = whole.parent.name if whole.name == "model" else whole.name
        label = f"{name}-{content}"
        again = sum(one.label == label or one.label.startswith(f"{label}-") for one in found)
        label = f"{label}-{again + 1}" if again else label
        found.append(Model(label, str(reference), str(whole), content, template.name))
    return found


def _window(config: RunConfig) -> Any:
    section, window = (
        config.evaluate,
        config.pack.model_copy(update={"input": None, "output": None, "model": None}),
    )
    tokens, share = section.context_tokens, section.suffix_share
    return window.model_copy(
        update={
            "context_tokens": window.context_tokens if tokens is None else tokens,
            "suffix_share": window.suffix_share if share is None else share,
        }
    )


def _check(chosen: Sequence[Model], asked: Asked, key: str) -> None:
    """Raise ConfigError, before Ray starts, for what no engine could do."""
    needed = _longest(asked)
    for model in chosen:
        longest = models.context_limit(Path(model.folder))
        if longest is not None and longest < needed:
            raise ConfigError(
                f"{key}: {model.reference} is made for {longest} tokens and {needed} are needed: lower "
                "evaluate.context_tokens, evaluate.max_tokens or pack.cutoff_len"
            )
    if asked.engine == "vllm" and importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            "evaluate.engine=vllm, but vLLM is not installed: take evaluate.engine=transformers"
        )


def _longest(asked: Asked) -> int:
    """Tokens of the longest sequence that an engine sees."""
    scored = asked.window.cutoff_len + (asked.engine == "vllm")  # which makes one token more
    return max(asked.window.context_tokens + asked.max_tokens, scored if asked.perplexity else 0)


def _samples(
    section: EvaluateConfig, chosen: Sequence[Model], source: Path, output: Path
) -> tuple[pa.Table, Manifest]:
    """What is asked, chosen once and kept."""
    folder = output / "samples"
    before = data.input_fingerprint(source)
    settings = section.model_dump(mode="json", include={"max_samples", "keep", "trained_users", "seed"})
    known = [Path(model.folder) for model in chosen]
    lists = [path.parent / people.USERS for path in known]
    users = [path.read_text(encoding="utf-8") if path.is_file() else None for path in lists]
    mark = fingerprint(
        {"stage": STAGE, "code": __version__, "config": settings, "input": before}
        | ({} if section.trained_users else {"users": sorted({text for text in users if text})})
    )
    done = data.read_manifest(folder)
    if done is None or done.fingerprint != mark:
        selected = evaluate_samples.choose(source, section, evaluate_samples.trained_on(known))
        data.claim(output)
        data.prepare(folder, mark)
        for name, rows in evaluate_samples.shards(selected.table):
            data.write_table(rows, folder / f"{name}.parquet")
        done = Manifest(
            stage="evaluate samples",
            fingerprint=mark,
            input=str(source),
            input_fingerprint=before,
            config=settings,
            columns={column.name: str(column.type) for column in evaluate_samples.SAMPLES},
            rows_in=selected.rows,
            rows_out=selected.table.num_rows,
            drops=selected.left_out,
            seconds=0.0,
            engine="one process",
        )
        data.write_manifest(folder, done)
    paths = [path for unit in data.units_of(folder) for path in unit.paths]
    return pa.concat_tables([pq.read_table(path) for path in paths]), done


def _predict(
    config: RunConfig, chosen: Sequence[Model], asked: Asked, output: Path, key: str
) -> dict[str, Path]:
    """Folder with the answers of every model, by label. Raises StageError, naming the models that failed."""
    section = config.evaluate
    by_content: dict[str, Path] = {}
    failed: dict[str, str] = {}
    longest = _longest(asked)
    with running(config.cluster):
        for model in chosen:
            if model.content in by_content:
                continue
            place = by_content[model.content] = output / "predictions" / model.label
            llm = evaluate_engines.llm(model.folder, section, longest)
            workers = Workers(
                functools.partial(evaluate_engines.Stage, model.folder, asked, section, longest),
                count=section.workers,
                cpus=section.cpus,
                gpus=section.gpus,
                environment=perplexity.environment("vllm" if asked.engine == "vllm" else "torch", llm),
            )
            try:
                done = data.run_stage(
                    "predict",
                    None,
                    asked,
                    output / "samples",
                    place,
                    PREDICTIONS,
                    identity={"model": model.content},
                    workers=workers,
                )
                say(done, place)
            except EchoError as error:
                failed[model.reference] = str(error)
    if failed:
        reasons = "; ".join(f"{reference}: {reason}" for reference, reason in failed.items())
        raise StageError(
            f"{len(failed)} of {len(by_content)} models of {key} failed ({reasons}); answers of the others "
            f"are kept in {output / 'predictions'}, and the same command goes on"
        )
    return {model.label: by_content[model.content] for model in chosen}


def answers(told: Answered) -> tuple[list[dict[str, Any]], dict[str, dict[str, dict[str, Any]]]]:
    """(samples that all models have answered, `PREDICTIONS` by model label and sample id)."""
    answered = {label: _answers(place) for label, place in told.places.items()}
    # Somebody may have been erased from one of the folders since.
    known = [
        row for row in told.samples.to_pylist() if all(row["sample_id"] in rows for rows in answered.values())
    ]
    return known, answered


def _value(section: EvaluateConfig, told: Answered) -> dict[str, Any]:
    """Value of `evaluate.json`."""
    chosen, manifest = told.models, told.manifest
    known, answered = answers(told)
    rows = [
        {**row, **answered[model.label][row["sample_id"]], "model": model.label}
        for model in chosen
        for row in known
    ]
    found = figures(rows, section.resamples, section.seed)
    texts = {
        label: {sample: row["answer"] for sample, row in predictions.items()}
        for label, predictions in answered.items()
    }
    value: dict[str, Any] = plain(
        {
            "version": __version__,
            "input": manifest.input,
            "input_fingerprint": manifest.input_fingerprint,
            "rows": manifest.rows_in,
            "left_out": manifest.drops,
            "models": [asdict(model) for model in chosen],
            "settings": section.model_dump(mode="json", exclude={"models", "input", "output"}),
            "scored": found["scored"],
            "groups": found["groups"],
            "examples": examples(known, texts, section.examples, section.seed),
        }
    )
    return value


def _answers(folder: Path) -> dict[str, dict[str, Any]]:
    wanted = ["sample_id", "answer", "finished", "special_tokens", "nats", "target_tokens"]
    paths = [path for unit in data.units_of(folder) for path in unit.paths]
    return {
        row["sample_id"]: row for path in paths for row in pq.read_table(path, columns=wanted).to_pylist()
    }


def write(path: Path, text: str) -> None:
    """A file that appears whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
