import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.clock import Clock
from simulator.document import AUTO, Document, Edit, indent_unit, replay

texts = st.text(alphabet="ab :(\n", max_size=12)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), texts, st.integers(1, 3)),
        st.tuples(st.just("backspace"), st.integers(1, 5)),
        st.tuples(st.just("newline")),
        st.tuples(st.just("move"), st.floats(0, 1)),
        st.tuples(st.just("replace"), st.floats(0, 1), st.floats(0, 1), texts),
    ),
    max_size=15,
)


@given(texts, operations)
def test_document_is_the_sum_of_its_edits(start, steps):
    document = Document(start, len(start) // 2)
    edits, inserted = [], {1: 0, 2: 0, 3: 0}
    for name, *rest in steps:
        size = len(document.text)
        if name == "insert":
            edits.append(document.insert(*rest))
            inserted[rest[1]] += len(rest[0])
        elif name == "backspace":
            edits.append(document.backspace(rest[0]))
        elif name == "newline":
            edits.append(document.newline())
        elif name == "move":
            document.move(int(rest[0] * size))
        else:
            low, high = sorted(int(share * size) for share in rest[:2])
            edits.append(document.replace(low, high, rest[2]))
        assert 0 <= document.cursor <= len(document.text)
    assert replay(start, edits) == document.text
    alive = [document.alive(origin) for origin in inserted]
    assert all(count <= inserted[origin] for origin, count in enumerate(alive, 1))
    assert document.accepted_alive() == sum(alive)


def test_replay_refuses_an_edit_that_does_not_fit():
    with pytest.raises(ValueError, match="not 'x'"):
        replay("abc", [Edit(1, "x", "")])


@pytest.mark.parametrize(
    ("line", "indent"),
    [
        ("def f():", "    "),
        ("    x = 1", "    "),
        ("    return x", ""),
        ("    call(", "        "),
        ("    # note:", "    "),
    ],
)
def test_enter_indents_like_an_editor(line, indent):
    document = Document(line, len(line))
    document.newline()
    assert document.text == f"{line}\n{indent}"
    assert document.alive(AUTO) == len(indent)


def test_enter_on_an_automatically_indented_line_empties_it():
    document = Document("    x = 1", 9)
    document.newline()
    document.newline()
    assert document.text == "    x = 1\n\n    "


def test_acceptance_is_followed_until_it_breaks():
    document = Document("ab", 1)
    document.insert("xyz", origin=1)
    assert document.alive(1) == 3
    assert document.unbroken(1)
    document.move(2)
    document.insert("-")
    assert document.alive(1) == 3
    assert not document.unbroken(1)
    document.replace(0, 3, "")
    assert document.alive(1) == 2


@pytest.mark.parametrize(("text", "unit"), [("a\n  b\n    c", "  "), ("a\n\tb", "\t"), ("a", "    ")])
def test_indent_unit(text, unit):
    assert indent_unit(text) == unit


def test_clock_orders_by_time_then_by_setting():
    clock: Clock[str] = Clock(100.0)
    clock.at(300, "late")
    clock.at(200, "first")
    clock.at(200, "second")
    clock.cancel(clock.at(150, "never"))
    clock.at(0, "past")
    assert [clock.pop(), clock.now_ms] == ["past", 100.0]
    assert [clock.pop(), clock.pop(), clock.now_ms] == ["first", "second", 200.0]
    assert [clock.pop(), clock.pop()] == ["late", None]
