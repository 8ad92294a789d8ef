"""From answers and refusals to HTTP replies, in any dialect."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from echo_ray.dialects import infill, mistral, openai, tabby
from echo_ray.dialects.asked import Answered, Asked, Refusal

JSON_TYPE = "application/json"
STREAM_TYPE = "text/event-stream"


def reply(dialect: Any, asked: Asked, found: Answered) -> Response:
    """An answer in the dialect's shape, streamed if that was asked for.

    The answer is complete before its first byte leaves (post-processing needs all of it), so a stream is
    one body in the stream's shape.
    """
    headers = {
        "x-request-id": found.request_id,
        "x-echo-arm": found.arm,
        "x-echo-model": found.model,
    }
    if not asked.stream:
        return Response(orjson.dumps(dialect.answer(asked, found)), 200, headers, JSON_TYPE)
    events = b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in dialect.chunks(asked, found))
    if dialect is not infill:
        events += b"data: [DONE]\n\n"
    return Response(events, 200, headers | {"cache-control": "no-cache"}, STREAM_TYPE)


def refuse(dialect: Any, refusal: Refusal, request: Request) -> Response:
    """A refusal in the dialect's shape."""
    body, kind = dialect.error(refusal)
    headers = {"retry-after": wait} if (wait := request.scope.get("echo.retry_after")) else None
    return Response(body, refusal.status, headers, kind or None)


def json_reply(body: Any) -> Response:
    """`body` as compact JSON (llama.vim reads no other)."""
    return Response(orjson.dumps(body), media_type=JSON_TYPE)


def render(path: str, refusal: Refusal) -> tuple[bytes, str]:
    """A refusal from before the body was read, in the dialect that `path` alone tells."""
    for end, dialect in (("/fim/completions", mistral), ("/infill", infill), ("/v1/events", tabby)):
        if path.endswith(end):
            found: tuple[bytes, str] = dialect.error(refusal)
            return found
    return openai.error(refusal)
