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


class LastEdit(StrEnum):
    """What the user did between the request before of the same file and this one."""

    INSERTED = "inserted"
    """Text was added in one place."""
    DELETED = "deleted"
    """Text was removed in one place, none added."""
    REPLACED = "replaced"
    """Text was changed, or several places were."""
    MOVED = "moved"
    """Nothing changed; the cursor stands elsewhere."""
    NONE = "none"
    """Nothing changed and the cursor did not move."""


class Drop(StrEnum):
    """Why a sample is not trained on. One reason per sample: the first that a stage found.

    What `distil` and `verify` say begins with its category: `void_`, `syntax_`, `name_`, `repeat_`,
    `secret_`, `pii_`, `malicious_`, `teacher_`.
    """

    UNOBSERVED = "unobserved"
    """mine: nothing was logged after the request, so an empty commit is absence of evidence."""

    TEACHER_NO_CUT = "teacher_no_cut"
    """distil: no candidate cut is within the length limits."""
    TEACHER_REWROTE = "teacher_rewrote"
    """distil: the target is not a prefix of the commit."""
    TEACHER_TIMEOUT = "teacher_timeout"
    """distil, verify: the language model did not answer in time."""
    TEACHER_PROSE = "teacher_prose"
    """distil, verify: the language model answered in words."""
    TEACHER_OUT_OF_RANGE = "teacher_out_of_range"
    """distil, verify: the language model named an answer that was not offered."""
    TEACHER_RATE_LIMITED = "teacher_rate_limited"
    """distil, verify: the endpoint refused for too many requests, after all retries."""
    TEACHER_ERROR = "teacher_error"
    """distil, verify: the endpoint failed or could not be reached, after all retries."""

    VOID_MISSING = "void_missing"
    """verify: the target is empty where the context calls for code."""
    VOID_DELETION = "void_deletion"
    """verify: code, but the user was deleting when the request was sent."""
    VOID_NAVIGATION = "void_navigation"
    """verify: code, but the user was moving around when the request was sent."""
    VOID_COMMENT = "void_comment"
    """verify: the target goes on with the prose of a comment."""
    VOID_FINISHED = "void_finished"
    """verify: code after a statement that was finished."""
    VOID_JUDGED = "void_judged"
    """verify: the language model says that silence was right, or that it was not."""
    SYNTAX_ERROR = "syntax_error"
    """verify: prefix + target + suffix has more syntax errors than the context had."""
    SYNTAX_INDENT = "syntax_indent"
    """verify: a line of the target stands at an indentation that does not fit."""
    SYNTAX_SENTINEL = "syntax_sentinel"
    """verify: the target holds a model's special token as text."""
    NAME_UNDEFINED = "name_undefined"
    """verify: the target uses a name that nothing defines."""
    NAME_INCONSISTENT = "name_inconsistent"
    """verify: the target spells a name otherwise than the rest of the file."""
    NAME_JUDGED = "name_judged"
    """verify: the language model says that the target does not fit the code around it."""
    REPEAT_SUFFIX = "repeat_suffix"
    """verify: the target repeats what the suffix begins with."""
    REPEAT_BRACKETS = "repeat_brackets"
    """verify: the target closes brackets that the suffix closes."""
    SECRET_TOKEN = "secret_token"  # noqa: S105 - the name of a reason, not a secret
    """verify: a credential of a known format."""
    SECRET_PASSWORD = "secret_password"  # noqa: S105
    """verify: a password or key given to a telling name, or in an address."""
    SECRET_PRIVATE_KEY = "secret_private_key"  # noqa: S105
    """verify: a private key."""
    SECRET_RANDOM = "secret_random"  # noqa: S105
    """verify: a quoted string that looks like a key."""
    PII_EMAIL = "pii_email"
    """verify: an e-mail address of a person."""
    PII_PHONE = "pii_phone"
    """verify: a telephone number."""
    PII_CARD = "pii_card"
    """verify: a payment card number or bank account."""
    PII_ID = "pii_id"
    """verify: a number that a state gives to a person."""
    PII_ADDRESS = "pii_address"
    """verify: a public network address."""
    MALICIOUS_COMMAND = "malicious_command"
    """verify: a shell command that destroys, downloads and runs, or opens a way in."""
    MALICIOUS_CODE = "malicious_code"
    """verify: runs code that is decoded, downloaded or hidden."""
    MALICIOUS_LEAK = "malicious_leak"
    """verify: sends credentials or private data away."""
    MALICIOUS_JUDGED = "malicious_judged"
    """verify: the language model says that the target is unsafe."""

    SELECT_HOLDOUT = "select_holdout"
    """select: the user is never trained on."""
    SELECT_CONFIDENCE = "select_confidence"
    """select: the miner is less sure of the commit than asked for."""
    SELECT_MODEL_CHARS = "select_model_chars"
    """select: too much of the target was written by a model."""
    SELECT_PASTED = "select_pasted"
    """select: too much of the target was pasted."""
    SELECT_GAP = "select_gap"
    """select: enough samples of the same gap."""
    SELECT_DUPLICATE = "select_duplicate"
    """select: nearly the same as another sample."""
    SELECT_USER = "select_user"
    """select: enough samples of this user."""

    PERPLEXITY_TAIL = "perplexity_tail"
    """balance: sampled away among the targets that surprise the model most."""
    VOID_QUOTA = "void_quota"
    """balance: more empty targets than the void schedule allows."""
    LENGTH_BAND = "length_band"
    """balance: sampled away in its length band."""
    CONTROL_UNUSED = "control_unused"
    """distil, balance: a control arm of a study has no use for it (`controls`)."""
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
        ("prefix_complete", pa.bool_()),
        ("suffix_complete", pa.bool_()),
        ("last_edit", pa.string()),
        ("drop", pa.string()),
    ]
)
"""One row per request of the timeline. `snapshots` counts the later requests of the same file in which
both anchors still stood; `end_ts_ms` is the time of the last of them (or of the request itself). Of the
commit's characters, `human_chars` were typed, `model_chars` accepted from a proposal and `pasted_chars`
came in one piece from elsewhere; `accepted_chars` says how much of this row's own proposal entered the
document at once (0 none, null no proposal). All four are inferred from the requests alone. `last_edit`
(`LastEdit`) says what led to the request; null at the first look at a file. Columns after `end_ts_ms` are
optional for whoever makes samples elsewhere: absent ones are null."""

