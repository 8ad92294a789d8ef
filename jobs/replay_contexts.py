"""From a log and the samples mined from it to the contexts of a replay: what was proposed, what became of it,
what finally stood there.

`OUTPUT/contexts` has a row for every sample that the control answered and whose truth is known;
`OUTPUT/users` the counts of every user of the control in the whole log, also where no sample is left.
Nothing disappears: every sample is a context or counted under a reason. The truth is the raw commit at every
stage, because what a later stage refuses to train on was seen and judged all the same.

Memory: a row without text for every request of the log, and one file of samples.
"""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from echo_ray import __version__, data
from echo_ray.config import fingerprint
from echo_ray.data import Manifest
from echo_ray.errors import ConfigError, EchoError
from echo_ray.experiment.tally import Acceptance
from echo_ray.log import partition
from echo_ray.replay.outcomes import OUTCOMES, outcomes
from echo_ray.schema import Drop
from jobs import experiment_rows
from jobs.experiment_log import import_log
from jobs.replay_config import ReplayConfig
from jobs.settings import RunConfig
from jobs.stages import warn

KEY = "replay.log"
NEEDED = ("sample_id", "request_id", "user", "session", "prefix", "suffix", "proposal", "commit")
CONTEXTS = pa.schema(
    [
        ("sample_id", pa.string()),
        ("user", pa.string()),
        ("language", pa.string()),
        ("prefix", pa.large_string()),
        ("suffix", pa.large_string()),
        ("target", pa.large_string()),
        ("request_id", pa.string()),
        ("proposal", pa.large_string()),
        ("text", pa.bool_()),
        ("shown", pa.bool_()),
        ("accepted", pa.bool_()),
        ("accepted_chars", pa.int64()),
        ("proposal_chars", pa.int64()),
    ]
)
"""`target` is the raw commit; the last five are of `outcomes.OUTCOMES`."""
USERS = pa.schema(
    [
        ("user", pa.string()),
        *((name, pa.int64()) for name in ("text", "shown", "accepted", "accepted_chars", "typed_chars")),
    ]
)
"""Sums over all requests of a user in the control arm."""
_KEYS = ["user", "session", "request_id"]
_TOLD = ("answered", "text", "shown", "accepted", "accepted_chars", "proposal_chars")


def gather(
    config: RunConfig, source: Path, log: Path, output: Path, lists: str, trained: Callable[[str], bool]
) -> Manifest:
    """Write both folders below `output`; the manifest of the contexts. What is done is not done again.

    `trained` says whether one of the models was trained on a user; `lists` identifies what it rests on.
    Raises ConfigError or SchemaError, naming the key to change, for a log or samples that cannot be replayed.
    """
    section = config.replay
    data.check_columns(source, NEEDED, "replay.input")
    places = {name: output / name for name in ("contexts", "users")}
    settings = {
        **section.model_dump(mode="json", include={"arm", "acceptance"}),
        "trained_users": config.evaluate.trained_users,
    }
    before = data.input_fingerprint(source)
    identity = {"stage": "replay contexts", "code": __version__, "config": settings, "input": before}
    identity |= {"log": data.input_fingerprint(log), "trained": lists}
    mark = fingerprint(identity)
    done = {name: data.read_manifest(place) for name, place in places.items()}
    if done["contexts"] is not None and all(one and one.fingerprint == mark for one in done.values()):
        return done["contexts"]
    fresh = not output.exists()
    data.claim(output)
    try:
        told = _outcomes(config, log, output)
        told, seen = _of_control(told, section)
        asked = pc.unique(told["user"]).to_pylist()
        apart = set() if config.evaluate.trained_users else {user for user in asked if trained(user)}
        if len(asked) == len(apart):
            raise ConfigError(
                f"{KEY}: the models were trained on all {len(asked):,} users of the log: take the log of "
                "other users, or keep these with evaluate.trained_users=true"
            )
        notes: dict[str, Any] = {"models": dict(seen.most_common())}
        manifest = _write_contexts(source, told, apart, places["contexts"], mark, settings, before, notes)
        _write_users(told, apart, places["users"], mark, settings, before, str(source))
    except EchoError:
        if fresh:
            shutil.rmtree(output)
        raise
    data.write_manifest(places["contexts"], manifest)
    return manifest


