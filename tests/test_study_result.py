"""`study.json` and what is said of it: nothing that the intervals do not carry."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.errors import SchemaError
from jobs import study_page, study_result, study_text
from jobs.study_config import Figure
from jobs.study_paper import CLAIMS, OVERALL, TABLE_1, depth
from jobs.study_verdict import verdict
from tests.study_results import FIG4, FIG4_PAIRS, example, results

PAPER = Path(__file__).parent / "data" / "paper_table1.txt"


def built(arms: dict[str, float], pairs: list[tuple[str, str]], **more: Any) -> dict[str, Any]:
    return study_result.build(results("fig4", arms, pairs, **more))


def said(value: dict[str, Any]) -> str:
    return " ".join(value["paragraph"])


def test_the_most_important_control_comes_first() -> None:
    value = study_result.build(example("fig4"))
    assert ("M5", "M0'") == (value["contrasts"][0]["treatment"], value["contrasts"][0]["control"])
    assert value["paragraph"][0].startswith("No difference in simulated AR was shown between M5 and M0'")
    assert "not shown that the pipeline gives more" in value["paragraph"][1]


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (0.05, "So the gain is more than knowledge of the same files."),
        (0.0, "not shown that the pipeline gives more than the same files do."),
        (-0.05, "static training on the same files did better"),
    ],
)
def test_what_is_said_of_it_follows_the_interval(gain: float, words: str) -> None:
    value = built({"M0'": 0.2, "M5": 0.2 + gain}, [("M5", "M0'")])
    assert words in said(value)


def test_a_gain_of_ar_that_may_cost_gr_is_told_with_it() -> None:
    found = results("fig4", {"M0": 0.2, "M5": 0.25}, [("M5", "M0")])
    for one in found["contrasts"]:
        one["difference"]["generation_rate"] = {"estimate": -0.01, "ci95": [-0.03, 0.01]}
    assert "A loss of GR of more than a point is not ruled out." in said(study_result.build(found))


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        ((0.1, 0.15, 0.2, 0.25, 0.3), "The monotonic increase of the paper held."),
        ((0.1, 0.15, 0.1, 0.25, 0.3), "The monotonic increase of the paper did not hold."),
        ((0.1, 0.15, 0.15, 0.25, 0.3), "was neither shown nor contradicted."),
    ],
)
def test_steps_are_monotonic_only_if_each_was_shown(arms: tuple[float, ...], words: str) -> None:
    named = dict(zip(("M1", "M2", "M3", "M4", "M5"), arms, strict=True))
    value = built(named, [("M2", "M1"), ("M3", "M2"), ("M4", "M3"), ("M5", "M4")], primary=0)
    assert words in said(value)


@given(
    st.lists(st.floats(0.05, 0.4), min_size=7, max_size=7),
    st.integers(1, 4),
    st.sampled_from((0.0, 0.004, 0.03)),
)
@settings(max_examples=40, deadline=None)
def test_no_claim_without_an_interval_and_every_comparison_is_named_once(
    values: list[float], seeds: int, noise: float
) -> None:
    arms = dict(zip(FIG4, values, strict=True))
    value = built(arms, FIG4_PAIRS, seeds=tuple(range(seeds)), noise=noise)
    for one in value["contrasts"]:
        for difference in one["difference"].values():
            low, high = difference["ci95"]
            if difference["claimed"] > 0:
                assert low > 0
            if difference["claimed"] < 0:
                assert high < 0
            assert difference["adjusted_p"] >= difference["p_value"] - 1e-12
    claimed = [one for one in value["contrasts"] if one["difference"]["acceptance_rate"]["claimed"]]
    words = said(value)
    if not claimed:
        assert not re.search(r"\bhigher\b|\blower\b|\bheld\b|did not hold", words)
    assert ("trained once" in words) == (seeds == 1)
    json.dumps(value, allow_nan=False)


def test_many_questions_are_corrected_and_the_primary_one_is_not() -> None:
    value = study_result.build(example("fig4"))
    first, *others = (one["difference"]["acceptance_rate"] for one in value["contrasts"])
    assert first["adjusted_p"] == pytest.approx(first["p_value"])
    assert any(one["adjusted_p"] > 2 * one["p_value"] for one in others)


def test_a_single_interval_that_leaves_zero_out_is_no_claim_among_many() -> None:
    arms = {"M5": 0.2133} | {f"A{n}": 0.2 for n in range(20)}
    pairs = [("M5", f"A{n}") for n in range(20)]
    value = built(arms, pairs, primary=0, noise=0.0)
    differences = [one["difference"]["acceptance_rate"] for one in value["contrasts"]]
    assert all(one["direction"] == 1 for one in differences)
    assert not any(one["claimed"] for one in differences)
    assert "higher" not in said(value)


def test_languages_stand_in_one_sentence_by_what_was_shown() -> None:
    value = study_result.build(example("table1"))
    words = value["paragraph"][0]
    assert words.startswith("Simulated AR of M5 against M0'")
    for population in ("Python", "Vue", "Other"):
        assert 1 == words.count(f"{population} (")


def test_sizes_have_a_line_and_no_word_of_a_plateau() -> None:
    value = study_result.build(example("fig5"))
    assert value["trend"]["bleu"]["ci95"][0] > 0
    assert "BLEU rose with the number of samples" in said(value)
    assert "Whether there is a plateau was not tested." in said(value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"figure": "fig9"}, "'fig9' is none of fig4"),
        ({"arms": [{"about": "x"}]}, "lack 'name'"),
        ({"arms": []}, "none of their arms"),
    ],
)
def test_results_that_lack_something_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SchemaError, match=re.escape(words)):
        study_result.build(example("fig4") | change)


def test_a_comparison_without_gr_is_refused() -> None:
    found = example("fig4")
    del found["contrasts"][0]["difference"]["generation_rate"]
    with pytest.raises(SchemaError, match="lacks generation_rate"):
        study_result.build(found)


def test_nothing_measured_is_told_and_drawn() -> None:
    found = example("fig4") | {"contrasts": []}
    for arm in found["arms"]:
        arm["measured"] = []
    value = study_result.build(found)
    assert ["Nothing was compared, so nothing is claimed."] == value["paragraph"]
    assert "Nothing was measured." in study_page.render(value)
    assert "M0'" in study_text.table(value)


def test_a_rate_that_nobody_could_measure_is_a_dash() -> None:
    found = results("fig4", {"M0": 0.2, "M5": 0.25}, [("M5", "M0")])
    for run in found["arms"][0]["measured"]:
        run["acceptance_rate"] = {"value": None, "ci95": [None, None]}
    for one in found["contrasts"]:
        one["difference"]["acceptance_rate"] = {"estimate": None, "ci95": [None, None]}
    value = study_result.build(found)
    assert "unknown" == verdict(value["contrasts"][0])
    assert "cannot be judged" in said(value)
    assert "not to be judged" in study_page.render(value)


@pytest.mark.parametrize("figure", get_args(Figure))
def test_every_figure_has_a_page_that_loads_nothing(figure: Figure, tmp_path: Path) -> None:
    value = study_result.build(example(figure))
    data, page = study_result.write(value, tmp_path)
    assert value == json.loads(data.read_text())
    text = page.read_text()
    assert text == study_page.render(json.loads(data.read_text()))
    assert not re.search(r"(src|href)\s*=|@import|url\(|<script", text)
    assert "every number of ours on this page is made up" in text
    assert CLAIMS[figure].title in text
    assert all(f"> {name}<" in text or f">{name}<" in text for name in ("acceptance rate", "generation rate"))


def test_the_papers_table_is_printed_with_its_digits() -> None:
    text = study_page.render(study_result.build(example("table1")))
    assert "25.01% to 37.55%" in text
    assert "25.7% to 35.7%" in study_page.render(study_result.build(example("fig4")))


def test_further_facts_of_an_arm_are_shown_where_they_are_single_values() -> None:
    found = example("ppl")
    found["arms"][0]["facts"] = {"noise_recall": 0.75, "by_reason": {"x": 1}, "clean_loss": None}
    text = study_page.render(study_result.build(found))
    assert "noise recall 0.75" in text
    assert "by reason" not in text


def test_text_from_settings_cannot_become_markup() -> None:
    found = example("fig4") | {"title": "<script>alert(1)</script>"}
    found["arms"][0]["about"] = '"><img onerror=x>'
    text = study_page.render(study_result.build(found))
    assert "<script>" not in text
    assert "<img" not in text


def test_the_terminal_shows_every_comparison_and_the_paragraph() -> None:
    value = study_result.build(example("fig4"))
    lines = study_text.table(value).split("\n")
    assert all(len(line) <= 120 for line in lines)
    for treatment, control in FIG4_PAIRS:
        assert any(line.startswith(f"{treatment} - {control} ") for line in lines)
    assert said(value).split()[-6:] == " ".join(lines).split()[-6:]


def test_the_papers_numbers_are_those_of_its_text() -> None:
    """Table 1 and 5.3 as the paper prints them, in the order AR, GR before, AR, GR after."""
    printed = {
        line.split("|")[0].strip(): [float(cell) for cell in line.split("|")[1:]]
        for line in PAPER.read_text().strip().splitlines()
        if not line.startswith("#")
    }
    rows = {row.name: row for row in (OVERALL, *TABLE_1)}
    assert printed.keys() == rows.keys()
    for name, (before_ar, before_gr, after_ar, after_gr) in printed.items():
        row = rows[name]
        assert pytest.approx([before_ar, after_ar]) == [100 * rate for rate in row.acceptance_rate]
        assert pytest.approx([before_gr, after_gr]) == [100 * rate for rate in row.generation_rate]


def test_the_paper_gained_acceptance_partly_by_saying_less() -> None:
    """The factors that the specification of the simulated developer computes from the same numbers."""
    rows = {row.name: row for row in (OVERALL, *TABLE_1)}
    for name, factor in (
        ("internal", 0.823),
        ("All", 0.807),
        ("Python", 0.743),
        ("Go", 0.959),
        ("Java", 1.022),
    ):
        before, after = zip(rows[name].acceptance_rate, rows[name].generation_rate, strict=True)
        assert pytest.approx(factor, abs=0.002) == depth(*after) / depth(*before)
