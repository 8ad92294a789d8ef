"""How deep JSON is, told before it is parsed."""

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.serve.guard import depth, is_deeper

JSONS: Any = st.recursive(
    st.none() | st.text(alphabet='[]{}"\\\n\u00e4') | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='[{"\\'), inner, max_size=3),
    max_leaves=20,
)


@given(value=JSONS)
def test_depth_is_that_of_the_value(value: Any) -> None:
    def deep(item: Any) -> int:
        inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else None
        return 0 if inner is None else 1 + max(map(deep, inner), default=0)

    assert deep(value) == depth(orjson.dumps(value)) == depth(orjson.dumps(value, option=orjson.OPT_INDENT_2))
    for limit in range(deep(value) + 2):
        assert (deep(value) > limit) == is_deeper(orjson.dumps(value), limit)


@given(raw=st.text(alphabet='[]{}":,\\1 ', max_size=60))
def test_depth_is_a_bound_for_whatever_can_be_parsed(raw: str) -> None:
    with contextlib.suppress(orjson.JSONDecodeError):
        orjson.loads(raw)
        assert depth(raw.encode()) <= sum(map(raw.count, "[{"))
    assert depth(raw.encode()) >= 0


@given(raw=st.text(alphabet='[]{}"\\\\ ', max_size=60).map(lambda text: '["' + text))
def test_depth_is_that_of_a_plain_scan(raw: str) -> None:
    level, deepest, inside, skip = 0, 0, False, False
    for character in raw:
        if skip:
            skip = False
        elif inside:
            skip, inside = character == "\\", character != '"'
        elif character == "\\":
            break  # no JSON: what follows is never parsed
        elif character == '"':
            inside = True
        else:
            level += "[{".count(character) - "]}".count(character)
            if level < 0:
                break
            deepest = max(deepest, level)
    assert deepest <= depth(raw.encode())
    if "\\" not in raw:
        assert deepest == depth(raw.encode())


@pytest.mark.parametrize(
    "raw", [b"[" * 500_000, b'{"a":' * 500_000, b"[" * 500_000 + b"]" * 500_000, b'"\\' * 999_999]
)
def test_the_parser_refuses_what_is_too_deep_and_does_not_crash(raw: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(raw)
    assert depth(raw) in (500_000, 0)
    assert (depth(raw) > 64) == is_deeper(raw, 64)
