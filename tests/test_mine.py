"""The miner against a pairwise reference, by property and by example."""

from itertools import pairwise

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from echo_ray import schema
from echo_ray.schema import EndReason
from echo_ray.stages.mine import MineConfig, Outcome, Snapshot, align, mine, mine_session


def reference(snapshots: list[Snapshot], idle_s: float) -> list[Outcome]:
    """The definition, written down: for each request, look at every later snapshot of its file."""
    results = []
    for i, opened in enumerate(snapshots):
        left, right = opened.document[: opened.cursor], opened.document[opened.cursor :]
        last, count, reason = opened, 0, EndReason.SESSION_END
        seen = {s.file: s.document for s in snapshots[: i + 1]}
        for before, now in pairwise(snapshots[i:]):
            if now.ts_ms - before.ts_ms > idle_s * 1000:
                reason = EndReason.IDLE
                break
            edited = now.file in seen and seen[now.file] != now.document
            seen[now.file] = now.document
            if now.file != opened.file:
                if edited:
                    reason = EndReason.FILE_SWITCH
                    break
                continue
            document = now.document
            stands = document.startswith(left) and document.endswith(right)
            if not stands or len(document) < len(left) + len(right):
                reason = EndReason.ANCHOR_EDITED
                break
            last, count = now, count + 1
        commit = last.document[len(left) : len(last.document) - len(right)]
        results.append(Outcome(opened.row, commit, reason, last.ts_ms, count))
    return results


@st.composite
def sessions(draw: st.DrawFn) -> list[Snapshot]:
    """Random edits over a tiny alphabet, so that repeated text and ambiguous edits are common."""
    documents = {"a": draw(st.text("xy", max_size=6)), "b": draw(st.text("xy", max_size=6))}
    snapshots, now = [], 0
    for index in range(draw(st.integers(1, 25))):
        name = draw(st.sampled_from("aaab"))
        text = documents[name]
        start = draw(st.integers(0, len(text)))
        stop = draw(st.integers(start, min(len(text), start + 2)))
        typed = draw(st.text("xyz", max_size=2)) if draw(st.booleans()) else text[start:stop]
        documents[name] = text[:start] + typed + text[stop:]
        cursor = draw(st.integers(0, len(documents[name])))
        now += draw(st.sampled_from([0, 10, 900, 5000]))
        snapshots.append(Snapshot(index, now, name, documents[name], cursor))
    return snapshots


@given(sessions())
def test_equals_the_pairwise_definition(snapshots: list[Snapshot]) -> None:
    mined = sorted(mine_session(snapshots, idle_s=2.0), key=lambda outcome: outcome.row)
    assert reference(snapshots, idle_s=2.0) == mined


@given(sessions(), st.integers(0, 3))
def test_same_text_in_a_longer_document_changes_nothing(snapshots: list[Snapshot], size: int) -> None:
    margin = "#" * size
    wrapped = [
        Snapshot(s.row, s.ts_ms, s.file, margin + s.document + margin, s.cursor + size) for s in snapshots
    ]
    assert list(mine_session(snapshots, 2.0)) == list(mine_session(wrapped, 2.0))


def typing(text: str, before: str, after: str, start_ms: int = 0) -> list[Snapshot]:
    return [
        Snapshot(i, start_ms + 200 * i, "f", before + text[:i] + after, len(before) + i)
        for i in range(len(text) + 1)
    ]


def test_each_keystroke_sees_what_was_still_to_come() -> None:
    outcomes = sorted(mine_session(typing("return 1", "def f():\n    ", "\n"), 300), key=lambda o: o.row)
    assert ["return 1"[i:] for i in range(9)] == [outcome.commit for outcome in outcomes]
    assert {EndReason.SESSION_END} == {outcome.end_reason for outcome in outcomes}
    assert [8, 7, 6, 5, 4, 3, 2, 1, 0] == [outcome.snapshots for outcome in outcomes]


def test_windows_that_slide_give_the_same_commits() -> None:
    lines = "".join(f"value_{i} = compute({i})\n" for i in range(60))
    snapshots = typing("result = value_3 + value_4", lines, lines[::-1])
    windowed = [
        Snapshot(
            s.row,
            s.ts_ms,
            s.file,
            s.document[s.cursor - 400 : s.cursor + 300],
            400,
            whole=False,
        )
        for s in snapshots
    ]
    whole = {o.row: o.commit for o in mine_session(snapshots, 300)}
    assert whole == {o.row: o.commit for o in mine_session(windowed, 300)}


def test_windows_with_nothing_in_common_end_the_gap() -> None:
    assert align("a" * 200, "b" * 200) is None
    far = [Snapshot(0, 0, "f", "a" * 200, 100, False), Snapshot(1, 9, "f", "b" * 200, 100, False)]
    first, _ = sorted(mine_session(far, 300), key=lambda outcome: outcome.row)
    assert ("", EndReason.ANCHOR_EDITED) == (first.commit, first.end_reason)


def test_speculative_requests_are_not_part_of_the_timeline() -> None:
    def row(number: int, prefix: str, kind: str) -> dict[str, object]:
        identity = {"request_id": f"r{number}", "user": "u", "session": "s", "file": "f"}
        return (
            schema.REQUEST_DEFAULTS
            | identity
            | {"ts_ms": number, "prefix": prefix, "suffix": "", "kind": kind}
        )

    rows = [row(2, "ab", "automatic"), row(1, "a + 1000", "speculative"), row(0, "a", "manual")]
    samples = mine(pa.Table.from_pylist(rows, schema=schema.REQUEST), MineConfig())
    assert ["r0", "r2"] == samples["request_id"].to_pylist()
    assert ["b", ""] == samples["commit"].to_pylist()
    assert [None, "unobserved"] == samples["drop"].to_pylist()
