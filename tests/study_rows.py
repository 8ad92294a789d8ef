"""Rows for tests of control arms."""

from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from echo_ray import schema

LANGUAGES = ("python", "go")
TEXTS = ("", "", ")", "return value", "x = compute(a, b)", "for item in items:\n    use(item)", "pass", "y")


def balanced(rows: list[dict[str, Any]]) -> pa.Table:
    """`schema.BALANCED` rows; absent columns are null."""
    return pa.Table.from_pylist(
        [{"prefix": "p", "suffix": "s", "drop": None} | row for row in rows], schema=schema.BALANCED
    )


def samples(rows: list[dict[str, Any]]) -> pa.Table:
    """`schema.SAMPLE` rows; absent columns are null."""
    return pa.Table.from_pylist(
        [{"prefix": "", "suffix": "", "drop": None} | row for row in rows], schema=schema.SAMPLE
    )


@st.composite
def balanced_tables(draw: st.DrawFn) -> pa.Table:
    """Balanced data sets of up to 40 rows; a target is a prefix of its commit, dropped rows have no copy."""
    rows = []
    for number in range(draw(st.integers(1, 40))):
        target = draw(st.sampled_from(TEXTS))
        copies = draw(st.integers(0, 3))
        rows.append(
            {
                "sample_id": f"s{number}",
                "language": draw(st.sampled_from(LANGUAGES)),
                "target": target,
                "commit": target + draw(st.sampled_from(("", "\nmore", "\nand more of it()")))
                if target
                else "",
                "target_tokens": len(target) // 3,
                "band": "medium" if target else "void",
                "perplexity": 2.0,
                "copies": copies,
                "drop": None if copies else schema.Drop.LENGTH_BAND.value,
            }
        )
    return balanced(rows)


def by_id(table: pa.Table) -> dict[str, dict[str, Any]]:
    """Rows by their sample id."""
    return {row["sample_id"]: row for row in table.to_pylist()}


def turned(table: pa.Table) -> pa.Table:
    """The same rows in another order."""
    return table.take(pa.array(list(range(table.num_rows))[::-1], pa.int64()))
