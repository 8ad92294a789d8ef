"""The keystroke oracle by hand, against a re-scan gap by gap, and on the real traces."""

import gzip
import json
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.log import recordings
from echo_ray.schema import EndReason
from simulator.judge.oracle import Asked, Event, Gap, Reset, Stroke, gaps, minimal

TRACES = Path(__file__).parents[2] / "shared" / "data" / "traces"
SVELTE = sorted(TRACES.glob("editing-traces/sveltecomponent.json.gz"))
ANCHOR, SWITCH, IDLE, END = (
    EndReason.ANCHOR_EDITED,
    EndReason.FILE_SWITCH,
    EndReason.IDLE,
    EndReason.SESSION_END,
)


def one(*events: Event, idle_ms: float = 1000) -> Gap:
    """The gap of a request `r` at offset 3 of document `f` at time 0, `events` after it."""
    return dict(gaps([Asked(0, "f", 3, "r"), *events], idle_ms))["r"]


def key(ts_ms: int, at: int, inserted: str, removed: str = "", document: str = "f") -> Stroke:
    return Stroke(ts_ms, document, at, removed, inserted)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([], Gap("", END, 0, 1000), id="nothing happens"),
        pytest.param(
            [key(5, 3, "a"), key(9, 4, "b")], Gap("ab", END, 9, 1009), id="typing at the right border"
        ),
        pytest.param(
            [key(5, 3, "b"), key(9, 3, "a")], Gap("ab", END, 9, 1009), id="typing at the left border"
        ),
        pytest.param([key(5, 3, "abc"), key(9, 4, "", "b")], Gap("ac", END, 9, 1009), id="removing inside"),
        pytest.param([key(5, 3, "ab"), key(9, 3, "", "ab")], Gap("", END, 9, 1009), id="all of it goes"),
        pytest.param([key(5, 3, "ab"), key(9, 2, "", "x")], Gap("ab", ANCHOR, 5, 9), id="the prefix"),
        pytest.param([key(5, 3, "ab"), key(9, 5, "", "y")], Gap("ab", ANCHOR, 5, 9), id="the suffix"),
        pytest.param(
            [key(5, 3, "ab"), key(9, 2, "", "xa")], Gap("ab", ANCHOR, 5, 9), id="across the left border"
        ),
        pytest.param(
            [key(5, 3, "ab"), key(9, 4, "", "by")], Gap("ab", ANCHOR, 5, 9), id="across the right one"
        ),
        pytest.param([key(5, 3, "ab"), key(9, 0, "#")], Gap("ab", ANCHOR, 5, 9), id="far away in the file"),
        pytest.param(
            [key(5, 3, "ab"), key(9, 0, "#"), key(12, 0, "", "#"), key(15, 5, "c")],
            Gap("ab", ANCHOR, 5, 9),
            id="an anchor that comes back opens nothing",
        ),
        pytest.param(
            [key(5, 3, "ab"), key(9, 1, "xyab", "xya")],
            Gap("abb", END, 9, 1009),
            id="what is replaced by itself",
        ),
        pytest.param([key(5, 0, "xy", "xy")], Gap("", END, 0, 1000), id="an edit that changes nothing"),
        pytest.param(
            [key(5, 3, "a"), key(5, 4, "b"), key(5, 9, "b")], Gap("ab", ANCHOR, 5, 5), id="several carets"
        ),
        pytest.param(
            [key(5, 3, "a"), key(9, 0, "!", document="g")], Gap("a", SWITCH, 5, 9), id="another file"
        ),
        pytest.param(
            [key(5, 3, "a"), Asked(9, "g", 0, "s")], Gap("a", END, 5, 1009), id="looking at another file"
        ),
        pytest.param([key(5, 3, "a"), Asked(9, "f", 4, "s")], Gap("a", END, 9, 1009), id="a later request"),
        pytest.param([key(5, 3, "a"), key(1006, 4, "b")], Gap("a", IDLE, 5, 1005), id="silence"),
        pytest.param([key(5, 3, "a"), key(1005, 4, "b")], Gap("ab", END, 1005, 2005), id="just no silence"),
        pytest.param([key(5, 3, "a"), Reset(9, "f")], Gap("a", ANCHOR, 5, 9), id="the content is set anew"),
        pytest.param(
            [key(5, 3, "a"), Reset(9, "g")], Gap("a", END, 5, 1009), id="another content is set anew"
        ),
        pytest.param([key(5, 3, "a"), key(2, 4, "b")], Gap("ab", END, 5, 1005), id="a clock that steps back"),
    ],
)
def test_by_hand(events: list[Event], expected: Gap) -> None:
    assert expected == one(*events)


