"""Splitting a change into the places where somebody worked."""

from hypothesis import example, given
from hypothesis import strategies as st

from echo_ray.difference import MAX_CELLS, Hunk, hunks

TEXTS = st.text("ab \n", max_size=40)


def replay(old: str, new: str, found: list[Hunk]) -> str:
    for start, stop, new_start, new_stop in reversed(found):
        old = old[:start] + new[new_start:new_stop] + old[stop:]
    return old


@given(TEXTS, TEXTS, st.integers(-3, 45), st.integers(-3, 45), st.booleans())
@example("a  ", "aa  ", 2, 3, False)
def test_hunks_lead_from_one_text_to_the_other(
    old: str, new: str, old_cursor: int, new_cursor: int, dense: bool
) -> None:
    found = hunks(old, new, old_cursor, new_cursor, dense)
    assert found is not None
    assert new == replay(old, new, found)
    places = [end for hunk in found for end in (hunk.start, hunk.stop)]
    assert sorted(places) == places
    assert all(hunk.start < hunk.stop or hunk.new_start < hunk.new_stop for hunk in found)


@given(TEXTS)
def test_equal_texts_have_no_hunks(text: str) -> None:
    assert [] == hunks(text, text, 0, 0)


def test_letters_that_two_words_share_do_not_shred_the_typed_one() -> None:
    old = "left: 50%; border-radius: 10px; width: 3em;" + "x" * 20 + "end"
    new = "left: 50%; topic" + "x" * 20 + "end"
    assert [Hunk(11, 43, 11, 16)] == hunks(old, new, 11, 16)


def test_two_far_places_stay_two() -> None:
    middle = "".join(f"line {number}\n" for number in range(60))
    old, new = f"a = 1\n{middle}b = 2\n", f"a = 100\n{middle}b = \n"
    assert [
        Hunk(5, 5, 5, 7),
        Hunk(len(middle) + 10, len(middle) + 11, len(middle) + 12, len(middle) + 12),
    ] == (hunks(old, new, 5, len(middle) + 12))


def test_where_every_key_is_logged_a_replacement_is_one_place() -> None:
    # A popup completion overwrites the closing backtick that the editor had put there.
    assert 2 == len(hunks("`ins_va`\n", "`ins_val` Operation\n", 7, 19) or [])
    assert 1 == len(hunks("`ins_va`\n", "`ins_val` Operation\n", 7, 19, dense=True) or [])


def test_texts_too_large_and_too_different_are_not_split() -> None:
    size = int(MAX_CELLS**0.5) + 10
    assert hunks("a" * size, "b" * size, 0, 0) is None
