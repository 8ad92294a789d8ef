"""Selection: which verified samples may be trained on at all (paper 6.4; 4.5 leaves repetition open).

Six rules, each with its own reason, in this order; a row gets the first that holds:

1. `select_holdout`: users who are never trained on, by name or by keyed hash.
2. `select_confidence`: the miner is less sure of the commit than asked for; null passes.
3. `select_model_chars`: most of what was written in the gap came from a model. A model that learns from
   itself narrows from round to round; what a person kept of a proposal already stands in the rest.
   `select_pasted`: most of it was pasted (off by default).
4. `select_gap`: at most `per_gap` samples of one gap. Keystroke requests while somebody types give nested
   samples that end in the same document; `gap` is a short hash of (user, session, file, end of prefix +
   target, start of suffix), so that they share it. Which stay is a keyed draw; voids are counted apart,
   since silence at the end of a statement is another lesson than the statement.
5. `select_user`: nobody has more than `max_user_factor` times the median user's samples; which stay is a
   keyed draw, voids apart again. Below `user_floor` samples nobody is cut.
6. `select_duplicate`: near-duplicate gaps within a session and across users (`duplicates`); `twin` names the
   sample that stays. Last, so that a twin always stays and no lesson is lost with a loud user's cut.

Rules 4 to 6 need all rows: `facts` makes about 200 bytes per row in the workers, `selection.decide` on the
driver turns all of them into decisions, `select` applies them; texts never come along. Measured: 1 million
rows took the driver 26 s and 0.9 KB each, 200,000 rows in ten copies of near duplicates 10 s; facts take 52
microseconds per row. Draws are keyed by the sample id, so sharding, batch and order change nothing.

Evidence for the defaults: 28,975 samples of 100 simulated developers ("office"), 20,173 of them after
`verify`, 13,026 of these not void; figures stand at the settings. On small logs the floor and the median keep
the caps from biting; nothing here depends on the size of a log. A null user is nobody's: never cut or held
out.

Not covered: licences, forks of one file under two names (their surroundings decide), quality of a user.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from echo_ray import rng, schema
from echo_ray.config import Config
from echo_ray.errors import SchemaError
from echo_ray.schema import Confidence, Drop
from echo_ray.stages import conform, duplicates, extend, rows

NEEDED = ("sample_id", "prefix", "suffix", "target")
"""Columns without which nothing can be selected; others may be missing."""
END_CHARS, START_CHARS = 400, 200
"""Characters on either side that make a gap, of prefix + target and of the suffix."""


class SelectConfig(Config):
    """Settings of `select`."""

    input: Path | None = None
    """Folder of verified samples."""
    output: Path | None = None
    """Folder for the selected samples."""
    seed: int = 0
    """Seed of the keyed draws."""
    holdout_users: tuple[str, ...] = ()
    """Users who are never trained on."""
    holdout_share: float = Field(0.0, ge=0, lt=1)
    """Share of the users, by keyed hash of their name, who are never trained on."""
    confidence: tuple[Confidence, ...] = Field(tuple(Confidence), min_length=1)
    """How sure the miner must be. All, because logs of uncancelled requests are `inferred` nearly throughout
    (98.5% of the office log)."""
    max_model_share: float = Field(0.5, ge=0, le=1)
    """Most of a gap's characters (typed, accepted, pasted) that may be a model's. Of the office log 5% have
    more than half, 2% nothing else."""
    max_pasted_share: float = Field(1.0, ge=0, le=1)
    """Most of them that may be pasted, else `select_pasted`. Off: the perplexity of
    `balance` finds the pasted blocks that surprise."""
    per_gap: int = Field(3, ge=1)
    """Samples of one gap at most (count). Of the office's 5,891 gaps with code 17% have more, up to 20; the
    limit takes 18% of the samples with code."""
    duplicates: bool = True
    """Refuse near duplicates."""
    similarity: float = Field(0.8, gt=0.5, le=1)
    """Jaccard similarity from which two samples are near duplicates. 0.8 refuses 7% of the office (half of
    them equal but for white space, 4 of 10 another user's), 0.7 10%, 0.9 5%."""
    max_user_factor: float = Field(3.0, ge=1)
    """Most samples of a user, in units of the median user's. 3 cuts 2% of the office, where the loudest
    tenth of the users then has 23% of the samples; 2 cuts 6% (19%)."""
    user_floor: int = Field(100, ge=1)
    """Nobody is cut below this many samples (count)."""


FACTS = pa.schema(
    [
        ("sample_id", pa.string()),
        ("user", pa.string()),
        ("session", pa.uint64()),
        ("ts_ms", pa.int64()),
        ("drop", pa.string()),
        ("void", pa.bool_()),
        ("gap", pa.uint64()),
        ("draw", pa.float64()),
        ("exact", pa.uint64()),
        ("marks", pa.binary(duplicates.SIGNATURE_BYTES)),
    ]
)
"""What the driver needs of a row: about 200 bytes and the sample id. `drop` is the reason of rules 1 to 3,
null when there is none. Rows that came with a `drop` have no facts."""


def gap_of(user: str | None, session: str | None, file: str | None, text: str, suffix: str) -> int:
    """64-bit hash that samples share which end in the same document; `text` is prefix + target."""
    names = (name or "" for name in (user, session, file))
    return rng.digest(*names, text[-END_CHARS:], suffix[:START_CHARS])


def held_out(user: str | None, config: SelectConfig) -> bool:
    """Whether `user` is never trained on."""
    if user is None:
        return False
    return user in config.holdout_users or rng.unit(config.seed, "holdout", user) < config.holdout_share


def written_by(human: int | None, model: int | None, pasted: int | None) -> tuple[float, float]:
    """(share of a model, share pasted) of the characters of a gap; zeros when nobody knows."""
    total = (human or 0) + (model or 0) + (pasted or 0)
    return ((model or 0) / total, (pasted or 0) / total) if total > 0 else (0.0, 0.0)


def facts(table: pa.Table, config: SelectConfig) -> pa.Table:
    """FACTS of the rows of one shard that have no `drop`."""
    table = conform(table, schema.VERIFIED, NEEDED, "select")
    names = ("sample_id", "user", "session", "file", "ts_ms", "drop", "prefix", "target", "suffix")
    more = ("confidence", "human_chars", "model_chars", "pasted_chars")
    found: list[tuple[Any, ...]] = []
    places: list[duplicates.Place] = []
    for row in rows(table, names + more):
        sample_id, user, session, file, ts_ms, drop, prefix, target, suffix, confidence, *chars = row
        if drop is not None:
            continue
        _complete(sample_id, prefix, target, suffix)
        text = prefix[-END_CHARS:] + target
        where = duplicates.place(prefix, target, suffix)
        places.append(where)
        found.append(
            (
                sample_id,
                user,
                rng.digest(user or "", session or ""),
                ts_ms or 0,
                _alone(user, target, confidence, chars, config),
                not target,
                gap_of(user, session, file, text, suffix),
                rng.unit(config.seed, sample_id, "select"),
                duplicates.exact(where),
            )
        )
    marks = duplicates.signatures(places)
    columns = [list(column) for column in zip(*found, strict=True)] or [[] for _ in FACTS.names[:-1]]
    columns.append([line.tobytes() for line in marks])
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, FACTS, strict=True)], schema=FACTS)


