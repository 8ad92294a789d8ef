"""One captured HTTP exchange, whoever captured it: headers, who asked, and what was answered.

Every function takes what JSON can hold and never raises for it; what it does not understand is absent.
"""

import base64
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from echo_ray.log import source
from echo_ray.log.source import Record

_DEPTH = 8
"""Envelopes that are opened before an answer counts as none."""


def identity(
    given: Record, headers: dict[str, str], address: str, body: Record
) -> tuple[str, str | None, str | None]:
    """User (a pseudonym), session and file, each from the first place that names it."""
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit("")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    route = re.search(r"/u/(?P<user>[^/]+)/s/(?P<session>[^/]+)/", parts.path)
    routed = {} if route is None else {name: unquote(part) for name, part in route.groupdict().items()}

    def first(name: str) -> str | None:
        places = (given, {name: headers.get(f"x-echo-{name}")}, query, routed, body)
        return next((text for place in places if isinstance(text := place.get(name), str) and text), None)

    user, key = first("user"), headers.get("authorization", "").removeprefix("Bearer").strip()
    if user is not None:
        who = source.pseudonym("user", user)
    else:
        who = source.pseudonym("bearer", key) if key else source.UNKNOWN
    return who, first("session") or source.maybe_text(body, "session_id"), first("file")


def headers_of(value: Any) -> dict[str, str]:
    """Header texts by lower-case name, from an object or a list of `{name, value}`; no others count."""
    if isinstance(value, dict):
        pairs = list(value.items())
    else:
        found = value if isinstance(value, list) else []
        pairs = [(item.get("name"), item.get("value")) for item in found if isinstance(item, dict)]
    return {
        name.lower(): text for name, text in pairs if isinstance(name, str) and isinstance(text, str) and text
    }


def answers(value: Any, depth: int = 0) -> list[str]:
    """Texts that were answered, one a choice; none for an error, an empty answer or no answer.

    `value` is a reply, a list of replies or of chunks (`stop` false), a stream of server-sent events, an
    envelope around one of these (`body`, `content`, HAR's base64), or simply the text.
    """
    value = parsed(value)
    if depth > _DEPTH:
        return []
    if isinstance(value, str):
        if not value.startswith("data:"):
            return [value]
        lines = [line[5:].strip() for line in value.split("\n") if line.startswith("data:")]
        return ["".join(text for line in lines if line != "[DONE]" for text in answers(line, depth + 1))]
    if isinstance(value, list):
        texts = [text for item in value for text in answers(item, depth + 1)]
        chunks = any(isinstance(item, dict) and item.get("stop") is False for item in value)
        return ["".join(texts)] if chunks else texts
    if not isinstance(value, dict) or not 200 <= _status(value) < 300:
        return []
    if value.get("encoding") == "base64" and isinstance(value.get("text"), str):
        try:
            return answers(base64.b64decode(value["text"]).decode(), depth + 1)
        except ValueError:
            return []
    found = next((value[key] for key in ("content", "body", "text") if value.get(key) is not None), None)
    return [found] if isinstance(found, str) and "content" in value else answers(found, depth + 1)


def _status(value: Record) -> int:
    status = value.get("status")
    return status if isinstance(status, int) else 200


def parsed(value: Any) -> Any:
    """JSON value in a text that holds an object or a list; any other value as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value
