"""The service as a whole: Ray Serve, vLLM, HTTP clients, and the experience log they leave behind."""

import contextlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from echo_ray import cluster, models
from echo_ray.errors import ConfigError
from echo_ray.schema import REQUEST
from echo_ray.serve import launch, preflight
from echo_ray.serve.arms import assign
from echo_ray.serve.config import Arm, ServeConfig
from tests import gateways, tiny

pytestmark = pytest.mark.ray

PROMPT = {"prompt": "def add(first, second):\n    return ", "suffix": "\n\nprint(add(1, 2))\n"}


@pytest.fixture(scope="module")
def ray_cluster():
    with cluster.running(cluster.ClusterConfig(min_memory_gb=3)):
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    home = tmp_path_factory.mktemp("models")
    return tiny.write_model(home / "old", seed=1), tiny.write_model(home / "new", seed=2)


@pytest.fixture(scope="module")
def config(folders, tmp_path_factory) -> ServeConfig:
    return ServeConfig(
        port=free_port(),
        log_dir=tmp_path_factory.mktemp("log"),
        model=folders[0],
        arms={"control": Arm(weight=1), "treatment": Arm(model=folders[1], weight=1)},
        max_tokens=400,
        context_tokens=256,
        kv_cache_gb=0.05,
        cpus=1,
        flush_ms=10,
        trust_client=True,
        upkeep_s=0,
        cache_s=0,
        privacy=gateways.AS_SENT,
    )


