"""What a network can send to the service: good bodies of every dialect, and what may stand in their place."""

import json
import random
from collections.abc import Iterator
from typing import Any

GOOD = {"prompt": "def add(first, second):\n    return ", "suffix": "\n"}
TABBY = {
    "language": "python",
    "user": "u",
    "seed": 1,
    "temperature": 0.1,
    "segments": {
        "prefix": "a",
        "suffix": "b",
        "filepath": "f.py",
        "git_url": "https://git.example.com/team/proj.git",
        "declarations": [{"filepath": "a.py", "body": "def b(): ..."}],
        "relevant_snippets_from_changed_files": [{"filepath": "a.py", "body": "x = 1", "score": 0.5}],
    },
}
BODIES: dict[str, list[dict[str, Any]]] = {
    "/v1/completions": [GOOD | {"max_tokens": 4, "n": 2, "stop": ["\n"], "seed": 3, "user": "u"}, TABBY],
    "/v1/engines/any/completions": [GOOD | {"stream": True, "stream_options": {"include_usage": True}}],
    "/beta/completions": [{"prompt": "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>", "top_p": 0.5}],
    "/v1/fim/completions": [GOOD | {"model": "m", "metadata": {"user": "u", "file": "f"}, "random_seed": 1}],
    "/infill": [
        {
            "input_prefix": "a\n",
            "prompt": "b",
            "input_suffix": "c",
            "input_extra": [{"text": "t", "filename": "f", "time": [1, 2]}],
            "n_predict": 8,
            "t_max_predict_ms": 250,
            "n_cmpl": 2,
            "response_fields": ["content", "timings/prompt_n"],
        }
    ],
    "/v1/events": [{"type": "select", "completion_id": "cmpl-1", "choice_index": 0, "elapsed": 12}],
    "/v1/dev-data": [
        {
            "name": "autocomplete",
            "schema": "0.2.0",
            "data": {"prefix": "a", "completion": "b", "suffix": "", "accepted": True, "time": 3},
        }
    ],
    "/v1/echo/events": [{"request_id": "a", "type": "shown", "ts_ms": 2, "accepted_chars": 1}],
    "/v1/echo/snapshots": [{"id": "x", "prefix": "a", "suffix": "b", "ts_ms": 3}],
}
"""A good body of every dialect by path."""
ODD: list[Any] = [
    *(None, True, 0, -1, 1.5, 1e308, -1e308, 2**63, -(2**63), 2**64, 10**30, 0.1, "", "\x00", "\ufeff"),
    *("a" * 5000, "\U0001f600", "<|fim_middle|>", [], {}, [[]], [None], {"a": None}, [{}], {"text": {}}),
    *(["\x00"], ["a"] * 100, {"": ""}),
]
RAW = [
    *(b"", b"null", b"true", b'"x"', b"[", b"{", b"{}", b"[]", b"[{}]", b"\x00", b"\xff\xfe", b'{"a":'),
    b'{"prompt":"\xed\xa0\x80"}',
    b'{"prompt":"\\ud800"}',
    b'{"prompt":"\\ud83d\\ude00"}',
    b'\xef\xbb\xbf{"prompt":"x"}',
    b'{"prompt":"a","prompt":"b"}',
    b'{"prompt":"\x00"}',
    b'{"prompt":"a"} trailing',
    b'{"prompt":NaN}',
    b'{"prompt":"a","temperature":NaN}',
    b'{"prompt":"a","temperature":Infinity}',
    b'{"prompt":"a","temperature":1e400}',
    b'{"prompt":"a","max_tokens":1e300}',
    b'{"prompt":"a","max_tokens":' + b"9" * 5000 + b"}",
    b'{"prompt":"a","temperature":-' + b"9" * 5000 + b"}",
    b"[" * 63 + b"]" * 63,
    b"[" * 100_000,
    b'{"a":' * 1000 + b"1" + b"}" * 1000,
    b"prompt=a&suffix=b",
    b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
    b'{"segments":null}',
    b'{"segments":[]}',
    b'{"debug_options":{"raw_prompt":"x"}}',
    b'{"debug_options":1,"segments":{"prefix":"a"}}',
    b'{"events":[]}',
    b'{"events":' + json.dumps([{"request_id": "a", "type": "shown"}] * 1001).encode() + b"}",
]
HEADERS: list[tuple[str, bytes]] = [
    *((f"x-echo-{name}", value) for name in ("user", "session", "file", "language", "repository")
      for value in (b"\xff\xfe", b"%ff%fe", b"%00", "日本".encode(), b"%" * 65536, b"%ed%a0%80", b"\x80",
                    b"a" * 65536, b"  ", b"../../etc", b"%2e%2e%2f")),
    *((f"x-echo-{name}", value) for name in ("arm", "ts-ms", "kind", "prefix-complete", "suffix-complete")
      for value in (b"\xff", b"\xb2", b"", b"-1", b"99999999999999", b"0", b"1e9", b"true")),
    *(("authorization", value) for value in (b"Bearer \xff", b"\xff", b"Bearer", b"B" * 65536)),
    *((name, b"\xe9") for name in ("x-api-key", "api-key", "cookie", "traceparent", "accept")),
    *(("content-length", value) for value in (b"-1", b"\xb2", b"9" * 30, b"1e3")),
    *(("content-type", value) for value in (b"text/plain", b"multipart/form-data", b"a/b;c=\xff")),
    *(("origin", value) for value in (b"http://[", b"null", b"\xff", b"https://evil.example.com")),
    *(("content-encoding", value) for value in (b"gzip", b"identity", b"\xff")),
    *(("user-agent", value) for value in (b"\xff" * 70_000, b"", b"/home/ann/bin/vim ann@example.com")),
]  # fmt: skip
PATHS = [
    *("/u//s//v1/completions", "/u/%00/s/..%2f/v1/completions", "/u/a%2Fb/s/c/v1/completions", "/u/a/s/b"),
    *("/u/a", "/u/", "//v1/completions", "/v1/completions/", "/v1//completions", "/u/%ff/v1/completions"),
    *("/u/%25ff/v1/completions", "/u/%ed%a0%80/infill", "/s/x/v1/events", "/u/a/s/b/u/c/v1/completions"),
    *(
        "/%0a",
        "/nothing",
        "/u/a/v1/completions/",
        "/v1/engines//completions",
        "/v1/engines/a%2fb/completions",
    ),
    *(
        "/v1/engines/%00/completions",
        "/" + "x" * 65536,
        "/u/" + "x" * 65536 + "/v1/completions",
        "/..%2f..%2f",
    ),
    *("/v1/completions%00", "/v1/completions;x", "/V1/COMPLETIONS", "/playground/../v1/models"),
]
QUERIES = [
    *("user=%ff", "user=%00", "&&&==", "user", "a=b;c=d", "user=%ed%a0%80", "session=" + "x" * 65536),
    *(
        "&".join(f"a{number}=1" for number in range(3000)),
        "select_kind=%ff",
        "file=..%2f..%2fetc",
        "%",
        "%zz",
    ),
]
OTHERS = [
    "n",
    "stop",
    "stream",
    "model",
    "mode",
    "echo",
    "user",
    "seed",
    "session_id",
    "best_of",
    "logprobs",
    "temperature",
    "top_p",
    "max_tokens",
    "prompt",
]
"""Fields of other dialects."""


def mutants(body: dict[str, Any], draws: random.Random) -> Iterator[Any]:
    """`body` with one value at any depth replaced, dropped, or moved elsewhere."""
    names = [*body, *draws.sample(OTHERS, 6)]
    for name in names:
        for value in ODD:
            yield body | {name: value}
        inner = body.get(name)
        if isinstance(inner, dict):
            for changed in mutants(inner, draws):
                yield body | {name: changed}
        if isinstance(inner, list):
            for value in ODD:
                yield body | {name: [value, *inner]}
        yield {key: value for key, value in body.items() if key != name}
