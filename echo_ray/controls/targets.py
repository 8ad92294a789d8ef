"""Other ways from a commit to a target: no truncation, a random one, or the text that was accepted.

`whole_commits` and `accepted_text` stand in place of `distil`. `random_cuts` works on balanced rows, so that
the placebo has the same rows, contexts, copies and lengths as the arm that it belongs to, and differs in
where the commit is cut, and in nothing else.
"""

from collections import Counter, defaultdict
from typing import Any

import pyarrow as pa
from pydantic import Field

from echo_ray import rng, schema
from echo_ray.config import Config
from echo_ray.controls import Controlled, replaced
from echo_ray.schema import Drop
from echo_ray.stages import conform, extend, rows


class WholeConfig(Config):
    """Settings of `whole_commits`."""

    max_chars: int = Field(800, ge=1)
    """A longer commit is cut there, as a training script cuts what exceeds its sequence (characters)."""


def whole_commits(table: pa.Table, config: WholeConfig) -> Controlled:
    """`schema.SAMPLE` to `schema.DISTILLED` rows whose target is the commit; row by row.

    Raises SchemaError for a missing column.
    """
    table = conform(table, schema.SAMPLE, ("sample_id", "commit"), "whole commits")
    counts: Counter[str] = Counter(rows=table.num_rows, void=0, cut=0)
    targets: list[str | None] = []
    drops: list[str | None] = []
    for commit, drop in rows(table, ("commit", "drop")):
        if drop is not None or commit is None:
            targets.append(None)
            drops.append(drop or Drop.CONTROL_UNUSED.value)
            continue
        target = commit[: config.max_chars].rstrip()
        targets.append(target)
        drops.append(None)
        counts["void"] += not target
        counts["cut"] += len(commit.rstrip()) > config.max_chars
    rules = [None if target is None else "whole" for target in targets]
    columns: dict[str, list[Any]] = {"target": targets, "cut_by": rules, "drop": drops}
    columns["cuts"] = [None] * len(rules)
    return Controlled(extend(table, schema.DISTILLED, columns), dict(counts))


def accepted_text(table: pa.Table) -> Controlled:
    """`schema.SAMPLE` to `schema.DISTILLED` rows whose target is what the user took of the row's own
    proposal: cloning of what the model did already. Rows of which nothing was taken are `control_unused`; row
    by row.

    Raises SchemaError for a missing column.
    """
    table = conform(table, schema.SAMPLE, ("sample_id", "proposal", "accepted_chars"), "accepted text")
    targets: list[str | None] = []
    drops: list[str | None] = []
    commits: list[str | None] = []
    for commit, proposal, accepted, drop in rows(table, ("commit", "proposal", "accepted_chars", "drop")):
        text = (proposal or "")[: accepted or 0].rstrip()
        kept = drop is None and bool(text)
        targets.append(text if kept else None)
        commits.append(text if kept else commit)
        drops.append(None if kept else drop or Drop.CONTROL_UNUSED.value)
    rules = [None if target is None else "accepted" for target in targets]
    columns: dict[str, list[Any]] = {"commit": commits, "target": targets, "cut_by": rules, "drop": drops}
    columns["cuts"] = [None] * len(rules)
    used = len(rules) - rules.count(None)
    return Controlled(
        extend(table, schema.DISTILLED, columns),
        {"rows": len(rules), "used": used, "unused": len(rules) - used},
    )


def random_cuts(table: pa.Table, seed: int) -> Controlled:
    """`schema.BALANCED` rows of the whole data set whose targets end in random places of their commits.

    Within a language and a number of copies the lengths (characters) are those of the true targets, dealt
    anew: longest first, each to one of the rows whose commit is long enough. Voids stay. Perplexities are
    unknown afterwards. Raises SchemaError for a missing column.
    """
    needed = ("sample_id", "commit", "target", "copies")
    table = conform(table, schema.BALANCED, needed, "random cuts")
    groups: dict[tuple[str, int], list[tuple[str, int, str, str]]] = defaultdict(list)
    names = ("sample_id", "language", "commit", "target", "copies")
    targets: list[object] = table["target"].to_pylist()
    for row, (sample_id, language, commit, target, copies) in enumerate(rows(table, names)):
        if copies and target:
            whole = commit if commit is not None and len(commit) >= len(target) else target
            groups[language, copies].append((sample_id, row, whole, target))
    counts: Counter[str] = Counter(rows=table.num_rows, cut=0, unchanged=0)
    for group in groups.values():
        # Commits by length, those of equal length by a keyed draw: the order of the rows decides nothing.
        group.sort(key=lambda item: (-len(item[2]), rng.digest(seed, item[0], "random cut order")))
        pool: list[tuple[str, int, str, str]] = []
        waiting = iter(group)
        following = next(waiting, None)
        for number, size in enumerate(sorted((len(item[3]) for item in group), reverse=True)):
            while following is not None and len(following[2]) >= size:
                pool.append(following)
                following = next(waiting, None)
            # Never empty: as many commits are this long as targets are.
            at = int(rng.unit(seed, "random cut", *map(str, (group[0][0], number))) * len(pool))
            pool[at], pool[-1] = pool[-1], pool[at]
            _, row, whole, target = pool.pop()
            targets[row] = whole[:size]
            counts["unchanged" if whole[:size] == target else "cut"] += 1
    nothing: list[object] = [None] * table.num_rows
    return Controlled(
        replaced(table, target=targets, perplexity=nothing, target_tokens=nothing, cut_by=nothing),
        dict(counts),
    )
