"""Anything that a network can send: a refusal in the path's dialect or an answer, never a fault, and the
service goes on.
"""

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core import NotSet

from echo_ray.log import rotate
from echo_ray.log.contract import problem
from echo_ray.serve import openapi
from tests import gateways, tiny
from tests.gateways import Engine, Response, Service
from tests.hostile import BODIES, GOOD, HEADERS, ODD, PATHS, QUERIES, RAW, mutants


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="module")
def service(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all of this; in the end its log keeps the contract, raw and as Parquet."""
    folder = tmp_path_factory.mktemp("fuzz") / "log"
    with gateways.service(model, folder, Engine(), trust_client=True, hosts=["testserver"]) as made:
        yield made
        records = made.records()
        state = made.gateway.writer.state()
    assert (0, 0, 0) == (state.failed, state.dropped, state.refused)
    assert len(records) > 1000
    for record in records:
        plain = {name: value for name, value in record.items() if name != "record"}
        assert problem(plain, record["record"]) is None, record
    [*batches] = rotate.rotate(folder, everything=True, keep_s=0).batches
    assert 0 == sum(batch.rejected + batch.torn for batch in batches)
    assert len(records) == sum(batch.requests + batch.events + batch.merged for batch in batches)


def is_told(path: str, response: Response) -> bool:
    """Whether a refusal has the shape of the dialect that is spoken at `path`."""
    kind = response.headers.get("content-type", "")
    if path.endswith("/v1/events") or not response.body:
        return response.body == b"" and (path.endswith("/v1/events") or "completions" in path)
    body = response.json
    if path.endswith("/fim/completions"):
        return kind == "application/json" and ("detail" in body or "message" in body)
    inner = body["error"]
    return kind == "application/json" and response.status == inner["code"] and inner["message"] != ""


async def survives(
    service: Service, path: str, body: Any = None, headers: Any = None, method: str | None = None
) -> Response:
    """Send it: an answer, or a refusal by the client's fault in the dialect's shape."""
    response = await service.ask(path, body, headers, method=method)
    assert 200 <= response.status < 500, (path, body, headers, response)
    if response.status >= 400 and method != "HEAD":
        assert is_told(path.partition("?")[0], response), (path, body, headers, response)
    return response


def goes_on(service: Service) -> None:
    response = asyncio.run(service.ask("/v1/completions", GOOD))
    assert (200, "first + second") == (response.status, response.json["choices"][0]["text"])


@pytest.mark.parametrize("path", BODIES)
def test_bodies_that_are_nearly_right(service: Service, path: str) -> None:
    draws = random.Random(path)

    async def run() -> None:
        for body in BODIES[path]:
            assert 200 == (await survives(service, path, body)).status
            for mutant in mutants(body, draws):
                await survives(service, path, mutant)

    asyncio.run(run())
    goes_on(service)


@pytest.mark.parametrize("path", BODIES)
def test_bodies_that_are_no_json_or_not_meant_like_that(service: Service, path: str) -> None:
    async def run() -> None:
        for raw in RAW:
            await survives(service, path, raw)
            await survives(service, path, raw, {"content-type": "application/x-www-form-urlencoded"})

    asyncio.run(run())
    goes_on(service)


def test_bodies_of_ten_megabytes(service: Service) -> None:
    async def run() -> None:
        for path in ("/v1/completions", "/v1/fim/completions", "/v1/events"):
            large = b'{"prompt":"' + b"x" * (10 << 20) + b'"}'
            assert 413 == (await survives(service, path, large)).status

    asyncio.run(run())
    goes_on(service)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = sorted({key for bodies in BODIES.values() for body in bodies for key in body})


CHEAP = settings(
    derandomize=True,
    max_examples=40,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@settings(CHEAP, max_examples=300)
@given(
    path=st.sampled_from(sorted(BODIES)),
    body=JSON_VALUES | st.dictionaries(st.sampled_from(KEYS), JSON_VALUES) | st.binary(max_size=60),
)
def test_any_json_and_any_bytes(service: Service, path: str, body: Any) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    asyncio.run(survives(service, path, raw))


@pytest.mark.parametrize("path", BODIES)
def test_odd_headers(service: Service, path: str) -> None:
    async def run() -> None:
        for name, value in HEADERS:
            await survives(service, path, BODIES[path][0], {name: value})

    asyncio.run(run())
    goes_on(service)


def test_odd_paths_methods_and_queries(service: Service) -> None:
    async def run() -> None:
        for method in ("POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "FOO"):
            for path in PATHS:
                await survives(service, path, GOOD, method=method)
            for query in QUERIES:
                for path in [*BODIES, *openapi.spec()["paths"]]:
                    await survives(service, f"{path}?{query}", GOOD, method=method)

    asyncio.run(run())
    goes_on(service)


def test_a_name_in_the_path_is_decoded_once_and_never_lost(service: Service) -> None:
    async def run() -> list[tuple[int, str, str]]:
        seen = []
        for path in ("/u/a%2Fb/s/%2541/v1/completions", "/u/a%2Fb/s/%2541/v1/completions/"):
            before = len(service.records())
            status = (await service.ask(path, GOOD)).status
            seen += [(status, one["user"], one["session"]) for one in service.records()[before:]]
        return seen

    # A redirect to the path without the slash would lose who asks.
    assert [(200, "a/b", "%41")] == asyncio.run(run())


def test_plans_that_cannot_be(model: Path, tmp_path: Path) -> None:
    folder = str(model)
    plans: list[Any] = [
        *({"on": 1}, {"arms": []}, {"arms": {"base": []}}, {"arms": {"base": {"weight": "x"}}}, [], 1, "x"),
        *(
            {"arms": {name: {"model": folder}}}
            for name in ("", "日本", "a\nb", "a\r\nset-cookie: x", "x" * 65)
        ),
        *({"arms": {"base": {"model": name}}} for name in ("\0", "/dev/zero", "a" * 5000, "/", "\U0001f600")),
        {"arms": {str(number): {"model": folder} for number in range(17)}},
    ]
    with gateways.service(model, tmp_path, Engine()) as made:
        for plan in plans:
            response = asyncio.run(survives(made, "/v1/echo/arms", plan, method="PUT"))
            assert 400 == response.status, plan
            goes_on(made)
        for value in [*RAW, *(json.dumps(value).encode() for value in ODD)]:
            asyncio.run(survives(made, "/v1/echo/arms", value, method="PUT"))
        goes_on(made)


@pytest.mark.parametrize("path", openapi.spec()["paths"])
def test_what_the_description_says(service: Service, path: str) -> None:
    """Every operation of `/openapi.json`, with what fits its schema and what does not."""
    schema = schemathesis.openapi.from_dict(openapi.spec(), config=SchemathesisConfig())
    for method in openapi.spec()["paths"][path]:
        operation = schema[path][method]
        modes = list(GenerationMode) if operation.body else [GenerationMode.POSITIVE]
        cases = st.one_of(operation.as_strategy(generation_mode=mode) for mode in modes)
        described(service, cases, set(openapi.spec()["paths"][path][method]["responses"]))
    asyncio.run(service.ask("/v1/echo/arms", {"on": True}, method="PUT"))
    goes_on(service)


def described(service: Service, cases: st.SearchStrategy[Any], statuses: set[str]) -> None:
    @CHEAP
    @given(case=cases)
    def check(case: Any) -> None:
        body = None if isinstance(case.body, NotSet) else case.body
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        response = asyncio.run(survives(service, case.formatted_path, raw, method=case.method))
        assert str(response.status) in statuses

    check()
