"""The mixture, searched: Ray Tune over what `balance` weighs, against an offline metric (paper 4.5).

The paper adjusts its mixture "guided by unified metrics from both offline benchmarks and online A/B tests".
This is the offline half: every trial balances and packs the samples, fine-tunes for a few steps
(`search_trial`) and is measured on users who are held out, in their natural mixture. Mixtures are a Latin
hypercube over the ranges of `search`; the present mixture goes first and is tried with a second seed too:
what these two differ by is noise, and a gain below it is none. Trials are made by Ray Tune, so a search that
was killed goes on with those it lacks.

What the metric does not see: whether a person would have accepted, what a proposal at the wrong moment costs
(under-triggering and interruptions are only in the online test), longer training, other seeds than two, and
interactions with the learning rate. A loss on the natural mixture is a proper score, so it favours the
natural void share: on the office data (six mixtures, 30 steps of the base model) the winner had 4.7 times the
voids, its gain of 0.058 nats stood against a noise of 0.056, and its loss on code was the worst of all. Look
at `loss_code` and the silence figures beside the metric, and treat a mixture found here as a candidate for
`experiment`, not as a result.
"""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from echo_ray import __version__, data, models, rng, schema
from echo_ray.config import fingerprint
from echo_ray.data import Manifest
from echo_ray.errors import EchoError, SchemaError
from echo_ray.progress import Bar, bar
from echo_ray.stages import balance as balancing
from echo_ray.stages import conform, rows
from echo_ray.stages import pack as packing
from echo_ray.stages.counts import Counts
from jobs import search_trial
from jobs.search_config import SearchConfig
from jobs.search_mixtures import BETTER, mixture_file, points, summary
from jobs.settings import RunConfig

SCORE = "score"
"""What Ray Tune sees of the metric: greater is better, WORST for a mixture without one."""
WORST = -1e9


def search_mixture(config: RunConfig, source: Path, output: Path) -> Manifest:
    """Search for a mixture of the samples under `source`. Needs a running Ray.

    Raises SchemaError when there is nobody to train on or nobody to measure, StageError when all trials fail.
    """
    settings = config.search
    key = "search.model" if settings.model else "train.model"
    model = (settings.model or config.train.model or models.BASE).resolve()
    models.check(model, key)
    began = time.monotonic()
    before = data.input_fingerprint(source)
    train = config.train.updated(batch=settings.batch, input=None, output=None, model=None)
    identity: dict[str, Any] = {"balance": data.settings(config.balance), "pack": data.settings(config.pack)}
    identity |= {"train": data.settings(train), "model": models.version(model)}
    mark = fingerprint(
        {"stage": "search", "code": __version__, "config": data.settings(settings), "input": before}
        | identity
    )
    done = data.read_manifest(output)
    if done is not None and done.fingerprint == mark:
        return done
    data.claim(output)
    if (output / data.MARKER).read_text() != mark:
        shutil.rmtree(output)
    data.prepare(output, mark)
    folder = (output / "samples").resolve()
    pack = config.pack.updated(input=None, output=None, model=model)
    counts = split(source, folder, settings, config.balance, pack)
    job = {
        "folder": str(folder),
        "model": str(model),
        "balance": config.balance.model_dump(mode="json"),
        "pack": pack.model_dump(mode="json"),
        "train": train.model_dump(mode="json"),
        "counts": counts.model_dump(mode="json"),
        "steps": settings.steps,
        "threads": settings.threads,
        "gpu": settings.gpus > 0,
        "metric": settings.metric,
    }
    trials = tuned(points(settings, config.balance), job, settings, output.resolve() / "tune")
    found = summary(trials, settings.metric)
    _write(output / "search.json", json.dumps(found, indent=1) + "\n")
    _write(output / "mixture.yaml", mixture_file(found, config.balance))
    shutil.rmtree(folder)
    shutil.rmtree(output / "tune")
    measured = {name: found[name] for name in ("metric", "best", "present", "noise", "gain")}
    manifest = Manifest(
        stage="search",
        fingerprint=mark,
        input=str(source),
        input_fingerprint=before,
        config=data.settings(settings),
        columns={},
        rows_in=counts.non_void + counts.void.rows,
        rows_out=counts.non_void + counts.void.rows,
        drops={},
        seconds=round(time.monotonic() - began, 3),
        engine=_engine(),
        notes=measured | {"trials": len(trials), "model": models.version(model)},
    )
    data.write_manifest(output, manifest)
    return manifest


