"""The gateway with an engine of our own in place of vLLM: what goes wrong there, and what is logged."""

import asyncio
import json

import pytest
from fastapi import Request

from echo_ray.serve.app import Gateway
from echo_ray.serve.config import ServeConfig
from echo_ray.serve.engine import Answer, EngineSettings
from tests import tiny


class Call:
    """What a deployment handle returns: awaitable once, and cancellable."""

    def __init__(self, engine, delay_s, result):
        self.engine, self.delay_s, self.result = engine, delay_s, result

    def __await__(self):
        return self.run().__await__()

    async def run(self):
        await asyncio.sleep(self.delay_s)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def cancel(self):
        self.engine.cancelled += 1


class Engine:
    """Answers every proposal with `result` after `delay_s`; remembers what it was asked."""

    def __init__(self, result, delay_s=0.0):
        self.result, self.delay_s, self.asked, self.cancelled = result, delay_s, [], 0
        self.propose = self.check_health = self

    def remote(self, *arguments):
        self.asked.append(arguments)
        return Call(self, self.delay_s, self.result)


GOOD = Answer("first + second\n", "stop", 10, 4, 0, None, 200)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    tiny.write_model(folder)
    return folder


@pytest.fixture
def run(model, tmp_path):
    """Send one body to a gateway in front of `engine`: (response or None, log records)."""

    def send(engine, body, headers=None, gone=False, cancel_after_s=None, route="completions", **changes):
        config = ServeConfig(log_dir=tmp_path, model=model, flush_ms=1, context_tokens=64, **changes)
        settings = EngineSettings(
            arm="base", model=model, version="m-1", max_model_len=112, max_concurrent=1, threads=1,
            kv_cache_bytes=1, gpu=0, gpu_memory_share=0,
        )  # fmt: skip
        gateway = Gateway(config, [settings], {"base": engine})

        async def receive():
            return {"type": "http.request", "body": json.dumps(body).encode()}

        async def leave():
            return {"type": "http.disconnect"}

        async def main():
            pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
            request = Request({"type": "http", "headers": pairs, "client": ("1.2.3.4", 5)}, receive)
            await request.body()
            request._receive = leave if gone else receive
            arguments = () if route == "health" else (request,)
            task = asyncio.create_task(getattr(gateway, route)(*arguments))
            if cancel_after_s is not None:
                await asyncio.sleep(cancel_after_s)
                task.cancel()
            try:
                return await task
            except asyncio.CancelledError:
                return None

        response = asyncio.run(main())
        gateway.__del__()
        lines = [line for path in tmp_path.glob("*.jsonl") for line in path.read_text().splitlines()]
        return response, [json.loads(line) for line in lines]

    return send


BODY = {"prompt": "def add(first, second):\n    return ", "suffix": "\n", "user": "u"}


def test_a_good_answer(run):
    engine = Engine(GOOD)
    response, [record] = run(engine, BODY)
    body = json.loads(response.body)
    assert body["choices"][0]["text"] == record["proposal"] == "first + second"
    assert record["delivered"] is True
    [(tokens, max_tokens, temperature, stop, stop_ids, seed)] = engine.asked
    assert len(tokens) <= 64
    assert (max_tokens, temperature, stop, seed) == (48, 0.0, (), None)
    assert set(stop_ids) == {0, 1, 2, 3}


def test_the_client_may_ask_for_less_but_not_for_more(run):
    engine = Engine(GOOD)
    run(engine, BODY | {"max_tokens": 7, "temperature": 0.5, "stop": "\n", "seed": 3})
    run(engine, BODY | {"max_tokens": 4000})
    assert engine.asked[0][1:4] == (7, 0.5, ("\n",))
    assert engine.asked[0][5] == 3
    assert engine.asked[1][1] == 48


@pytest.mark.parametrize(
    ("answer", "status", "kind"),
    [
        (Answer("", "error", 0, 0, 0, "too long", 400), 400, "invalid_request_error"),
        (Answer("", "error", 0, 0, 0, "broken", 500), 500, "server_error"),
    ],
)
def test_an_engines_refusal_reaches_the_client_and_the_log(run, answer, status, kind):
    response, [record] = run(Engine(answer), BODY)
    assert response.status_code == status
    assert json.loads(response.body)["error"]["type"] == kind
    assert json.loads(response.body)["error"]["message"] == answer.error
    assert (record["delivered"], record["proposal"], record["latency_ms"]) == (False, None, None)
    assert response.headers["x-request-id"] == record["request_id"]


def test_a_dead_engine_is_a_503(run):
    from ray.exceptions import RayActorError

    response, [record] = run(Engine(RayActorError()), BODY)
    assert response.status_code == 503
    assert json.loads(response.body)["error"]["type"] == "server_error"
    assert record["delivered"] is False
    response, _ = run(Engine(RayActorError()), {}, route="health")
    assert response.status_code == 503


def test_a_slow_engine_is_a_504_and_is_cancelled(run):
    engine = Engine(GOOD, delay_s=30)
    response, [record] = run(engine, BODY, deadline_s=0.05)
    assert response.status_code == 504
    assert engine.cancelled == 1
    assert record["delivered"] is False


def test_a_cancelled_request_cancels_the_engine_and_is_logged(run):
    engine = Engine(GOOD, delay_s=30)
    response, [record] = run(engine, BODY, cancel_after_s=0.05)
    assert response is None
    assert engine.cancelled == 1
    assert (record["delivered"], record["proposal"]) == (False, None)


def test_a_client_that_left_unnoticed_did_not_get_its_answer(run):
    _, [record] = run(Engine(GOOD), BODY, gone=True)
    assert (record["delivered"], record["proposal"]) == (False, "first + second")


def test_headers_of_the_simulation_count_only_when_trusted(run):
    headers = {"x-echo-ts-ms": "123", "x-echo-arm": "nonsense"}
    _, [record] = run(Engine(GOOD), BODY, headers)
    assert record["ts_ms"] > 10**12
    response, records = run(Engine(GOOD), BODY, headers, trust_client=True)
    assert response.status_code == 400
    assert len(records) == 1
    _, records = run(Engine(GOOD), BODY, {"x-echo-ts-ms": "123"}, trust_client=True)
    assert {record["ts_ms"] for record in records} >= {123}


def test_white_space_is_silence(run):
    response, [record] = run(Engine(GOOD._replace(text="  \n")), BODY)
    assert json.loads(response.body)["choices"][0]["text"] == record["proposal"] == ""
