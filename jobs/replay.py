"""The verb `replay`: candidates answer the contexts of a log, and their acceptance is predicted.

`OUTPUT/contexts` and `OUTPUT/users` hold what the log tells (`replay_contexts`), `OUTPUT/samples` what was
drawn, `OUTPUT/predictions/LABEL` what each model answered (resumed by shard, by the engines of `evaluate`),
`replay.json` every figure, `replay.html` the page. Statistics are `echo_ray.replay`.

Not covered: services that stay silent when unsure (`serve.silence_below`), and snippets of other files, which
no log carries.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from echo_ray import __version__, data, models
from echo_ray.config import fingerprint
from echo_ray.data import Manifest, input_fingerprint
from echo_ray.errors import ConfigError
from echo_ray.ledger import people
from echo_ray.log import reader
from echo_ray.progress import bar
from echo_ray.replay.features import FEATURES, features, is_silent
from echo_ray.replay.predict import Answers, Log, Settings, predict
from echo_ray.serve import policy
from jobs import evaluate, evaluate_samples, replay_contexts, replay_measured, replay_page, replay_report
from jobs.evaluate import Answered, Model
from jobs.replay_report import Arm, Facts
from jobs.settings import RunConfig
from jobs.stages import folders

STAGE = "replay"
PAGE, FIGURES = "replay.html", "replay.json"
_KEY = "replay.candidates"


def replay(config: RunConfig, command: str = "") -> None:
    """Verb `replay`."""
    value = replayed(config, command)
    print(replay_page.text(value))
    assert config.replay.output is not None
    print(f"\n{STAGE:<10} {config.replay.output / PAGE} (and {FIGURES})")


def replayed(config: RunConfig, command: str = "") -> dict[str, Any]:
    """Ask all models, predict, write figures and page; the value of `replay.json`. What is done is not done
    again. Raises ConfigError and SchemaError for settings and input that cannot work, StageError for models
    that failed.
    """
    section = config.replay
    source, log, output = _checked(config)
    chosen = evaluate.models_of(section.candidates, _KEY)
    control = evaluate.models_of([section.control], "replay.control") if section.control else []
    reports = [replay_measured.read(path) for path in section.measured]
    for model in (*control, *chosen):
        _check_length(config, model)
    everyone = [Path(model.folder) for model in (*control, *chosen)]
    trained = evaluate_samples.trained_on(everyone)
    # A further candidate leaves contexts and answers as they are, unless it was trained on other users.
    lists = [path.parent / people.USERS for path in everyone]
    users = sorted({path.read_text(encoding="utf-8") for path in lists if path.is_file()})
    contexts = replay_contexts.gather(config, source, log, output, fingerprint({"users": users}), trained)
    versions = list(contexts.notes["models"])
    served = replay_measured.contents(versions) | {model.content for model in control}
    measured = replay_measured.matched(reports, [model.content for model in chosen], frozenset(served))
    asking = _asking(config, [*(model.reference for model in control), *section.candidates])
    told = evaluate.ask(asking, output / "contexts", output, _KEY)
    mark = fingerprint(
        {
            "stage": STAGE,
            "code": __version__,
            "contexts": contexts.fingerprint,
            "samples": told.manifest.fingerprint,
            "answers": [input_fingerprint(place) for place in told.places.values()],
            "measured": [input_fingerprint(path) for path in section.measured],
            "config": _settings(config),
        }
    )
    done = data.read_manifest(output)
    if done is not None and done.fingerprint == mark and all((output / f).is_file() for f in (PAGE, FIGURES)):
        value: dict[str, Any] = json.loads((output / FIGURES).read_text(encoding="utf-8"))
        return value
    began = time.monotonic()
    (output / data.MANIFEST).unlink(missing_ok=True)
    value = value_of(config, told, bool(control), contexts, measured)
    value["provenance"] = _provenance(config, source, log, told, mark, command)
    evaluate.write(output / FIGURES, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    evaluate.write(output / PAGE, replay_page.render(value))
    data.write_manifest(output, _manifest(config, source, mark, told, contexts, began))
    return value


def _checked(config: RunConfig) -> tuple[Path, Path, Path]:
    """(samples, log, output). Raises ConfigError for settings that cannot work; starts nothing."""
    section = config.replay
    source, output = folders(STAGE, section)
    if section.log is None:
        raise ConfigError("replay.log is not set: add replay.log=FOLDER, the log that the samples came from")
    reader.files(section.log, replay_contexts.KEY)
    if section.log.resolve() in (output.resolve(), *output.resolve().parents):
        raise ConfigError(f"replay.output={output} lies in replay.log={section.log}: name another folder")
    done = data.read_manifest(output)
    if done is not None and done.stage != STAGE:
        raise ConfigError(f"replay.output={output} holds the results of {done.stage}: name another folder")
    if config.serve.silence_below > 0:
        raise ConfigError(
            f"serve.silence_below={config.serve.silence_below:g}: replay cannot tell which answers that "
            "silences; set it to 0 and replay a log that was served so"
        )
    return source, section.log, output


def _check_length(config: RunConfig, model: Model) -> None:
    longest = models.context_limit(Path(model.folder))
    needed = config.serve.context_tokens + config.serve.max_tokens
    if longest is not None and longest < needed:
        raise ConfigError(
            f"replay: {model.reference} is made for {longest} tokens, and serve.context_tokens and "
            f"serve.max_tokens ask for {needed}: leave that model out, or lower them if the log was served so"
        )


def _asking(config: RunConfig, references: Sequence[Any]) -> RunConfig:
    """Settings under which the models are asked: what `evaluate` says, in the service's window."""
    serve = config.serve
    changed = config.evaluate.updated(
        models=list(references),
        perplexity=False,
        keep=[],
        context_tokens=serve.context_tokens,
        suffix_share=serve.suffix_share,
        max_tokens=serve.max_tokens,
    )
    return config.updated(evaluate=changed.model_dump())


