"""The OpenAI legacy completions dialect: `/v1/completions`, and `/beta/completions` as DeepSeek names it.

`prompt` is one string, with `suffix` or with a client's own fill-in-the-middle sentinels, which are read
back (`templated`). `extra_body` may hold `session_id` and `metadata` with `session` and `file`. The reply's
`model` is the immutable version that answered, whatever name was asked for. Not covered: token-id prompts
(refused: the experience log needs the text), several prompts at once (refused), `logprobs`, `echo`,
`best_of`, `logit_bias` and penalties (ignored).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from echo_ray.dialects.asked import JSON, Answered, Asked, Refusal
from echo_ray.dialects.body import Body, is_text, said, useful
from echo_ray.dialects.templated import recover


def parse(body: JSON) -> Asked | Refusal:
    """The request in a body."""
    given = Body(body)
    prompt = given.fields.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not is_text(prompt):
        prompt = ""
        given.wrong("prompt", "one string (token ids cannot be logged as text)")
    suffix = given.text("suffix") or ""
    stream = given.flag("stream")
    options = given.inner("stream_options") if stream else {}
    asked = Asked(
        prefix="",
        suffix="",
        max_tokens=given.max_tokens(),
        temperature=given.number("temperature", 0, 2),
        top_p=given.top_p(),
        stop=given.stops(),
        n=given.choices("n"),
        seed=given.seed(),
        stream=stream,
        include_usage=options.get("include_usage") is True,
        user=given.text("user") or None,
    )
    return given.fault or about(asked, prompt, suffix, body)


def about(asked: Asked, prompt: str, suffix: str, body: JSON) -> Asked:
    """`asked` with what a checked `prompt` and `suffix` say, and the names in `session_id` and `metadata`."""
    found = recover(prompt, suffix)
    metadata = body.get("metadata")
    return replace(
        asked,
        prefix=found.prefix,
        suffix=found.suffix,
        user=asked.user or said(metadata, "user"),
        session=said(body, "session_id") or said(metadata, "session", "session_id"),
        file=said(metadata, "file") or found.file,
        repository=found.repository,
        language=found.language,
        snippets=useful(found.snippets, found.prefix, found.suffix),
    )


def answer(asked: Asked, answered: Answered) -> JSON:
    """The completion object; strict readers find every field that OpenAI's schema requires."""
    choices = [
        _choice(number, text, reason)
        for number, (text, reason) in enumerate(zip(answered.texts, answered.finish_reasons, strict=True))
    ]
    return _object(answered, choices) | {"usage": answered.usage.plain()}


def chunks(asked: Asked, answered: Answered) -> Iterator[JSON]:
    """The same as objects of a stream: one for each choice, then the token counts if they were asked for."""
    counts = {"usage": None} if asked.include_usage else {}
    for number, (text, reason) in enumerate(zip(answered.texts, answered.finish_reasons, strict=True)):
        yield _object(answered, [_choice(number, text, reason)]) | counts
    if asked.include_usage:
        yield _object(answered, []) | {"usage": answered.usage.plain()}


def error(refusal: Refusal) -> tuple[bytes, str]:
    """Body and content type that the client libraries turn into their exception classes."""
    inner = {
        "message": refusal.message,
        "type": refusal.type,
        "param": refusal.param,
        "code": refusal.status,
    }
    return orjson.dumps({"error": inner}), "application/json"


def models(
    versions: Mapping[str, str], created_s: int, max_model_len: int, aliases: Sequence[str] = ()
) -> JSON:
    """Model list: the versions by the experiment arm that serves them, then further names for "any of them".

    `max_model_len` in tokens. Clients choose a prompt template by the name, so an alias may be needed.
    """
    # Arms of one version (an A/A test) are one entry, under the first of them.
    first = {version: arm for arm, version in reversed(list(versions.items()))}
    named: list[tuple[str, dict[str, str]]] = [
        (version, {"arm": first[version]}) for version in dict.fromkeys(versions.values())
    ]
    named += [(alias, {}) for alias in aliases if alias not in versions.values()]
    return {
        "object": "list",
        "data": [
            {
                "id": name,
                "object": "model",
                "created": created_s,
                "owned_by": "echo_ray",
                "max_model_len": max_model_len,
                **more,
            }
            for name, more in named
        ],
    }


def _choice(number: int, text: str, reason: str) -> dict[str, Any]:
    return {"text": text, "index": number, "logprobs": None, "finish_reason": reason}


def _object(answered: Answered, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": answered.request_id,
        "object": "text_completion",
        "created": answered.created_s,
        "model": answered.model,
        "choices": choices,
    }
