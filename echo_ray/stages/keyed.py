"""What was typed between two requests, and which proposals were taken whole: the edits once more.

Mining says how much of a proposal entered the document (`accepted_chars`); this says in which edit, so that
the rest of the edits is what people typed. Rules, as in the simulator's tallies and in `gaps.who_wrote`:

- a key is a character; Enter counts one and the indentation that the editor puts after it none; white space
  alone is a Tab and counts one; a pair of brackets or quotes is one key, the editor closes it;
- `gaps.PASTE_CHARS` or more at once, faster than anybody types, and from no proposal: pasted, not typed;
- a taken part ends its proposal when the proposal ends with it: then the proposal was taken whole, at once or
  after typing along or word by word.

Text that was typed and removed again between two requests was never seen. Not covered: who wrote text that
was replaced inside a larger edit (all of the inserted text counts).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from echo_ray.link_table import edits_of
from echo_ray.stages.gaps import LOOK_BACK, PASTE_CHARS, TYPING_CHARS_PER_S

Ints: TypeAlias = npt.NDArray[np.int64]

_INDENT = re.compile(r"\n[ \t]+")
_PAIRS = frozenset(("()", "[]", "{}", "<>", '""', "''", "``"))


@dataclass(frozen=True, slots=True)
class Keyed:
    """By row of the table (counts)."""

    typed_chars: Ints
    pasted_chars: Ints
    whole: npt.NDArray[np.bool_]
    """The row's own proposal was taken to its end."""


@dataclass(slots=True)
class _Taken:
    """A proposal of which a part entered the document; `rest` characters of it are still to be met."""

    row: int
    proposal: str
    rest: int


def keyed(table: pa.Table, accepted: Ints) -> Keyed:
    """Who wrote what led to each request of `table` (whole sessions of the timeline, `schema.LOGGED`).

    `accepted`: by row, the mined `accepted_chars`, 0 for null.
    """
    size = table.num_rows
    typed, pasted = np.zeros(size, np.int64), np.zeros(size, np.int64)
    whole = np.zeros(size, np.bool_)
    length = pc.fill_null(pc.utf8_length(table["edit_text"]), 0).to_numpy()
    several = pc.is_valid(table["more_edits"]).to_numpy()
    typed[(length == 1) & ~several] = 1
    look = np.flatnonzero((length > 1) | several | (accepted > 0))
    if not len(look):
        return Keyed(typed, pasted, whole)
    pause = pauses(table)
    narrow: dict[str, list[Any]] = table.select(_READ).take(pa.array(look)).to_pydict()
    files: dict[tuple[str, str, str], list[_Taken]] = {}
    order = sorted(
        range(len(look)), key=lambda n: (narrow["session"][n], narrow["user"][n], narrow["seq"][n])
    )
    for n in order:
        row = int(look[n])
        open_ = files.setdefault((narrow["session"][n], narrow["user"][n], narrow["file"][n]), [])
        if length[row] > 1 or several[row]:
            typed[row] = 0
            for edit in edits_of(narrow, n):
                rest = _met(edit.text, open_, whole)
                fast = len(rest) > TYPING_CHARS_PER_S * pause[row] / 1000
                if len(rest) >= PASTE_CHARS and len(rest) == len(edit.text) and fast:
                    pasted[row] += len(rest)
                else:
                    typed[row] += keys(rest)
        if accepted[row] > 0 and narrow["proposal"][n]:
            open_.append(_Taken(row, narrow["proposal"][n], int(accepted[row])))
            del open_[:-LOOK_BACK]
    return Keyed(typed, pasted, whole)


def keys(text: str) -> int:
    """Keys that put `text`, without what an editor adds by itself (count)."""
    if len(text) < 2:
        return len(text)
    if text in _PAIRS or (not text.strip(" \t")):
        return 1
    return len(_INDENT.sub("\n", text))


def pauses(table: pa.Table) -> npt.NDArray[np.float64]:
    """Time since the request before of the same session (ms); NaN for the first."""
    found = np.full(table.num_rows, np.nan)
    for rows, ts_ms in _sessions(table):
        found[rows[1:]] = np.diff(ts_ms)
    return found


def following(table: pa.Table) -> npt.NDArray[np.float64]:
    """Time until the next request of the same session (ms); NaN for the last."""
    found = np.full(table.num_rows, np.nan)
    for rows, ts_ms in _sessions(table):
        found[rows[:-1]] = np.diff(ts_ms)
    return found


_READ = ("session", "user", "file", "proposal", "seq", "edit_at", "edit_removed", "edit_text", "more_edits")


def _met(text: str, open_: list[_Taken], whole: npt.NDArray[np.bool_]) -> str:
    """What of an inserted `text` is from no proposal; the proposal that it is from has less to be met."""
    for taken in reversed(open_):
        part = text[: taken.rest]
        if len(part) > 1 and part in taken.proposal:
            taken.rest -= len(part)
            whole[taken.row] |= taken.proposal.endswith(part)
            if not taken.rest:
                open_.remove(taken)
            return text[len(part) :]
    return text


def _sessions(table: pa.Table) -> Iterator[tuple[Ints, Ints]]:
    """Rows of each session in the order of its timeline, and their times."""
    if not table.num_rows:
        return
    session, user = (_codes(table[name]) for name in ("session", "user"))
    code = session * (user.max() + 1) + user
    order = np.lexsort((table["seq"].to_numpy(), code))
    ts_ms = table["ts_ms"].to_numpy()
    for rows in np.split(order, np.flatnonzero(np.diff(code[order])) + 1):
        yield rows, ts_ms[rows]


def _codes(column: pa.ChunkedArray) -> Ints:
    found: Ints = column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    return found