@pytest.fixture(scope="module")
def service(ray_cluster, config):
    # A service of one arm came and went in this process before the one that the tests talk to.
    with launch.start(config.updated(arms={}, log_dir=config.log_dir / "first")) as first:
        assert list(first.arms) == ["base"]
        assert post(first, PROMPT | {"max_tokens": 4})["usage"]["completion_tokens"] == 4
    seen: list[float] = []
    with launch.start(config, progress=lambda what, seconds: seen.append(seconds)) as second:
        assert seen == sorted(seen)
        yield second
    preflight.check_port(config.host, config.port)
    assert len(read_log(config.log_dir / "first")) == 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def call(service, path, body=None, headers=None):
    """(status, headers, body bytes) of one request."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        service.url + path, data, {"content-type": "application/json"} | (headers or {})
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, dict(reply.headers), reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def post(service, body, **headers):
    status, _, answer = call(service, "/v1/completions", body, headers)
    assert status == 200, answer
    return json.loads(answer)


def read_log(folder):
    return [
        json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()
    ]


def logged(service, **wanted):
    """Records with these values, waiting up to 10 s for the first."""
    deadline = time.monotonic() + 10
    while True:
        service.flush()
        found = [
            record
            for record in read_log(service.log_dir)
            if all(record.get(key) == value for key, value in wanted.items())
        ]
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def test_health_and_models(service, folders):
    status, _, body = call(service, "/health")
    assert (status, json.loads(body)) == (200, {"status": "ok", "arms": service.arms})
    assert service.arms == {"control": models.version(folders[0]), "treatment": models.version(folders[1])}
    _, _, body = call(service, "/v1/models")
    listed = json.loads(body)["data"]
    assert [entry["id"] for entry in listed] == list(service.arms.values())
    assert b'": ' not in body  # compact JSON, which llama.vim depends on


def test_a_completion_is_logged_as_the_client_saw_it(service):
    headers = {
        "X-Echo-User": "ann", "X-Echo-Session": "s1", "X-Echo-File": "a.py", "X-Echo-Language": "python",
        "X-Echo-Ts-Ms": "1700000000123", "User-Agent": "test/1",
    }  # fmt: skip
    status, replied, raw = call(
        service, "/v1/completions", PROMPT | {"max_tokens": 8, "unknown": {}}, headers
    )
    assert status == 200
    body = json.loads(raw)
    assert body["id"].startswith("cmpl-")
    assert body["choices"][0]["text"]
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 8
    assert body["created"] == 1700000000
    assert replied["x-echo-model"] == body["model"] == service.arms[replied["x-echo-arm"]]
    [record] = logged(service, request_id=body["id"])
    assert record.pop("latency_ms") > 0
    assert record == {
        "record": "request", "schema": "1", "request_id": body["id"], "ts_ms": 1700000000123, "user": "ann",
        "session": "s1", "file": "a.py", "language": "python", "prefix": PROMPT["prompt"],
        "suffix": PROMPT["suffix"], "prefix_complete": False, "suffix_complete": False, "kind": "automatic",
        "delivered": True, "proposal": body["choices"][0]["text"], "model": body["model"],
        "arm": replied["x-echo-arm"], "client": "test/1",
    }  # fmt: skip


def test_greedy_answers_repeat_and_depend_on_the_suffix(service):
    texts = [
        post(service, PROMPT | {"suffix": suffix, "max_tokens": 16}, **{"X-Echo-Arm": "control"})["choices"][
            0
        ]["text"]
        for suffix in (PROMPT["suffix"], PROMPT["suffix"], "class Other:\n")
    ]
    assert texts[0] == texts[1] != texts[2]


def test_arms_are_sticky_and_answer_differently(service):
    arms = {}
    for user in ("u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8"):
        for _ in range(2):
            body = post(service, PROMPT | {"user": user, "max_tokens": 8})
            expected = assign(user, {"control": 1, "treatment": 1}, "1")
            assert body["model"] == service.arms[expected]
            arms[expected] = body["choices"][0]["text"]
    assert len(set(arms.values())) == 2


def test_a_trusted_client_chooses_its_arm(service):
    for arm, version in service.arms.items():
        assert post(service, PROMPT | {"max_tokens": 1}, **{"X-Echo-Arm": arm})["model"] == version
    status, _, body = call(service, "/v1/completions", PROMPT, {"X-Echo-Arm": "none"})
    assert (status, b"X-Echo-Arm" in body) == (400, True)
    status, _, body = call(service, "/v1/completions", PROMPT, {"X-Echo-Ts-Ms": "now"})
    assert (status, b"X-Echo-Ts-Ms" in body) == (400, True)


def test_the_prefix_cache_serves_a_keystroke_stream(service):
    typed = "".join(f"value_{number} = {number} * {number + 7}\n" for number in range(8))
    cached = total = 0
    for end in range(len(typed) - 40, len(typed)):
        usage = post(
            service, {"prompt": typed[:end], "suffix": "\n", "max_tokens": 1}, **{"X-Echo-Arm": "control"}
        )["usage"]
        cached += usage["prompt_tokens_details"]["cached_tokens"]
        total += usage["prompt_tokens"]
    assert cached > 0.7 * total


def test_long_contexts_are_cut_not_refused(service):
    body = post(service, {"prompt": "x = 1\n" * 20_000, "suffix": "y = 2\n" * 20_000, "max_tokens": 2})
    # The left edge moves in steps of an eighth of what the suffix leaves.
    assert 256 * 7 // 8 <= body["usage"]["prompt_tokens"] <= 256
    [record] = logged(service, request_id=body["id"])
    assert len(record["prefix"]) == 120_000


@pytest.mark.parametrize("body", [b"{", b"[]", {}, {"prompt": "x", "n": 99}, {"prompt": "x", "stop": [1]}])
def test_errors_have_openais_shape(service, body):
    status, _, answer = call(service, "/v1/completions", body)
    assert status == 400
    assert set(json.loads(answer)["error"]) == {"message", "type", "param", "code"}


def test_streaming_carries_the_same_text(service):
    headers = {"X-Echo-Arm": "control"}
    whole = post(service, PROMPT | {"max_tokens": 12}, **headers)
    asked = PROMPT | {"max_tokens": 12, "stream": True, "stream_options": {"include_usage": True}}
    status, replied, raw = call(service, "/v1/completions", asked, headers)
    assert (status, replied["content-type"].split(";")[0]) == (200, "text/event-stream")
    *events, end = [line.removeprefix("data: ") for line in raw.decode().split("\n\n") if line]
    assert end == "[DONE]"
    chunks = [json.loads(event) for event in events]
    text = "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])
    assert text == whole["choices"][0]["text"]
    assert chunks[-1]["usage"] == whole["usage"] | {
        "prompt_tokens_details": chunks[-1]["usage"]["prompt_tokens_details"]
    }


def test_the_openai_client_works(service):
    import openai

    with openai.OpenAI(base_url=service.url + "/v1", api_key="sk-secret-key") as client:
        assert [model.id for model in client.models.list()] == list(service.arms.values())
        answer = client.completions.create(model="any", **PROMPT, max_tokens=8, temperature=0, seed=7)
        streamed = client.completions.create(model="any", **PROMPT, max_tokens=8, stream=True)
        assert "".join(chunk.choices[0].text for chunk in streamed) == answer.choices[0].text
        with pytest.raises(openai.BadRequestError) as refused:
            client.completions.create(model="any", prompt="x", n=99)
        assert refused.value.body["param"] == "n"
    [record] = logged(service, request_id=answer.id)
    assert record["user"].startswith("token-")
    assert not any(b"sk-secret-key" in path.read_bytes() for path in service.log_dir.glob("*.jsonl"))


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_is_logged_as_not_delivered(service, stream):
    user = f"leaver-{stream}"
    body = json.dumps(PROMPT | {"user": user, "max_tokens": 400, "stream": stream}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    port = int(service.url.rpartition(":")[2])
    with contextlib.closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.sendall(head + body)
        time.sleep(0.15)
    [record] = logged(service, user=user)
    assert record["delivered"] is False
    assert record["proposal"] is None
    assert record["prefix"] == PROMPT["prompt"]
    # The engine is free again: what the leaver asked for is not computed to its end.
    began = time.monotonic()
    post(service, PROMPT | {"user": user, "max_tokens": 1})
    assert time.monotonic() - began < 2


def test_native_events_are_logged(service):
    answer = post(service, PROMPT | {"max_tokens": 1, "user": "eve"})
    event = {"request_id": answer["id"], "type": "accepted", "accepted_chars": 3, "user": "eve"}
    status, _, body = call(
        service, "/v1/echo/events", [event, event | {"type": "shown"}], {"X-Echo-User": "eve"}
    )
    assert (status, json.loads(body)) == (200, {"logged": 2})
    found = logged(service, record="event", request_id=answer["id"])
    assert [record["type"] for record in found] == ["accepted", "shown"]
    assert found[0]["user"] == "eve"
    status, _, body = call(service, "/v1/echo/events", [event | {"type": "liked"}])
    assert (status, b"events[0]: type" in body) == (400, True)


def test_models_and_weights_change_while_it_serves(service, folders, tmp_path_factory):
    new = tiny.write_model(tmp_path_factory.mktemp("models") / "newest", seed=3)
    statuses, models_seen, done = [], set(), threading.Event()

    def ask() -> None:
        number = 0
        while not done.is_set():
            number += 1
            body = PROMPT | {"max_tokens": 2, "user": f"during-{number}"}
            status, _, answer = call(service, "/v1/completions", body)
            statuses.append(status)
            models_seen.add(json.loads(answer)["model"])

    def change(arms):
        request = urllib.request.Request(
            service.url + "/v1/echo/arms", json.dumps({"arms": arms}).encode(), method="PUT"
        )
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.loads(reply.read())["arms"]

    before = {name: {"model": str(folder)} for name, folder in zip(service.arms, folders, strict=True)}
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        changed = change({"control": {"weight": 1}, "treatment": {"model": str(new), "weight": 3}})
        assert {models.version(folders[0]), models.version(new)} == {
            arm["version"] for arm in changed.values()
        }
        answer = post(service, PROMPT | {"max_tokens": 2}, **{"X-Echo-Arm": "treatment"})
        assert models.version(new) == answer["model"]
        change(before)
    finally:
        done.set()
        asking.join()
    assert {200} == set(statuses)
    assert models_seen <= {models.version(folder) for folder in (*folders, new)}
    users = [record["user"] for record in read_log_of(service) if record["user"].startswith("during-")]
    assert len(statuses) == len(users) == len(set(users))


def read_log_of(service):
    service.flush()
    return [record for record in read_log(service.log_dir) if record["record"] == "request"]


def test_a_second_service_on_the_port_is_refused(service, config):
    with pytest.raises(ConfigError, match=r"is busy.*change serve\.port"):
        launch.start(config)


def test_all_records_keep_the_contract(service):
    service.flush()
    found = [record for record in read_log(service.log_dir) if record.pop("record") == "request"]
    assert len(found) > 30
    assert all(set(record) == set(REQUEST.names) for record in found)
    assert len({record["request_id"] for record in found}) == len(found)
    assert {record["arm"] for record in found} == {"control", "treatment"}
