"""What every stage does with a table that somebody else made."""

import pyarrow as pa
import pytest

from echo_ray import schema
from echo_ray.errors import SchemaError
from echo_ray.stages import conform, rows

NEEDED = ("sample_id", "prefix")


def test_absent_columns_are_null_and_a_language_is_plain_text() -> None:
    table = conform(pa.table({"prefix": ["a"], "sample_id": ["1"], "extra": [1]}), schema.SAMPLE, NEEDED, "x")
    assert schema.SAMPLE == table.schema
    assert {"sample_id": "1", "prefix": "a", "language": "plaintext"} == {
        name: value for name, value in table.to_pylist()[0].items() if value is not None
    }


def test_a_needed_column_that_is_not_there_is_named() -> None:
    with pytest.raises(SchemaError, match="x: the input lacks the columns prefix"):
        conform(pa.table({"sample_id": ["1"]}), schema.SAMPLE, NEEDED, "x")


def test_a_column_of_another_kind_is_named() -> None:
    with pytest.raises(SchemaError, match="x: column ts_ms cannot be int64"):
        conform(pa.table({"sample_id": ["1"], "prefix": [""], "ts_ms": ["now"]}), schema.SAMPLE, NEEDED, "x")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
def test_bytes_that_are_no_text_cost_their_characters_only(kind: pa.DataType) -> None:
    raw = pa.array([b"good", b"b\xffd", None], pa.binary())
    column = raw if kind == pa.binary() else pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    if kind == pa.large_string():
        column = pa.Array.from_buffers(pa.string(), 3, raw.buffers()).cast(kind)
    table = conform(pa.table({"sample_id": ["1", "2", "3"], "prefix": column}), schema.SAMPLE, NEEDED, "x")
    assert ["good", "b\ufffdd", None] == [prefix for (prefix,) in rows(table, ["prefix"])]
