"""The OpenAI legacy completions dialect: bodies in, bodies out. Pure, no web framework.

`parse` turns a request body into a `Completion` or a `Refusal`; the other functions render answers.
Unknown keys are ignored, `suffix` absent means `""`, and only one choice of one text prompt is served:
token-id prompts are refused because the experience log needs the text. Not covered: `logprobs`,
`echo`, `best_of` and penalties (ignored), and the dialects of other clients.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion request, checked. None means that the client did not say."""

    prefix: str
    suffix: str
    max_tokens: int | None
    temperature: float | None
    stop: tuple[str, ...]
    stream: bool
    include_usage: bool
    seed: int | None
    user: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered, ready to be rendered in the dialect's error shape."""

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None

    def body(self) -> bytes:
        """The error body that OpenAI clients turn into their exception classes."""
        return orjson.dumps(
            {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.status}}
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer; `cached` prompt tokens came from the engine's prefix cache."""

    prompt: int
    completion: int
    cached: int

    def plain(self) -> dict[str, Any]:
        """In the dialect's shape."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


def parse(raw: bytes) -> Completion | Refusal:
    """The request in a body's bytes."""
    body = decode(raw)
    if isinstance(body, Refusal):
        return body
    if not isinstance(body, dict):
        return Refusal(400, f"the body must be a JSON object, not {type(body).__name__}")
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    if not isinstance(prompt, str):
        return _bad("prompt", prompt, "one string")
    suffix = body.get("suffix")
    if not isinstance(suffix, str | None):
        return _bad("suffix", suffix, "a string or null")
    if body.get("n", 1) not in (None, 1):
        return _bad("n", body["n"], "1, the only number of choices served")
    max_tokens = body.get("max_tokens")
    if max_tokens is not None and not (_is_int(max_tokens) and max_tokens >= 1):
        return _bad("max_tokens", max_tokens, "a whole number of at least 1")
    temperature = body.get("temperature")
    if temperature is not None and not (
        isinstance(temperature, int | float) and not isinstance(temperature, bool) and 0 <= temperature <= 2
    ):
        return _bad("temperature", temperature, "a number between 0 and 2")
    stop = body.get("stop")
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(item, str) for item in stops):
        return _bad("stop", stop, "a string or a list of strings")
    stream = body.get("stream") or False
    if not isinstance(stream, bool):
        return _bad("stream", stream, "true or false")
    options = body.get("stream_options")
    if not isinstance(options, dict | None):
        return _bad("stream_options", options, "an object")
    seed = body.get("seed")
    if seed is not None and not (_is_int(seed) and -(2**63) <= seed < 2**63):
        return _bad("seed", seed, "a 64-bit whole number")
    user = body.get("user")
    if not isinstance(user, str | None):
        return _bad("user", user, "a string")
    return Completion(
        prefix=prompt,
        suffix=suffix or "",
        max_tokens=max_tokens,
        temperature=None if temperature is None else float(temperature),
        stop=tuple(item for item in stops if item),
        stream=stream,
        include_usage=bool((options or {}).get("include_usage")),
        seed=seed,
        user=user or None,
    )


def decode(raw: bytes) -> Any | Refusal:
    """The JSON value in `raw`, or why there is none."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return Refusal(400, f"the body is not valid JSON: {error}")


def answer(
    request_id: str, model: str, created_s: int, text: str, finish_reason: str | None, usage: Usage | None
) -> dict[str, Any]:
    """Completion object; `finish_reason` None and no usage make a chunk in the middle of a stream."""
    body: dict[str, Any] = {
        "id": request_id,
        "object": "text_completion",
        "created": created_s,
        "model": model,
        "choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": finish_reason}],
    }
    if usage is not None:
        body["usage"] = usage.plain()
    return body


def events(body: dict[str, Any], include_usage: bool) -> Iterator[bytes]:
    """The whole answer `body` as server-sent events: the text, usage if asked for, and the end mark."""
    plain = {key: value for key, value in body.items() if key != "usage"}
    yield b"data: " + orjson.dumps(plain) + b"\n\n"
    if include_usage:
        yield b"data: " + orjson.dumps(body | {"choices": []}) + b"\n\n"
    yield b"data: [DONE]\n\n"


def models(versions: dict[str, str], created_s: int, max_model_len: int) -> dict[str, Any]:
    """Model list: one entry per version; `arm` names the experiment arm that serves it."""
    return {
        "object": "list",
        "data": [
            {
                "id": version,
                "object": "model",
                "created": created_s,
                "owned_by": "echo_ray",
                "max_model_len": max_model_len,
                "arm": arm,
            }
            for arm, version in versions.items()
        ],
    }


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _bad(param: str, value: Any, wanted: str) -> Refusal:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return Refusal(400, f"{param} must be {wanted}, got {shown}", param=param)