class Applied(SelectConfig):
    """What `select` needs in a worker: the settings and where the decisions are."""

    decisions: Path = Field(exclude=True)
    """Parquet file of `selection.DECISIONS`, named by its content. No part of a run's identity, which its
    input and its settings make up."""


def select(table: pa.Table, config: Applied) -> pa.Table:
    """VERIFIED rows to SELECTED rows, with what was decided."""
    table = conform(table, schema.VERIFIED, NEEDED, "select")
    decided = _decisions(str(config.decisions))
    # One hash table of the decisions for each shard; as Python objects they would take ten times the memory.
    at = pc.index_in(table.column("sample_id"), value_set=decided.column("sample_id"))
    new_drops, new_twins = (decided.column(name).take(at).to_pylist() for name in ("drop", "twin"))
    drops: list[str | None] = table.column("drop").to_pylist()
    gaps: list[str | None] = [None] * len(drops)
    twins: list[str | None] = [None] * len(drops)
    names = ("user", "session", "file", "prefix", "target", "suffix")
    for row, (user, session, file, prefix, target, suffix) in enumerate(rows(table, names)):
        if target is not None and prefix is not None and suffix is not None:
            gaps[row] = f"{gap_of(user, session, file, prefix[-END_CHARS:] + target, suffix):016x}"
        if drops[row] is None:
            drops[row], twins[row] = new_drops[row], new_twins[row]
    return extend(table, schema.SELECTED, {"drop": drops, "gap": gaps, "twin": twins})


@lru_cache(maxsize=1)
def _decisions(path: str) -> pa.Table:
    return pq.read_table(path).combine_chunks()


def _alone(
    user: str | None, target: str, confidence: str | None, chars: list[int | None], config: SelectConfig
) -> str | None:
    """The first of rules 1 to 3 that holds."""
    if held_out(user, config):
        return Drop.SELECT_HOLDOUT.value
    if confidence is not None and confidence not in config.confidence:
        return Drop.SELECT_CONFIDENCE.value
    model, pasted = written_by(*chars)
    if target and model > config.max_model_share:
        return Drop.SELECT_MODEL_CHARS.value
    if target and pasted > config.max_pasted_share:
        return Drop.SELECT_PASTED.value
    return None


def _complete(sample_id: str | None, *texts: str | None) -> None:
    if sample_id is None or any(text is None for text in texts):
        raise SchemaError(
            f"select: sample {sample_id!r} has no drop and lacks its id, prefix, suffix or target: "
            "distil and verify it first"
        )
