"""Text arithmetic against one-character-at-a-time definitions."""

from hypothesis import given
from hypothesis import strategies as st

from echo_ray import text

SHORT = st.text("ab\n", max_size=12)


def slow_prefix(a: str, b: str) -> int:
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count


@given(SHORT, SHORT, st.integers(-2, 14))
def test_common_ends_whatever_the_hint(a: str, b: str, hint: int) -> None:
    assert slow_prefix(a, b) == text.common_prefix(a, b, hint)
    assert slow_prefix(a[::-1], b[::-1]) == text.common_suffix(a, b, hint)


@given(SHORT, st.integers(0, 14))
def test_tail_and_head_are_ends_within_the_limit(value: str, limit: int) -> None:
    for part, whole in (
        (text.tail(value, limit), value.endswith),
        (text.head(value, limit), value.startswith),
    ):
        assert len(part) <= limit
        assert whole(part)


def test_lines_and_indents() -> None:
    assert ("  b", "") == (text.current_line("a\n  b"), text.current_line("a\n"))
    assert (" \t", "") == (text.indent_of(" \tx "), text.indent_of("x"))
