"""Which foreign format a file has, and that no content of it can stop an import."""

import gzip
import json
import tracemalloc
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import schema
from echo_ray.log import foreign, source

TRACES = Path(__file__).parents[2] / "shared" / "data" / "traces"
ZSTD = zstandard.ZstdCompressor().compress
PACKED: list[Callable[[bytes], bytes]] = [
    bytes,
    gzip.compress,
    ZSTD,
    lambda raw: ZSTD(raw[:9]) + ZSTD(raw[9:]),
]

TABBY = {
    "user": "u",
    "ts": 1,
    "event": {
        "completion": {
            "completion_id": "c",
            "language": "python",
            "prompt": "",
            "segments": {"prefix": "a", "suffix": "b", "filepath": "f.py"},
            "choices": [{"index": 0, "text": "x"}],
        }
    },
}
CONTINUE = {
    "eventName": "autocomplete",
    "timestamp": "2026-03-01T12:00:00Z",
    "time": 3,
    "prefix": "a",
    "suffix": "b",
    "completion": "x",
    "filepath": "file:///f.py",
    "completionId": "c",
    "uniqueId": "m",
    "accepted": True,
}
INFILL = {"ts_ms": 1, "body": {"input_prefix": "a", "input_suffix": "b"}, "response": {"content": "x"}}
HAR_ENTRY = {
    "startedDateTime": "2026-03-01T12:00:00Z",
    "time": 3,
    "request": {"url": "http://h/infill", "headers": [], "postData": {"text": json.dumps(INFILL["body"])}},
    "response": {"content": {"text": '{"content":"x"}'}},
}
RECORDING = {
    "log": [
        {"kind": "meta", "data": {"repoRootUri": "file:///r"}},
        {"kind": "documentEncountered", "id": 0, "time": 5, "relativePath": "f.py"},
        {"kind": "setContent", "id": 0, "time": 5, "content": "a"},
        {"kind": "changed", "id": 0, "time": 1, "edit": [[1, 1, "x"]], "v": 2},
        {"kind": "documentEvent", "id": 0, "data": {"source": "inlineSuggestion.accept", "v": 3}},
        {"kind": "changed", "id": 0, "time": 2, "edit": [[2, 2, "y"]], "v": 3},
        {"kind": "selectionChanged", "id": 0, "time": 2, "selection": [[3, 3]]},
    ]
}
TRACE = {
    "startContent": "",
    "endContent": "a",
    "txns": [{"time": "2026-03-01T12:00:00Z", "patches": [[0, 0, "a"]]}],
}
SAMPLES: list[tuple[str, Any]] = [
    ("tabby", TABBY),
    ("continue", CONTINUE),
    ("llamacpp", INFILL),
    ("llamacpp", {"log": {"entries": [HAR_ENTRY]}}),
    ("vscode", RECORDING),
    ("trace", TRACE),
]


def collect(path: Path, name: str) -> list[Any]:
    return [record for _, record in foreign.records(path, name)]


def fits(record: dict[str, Any]) -> bool:
    """Whether `record` is what the contract promises: known columns, required ones there, right types."""
    columns = schema.REQUEST if record["record"] == "request" else schema.EVENT
    values = {key: value for key, value in record.items() if key != "record"}
    table = {column.name: values.pop(column.name, None) for column in columns}
    missing = [name for name in schema.REQUIRED[record["record"]] if table[name] is None]
    assert ({}, []) == (values, missing)
    assert columns.empty_table().from_pylist([table], schema=columns).num_rows == 1
    assert record.get("kind", "automatic") in set(schema.Kind)
    assert record.get("type", "shown") in set(schema.EventType)
    return True


@pytest.mark.parametrize("pack", PACKED)
@pytest.mark.parametrize(("name", "value"), SAMPLES)
def test_a_format_is_known_by_its_content_however_packed(
    name: str, value: Any, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "no-ending"
    path.write_bytes(pack(json.dumps(value).encode() + b"\n"))
    assert name == foreign.sniff(path)
    found = collect(path, name)
    assert found
    assert all(fits(record) for record in found)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(("name", "value"), SAMPLES[3:])
def test_a_document_is_known_whatever_its_layout(name: str, value: Any, indent: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    backwards = dict(reversed(value.items()))
    path.write_text("\ufeff\n " + json.dumps(backwards, indent=indent), encoding="utf-8")
    assert name == foreign.sniff(path)


@pytest.mark.parametrize(("name", "value"), SAMPLES[:3])
def test_lines_are_known_after_torn_ones_and_when_one_is_longer_than_the_head(
    name: str, value: Any, tmp_path: Path
) -> None:
    line = json.dumps(value)
    path = tmp_path / "a"
    path.write_text(f'torn"}}\n{line[:25]}\n\n{line}\n', encoding="utf-8")
    assert name == foreign.sniff(path)
    long = json.dumps(json.loads(line.replace('"x"', json.dumps("x" * 100_000))))
    path.write_text(long, encoding="utf-8")
    assert name == foreign.sniff(path)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n\n",
        b"PAR1\x00\x01",
        b"\x1f\x8bbroken",
        b"\x28\xb5\x2f\xfdbroken",
        b"[1, 2]",
        b'{"record": "request", "request_id": "r", "ts_ms": 1, "prefix": "{\\"event\\":{\\"view\\":1}}"}\n',
        b'{"record": "event", "request_id": "r", "ts_ms": 1, "type": "shown"}\n',
        b'{"schema": "1", "request_id": "r", "prefix": "\\n{\\"log\\":[{\\"kind\\":1}]}", "suffix": "',
        b'{"log": "text"}',
        b'{"log": []}',
        b'{"a": "txns", "b": ["startContent"], "c": 1, "d": {"input_prefix": "no"}}',
    ],
)
def test_version_1_and_the_unknown_are_no_foreign_format(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "2026-03-01.json").write_bytes(raw)
    assert None is foreign.sniff(tmp_path / "2026-03-01.json")


