"""Tabby's own event log, `events/<date>.json`: one JSON object a line, `{user, ts, event: {<kind>: {...}}}`.

| event | version-1 record |
|---|---|
| `completion` | request: `completion_id`, `language`, `segments`, the first choice as proposal |
| `view` | `shown` |
| `select` | `accepted`; with kind `line` (a word or a line) `partially_accepted`, length unknown |
| `dismiss` | `dismissed` |

`ts` is in milliseconds, `elapsed` becomes `visible_ms`. The user is a digest (older lines name it inside
the completion, or not at all: `unknown`); the file is a digest of `git_url` and `filepath`, or of the
language where no path was logged, which mixes such files. Sessions are a user's UTC days. Tabby writes a
completion only when it was answered, so cancelled requests, which carry most keystrokes, are missing. A
window counts as complete below the agent's default of 20 lines. Lines without segments are read back from
the prompt's fill-in-the-middle markers; what the server put before the code there stays in the prefix.
Not covered: chat events (refused by name), events about a choice that is not the first.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from echo_ray.dialects.tabby import EVENTS, complete
from echo_ray.dialects.templated import split
from echo_ray.log import source
from echo_ray.log.source import Malformed, Record, Result
from echo_ray.schema import EventType

KINDS = ("completion", "view", "select", "dismiss", "chat_completion")
"""What a line can tell about."""


def records(path: Path) -> Iterator[Result]:
    """Version-1 requests and events of one day's file."""
    return source.from_lines(path, _convert)


def _convert(line: Record, mark: str) -> Iterator[Record]:
    event = source.mapping(line.get("event"), "field event")
    kind = next((name for name in KINDS if name in event), None)
    if kind is None or kind == "chat_completion":
        raise Malformed(
            f"event is {kind or next(iter(event), 'empty')[:40]}, expected a completion or its fate"
        )
    body = source.mapping(event[kind], f"field {kind}")
    ts_ms = source.whole_number(line, "ts")
    user = source.maybe_text(line, "user") or source.maybe_text(body, "user")
    user = source.UNKNOWN if user is None else source.pseudonym("user", user)
    if kind == "completion":
        yield _request(body, ts_ms, user)
        return
    fate = EVENTS[kind]
    if kind == "select" and body.get("kind") is not None:
        fate = EventType.PARTIALLY_ACCEPTED
    elapsed = source.maybe_int(body, "elapsed")
    yield source.event(source.text(body, "completion_id"), ts_ms, user, fate, visible_ms=elapsed)


def _request(body: Record, ts_ms: int, user: str) -> Record:
    language = source.maybe_text(body, "language") or "plaintext"
    segments = body.get("segments")
    if segments is None:
        segments = _from_prompt(source.text(body, "prompt"))
    segments = source.mapping(segments, "field segments")
    prefix, suffix = source.text(segments, "prefix"), source.text(segments, "suffix", "")
    starts, ends = (False, False) if body.get("segments") is None else complete(prefix, suffix)
    path, git_url = source.maybe_text(segments, "filepath"), source.text(segments, "git_url", "")
    return source.request(
        source.text(body, "completion_id"),
        ts_ms,
        user,
        source.day_session(user, ts_ms),
        source.pseudonym("language", language) if path is None else source.file_name(path, git_url),
        prefix,
        suffix,
        language=language,
        prefix_complete=starts,
        suffix_complete=ends,
        delivered=True,
        proposal=_proposal(body.get("choices")),
        client=source.maybe_text(body, "user_agent"),
    )


def _proposal(choices: Any) -> str:
    """Text of the first choice; no choice is silence."""
    if not isinstance(choices, list):
        raise Malformed("field choices is not a list")
    checked = [source.mapping(choice, "a choice") for choice in choices]
    if not checked:
        return ""
    return source.text(min(checked, key=lambda choice: source.maybe_int(choice, "index") or 0), "text", "")


def _from_prompt(prompt: str) -> dict[str, str]:
    parts = split(prompt)
    if parts is None:
        return {"prefix": prompt}
    return {"prefix": parts.before + parts.prefix, "suffix": parts.suffix}
