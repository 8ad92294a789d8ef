"""Distil and verify without a language model against tree-sitter's bare parse of the same bytes, one core."""

import random
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa
import tree_sitter_language_pack

from echo_ray import schema, syntax
from echo_ray.stages.distil import DistilConfig, distil
from echo_ray.stages.verify import VerifyConfig, verify
from tests.benchmarks.figure import Figure, in_turn
from tests.test_cuts import LANGUAGES, sources

SAMPLES = 150
"""Samples of each language."""
BEFORE, AFTER = 3_500, 2_500
"""Characters of the context on each side: 6 KB together."""
REPEATS = 9

_ENDS = {".tsx": "typescriptreact", ".c": "c"}
_DISTIL, _VERIFY = DistilConfig(), VerifyConfig()


def samples(language: str) -> pa.Table:
    """Lines of real files as they are written, half of them begun, in contexts of 6 KB.

    A commit is one to eight lines, as in mined streams.
    """
    identity = {"user": "u", "session": "s", "file": "f", "ts_ms": 1, "end_ts_ms": 2, "snapshots": 1}
    draw = random.Random(f"refinery {language}")
    rows: list[dict[str, Any]] = []
    for path, text in sources(language, draw):
        lines = [line.start() for line in re.finditer(r"^[ \t]*[^\s\W]", text, re.MULTILINE)]
        inside = [start for start in lines if start >= BEFORE and len(text) - start > AFTER + 400]
        if not inside or len(rows) == SAMPLES:
            continue
        begin = draw.choice(inside)
        stop = begin
        for _ in range(draw.choice((1, 1, 1, 2, 3, 5, 8))):
            stop = text.index("\n", stop + 1)
        indent = len(text[begin:stop]) - len(text[begin:stop].lstrip())
        begin += indent
        begin += draw.choice((0, draw.randrange(max(1, text.index("\n", begin) - begin))))
        name = next((known for end, known in _ENDS.items() if path.endswith(end)), language)
        context = {"prefix": text[begin - BEFORE : begin], "suffix": text[stop : stop + AFTER]}
        key = f"{language} {len(rows)}"
        named = {"sample_id": key, "request_id": key, "language": name, "commit": text[begin:stop]}
        rows.append(identity | named | context)
    return pa.Table.from_pylist(rows, schema=schema.SAMPLE)


def bare(table: pa.Table) -> Callable[[], None]:
    """Tree-sitter alone: whole contexts with their commits, encoded beforehand, one parse each."""
    columns = (table[name].to_pylist() for name in ("prefix", "commit", "suffix", "language"))
    sources = [
        (tree_sitter_language_pack.get_parser(syntax.GRAMMARS[language]), (before + commit + after).encode())
        for before, commit, after, language in zip(*columns, strict=True)
    ]

    def parse() -> None:
        for parser, source in sources:
            parser.parse(source)

    return parse


def figures() -> Iterator[Figure]:
    """Issue 5's bars on time: seven languages with equal weight, then each of them."""
    times: dict[str, list[float]] = {}
    for language in LANGUAGES:
        table = samples(language)
        distilled = distil(table, _DISTIL)
        assert verify(distilled, _VERIFY).num_rows == table.num_rows > 0
        measured = in_turn(
            bare(table), partial(distil, table, _DISTIL), partial(verify, distilled, _VERIFY), repeats=REPEATS
        )
        times[language] = [seconds / table.num_rows for seconds in measured]
    parse, first, second = (sum(column) / len(times) for column in zip(*times.values(), strict=True))
    both = first + second
    yield Figure("distil and verify, 6 KB contexts, samples/s on one core", 1 / both, least=1_500)
    yield Figure("the same, time over tree-sitter's bare parse of the same bytes", both / parse, most=6)
    yield Figure("  bare parse, ms per sample", parse * 1e3)
    yield Figure("  distil, ms per sample", first * 1e3)
    yield Figure("  verify, ms per sample", second * 1e3)
    for language, (parse, first, second) in times.items():
        yield Figure(f"  {language}: samples/s", 1 / (first + second))
        yield Figure(f"  {language}: time over the bare parse", (first + second) / parse)