def _outcomes(config: RunConfig, log: Path, output: Path) -> pa.Table:
    """`OUTCOMES` of the whole log."""
    held, work = output / ".log", output / ".rows"
    try:
        if not partition.is_partitioned(log):
            warn(import_log(config, log, held, KEY), output)
            log = held
        buckets = experiment_rows.spread(log, work, KEY)
        found = [OUTCOMES.empty_table()]
        for number in range(buckets):
            rows, events = experiment_rows.bucket(log, work, number, buckets, KEY)
            found.append(outcomes(rows, events, config.replay.acceptance))
        return pa.concat_tables(found)
    finally:
        # A copy of the log that nobody knows of would outlive the erasure of a person.
        shutil.rmtree(held, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)


def _of_control(told: pa.Table, section: ReplayConfig) -> tuple[pa.Table, Counter[str]]:
    """(rows of the control arm, its answers by model version)."""
    arms: Counter[str] = Counter(
        {one["values"]: one["counts"] for one in pc.value_counts(told["arm"]).to_pylist()}
    )
    named = ", ".join(f"{name or '(none)'} ({count:,} requests)" for name, count in arms.most_common())
    if section.arm is None and len(arms) > 1:
        raise ConfigError(
            f"{KEY}={section.log} has several arms, {named}: say with replay.arm which is served"
        )
    if section.arm is not None:
        if section.arm not in arms:
            raise ConfigError(
                f"replay.arm={section.arm} is no arm of the log: its arms are {named or 'none'}"
            )
        told = told.filter(pc.equal(told["arm"], section.arm))
    if not pc.any(told["accepted"]).as_py():
        raise ConfigError(_nothing_accepted(told, section))
    answers = told.filter(told["answered"])["model"]
    return told, Counter({one["values"]: one["counts"] for one in pc.value_counts(answers).to_pylist()})


def _nothing_accepted(told: pa.Table, section: ReplayConfig) -> str:
    if section.acceptance is Acceptance.EVENTS:
        return (
            f"replay.acceptance=events, but no event in {section.log} says that a proposal was accepted: set "
            "replay.acceptance=stream"
        )
    if not pc.any(told["following"]).as_py():
        return (
            f"{KEY}={section.log} has no events of acceptances, and no session with two requests to tell "
            "them from: let the clients report events, or name a log that holds whole sessions"
        )
    return f"{KEY}={section.log} shows no accepted proposal, so nothing can be learned from it: name another"


def _write_contexts(
    source: Path,
    told: pa.Table,
    apart: set[str],
    folder: Path,
    mark: str,
    settings: dict[str, Any],
    before: str,
    notes: dict[str, Any],
) -> Manifest:
    """The shards of contexts, and their manifest, not yet written."""
    data.prepare(folder, mark)
    there = told.select([*_KEYS, *_TOLD])
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    rows_in = rows_out = 0
    for unit in data.units_of(source):
        table = pa.concat_tables([_read(Path(path)) for path in unit.paths])
        reason, joined = _reasons(table, there, apart, seen)
        keep = np.array([one is None for one in reason], dtype=np.bool_)
        left_out.update(one for one in reason if one is not None)
        contexts = _contexts(table, joined).filter(pa.array(keep))
        rows_in, rows_out = rows_in + table.num_rows, rows_out + contexts.num_rows
        data.write_table(contexts, folder / f"{unit.name}.parquet")
    if not rows_out:
        reasons = ", ".join(f"{count:,} {name}" for name, count in left_out.most_common(5))
        raise ConfigError(
            f"replay.input={source}: no sample of {rows_in:,} is a context ({reasons or 'no rows'}): name "
            f"samples that were mined from {KEY}"
        )
    return Manifest(
        stage="replay contexts",
        fingerprint=mark,
        input=str(source),
        input_fingerprint=before,
        config=settings,
        columns={column.name: str(column.type) for column in CONTEXTS},
        rows_in=rows_in,
        rows_out=rows_out,
        drops=dict(sorted(left_out.items())),
        seconds=0.0,
        engine="one process",
        notes=notes,
    )


