"""How much an arm trains on: nested subsets of balanced rows, equal numbers of target tokens of packed ones.

Both take rows in the order of a keyed draw, so a smaller set is contained in a larger one, whatever the order
of the rows. Both need the whole data set at once.
"""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from echo_ray import rng, schema
from echo_ray.controls import Controlled, replaced
from echo_ray.errors import SchemaError
from echo_ray.schema import Drop
from echo_ray.stages import conform, rows
from echo_ray.stages.pack import PACKED


def nested(table: pa.Table, samples: int, seed: int) -> Controlled:
    """`schema.BALANCED` rows of which `samples` copies are left, voids in the proportion of the whole set.

    Of the same table, the copies for a smaller number are among those for a larger one. Rows that keep no
    copy are `control_unused`. Raises SchemaError for a missing column, and when there are fewer copies.
    """
    table = conform(table, schema.BALANCED, ("sample_id", "target", "copies"), "subset")
    units: dict[bool, list[tuple[int, str, int, int]]] = {True: [], False: []}
    for row, (sample_id, target, copies) in enumerate(rows(table, ("sample_id", "target", "copies"))):
        for copy in range(copies or 0):
            draw = rng.digest(seed, sample_id, copy, "subset")
            units[not target].append((draw, sample_id, copy, row))
    total = len(units[True]) + len(units[False])
    if samples > total:
        raise SchemaError(
            f"subset: {samples:,} samples are wanted and the balanced data hold {total:,}: lower the size of "
            "the arm or give more experience"
        )
    voids = round(samples * len(units[True]) / total) if total else 0
    left: Counter[int] = Counter()
    for kind, wanted in ((True, voids), (False, samples - voids)):
        left.update(row for *_, row in sorted(units[kind])[:wanted])
    drops = table["drop"].to_pylist()
    for row, copies in enumerate(table["copies"].to_pylist()):
        if copies and not left[row]:
            drops[row] = Drop.CONTROL_UNUSED.value
    kept: list[object] = [left[row] for row in range(table.num_rows)]
    counts = {"copies_before": total, "copies": samples, "voids": voids}
    return Controlled(replaced(table, copies=kept, drop=drops), counts)


def target_tokens(packed: pa.Table) -> int:
    """Tokens of `pack.PACKED` rows that carry loss, end tokens included."""
    return sum(_sizes(packed))


def matched(packed: pa.Table, tokens: int, seed: int, max_repeats: int = 4) -> Controlled:
    """`pack.PACKED` rows with as many target tokens as asked for, up to half of the last row's.

    Too few rows are taken again from the first on, at most `max_repeats` times each (then `missing_tokens`
    says what lacks): as more epochs would. Rows with a `drop` are left out. Raises SchemaError when there is
    no row.
    """
    packed = conform(packed, PACKED, PACKED.names[:5], "match")
    packed = packed.filter(pc.is_null(packed["drop"]))
    sizes = _sizes(packed)
    if not sizes:
        raise SchemaError("match: there is no packed sample to train on")
    names = list(zip(*(packed[name].to_pylist() for name in ("sample_id", "copy")), strict=True))
    order = sorted(range(len(sizes)), key=lambda row: (rng.digest(seed, *names[row], "match"), names[row]))
    taken: list[int] = []
    reached = 0
    for row in order * max_repeats:
        if reached + sizes[row] / 2 > tokens:
            break
        taken.append(row)
        reached += sizes[row]
    first = len(sizes)
    # A row that comes again is another copy of its sample: training tells rows apart by sample and copy.
    apart = max(copy for _, copy in names) + 1
    copies: list[object] = [names[row][1] + apart * (n // first) for n, row in enumerate(taken)]
    table = replaced(packed.take(pa.array(taken, pa.int64())), copy=copies)
    return Controlled(
        table,
        {
            "rows": first,
            "rows_matched": len(taken),
            "tokens_before": sum(sizes),
            "tokens": reached,
            "missing_tokens": max(0, tokens - reached),
            "repeats": -(-len(taken) // first),
        },
    )


def _sizes(packed: pa.Table) -> Sequence[int]:
    lengths = pc.list_value_length(packed["input_ids"]).to_pylist()
    prompts = packed["prompt_tokens"].to_pylist()
    return [length - prompt for length, prompt in zip(lengths, prompts, strict=True)]
