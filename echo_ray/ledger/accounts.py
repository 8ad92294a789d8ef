"""The accounts of a run: every row counted again from the files, and compared with what the manifests say.

What must hold, folder by folder: the rows and the drops by reason are those of the manifest; rows in are the
rows of the folder that it was made from; after `mine` the samples are the same in the same order, and a
reason that was given stays (a null `drop` may become one); `mine` has one row per request of the timeline;
`pack` has one row per copy, or one with a reason; training saw every packed row. Of an
export the records are counted. Narrow columns are read,
one file at a time. Not covered: whether a stage's verdicts are right.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import pyarrow.parquet as pq

from echo_ray.ledger.folders import Folder, Lineage, steps
from echo_ray.ledger.rows import column
from echo_ray.link_table import TIMELINE

ROWWISE = frozenset(["distil", "verify", "select", "perplexity", "balance"])
"""Stages that carry every row of their input."""
_MOST_PROBLEMS = 5


@dataclass(slots=True)
class Account:
    """One folder: what was counted, what of it is new, and what does not add up."""

    folder: Folder
    parent: Folder | None
    rows: int = 0
    """Rows in its files; of a training, those that its manifest says it was trained on."""
    drops: Counter[str] = field(default_factory=Counter)
    """Rows by reason, counted in its files."""
    new_drops: dict[str, int] = field(default_factory=dict)
    """Rows that lost their way here, by reason, most first."""
    problems: list[str] = field(default_factory=list)

    @property
    def kept(self) -> int:
        """Rows without a reason."""
        return self.rows - self.drops.total()


def audit(lineage: Lineage) -> list[Account]:
    """An account of every folder, inputs first."""
    done: dict[Path, Account] = {}
    for folder, parent in steps(lineage):
        account = Account(folder, parent)
        before = None if parent is None else done[parent.path]
        if folder.stage == "train":
            _count_training(account, before)
        elif folder.stage == "export":
            _count_export(account, before)
        else:
            _count(account)
            _compare(account, before)
        inherited = before.drops if before is not None and folder.stage in ROWWISE else Counter[str]()
        more = {reason: count - inherited[reason] for reason, count in account.drops.items()}
        account.new_drops = dict(sorted(((r, c) for r, c in more.items() if c), key=lambda pair: -pair[1]))
        del account.problems[_MOST_PROBLEMS:]
        done[folder.path] = account
    return list(done.values())


def counted(paths: Sequence[Path]) -> tuple[int, Counter[str]]:
    """(rows, rows by drop reason) of Parquet files."""
    rows, drops = 0, Counter[str]()
    for path in paths:
        rows += pq.read_metadata(path).num_rows
        drops.update(reason for reason in column(path, "drop") if reason is not None)
    return rows, drops


def _count(account: Account) -> None:
    """Rows and reasons of the files, beside those of the manifest."""
    folder, said = account.folder, account.folder.manifest
    account.rows, account.drops = counted(folder.files())
    if account.rows != said.rows_out:
        account.problems.append(f"{account.rows:,} rows lie there, its manifest says {said.rows_out:,}")
    for reason in sorted(account.drops.keys() | said.drops.keys()):
        here, there = account.drops[reason], said.drops.get(reason, 0)
        if here != there:
            account.problems.append(f"{here:,} rows are dropped as {reason}, its manifest says {there:,}")


def _compare(account: Account, before: Account | None) -> None:
    """The files beside those of the folder that they were made from."""
    if before is None:
        return
    said, stage = account.folder.manifest, account.folder.stage
    if said.rows_in != before.rows:
        account.problems.append(
            f"{said.rows_in:,} rows went in by its manifest, but {before.folder.path} has {before.rows:,}"
        )
    if stage == "mine":
        kinds = (kind for path in before.folder.files() for kind in column(path, "kind"))
        wanted = sum(kind in TIMELINE for kind in kinds)
        if wanted != account.rows:
            account.problems.append(f"{wanted:,} requests of the timeline gave {account.rows:,} samples")
    elif stage == "pack":
        account.problems += _packed(account.folder, before.folder)
    else:
        account.problems += _carried(account.folder, before.folder)


def _carried(folder: Folder, parent: Folder) -> Iterator[str]:
    """Where a folder does not carry the samples and reasons of the one before it."""
    pairs = zip_longest(_fates(parent), _fates(folder))
    for earlier, later in pairs:
        if earlier is None or later is None:
            return  # counts differ, which has been said
        if earlier[0] != later[0]:
            yield f"sample {later[0]} stands where {parent.path} has {earlier[0]}"
            return
        if earlier[1] is not None and earlier[1] != later[1]:
            yield f"sample {later[0]} was dropped as {earlier[1]} and is now {later[1] or 'kept'}"


def _fates(folder: Folder) -> Iterator[tuple[str, str | None]]:
    for path in folder.files():
        yield from zip(column(path, "sample_id"), column(path, "drop"), strict=True)


def _packed(folder: Folder, parent: Folder) -> Iterator[str]:
    """Samples whose packed rows are not their copies."""
    wanted: Counter[str] = Counter()
    for path in parent.files():
        for sample, copies in zip(column(path, "sample_id"), column(path, "copies"), strict=True):
            if copies:
                wanted[sample] += copies
    found: Counter[str] = Counter()
    for path in folder.files():
        for sample, drop in zip(column(path, "sample_id"), column(path, "drop"), strict=True):
            found[sample] += wanted[sample] if drop is not None else 1
    for sample in sorted(wanted.keys() | found.keys()):
        if wanted[sample] != found[sample]:
            yield f"sample {sample} has {wanted[sample]} copies and {found[sample]} packed rows"


def _count_export(account: Account, before: Account | None) -> None:
    said = account.folder.manifest
    for path in sorted((account.folder.path / "data").iterdir()):
        if path.suffix == ".parquet":
            account.rows += pq.read_metadata(path).num_rows
        else:
            with path.open("rb") as file:
                account.rows += sum(1 for _ in file)
    if account.rows != said.rows_out:
        account.problems.append(f"{account.rows:,} records lie there, its manifest says {said.rows_out:,}")
    if before is not None and said.rows_in != before.rows:
        account.problems.append(
            f"{said.rows_in:,} rows went in by its manifest, but {before.folder.path} has {before.rows:,}"
        )


def _count_training(account: Account, before: Account | None) -> None:
    said = account.folder.manifest
    account.rows = said.rows_in
    account.drops = Counter(said.drops)
    since = [entry for entry in said.notes.get("erased", []) if entry.get("rows")]
    gone = sum(entry["rows"] for entry in since)
    if before is not None and before.kept + gone != said.rows_in:
        erased = f" and {gone:,} were erased since" if gone else ""
        account.problems.append(
            f"{said.rows_in:,} rows were trained on or measured, but {before.folder.path} has "
            f"{before.kept:,}{erased}"
        )
