import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.desk.clock import Clock
from simulator.desk.document import AUTO, Document, Edit, indent_unit, replay

texts = st.text(alphabet="ab :(\n", max_size=12)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), texts, st.integers(1, 3)),
        st.tuples(st.just("backspace"), st.integers(1, 5)),
        st.tuples(st.just("newline"), st.sampled_from(["", "\n", "\n  "])),
        st.tuples(st.just("move"), st.floats(0, 1)),
        st.tuples(st.just("replace"), st.floats(0, 1), st.floats(0, 1), texts),
    ),
    max_size=15,
)


def play(document, steps):
    for name, *rest in steps:
        size = len(document.text)
        if name == "insert":
            yield document.insert(*rest)
        elif name == "backspace":
            yield document.backspace(rest[0])
        elif name == "newline":
            yield document.newline(rest[0])
        elif name == "move":
            document.move(int(rest[0] * size))
        else:
            low, high = sorted(int(share * size) for share in rest[:2])
            yield document.replace(low, high, rest[2])
        assert 0 <= document.cursor <= len(document.text)


@given(texts, operations)
def test_document_is_the_sum_of_its_edits(start, steps):
    document = Document(start, len(start) // 2)
    edits = list(play(document, steps))
    inserted = {1: 0, 2: 0, 3: 0}
    for name, *rest in steps:
        if name == "insert":
            inserted[rest[1]] += len(rest[0])
    assert replay(start, edits) == document.text
    alive = [document.alive(origin) for origin in inserted]
    assert all(count <= inserted[origin] for origin, count in enumerate(alive, 1))
    assert document.accepted_alive() == sum(alive)
    assert document.accepted_alive(2) == alive[2]


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


def test_enter_between_brackets_makes_three_lines():
    document = Document("if (x) {}", 8, "javascript")
    document.newline("\n")
    assert document.left == "if (x) {\n    "
    assert document.right == "\n}"


def test_enter_on_an_automatically_indented_line_empties_it():
    document = Document("    x = 1", 9)
    document.newline()
    document.newline()
    assert document.text == "    x = 1\n\n    "


def test_a_closing_bracket_stands_behind_the_cursor():
    document = Document("f\n", 1)
    document.insert("()")
    document.behind(1)
    document.insert("a")
    assert (document.left, document.right) == ("f(a", ")\n")
    assert document.alive(AUTO) == 1


@given(st.text(alphabet="abc", min_size=4, max_size=10), st.data())
def test_a_span_follows_its_text(text, data):
    """What is neither inserted at its borders nor cut stays in the span; a reference marks characters."""
    low, high = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    document = Document(text, 0)
    span = document.span(low, high)
    inside = [low <= place < high for place in range(len(text))]
    for _ in range(data.draw(st.integers(0, 5))):
        size = len(document.text)
        start, stop = sorted(data.draw(st.tuples(*[st.integers(0, size)] * 2)))
        new = data.draw(st.text(alphabet="xy", max_size=3))
        within = any(inside[:start]) and any(inside[stop:])
        document.replace(start, stop, new)
        inside[start:stop] = [within] * len(new)
        marked = [place for place, own in enumerate(inside) if own]
        if marked and low < high:
            assert span.start <= marked[0]
            assert marked[-1] < span.stop
        assert 0 <= span.start <= span.stop <= len(document.text)


@pytest.mark.parametrize(("text", "unit"), [("a\n  b\n    c", "  "), ("a\n\tb", "\t"), ("a", "    ")])
def test_indent_unit(text, unit):
    assert indent_unit(text) == unit


def test_clock_orders_by_time_then_by_setting():
    clock: Clock[str] = Clock(100.0)
    clock.at(300, "late")
    clock.at(200, "first")
    clock.at(200, "second")
    clock.at(0, "past")
    assert [clock.pop(150), clock.now_ms] == ["past", 100.0]
    assert [clock.pop(200), clock.now_ms] == [None, 200.0]  # what fires at the end is not before it
    assert [clock.pop(250), clock.pop(250), clock.now_ms] == ["first", "second", 200.0]
    assert clock.quiet(300)
    assert [clock.pop(301), clock.now_ms] == ["late", 300.0]
    assert [clock.pop(float("inf")), clock.now_ms] == [None, 300.0]
