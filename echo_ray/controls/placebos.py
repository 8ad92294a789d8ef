"""Placebos on balanced rows: the same contexts, rows and mixture, with one signal destroyed.

If an arm gains no more than its placebo, what helped was the mixture, the domain or the amount of training,
not the signal. Both need the whole data set at once: 200,000 rows take about a second.

Not covered: erasure inside shuffled data. A text stands in another user's row there, where `erase`, which
goes by user, does not find it: remove that step's folder and what was made of it.
"""

from collections import Counter, defaultdict

import pyarrow as pa

from echo_ray import rng, schema
from echo_ray.controls import Controlled, replaced
from echo_ray.schema import Drop
from echo_ray.stages import conform, rows

NEEDED = ("sample_id", "target", "copies")
"""Columns without which nothing can be broken."""


def shuffled_targets(table: pa.Table, seed: int) -> Controlled:
    """Every target goes to another row of the same language, band and number of copies.

    A derangement of texts: nobody keeps a text equal to its own, as far as that can be done (`kept` counts
    the rest, in groups where one text is the majority). A row that is alone in its group has nobody to
    exchange with and is `control_unused`. Voids stay where they are: this placebo asks what the texts are
    worth, so its arm may still learn when to be silent. Raises SchemaError for a missing column.
    """
    table = conform(table, schema.BALANCED, NEEDED, "shuffled targets")
    names = ("sample_id", "language", "band", "target", "copies")
    groups: dict[tuple[str, str, int], list[tuple[str, str, int]]] = defaultdict(list)
    for row, (sample_id, language, band, target, copies) in enumerate(rows(table, names)):
        if copies and target:
            groups[language, band or "", copies].append((target, sample_id, row))
    columns = {name: table[name].to_pylist() for name in ("target", "target_tokens", "copies", "drop")}
    own = {name: list(values) for name, values in columns.items()}
    counts: Counter[str] = Counter(rows=table.num_rows, shuffled=0, kept=0, alone=0)
    for group in groups.values():
        if len(group) == 1:
            row = group[0][2]
            columns["copies"][row], columns["drop"][row] = 0, Drop.CONTROL_UNUSED.value
            counts["alone"] += 1
            continue
        for row, donor in _deranged(group, seed):
            columns["target"][row] = own["target"][donor]
            columns["target_tokens"][row] = own["target_tokens"][donor]
            counts["kept" if own["target"][row] == own["target"][donor] else "shuffled"] += 1
    nothing: list[object] = [None] * table.num_rows
    return Controlled(replaced(table, **columns, perplexity=nothing, cut_by=nothing), dict(counts))


def _deranged(group: list[tuple[str, str, int]], seed: int) -> list[tuple[int, int]]:
    """(row, row whose text it gets) for a group of (text, id, row) of two or more."""
    # Equal texts side by side, in a drawn order; a turn by the longest run leaves no run on itself, unless
    # that run is more than half of all.
    order = sorted(
        group, key=lambda item: (rng.digest(seed, item[0], "text"), item[0], rng.digest(seed, item[1], "row"))
    )
    turn = max(Counter(text for text, _, _ in order).values())
    size = len(order)
    return [(order[n][2], order[(n + turn) % size][2]) for n in range(size)]


def random_voids(table: pa.Table, seed: int) -> Controlled:
    """Silence at the same rate, in random places: true voids leave, and as large a share of the other copies
    becomes void, by keyed draw.

    The share is exact up to the copies of one row. Raises SchemaError for a missing column.
    """
    table = conform(table, schema.BALANCED, NEEDED, "random voids")
    columns = {
        name: table[name].to_pylist() for name in ("target", "target_tokens", "copies", "drop", "band")
    }
    codes: list[tuple[str, int]] = []
    voids = 0
    for row, (sample_id, target, copies) in enumerate(rows(table, NEEDED)):
        if copies and target:
            codes.append((sample_id, row))
        elif copies:
            voids += copies
            columns["copies"][row], columns["drop"][row] = 0, Drop.CONTROL_UNUSED.value
    total = sum(columns["copies"][row] for _, row in codes)
    wanted = round(total * voids / (total + voids)) if voids else 0
    counts: Counter[str] = Counter(rows=table.num_rows, voids_before=voids, voids=0, code=total)
    for _, row in sorted(codes, key=lambda item: (rng.digest(seed, item[0], "random void"), item[0])):
        copies = columns["copies"][row]
        if counts["voids"] + copies / 2 > wanted:
            break
        columns["target"][row], columns["target_tokens"][row], columns["band"][row] = "", 0, "void"
        counts["voids"] += copies
        counts["code"] -= copies
    nothing: list[object] = [None] * table.num_rows
    return Controlled(replaced(table, **columns, perplexity=nothing), dict(counts))
