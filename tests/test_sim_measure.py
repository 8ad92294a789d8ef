"""Statistics of simulated and of real editing: hand-computed, against a naive second way, on real traces."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.errors import ConfigError
from simulator.judge import published
from simulator.judge.measure import keys, match_bin, measure
from simulator.judge.measure_bins import SIZE_EDGES, at_least, histogram, quantile
from simulator.judge.measure_edits import GAP_S, LIFE_S, EditProcess, Stroke, edit_figures, name_of
from simulator.judge.measure_table import Table, figures, twins
from simulator.judge.observed import observe, observe_all
from tests.truth_rows import developer, edit, row

TRACES = Path(__file__).parents[2] / "shared" / "data" / "traces"


def only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return figures(Table([measure(rows)]))


def begin(chars: int = 0, ts_ms: float = 0.0) -> list[dict[str, Any]]:
    return [
        row("session_start", ts_ms, session=0, day=0),
        row("file_switch", ts_ms, file="f", repository="r", language="python", chars=chars),
    ]


def test_edit_shares_gaps_and_jumps_by_hand() -> None:
    found = only(
        [
            *begin(chars=100),
            edit(0, 10, "", "a"),
            edit(500, 11, "", "b"),
            edit(2_500, 11, "b", "", "delete"),
            edit(3_000, 10, "a", "", "delete"),
            edit(18_000, 60, "", "c"),  # a jump of 50
            edit(18_200, 61, "", "p" * 20, "paste"),
            edit(1_000_000, 20, "xy", "z"),  # a jump of 61 backward, after a break
        ]
    )
    assert 4 / 7 == found["insert_share"]
    assert 2 / 7 == found["delete_share"]
    assert 1 / 7 == found["replace_share"] == found["paste_share"]
    assert 2 / 6 == found["jump_share"]
    assert 1 / 2 == found["jump_backward"]
    assert [3 / 6, 2 / 6, 1 / 6] == [found[f"gap_{limit}s"] for limit in (2, 15, 180)]
    assert 2 == found["run_p50"] == found["run_mean"]
    assert 2 == found["sessions"]
    assert math.isclose(7 / (18.2 / 60), found["edits_per_minute"])


def test_typed_characters_are_followed_until_they_go() -> None:
    found = only(
        [
            *begin(chars=10),
            edit(0, 0, "", "ab"),
            edit(1_000, 2, "", "longer"),  # neither typed nor pasted
            edit(10_000, 0, "a", "", "delete"),
            edit(20_000, 0, "b", "", "delete"),
            edit(100_000, 0, "", "c"),  # too late to be seen at 15 s
            edit(100_100, 0, "", "d", "accept"),  # nobody typed it
        ]
    )
    assert 1.0 == found["typed_alive_5s"]
    assert 0.5 == found["typed_alive_15s"]
    assert 0.0 == found["typed_alive_30s"]
    assert math.isnan(found["typed_alive_300s"])


def test_moved_and_restored_blocks_are_not_deleted() -> None:
    block = "0123456789abcdefghijklmnopqrstuvwxyz"

    def process(mend: bool, back_s: float) -> dict[str, Any]:
        process = EditProcess(mend)
        process.open("d", 0)
        for place, letter in enumerate(block):
            process.add(Stroke(0, "d", place, "", letter))
        process.add(Stroke(1, "d", 0, block, ""))
        process.add(Stroke(1 + back_s, "d", 0, "", block))
        process.add(Stroke(2000, "d", 0, "", "far too long"))
        return edit_figures(process.columns())

    assert 1.0 == process(True, 3)["typed_alive_600s"]
    assert 0.0 == process(False, 3)["typed_alive_600s"]
    assert 0.0 == process(True, 700)["typed_alive_600s"]


def test_a_swap_of_whole_files_says_nothing() -> None:
    process = EditProcess()
    process.open("d", 3_000)
    process.add(Stroke(0, "d", 5, "", "ab"))
    process.add(Stroke(20, "d", 0, "x" * 3_002, "y" * 4_000))
    process.add(Stroke(900, "d", 0, "", "long enough"))
    found = edit_figures(process.columns())
    assert 1.0 == found["typed_alive_15s"]
    assert math.isnan(found["typed_alive_30s"])


def test_another_document_is_no_jump_and_keeps_its_text() -> None:
    found = only(
        [
            *begin(chars=500),
            edit(0, 400, "", "a"),
            row("file_switch", 100, file="g", repository="r", language="python", chars=50),
            edit(200, 3, "", "b"),
            edit(700_000, 4, "", "longer"),
        ]
    )
    assert 0.0 == found["jump_share"]
    assert 1.0 == found["typed_alive_600s"]


def exposure(
    number: int, how: str, visible_ms: float, chars: int, distance: int | None, at_ms: float = 0
) -> list[dict[str, Any]]:
    accept = how == "accepted"
    rows = [row("shown", at_ms, exposure=number, request_id="q", proposal="s" * chars)]
    if distance is not None:
        rows.append(row("decision", at_ms, exposure=number, accept=accept, p_accept=0.5, u_draw=0.1,
                        chars=chars, distance=distance, matched=chars - distance, mode="m",
                        decision_s=visible_ms / 1000))  # fmt: skip
    if accept or how == "partial":
        rows.append(row("accepted", at_ms, exposure=number, request_id="q", chars=chars if accept else 3,
                        lines=1 + (chars > 80), partial=not accept))  # fmt: skip
    counted = accept or visible_ms >= 750
    rows.append(row("exposure_end", at_ms, exposure=number, how=how, visible_ms=visible_ms, counted=counted,
                    decided=distance is not None, chars=chars, lines=1 + (chars > 80)))  # fmt: skip
    return rows


def test_acceptance_by_hand() -> None:
    found = only(
        [
            *begin(chars=50),
            *exposure(1, "accepted", 500, 10, 0),
            *exposure(2, "typed_over", 100, 30, None),
            *exposure(3, "typed_over", 400, 30, 30),
            *exposure(4, "dismissed", 800, 100, 99),
            *exposure(5, "accepted", 2_000, 100, 5),
            *exposure(6, "partial", 900, 20, 2),
            edit(0, 0, "", "\n        "),
            edit(0, 0, "", "("),
            edit(0, 0, "", "()"),
            edit(0, 0, "", "s" * 10, "accept"),
        ]
    )
    assert 2 / 4 == found["ar"]
    assert 2 / 6 == found["ar_all"]
    assert 2 / 5 == found["ar_250"]
    assert 110 / 230 == found["ar_char"]
    assert 3 / 4 == found["ar_with_partial"]
    assert 113 / 116 == found["gr"]
    assert 2 / 4 == found["multiline_shown"]
    assert 100 / 113 == found["multiline_chars"]
    assert [1.0, 1.0] == [found["ar_match_0"], found["ar_match_1"]]
    assert [0.0, 0.0] == [found["ar_match_2"], found["ar_match_5"]]
    assert [1.0, 0.0, 0.0] == [found[f"ar_length_{place}"] for place in (1, 2, 3)]
    assert 0.5 == found["ar_length_7"]
    assert [0 / 2, 1 / 2] == [found["accept_after_accept"], found["accept_after_reject"]]
    assert 0.5 == found["accepted_exactly"]
    assert 55 == found["accepted_mean"]


def test_decision_times_are_of_what_was_looked_at_and_taken_whole_or_not_at_all() -> None:
    def decision(number: int, accept: bool, seconds: float, **detail: Any) -> dict[str, Any]:
        return row("decision", 0, exposure=number, accept=accept, p_accept=0.5, u_draw=0.1, chars=9,
                   distance=0, matched=9, mode="m", decision_s=seconds, **detail)  # fmt: skip

    found = only(
        [
            *begin(),
            edit(0, 0, "", "a"),
            decision(1, True, 2.0),
            decision(2, False, 0.7, partial=False, attended=True),
            decision(3, False, 0.0, partial=False, attended=False),
            decision(4, False, 90.0, partial=True, attended=True),
        ]
    )
    assert [0.0, 1.0] == [found["reject_below_0.5s"], found["reject_below_1s"]]
    assert math.isclose(2.0, found["accept_s_p50"], rel_tol=0.06)


def test_requests_and_time_by_hand() -> None:
    def request(ts_ms: float, kind: str = "automatic") -> dict[str, Any]:
        return row("request", ts_ms, request_id="q", request_ts_ms=int(ts_ms), request_kind=kind, cursor=0,
                   cancelled=False, latency_ms=1.0, judging=True, intent="")  # fmt: skip

    day_ms = 86_400_000.0
    user = measure(
        [
            {"kind": "run", "user": "u", "client": "tabby"},
            *begin(),
            edit(500, 0, "", "a"),
            row("state", 1_000, state="write"),
            request(2_000),
            request(3_000, "speculative"),
            edit(4_000, 1, "", "b"),
            row("persist", 602_000, exposure=1, after_s=600, chars=4, alive=1, unchanged=False, distance=3),
            row("session_start", day_ms, session=1, day=1),
            edit(day_ms + 1_000, 2, "", "c"),
            request(day_ms + 5_000),
            request(day_ms + 8_000),
        ]
    )
    table = Table([user])
    found = figures(table)
    assert "tabby" == user.client
    assert 1.5 == found["requests_per_day"]
    assert [9.0, 3.0] == [table.column(f"state_{name}")[0, 0] for name in ("other", "write")]
    assert 3.5 == table.column("active_s")[0, 0]
    assert [0.0, 0.0, 0.25] == [found["unchanged_600s"], found["half_600s"], found["retained_600s"]]


@pytest.mark.parametrize(
    ("inserted", "expected"),
    [("", 0), ("a", 1), ("ab", 2), ("\n    ", 1), ("    ", 1), ("()", 1), ("a = 1", 5), ("\n  x\n  ", 3)],
)
def test_keys_of_an_insertion(inserted: str, expected: int) -> None:
    assert expected == keys(inserted)


def test_match_bins_have_their_upper_ends_outside() -> None:
    assert [0, 1, 2, 2, 3, 4, 5, 5] == [
        match_bin(distance, 100) for distance in (0, 9, 10, 24, 25, 50, 75, 130)
    ]


@settings(deadline=None)  # other work on the machine must not decide
@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=60), st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9]))
def test_quantiles_of_whole_numbers(values: list[int], level: float) -> None:
    counts = histogram(SIZE_EDGES, values)
    exact = sorted(values)[max(0, math.ceil(level * len(values) - 1e-9) - 1)]
    found = float(quantile(SIZE_EDGES, counts, level))
    assert (exact == found) if exact < 50 else (abs(found - exact) <= 0.2 * exact)
    assert np.mean(np.array(values) >= 200) == at_least(SIZE_EDGES, counts, 200)


STROKES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.25, 1.5, 3.0, 20.0, 400.0, 1_000.0]),
        st.integers(0, 60),
        st.integers(0, 5),
        st.sampled_from(["", "a", "bc", "longer", "p" * 25]),
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)  # other work on the machine must not decide
@given(STROKES)
def test_the_process_agrees_with_a_naive_one(drawn: list[tuple[float, int, int, str]]) -> None:
    process = EditProcess(mend=False)
    process.open("d", 40)
    now, last_s = 0.0, sum(gap for gap, *_ in drawn[1:]) + drawn[0][0]
    births: list[list[float]] = []
    gaps, jumps, kinds = [], [], []
    cursor: int | None = None
    ids: list[int | None] = [None] * 40
    for index, (gap, place, size, inserted) in enumerate(drawn):
        now += gap
        at = min(place, len(ids))
        stop = min(at + size, len(ids))
        if at == stop and not inserted:
            inserted = "x"
        process.add(Stroke(now, "d", at, "-" * (stop - at), inserted))
        for dead in ids[at:stop]:
            if dead is not None:
                births[dead][1] = now
        fresh: list[int | None] = []
        for _ in inserted:
            fresh.append(len(births) if len(inserted) <= 4 else None)
            if len(inserted) <= 4:
                births.append([now, math.inf])
        ids[at:stop] = fresh
        if index:
            gaps.append(gap)
            assert cursor is not None
            jumps.append(min(abs(at - cursor), abs(stop - cursor)) > 1)
        cursor = at + len(inserted)
        kinds.append(("r" if stop > at else "i") if inserted else "d")
    found = edit_figures(process.columns())
    for limit in GAP_S:
        expected = np.mean([gap >= limit for gap in gaps]) if gaps else math.nan
        assert np.array_equal(expected, found[f"gap_{name_of(limit)}"], equal_nan=True)
    assert np.array_equal(np.mean(jumps) if jumps else math.nan, found["jump_share"], equal_nan=True)
    assert math.isclose(kinds.count("d") / len(kinds), found["delete_share"])
    assert math.isclose(kinds.count("r") / len(kinds), found["replace_share"])
    for age in LIFE_S:
        seen = [end - born > age for born, end in births if born + age <= last_s]
        expected = np.mean(seen) if seen else math.nan
        assert np.allclose(expected, found[f"typed_alive_{name_of(age)}"], equal_nan=True)


def test_a_table_is_the_sum_of_its_users_and_weights_repeat_them() -> None:
    users = [measure(developer(f"u{number}", edits=200)) for number in range(4)]
    whole = figures(Table(users))
    twice = figures(Table([users[0], users[0], users[3]]))
    weighted = figures(Table(users), np.array([[2.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]]))
    for key, value in whole.items():
        assert np.allclose(weighted[key][1], value, equal_nan=True), key
        if key not in ("user_ar_sd", "user_ar_sd_corrected"):
            assert np.allclose(weighted[key][0], twice[key], equal_nan=True), key


def test_every_target_has_a_figure() -> None:
    found = figures(Table([measure(developer("u", edits=300))]))
    targets = [*published.CALIBRATION, *published.REPORTED, *published.PREDICTED, *published.SET]
    assert [] == [target.key for target in targets if target.key not in found]
    assert len(targets) == len({target.key for target in targets})


def test_the_spread_between_users_is_without_the_noise_of_few_exposures() -> None:
    def user(name: str, accepted: int, shown: int) -> Any:
        rows = [{"kind": "run", "user": name}, *begin()]
        for number in range(shown):
            rows += exposure(number, "accepted" if number < accepted else "dismissed", 900, 10, 0)
        return measure(rows)

    found = figures(Table([user("a", 10, 50), user("b", 20, 50), user("few", 5, 5)]))
    assert math.isclose(math.sqrt(0.02), found["user_ar_sd"])
    noise = (0.2 * 0.8 / 49 + 0.4 * 0.6 / 49) / 2
    assert math.isclose(math.sqrt(0.02 - noise), found["user_ar_sd_corrected"])


def test_twins_save_what_the_control_used_more() -> None:
    table = Table([measure(developer(name, edits=300)) for name in ("a", "b")])
    control = Table([measure(developer(name, edits=300, assisted=False)) for name in ("b", "a", "c")])
    saved = twins(table, control)
    assert 2 == saved["users"]
    own = sum(table.column("keys")[:, 0])
    base = sum(control.column("keys")[:2, 0])
    assert saved["keys_saved"] == 1 - own / base
    assert {"users": 0, "keys_saved": None, "time_saved": None} == twins(table, Table([]))


@settings(deadline=None)  # other work on the machine must not decide
@given(st.sampled_from(published.CALIBRATION), st.floats(0, 1))
def test_a_target_is_met_inside_its_bounds_only(target: published.Target, part: float) -> None:
    assert target.bounds is not None
    low, high = target.bounds
    assert target.met(low + part * (high - low))
    assert not target.met(low - 0.01 * (high - low))
    assert not target.met(high + 0.01 * (high - low))
    assert target.met(None) is None


# Section 2 of the description of the traces: what it prints, and how far a figure may be from it.
PRINTED: dict[str, dict[str, tuple[float, float]]] = {
    "sveltecomponent": {
        "insert_share": (0.870, 0.001), "delete_share": (0.087, 0.001), "replace_share": (0.042, 0.001),
        "single_share": (0.839, 0.001), "long_insert_share": (0.011, 0.001),
        "long_insert_chars": (0.755, 0.001), "jump_share": (0.109, 0.001), "jump_backward": (0.53, 0.005),
        "jump_below_200": (0.72, 0.005), "jump_p25": (11, 0.5), "jump_p50": (41, 0.5), "jump_p75": (271, 5),
        "jump_p90": (1966, 40), "between_p50": (2, 0), "between_p75": (10, 0), "between_p90": (24, 0),
        "between_mean": (8.2, 0.05), "run_p50": (1, 0), "run_p75": (2, 0), "run_p90": (3, 0),
        "run_mean": (1.74, 0.01), "gap_2s": (0.1075, 0.0001), "gap_15s": (0.0274, 0.0001),
        "gap_180s": (0.0032, 0.0001), "gap_600s": (0.0017, 0.0001), "sessions": (27, 0),
        "session_p50": (10.4, 0.3), "session_mean": (25.5, 0.05), "edits_per_minute": (26.6, 0.05),
        "typed_alive_2s": (0.83, 0.005), "typed_alive_15s": (0.742, 0.005), "typed_alive_30s": (0.716, 0.005),
        "typed_alive_120s": (0.645, 0.005), "typed_alive_300s": (0.598, 0.005),
        "typed_alive_600s": (0.524, 0.005), "pasted_alive_2s": (0.977, 0.002),
        "pasted_alive_15s": (0.952, 0.002), "pasted_alive_30s": (0.945, 0.002),
        "pasted_alive_120s": (0.928, 0.002), "pasted_alive_300s": (0.916, 0.002),
        "pasted_alive_600s": (0.888, 0.002),
    },
    "json-crdt-patch": {
        "insert_share": (0.828, 0.001), "delete_share": (0.146, 0.001), "replace_share": (0.026, 0.001),
        "single_share": (0.795, 0.001), "long_insert_share": (0.036, 0.001),
        "long_insert_chars": (0.794, 0.001), "jump_share": (0.077, 0.001), "jump_backward": (0.46, 0.005),
        "jump_below_200": (0.86, 0.005), "jump_p25": (16, 0.5), "jump_p50": (49, 0.5), "jump_p75": (150, 3),
        "jump_p90": (326, 5), "between_p50": (2, 0), "between_p75": (8, 0), "between_p90": (33, 0),
        "between_mean": (12.0, 0.05), "run_p50": (1, 0), "run_p75": (3, 0), "run_p90": (4, 0),
        "run_mean": (2.85, 0.01), "gap_0.3s": (0.311, 0.001), "gap_1s": (0.156, 0.001),
        "gap_2s": (0.0934, 0.0001), "gap_15s": (0.0112, 0.0001), "gap_180s": (0.0024, 0.0001),
        "gap_600s": (0.0014, 0.0001), "sessions": (24, 0), "session_mean": (18.2, 0.05),
        "edits_per_minute": (42.7, 0.05),
    },
}  # fmt: skip
PRESENT = [name for name in PRINTED if (TRACES / "editing-traces" / f"{name}.json.gz").is_file()]


@pytest.mark.parametrize("name", PRESENT)
def test_a_real_trace_gives_the_printed_figures(name: str) -> None:
    seen = observe(TRACES / "editing-traces" / f"{name}.json.gz")
    assert seen is not None
    assert seen.as_logged is not None
    found = edit_figures(seen.as_logged)
    off = {
        key: (value, float(found[key]))
        for key, (value, room) in PRINTED[name].items()
        if not abs(float(found[key]) - value) <= room
    }
    assert {} == off


@pytest.mark.parametrize("name", PRESENT)
def test_minimal_edits_keep_gaps_and_jumps_but_let_typed_text_live(name: str) -> None:
    seen = observe(TRACES / "editing-traces" / f"{name}.json.gz")
    assert seen is not None
    assert seen.as_logged is not None
    logged, minimal = edit_figures(seen.as_logged), edit_figures(seen.columns)
    for key in ("gap_2s", "gap_15s", "jump_share", "edits_per_minute"):
        assert math.isclose(logged[key], minimal[key], rel_tol=0.01), key
    assert minimal["replace_share"] < 0.55 * logged["replace_share"]
    for age in ("2s", "30s", "600s"):
        assert minimal[f"typed_alive_{age}"] > logged[f"typed_alive_{age}"] + 0.03


@pytest.mark.parametrize("folder", [TRACES] if TRACES.is_dir() else [])
def test_a_folder_of_recordings_leaves_out_the_short_ones(folder: Path) -> None:
    long, short = observe_all(folder, "validity.traces")
    assert ["json-crdt-patch", "sveltecomponent"] == sorted(item.name for item in long)
    assert short >= 15


def test_a_folder_without_recordings_is_refused_by_name(tmp_path: Path) -> None:
    refusals: list[Callable[[], Any]] = [
        lambda: observe_all(tmp_path, "validity.traces"),
        lambda: observe_all(tmp_path / "none", "validity.traces"),
    ]
    (tmp_path / "other.json").write_text("{}")
    for refusal in refusals:
        with pytest.raises(ConfigError, match=r"validity\.traces="):
            refusal()
