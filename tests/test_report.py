"""The report of simulated users: its contract, its page, its words for numbers."""

import dataclasses
import json
import math
import re

import pytest

from jobs import charts, report, report_inputs, report_words
from tests.report_rows import EXAMPLES, Page, inputs, tallies


def test_json_contract():
    built = report.build(inputs())
    for arm in ("base", "echo"):
        values = built["arms"][arm]
        for key in ("shown", "accepted", "acceptance_rate", "generation_rate", "users", "requests", "model"):
            assert values[key] is not None
        for key in ("accepted_chars", "typed_chars", "retained_chars", "silent_rate", "mean_shown_chars"):
            assert values[key] is not None
        assert values["acceptance_rate"] == pytest.approx(values["accepted"] / values["shown"])
        written = values["accepted_chars"] + values["typed_chars"]
        assert values["generation_rate"] == pytest.approx(values["accepted_chars"] / written)
    for metric in ("acceptance_rate", "generation_rate"):
        found = built["difference"][metric]
        low, high = found["ci95"]
        assert low < found["estimate"] < high
        assert 0 <= found["p_value"] <= 1
        assert found["estimate"] == pytest.approx(
            built["arms"]["echo"][metric] - built["arms"]["base"][metric]
        )
    assert [stage["dropped"] for stage in built["funnel"]][3]["syntax"] == 1402
    assert all(stage["unaccounted"] == 0 for stage in built["funnel"])
    assert built["policy_hash"] == "c0ffee12ab34cd56"
    assert len(built["examples"]) == 5
    assert isinstance(built["verdict"], str)
    for key in ("training", "seconds", "caveats", "provenance", "reasons", "outcome", "language"):
        assert built[key]
    text = " ".join(built["caveats"])
    assert all(word in text for word in ("simulated", "P1", "c0ffee12ab34cd56", "Twins", "python"))


def test_write_round_trips_and_json_has_no_nan(tmp_path):
    broken = inputs(
        base=tallies(0.2, users=1, exposures=0, typed=0),
        echo=tallies(0.2, users=1, exposures=0, typed=0),
        loss=[{"step": 1, "train": math.nan, "held_out": math.inf}],
    )
    data, page = report.write(report.build(broken), tmp_path / "run")
    text = data.read_text()

    def refuse(name):
        raise AssertionError(name)

    stored = json.loads(text, parse_constant=refuse)
    assert stored["arms"]["base"]["acceptance_rate"] is None
    assert stored["arms"]["base"]["reasons"]["acceptance_rate"] == "nothing was shown"
    assert stored["difference"]["acceptance_rate"]["estimate"] is None
    assert "denominator" in stored["difference"]["acceptance_rate"]["reason"]
    assert "2 loss values" in stored["training"]["reason"]
    assert stored["outcome"] == "too_few_data"
    assert page.read_text() == report.render(stored)