@dataclass(frozen=True, slots=True)
class _Contexts:
    """The contexts as arrays: a place for every row."""

    place: dict[str, int]
    """Row of a sample."""
    user: np.ndarray
    chars: np.ndarray
    x: np.ndarray
    """(n, features); zeros where the control was silent."""
    columns: dict[str, np.ndarray]
    """`text`, `shown`, `accepted`, `accepted_chars`."""
    proposals: dict[str, str]
    """What the control proposed, of the drawn samples."""


def value_of(
    config: RunConfig,
    told: Answered,
    control: bool,
    contexts: Manifest,
    measured: dict[int, replay_measured.Measured],
) -> dict[str, Any]:
    """Value of `replay.json`, but for its provenance, from models that have answered; the first of them is
    the control asked again where `control` says so. Raises ConfigError for contexts that are too few.
    """
    section = config.replay
    assert section.output is not None
    drawn, answered = evaluate.answers(told)
    users = pq.read_table(section.output / "users" / "part-00000.parquet")
    names = users["user"].to_pylist()
    known = _read(section.output / "contexts", names, {row["sample_id"] for row in drawn})
    # Somebody may have been erased from one of the folders since.
    drawn = [row for row in drawn if row["sample_id"] in known.place]
    log = _log(known, users, names)
    if len(set(log.answers.user.tolist())) < 2 or not log.accepted.any():
        raise ConfigError(
            f"replay.input={section.input}: the contexts hold {int(log.accepted.sum()):,} accepted proposals "
            f"and {len(set(log.answers.user.tolist())):,} users with proposals; one and two are needed: name "
            "more samples"
        )
    at = np.array([known.place[row["sample_id"]] for row in drawn], np.int64)
    spoke = at[known.columns["text"][at] > 0]
    logged = Answers(known.user[spoke], known.x[spoke], known.chars[spoke])
    arms = [_arm(model, drawn, answered[model.label], known, section.refine) for model in told.models]
    settings = Settings(section.folds, section.ridge, section.resamples, section.seed)
    with bar("replay: resample", section.resamples, "draws") as shown:
        base, found, fitted = predict(
            log, logged, {arm.label: arm.answers for arm in arms}, settings, shown.update
        )
    facts = Facts(
        section=section,
        contexts=contexts,
        drawn=len(drawn),
        languages=sorted({row["language"] for row in drawn}),
        log=log,
        logged=replay_report.logged(logged, len(drawn), known.columns, at),
        whole={name: int(np.sum(users[name].to_numpy())) for name in ("text", "shown", "accepted")},
        fitted=fitted,
        arms=arms,
        again=control,
        measured=measured,
    )
    return replay_report.build(facts, base, found)


