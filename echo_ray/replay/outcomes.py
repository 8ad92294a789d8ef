"""What became of every request of a log, one row each without texts. Pure.

Who was shown and accepted what is `experiment.exposures`: a user's client is believed where it reports
anything, for everybody else acceptance is what the stream of requests shows.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from echo_ray.experiment import exposures
from echo_ray.experiment.tally import SNAPSHOT, Acceptance
from echo_ray.schema import Kind

OUTCOMES = pa.schema(
    [
        ("user", pa.string()),
        ("session", pa.string()),
        ("request_id", pa.string()),
        ("arm", pa.string()),
        ("model", pa.string()),
        ("answered", pa.bool_()),
        ("text", pa.bool_()),
        ("shown", pa.bool_()),
        ("accepted", pa.bool_()),
        ("accepted_chars", pa.int64()),
        ("proposal_chars", pa.int64()),
        ("typed_chars", pa.int64()),
        ("following", pa.bool_()),
    ]
)
"""`answered`: an answer, silence among them, reached the client; `text`: one that can be seen.
`accepted_chars` counts parts too. `following`: another request of the session came later, so the stream shows
what was taken. `arm` and `model` are `""` where the log names none."""


def outcomes(rows: pa.Table, events: pa.Table, acceptance: Acceptance) -> pa.Table:
    """`OUTCOMES` of `exposures.ROWS` and their users' events (`schema.EVENT`).

    Requests that nobody waited for (speculative, warm-up) are left out. What an editor sent between two
    requests was no request and has no answer, but the typing before it counts. Of rows with one user,
    session and request id the first stays.
    """
    told = exposures.reported(rows, events)
    users = rows["user"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    reports, shows = (np.bincount(users, told.by_row[name])[users] > 0 for name in ("any", "show"))
    heard = reports if acceptance is Acceptance.AUTO else np.full(len(users), acceptance is Acceptance.EVENTS)
    client, stream = exposures.by_events(rows, told, shows), exposures.by_stream(rows)
    seen = exposures.chosen(heard, client, stream)
    snapshot = pc.starts_with(rows["request_id"], SNAPSHOT).to_numpy()
    answered = pc.is_valid(rows["proposal_chars"]).to_numpy() & exposures.flags_of(rows["delivered"])
    text = exposures.with_text(rows) & ~snapshot
    columns = {name: rows[name] for name in ("user", "session", "request_id")}
    columns |= {name: pc.fill_null(rows[name], "") for name in ("arm", "model")}
    columns |= {
        "answered": pa.array(answered & ~snapshot),
        "text": pa.array(text),
        "shown": pa.array(seen.shown & text),
        "accepted": pa.array(seen.accepted & text),
        "accepted_chars": pa.array(np.where(text, seen.accepted_chars, 0)),
        "proposal_chars": pa.array(exposures.ints_of(rows["proposal_chars"])),
        "typed_chars": pa.array(exposures.ints_of(rows["typed_chars"])),
        "following": pc.is_valid(rows["next_ms"]),
    }
    table = pa.table([columns[name] for name in OUTCOMES.names], schema=OUTCOMES)
    kinds = pc.fill_null(rows["kind"], Kind.AUTOMATIC.value)
    aside = pc.is_in(kinds, pa.array([Kind.SPECULATIVE.value, Kind.WARMUP.value]))
    return _first_of_each(table.filter(pc.invert(aside)))


def _first_of_each(table: pa.Table) -> pa.Table:
    keys = ["user", "session", "request_id"]
    place = table.select(keys).append_column("row", pa.array(np.arange(table.num_rows)))
    first = place.group_by(keys).aggregate([("row", "min")])["row_min"]
    if len(first) == table.num_rows:
        return table
    return table.take(pc.take(first, pc.sort_indices(first)))