def test_requests_that_follow_each_other_see_what_was_still_to_come() -> None:
    events: list[Event] = []
    for index, char in enumerate("return 1"):
        events += [Asked(10 * index, "f", 7 + index, str(index)), key(10 * index + 5, 7 + index, char)]
    found = dict(gaps([*events, key(90, 2, "", "x")], 1000))
    assert ["return 1"[index:] for index in range(8)] == [found[str(index)].text for index in range(8)]
    assert {(ANCHOR, 75, 90)} == {(gap.reason, gap.stood_ms, gap.ended_ms) for gap in found.values()}


@pytest.mark.parametrize(
    ("stroke", "expected"),
    [
        (key(0, 5, "b"), key(0, 5, "b")),
        (key(0, 5, "constructor", "con"), key(0, 8, "structor")),
        (key(0, 5, "axb", "ab"), key(0, 6, "x")),
        (key(0, 5, "aaa", "aa"), key(0, 7, "a")),  # ambiguous: the right end
        (key(0, 5, "aa", "aaa"), key(0, 7, "", "a")),
        (key(0, 5, "same", "same"), None),
    ],
)
def test_an_edit_claims_no_more_than_it_changes(stroke: Stroke, expected: Stroke | None) -> None:
    assert expected == minimal(stroke)


def naive(documents: dict[str, str], events: list[Event], idle_ms: float, since: int) -> str:
    """One gap at a time, on whole documents: anchors are lengths counted from either end of the text."""
    texts, opened, latest = dict(documents), events[since], None
    left = right = 0
    for index, event in enumerate(events):
        live = index > since
        if isinstance(event, Stroke) and event.removed == event.inserted:
            continue
        if live and latest is not None and event.ts_ms - latest > idle_ms:
            break
        if isinstance(event, Stroke):
            text, at, stop = texts[event.document], event.at, event.at + len(event.removed)
            after = text[:at] + event.inserted + text[stop:]
            if live:
                if event.document != opened.document:
                    break
                while (
                    at < stop
                    and at < len(after)
                    and text[at] == event.inserted[at - event.at : at - event.at + 1]
                ):
                    at += 1
                behind = len(text) - stop
                while (
                    stop > at
                    and len(after) - behind > at
                    and text[stop - 1] == after[len(after) - behind - 1]
                ):
                    stop, behind = stop - 1, behind + 1
                if at < left or behind < right:
                    break
            texts[event.document] = after
        elif index == since:
            assert isinstance(event, Asked)
            left, right = event.caret, len(texts[event.document]) - event.caret
        latest = event.ts_ms if latest is None else max(latest, event.ts_ms)
    text = texts[opened.document]
    return text[left : len(text) - right]


@st.composite
def work(draw: st.DrawFn) -> tuple[dict[str, str], list[Event]]:
    """Random edits and requests over a tiny alphabet, so that ambiguous edits are common."""
    start = {name: draw(st.text("xy", max_size=6)) for name in "ab"}
    texts, now, events = dict(start), 0, list[Event]()
    for number in range(draw(st.integers(1, 30))):
        name = draw(st.sampled_from("aaaab"))
        text = texts[name]
        now += draw(st.sampled_from([0, 1, 9, 50]))
        if draw(st.booleans()):
            events.append(Asked(now, name, draw(st.integers(0, len(text))), str(number)))
            continue
        at = draw(st.integers(0, len(text)))
        stop = draw(st.integers(at, min(len(text), at + 3)))
        typed = draw(st.text("xyz", max_size=3))
        events.append(Stroke(now, name, at, text[at:stop], typed))
        texts[name] = text[:at] + typed + text[stop:]
    return start, events


