"""Chaining requests: the edits of a session, in the order they happened."""

import random
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from echo_ray import schema
from echo_ray.edits import View, apply
from echo_ray.link import Link, LinkKind, Look, is_dense, link_session
from echo_ray.link_table import edits_of, link_table, linked
from tests.rows import request, table_of

CODE = "".join(f"def part_{number}(value):\n    return value + {number}\n\n" for number in range(200))


def keys(text: str, before: str, after: str, step_ms: int = 150) -> list[Look]:
    """A look after every key of `text`, the first before any."""
    return [
        Look(number, number * step_ms, "f", View(before + text[:number], after))
        for number in range(len(text) + 1)
    ]


@st.composite
def documents(draw: st.DrawFn) -> list[Look]:
    """Looks at two documents that random edits change, cursors anywhere."""
    texts = {"f": draw(st.text("ab\n", max_size=12)), "g": ""}
    looks = []
    for number in range(draw(st.integers(1, 12))):
        file = draw(st.sampled_from("fffg"))
        text = texts[file]
        start = draw(st.integers(0, len(text)))
        stop = draw(st.integers(start, len(text)))
        texts[file] = text[:start] + draw(st.text("abc\n", max_size=3)) + text[stop:]
        cursor = draw(st.integers(0, len(texts[file])))
        look = Look(number, number * 60_000, file, View(texts[file][:cursor], texts[file][cursor:]))
        looks.append(look)
    return looks


@given(documents())
def test_the_edits_replay_to_every_document(looks: list[Look]) -> None:
    texts: dict[str, str] = {}
    for look, link in zip(looks, link_session(looks), strict=True):
        document = look.view.prefix + look.view.suffix
        if link.kind is LinkKind.FIRST:
            texts[look.file] = document
        texts[look.file] = apply(texts[look.file], link.edits)
        assert document == texts[look.file]
        assert (look.row, len(look.view.prefix)) == (link.row, link.cursor)
        assert (link.kind is LinkKind.SAME) == (not link.edits and link.kind is not LinkKind.FIRST)


def test_a_jump_back_to_a_place_seen_before_is_compared_with_it() -> None:
    def look(number: int, document: str, cursor: int) -> Look:
        view = View(document[cursor - 300 : cursor], document[cursor : cursor + 100], False, False)
        return Look(number, number * 1000, "f", view)

    looks = [look(number, CODE, 400 + 150 * number) for number in range(30)]
    changed = CODE[:500] + "!" + CODE[500:]
    *_, link = link_session([*looks, look(30, changed, 501)])
    assert (LinkKind.EDIT, 1, "!") == (link.kind, len(link.edits), link.edits[0].text)
    # Nothing of a place that no window has shown is known.
    *_, link = link_session([*looks, look(30, CODE, 8000)])
    assert LinkKind.LOST is link.kind


def test_a_log_is_dense_when_most_steps_are_keys() -> None:
    looks = keys("return value", "def f():\n    ", "\n")
    assert [True, False] == [is_dense(looks), is_dense(looks[::4])]


def rows_in_order(links: list[Link]) -> list[int]:
    return [link.row for link in links]


def test_requests_of_one_tick_come_in_the_order_of_their_keys() -> None:
    looks = keys("result = compute(value)", "x\n", "\ny\n")
    coarse = [look._replace(ts_ms=look.ts_ms // 1000 * 1000) for look in looks]
    expected = rows_in_order(list(link_session(looks)))
    for seed in range(20):
        shuffled = list(coarse)
        random.Random(seed).shuffle(shuffled)
        shuffled.sort(key=lambda look: look.ts_ms)
        # The first look of a file has nothing to go on from, so its tick must begin with it.
        shuffled.sort(key=lambda look: look.row != 0)
        assert expected == rows_in_order(list(link_session(shuffled)))


def test_a_clock_that_stepped_back_does_not_tear_the_keys_apart() -> None:
    looks = keys("result = compute(value) + offset", "x\n", "\ny\n", step_ms=200)
    for back_ms in (300, 1000, 3000):
        late = [
            look._replace(ts_ms=look.ts_ms - back_ms) if number > 16 else look
            for number, look in enumerate(looks)
        ]
        late.sort(key=lambda look: look.ts_ms)
        assert rows_in_order(list(link_session(looks))) == rows_in_order(list(link_session(late)))


def test_undo_and_redo_stay_in_the_order_of_time() -> None:
    texts = ["a", "a = compute(1)", "a", "ab", "a", "a = compute(1)", "a = compute(1)\n"]
    looks = [Look(number, number * 500, "f", View(text, "")) for number, text in enumerate(texts)]
    assert list(range(len(texts))) == rows_in_order(list(link_session(looks)))


@given(st.lists(st.integers(1, 7), max_size=8), st.randoms(use_true_random=False))
def test_batches_make_no_difference(sizes: list[int], chance: random.Random) -> None:
    rows: list[dict[str, Any]] = []
    for session in ("s1", "s2", "s3"):
        for number in range(8):
            kind = chance.choice(["automatic", "automatic", "speculative", "manual"])
            text = "x = 12345678"[: number + 1]
            rows.append(request(f"{session}-{number}", number, text, session=session, kind=kind))
    table = table_of(rows)
    whole = link_table(table)
    cuts, batches = [0, *sizes], []
    start = 0
    for size in cuts[1:]:
        batches.append(table.slice(start, size))
        start += size
    batches.append(table.slice(start))
    assert whole.equals(pa.concat_tables(linked(iter(batches))))
    outside = [row["seq"] is None for row in whole.to_pylist()]
    assert [row["kind"] == "speculative" for row in whole.to_pylist()] == outside


def test_columns_hold_every_edit() -> None:
    before, after = "total = 1\nprint(totl)\n", "total = 1 + 2\nprint(total)\n"
    rows = [request("r0", 0, before[:9], before[9:]), request("r1", 9000, after[:25], after[25:])]
    table = link_table(table_of(rows))
    assert [*schema.REQUEST.names, *schema.LINKS.names] == table.column_names
    columns = {name: table[name].to_pylist() for name in schema.LINKS.names}
    assert (["first", "edits"], [0, 1]) == (columns["link"], columns["seq"])
    assert after == apply(before, edits_of(columns, 1))
    assert () == edits_of(columns, 0)
