"""Data of control arms: what a model would learn from if a part of the pipeline were missing, or broken.

A study (`echo-ray study`) trains on each and asks whether the pipeline beats it. Pure functions on tables of
samples; draws are keyed by record ids, so order and sharding change nothing.

    raw       the next request as the answer, no gap extraction      (arm "raw logs")
    targets   the whole commit, a random cut, the accepted text      (in place of `distil`)
    static    cuts of source files, of others or of the same         (M0, M0')
    placebos  shuffled targets, voids in random places               (after `balance`)
    noise     pasted blocks of foreign code                          (after `mine`)
    sizes     nested subsets, equal numbers of target tokens
    facts     what is counted of an arm's data, for its page

Unlike stages, controls replace what earlier stages wrote: that is what they are for. `Controlled.counts` says
how often, for the manifest.
"""

from typing import NamedTuple

import pyarrow as pa


class Controlled(NamedTuple):
    """A control arm's table, and counts of what was done to it."""

    table: pa.Table
    counts: dict[str, int]


def replaced(table: pa.Table, **columns: pa.Array | list[object]) -> pa.Table:
    """`table` with these columns in place of its own of the same name and type."""
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        field = table.schema.field(at)
        table = table.set_column(at, field, pa.array(values, field.type))
    return table
