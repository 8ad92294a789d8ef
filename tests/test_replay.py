"""Edit arithmetic behind every replay: minimal edits, and simultaneous ones put in sequence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.log.replay import Edit, apply, in_sequence, minimise


@pytest.mark.parametrize(
    ("start", "stop", "new", "expected"),
    [
        (0, 3, "abcd", Edit(3, 3, "d")),  # a popup completion replaces the partial word
        (3, 6, "Xef", Edit(3, 4, "X")),
        (0, 6, "abcdef", None),
        (2, 2, "", None),
        (1, 4, "", Edit(1, 4, "")),
        (0, 2, "abab", Edit(2, 2, "ab")),
        (0, 0, "a", Edit(0, 0, "a")),
    ],
)
def test_an_edit_claims_no_more_than_it_changes(
    start: int, stop: int, new: str, expected: Edit | None
) -> None:
    assert expected == minimise("abcdef", start, stop, new)


def test_where_text_repeats_the_change_is_rightmost() -> None:
    assert Edit(2, 2, "a") == minimise("aa", 0, 2, "aaa")
    assert Edit(2, 3, "") == minimise("aaa", 0, 3, "aa")


@given(st.text("ab\r\n😀", max_size=12), st.text("ab\r\n", max_size=8), st.data())
def test_minimising_changes_no_text(document: str, new: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(document)))
    stop = data.draw(st.integers(start, len(document)))
    edit = minimise(document, start, stop, new)
    raw = apply(document, [(start, stop, new)])
    assert raw == apply(document, [edit] if edit else [])
    assert (edit is None) == (raw == document)
    if edit is not None:
        old = document[edit.start : edit.stop]
        assert not (old and edit.text) or (old[0] != edit.text[0] and old[-1] != edit.text[-1])


@given(
    st.text("abc😀é", max_size=10),
    st.lists(st.tuples(st.integers(0, 10), st.text("xy", max_size=3)), max_size=4),
)
def test_simultaneous_edits_apply_as_if_from_the_end(document: str, cuts: list[tuple[int, str]]) -> None:
    """Oracle: UTF-16 units of the document before, later places first."""
    units = document.encode("utf-16-le")
    borders = [len(document[:i].encode("utf-16-le")) // 2 for i in range(len(document) + 1)]
    places = sorted({borders[min(cut, len(document))]: new for cut, new in cuts}.items())
    tuples = [[place, place, new] for place, new in places]
    for place, _, new in reversed(tuples):
        units = units[: 2 * place] + new.encode("utf-16-le") + units[2 * place :]
    assert units.decode("utf-16-le") == apply(document, in_sequence(document, tuples[::-1]))
