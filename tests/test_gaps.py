"""The rule of mining, by its definition and by example."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.edits import Edit, View
from echo_ray.link import LinkKind, Look, link_session
from echo_ray.schema import Confidence, EndReason
from echo_ray.stages.gaps import Moment, Outcome, Rule, mine_session

RULE = Rule(idle_ms=300_000)


def definition(moments: list[Moment], idle_ms: float) -> dict[int, tuple[str, EndReason]]:
    """The rule written down: each gap alone, its text carried along edit by edit."""
    found = {}
    for index, opened in enumerate(moments):
        left = right = opened.cursor
        text, reason = "", EndReason.SESSION_END
        for before, now in pairwise(moments[index:]):
            if now.ts_ms - before.ts_ms > idle_ms:
                reason = EndReason.IDLE
            elif now.file != opened.file and now.edits:
                reason = EndReason.FILE_SWITCH
            for start, stop, typed in now.edits if now.file == opened.file else ():
                if reason is EndReason.SESSION_END and not (left <= start and stop <= right):
                    reason = EndReason.ANCHOR_EDITED
                if reason is EndReason.SESSION_END:
                    text = text[: start - left] + typed + text[stop - left :]
                    right += len(typed) - (stop - start)
            if reason is not EndReason.SESSION_END:
                break
        found[opened.row] = (text, reason)
    return found


@st.composite
def sessions(draw: st.DrawFn) -> list[Moment]:
    """Random edits of two documents, often at the cursor; dense, so that no edit is reinterpreted."""
    sizes, cursors, known = {"a": 6, "b": 6}, {"a": 3, "b": 3}, {"a"}
    moments, now = [Moment(0, 0, "a", LinkKind.FIRST, 3)], 0
    for row in range(1, draw(st.integers(1, 30))):
        file = draw(st.sampled_from("aaaab"))
        edits: tuple[Edit, ...] = ()
        kind = LinkKind.FIRST
        if file in known:
            place = draw(st.sampled_from([cursors[file], draw(st.integers(0, sizes[file]))]))
            removing = draw(st.booleans()) and place > 0
            edit = (
                Edit(place - 1, place, "") if removing else Edit(place, place, draw(st.sampled_from("xyz")))
            )
            edits = (edit,) if draw(st.integers(0, 5)) else ()
            kind = LinkKind.EDIT if edits else LinkKind.SAME
            for start, stop, text in edits:
                sizes[file] += len(text) - (stop - start)
                cursors[file] = start + len(text)
        known.add(file)
        now += draw(st.sampled_from([0, 10, 900, 5000]))
        moments.append(Moment(row, now, file, kind, cursors[file], edits))
    return moments


@given(sessions())
def test_equals_its_definition(moments: list[Moment]) -> None:
    mined = {outcome.row: outcome for outcome in mine_session(moments, Rule(idle_ms=2000))}
    expected = definition(moments, 2000)
    assert expected == {row: (outcome.commit, outcome.end_reason) for row, outcome in mined.items()}
    for outcome in mined.values():
        assert len(outcome.commit) == outcome.human_chars + outcome.model_chars + outcome.pasted_chars


@given(sessions(), st.sampled_from([("ttl", 900), ("ttl", 4000), ("quiescence", 900), ("quiescence", 4000)]))
def test_policies_only_end_gaps_earlier(moments: list[Moment], policy: tuple[str, int]) -> None:
    name, limit = policy
    rule = Rule(300_000, **{f"{name}_ms": limit})
    default = {outcome.row: outcome for outcome in mine_session(moments, RULE)}
    stamps = {moment.row: moment.ts_ms for moment in moments}
    for outcome in mine_session(moments, rule):
        assert outcome.end_ts_ms <= default[outcome.row].end_ts_ms
        if name == "ttl":
            assert outcome.end_ts_ms - stamps[outcome.row] <= limit
        if outcome.end_reason not in (EndReason.TTL, EndReason.QUIESCENCE):
            assert default[outcome.row] == outcome


def mined(looks: list[Look], rule: Rule = RULE, proposals: dict[int, str] | None = None) -> list[Outcome]:
    """Outcomes by row of one file's looks."""
    moments = [
        Moment(
            link.row,
            looks[link.row].ts_ms,
            looks[link.row].file,
            link.kind,
            link.cursor,
            link.edits,
            (proposals or {}).get(link.row),
            looks[link.row].view.from_start and looks[link.row].view.to_end,
        )
        for link in link_session(looks)
    ]
    return sorted(mine_session(moments, rule), key=lambda outcome: outcome.row)


def look(row: int, document: str, ts_ms: int | None = None, file: str = "f") -> Look:
    """A look at a document whose cursor is written as `|`."""
    prefix, suffix = document.split("|")
    return Look(row, 200 * row if ts_ms is None else ts_ms, file, View(prefix, suffix))


def test_each_keystroke_sees_what_was_still_to_come() -> None:
    text = "return 1"
    looks = [look(row, f"def f():\n    {text[:row]}|\n") for row in range(9)]
    outcomes = mined(looks)
    assert [text[row:] for row in range(9)] == [outcome.commit for outcome in outcomes]
    assert {EndReason.SESSION_END} == {outcome.end_reason for outcome in outcomes}
    assert [8, 7, 6, 5, 4, 3, 2, 1, 0] == [outcome.snapshots for outcome in outcomes]
    assert {Confidence.EXACT} == {outcome.confidence for outcome in outcomes}