def _read(folder: Path, users: Sequence[str], drawn: set[str]) -> _Contexts:
    """All contexts without their texts, one file in memory at a time."""
    code = {user: number for number, user in enumerate(users)}
    wanted = ["sample_id", "user", "target", "proposal", "text", "shown", "accepted", "accepted_chars"]
    place: dict[str, int] = {}
    proposals: dict[str, str] = {}
    user: list[int] = []
    x, columns = [], []
    nothing = np.zeros(len(FEATURES))
    for unit in data.units_of(folder):
        for path in unit.paths:
            for row in pq.read_table(path, columns=wanted).to_pylist():
                if row["user"] not in code:
                    continue
                text = row["text"] and not is_silent(row["proposal"])
                place[row["sample_id"]] = len(user)
                user.append(code[row["user"]])
                x.append(features(row["proposal"], row["target"]) if text else nothing)
                chars = len(row["proposal"] or "") if text else 0
                columns.append((text, row["shown"], row["accepted"], row["accepted_chars"], chars))
                if row["sample_id"] in drawn:
                    proposals[row["sample_id"]] = row["proposal"] or ""
    table = np.array(columns, np.float64).reshape(-1, 5)
    named = dict(zip(("text", "shown", "accepted", "accepted_chars"), table.T, strict=False))
    rows = np.array(x).reshape(-1, len(FEATURES))
    return _Contexts(place, np.array(user, np.int64), table[:, 4], rows, named, proposals)


def _log(known: _Contexts, users: Any, names: list[str]) -> Log:
    text = known.columns["text"] > 0
    chars = known.chars[text]
    return Log(
        users=names,
        answers=Answers(known.user[text], known.x[text], chars),
        shown=known.columns["shown"][text],
        accepted=known.columns["accepted"][text],
        # A client may count more than the proposal had, where it took what was typed along.
        taken=np.minimum(known.columns["accepted_chars"][text] / chars, 1.0),
        accepted_chars=users["accepted_chars"].to_numpy().astype(np.float64),
        typed_chars=users["typed_chars"].to_numpy().astype(np.float64),
    )


def _arm(
    model: Model,
    drawn: Sequence[dict[str, Any]],
    answered: dict[str, dict[str, Any]],
    known: _Contexts,
    refine: bool,
) -> Arm:
    """What a model would have shown in the drawn contexts."""
    user: list[int] = []
    x, chars = [], []
    same = 0
    for row in drawn:
        text = shown(answered[row["sample_id"]], row["prefix"], row["suffix"], refine)
        same += text.rstrip() == known.proposals[row["sample_id"]].rstrip()
        if not is_silent(text):
            user.append(known.user[known.place[row["sample_id"]]])
            x.append(features(text, row["target"]))
            chars.append(float(len(text)))
    found = Answers(
        np.array(user, np.int64), np.array(x).reshape(-1, len(FEATURES)), np.array(chars, np.float64)
    )
    return Arm(model.label, model.reference, model.content, found, same / max(1, len(drawn)))


def shown(prediction: dict[str, Any], prefix: str, suffix: str, refine: bool) -> str:
    """The proposal that a client would see for one row of `evaluate_engines.PREDICTIONS`."""
    text: str = prediction["answer"]
    if not refine:
        return text
    # An answer that ends before a special token came to its end, whatever was written behind it.
    finished = bool(prediction["finished"] or prediction["special_tokens"])
    return policy.proposal(text, prefix, suffix, finished=finished)


def _provenance(
    config: RunConfig, source: Path, log: Path, told: Answered, mark: str, command: str
) -> dict[str, Any]:
    serve = config.serve
    return {
        "log": {"folder": log.name, "fingerprint": input_fingerprint(log)},
        "input": {"folder": source.name, "fingerprint": input_fingerprint(source)},
        "models": {model.label: model.content for model in told.models},
        "window": {name: getattr(serve, name) for name in ("context_tokens", "suffix_share", "max_tokens")},
        "engine": f"{config.evaluate.engine}, {config.evaluate.dtype}, greedy",
        "settings": _settings(config),
        "config_fingerprint": mark,
        "code": __version__,
        "command": command,
    }


def _settings(config: RunConfig) -> dict[str, Any]:
    """What decides the figures beside models and data; paths do not."""
    names = {"arm", "acceptance", "refine", "folds", "ridge", "resamples", "seed"}
    return config.replay.model_dump(mode="json", include=names)


def _manifest(
    config: RunConfig, source: Path, mark: str, told: Answered, contexts: Manifest, began: float
) -> Manifest:
    return Manifest(
        stage=STAGE,
        fingerprint=mark,
        input=str(source),
        input_fingerprint=input_fingerprint(source),
        config=data.settings(config.replay),
        columns={},
        rows_in=contexts.rows_in,
        rows_out=told.samples.num_rows,
        drops=contexts.drops,
        seconds=round(time.monotonic() - began, 3),
        engine="one process",
        notes={"models": {model.label: model.content for model in told.models}},
    )
