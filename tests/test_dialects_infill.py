"""llama.cpp's infill as its editors use it: bodies, flat replies, and which requests run ahead of users."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.dialects import infill
from echo_ray.dialects.asked import Answered, Asked, Refusal, Usage
from echo_ray.dialects.speculative import Sessions, _key
from echo_ray.prompts import Snippet
from echo_ray.schema import Kind

FIELDS = [
    "content",
    *(
        f"timings/{part}_{unit}"
        for part in ("prompt", "predicted")
        for unit in ("n", "ms", "per_token_ms", "per_second")
    ),
    "truncated",
    "tokens_cached",
]
VIM = {
    "input_prefix": "import os\n\ndef add(a, b):\n",
    "input_suffix": "\n\nprint(add(1, 2))\n",
    "input_extra": [
        {"text": "old\n", "time": [1, 2], "filename": "a.py"},
        {"text": "new\n", "time": [3, 4], "filename": "b.py"},
    ],
    "prompt": "    return ",
    "n_predict": 128,
    "stop": [],
    "n_indent": 4,
    "top_k": 40,
    "top_p": 0.9,
    "samplers": ["top_k", "top_p", "infill"],
    "stream": False,
    "cache_prompt": True,
    "id_slot": 0,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 250,
    "response_fields": FIELDS,
    "model": "",
}
WARM_UP = VIM | {
    "input_prefix": "",
    "input_suffix": "",
    "prompt": "",
    "n_predict": 0,
    "temperature": 0.0,
    "samplers": [],
    "t_max_prompt_ms": 1,
    "t_max_predict_ms": 1,
    "response_fields": [""],
}
CODE = {name: value for name, value in VIM.items() if name not in ("response_fields", "stop", "model")}
CODE |= {"t_max_predict_ms": 500, "n_cmpl": 3}


def parsed(body: Any) -> Asked:
    asked = infill.parse(body)
    assert isinstance(asked, Asked), asked
    return asked


def replied(*texts: str) -> Answered:
    reasons = ("stop",) * len(texts)
    return Answered("cmpl-1", "echo-2", "base", 1, texts, reasons, Usage(20, 5, 16), 50.0)


def test_a_body_of_llama_vim() -> None:
    assert parsed(VIM) == Asked(
        prefix="import os\n\ndef add(a, b):\n    return ",
        suffix="\n\nprint(add(1, 2))\n",
        max_tokens=128,
        top_p=0.9,
        prefix_complete=True,
        suffix_complete=True,
        snippets=(Snippet("b.py", "new\n"), Snippet("a.py", "old\n")),
        limit_ms=250,
        fields=tuple(FIELDS),
    )


def test_llama_vim_gets_exactly_the_fields_it_names() -> None:
    reply = infill.answer(parsed(VIM), replied("a + b"))
    assert FIELDS == list(reply)
    assert ("a + b", 4, 5, 50.0, 100.0, False, 16) == (
        reply["content"],
        reply["timings/prompt_n"],
        reply["timings/predicted_n"],
        reply["timings/predicted_ms"],
        reply["timings/predicted_per_second"],
        reply["truncated"],
        reply["tokens_cached"],
    )
    # The plug-in looks for this very text and drops a reply that is spaced otherwise.
    assert b'"content":"' in orjson.dumps(reply)


@pytest.mark.parametrize(
    "body", [WARM_UP, VIM | {"n_predict": 0}, VIM | {"input_prefix": "", "input_suffix": "", "prompt": ""}]
)
def test_a_warm_up_is_known_and_answered_with_what_it_asks(body: Any) -> None:
    asked = parsed(body)
    assert Kind.WARMUP is asked.kind
    expected = {} if body["response_fields"] == [""] else ""
    reply = infill.answer(asked, replied(""))
    assert expected == (reply if expected == {} else reply["content"])
    assert list(reply) == list(infill.answer(asked, replied()))


def test_llama_vscode_gets_whole_objects_as_many_as_it_asks() -> None:
    asked = parsed(CODE)
    assert 3 == asked.n
    assert [*"abc"] == [reply["content"] for reply in infill.answer(asked, replied(*"abc"))]
    (only,) = infill.answer(asked, replied("a"))
    assert only == infill.answer(parsed(CODE | {"n_cmpl": 1}), replied("a"))
    wanted = {"content", "stop", "generation_settings", "tokens_cached", "truncated", "timings"}
    assert wanted <= set(only)
    timings = {"prompt_n", "prompt_ms", "prompt_per_second", "predicted_n", "predicted_ms"}
    assert timings | {"predicted_per_second"} <= set(only["timings"])
    assert only["stop"] is True


def test_a_stream_says_the_same() -> None:
    asked = parsed(VIM | {"stream": True, "response_fields": None})
    first, last = infill.chunks(asked, replied("a + b"))
    assert ("a + b", False) == (first["content"], first["stop"])
    assert infill.answer(asked, replied("a + b")) | {"content": ""} == last


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_prefix": ...}, '"input_prefix" is required'),
        ({"input_suffix": ...}, '"input_suffix" is required'),
        ({"input_prefix": 5}, "input_prefix must be a string that UTF-8 can write, got 5"),
        ({"prompt": [1, 2]}, "prompt must be a string that UTF-8 can write, got [1, 2]"),
        (
            {"input_extra": "x"},
            'input_extra must be a list of {"filename": string, "text": string}, got \'x\'',
        ),
        ({"n_cmpl": 9}, "n_cmpl must be a whole number from 1 to 8, got 9"),
    ],
)
def test_a_refusal_has_the_shape_of_the_server(changes: Any, message: str) -> None:
    body = {name: value for name, value in (VIM | changes).items() if value is not ...}
    refusal = infill.parse(body)
    assert isinstance(refusal, Refusal)
    raw, kind = infill.error(refusal)
    inner = {"code": 400, "message": message, "type": "invalid_request_error"}
    assert ({"error": inner}, "application/json") == (orjson.loads(raw), kind)


def test_odd_values_of_llama_cpp_mean_what_they_mean_there() -> None:
    extra = [5, {"text": 1}, {"text": ""}, {"text": "x"}, {"text": "    return "}, {"text": "x"}]
    odd = {"n_predict": -1, "seed": -1, "temperature": -1, "t_max_predict_ms": -1, "response_fields": []}
    asked = parsed(VIM | odd | {"input_extra": extra})
    assert (None, None, 0.0, None, None) == (
        asked.max_tokens,
        asked.seed,
        asked.temperature,
        asked.limit_ms,
        asked.fields,
    )
    assert (Snippet("", "x"),) == asked.snippets


@pytest.mark.parametrize(("above", "below", "expected"), [(255, 63, (True, True)), (256, 64, (False, False))])
def test_a_full_window_is_not_a_whole_document(above: int, below: int, expected: Any) -> None:
    asked = parsed({"input_prefix": "x\n" * above, "input_suffix": "y\n" * below})
    assert expected == (asked.prefix_complete, asked.suffix_complete)


class Sent(NamedTuple):
    """One request of an editor, what it is in truth, and the answer that it got."""

    truth: Kind
    asked: Asked
    answer: str


def editor(body: dict[str, Any], real_ms: int, ahead_ms: int) -> Iterator[Sent]:
    """An editor while a function is typed: it asks at each key that its cache does not answer (typing along a
    suggestion is such a case), asks ahead twice after each suggestion, and now and then warms up.
    """
    goal = "def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    return a - b\n"
    cache: dict[str, str] = {}

    def sent(text: str, truth: Kind) -> Sent:
        before, end, line = text.rpartition("\n")
        limit = ahead_ms if truth is Kind.SPECULATIVE else real_ms
        split = {"input_prefix": before + end, "prompt": line, "input_suffix": "\n"}
        asked = parsed(body | split | {"t_max_predict_ms": limit})
        right = goal[len(text) : len(text) + 6].partition("\n")[0] if goal.startswith(text) else ""
        cache[text] = right if right and len(text) % 5 == 0 else f" {len(text)}"
        return Sent(truth, asked, cache[text] + "\n")

    for at in range(2, len(goal)):
        text = goal[:at]
        if at % 7 == 0:
            yield Sent(Kind.WARMUP, parsed(body | {"n_predict": 0}), "")
        hit = next(
            (base for base in cache if text.startswith(base) and (base + cache[base]).startswith(text)), None
        )
        if hit is not None:
            continue
        now = sent(text, Kind.AUTOMATIC)
        yield now
        for _ in range(2):  # ahead of the suggestion, and ahead of what that gave
            now = sent(now.asked.prefix + now.answer.rstrip("\n"), Kind.SPECULATIVE)
            yield now


@pytest.mark.parametrize(
    ("body", "real_ms", "ahead_ms"), [(VIM, 250, 1000), (CODE, 500, 500)], ids=["llama.vim", "llama.vscode"]
)
def test_real_speculative_and_warm_up_requests_are_told_apart(
    body: dict[str, Any], real_ms: int, ahead_ms: int
) -> None:
    sessions = Sessions()
    found, truth = [], []
    for item in editor(body, real_ms, ahead_ms):
        truth.append(item.truth)
        found.append(sessions.kind("s", "curl/7", item.asked))
        sessions.answered("s", "curl/7", item.asked, [item.answer])
    counted = Counter(truth)
    assert counted[Kind.AUTOMATIC] > 20
    assert 2 * counted[Kind.AUTOMATIC] == counted[Kind.SPECULATIVE]
    assert truth == found


def ask(prefix: str, suffix: str = "\n", limit_ms: int | None = None) -> Asked:
    return Asked(prefix, suffix, limit_ms=limit_ms)


def test_the_chain_that_an_accept_leaves_is_recognised() -> None:
    """As recorded: after an accept, the plug-in asks on top of a completion that was already taken."""
    sessions = Sessions()
    for prefix, text in (("return ", "a + b"), ("return a + b", "a + b"), ("return a + ba + b", "")):
        kind = sessions.kind("s", None, ask(prefix))
        assert (Kind.AUTOMATIC if prefix == "return " else Kind.SPECULATIVE) is kind
        sessions.answered("s", None, ask(prefix), [text])


@pytest.mark.parametrize("typed", [" ", "\n", "\n    ", "\n\n"])
def test_white_space_after_a_taken_suggestion_is_the_users(typed: str) -> None:
    sessions = Sessions()
    sessions.answered("s", None, ask("def f():\n"), ["    return 1\n"])
    assert Kind.AUTOMATIC is sessions.kind("s", None, ask(f"def f():\n    return 1{typed}"))
    assert Kind.SPECULATIVE is sessions.kind("s", None, ask("def f():\n        return 1"))


def test_sessions_and_clients_do_not_mix() -> None:
    sessions = Sessions()
    sessions.answered("1", "vim", ask("a"), ["b"])
    asked = [sessions.kind(*who, ask("ab")) for who in (("2", "vim"), ("1", "code"), ("1", "vim"))]
    assert [Kind.AUTOMATIC, Kind.AUTOMATIC, Kind.SPECULATIVE] == asked
    for limit_ms in (250, 1000):
        sessions.kind("3", "vim", ask("x", limit_ms=limit_ms))
    assert Kind.SPECULATIVE is sessions.kind("3", "vim", ask("new", limit_ms=1000))
    assert Kind.AUTOMATIC is sessions.kind("3", "vim", ask("new"))
    assert Kind.AUTOMATIC is sessions.kind("3", "code", ask("new", limit_ms=500))


@settings(deadline=None)
@given(st.text(st.sampled_from("ab \n"), max_size=9000), st.integers(0, 30))
def test_contexts_are_compared_by_their_last_characters(text: str, spaces: int) -> None:
    spread = (" " * spaces).join(text[-2500:]) + "."
    assert _key("".join(text[-2500:].split())[-1999:] + ".", "s") == _key(spread, "s")