def _read(path: Path) -> pa.Table:
    there = pq.read_schema(path).names
    wanted = [name for name in (*NEEDED, "language", "drop") if name in there]
    table = pq.read_table(path, columns=wanted)
    for name in ("language", "drop"):
        if name not in there:
            table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
    return table


def _reasons(
    table: pa.Table, there: pa.Table, apart: set[str], seen: set[str]
) -> tuple[list[str | None], pa.Table]:
    """(why a sample is no context, what the log tells of every sample)."""
    keys = table.select(_KEYS).append_column("row", pa.array(np.arange(table.num_rows)))
    keys = pa.table([keys[name].cast(pa.string()) for name in _KEYS] + [keys["row"]], [*_KEYS, "row"])
    joined = keys.join(there, keys=_KEYS, join_type="left outer").sort_by("row")
    columns = (table[name].to_pylist() for name in ("sample_id", "user", "drop"))
    # Texts are looked at where they lie; only whether they are there is needed.
    known = [pc.is_valid(table[name]).to_pylist() for name in ("prefix", "suffix", "commit")]
    answered = joined["answered"].to_pylist()
    found: list[str | None] = []
    for row, (sample, user, drop) in enumerate(zip(*columns, strict=True)):
        reason = None
        if sample in seen:
            reason = "duplicate"
        elif drop == Drop.UNOBSERVED or not all(column[row] for column in known):
            reason = Drop.UNOBSERVED.value
        elif answered[row] is None:
            reason = "not_of_the_control"
        elif not answered[row]:
            reason = "not_answered"
        elif user in apart:
            reason = "trained_user"
        seen.add(sample)
        found.append(reason)
    return found, joined


def _contexts(table: pa.Table, joined: pa.Table) -> pa.Table:
    columns = {
        **{name: table[name] for name in ("sample_id", "user", "prefix", "suffix", "request_id", "proposal")},
        "language": pc.fill_null(table["language"].cast(pa.string()), "plaintext"),
        "target": table["commit"],
        **{name: joined[name] for name in _TOLD if name in CONTEXTS.names},
    }
    return pa.table(
        [columns[field.name].cast(field.type) for field in CONTEXTS],
        schema=CONTEXTS,
    )


def _write_users(
    told: pa.Table,
    apart: set[str],
    folder: Path,
    mark: str,
    settings: dict[str, Any],
    before: str,
    source: str,
) -> None:
    data.prepare(folder, mark)
    kept = told.filter(pc.invert(pc.is_in(told["user"], pa.array(sorted(apart), pa.string()))))
    names = USERS.names[1:]
    numbers = pa.table([kept["user"], *(kept[name].cast(pa.int64()) for name in names)], USERS.names)
    sums = numbers.group_by("user", use_threads=False).aggregate([(name, "sum") for name in names])
    table = pa.table([sums["user"], *(sums[f"{name}_sum"] for name in names)], schema=USERS).sort_by("user")
    data.write_table(table, folder / "part-00000.parquet")
    manifest = Manifest(
        stage="replay users",
        fingerprint=mark,
        input=source,
        input_fingerprint=before,
        config=settings,
        columns={column.name: str(column.type) for column in USERS},
        rows_in=told.num_rows,
        rows_out=table.num_rows,
        drops={},
        seconds=0.0,
        engine="one process",
    )
    data.write_manifest(folder, manifest)
