"""Mistral's fill-in-the-middle dialect: `/v1/fim/completions`, answered in the shape of a chat.

`metadata` is the client's own object: `user`, `session` and `file` in it are read. A `prompt` without a
suffix may hold sentinels of its own, and Continue's header is read back, both as in `openai`. What is wrong
with a body is status 422 with FastAPI's list. Not covered: `min_tokens` (ignored), and the wrong value itself
in an error (`input` is null: a body holds code).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson

from echo_ray.dialects.asked import JSON, Answered, Asked, Refusal
from echo_ray.dialects.body import Body
from echo_ray.dialects.openai import about


def parse(body: JSON) -> Asked | Refusal:
    """The request in a body."""
    given = Body(body)
    prompt = given.text("prompt")
    if prompt is None:
        given.wrong("prompt", "a string")
    suffix = given.text("suffix") or ""
    given.inner("metadata")
    asked = Asked(
        prefix="",
        suffix="",
        max_tokens=given.max_tokens(),
        temperature=given.number("temperature", 0, 2),
        top_p=given.top_p(),
        stop=given.stops(),
        seed=given.seed("random_seed"),
        stream=given.flag("stream"),
    )
    if given.fault is not None or prompt is None:
        return replace(given.fault or Refusal(422, "prompt is missing"), status=422)
    return about(asked, prompt, suffix, body)


def answer(asked: Asked, answered: Answered) -> JSON:
    """The chat completion object."""
    choices = [
        {"index": number, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
        for number, (text, reason) in enumerate(zip(answered.texts, answered.finish_reasons, strict=True))
    ]
    return _object(answered, "chat.completion", choices) | {"usage": answered.usage.plain()}


def chunks(asked: Asked, answered: Answered) -> Iterator[JSON]:
    """The same as objects of a stream; the last has the reason and the token counts."""
    kind = "chat.completion.chunk"
    for number, text in enumerate(answered.texts):
        delta = {"role": "assistant", "content": text}
        yield _object(answered, kind, [{"index": number, "delta": delta, "finish_reason": None}])
    ends = [
        {"index": number, "delta": {"content": ""}, "finish_reason": reason}
        for number, reason in enumerate(answered.finish_reasons)
    ]
    yield _object(answered, kind, ends) | {"usage": answered.usage.plain()}


def error(refusal: Refusal) -> tuple[bytes, str]:
    """Body and content type: FastAPI's list for 422, Mistral's object for every other status."""
    body: dict[str, Any] = {
        "object": "error",
        "message": refusal.message,
        "type": refusal.type,
        "param": refusal.param,
        "code": refusal.status,
    }
    if refusal.status == 422:
        place = ["body"] if refusal.param is None else ["body", refusal.param]
        body = {"detail": [{"type": "value_error", "loc": place, "msg": refusal.message, "input": None}]}
    return orjson.dumps(body), "application/json"


def _object(answered: Answered, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": answered.request_id,
        "object": kind,
        "created": answered.created_s,
        "model": answered.model,
        "choices": choices,
    }
