"""OpenAI's and Mistral's dialects: real bodies in, replies that the official libraries read; and that no body
of any dialect is more than a refusal.
"""

import math
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistralai.client import models as mistral_models
from mistralai.client.errors import HTTPValidationErrorData
from openai.types import Completion, Model

from echo_ray.dialects import infill, mistral, native, openai, tabby
from echo_ray.dialects.asked import Answered, Asked, Refusal, Usage
from echo_ray.dialects.body import MAX_STOPS, decode
from echo_ray.dialects.continue_dev import Join, Logged
from echo_ray.schema import Kind

SDK = {
    "model": "echo-fim",
    "prompt": "def add(a, b):\n    return ",
    "suffix": "\n\nprint(add(1,2))\n",
    "max_tokens": 32,
    "temperature": 0,
    "stop": ["\n\n"],
    "user": "user1",
    "n": 1,
    "seed": 7,
    "echo": False,
}
FIM = {
    "model": "codestral-latest",
    "prompt": "def add(a, b):\n    return ",
    "suffix": "\nprint(add(1,2))",
    "temperature": 0,
    "top_p": 1,
    "max_tokens": 64,
    "min_tokens": 0,
    "stop": ["\n\n"],
    "random_seed": 7,
    "metadata": {"session": "s-1", "file": "a.py", "k": "v"},
    "stream": False,
}
NINE = ["<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"]
NINE += ["<|repo_name|>", "<|file_sep|>", "<|im_start|>", "<|im_end|>"]


def replied(*texts: str) -> Answered:
    reasons = ("length",) + ("stop",) * (len(texts) - 1)
    usage = Usage(prompt=20, completion=5, cached=16)
    return Answered("cmpl-1", "echo-2", "base", 1_772_366_400, texts, reasons[: len(texts)], usage, 12.5)


def parsed(dialect: Any, body: Any) -> Asked:
    found = dialect.parse(body)
    assert isinstance(found, Asked), found
    return found


def test_a_body_of_the_openai_library() -> None:
    assert parsed(openai, SDK) == Asked(
        prefix="def add(a, b):\n    return ",
        suffix="\n\nprint(add(1,2))\n",
        max_tokens=32,
        temperature=0.0,
        stop=("\n\n",),
        seed=7,
        user="user1",
    )


def test_extra_body_names_session_and_file() -> None:
    extra = {"metadata": {"file": "a.py", "session": "m", "x": 1}, "input_prefix": "x"}
    asked = parsed(openai, {"model": "x", "prompt": ["p"], **extra})
    assert ("p", "m", "a.py") == (asked.prefix, asked.session, asked.file)
    assert "s" == parsed(openai, {"prompt": "p", "session_id": "s", **extra}).session
    assert Asked("p", "") == parsed(openai, {"prompt": "p", "session_id": 5, "metadata": ["x"]})


def test_the_template_form_of_continue_arrives_as_prefix_and_suffix() -> None:
    prompt = "<|fim_prefix|>def add(a, b):\n    return <|fim_suffix|>\n\nprint(add(1, 2))\n<|fim_middle|>"
    asked = parsed(openai, {"model": "m", "prompt": prompt, "stream": True, "stop": NINE})
    assert ("def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n") == (asked.prefix, asked.suffix)
    assert (9, True, False) == (len(asked.stop), asked.stream, asked.include_usage)


def test_null_means_absent_and_unknown_keys_do_not_matter() -> None:
    names = ("suffix", "max_tokens", "temperature", "top_p", "n", "seed", "stop", "stream", "user")
    body = {"prompt": "p", "logprobs": 5, "best_of": 9, **dict.fromkeys((*names, "stream_options"))}
    assert Asked("p", "") == parsed(openai, body)


def test_stream_options_count_for_streams_alone() -> None:
    options = {"stream_options": {"include_usage": True}}
    assert not parsed(openai, {"prompt": "p", **options}).include_usage
    assert parsed(openai, {"prompt": "p", "stream": True, **options}).include_usage
    assert Asked("p", "") == parsed(openai, {"prompt": "p", "stream_options": "x"})