def test_a_cursor_that_looks_elsewhere_closes_nothing() -> None:
    looks = [look(0, "a = |\nb\n"), look(1, "a = 1|\nb\n"), look(2, "a = 1\nb|\n"), look(3, "a = 12|\nb\n")]
    assert "12" == mined(looks)[0].commit


def test_undo_that_restores_an_anchor_does_not_open_the_gap_again() -> None:
    looks = [look(0, "ab|\n"), look(1, "abc|\n"), look(2, "ab|\n"), look(3, "a|\n"), look(4, "ab|\n")]
    first = mined([*looks, look(5, "abx|\n")])[0]
    assert ("", EndReason.ANCHOR_EDITED, 2) == (first.commit, first.end_reason, first.snapshots)


def test_a_sibling_cursor_breaks_the_gap_in_the_order_of_the_places() -> None:
    # One event of several cursors is reported from the last place on: the edit behind the gap comes first.
    behind = [look(0, "x| = 1\ny = 2\n"), look(1, "xa| = 1\ny = 2\n"), look(2, "xab| = 1\nyb = 2\n")]
    before = [look(0, "y = 2\nx| = 1\n"), look(1, "y = 2\nxa| = 1\n"), look(2, "yb = 2\nxab| = 1\n")]
    assert ["a", "", ""] == [outcome.commit for outcome in mined(behind)]
    assert ["ab", "b", ""] == [outcome.commit for outcome in mined(before)]
    assert Confidence.INFERRED is mined(before)[0].confidence


def test_whole_file_replacement_ends_every_gap() -> None:
    # A checkout swaps the file and swaps it back: nothing is mined across it.
    old = "".join(f"old {number}\n" for number in range(30))
    looks = [look(0, f"{old}|"), look(1, f"{old}x|"), look(2, "entirely different\n|"), look(3, f"{old}xy|")]
    assert ["x", "", "", ""] == [outcome.commit for outcome in mined(looks)]


def test_another_file_ends_the_gap_only_when_it_is_edited() -> None:
    looks = [look(0, "a|", 0), look(1, "g|", 100, "g"), look(2, "ab|", 200), look(3, "gh|", 300, "g")]
    looks += [look(4, "abc|", 400)]
    first = mined(looks)[0]
    assert ("b", EndReason.FILE_SWITCH) == (first.commit, first.end_reason)


def test_a_snapshot_after_the_break_shows_what_was_left() -> None:
    # The log lacks the keys between: the user finished the word here, then repaired another line.
    before, after = "import os\nprint(", "\nvalue = cmopute()\n"
    looks = [
        look(0, f"{before}|{after}"),
        look(1, f"{before}re|{after}", 900),
        look(2, before + "result)" + after.replace("cmopute", "com|pute"), 4000),
    ]
    first, second, _ = mined(looks)
    assert ("result)", "sult)") == (first.commit, second.commit)
    assert (EndReason.ANCHOR_EDITED, Confidence.INFERRED) == (first.end_reason, first.confidence)


def test_crlf_documents_keep_their_line_ends() -> None:
    looks = [
        look(0, "if x:\r\n\ty|\r\n"),
        look(1, "if x:\r\n\ty\r\n\t|\r\n"),
        look(2, "if x:\r\n\ty\r\n\tz|\r\n"),
    ]
    assert "\r\n\tz" == mined(looks)[0].commit


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["", "r", "re", "ret"], (3, 0, 0, 0)),  # typed through, key by key: the human's
        (["", "return value"], (0, 12, 0, 12)),  # accepted
        (["", "return value", "return value + 1"], (4, 12, 0, 12)),
        (["", "ret", "return value"], (3, 9, 0, 9)),  # typed, then accepted
        (["", "return"], (0, 6, 0, 6)),  # a word of it accepted
        (["", "return value\n    x"], (6, 12, 0, 12)),  # the accept itself was never logged
        (["", "if " + "x" * 40], (0, 0, 43, 0)),  # pasted
        (["", "popup_word"], (10, 0, 0, 0)),  # a word from a popup
    ],
)
def test_who_wrote_the_commit(texts: list[str], expected: tuple[int, int, int, int]) -> None:
    looks = [look(row, f"def f():\n    {text}|\n") for row, text in enumerate(texts)]
    first = mined(looks, proposals={0: "return value"})[0]
    assert texts[-1] == first.commit
    assert expected == (
        first.human_chars,
        first.model_chars,
        first.pasted_chars,
        first.accepted_chars,
    )


def test_slow_typing_between_sparse_requests_is_not_a_paste() -> None:
    looks = [look(0, "|", 0), look(1, "x = compute(value, scale)|", 6000)]
    assert (25, 0) == (mined(looks)[0].human_chars, mined(looks)[0].pasted_chars)


def test_termination_policies_by_example() -> None:
    looks = [look(0, "a|", 0), look(1, "ab|", 5000), look(2, "abc|", 20_000), look(3, "abcd|", 40_000)]
    default = mined(looks)[0]
    quiet = mined(looks, Rule(300_000, quiescence_ms=10_000))[0]
    aged = mined(looks, Rule(300_000, ttl_ms=30_000))[0]
    assert ("bcd", EndReason.SESSION_END) == (default.commit, default.end_reason)
    assert ("b", EndReason.QUIESCENCE, 5000) == (quiet.commit, quiet.end_reason, quiet.end_ts_ms)
    assert ("bc", EndReason.TTL, 20_000) == (aged.commit, aged.end_reason, aged.end_ts_ms)
