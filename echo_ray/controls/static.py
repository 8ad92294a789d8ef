"""Static fine-tuning: fill-in-the-middle cuts of finished source files, which know nothing of anybody's work.

Two arms are made of it. M0 cuts other files (the paper's baseline, "purely static human data"). M0' cuts the
very documents that the experience came from, in their last logged state: if an experienced model does not
beat that, the gain is knowledge of the code base and not of what users did (the most important control).

The cut is that of pretraining (`pretrain.corpus.gap`): cursors where developers have them, ends where
completions end, voids included. A weak cut would make a weak control. Token-matching to another arm is
`sizes.matched`, so ask for more cuts than are needed.
"""

from bisect import bisect_right
from collections import Counter
from itertools import accumulate

import pyarrow as pa
from pydantic import Field

from echo_ray import rng, schema
from echo_ray.config import Config
from echo_ray.controls import Controlled
from echo_ray.errors import SchemaError
from echo_ray.pretrain.corpus import gap
from echo_ray.stages import conform, rows

FILES = pa.schema(
    [
        ("key", pa.string()),
        ("user", pa.string()),
        ("file", pa.string()),
        ("language", pa.string()),
        ("text", pa.large_string()),
        ("weight", pa.int64()),
    ]
)
"""Source files. `key` is unique; cuts fall into a file in proportion to its `weight`; null: its length."""

_TRIES = 3
"""Draws for one cut; a place that was cut already is not cut again."""


class StaticConfig(Config):
    """Settings of `cut_files`."""

    cuts: int = Field(20_000, ge=1)
    """Cuts wanted (count)."""
    seed: int = 0
    """Seed of the keyed draws."""


def documents(table: pa.Table) -> Controlled:
    """FILES: of every (user, file) the last state that a request of `table` (`schema.SAMPLE`, the whole data
    set) shows, weighted by the number of its requests, so that static cuts fall where work was.

    A window that does not reach both ends of its document is what is known of it (`incomplete`). Documents
    without any text are left out. Raises SchemaError for a missing column.
    """
    needed = ("sample_id", "user", "file", "ts_ms", "prefix", "suffix")
    table = conform(table, schema.SAMPLE, needed, "documents")
    names = ("user", "file", "ts_ms", "sample_id", "language", "prefix_complete", "suffix_complete")
    last: dict[tuple[str, str], tuple[int, str, int, str, bool]] = {}
    weight: Counter[tuple[str, str]] = Counter()
    for row, (user, file, ts_ms, sample_id, language, from_start, to_end) in enumerate(rows(table, names)):
        where = user or "", file or ""
        weight[where] += 1
        state = (ts_ms or 0, sample_id, row, language, from_start is not False and to_end is not False)
        if where not in last or state[:2] > last[where][:2]:
            last[where] = state
    chosen = sorted(last.items())
    texts = table.take(pa.array([state[2] for _, state in chosen], pa.int64()))
    found: list[tuple[object, ...]] = []
    counts: Counter[str] = Counter(requests=table.num_rows, documents=0, incomplete=0, empty=0)
    for ((user, file), state), (prefix, suffix) in zip(
        chosen, rows(texts, ("prefix", "suffix")), strict=True
    ):
        text = (prefix or "") + (suffix or "")
        if not text.strip():
            counts["empty"] += 1
            continue
        counts["documents"] += 1
        counts["incomplete"] += not state[4]
        key = f"{rng.digest(user, file):016x}"
        found.append((key, user, file, state[3], text, weight[user, file]))
    return Controlled(_table(found, FILES), dict(counts))


def cut_files(files: pa.Table, config: StaticConfig) -> Controlled:
    """`schema.BALANCED` rows, one copy each: cuts of FILES. The same place is never cut twice, so a small set
    of files may give fewer than asked for (`cuts` counts them).

    Raises SchemaError for a missing column, two files with one key, and when there is no text to cut.
    """
    files = conform(files, FILES, ("key", "text"), "static")
    known = sorted(
        (key, user, file, language, text, weight if weight is not None else len(text))
        for key, user, file, language, text, weight in rows(files, FILES.names)
        if text and text.strip()
    )
    if len({item[0] for item in known}) < len(known):
        raise SchemaError("static: two files have the same key")
    edges = list(accumulate(item[5] for item in known))
    if not edges or not edges[-1]:
        raise SchemaError("static: there is no file with text to cut")
    seen: set[tuple[str, int, int]] = set()
    found = []
    voids = 0
    for number in range(config.cuts):
        for attempt in range(_TRIES):
            draw = rng.unit(config.seed, "static file", number, attempt)
            key, user, file, language, text, _ = known[bisect_right(edges, draw * edges[-1])]
            start, stop = gap(text, rng.generator(config.seed, "static cut", key, number, attempt))
            target = text[start:stop].rstrip()
            if (key, start, len(target)) not in seen:
                break
        else:
            continue
        seen.add((key, start, len(target)))
        sample_id = f"static-{rng.digest(key, start, len(target)):016x}"
        voids += not target
        found.append((sample_id, user, file, language, text[:start], text[start + len(target) :], target))
    names = ("sample_id", "user", "file", "language", "prefix", "suffix", "target")
    columns = dict(zip(names, zip(*found, strict=True), strict=True))
    columns |= {"request_id": columns["sample_id"], "commit": columns["target"]}
    columns |= {"copies": (1,) * len(found), "cut_by": ("static",) * len(found)}
    columns |= {name: (True,) * len(found) for name in ("prefix_complete", "suffix_complete")}
    nothing = (None,) * len(found)
    table = pa.table(
        [pa.array(columns.get(field.name, nothing), field.type) for field in schema.BALANCED], schema.BALANCED
    )
    return Controlled(table, {"files": len(known), "cuts": len(found), "voids": voids})


def _table(found: list[tuple[object, ...]], wanted: pa.Schema) -> pa.Table:
    columns = list(zip(*found, strict=True)) or [()] * len(wanted)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, wanted, strict=True)], schema=wanted)
