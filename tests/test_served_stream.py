"""What the stream alone says of typing and acceptance: by hand, by truth, by a simulated developer."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray import schema
from echo_ray.experiment.tally import Acceptance, Plan, tally
from echo_ray.log import partition, reader
from echo_ray.log.partition import ImportConfig
from echo_ray.stages.keyed import keys
from echo_ray.stages.mine import MineConfig
from jobs import compare_inputs
from jobs.compare_rules import Comparison
from jobs.experiment_config import ExperimentConfig
from jobs.experiment_log import tallied
from jobs.experiment_rows import rows_of
from jobs.settings import CompareConfig
from simulator.fleet import ledger
from tests.rows import request, table_of
from tests.served import Served, served
from tests.typist import Typist, simulated

PROPOSAL = "compute(first, second)"


def columns(*rows):
    """The narrow rows by request id."""
    found = rows_of(table_of(list(rows))).to_pylist()
    return {row["request_id"]: row for row in found}


def test_an_acceptance_is_no_typing_and_no_paste() -> None:
    after = "x = " + PROPOSAL
    found = columns(
        request("r0", 0, "x = ", ";", proposal=PROPOSAL, latency_ms=100.0),
        request("r1", 3000, after, ";"),
        request("r2", 3200, after + "\n", ";"),
        request("r3", 3300, after + "\n    y", ";"),
    )
    assert (len(PROPOSAL), True, len(PROPOSAL)) == tuple(
        found["r0"][name] for name in ("taken_chars", "whole", "kept_chars")
    )
    assert [0, 0, 1, 5] == [found[name]["typed_chars"] for name in ("r0", "r1", "r2", "r3")]
    assert [0] * 4 == [row["pasted_chars"] for row in found.values()]
    assert [3000, 200, 100, None] == [found[f"r{n}"]["next_ms"] for n in range(4)]
    assert [None, 3000, 200, 100] == [found[f"r{n}"]["pause_ms"] for n in range(4)]


def test_a_proposal_may_be_taken_in_parts_and_after_typing_along() -> None:
    words = columns(
        request("r0", 0, "x = ", ";", proposal="compute(first, second)"),
        request("r1", 2000, "x = compute(", ";"),
        request("r2", 4000, "x = compute(first, second)", ";"),
    )
    assert (22, True) == (words["r0"]["taken_chars"], words["r0"]["whole"])
    part = columns(
        request("r0", 0, "x = ", ";", proposal="compute(first, second)"),
        request("r1", 2000, "x = compute(first, ", ";"),
        request("r2", 4000, "x = compute(first, z", ";"),
    )
    assert (15, False, 15) == tuple(part["r0"][name] for name in ("taken_chars", "whole", "kept_chars"))
    along = columns(
        request("r0", 0, "x = ", ";", proposal="compute(first, second)"),
        request("r1", 200, "x = c", ";"),
        request("r2", 2000, "x = compute(first, second)", ";"),
    )
    assert (21, True) == (along["r0"]["taken_chars"], along["r0"]["whole"])
    assert (1, 0) == (along["r1"]["typed_chars"], along["r2"]["typed_chars"])


def test_a_paste_is_neither_typed_nor_accepted() -> None:
    text = "something_long_from_elsewhere = 1"
    found = columns(
        request("r0", 0, "", ""), request("r1", 500, text, ""), request("r2", 900, text + "a", "")
    )
    assert (0, len(text)) == (found["r1"]["typed_chars"], found["r1"]["pasted_chars"])
    # As fast as people type, it is typing between two sparse requests.
    slow = columns(request("r0", 0, "", ""), request("r1", 5000, text, ""))
    assert (len(text), 0) == (slow["r1"]["typed_chars"], slow["r1"]["pasted_chars"])


def test_what_the_user_removes_again_is_not_retained() -> None:
    after = "x = " + PROPOSAL
    shorter = [request(f"r{n + 2}", 3200 + 100 * n, after[: -n - 1], ";") for n in range(9)]
    found = columns(
        request("r0", 0, "x = ", ";", proposal=PROPOSAL), request("r1", 3000, after, ";"), *shorter
    )
    assert (len(PROPOSAL), len(PROPOSAL) - 9) == (found["r0"]["taken_chars"], found["r0"]["kept_chars"])


def test_requests_outside_the_timeline_say_nothing_of_typing() -> None:
    found = columns(
        request("r0", 0, "a", ""),
        request("r1", 10, "abc", "", kind="speculative", proposal="<|fim_middle|>x"),
        request("r2", 200, "ab", "", proposal=" \n"),
    )
    assert (0, None, None) == tuple(found["r1"][name] or None if name != "typed_chars" else 0
                                    for name in ("typed_chars", "pause_ms", "next_ms"))  # fmt: skip
    assert (True, False) == (found["r1"]["leak"], found["r1"]["blank"])
    assert (1, True, 200) == tuple(found["r2"][name] for name in ("typed_chars", "blank", "pause_ms"))


@given(st.text("ab \t\n()", max_size=30))
def test_keys_never_exceed_characters(text) -> None:
    assert (1 if text else 0) <= keys(text) <= len(text)


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("a", 1), ("    ", 1), ("\n", 1), ("\n    ", 1), ("()", 1), ("(a)", 3),
                        ("a\n\tb", 3), ("😀", 1)],
)  # fmt: skip
def test_what_counts_as_keys(text, count) -> None:
    assert count == keys(text)


def counted(log: Served, folder: Path, partitions: int = 8, rows: int = 10**6, **settings):
    """Tallies of a log of `served`, imported in this process."""
    source, store = log.write(folder / "raw"), folder / "log"
    imported = ImportConfig(partitions=partitions)
    partition.partition(imported, source, store, "experiment.log", partition.one_by_one)
    config = ExperimentConfig(log=source, control="old", treatment="new", **settings)
    return tallied(config, store, folder / "work", rows)


def test_counts_do_not_depend_on_partitions_and_buckets(tmp_path: Path) -> None:
    log = served(20, 20, rates=(0.3, 0.6))
    whole = counted(log, tmp_path / "one", partitions=1)
    for partitions, rows in ((2, 300), (7, 300), (7, 1), (7, 1000)):
        parts = counted(log, tmp_path / f"{partitions}-{rows}", partitions=partitions, rows=rows)
        assert (whole.users, whole.languages) == (parts.users, parts.languages)
        assert (whole.rows, whole.events) == (parts.rows, parts.events)


@pytest.mark.parametrize(
    ("acceptance", "events"), [("auto", True), ("events", True), ("stream", True), ("auto", False)]
)
def test_counts_are_what_developers_did(tmp_path: Path, acceptance: str, events: bool) -> None:
    log = served(10, 40, rates=(0.3, 0.6), events=events)
    found = counted(log, tmp_path, acceptance=acceptance)
    assert {("old", "new")[int(user[1:]) % 2] + user for user in log.truth} == {a + u for a, u in found.users}
    for (_, user), counts in found.users.items():
        assert dict(log.truth[user]) == {name: counts[name] for name in log.truth[user]}
        assert counts["active_s"] > 0
        assert counts["pasted_chars"] == 0
    for facts in found.arms.values():
        told = facts.agreement
        assert (told["only_events"], told["only_stream"]) == (0, 0)
        assert (told["both"] > 0) == events
        assert told["shown_events"] == told["shown_stream"]
    assert not (tmp_path / "work").exists()


def test_agreement_is_that_of_the_verb_compare(tmp_path: Path) -> None:
    """One inference: thinned logs, where stream and events part, give both verbs the same four counts."""
    log = served(8, 40, rates=(0.4, 0.4))
    asked = [record for record in log.records if record["record"] == "request"]
    told = [record for record in log.records if record["record"] == "event"]
    thin = [r for n, r in enumerate(asked) if n % 9 in (0, 4) or r["proposal"]]
    lost = [r for n, r in enumerate(told) if n % 5]
    found = counted(Served([*thin, *lost]), tmp_path)
    mine: Counter[str] = Counter()
    for facts in found.arms.values():
        mine.update(facts.agreement)
    store = tmp_path / "log"
    reported = compare_inputs.events(store)
    comparison = Comparison()
    for path in compare_inputs.parts(store):
        piece = compare_inputs.from_part(path, "log", reported, None)
        if piece.requests.num_rows:
            comparison.add(piece, CompareConfig(every=[1]), MineConfig())
    theirs = comparison.agreements[compare_inputs.EVENTS]
    assert mine["only_events"] + mine["only_stream"] > 0
    assert (theirs.both, theirs.only_reported, theirs.only_inferred, theirs.neither) == tuple(
        mine[name] for name in ("both", "only_events", "only_stream", "neither")
    )


def test_stream_and_events_of_a_simulated_developer_agree(tmp_path: Path) -> None:
    """The oracle engine's proposals are taken whenever they fit; the log is what the simulator writes."""
    typists = [Typist("ann"), Typist("bob", every=2)]
    simulated(tmp_path, typists, "oracle", arm="new")
    folder = ledger.log_folder(tmp_path)
    partition.partition(ImportConfig(), folder, tmp_path / "log", "key", partition.one_by_one)
    requests = pa.concat_tables(
        [rows_of(pa.parquet.read_table(path)) for path in sorted((tmp_path / "log").glob("part-*.parquet"))]
    )
    pieces = [piece for path in reader.files(folder, "key") for piece in reader.batches(path)]
    events = pa.concat_tables([piece.events.cast(schema.EVENT) for piece in pieces])
    by_stream = tally(requests, events, Plan("old", "new", acceptance=Acceptance.STREAM))
    for typist in typists:
        mine = by_stream.users["new", typist.user]
        assert typist.tally.accepted_chars == mine["accepted_chars"]
        assert typist.tally.accepted == mine["accepted"] + mine["partial"]
        assert typist.tally.requests == mine["requests"]
        assert typist.tally.typed_chars == mine["typed_chars"]
    told: Counter[str] = by_stream.arms["new"].agreement
    assert (0, 0) == (told["only_events"], told["only_stream"])
    assert told["both"] == sum(typist.tally.accepted for typist in typists) > 0