@pytest.mark.parametrize(
    ("changes", "param", "message"),
    [
        ({"prompt": [1, 2]}, "prompt", "prompt must be one string (token ids cannot be logged as text), got"),
        ({"prompt": [[1, 2]]}, "prompt", "prompt must be one string"),
        ({"prompt": ["a", "b"]}, "prompt", "prompt must be one string"),
        ({"prompt": None}, "prompt", "prompt must be one string"),
        ({"prompt": "\ud800"}, "prompt", "prompt must be one string"),
        ({"suffix": "\udfff"}, "suffix", "suffix must be a string that UTF-8 can write, got '\\udfff'"),
        ({"n": 9}, "n", "n must be a whole number from 1 to 8, got 9"),
        ({"n": True}, "n", "n must be a whole number from 1 to 8, got True"),
        ({"max_tokens": 0}, "max_tokens", "max_tokens must be a whole number from 1 to"),
        ({"temperature": 2.5}, "temperature", "temperature must be a number from 0 to 2, got 2.5"),
        ({"temperature": math.nan}, "temperature", "temperature must be"),
        ({"top_p": 1.1}, "top_p", "top_p must be a number from 0 to 1, got 1.1"),
        ({"seed": 1 << 63}, "seed", "seed must be a whole number from"),
        ({"stop": ["x"] * 33}, "stop", "stop must be a string or a list of at most 32 strings, got ["),
        ({"stop": [1]}, "stop", "stop must be a string"),
        ({"stream": 1}, "stream", "stream must be true or false, got 1"),
        ({"stream": True, "stream_options": 1}, "stream_options", "stream_options must be an object, got 1"),
        ({"user": 5}, "user", "user must be a string"),
    ],
)
def test_a_refusal_names_the_field_the_value_and_what_was_wanted(
    changes: Any, param: str, message: str
) -> None:
    refusal = openai.parse(SDK | changes)
    assert isinstance(refusal, Refusal)
    assert (400, param) == (refusal.status, refusal.param)
    assert refusal.message.startswith(message)
    body, kind = openai.error(refusal)
    inner = {"message": refusal.message, "type": "invalid_request_error", "param": param, "code": 400}
    assert ({"error": inner}, "application/json") == (orjson.loads(body), kind)


def test_as_many_choices_and_stops_as_allowed() -> None:
    asked = parsed(openai, SDK | {"n": 8, "stop": ["x"] * MAX_STOPS})
    assert (8, MAX_STOPS) == (asked.n, len(asked.stop))


def test_a_share_of_nothing_is_one_that_engines_take() -> None:
    share = parsed(openai, SDK | {"top_p": 0}).top_p
    assert share is not None
    assert 0 < share < 1e-5


def test_the_openai_library_reads_the_reply_and_its_stream_says_the_same() -> None:
    asked = parsed(openai, SDK | {"stream": True, "stream_options": {"include_usage": True}})
    answered = replied("a + b", "b + a")
    whole = Completion.model_validate(openai.answer(asked, answered), strict=True)
    assert ["a + b", "b + a"] == [choice.text for choice in whole.choices]
    assert ["length", "stop"] == [choice.finish_reason for choice in whole.choices]
    assert "echo-2" == whole.model
    assert whole.usage is not None
    assert (20, 5, 25) == (
        whole.usage.prompt_tokens,
        whole.usage.completion_tokens,
        whole.usage.total_tokens,
    )
    *parts, last = [Completion.model_validate(item) for item in openai.chunks(asked, answered)]
    assert whole.choices == [choice for part in parts for choice in part.choices]
    assert ([], whole.usage) == (last.choices, last.usage)
    assert {whole.id} == {part.id for part in parts}


def test_the_model_list_holds_versions_by_arm_and_aliases() -> None:
    twice = openai.models({"a": "v1", "b": "v1"}, 5, 2048)["data"]
    assert [("v1", "a")] == [(entry["id"], entry["arm"]) for entry in twice]
    listed = openai.models({"base": "v1", "new": "v2"}, 5, 2048, ["qwen2.5-coder:echo", "v1"])
    assert ["v1", "v2", "qwen2.5-coder:echo"] == [Model.model_validate(m).id for m in listed["data"]]
    assert ["base", "new", None] == [model.get("arm") for model in listed["data"]]
    assert {2048} == {model["max_model_len"] for model in listed["data"]}


def test_a_body_of_the_mistral_library() -> None:
    assert parsed(mistral, FIM) == Asked(
        prefix="def add(a, b):\n    return ",
        suffix="\nprint(add(1,2))",
        max_tokens=64,
        temperature=0.0,
        top_p=1.0,
        stop=("\n\n",),
        seed=7,
        session="s-1",
        file="a.py",
    )


def test_the_header_of_continue_goes_from_a_fim_prompt() -> None:
    asked = parsed(mistral, {"prompt": "+++++ o.py\nx\n\n+++++ lib/m.py\ny = ", "suffix": "\n"})
    assert ("y = ", "lib/m.py") == (asked.prefix, asked.file)
    assert [("o.py", "x")] == [tuple(snippet) for snippet in asked.snippets]


