"""The log store: how small, and how fast a log becomes Arrow. The layouts tried are in `store.write`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow.parquet as pq

from echo_ray import schema
from echo_ray.log import reader, store
from tests.benchmarks import mining
from tests.benchmarks.figure import Figure, in_turn

USERS, REQUESTS = 200, 100


def figures() -> Iterator[Figure]:
    """Bytes, and the way from JSON Lines to the store on one core, of many short interleaved sessions."""
    rows = USERS * REQUESTS
    with tempfile.TemporaryDirectory() as name:
        made = mining.stored(Path(name), USERS, REQUESTS)
        log, size = Path(name, "raw", "log-000.jsonl"), made.path.stat().st_size
        pieces = [piece.requests for piece in reader.batches(log)]
        assert rows == sum(piece.num_rows for piece in pieces) == pq.read_metadata(made.path).num_rows
        store.write(Path(name, "arrival.parquet"), pieces, schema.REQUEST)
        store.write(
            Path(name, "plain.parquet"),
            [pq.read_table(made.path, columns=schema.REQUEST.names)],
            schema.REQUEST,
        )
        arrival, plain = (Path(name, f"{what}.parquet").stat().st_size for what in ("arrival", "plain"))
        yield Figure("raw JSONL bytes over the store's, links included", made.raw_bytes / size, least=30)
        yield Figure("  raw JSONL, bytes per request", made.raw_bytes / rows)
        yield Figure("  store, bytes per request", size / rows)
        yield Figure("  store without links, bytes per request", plain / rows)
        yield Figure(
            "  bytes of Parquet in order of arrival over the store's without links", arrival / plain, least=5
        )

        def parse() -> None:
            with log.open("rb", buffering=1 << 18) as file:
                for line in file:
                    orjson.loads(line)

        def ingest() -> None:
            assert rows == sum(piece.requests.num_rows for piece in reader.batches(log))

        parsing, ingesting = in_turn(parse, ingest, repeats=5)
        yield Figure("log reader, speed over bare orjson.loads", parsing / ingesting, least=0.6)
        yield Figure("  import on one core without Ray, requests/s", rows / (made.scatter_s + made.gather_s))
        yield Figure("  of it sort, link and write, us per request", made.gather_s / rows * 1e6)
