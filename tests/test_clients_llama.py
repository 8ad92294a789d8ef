"""Recorded traffic of llama.vim, sent again in its order: to the real service, and with the recorded answers.

The real model answers otherwise than the server of the recording did, so the replay against it checks shapes,
statuses and what the plug-in's own limits say. Where contexts alone must tell what was asked ahead, an engine
gives the recorded answers.
"""

import asyncio
import http.client
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from echo_ray.serve import policy
from echo_ray.serve.proposals import Answer, Choice
from tests import gateways, tiny
from tests.live import Live
from tests.test_llama_vim import EXCHANGES, TRUTH

pytestmark = pytest.mark.ray

SHOWN = re.compile(rb'"content"\s*:"')
"""What the plug-in looks for in a reply before it reads it."""


def context(body: dict[str, Any]) -> tuple[str, str]:
    return body["input_prefix"] + body["prompt"], body["input_suffix"]


def replay(url: str, key: str | None, path: str) -> list[tuple[int, bytes]]:
    """(status, body) of every exchange over one connection; the plug-in's bearer is empty without a key."""
    replies = []
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        for exchange in EXCHANGES:
            bearer = {"authorization": f"Bearer {key or ''}", "content-type": "application/json"}
            body = json.dumps(exchange["body"])
            connection.request("POST", path, body, exchange["headers"] | bearer)
            reply = connection.getresponse()
            replies.append((reply.status, reply.read()))
    finally:
        connection.close()
    return replies


def test_the_recording_again(live: Live) -> None:
    address = "/infill?user=person-vim&session=sitting-vim&file=area.py"
    replies = replay(live.url, live.keys["llama"], address)
    assert {200} == {status for status, _ in replies}
    proposals = []
    for exchange, kind, (_, raw) in zip(EXCHANGES, TRUTH, replies, strict=True):
        if kind == "warmup":
            assert b"{}" == raw
            continue
        reply = json.loads(raw)
        assert exchange["body"]["response_fields"] == list(reply)
        assert {name: type(value) for name, value in exchange["response"].items() if name == "content"} == {
            "content": type(reply["content"])
        }
        assert SHOWN.search(raw)
        proposals.append(reply["content"])
    assert any(text.strip() for text in proposals)

    asked = [exchange["body"] for exchange, kind in zip(EXCHANGES, TRUTH, strict=True) if kind != "warmup"]
    who = live.pseudonyms("person-vim", "sitting-vim", "area.py")
    records = live.log(record="request", session=who["session"])
    assert {"automatic": 9, "speculative": 8} == Counter(record["kind"] for record in records)
    assert [kind for kind in TRUTH if kind != "warmup"] == [record["kind"] for record in records]
    for body, text, record in zip(asked, proposals, records, strict=True):
        prefix, suffix = context(body)
        expected = live.expected(
            record["request_id"], text, who, prefix=prefix, suffix=suffix, kind=record["kind"],
            client="curl/7.88.1", prefix_complete=True, suffix_complete=True,
        )  # fmt: skip
        assert expected == live.request(request_id=record["request_id"])


def test_the_whole_address_is_the_users(live: Live) -> None:
    """llama.vscode appends its path to a base address, so names stand before it."""
    real = EXCHANGES[2]["body"]
    whole = {name: value for name, value in real.items() if name != "response_fields"} | {"n_cmpl": 3}
    status, raw = live.post("/u/person-code/s/sitting-code/infill", whole, "llama")
    several = json.loads(raw)
    assert (200, 3) == (status, len(several))
    assert all({"content", "stop", "timings", "generation_settings"} <= set(each) for each in several)
    record = live.request(session=live.names.session("sitting-code"))
    assert (live.names.user("person-code"), several[0]["content"]) == (record["user"], record["proposal"])


def test_without_a_key_nothing_is_answered_or_logged(live: Live) -> None:
    before = len(live.log())
    for status, raw in replay(live.url, None, "/infill"):
        assert (401, {"code", "message", "type"}) == (status, set(json.loads(raw)["error"]))
    assert before == len(live.log())


def test_a_body_that_is_wrong(live: Live) -> None:
    status, raw = live.post("/infill", {"input_suffix": ""}, "llama")
    wanted = {"code": 400, "message": '"input_prefix" is required', "type": "invalid_request_error"}
    assert (400, wanted) == (status, json.loads(raw)["error"])


@pytest.mark.parametrize("one_limit_ms", [None, 250, 500])
def test_recorded_answers_are_told_apart(
    one_limit_ms: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """9 real, 8 ahead, 3 warm-ups: by the plug-in's limits, and by the contexts of a client with one limit.

    No key is wanted here: the plug-in's empty bearer is let in. The recording's server gave its answers as
    they were; ours would cut one of them.
    """
    monkeypatch.setattr(policy, "refine", lambda raw, *_: policy.Proposal(raw, False, None))
    engine, statuses, shown = gateways.Engine(), [], []

    async def send(service: gateways.Service) -> None:
        for exchange in EXCHANGES:
            body = exchange["body"]
            if one_limit_ms is not None and body["n_predict"]:
                body = body | {"t_max_predict_ms": one_limit_ms}
            text = exchange["response"].get("content", "")
            engine.result = Answer((Choice(text, "stop"),), 10, 4, 0)
            reply = await service.ask("/infill", body, exchange["headers"])
            statuses.append(reply.status)
            if body["n_predict"]:
                shown.append((text, reply.json["content"]))

    with gateways.service(tiny.write_model(tmp_path / "model"), tmp_path / "log", engine) as service:
        asyncio.run(send(service))
        records = service.records()
    assert {200} == set(statuses)
    assert [] == [both for both in shown if both[0] != both[1]]
    assert 17 == len(engine.asked)
    assert [kind for kind in TRUTH if kind != "warmup"] == [record["kind"] for record in records]
    asked = [exchange["body"] for exchange in EXCHANGES if exchange["body"]["n_predict"]]
    assert [context(body) for body in asked] == [(record["prefix"], record["suffix"]) for record in records]
    assert [text for text, _ in shown] == [record["proposal"] for record in records]