def split(
    source: Path,
    folder: Path,
    config: SearchConfig,
    balance: balancing.BalanceConfig,
    pack: packing.PackConfig,
) -> Counts:
    """Write `train.parquet` (samples) and `heldout.parquet` (packed) into `folder`; counts of all that may be
    trained on. One shard at a time is in memory, beside the ids and draws of all rows.
    """
    paths = [Path(path) for unit in data.units_of(source) for path in unit.paths]
    counts = Counts()
    kept: dict[bool, list[tuple[float, str]]] = {False: [], True: []}
    for path in paths:
        table = _usable(path, config)
        train = table.filter(pc.invert(table["measured"]))
        counts += balancing.histogram(train.drop_columns(["measured"]), balance)
        for sample_id, measured in rows(table, ("sample_id", "measured")):
            kept[measured].append((rng.unit(config.seed, "search rows", sample_id), sample_id))
    for measured, what in ((False, "train on"), (True, "measure")):
        if not kept[measured]:
            raise SchemaError(
                f"search.input={source} leaves nobody to {what}: of its samples without a drop "
                f"{len(kept[False])} are of users to train on and {len(kept[True])} of users held out; "
                "change search.heldout_share or search.seed"
            )
    most = {False: config.rows, True: config.heldout_rows}
    chosen = {part: {i for _, i in sorted(draws)[: most[part]]} for part, draws in kept.items()}
    tables: dict[bool, list[pa.Table]] = {False: [], True: []}
    for path in paths:
        table = _usable(path, config)
        for part, wanted in chosen.items():
            here = [i in wanted and m == part for i, m in rows(table, ("sample_id", "measured"))]
            tables[part].append(table.filter(pa.array(here, pa.bool_())).drop_columns(["measured"]))
    folder.mkdir(parents=True, exist_ok=True)
    data.write_table(pa.concat_tables(tables[False]), folder / "train.parquet")
    heldout = pa.concat_tables(tables[True])
    once = heldout.append_column("copies", pa.array([1] * heldout.num_rows, pa.int32()))
    packed = packing.pack(once, pack)
    if not search_trial.as_rows(packed):
        raise SchemaError("search: no held-out sample fits pack.cutoff_len")
    data.write_table(packed, folder / "heldout.parquet")
    return counts


def tuned(
    mixtures: list[dict[str, Any]], job: dict[str, Any], config: SearchConfig, folder: Path
) -> list[dict[str, Any]]:
    """Metrics or the error of every mixture, in their order, by Ray Tune with its state in `folder`."""
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # their files would say nothing new
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # which prints a table whatever it is told
    from ray import tune

    trainable = tune.with_resources(
        tune.with_parameters(_trial, job=job),
        {"cpu": config.cpus} | ({"gpu": config.gpus} if config.gpus else {}),
    )
    space = {"mixture": tune.grid_search(mixtures)}
    with bar("search", len(mixtures), "trials") as shown:
        if tune.Tuner.can_restore(str(folder)):
            tuner = tune.Tuner.restore(str(folder), trainable, restart_errored=True, param_space=space)
        else:
            tuner = tune.Tuner(
                trainable,
                param_space=space,
                tune_config=tune.TuneConfig(
                    metric=SCORE,
                    mode="max",
                    max_concurrent_trials=config.concurrent,
                    reuse_actors=True,  # importing torch takes longer than a small trial
                ),
                run_config=tune.RunConfig(
                    name=folder.name,
                    storage_path=str(folder.parent),
                    failure_config=tune.FailureConfig(
                        max_failures=1
                    ),  # a worker that died, not a bad mixture
                    callbacks=[_progress(shown)],
                    verbose=0,
                ),
            )
        results = tuner.fit()
    trials = []
    for result in results:
        error = None if result.error is None else _cause(result.error)
        measured = dict((result.metrics or {}).get("measured", {})) if error is None else {}
        trials.append({**(result.config or {})["mixture"], "error": error} | measured)
    return sorted(trials, key=lambda trial: int(trial["number"]))


def _trial(config: dict[str, Any], job: dict[str, Any]) -> None:
    """What Ray Tune runs: one mixture, one report (each costs the driver's next look)."""
    from ray import tune

    mixture = config["mixture"]
    try:
        measured = search_trial.run(mixture, job)
    except EchoError as error:  # a mixture that does not train is a result; trying it again changes nothing
        tune.report({SCORE: WORST, "measured": {"error": str(error)}})
        return
    value = measured[job["metric"]]
    score = WORST if value is None else value if BETTER[job["metric"]] == "max" else -value
    tune.report({SCORE: score, "measured": measured})


def _usable(path: Path, config: SearchConfig) -> pa.Table:
    """Rows of one file without a `drop`, with a column that says whose are only measured."""
    table = conform(pq.read_table(path), schema.SCORED, search_trial.NEEDED, "search")
    table = table.filter(pc.is_null(table["drop"]))
    measured = [
        rng.unit(config.seed, "search users", user or "") < config.heldout_share
        for user in table["user"].to_pylist()
    ]
    return table.append_column("measured", pa.array(measured, pa.bool_()))


def _progress(shown: Bar) -> Any:
    """A callback that moves the bar; Ray Tune stores callbacks, a bar cannot be stored."""
    from ray import tune

    class Progress(tune.Callback):  # type: ignore[misc]
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            shown.update(1)

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            shown.update(1)

        def __reduce__(self) -> tuple[Any, tuple[()]]:
            return tune.Callback, ()

    return Progress()


def _cause(error: BaseException) -> str:
    """The last line of a worker's traceback; its type is lost on the way."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1]


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _engine() -> str:
    import ray

    return f"ray.tune {ray.__version__}"
