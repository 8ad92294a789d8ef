"""What is put around Ray Serve's HTTP proxy."""

import asyncio
from typing import Any

import pytest

from echo_ray import cluster
from echo_ray.serve import edge


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        ([(b"x-request-id", b"ours"), (b"X-Request-ID", b"Serve's")], [(b"x-request-id", b"ours")]),
        (
            [(b"a", b"1"), (b"X-Request-Id", b"ours"), (b"set-cookie", b"b"), (b"set-cookie", b"c")],
            [(b"a", b"1"), (b"X-Request-Id", b"ours"), (b"set-cookie", b"b"), (b"set-cookie", b"c")],
        ),
    ],
)
def test_one_request_id_and_every_other_header_stays(given: Any, expected: Any) -> None:
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": given})
        await send({"type": "http.response.body", "body": b"x"})

    async def send(message: Any) -> None:
        sent.append(message)

    (made,) = edge.middlewares()
    around = made.cls(application, *made.args, **made.kwargs)
    asyncio.run(around({"type": "http"}, None, send))
    start, body = sent
    assert {"type": "http.response.start", "status": 200, "headers": expected} == start
    assert {"type": "http.response.body", "body": b"x"} == body


def test_the_cluster_names_it_where_the_proxy_looks() -> None:
    from ray.serve._private import constants

    named = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
    assert hasattr(constants, named)
    module, _, name = cluster.worker_environment()[named].partition(":")
    assert (edge.__name__, edge.middlewares.__name__) == (module, name)
