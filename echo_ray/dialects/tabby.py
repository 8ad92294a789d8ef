"""Tabby's dialect: `/v1/completions` with `segments`, `/v1/health`, `/v1beta/*` and `/v1/events`.

`claims` tells its completions from OpenAI's, which use the same path. Declarations, then snippets of changed
files, then of recently opened ones, become other files' text. A request at temperature 0.8 is the agent
asking again by hand (it does so for manual triggers only). A window counts as complete below the agent's
default of 20 lines. Events become records of the data contract; `select` with `select_kind` is a word or a
line, of unknown length. Not covered: next-edit suggestions (refused), clipboard and edit history (ignored),
events about a choice that is not the first (none is served; no record).
"""

from collections.abc import Sequence
from typing import Any, Literal

from echo_ray.dialects.asked import JSON, Answered, Asked, Refusal
from echo_ray.dialects.body import Body, is_text, said, useful
from echo_ray.dialects.templated import recover
from echo_ray.prompts import Snippet
from echo_ray.schema import EventType, Kind

EVENTS = {"view": EventType.SHOWN, "select": EventType.ACCEPTED, "dismiss": EventType.DISMISSED}
"""The agent's words for what became of a completion."""

_WINDOW_LINES = 20
"""Lines before the cursor (its own included) and after it that the agent sends unless told otherwise."""
_AGAIN_TEMPERATURE = 0.8
_API = "v0.30.0"
"""Version of Tabby whose interface this is; agents leave calls out for older ones."""
_SNIPPETS = (
    "declarations",
    "relevant_snippets_from_changed_files",
    "relevant_snippets_from_recently_opened_files",
)


def claims(body: JSON) -> bool:
    """Whether a body for `/v1/completions` is Tabby's."""
    if not isinstance(body, dict):
        return False
    options = body.get("debug_options")
    return "segments" in body or (isinstance(options, dict) and options.get("raw_prompt") is not None)


def complete(prefix: str, suffix: str) -> tuple[bool, bool]:
    """Whether a window of the agent reaches the start and the end of the document."""
    return prefix.count("\n") < _WINDOW_LINES - 1, suffix.count("\n") < _WINDOW_LINES


def parse(body: JSON) -> Asked | Refusal:
    """The request in a body."""
    given = Body(body)
    mode = given.text("mode") or "standard"
    if mode != "standard":
        given.wrong("mode", "'standard'")
    temperature = given.number("temperature", 0, 2)
    kind = Kind.MANUAL if temperature == _AGAIN_TEMPERATURE else Kind.AUTOMATIC
    seed, user, language = given.seed(), given.text("user"), given.text("language")
    segments, options = Body(given.inner("segments")), Body(given.inner("debug_options"))
    raw = options.text("raw_prompt")
    prefix, suffix = segments.text("prefix"), segments.text("suffix") or ""
    if raw is None and prefix is None:
        segments.wrong("prefix", "a string, or debug_options.raw_prompt one")
    fault = given.fault or options.fault or segments.fault
    if fault is not None:
        return fault
    if raw is not None:
        found = recover(raw)
        return Asked(
            prefix=found.prefix,
            suffix=found.suffix,
            temperature=temperature,
            seed=seed,
            user=user or None,
            file=found.file,
            repository=found.repository,
            language=language or found.language,
            prefix_complete=False,
            suffix_complete=False,
            snippets=useful(found.snippets, found.prefix, found.suffix),
            kind=kind,
        )
    text = prefix or ""
    starts, ends = complete(text, suffix)
    return Asked(
        prefix=text,
        suffix=suffix,
        temperature=temperature,
        seed=seed,
        user=user or None,
        file=said(segments.fields, "filepath"),
        repository=said(segments.fields, "git_url"),
        language=language or None,
        prefix_complete=starts,
        suffix_complete=ends,
        snippets=useful(_snippets(segments.fields), text, suffix),
        kind=kind,
    )


def answer(asked: Asked, answered: Answered) -> JSON:
    """The completion response."""
    choices = [{"index": number, "text": text} for number, text in enumerate(answered.texts)]
    return {"id": answered.request_id, "choices": choices, "mode": "standard"}


def error(refusal: Refusal) -> tuple[bytes, str]:
    """An empty body: the status is all that the agent reads."""
    return b"", "text/plain"


def health(model: str, device: Literal["cpu", "cuda"]) -> JSON:
    """Body of `/v1/health`; agents from 1.6 do not complete unless `model` is named."""
    return {
        "model": model,
        "device": device,
        "cuda_devices": [],
        "models": {"completion": {"local": {"model_id": model, "device": device, "cuda_devices": []}}},
        "arch": "",
        "cpu_info": "",
        "cpu_count": 0,
        "version": {"build_date": "", "build_timestamp": "", "git_sha": "", "git_describe": _API},
    }


def server_setting() -> JSON:
    """Body of `/v1beta/server_setting`: events are wanted."""
    return {"disable_client_side_telemetry": False}


def models(completion: Sequence[str]) -> JSON:
    """Body of `/v1beta/models`."""
    return {"completion": list(completion), "chat": []}


def events(body: JSON, select_kind: str | None, user: str, ts_ms: int) -> list[dict[str, Any]] | Refusal:
    """Event records in the body of `/v1/events`; `select_kind` is that of the query.

    The reply to it is an empty body. `user` is the pseudonym of who sent it, `ts_ms` UTC milliseconds.
    """
    given = Body(body)
    fate = EVENTS.get(given.text("type") or "")
    if fate is None:
        given.wrong("type", f"one of {', '.join(EVENTS)}")
    completion = given.text("completion_id")
    if not completion:
        given.wrong("completion_id", "a non-empty string")
    if given.fault is not None:
        return given.fault
    if given.fields.get("choice_index") not in (None, 0):
        return []
    if fate is EventType.ACCEPTED and (select_kind or said(body, "select_kind")):
        fate = EventType.PARTIALLY_ACCEPTED
    # An odd duration is no reason to lose an accept.
    elapsed = Body(body).whole("elapsed", 0, 2**63 - 1)
    return [
        {
            "record": "event",
            "request_id": completion,
            "ts_ms": ts_ms,
            "user": user,
            "type": str(fate),
            "accepted_chars": None,
            "visible_ms": elapsed,
        }
    ]


def _snippets(segments: dict[str, Any]) -> list[Snippet]:
    lists = [found for name in _SNIPPETS if isinstance(found := segments.get(name), list)]
    return [
        Snippet(said(item, "filepath") or "", item["body"])
        for items in lists
        for item in items
        if isinstance(item, dict) and is_text(item.get("body"))
    ]
