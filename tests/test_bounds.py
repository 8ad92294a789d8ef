"""Calibration of the policy's shift, and the baseline among engines that only look good."""

import json

import pytest

from echo_ray.errors import ConfigError
from jobs import bounds, calibrate
from jobs.settings import RunConfig
from simulator import truth
from simulator.rules import policy

SETTINGS = {"sources": ["asyncio", "json", "email"], "active_minutes": 15.0, "engine": "ngram", "workers": 1}


def tally(user, active_s, accepted=0, shown=0):
    return truth.Tally(
        user,
        active_s=active_s,
        accepted=accepted,
        shown_750=shown,
        accepted_chars=20 * accepted,
        typed_chars=500,
    )


def test_time_saved_is_against_the_twin_without_suggestions():
    runs = {
        "base": [tally("a", 90.0, 2, 10), tally("b", 180.0, 1, 10)],
        "empty": [tally("a", 100.0), tally("b", 200.0)],
        "closing_bracket": [tally("a", 101.0, 9, 10), tally("b", 200.0, 9, 10)],
        "oracle": [tally("a", 20.0, 9, 10), tally("b", 40.0, 9, 10)],
    }
    rows = {row["engine"]: row for row in bounds.table(runs, 200)}
    assert rows["base"]["time_saved"] == pytest.approx(0.1)
    assert rows["base"]["time_saved_ci95"] == pytest.approx([0.1, 0.1])
    assert rows["empty"]["time_saved"] == 0
    assert rows["empty"]["ar"] is None
    assert rows["oracle"]["time_saved"] == pytest.approx(0.8)
    said = bounds.verdict(list(rows.values()))
    assert said == (
        "no engine without knowledge saves more time than base; AR alone would prefer closing_bracket"
    )


def test_a_baseline_that_costs_time_is_called_so():
    runs = {"base": [tally("a", 110.0, 1, 10)], "empty": [tally("a", 100.0)]}
    assert bounds.verdict(bounds.table(runs, 100)).startswith("empty save more time than base")


def test_a_frozen_policy_is_not_calibrated_again(tmp_path):
    config = RunConfig.model_validate(
        {"simulate": SETTINGS | {"policy": "x.json"}, "calibrate": {"output": tmp_path}}
    )
    with pytest.raises(ConfigError, match=r"calibrated already; name a rule"):
        calibrate.calibrate(config, "calibrate")


def test_an_engine_that_does_not_exist_is_one_sentence(tmp_path):
    config = RunConfig.model_validate({"bounds": {"output": tmp_path, "engines": ["oracel"]}})
    with pytest.raises(ConfigError, match=r"did you mean oracle\?"):
        bounds.bounds(config, "bounds")


@pytest.mark.ray
def test_the_shift_is_fitted_frozen_and_used(cluster, tmp_path, capsys):
    config = RunConfig.model_validate(
        {
            "simulate": SETTINGS,
            "calibrate": {"output": tmp_path / "one", "users": 4, "target": 0.4, "tolerance": 0.03},
        }
    )
    calibrate.calibrate(config, "calibrate")
    path = tmp_path / "one" / "policy.json"
    frozen = json.loads(path.read_text())
    rule = policy.load(str(path))
    assert rule.shift == frozen["shift"]
    assert abs(rule.shift) <= 1
    figures = frozen["figures"]
    assert figures["unshifted"]["shift"] == 0
    assert figures["trace"][0] == figures["unshifted"]
    assert figures["met"] == (abs(figures["calibrated"]["acceptance_rate"] - 0.4) <= 0.03)
    assert "unshifted" not in capsys.readouterr().err
    assert not (tmp_path / "one" / ".work").exists()

    again = config.model_copy(
        update={"calibrate": config.calibrate.model_copy(update={"output": tmp_path / "two"})}
    )
    calibrate.calibrate(again, "calibrate")
    assert path.read_text() == (tmp_path / "two" / "policy.json").read_text()


@pytest.mark.ray
def test_bounds_of_a_real_stand_in(cluster, tmp_path, capsys):
    config = RunConfig.model_validate(
        {
            "simulate": SETTINGS,
            "bounds": {"output": tmp_path, "users": 5, "engines": ["oracle", "line_above"]},
        }
    )
    bounds.bounds(config, "bounds")
    rows = json.loads((tmp_path / "bounds.json").read_text())
    assert [row["engine"] for row in rows] == ["ngram", "empty", "oracle", "line_above"]
    saved = {row["engine"]: row["time_saved"] for row in rows}
    assert saved["empty"] == 0
    assert saved["oracle"] > 0.2
    assert saved["oracle"] > saved["ngram"]
    assert saved["line_above"] < saved["oracle"]
    assert "95% interval" in capsys.readouterr().out
