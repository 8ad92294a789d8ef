"""The editing process of real people: the statistics of `simulator.judge.measure_edits` from recordings.

Two readings of one recording. *Minimal*: every edit reduced to what changed, no-ops gone, moved and
restored blocks followed; the simulator's edits are of this kind, so this is the reading to compare with.
*As logged*: the patches as the editor reported them, which is how the published figures were computed; there
a popup completion deletes the letters that it puts back, so typed text seems to live less long than it does.
The whole file that a trace begins with (stamped 1970) is content in both, neither typing nor a gap.

Not covered: as-logged readings of VS Code recordings (too short for statistics), acceptances.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from echo_ray.edits import apply
from echo_ray.errors import ConfigError
from echo_ray.log import recordings, source
from echo_ray.log.replay import tuples
from simulator.judge.measure_bins import Columns
from simulator.judge.measure_edits import EditProcess, Stroke

MIN_CHANGES = 1_000
"""Recordings with fewer changes are too short for statistics (count)."""
_CONTENT_BEFORE_MS = 86_400_000
"""A transaction of the first day of 1970 is the file that was there before."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One real author's editing process."""

    name: str
    changes: int
    columns: Columns
    """Minimal reading."""
    as_logged: Columns | None
    """Reading behind the published figures; None for a recording that is no trace."""


def observe(path: Path) -> Observed | None:
    """The process recorded in `path`; None for fewer than `MIN_CHANGES` changes, and for no recording."""
    process = EditProcess()
    changes = 0
    documents: dict[str, str] = {}
    for change in recordings.changes(path):
        changes += 1
        if documents.get(change.file) != change.before or len(documents) > 1:
            process.open(change.file, len(change.before))
        text = change.before
        for number, edit in enumerate(change.edits):
            process.add(
                Stroke(
                    change.ts_ms / 1000,
                    change.file,
                    edit.start,
                    text[edit.start : edit.stop],
                    edit.text,
                    typed=not change.accepted,
                    head=number == 0,
                )
            )
            text = apply(text, [edit])
        documents = {change.file: change.document}
    if changes < MIN_CHANGES:
        return None
    return Observed(path.name.split(".")[0], changes, process.columns(), _as_logged(path))


def observe_all(folder: Path, key: str) -> tuple[list[Observed], int]:
    """(recordings long enough for statistics, how many were too short) under `folder`.

    Raises ConfigError, naming the setting `key`, when there is no folder, or nothing in it is long enough.
    """
    if not folder.is_dir():
        raise ConfigError(f"{key}={folder} is not a folder; name one that holds recordings of edits")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and ".json" in path.suffixes)
    found = [observe(path) for path in paths]
    long = [item for item in found if item is not None]
    if not long:
        raise ConfigError(f"{key}={folder} holds no recording of {MIN_CHANGES:,} changes or more")
    return long, len(found) - len(long)


def _as_logged(path: Path) -> Columns | None:
    try:
        value = source.mapping(source.whole(path)[0], "the file")
        if not isinstance(value.get("txns"), list):
            return None
        process = EditProcess(mend=False)
        process.open("document", len(source.text(value, "startContent", "")))
        for stroke in _patches(value["txns"]):
            process.add(stroke)
    except source.Malformed:  # the other reading has said so already
        return None
    return process.columns()


def _patches(entries: list[object]) -> Iterator[Stroke]:
    """Every patch as it stands; what it removes is known by its length alone."""
    for entry in entries:
        transaction = source.mapping(entry, "the transaction")
        ts_ms = source.moment(transaction.get("time"), "time")
        patches = tuples(transaction.get("patches"), counted=True)
        for number, (start, stop, new) in enumerate(patches):
            content = ts_ms < _CONTENT_BEFORE_MS
            yield Stroke(
                ts_ms / 1000, "document", start, " " * (stop - start), new,
                typed=not content, pasted=not content, head=number == 0 and not content,
            )  # fmt: skip