@pytest.mark.parametrize(
    "changes", [{"prompt": None}, {"prompt": 5}, {"metadata": "x"}, {"stop": 5}, {"suffix": 1}]
)
def test_the_mistral_library_reads_a_refusal(changes: Any) -> None:
    refusal = mistral.parse(FIM | changes)
    assert isinstance(refusal, Refusal)
    assert 422 == refusal.status
    body, _ = mistral.error(refusal)
    (detail,) = HTTPValidationErrorData.model_validate_json(body).detail or []
    assert (["body", refusal.param], refusal.message) == (detail.loc, detail.msg)
    other, _ = mistral.error(Refusal(503, "x"))
    assert 503 == orjson.loads(other)["code"]


def test_the_mistral_library_reads_the_reply_and_its_stream_says_the_same() -> None:
    asked, answered = parsed(mistral, FIM), replied("a + b")
    whole = mistral_models.FIMCompletionResponse.model_validate(mistral.answer(asked, answered))
    assert whole.choices[0].message is not None
    assert ("a + b", "length", 25) == (
        whole.choices[0].message.content,
        whole.choices[0].finish_reason,
        whole.usage.total_tokens,
    )
    parts = [mistral_models.CompletionChunk.model_validate(x) for x in mistral.chunks(asked, answered)]
    assert "a + b" == "".join(str(part.choices[0].delta.content) for part in parts)
    assert [None, "length"] == [part.choices[0].finish_reason for part in parts]
    assert parts[-1].usage is not None
    assert 25 == parts[-1].usage.total_tokens


NAMES = [*SDK, *FIM, "segments", "debug_options", "raw_prompt", "prefix", "input_prefix", "input_suffix"]
NAMES += ["input_extra", "response_fields", "n_predict", "n_cmpl", "t_max_predict_ms", "data", "completion"]
NAMES += ["text", "filename", "declarations", "body", "filepath", "type", "completion_id", "events", "name"]
NAMES += ["stream_options", "session_id", "session", "file", "timestamp", "time", "elapsed", "choice_index"]
WORDS = st.sampled_from(["", "view", "shown", "autocomplete", "\ud800", "<|fim_prefix|>", "\n# a.py\nx"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=8),
    max_leaves=12,
)
NESTED: Any = [[]]
for _ in range(5000):
    NESTED = [NESTED]
GOOD = [SDK, FIM, {"input_prefix": "a", "input_suffix": "b"}, {"segments": {"prefix": "x"}}]


def check(body: Any) -> None:
    for dialect in (openai, mistral, tabby, infill):
        found: Any = dialect.parse(body)  # type: ignore[attr-defined]
        if isinstance(found, Refusal):
            raw, _ = dialect.error(found)  # type: ignore[attr-defined]
            assert raw or dialect is tabby
            continue
        assert isinstance(found, Asked)
        orjson.dumps([found.prefix, found.suffix, found.user, found.session, found.file, found.snippets])
        assert found.max_tokens is None or found.max_tokens > 0
        texts = ("x",) * found.n
        orjson.dumps(dialect.answer(found, replied(*texts)))  # type: ignore[attr-defined]
    assert isinstance(tabby.claims(body), bool)
    for records in (tabby.events(body, None, "u", 1), native.events(body, "u", 1)):
        assert isinstance(records, Refusal) or orjson.dumps(records)
    join = Join()
    join.served("r", "u", 1, "x", "", "y")
    assert isinstance(join.log(body, 1), Refusal | Logged)
    join.match(body)


@settings(deadline=None)
@given(JSON)
def test_any_body_is_asked_or_refused(body: Any) -> None:
    check(body)


@settings(deadline=None)
@given(st.sampled_from(GOOD), st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3))
def test_a_good_body_with_any_other_fields_is_asked_or_refused(body: Any, changes: Any) -> None:
    check(body | changes)


@pytest.mark.parametrize("value", [NESTED, [10**5000], "\ud800" * 9, {"\ud800": 1}, math.inf], ids=range(5))
def test_odd_values_are_asked_or_refused(value: Any) -> None:
    check(value)
    for body in GOOD:
        for name in NAMES:
            check(body | {name: value})
            check(body | {name: value[0]} if isinstance(value, list) else body)


def test_bytes_that_are_no_json_are_refused() -> None:
    for raw in (b"", b"{", b'"\\ud800"', b"\xff", b"[" * 100_000):
        assert isinstance(decode(raw), Refusal)
    assert {"a": 1} == decode(b'{"a":1}')


def test_kinds_of_other_dialects_are_automatic() -> None:
    assert {Kind.AUTOMATIC} == {parsed(openai, SDK).kind, parsed(mistral, FIM).kind}
