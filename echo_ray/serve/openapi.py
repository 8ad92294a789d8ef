"""The OpenAPI description of the routes: for people, for tools, and for fuzzing by schema."""

from typing import Any

import echo_ray

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 1}
_SAMPLING = {
    "max_tokens": _COUNT,
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "stop": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "maxItems": 32}]},
    "stream": {"type": "boolean"},
}
_OPENAI = {
    "type": "object",
    "required": ["prompt"],
    "properties": {
        "model": _TEXT,
        "prompt": _TEXT,
        "suffix": {"type": ["string", "null"]},
        "n": {"type": "integer", "minimum": 1, "maximum": 8},
        "seed": {"type": "integer"},
        "user": _TEXT,
        **_SAMPLING,
    },
}
_MISTRAL = {
    "type": "object",
    "required": ["model", "prompt"],
    "properties": {
        "model": _TEXT,
        "prompt": _TEXT,
        "suffix": {"type": ["string", "null"]},
        "random_seed": {"type": "integer"},
        "metadata": {"type": "object"},
        **_SAMPLING,
    },
}
_INFILL = {
    "type": "object",
    "required": ["input_prefix", "input_suffix"],
    "properties": {
        "input_prefix": _TEXT,
        "input_suffix": _TEXT,
        "prompt": _TEXT,
        "n_predict": {"type": "integer", "minimum": 0},
        "t_max_predict_ms": {"type": "integer", "minimum": 0},
        "input_extra": {
            "type": "array",
            "items": {"type": "object", "properties": {"text": _TEXT, "filename": _TEXT}},
        },
        "response_fields": {"type": "array", "items": _TEXT},
    },
}
_TABBY_EVENT = {
    "type": "object",
    "required": ["type", "completion_id"],
    "properties": {
        "type": {"enum": ["view", "select", "dismiss"]},
        "completion_id": _TEXT,
        "choice_index": {"type": "integer"},
        "view_id": _TEXT,
        "elapsed": {"type": "integer", "minimum": 0},
    },
}
_EVENT = {
    "type": "object",
    "required": ["request_id", "type"],
    "properties": {
        "request_id": _TEXT,
        "type": {"enum": ["shown", "accepted", "partially_accepted", "dismissed"]},
        "ts_ms": {"type": "integer", "minimum": 0},
        "accepted_chars": {"type": ["integer", "null"], "minimum": 0},
        "visible_ms": {"type": ["integer", "null"], "minimum": 0},
    },
}
_EVENTS = {
    "anyOf": [
        _EVENT,
        {"type": "array", "items": _EVENT, "minItems": 1},
        {
            "type": "object",
            "required": ["events"],
            "properties": {"events": {"type": "array", "items": _EVENT}},
        },
    ]
}
_DEV_DATA = {
    "type": "object",
    "properties": {"name": _TEXT, "data": {"type": "object"}, "schema": _TEXT, "level": _TEXT},
}
_SNAPSHOT = {
    "type": "object",
    "required": ["prefix"],
    "properties": {"prefix": _TEXT, "suffix": _TEXT, "ts_ms": {"type": "integer", "minimum": 0}},
}
_ARMS = {
    "type": "object",
    "properties": {
        "on": {"type": "boolean"},
        "salt": {"type": "string", "minLength": 1, "maxLength": 64},
        "arms": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"model": _TEXT, "weight": {"type": "number", "exclusiveMinimum": 0}},
            },
        },
    },
}
_POSTS: dict[str, tuple[str, dict[str, Any]]] = {
    "/v1/completions": ("OpenAI completions with `suffix`, and Tabby's with `segments`", _OPENAI),
    "/beta/completions": ("DeepSeek's name for the same", _OPENAI),
    "/v1/fim/completions": ("Mistral's fill-in-the-middle", _MISTRAL),
    "/infill": ("llama.cpp's fill-in-the-middle", _INFILL),
    "/v1/events": ("Tabby's lifecycle events", _TABBY_EVENT),
    "/v1/dev-data": ("Continue's development data", _DEV_DATA),
    "/v1/echo/events": ("Lifecycle events; answered once they are on disk", _EVENTS),
    "/v1/echo/snapshots": ("A document between two requests", _SNAPSHOT),
}
_GETS = {
    "/v1/models": "Versions that are served",
    "/v1/health": "Tabby's health check",
    "/v1beta/server_setting": "Tabby's settings",
    "/v1beta/models": "Tabby's model list",
    "/v1/echo/session": "What the log holds of a session",
    "/v1/echo/arms": "The experiment's plan",
    "/health": "Whether every engine answers",
    "/metrics": "Prometheus metrics",
}
_REFUSALS = {
    "400": {"description": "the request is wrong"},
    "401": {"description": "no valid API key"},
    "403": {"description": "not an administrator's key, an unknown host, or a page of another web site"},
    "408": {"description": "the body did not arrive in time"},
    "409": {"description": "the plan was changed by somebody else meanwhile"},
    "413": {"description": "the body is too large"},
    "415": {"description": "the body is compressed"},
    "422": {"description": "the request is wrong (Mistral's dialect)"},
    "429": {"description": "too many requests"},
    "503": {"description": "the service cannot answer now"},
    "504": {"description": "no answer in time"},
}


def spec() -> dict[str, Any]:
    """The document, version 3.1."""
    paths: dict[str, Any] = {path: {"get": _operation(about)} for path, about in _GETS.items()}
    for path, (about, schema) in _POSTS.items():
        paths[path] = {"post": _operation(about, schema)}
    paths["/v1/echo/arms"]["put"] = _operation("Change weights, models or the kill switch", _ARMS)
    return {
        "openapi": "3.1.0",
        "info": {"title": "echo_ray completion service", "version": echo_ray.__version__},
        "paths": paths,
    }


def _operation(about: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": about, "responses": {"200": {"description": "done"}, **_REFUSALS}}
    if schema is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return found
