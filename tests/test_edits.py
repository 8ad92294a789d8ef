"""The edits between two looks at a document: whole documents, windows, several places."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from echo_ray.edits import Edit, View, apply, changes, step
from echo_ray.windows import align


@st.composite
def typed(draw: st.DrawFn) -> tuple[str, str, Edit]:
    """A text, the text after one edit with the cursor behind it, and the edit."""
    old = draw(st.text("ab\n", max_size=20))
    start = draw(st.integers(0, len(old)))
    stop = draw(st.integers(start, len(old)))
    edit = Edit(start, stop, draw(st.text("abc", max_size=4)))
    return old, apply(old, [edit]), edit


@given(st.text("ab \n", max_size=30), st.text("ab \n", max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_edits_lead_from_one_text_to_the_other(old: str, new: str, first: int, second: int) -> None:
    for dense in (False, True):
        edits, _ = changes(old, new, min(first, len(old)), min(second, len(new)), dense)
        assert new == apply(old, edits)


@given(typed())
def test_typing_and_removing_at_the_cursor_is_found_exactly(case: tuple[str, str, Edit]) -> None:
    old, new, edit = case
    assume(not edit.text or edit.start == edit.stop)  # insertion or removal, not both
    assume(old != new)
    cursor = edit.start + len(edit.text)
    before = edit.stop if not edit.text else edit.start
    expected = edit
    indent = old[old.rfind("\n", 0, before) + 1 : before]
    assume(indent.strip(" \t") or not indent)
    assert ((expected,), True) == changes(old, new, before, cursor)


def test_a_place_that_repeated_text_hides_is_given_by_the_cursor() -> None:
    for place in range(4):
        new = "aaaa"
        assert ((Edit(place, place, "a"),), True) == changes("aaa", new, 0, place + 1)
        assert ((Edit(place, place + 1, ""),), True) == changes(new, "aaa", 0, place)


def test_a_completion_that_replaces_the_partial_word_is_an_insertion() -> None:
    old, new = View("x = foo", "\n"), View("x = foobar()", "\n")
    found = step(old, new)
    assert found is not None
    assert (Edit(7, 7, "bar()"),) == found.edits


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_enter_on_a_blank_line_moves_its_white_space(end: str) -> None:
    old = View(f"if x:{end}\t\t", f"{end}y{end}")
    new = View(f"if x:{end}{end}\t\t", f"{end}y{end}")
    found = step(old, new)
    assert found is not None
    place = len(old.prefix)
    assert (Edit(place, place, f"{end}\t\t"), Edit(place - 2, place, "")) == found.edits
    assert new.prefix + new.suffix == apply(old.prefix + old.suffix, found.edits)


def test_a_line_moved_by_command_moves_its_neighbour() -> None:
    old, new = "a\nborder: 2px;\nposition: relative;\nb\n", "a\nposition: relative;\nborder: 2px;\nb\n"
    up, _ = changes(old, new, 30, 17, dense=True)
    assert (Edit(34, 34, "\nborder: 2px;"), Edit(2, 15, "")) == up
    assert new == apply(old, up)
    down, _ = changes(old, new, 14, 34, dense=True)
    assert (Edit(14, 34, ""), Edit(2, 2, "position: relative;\n")) == down
    assert new == apply(old, down)


def test_several_cursors_are_reported_from_the_last_place_on() -> None:
    old = "for (let i = 0; i < rounds; i++) {}"
    new = old.replace("i = ", "r = ").replace("i <", "r <").replace("i++", "r++")
    found, _ = changes(old, new, 35, 10, dense=True)
    assert [28, 16, 9] == [edit.start for edit in found]
    rewritten, certain = changes("\t</div", "</div>", 6, 6, dense=True)
    assert ((Edit(0, 6, "</div>"),), True) == (rewritten, certain)


def test_the_place_at_the_old_cursor_comes_first() -> None:
    old, new = "total = 1\nprint(totl)\n", "total = 1 + 2\nprint(total)\n"
    forward, certain = changes(old, new, 9, 25)
    assert ((Edit(9, 9, " + 2"), Edit(23, 23, "a")), False) == (forward, certain)
    backward, _ = changes(old, new, 20, 13)
    assert [False, True] == [edit.text == " + 2" for edit in backward]


def test_a_replacement_at_the_cursor_was_typed_then_removed_where_keys_are_missing() -> None:
    old, new = "f(a) # xyz", "f(ab, c # xyz"
    assert ((Edit(3, 3, "b, c"), Edit(7, 8, "")), False) == changes(old, new, 3, 7)
    assert ((Edit(3, 4, "b, c"),), True) == changes(old, new, 3, 7, dense=True)
    # One of several line ends was removed; the new cursor says which.
    edits, _ = changes("x\n\n\ny", "x.\n\ny", 1, 4)
    assert (Edit(1, 1, "."), Edit(4, 5, "")) == edits


def test_enter_belongs_to_the_text_that_follows_it() -> None:
    first, second = changes("end\n\n#", "end.\n\n\nab#", 3, 9)[0]
    assert (Edit(3, 3, "."), Edit(6, 6, "\nab")) == (first, second)


LINES = [f"value_{number} = compute({number})\n" for number in range(80)]


def window(text: str, cursor: int, lines: int) -> View:
    before, after = text[:cursor].split("\n"), text[cursor:].split("\n")
    prefix, suffix = "\n".join(before[-lines:]), "\n".join(after[:lines])
    return View(prefix, suffix, prefix == text[:cursor], suffix == text[cursor:])


@given(
    st.integers(0, 79),
    st.text("xy\n", min_size=1, max_size=8),
    st.integers(3, 30),
)
def test_windows_show_the_same_edit_as_the_document(line: int, text: str, lines: int) -> None:
    document = "".join(LINES)
    cursor = sum(map(len, LINES[:line])) + 5
    changed = document[:cursor] + text + document[cursor:]
    old, new = window(document, cursor, lines), window(changed, cursor + len(text), lines)
    found = step(old, new)
    # A paste as long as the window pushes everything out that the two shared on its left.
    assume(text.count("\n") < lines - 2)
    assert found is not None
    assert ((Edit(len(old.prefix), len(old.prefix), text),), True) == (found.edits, found.certain)


def test_a_window_of_constant_length_slides_with_the_keys() -> None:
    document = "".join(LINES)
    old = View(document[100:900], document[900:1000], from_start=False, to_end=False)
    new = View(document[103:900] + "xyz", document[900:1000], from_start=False, to_end=False)
    found = step(old, new)
    assert found is not None
    assert (3, (Edit(800, 800, "xyz"),)) == (found.slide, found.edits)


def test_windows_too_short_for_probes_are_aligned_by_their_edges() -> None:
    old, new = View("x = ", "\n", False, False), View("x = compute()\ny = ", "\n", False, False)
    found = step(old, new)
    assert found is not None
    assert (0, (Edit(4, 4, "compute()\ny = "),)) == (found.slide, found.edits)


def test_windows_with_nothing_in_common_say_nothing() -> None:
    assert align("a" * 200, "b" * 200, 100, 100) is None
    assert step(View("a" * 100, "", False, False), View("b" * 100, "", False, False)) is None
