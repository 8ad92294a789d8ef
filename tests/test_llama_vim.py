"""Recorded llama.vim traffic: what the unmodified plug-in sends while a line is typed and one proposal taken.

`data/llama_vim.jsonl` was recorded with llama.vim a1c8e6e in Vim 9.0 against a server with a table of toy
answers: two files opened, "return w" typed key by key, the proposal taken with Tab, the file saved. Each line
is one exchange (`ts_ms`, `path`, `headers`, `body`, `response`), in order of arrival.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from echo_ray.log import foreign
from echo_ray.serve.live import mined

RECORDED = Path(__file__).parent / "data" / "llama_vim.jsonl"
EXCHANGES: list[dict[str, Any]] = [json.loads(line) for line in RECORDED.read_text("utf-8").splitlines()]


def truth(body: dict[str, Any]) -> str:
    """What the plug-in knows of its request: it says so by its limits."""
    if body["n_predict"] == 0:
        return "warmup"
    return "automatic" if body["t_max_predict_ms"] == 250 else "speculative"


TRUTH = [truth(exchange["body"]) for exchange in EXCHANGES]


def read(path: Path) -> list[Any]:
    assert "llamacpp" == foreign.sniff(path)
    return [record for _, record in foreign.records(path, "llamacpp")]


def test_the_recording_is_what_the_wire_contract_says() -> None:
    assert {"automatic": 9, "speculative": 8, "warmup": 3} == Counter(TRUTH)
    for exchange, kind in zip(EXCHANGES, TRUTH, strict=True):
        body = exchange["body"]
        assert ("/infill", "", False) == (exchange["path"], body["model"], body["stream"])
        assert exchange["headers"]["authorization"].strip() == "Bearer"
        if kind == "warmup":
            assert ([""], {}) == (body["response_fields"], exchange["response"])
        else:
            assert body["response_fields"] == list(exchange["response"])


def test_every_request_is_told_apart() -> None:
    assert [record["kind"] for record in read(RECORDED)] == TRUTH


@pytest.mark.parametrize("limit_ms", [250, 500])
def test_texts_alone_tell_them_apart(limit_ms: int, tmp_path: Path) -> None:
    """The same traffic of a client that gives every request one limit, as llama.vscode does."""
    path = tmp_path / "one-limit.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        for exchange in EXCHANGES:
            limits = {"t_max_predict_ms": limit_ms} if exchange["body"]["n_predict"] else {}
            stream.write(json.dumps(exchange | {"body": exchange["body"] | limits}) + "\n")
    assert [record["kind"] for record in read(path)] == TRUTH


def test_what_was_typed_is_mined_and_what_was_only_guessed_is_not() -> None:
    """The accept itself is never a request: the last thing that the service saw is the "w"."""
    found = {sample["prefix_tail"].rpartition("\n")[2]: sample["commit"] for sample in mined(read(RECORDED))}
    typed = "    return w"
    expected = {typed[:end]: typed[end:] for end in (5, 6, 7, 8, 9, 10, 11)}
    assert expected == {tail: commit for tail, commit in found.items() if tail.strip()}
