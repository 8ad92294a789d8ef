"""From a log store to requests without texts, by user: the map half of counting a served experiment.

The store keeps sessions together, an experiment counts users. So each partition is mined (what the stream
shows of acceptance), stripped of its texts (`exposures.ROWS`, about a hundredth of the bytes) and spread over
buckets of users; a bucket then meets the events of its users, which the store keeps by user already. Memory:
one partition of the log, then one bucket.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from echo_ray import schema
from echo_ray.errors import SchemaError
from echo_ray.experiment.exposures import ROWS
from echo_ray.link_table import in_timeline, link_table
from echo_ray.log.partition import home
from echo_ray.manifest import read_manifest
from echo_ray.progress import bar
from echo_ray.scores.texts import sentinel_leak
from echo_ray.stages import keyed
from echo_ray.stages.mine import MineConfig, mine
from echo_ray.text import common_prefix

BUCKET_ROWS = 2_000_000
"""Requests of one bucket, about 150 bytes each in memory."""
MOST_BUCKETS = 256
"""Files that are written at once."""
_BROKEN = (pa.ArrowException, OSError)


def arms(log: Path, key: str) -> Counter[str]:
    """Requests by arm, `""` for none, of the store in `log`. Raises SchemaError for a damaged file."""
    found: Counter[str] = Counter()
    for path in parts(log):
        try:
            table = pq.read_table(path, columns=["arm"])
        except _BROKEN as error:
            raise SchemaError(_damaged(path, key, error)) from None
        for item in pc.value_counts(pc.fill_null(table["arm"], "").combine_chunks()).to_pylist():
            found[item["values"]] += item["counts"]
    return found


def parts(log: Path) -> list[Path]:
    """The partitions of a store, those that hold requests."""
    return sorted(log.glob("part-*.parquet"))


def homes(log: Path) -> int:
    """Partitions that the store in `log` was made with; a file may be missing since."""
    manifest = read_manifest(log)
    return int(manifest.notes.get("partitions") or 0) or len(parts(log)) if manifest else len(parts(log))


def spread(log: Path, folder: Path, key: str, bucket_rows: int = BUCKET_ROWS) -> int:
    """Write the requests of the store in `log`, without texts, to `bucket-*.parquet` in `folder`.

    Returns the number of buckets, of about `bucket_rows` each. Raises SchemaError, naming the setting `key`,
    for a damaged file.
    """
    paths = parts(log)
    folder.mkdir(parents=True, exist_ok=True)
    rows = 0
    for path in paths:
        try:
            rows += pq.read_metadata(path).num_rows
        except _BROKEN as error:
            raise SchemaError(_damaged(path, key, error)) from None
    buckets = min(MOST_BUCKETS, max(1, len(paths)), 1 + rows // bucket_rows)
    with ExitStack() as stack, bar("experiment: read", len(paths), "shards") as shown:
        writers = [
            stack.enter_context(
                pq.ParquetWriter(folder / f"bucket-{n:04d}.parquet", ROWS, compression="zstd")
            )
            for n in range(buckets)
        ]
        for path in paths:
            try:
                table = pq.read_table(path)
            except _BROKEN as error:
                raise SchemaError(_damaged(path, key, error)) from None
            narrow = rows_of(table)
            for number, group in _split(narrow, homes(log), buckets):
                writers[number].write_table(group)
            shown.update(1)
    return buckets


def bucket(log: Path, folder: Path, number: int, buckets: int, key: str) -> tuple[pa.Table, pa.Table]:
    """Requests without texts and events of the users of one bucket."""
    rows = pq.read_table(folder / f"bucket-{number:04d}.parquet")
    found = [schema.EVENT.empty_table()]
    for place in range(number, homes(log), buckets):
        path = log / "events" / f"part-{place:04d}.parquet"
        if path.is_file():
            try:
                found.append(pq.read_table(path).select(schema.EVENT.names).cast(schema.EVENT))
            except (*_BROKEN, KeyError) as error:
                raise SchemaError(_damaged(path, key, error)) from None
    return rows, pa.concat_tables(found)


def rows_of(table: pa.Table) -> pa.Table:
    """`exposures.ROWS` of whole sessions (`schema.LOGGED` or `REQUEST`), one for every request."""
    if "seq" not in table.column_names:
        table = link_table(table)
    mask = in_timeline(table)
    asked, others = table.filter(mask), table.filter(pc.invert(mask))
    samples = mine(asked, MineConfig())
    taken = pc.fill_null(samples["accepted_chars"], 0).to_numpy()
    written = keyed.keyed(asked, taken)
    columns = {
        "pause_ms": _milliseconds(keyed.pauses(asked)),
        "next_ms": _milliseconds(keyed.following(asked)),
        "taken_chars": pa.array(taken, pa.int64()),
        "whole": pa.array(written.whole),
        "kept_chars": _kept(samples, taken),
        "typed_chars": pa.array(written.typed_chars, pa.int64()),
        "pasted_chars": pa.array(written.pasted_chars, pa.int64()),
    }
    return pa.concat_tables([_narrow(asked, columns), _narrow(others, {})])


def _narrow(table: pa.Table, mined: Mapping[str, pa.Array]) -> pa.Table:
    proposal = table["proposal"]
    text = pc.fill_null(proposal, "")
    columns = {name: table[name] for name in ROWS.names if name in table.column_names}
    columns |= {
        "proposal_chars": pc.utf8_length(proposal),
        "blank": pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(text)), 0),
        "leak": _leaks(table, text),
        **mined,
    }
    size = table.num_rows
    arrays = [
        pa.nulls(size, field.type) if (found := columns.get(field.name)) is None else found.cast(field.type)
        for field in ROWS
    ]
    return pa.table(arrays, schema=ROWS)


def _leaks(table: pa.Table, text: pa.ChunkedArray) -> pa.Array:
    """Whether a proposal holds a special token of a model; only those with a bracket are looked at."""
    leaks = np.zeros(table.num_rows, np.bool_)
    for row in np.flatnonzero(pc.match_substring_regex(text, "[<\\[]").to_numpy()).tolist():
        prefix, suffix, language = (table[name][row].as_py() for name in ("prefix", "suffix", "language"))
        leaks[row] = sentinel_leak(text[row].as_py(), prefix, suffix, language or "plaintext")
    return pa.array(leaks)


def _kept(samples: pa.Table, taken: np.ndarray) -> pa.Array:
    """Characters of the gap's text at its end that were the row's own proposal's; null where nobody looked.

    What the miner counts as a model's may be a later proposal's in the same gap, so this is at most
    that and at most what was taken. Where the stream shows no acceptance (a client may know of one), what
    the gap's text and the proposal have in common from the cursor on.
    """
    kept = np.minimum(samples["model_chars"].to_numpy(), taken)
    proposals = samples["proposal"]
    look = (taken == 0) & pc.fill_null(pc.greater(pc.utf8_length(proposals), 0), False).to_numpy()
    look &= pc.greater(pc.utf8_length(samples["commit"]), 0).to_numpy()
    for row in np.flatnonzero(look).tolist():
        kept[row] = common_prefix(proposals[row].as_py(), samples["commit"][row].as_py())
    return pa.array(kept, pa.int64(), mask=pc.is_valid(samples["drop"]).to_numpy())


def _milliseconds(values: np.ndarray) -> pa.Array:
    missing = np.isnan(values)
    return pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing)


def _split(rows: pa.Table, count: int, buckets: int) -> Iterator[tuple[int, pa.Table]]:
    """Rows by the bucket of their user; events of a user lie in the store's partition of the same number."""
    if not rows.num_rows:
        return
    users = rows["user"].combine_chunks().dictionary_encode()
    homes = np.array([home(name, count) % buckets for name in users.dictionary.to_pylist()], np.int64)
    place = homes[users.indices.to_numpy()]
    for number in np.unique(place).tolist():
        yield number, rows.filter(pa.array(place == number))


def _damaged(path: Path, key: str, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{key}: {path} cannot be read ({reason}): import the log again, or leave that file out"