def test_what_cannot_be_read_is_a_reason_without_its_path(tmp_path: Path) -> None:
    assert None is foreign.sniff(tmp_path / "none")
    assert None is foreign.sniff(tmp_path)
    for name in foreign.FORMATS:
        ((_, reason),) = foreign.records(tmp_path / "none", name)
        assert "the file cannot be read: No such file or directory" == reason


def test_an_unknown_name_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        foreign.records(tmp_path, "csv")


@pytest.mark.parametrize(("name", "value"), SAMPLES)
def test_a_file_cut_short_while_compressed_gives_what_it_can_and_a_reason(
    name: str, value: Any, tmp_path: Path
) -> None:
    path = tmp_path / "a.gz"
    whole = gzip.compress(b"".join(json.dumps(value | {"n": i}).encode() + b"\n" for i in range(3000)))
    path.write_bytes(whole[: len(whole) // 2])
    found = collect(path, name)
    assert isinstance(found[-1], str)
    assert name in ("vscode", "trace") or isinstance(value.get("log"), dict) or len(found) > 100


@pytest.mark.parametrize(("name", "value"), SAMPLES[:3])
def test_lines_are_held_one_at_a_time(name: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    line = json.dumps(value).replace('"b"', json.dumps("b" * 10_000)).encode() + b"\n"
    path.write_bytes(gzip.compress(line * 2000 + b"\xff\xfe bad\n", 1))
    tracemalloc.start()
    try:
        (last,) = deque(foreign.records(path, name), maxlen=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (2001, "not JSON") == last
    assert peak < 2**20


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes((json.dumps(TABBY) + "\n").encode() * 5)
    found = foreign.records(path, "tabby")
    assert [1, 2] == [number for number, _ in islice(found, 2)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-01T12:00:00Z", 1_772_366_400_000),
        ("2026-03-01T12:00:00.25", 1_772_366_400_250),
        ("2026-03-01T13:00:00+01:00", 1_772_366_400_000),
        (1_772_366_400, 1_772_366_400_000),
        (1_772_366_400.5, 1_772_366_400_500),
        (1_772_366_400_000, 1_772_366_400_000),
        (1_772_366_400_000_000, 1_772_366_400_000),
        (1_772_366_400_000_000_000, 1_772_366_400_000),
    ],
)
def test_the_size_of_a_time_tells_its_unit(value: Any, expected: int) -> None:
    assert expected == source.moment(value, "time")


@pytest.mark.parametrize("value", [None, True, "", "12", [], float("inf"), float("nan"), 1e300])
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(source.Malformed):
        source.moment(value, "time")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.py", "python"),
        ("a.b\\C.TSX", "typescriptreact"),
        ("x.h", "cpp"),
        ("py", "plaintext"),
        ("a.py/b", "plaintext"),
    ],
)
def test_the_ending_tells_the_language(path: str, expected: str) -> None:
    assert expected == source.language_of(path)


NOISE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


def spoil(value: Any, data: st.DataObject) -> Any:
    """`value` with noise in one place, chosen by walking down."""
    if not isinstance(value, dict | list) or not value or data.draw(st.integers(0, 4)) == 0:
        return data.draw(NOISE)
    key = data.draw(st.sampled_from(list(value) if isinstance(value, dict) else list(range(len(value)))))
    copy = value.copy()
    if data.draw(st.integers(0, 9)) == 0:
        del copy[key]
    else:
        copy[key] = spoil(value[key], data)
    return copy


@pytest.mark.parametrize(("name", "value"), SAMPLES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_content_stops_an_import(
    name: str, value: Any, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        value = spoil(value, data)
    path = tmp_path_factory.mktemp("spoilt") / "a.json"
    path.write_bytes(orjson.dumps(value))
    assert foreign.sniff(path) in (None, *foreign.FORMATS)
    assert all(isinstance(record, str) or fits(record) for record in collect(path, name))


@pytest.mark.parametrize("depth", [200, 1000, 5000])
@pytest.mark.parametrize("name", foreign.FORMATS)
def test_deep_nesting_stops_no_import(name: str, depth: int, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    deep = "[" * depth + "]" * depth
    for key in ("event", "data", "body", "response", "log", "txns"):
        path.write_text(f'{{"ts_ms":1,"input_prefix":"","{key}":{deep}}}', encoding="utf-8")
        assert foreign.sniff(path) in (None, *foreign.FORMATS)
        assert all(isinstance(record, str) or fits(record) for record in collect(path, name))


@pytest.mark.parametrize("path", sorted(TRACES.glob("*/*.json*")), ids=lambda path: path.name)
def test_the_real_files_are_known_and_give_valid_records(path: Path) -> None:
    name = {"vscode-recordings": "vscode", "editing-traces": "trace"}[path.parent.name]
    assert name == foreign.sniff(path)
    found = collect(path, name)
    assert all(fits(record) for record in found[:300])
    names = [record["request_id"] for record in found if record["record"] == "request"]
    assert len(set(names)) == len(names)