_CUT = pa.struct([pa.field("stop", pa.int32()), pa.field("rule", pa.string())])
DISTILLED = pa.schema(
    [*SAMPLE, ("target", pa.large_string()), ("cut_by", pa.string()), ("cuts", pa.list_(_CUT))]
)
"""After `distil`: `target` is null on dropped rows; `cut_by` names the rule or teacher that chose among
`cuts`, the places (offsets in the commit) where the target could have ended."""

_CHECK = pa.struct(
    [
        *(pa.field(name, pa.string()) for name in ("check", "verdict", "rule")),
        *(pa.field(name, pa.int32()) for name in ("start", "stop")),
        pa.field("note", pa.string()),
    ]
)
VERIFIED = pa.schema([*DISTILLED, ("evidence", pa.string()), ("checks", pa.list_(_CHECK))])
"""After `verify`: `checks` holds the finding of every check that ran (`checks.case.Finding`), `evidence` in
one line what decided."""

SELECTED = pa.schema([*VERIFIED, ("gap", pa.string()), ("twin", pa.string())])
"""After `select`: `gap` names the samples that end in the same document; `twin` is the sample of which a
dropped row is a near duplicate."""

SCORED = pa.schema([*SELECTED, ("target_tokens", pa.int32()), ("perplexity", pa.float64())])
"""After `perplexity`: length of the target (tokens, end token not counted) and its perplexity under the
current model (end token included); null on dropped rows."""

BALANCED = pa.schema([*SCORED, ("band", pa.string()), ("copies", pa.int32())])
"""After `balance`: the row's group, and how often it is trained on; 0 on dropped rows."""

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