@given(work(), st.sampled_from([20, 10**9]))
def test_equals_a_rescan_of_every_gap(made: tuple[dict[str, str], list[Event]], idle_ms: float) -> None:
    start, events = made
    asked = [index for index, event in enumerate(events) if isinstance(event, Asked)]
    expected = {events[index].name: naive(start, events, idle_ms, index) for index in asked}
    assert expected == {name: gap.text for name, gap in gaps(events, idle_ms)}


@given(work())
def test_every_request_has_one_gap_and_its_times_are_in_order(
    made: tuple[dict[str, str], list[Event]],
) -> None:
    _, events = made
    asked = {event.name: event.ts_ms for event in events if isinstance(event, Asked)}
    found = list(gaps(events, 20))
    assert sorted(asked) == sorted(name for name, _ in found)
    assert all(asked[name] <= gap.stood_ms <= gap.ended_ms for name, gap in found)


@given(work())
def test_a_minimal_edit_makes_the_same_text(made: tuple[dict[str, str], list[Event]]) -> None:
    _, events = made
    for stroke in (event for event in events if isinstance(event, Stroke)):
        small = minimal(stroke)
        text = "#" * stroke.at + stroke.removed + "#"
        whole = text[: stroke.at] + stroke.inserted + text[stroke.at + len(stroke.removed) :]
        if small is None:
            assert text == whole
        else:
            assert whole == text[: small.at] + small.inserted + text[small.at + len(small.removed) :]
            assert small.removed[:1] != small.inserted[:1] or not small.removed or not small.inserted


@pytest.mark.parametrize("path", SVELTE, ids=lambda path: path.name)
def test_a_real_trace_gives_the_printed_figures(path: Path) -> None:
    """The reference on traces counts, for a request after every 4th single-patch transaction: 4,441 gaps
    ended by an edit, 17.7% empty, lengths with text 1/5/12/28/77 characters at P5/25/50/75/95."""
    trace = json.loads(gzip.decompress(path.read_bytes()))
    document, events, single = trace.get("startContent") or "", list[Event](), 0
    for number, transaction in enumerate(trace["txns"]):
        for at, removed, typed in transaction["patches"]:
            events.append(Stroke(number, "d", at, document[at : at + removed], typed))
            document = document[:at] + typed + document[at + removed :]
        if len(transaction["patches"]) == 1:
            if single % 4 == 0:
                events.append(Asked(number, "d", at + len(typed), str(number)))
            single += 1
    found = dict(gaps(events, 1e18))
    sizes = sorted(len(gap.text) for gap in found.values() if gap.text)
    assert 4441 == Counter(gap.reason for gap in found.values())[ANCHOR]
    assert 0.177 == pytest.approx(1 - len(sizes) / len(found), abs=0.003)
    assert [1, 5, 12, 28] == [sizes[int(len(sizes) * level)] for level in (0.05, 0.25, 0.5, 0.75)]
    assert 77 == pytest.approx(sizes[int(len(sizes) * 0.95)], abs=1)


@pytest.mark.parametrize("path", sorted(TRACES.glob("*/*.json*")), ids=lambda path: path.name)
def test_real_edits_equal_the_rescan(path: Path) -> None:
    """The first 400 changes of every session, the first gap of every ten."""
    for _, session in groupby(recordings.changes(path), key=lambda change: change.session):
        changes = list(session)[:400]
        events, documents, last = list[Event](), dict[str, str](), dict[str, str]()
        for change in changes:
            documents.setdefault(change.file, change.before)
            assert last.get(change.file, change.before) == change.before
            text = change.before
            for start, stop, typed in change.edits:
                events.append(Stroke(change.ts_ms, change.file, start, text[start:stop], typed))
                text = text[:start] + typed + text[stop:]
            last[change.file] = text
            events.append(Asked(change.ts_ms, change.file, change.caret, str(change.number)))
        found = dict(gaps(events, 300_000))
        assert {str(change.number) for change in changes} == set(found)
        asked = [index for index, event in enumerate(events) if isinstance(event, Asked)]
        for index in asked[::10]:
            assert naive(documents, events, 300_000, index) == found[events[index].name].text
