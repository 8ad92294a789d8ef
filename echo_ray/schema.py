"""The data contract, version 1: what is in an experience log and what every stage carries.

Glossary (the paper's symbols, once):

- `P`, prefix: text before the cursor when the request was sent; `S`, suffix: text after it. Together
  they are the two static anchors of the gap (paper 4.2).
- `C1`, proposal: what the model answered. `""` is silence, null is no answer.
- `CN`, commit: what the user finally left between P and S, raw, as mined.
- target: the refined CN, cut to the immediate intent (paper 4.3); what the model should have said.
- void: an empty target; the right answer was silence (paper 4.4).

An experience log is a directory of record files, JSON Lines (optionally `.gz` or `.zst`) or Parquet in
any mixture. `REQUEST` and `EVENT` are its two records. `SAMPLE` is what `mine` emits; later stages
append columns and never edit earlier ones, except that a null `drop` may become a reason.
Not covered here: what only a simulator knows (intent, acceptance draws); that never enters a log.
"""

from enum import StrEnum
from typing import Any

import pyarrow as pa

VERSION = "1"


class Kind(StrEnum):
    """Why the client asked. `speculative` and `warmup` requests are not part of the timeline."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"
    SPECULATIVE = "speculative"
    WARMUP = "warmup"


class EventType(StrEnum):
    """What a client tells about a proposal after it arrived."""

    SHOWN = "shown"
    ACCEPTED = "accepted"
    PARTIALLY_ACCEPTED = "partially_accepted"
    DISMISSED = "dismissed"


class EndReason(StrEnum):
    """Why a gap stopped being watched (paper 4.2, "contextual break")."""

    ANCHOR_EDITED = "anchor_edited"
    """An edit touched the prefix or the suffix."""
    FILE_SWITCH = "file_switch"
    """The user edited another file."""
    IDLE = "idle"
    """No request for longer than `mine.idle_s`."""
    SESSION_END = "session_end"
    """The log of the session ends; the gap may still have been open."""
    LOST = "lost"
    """The next window of the file shares no text with what was known: nobody can say what was edited."""
    QUIESCENCE = "quiescence"
    """Policy `quiescence`: no request in the file for `mine.quiescence_s`."""
    TTL = "ttl"
    """Policy `ttl`: the request is older than `mine.ttl_s`."""


class Confidence(StrEnum):
    """How sure the miner is of a commit."""

    EXACT = "exact"
    """Whole documents, and every change from the request to the end of its gap was one place."""
    ALIGNED = "aligned"
    """The same, but some requests showed windows, which were aligned by the text they share."""
    INFERRED = "inferred"
    """Some changes were put in order, split or lost: requests are missing from the log."""


class Drop(StrEnum):
    """Why a sample is not trained on. One reason per sample: the first that a stage found."""

    UNOBSERVED = "unobserved"
    """mine: nothing was logged after the request, so an empty commit is absence of evidence."""
    TEACHER_REWROTE = "teacher_rewrote"
    """distil: the teacher's answer is not a prefix of the commit."""
    TOO_LONG = "too_long"
    """distil: no candidate cut is within the length limits."""
    SYNTAX = "syntax"
    """verify: prefix + target + suffix has more syntax errors than the context had."""
    SECRET = "secret"  # noqa: S105 - the name of a reason, not a secret
    """verify: the target contains a credential."""
    VOID_CONFLICT = "void_conflict"
    """verify: the context calls for code and the target is empty, or the reverse."""
    VOID_QUOTA = "void_quota"
    """balance: more empty targets than the void schedule allows."""
    LENGTH_BAND = "length_band"
    """balance: sampled away in its length band."""
    NO_ROOM = "no_room"
    """pack: prompt and target do not fit `pack.cutoff_len` tokens."""


