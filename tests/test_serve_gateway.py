"""The gateway with an engine of our own in place of vLLM: what goes wrong there, and what is logged."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echo_ray.errors import ServeError
from echo_ray.privacy.config import PrivacyConfig
from echo_ray.serve.proposals import Answer, Choice
from tests import gateways, tiny
from tests.gateways import GOOD, Engine, Response

BODY = {"prompt": "def add(first, second):\n    return ", "suffix": "\n", "user": "u"}

Run = Callable[..., tuple[Response, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("gateway"))


@pytest.fixture
def run(model: Path, tmp_path: Path) -> Run:
    """Send one body to a gateway in front of `engine`: the response and all records so far."""

    def send(
        engine: Engine,
        body: Any = BODY,
        headers: dict[str, str] | None = None,
        path: str = "/v1/completions",
        leave_after_s: float | None = None,
        **changes: Any,
    ) -> tuple[Response, list[dict[str, Any]]]:
        with gateways.service(model, tmp_path, engine, **changes) as service:
            asked = service.ask(path, body, headers, leave_after_s=leave_after_s)
            return asyncio.run(asked), service.records()

    return send


def test_a_good_answer(run: Run) -> None:
    engine = Engine()
    response, [record] = run(engine)
    assert "first + second" == response.json["choices"][0]["text"] == record["proposal"]
    assert record["delivered"] is True
    assert response.headers["x-request-id"] == record["request_id"] == response.json["id"]
    [prompt] = engine.asked
    assert len(prompt.tokens) <= 64
    assert ("m-1", 48, 0.0, 1.0, 1, (), None) == (
        *(prompt.version, prompt.max_tokens, prompt.temperature, prompt.top_p, prompt.n),
        *(prompt.stop, prompt.seed),
    )
    assert {0, 1, 2, 3} == set(prompt.stop_ids)


@pytest.mark.parametrize(("temperature", "computed"), [(None, 1), (0, 1), (1e-6, 1), (0.5, 2)])
def test_what_is_the_same_for_every_choice_is_computed_once(
    run: Run, temperature: float | None, computed: int
) -> None:
    engine = Engine(Answer(GOOD.choices * computed, 10, 4, 0))
    response, _ = run(engine, BODY | {"n": 2, "temperature": temperature})
    assert [computed] == [prompt.n for prompt in engine.asked]
    assert ["first + second"] * 2 == [choice["text"] for choice in response.json["choices"]]


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/completions", "POST", 404), ("/v9/completions", "POST", 404), ("/v1/completions", "GET", 405)],
)
def test_an_address_that_is_not_served_is_named_in_the_shape_that_clients_read(
    model: Path, tmp_path: Path, path: str, method: str, status: int
) -> None:
    with gateways.service(model, tmp_path, Engine()) as service:
        reply = asyncio.run(service.ask(path, BODY if method == "POST" else None, method=method))
    assert status == reply.status
    assert {"message", "type", "param", "code"} == set(reply.json["error"])
    assert f"{method} {path!r} is not served here" in reply.json["error"]["message"]


def test_the_client_may_ask_for_less_but_not_for_more(run: Run) -> None:
    engine = Engine()
    run(engine, BODY | {"max_tokens": 7, "temperature": 0.5, "stop": "\n", "seed": 3, "n": 2, "top_p": 0.5})
    run(engine, BODY | {"max_tokens": 4000})
    first, second = engine.asked
    assert (7, 0.5, ("\n",), 3, 2, 0.5) == (
        *(first.max_tokens, first.temperature, first.stop, first.seed, first.n, first.top_p),
    )
    assert 48 == second.max_tokens


@pytest.mark.parametrize(
    ("answer", "status", "kind"),
    [
        (Answer(error="too long", status=400), 400, "invalid_request_error"),
        (Answer(error="broken", status=500), 500, "server_error"),
    ],
)
def test_an_engines_refusal_reaches_the_client_and_the_log(
    run: Run, answer: Answer, status: int, kind: str
) -> None:
    response, [record] = run(Engine(answer))
    assert status == response.status
    assert (kind, answer.error) == (response.json["error"]["type"], response.json["error"]["message"])
    assert (False, None, None) == (record["delivered"], record["proposal"], record["latency_ms"])


def test_a_dead_engine_is_a_503(run: Run) -> None:
    response, [record] = run(Engine(ServeError("the engine of m-1 failed")))
    assert 503 == response.status
    assert "server_error" == response.json["error"]["type"]
    assert record["delivered"] is False
    response, _ = run(Engine(ServeError("the engine of m-1 failed")), None, path="/health")
    assert 503 == response.status


@pytest.mark.parametrize("cache_s", [0, 30])
def test_a_slow_engine_is_a_504_and_is_cancelled(run: Run, cache_s: float) -> None:
    engine = Engine(delay_s=30)
    response, [record] = run(engine, deadline_s=0.05, cache_s=cache_s)
    assert (504, 1) == (response.status, engine.cancelled)
    assert record["delivered"] is False


@pytest.mark.parametrize("cache_s", [0, 30])
def test_a_client_that_leaves_cancels_the_engine_and_is_logged(run: Run, cache_s: float) -> None:
    engine = Engine(delay_s=30)
    _, [record] = run(engine, leave_after_s=0.05, cache_s=cache_s)
    assert 1 == engine.cancelled
    assert (False, None) == (record["delivered"], record["proposal"])


def test_headers_of_the_simulation_count_only_when_trusted(run: Run) -> None:
    headers = {"x-echo-ts-ms": "123", "x-echo-arm": "nonsense"}
    _, [record] = run(Engine(), BODY, headers)
    assert record["ts_ms"] > 10**12
    response, records = run(Engine(), BODY, headers, trust_client=True)
    assert 400 == response.status
    assert 1 == len(records)
    _, records = run(Engine(), BODY, {"x-echo-ts-ms": "123"}, trust_client=True)
    assert {record["ts_ms"] for record in records} >= {123}


def test_white_space_is_silence(run: Run) -> None:
    response, [record] = run(Engine(Answer((Choice("  \n", "stop"),), 1, 1, 0)))
    assert "" == response.json["choices"][0]["text"] == record["proposal"]


def test_typing_along_asks_the_engine_once_and_logs_every_request(model: Path, tmp_path: Path) -> None:
    engine = Engine()
    with gateways.service(model, tmp_path, engine, cache_s=30) as service:

        async def typed() -> list[Response]:
            shown = "first + second"
            return [
                await service.ask("/v1/completions", BODY | {"prompt": BODY["prompt"] + shown[:count]})
                for count in range(8)
            ]

        texts = [response.json["choices"][0]["text"] for response in asyncio.run(typed())]
        records = service.records()
    assert ["first + second"[count:] for count in range(8)] == texts
    assert 1 == len(engine.asked)
    assert texts == [record["proposal"] for record in records]
    assert 8 == len({record["request_id"] for record in records})


def test_the_kill_switch_answers_with_silence_and_asks_no_engine(model: Path, tmp_path: Path) -> None:
    engine = Engine()
    with gateways.service(model, tmp_path, engine) as service:

        async def switched() -> list[Response]:
            off = await service.ask("/v1/echo/arms", {"on": False}, method="PUT")
            during = await service.ask("/v1/completions", BODY)
            await service.ask("/v1/echo/arms", {"on": True}, method="PUT")
            return [off, during, await service.ask("/v1/completions", BODY)]

        off, during, after = asyncio.run(switched())
        records = service.records()
    assert (200, False) == (off.status, off.json["on"])
    assert (200, "") == (during.status, during.json["choices"][0]["text"])
    assert "first + second" == after.json["choices"][0]["text"]
    assert 1 == len(engine.asked)
    assert [(False, None), (True, "first + second")] == [(r["delivered"], r["proposal"]) for r in records]


def test_a_new_version_answers_once_it_is_there_and_an_old_one_ends_after_its_last_answer(
    model: Path, tmp_path: Path
) -> None:
    other = tiny.write_model(tmp_path / "other", seed=5)
    engine = Engine(delay_s=0.2)
    with gateways.service(model, tmp_path / "log", engine) as service:

        async def changed() -> tuple[Response, Response, Response]:
            running = asyncio.create_task(service.ask("/v1/completions", BODY))
            await asyncio.sleep(0.05)
            arms = {"base": {"model": str(other), "weight": 2}}
            change = await service.ask("/v1/echo/arms", {"arms": arms}, method="PUT")
            assert [] == service.stopped
            after = await service.ask("/v1/completions", BODY)
            while not service.stopped:
                await asyncio.sleep(0.01)
            return change, await running, after

        change, running, after = asyncio.run(changed())
        version = change.json["arms"]["base"]["version"]
    assert ([version], ["m-1"]) == (service.started, service.stopped)
    assert ("m-1", version) == (running.json["model"], after.json["model"])
    assert ["m-1", version] == [prompt.version for prompt in engine.asked]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"arms": {"new": {"weight": 1}}}, "arms.new.model"),
        ({"arms": {"base": {"weight": 0}}}, "arms.base.weight"),
        ({"arms": {"base": {"model": "/nowhere"}}}, "/nowhere"),
        ({"arms": []}, "arms"),
        ({"on": "yes"}, "on"),
        ([], "object"),
    ],
)
def test_a_wrong_plan_is_refused_and_changes_nothing(
    model: Path, tmp_path: Path, body: Any, said: str
) -> None:
    with gateways.service(model, tmp_path, Engine()) as service:
        before = service.gateway.plan
        response = asyncio.run(service.ask("/v1/echo/arms", body, method="PUT"))
        assert 400 == response.status
        assert said in response.json["error"]["message"]
        assert before == service.gateway.plan


def test_the_live_view_shows_what_the_log_holds_and_what_would_be_mined(model: Path, tmp_path: Path) -> None:
    headers = {"x-echo-session": "s", "x-echo-file": "a.py", "x-echo-user": "u"}
    headers |= {"x-echo-prefix-complete": "true", "x-echo-suffix-complete": "true"}
    with gateways.service(model, tmp_path, Engine(), privacy=PrivacyConfig(), trust_client=True) as service:

        async def typed() -> Response:
            states = ("total = ", "total = sum(prices)", "total = sum(prices)\nprint(")
            for number, prefix in enumerate(states):
                now = headers | {"x-echo-ts-ms": str(1000 * number)}
                await service.ask("/v1/completions", {"prompt": prefix, "suffix": "\n"}, now)
            await service.ask(
                "/v1/completions", {"prompt": "other", "suffix": "\n"}, headers | {"x-echo-session": "t"}
            )
            return await service.ask("/v1/echo/session?session=s")

        found = asyncio.run(typed()).json
        records = service.records()
    assert "all" == found["collect"]
    assert [record["request_id"] for record in records[:3]] == [
        record["request_id"] for record in found["records"]
    ]
    assert {record["user"] for record in records} == {record["user"] for record in found["records"]}
    assert "u" not in {record["user"] for record in records}
    assert ["\nprint(", "sum(prices)\nprint("] == [sample["commit"] for sample in found["mined"]]


def test_of_a_plan_whose_engine_does_not_start_nothing_is_left(model: Path, tmp_path: Path) -> None:
    other = tiny.write_model(tmp_path / "other", seed=6)
    with gateways.service(model, tmp_path / "log", Engine(), broken=True) as service:
        before = service.gateway.plan
        arms = {"new": {"model": str(other), "weight": 1}}
        response = asyncio.run(service.ask("/v1/echo/arms", {"arms": arms}, method="PUT"))
    assert 503 == response.status
    assert before == service.gateway.plan
    assert ["m-1"] == list(service.gateway.lanes)
    assert service.started == service.stopped
    assert 1 == len(service.stopped)
