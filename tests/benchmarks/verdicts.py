"""What verification catches and what it loses: the whole labelled corruption suite, by category."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from echo_ray import schema
from echo_ray.stages.verify import VerifyConfig, verify
from tests import corruption
from tests.benchmarks.figure import Figure, seconds

FILES = 60
"""Files of each language."""
DETAILED = ("void", "syntax", "name", "repeat")
"""Groups whose kinds are shown one by one."""


def figures() -> Iterator[Figure]:
    """Recall by category and kind, and clean samples lost by reason."""
    cases = corruption.suite(FILES)
    table = pa.Table.from_pylist([case.row() for case in cases], schema=schema.DISTILLED)
    rows: list[dict[str, Any]] = []
    took = seconds(lambda: rows.extend(verify(table, VerifyConfig()).select(["drop", "checks"]).to_pylist()))
    yield Figure("corruption suite: cases", len(cases), least=1_000)
    total: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    own: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for case, row in zip(cases, rows, strict=True):
        keys = (case.group, f"{case.group}, {case.kind}") if case.group in DETAILED else (case.group,)
        for key in keys:
            total[key] += 1
            caught[key] += row["drop"] is not None
            own[key] += case.group in corruption.failed(row["checks"])
        if case.group == "clean" and row["drop"] is not None:
            lost[row["drop"]] += 1
    for group in corruption.GROUPS:
        share, of = caught[group] / total[group], f"{total[group]:,}"
        yield Figure(f"{group}: faults refused, share of {of}", share, least=0.95)
        yield Figure(f"{group}: by their own check", own[group] / total[group])
        for key in sorted(total):
            if key.startswith(f"{group}, "):
                yield Figure(f"  {key}, share of {total[key]:,}", caught[key] / total[key])
    clean = total["clean"]
    yield Figure(f"clean: samples lost, percent of {clean:,}", 100 * lost.total() / clean, most=2)
    for drop, count in sorted(lost.items()):
        yield Figure(f"  lost to {drop}, percent", 100 * count / clean)
    yield Figure("verify on the suite (a third planted), samples/s, one core", len(cases) / took)
