"""One file of a run without one person: what of it is theirs, and the file again without that.

Tables are `erase_tables`, files of lines `erase_lines`; everything else holds no rows of people. A file is
replaced by one move, on the disk before it: at every moment it is the old one or the new one. Not covered:
what a file system keeps of replaced files.
"""

from pathlib import Path

from jobs import erase_lines, erase_tables
from jobs.erase_values import QUARANTINE, Found, Person


def look(path: Path, person: Person, attributed: bool = True) -> Found:
    """What of the file is the person's; nothing for a file of another kind.

    `attributed`: rows of theirs are in this log, so lines in its quarantine that name nobody may be theirs.
    """
    if path.suffix == ".parquet":
        return erase_tables.look(path, person)
    if erase_lines.is_lines(path):
        return erase_lines.look(path, person, attributed)
    return Found()


def rewrite(path: Path, person: Person, rows_in: int | None = None, attributed: bool = True) -> None:
    """Replace the file by one without the person; `rows_in` corrects what a stage's shard says of its input.
    Doing it again changes nothing.
    """
    if path.suffix == ".parquet":
        erase_tables.rewrite(path, person, rows_in)
    else:
        erase_lines.rewrite(path, person, attributed)


def requests_of_others(path: Path, person: Person) -> set[str]:
    """Those of `person.ids` that requests or samples of others in this file have too."""
    if path.suffix == ".parquet":
        return erase_tables.shared_ids(path, person)
    if path.name.endswith(erase_lines.LINES) and path.name != QUARANTINE:
        return erase_lines.shared_ids(path, person)
    return set()
