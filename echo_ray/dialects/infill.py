"""llama.cpp's `/infill` and `/health`, as llama.vim and llama.vscode use them.

The text before the cursor is `input_prefix` and then `prompt`, the current line up to the cursor. A request
that asks for nothing (`n_predict` 0) or holds nothing warms a cache: kind `warmup`, which needs no engine.
`input_extra` is a ring whose newest text is its last and the most important. A reply must be compact JSON:
llama.vim ignores `"content": "x"` with a space. Times in a reply: all of it counts as prediction. Which
requests run ahead of the user is told by `speculative`. Not covered: samplers, `n_indent`, grammars, slots
(ignored); llama.vim drops the white space of a blank line, and sends one line end too many on the first and
last line of a file.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from echo_ray.dialects.asked import JSON, Answered, Asked, Refusal
from echo_ray.dialects.body import Body, is_text, said, useful
from echo_ray.prompts import Snippet
from echo_ray.schema import Kind

_PREFIX_LINES, _SUFFIX_LINES = 256, 64
"""Lines that the clients send unless told otherwise."""
_ANY = 2**31 - 1


def complete(prefix: str, suffix: str) -> tuple[bool, bool]:
    """Whether a window of these clients reaches the start and the end of the document."""
    return prefix.count("\n") < _PREFIX_LINES, suffix.count("\n") < _SUFFIX_LINES


def parse(body: JSON) -> Asked | Refusal:
    """The request in a body."""
    given = Body(body)
    for name in ("input_prefix", "input_suffix"):
        if given.fault is None and name not in given.fields:
            given.fault = Refusal(400, f'"{name}" is required', param=name)
    before, after = given.text("input_prefix") or "", given.text("input_suffix") or ""
    prefix = before + (given.text("prompt") or "")
    predicted = given.whole("n_predict", -_ANY, _ANY)
    seed = given.whole("seed", -(2**63), 2**63 - 1)
    extra = given.fields.get("input_extra")
    if not isinstance(extra, list | None):
        given.wrong("input_extra", 'a list of {"filename": string, "text": string}')
    temperature = given.number("temperature", -_ANY, _ANY)
    limit_ms = given.whole("t_max_predict_ms", -(2**63), 2**63 - 1)
    top_p, stop, n, stream = given.top_p(), given.stops(), given.choices("n_cmpl"), given.flag("stream")
    if given.fault is not None:
        return given.fault
    starts, ends = complete(prefix, after)
    warm = predicted == 0 or not (prefix or after)
    return Asked(
        prefix=prefix,
        suffix=after,
        max_tokens=predicted if predicted is not None and predicted > 0 else None,
        # In llama.cpp anything below 0 is greedy, and seed -1 is none.
        temperature=None if temperature is None else min(max(temperature, 0.0), 2.0),
        top_p=top_p,
        stop=stop,
        n=n,
        seed=None if seed == -1 else seed,
        stream=stream,
        user=said(body, "user"),
        session=said(body, "session", "session_id"),
        file=said(body, "file"),
        prefix_complete=starts,
        suffix_complete=ends,
        snippets=useful(_snippets(extra or []), prefix, after),
        kind=Kind.WARMUP if warm else Kind.AUTOMATIC,
        limit_ms=limit_ms if limit_ms is not None and limit_ms > 0 else None,
        fields=_fields(given.fields.get("response_fields")),
    )


def answer(asked: Asked, answered: Answered) -> JSON:
    """One object, a list of them where several choices were asked for, or the fields that were asked for."""
    made = [_chosen(_object(answered, number), asked.fields) for number in range(len(answered.texts))]
    if asked.n > 1:
        return made
    return made[0] if made else _chosen(_object(answered, 0), asked.fields)


def chunks(asked: Asked, answered: Answered) -> Iterator[JSON]:
    """The same as objects of a stream: the text of each choice, then its whole object without text."""
    for number, text in enumerate(answered.texts):
        yield {"index": number, "content": text, "stop": False}
        yield _chosen(_object(answered, number) | {"content": ""}, asked.fields)


def error(refusal: Refusal) -> tuple[bytes, str]:
    """Body and content type, as llama.cpp's server writes them."""
    inner = {"code": refusal.status, "message": refusal.message, "type": refusal.type}
    return orjson.dumps({"error": inner}), "application/json"


def health() -> JSON:
    """Body of `/health` when the server is ready."""
    return {"status": "ok"}


def _object(answered: Answered, number: int) -> dict[str, Any]:
    usage, silent = answered.usage, not answered.texts
    fresh = max(0, usage.prompt - usage.cached)
    spent_ms = max(answered.latency_ms, 0.001)
    return {
        "index": number,
        "content": "" if silent else answered.texts[number],
        "stop": True,
        "stop_type": "limit" if not silent and answered.finish_reasons[number] == "length" else "eos",
        "model": answered.model,
        "generation_settings": {},
        "tokens_predicted": usage.completion,
        "tokens_evaluated": usage.prompt,
        "tokens_cached": usage.cached,
        "truncated": False,
        "timings": {
            "prompt_n": fresh,
            "prompt_ms": 0.0,
            "prompt_per_token_ms": 0.0,
            "prompt_per_second": 0.0,
            "predicted_n": usage.completion,
            "predicted_ms": answered.latency_ms,
            "predicted_per_token_ms": answered.latency_ms / max(1, usage.completion),
            "predicted_per_second": usage.completion * 1000 / spent_ms,
        },
    }


def _chosen(whole: dict[str, Any], fields: tuple[str, ...] | None) -> dict[str, Any]:
    """The named fields, flat, each under its whole name (`timings/prompt_n`); unknown ones are left out."""
    if fields is None:
        return whole
    chosen = {}
    for field in fields:
        value: Any = whole
        for name in field.split("/"):
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            chosen[field] = value
    return chosen


def _fields(value: JSON) -> tuple[str, ...] | None:
    """Names of the fields that the reply is to have; as upstream, an empty or odd list means all."""
    if not isinstance(value, list) or not value or not all(map(is_text, value)):
        return None
    return tuple(value)


def _snippets(ring: list[Any]) -> Iterator[Snippet]:
    for item in reversed(ring):
        if isinstance(item, dict) and is_text(item.get("text")):
            yield Snippet(said(item, "filename") or "", item["text"])
