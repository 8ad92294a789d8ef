"""The drivers of npm clients against a logging stub: what the wire contract says each client sends."""

from pathlib import Path
from typing import Any

import pytest

from tests.node import adapters
from tests.stub import TEXT, Mode, Stub, serving
from tests.tabby import REMOTE, Tabby, new_view, tabby

PREFIX, SUFFIX = "def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n"
DOCUMENT, CURSOR = PREFIX + SUFFIX, len(PREFIX)
TEMPLATE = f"<|fim_prefix|>{PREFIX}<|fim_suffix|>{SUFFIX}<|fim_middle|>"
FIM = {"prompt": PREFIX, "suffix": SUFFIX, "max_tokens": 64, "temperature": 0.01, "stop": ["\n\n"]}


def paths(stub: Stub) -> list[str]:
    return [f"{exchange['method']} {exchange['path']}" for exchange in stub.seen]


def test_tabby_reports_the_whole_life_of_a_completion(tmp_path: Path) -> None:
    headers = {"X-Echo-Session": "sess-42"}
    with serving(Stub()) as stub, Tabby(stub.url, "auth_deadbeef", tmp_path, headers) as agent:
        answer = agent.complete(DOCUMENT, CURSOR)
        view = new_view()
        told = [
            agent.event("view", answer["id"], view),
            agent.event("select", answer["id"], view, elapsed=812),
            agent.event("select", answer["id"], view, elapsed=900, select_kind="line"),
            agent.event("dismiss", answer["id"], view, elapsed=1200),
        ]
    replaced = {"start": CURSOR, "end": CURSOR}
    assert [{"index": 0, "text": TEXT, "replaceRange": replaced}] == answer["choices"]
    assert [True] * 4 == told
    (asked,) = stub.at("/v1/completions")
    segments = {"prefix": PREFIX, "suffix": SUFFIX, "filepath": "m.py", "git_url": REMOTE}
    assert {"language": "python", "segments": segments} == asked["body"]
    base = {"completion_id": answer["id"], "choice_index": 0, "view_id": view}
    expected = [
        {"type": "view"} | base,
        {"type": "select", "elapsed": 812} | base,
        {"type": "dismiss", "elapsed": 1200} | base,
    ]
    assert expected == [exchange["body"] for exchange in stub.at("/v1/events")]
    (partly,) = stub.at("/v1/events?select_kind=line")
    assert {"type": "select", "elapsed": 900, "select_kind": "line"} | base == partly["body"]
    for exchange in stub.seen:
        sent = exchange["headers"]
        assert ("Bearer auth_deadbeef", "sess-42") == (sent["authorization"], sent["x-echo-session"])


def test_tabby_answers_from_its_cache_while_the_user_types_along(tmp_path: Path) -> None:
    along = PREFIX + "a" + SUFFIX, CURSOR + 1
    with serving(Stub()) as stub:
        first, typed, again, away = tabby(
            stub.url,
            "auth_x",
            tmp_path,
            [
                ("complete", DOCUMENT, CURSOR),
                ("complete", *along),
                ("complete", DOCUMENT, CURSOR, True),
                ("complete", PREFIX + "zz" + SUFFIX, CURSOR + 2),
            ],
        )
    assert (first["id"], {"start": CURSOR, "end": CURSOR + 1}) == (
        typed["id"],
        typed["choices"][0]["replaceRange"],
    )
    assert first == again
    assert first["id"] != away["id"]
    asked = [exchange["body"]["segments"]["prefix"] for exchange in stub.at("/v1/completions")]
    assert [PREFIX, PREFIX + "zz"] == asked


@pytest.mark.parametrize(
    ("mode", "texts", "told"),
    [
        ("no_choices", [], True),
        ("no_text", [], True),
        ("no_health", [TEXT], True),
        ("no_setting", [TEXT], True),
        ("unauthorized", None, False),
    ],
)
def test_tabby_survives_a_poor_service(mode: Mode, texts: Any, told: bool, tmp_path: Path) -> None:
    with serving(Stub(mode)) as stub:
        answer, viewed = tabby(stub.url, "auth_x", tmp_path, [("complete", DOCUMENT, CURSOR), ("view",)])
    assert texts == (answer and [choice["text"] for choice in answer["choices"]])
    assert told is viewed
    assert "POST /v1/completions" in paths(stub)


def test_continue_asks_where_each_provider_is_served() -> None:
    fim = [
        ("mistral", "/v1/", "codestral-latest"),
        ("openai", "/v1/", "echo-fim"),
        ("deepseek", "/", "deepseek-coder"),
        ("vllm", "/v1/", "echo-fim"),
    ]
    cases: list[dict[str, Any]] = [
        {"provider": provider, "base": base, "model": model, "call": "fimStream", "body": FIM}
        for provider, base, model in fim
    ]
    marks = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|endoftext|>"]
    plain = {"prompt": TEMPLATE, "max_tokens": 64, "temperature": 0.01, "stop": marks}
    cases.append(cases[1] | {"call": "completionStream", "body": plain})
    with serving(Stub()) as stub:
        *chats, text = adapters(stub.url, "k-user1", cases)
    assert [TEXT] * 4 == [chat["chunks"][0]["choices"][0]["delta"]["content"] for chat in chats]
    assert TEXT == text["chunks"][0]["choices"][0]["text"]
    expected = ["/v1/fim/completions"] * 2 + ["/beta/completions", "/v1/fim/completions", "/v1/completions"]
    assert [f"POST {path}" for path in expected] == paths(stub)
    for exchange, case in zip(stub.seen, cases, strict=True):
        assert {"model": case["model"], "stream": True} | case["body"] == exchange["body"]
        both = exchange["path"] == "/v1/fim/completions"
        sent = exchange["headers"]
        assert ("Bearer k-user1", "k-user1" if both else None) == (
            sent["authorization"],
            sent.get("x-api-key"),
        )


def test_an_error_of_the_service_reaches_the_caller_of_continue() -> None:
    case = {"provider": "mistral", "base": "/v1/", "model": "m", "call": "fimStream", "body": FIM}
    with serving(Stub("unauthorized")) as stub:
        (found,) = adapters(stub.url, "wrong", [case])
    assert [] == found["chunks"]
    assert "no such key" in found["error"]
