"""Hand-written requests for tests."""

from typing import Any

import pyarrow as pa

from echo_ray import schema


def request(request_id: str, ts_ms: int, prefix: str, suffix: str = "", **changes: Any) -> dict[str, Any]:
    """A complete `schema.REQUEST` row of user u, session s, file f."""
    named = {"request_id": request_id, "ts_ms": ts_ms, "user": "u", "session": "s", "file": "f"}
    return schema.REQUEST_DEFAULTS | named | {"prefix": prefix, "suffix": suffix} | changes


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows as a table of requests."""
    return pa.Table.from_pylist(rows, schema=schema.REQUEST)