def test_page_is_self_contained_and_well_formed():
    html = report.render(report.build(inputs()))
    page = Page(html)
    assert page.open == []
    assert page.links == []
    assert "script" not in page.tags
    assert not {"img", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not re.search(r"https?://|@import|url\(|@font-face", html)
    assert "default-src 'none'" in html
    assert "prefers-color-scheme: dark" in html
    assert "nan" not in re.sub(r"[A-Za-z]*nan[A-Za-z]+|[A-Za-z]+nan", "", html)


def test_page_never_shows_ar_without_its_company():
    text = Page(report.render(report.build(inputs()))).text
    for words in (
        "Acceptance rate",
        "Generation rate",
        "Retained characters",
        "Proposals shown",
        "proposals shown",
    ):
        assert words in text


def test_everything_is_escaped():
    evil = "</script><img src=x onerror=alert(1)>\"'&"
    example = dataclasses.replace(
        EXAMPLES[0], context_tail=evil, context_head=evil, proposal=evil, commit=evil + "x", target=evil
    )
    example = dataclasses.replace(example, request_id=evil, language=evil, drop=evil, end_reason=evil)
    built = report.build(
        inputs(
            examples=[example],
            title=evil,
            language=evil,
            policy_hash=evil,
            caveats=[evil],
            seconds={evil: 1.0},
            training={evil: evil},
            funnel=[report_inputs.Stage(evil, 3, {evil: 2})],
            base=report_inputs.Arm(evil, ()).tallies or tallies(0.2),
        )
    )
    page = Page(report.render(built))
    assert page.open == []
    assert not {"script", "img"} & set(page.tags)
    assert page.text.count("<img src=x onerror=alert(1)>") >= 10


def test_funnel_shows_rows_that_left_without_a_reason():
    funnel = [
        report_inputs.Stage("Requests", 100, unit="requests"),
        report_inputs.Stage("Mined", 60, {"unobserved": 30}),
    ]
    built = report.build(inputs(funnel=funnel))
    assert built["funnel"][1]["unaccounted"] == 10
    assert "10 rows are not accounted for" in Page(report.render(built)).text


def test_half_a_surrogate_pair_does_not_stop_the_report(tmp_path):
    example = dataclasses.replace(EXAMPLES[0], context_tail="x = '\ud83d", commit="\udc00'")
    data, page = report.write(report.build(inputs(examples=[example])), tmp_path)
    assert "x = '?" in json.loads(data.read_text())["examples"][0]["context_tail"]
    assert page.read_text()


def test_empty_sections_are_left_out():
    built = report.build(inputs(funnel=(), loss=(), seconds={}, examples=(), training={}))
    text = Page(report.render(built)).text
    assert "No loss curve" in text
    assert "Where the time went" not in text


def test_words_for_numbers():
    assert charts.points(0.0371) == "+3.7 points"
    assert charts.points(-0.0004) == "\N{MINUS SIGN}0.04 points"
    assert charts.points(-0.0) == "0.0 points"
    assert charts.points(None) == charts.percent(None) == charts.count(None) == charts.NONE
    assert [charts.duration(s) for s in (0.42, 59.6, 200, 3900)] == [
        "0.4 s",
        "1 min 00 s",
        "3 min 20 s",
        "1 h 05 min",
    ]
    assert charts.p_value(0.0004) == "p < 0.001"
    assert charts.ticks(-1.2, 4.1) == [-1, 0, 1, 2, 3, 4]
    assert charts.ticks(2, 2) == [2]


def test_long_code_is_cut_towards_the_gap():
    long = "\n".join(f"line {i}" for i in range(100))
    view = charts.example_view(
        dataclasses.asdict(dataclasses.replace(EXAMPLES[0], context_tail=long, context_head=long))
    )
    assert view["before"].endswith("line 99")
    assert view["after"].startswith("line 0")
    assert view["gap"] == view["cut"] == ""
    assert view["before"].count("\n") == view["after"].count("\n") == charts.MAX_CODE_LINES


def test_engines_of_this_machine_are_named():
    engines = report_inputs.engines_here()
    assert "Ray Serve" in engines["serving"]
    assert "Ray Data" in engines["data"]
    assert "Ray Train" in engines["training"]
    assert "CPU cores" in report_inputs.machine_here()


def test_a_cut_commit_shows_the_target_and_the_rest_apart():
    view = charts.example_view(dataclasses.asdict(EXAMPLES[1]))
    assert view["kept"] == EXAMPLES[1].target
    assert view["kept"] + view["gap"] + view["cut"] == EXAMPLES[1].commit
    assert view["gap"] == "\n"
    kept = charts.example_view(
        dataclasses.asdict(dataclasses.replace(EXAMPLES[0], proposal=EXAMPLES[0].commit))
    )
    assert kept["same"]


def test_over_training_is_named() -> None:
    curve = [{"step": s, "train": 1.0, "held_out": h} for s, h in ((0, 2.0), (50, 1.8), (100, 1.9))]
    assert "rose again after step 50" in " ".join(report.build(inputs(loss=curve))["reasons"])
    flat = report.build(inputs(loss=[{"step": 0, "held_out": 2.0}, {"step": 9, "held_out": 2.0}]))
    assert any("did not fall" in reason for reason in flat["reasons"])


def test_the_terminal_shows_what_the_page_shows() -> None:
    built = report.build(inputs())
    told = report_words.text(built)
    assert told.startswith(built["verdict"])
    page = Page(report.render(built)).text
    for name in ("acceptance_rate", "generation_rate", "time_saved"):
        shown = charts.points(built["difference"][name]["estimate"], unit=False)
        assert shown in told
        assert shown in page
    for words in ("Time saved", "Retained characters per active minute", "Shown per 100 typed characters"):
        assert words in told
        assert words in page
    assert "Wrong: proposals as independent" in page