REQUEST = pa.schema(
    [
        ("schema", pa.string()),
        ("request_id", pa.string()),
        ("ts_ms", pa.int64()),
        ("user", pa.string()),
        ("session", pa.string()),
        ("file", pa.string()),
        ("language", pa.string()),
        ("prefix", pa.large_string()),
        ("suffix", pa.large_string()),
        ("prefix_complete", pa.bool_()),
        ("suffix_complete", pa.bool_()),
        ("kind", pa.string()),
        ("delivered", pa.bool_()),
        ("proposal", pa.string()),
        ("model", pa.string()),
        ("arm", pa.string()),
        ("latency_ms", pa.float64()),
        ("client", pa.string()),
    ]
)
"""One row per completion request received, cancelled ones included. `file` names one document within a
session; `ts_ms` is UTC milliseconds; user, session and file are pseudonyms."""

LINKS = pa.schema(
    [
        ("seq", pa.int64()),
        ("link", pa.string()),
        ("cursor", pa.int64()),
        ("edit_at", pa.int64()),
        ("edit_removed", pa.int64()),
        ("edit_text", pa.large_string()),
        ("more_edits", pa.string()),
    ]
)
"""What the store adds to every request of the timeline: its number `seq` in the session, how it follows
from the request before of the same file (`link.LinkKind`), where its `cursor` stands in virtual
coordinates, and the edit that led to it: at `edit_at`, `edit_removed` characters became `edit_text`.
`more_edits` is a JSON list of further `[at, removed, text]`. Null for requests outside the timeline."""

LOGGED = pa.schema([*REQUEST, *LINKS])
"""A request as the store keeps it."""

EVENT = pa.schema(
    [
        ("request_id", pa.string()),
        ("ts_ms", pa.int64()),
        ("user", pa.string()),
        ("type", pa.string()),
        ("accepted_chars", pa.int64()),
        ("visible_ms", pa.int64()),
    ]
)
"""One row per lifecycle event that a client reported; `accepted_chars` and `visible_ms` may be null."""

SAMPLE = pa.schema(
    [
        ("sample_id", pa.string()),
        ("request_id", pa.string()),
        ("user", pa.string()),
        ("session", pa.string()),
        ("file", pa.string()),
        ("language", pa.string()),
        ("ts_ms", pa.int64()),
        ("prefix", pa.large_string()),
        ("suffix", pa.large_string()),
        ("proposal", pa.string()),
        ("commit", pa.large_string()),
        ("end_reason", pa.string()),
        ("end_ts_ms", pa.int64()),
        ("snapshots", pa.int32()),
        ("confidence", pa.string()),
        ("human_chars", pa.int64()),
        ("model_chars", pa.int64()),
        ("pasted_chars", pa.int64()),
        ("accepted_chars", pa.int64()),
        ("drop", pa.string()),
    ]
)
"""One row per request of the timeline. `snapshots` counts the later requests of the same file in which
both anchors still stood; `end_ts_ms` is the time of the last of them (or of the request itself). Of the
commit's characters, `human_chars` were typed, `model_chars` accepted from a proposal and `pasted_chars`
came in one piece from elsewhere; `accepted_chars` says how much of this row's own proposal entered the
document at once (0 none, null no proposal). All four are inferred from the requests alone."""

DISTILLED = SAMPLE.append(pa.field("target", pa.large_string())).append(pa.field("cut_by", pa.string()))
"""After `distil`: `target` is null on dropped rows; `cut_by` names the rule or teacher that chose."""

VERIFIED = DISTILLED.append(pa.field("evidence", pa.string()))
"""After `verify`: `evidence` says what the verdict in `drop` rests on."""

BALANCED = VERIFIED.append(pa.field("copies", pa.int32()))
"""After `balance`: how often the row is trained on; 0 on dropped rows."""

REQUIRED = {
    "request": ("request_id", "ts_ms", "user", "session", "file", "prefix", "suffix"),
    "event": ("request_id", "ts_ms", "user", "type"),
}
"""Fields without which a log line is quarantined."""

REQUEST_DEFAULTS: dict[str, Any] = {
    "schema": VERSION,
    "language": "plaintext",
    "prefix_complete": True,
    "suffix_complete": True,
    "kind": Kind.AUTOMATIC.value,
    "delivered": True,
    "proposal": None,
    "model": None,
    "arm": None,
    "latency_ms": None,
    "client": None,
}
"""What an absent field of a request record means."""
