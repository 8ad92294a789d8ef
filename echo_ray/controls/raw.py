"""Raw logs: what the log says of a request without gap extraction (the paper's figure 4 starts there).

The paper does not define the arm. Our choice, from what 4.1 gives and 4.2 adds: a log is a stream of (prefix,
suffix); what is known after request i, without watching a gap over time, is request i+1 of the same file.
So the answer to i is what the step to the next request put at the cursor of i:

- text inserted at the cursor (text typed over what stood behind it included) is the target;
- a step that put nothing at the cursor (a deletion, an edit elsewhere, no edit) makes a void;
- a request that no other of its session and file follows, or whose next window shares no text with it, has
  no answer: `unobserved`.

So raw targets are fragments as long as the pause between two requests, false starts are targets, and text
that was deleted a second later counts like text that stayed: the "trial-and-error and low information
density" of section 1. Not covered: other readings, such as the last state of the document.
"""

from collections import Counter

import pyarrow as pa

from echo_ray import schema
from echo_ray.controls import Controlled, replaced
from echo_ray.edits import View, step
from echo_ray.schema import Drop
from echo_ray.stages import conform, rows

NEEDED = ("sample_id", "user", "session", "file", "prefix", "suffix")
"""Columns without which there is no log to read; others may be missing."""


def next_text(now: View, then: View) -> str | None:
    """What the step from `now` to `then` put at the cursor of `now`; None when nobody can say."""
    found = step(now, then)
    if found is None:
        return None
    cursor = len(now.prefix)
    for start, stop, text in found.edits:
        if start == cursor:
            return text
        if stop <= cursor:
            cursor += len(text) - (stop - start)
        elif start < cursor:
            return ""  # what stood around the cursor was replaced
    return ""


def raw_log(table: pa.Table) -> Controlled:
    """Mined samples of whole sessions (`schema.SAMPLE`, in the order of the log) with raw commits.

    Contexts and ids stay; whatever mining found (commit, end, confidence, who wrote it, reasons) is replaced.
    What entered from the row's own proposal is the model's, all else a person's, so that `select` treats raw
    targets as it treats others.
    Raises SchemaError for a missing column.
    """
    table = conform(table, schema.SAMPLE, NEEDED, "raw log")
    names = ("user", "session", "file", "prefix", "suffix", "prefix_complete", "suffix_complete")
    accepted = table["accepted_chars"].fill_null(0).to_pylist()
    commits: list[object] = ["" for _ in range(table.num_rows)]
    drops: list[object] = [Drop.UNOBSERVED.value for _ in range(table.num_rows)]
    counts: Counter[str] = Counter(rows=table.num_rows, text=0, void=0, last=0, lost=0)
    open_: dict[tuple[str, ...], tuple[int, View]] = {}
    for row, (user, session, file, prefix, suffix, from_start, to_end) in enumerate(rows(table, names)):
        view = View(prefix or "", suffix or "", from_start is not False, to_end is not False)
        before = open_.get((user, session, file))
        open_[user, session, file] = row, view
        if before is None:
            continue
        text = next_text(before[1], view)
        if text is None:
            counts["lost"] += 1
            continue
        commits[before[0]], drops[before[0]] = text, None
        counts["text" if text.strip() else "void"] += 1
    counts["last"] = len(open_)
    nothing: list[object] = [None] * table.num_rows
    unknown = dict.fromkeys(("end_reason", "end_ts_ms", "snapshots", "confidence", "pasted_chars"), nothing)
    sizes = [len(str(commit)) for commit in commits]
    model: list[object] = [min(size, taken) for size, taken in zip(sizes, accepted, strict=True)]
    human: list[object] = [max(0, size - taken) for size, taken in zip(sizes, accepted, strict=True)]
    changes = {"commit": commits, "drop": drops, "model_chars": model, "human_chars": human, **unknown}
    return Controlled(replaced(table, **changes), dict(counts))
