"""The counterfactual design on real developers with stand-in engines: from a job to the report."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echo_ray import metrics, models
from echo_ray.errors import ConfigError
from jobs import service_log, shadow
from jobs.experiment import experiment, people
from jobs.experiment_config import ExperimentConfig
from jobs.loop import loop
from jobs.settings import RunConfig
from simulator.config import SimulateConfig
from simulator.fleet import client, ledger, team
from simulator.fleet.team import Job, Shadow, names
from simulator.work import sources
from simulator.work.sources import Corpus

CONFIG = SimulateConfig(sources=["asyncio", "json", "email"], active_minutes=15)
USERS = names("heldout", 10)
MODELS = {"base": "a", "echo": "b"}


@cache
def corpus() -> Corpus:
    return sources.load(CONFIG, "heldout")


def run(folder: Path, control: str, other: str | None) -> list[dict[str, Any]]:
    """Tallies of developers who work with `control`, with `other` in its shadow."""
    ledger.prepare(folder, "mark")
    beside = None if other is None else Shadow(other, "echo")
    crew = team.crew(Job(CONFIG, "heldout", control, "base", folder, beside), corpus(), client.session)
    asyncio.run(crew.work(USERS))
    return [json.loads(json.dumps(asdict(tally))) for tally in ledger.tallies(folder, USERS)]


@pytest.fixture(scope="module")
def better(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The control copies lines, the shadow knows what is meant."""
    return run(tmp_path_factory.mktemp("better"), "line_above", "oracle")


def summed(tallies: Sequence[dict[str, Any]], name: str, key: str | None = None) -> int:
    return sum(tally[name] if key is None else tally[name].get(key, 0) for tally in tallies)


def test_the_difference_is_the_paired_one_of_the_delta_method(better: list[dict[str, Any]]) -> None:
    value = shadow.build(better, MODELS, resamples=200)
    found = value["difference"]["acceptance_rate"]
    one = [[t["accepted"], t["shown_750"]] for t in better]
    two = [[t["shadow"].get("accepted", 0), t["shadow"].get("shown_750", 0)] for t in better]
    by_hand = metrics.difference(*np.array(one, float).T, *np.array(two, float).T, paired=True, resamples=200)
    assert (by_hand.estimate, by_hand.se) == pytest.approx((found["estimate"], found["se"]))
    assert found["method"] == "delta, twins"
    assert found["control"] == summed(better, "accepted") / summed(better, "shown_750")
    assert found["ci95"][0] > 0.2
    pairs = value["difference"]["acceptance_rate_where_both_show"]
    size = summed(better, "shadow", "pairs")
    assert size == value["arms"]["base"]["pairs"] == value["arms"]["echo"]["pairs"] > 20
    assert pairs["control"] == summed(better, "shadow", "pairs_control") / size
    assert pairs["treatment"] == summed(better, "shadow", "pairs_shadow") / size
    assert value["arms"]["base"]["requests"] == value["arms"]["echo"]["requests"]
    assert "at the control's requests the treatment's acceptance rate is higher" in value["verdict"].lower()


def test_what_nobody_lived_is_not_there(better: list[dict[str, Any]]) -> None:
    value = shadow.build(better, MODELS, resamples=200)
    generation = value["difference"]["generation_rate"]
    assert (None, [None, None], None) == tuple(generation[k] for k in ("estimate", "ci95", "p_value"))
    assert "not known" in generation["reason"]
    assert not {"time_saved", "retained_chars_per_minute"} & value["difference"].keys()
    assert not {"typed_chars", "retained_chars", "active_s"} & value["arms"]["echo"].keys()
    assert value["decision"]["outcome"] is None
    assert [] == value["missing"] == value["flags"]


def test_a_model_against_itself_differs_in_nothing(tmp_path: Path) -> None:
    value = shadow.build(run(tmp_path, "oracle", "oracle"), MODELS, resamples=200)
    for name, found in value["difference"].items():
        assert found["estimate"] in (0, None), name
        assert found.get("control") == found.get("treatment")
    arms = [{k: v for k, v in arm.items() if k not in ("name", "model")} for arm in value["arms"].values()]
    assert arms[0] == arms[1]
    assert arms[0]["accepted"] > 50
    assert "No detectable difference" in value["verdict"]
    assert value["reasons"][0].startswith("100.0%")


def test_the_control_is_the_one_of_a_run_without_a_shadow(
    tmp_path: Path, better: list[dict[str, Any]]
) -> None:
    alone = run(tmp_path, "line_above", None)
    assert alone == [tally | {"shadow": {}} for tally in better]


@pytest.mark.parametrize(("control", "other"), [("empty", "oracle"), ("oracle", "empty"), ("empty", "never")])
def test_silence_gives_no_numbers_and_no_errors(control: str, other: str, tmp_path: Path) -> None:
    value = shadow.build(run(tmp_path, control, other), MODELS, resamples=100)
    assert value["difference"]["acceptance_rate"]["estimate"] is None
    assert "No answer" in value["verdict"]
    json.dumps(value, allow_nan=False)


def test_the_report_is_written_and_told(better: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "base.jsonl").write_text("".join(json.dumps(tally) + "\n" for tally in better))
    (tmp_path / "report.html").write_text("of twins")
    told = shadow.report(tmp_path / "base.jsonl", MODELS, tmp_path, 3, 200)
    assert json.loads((tmp_path / "report.json").read_text())["arms"]["echo"]["model"] == "b"
    assert not (tmp_path / "report.html").exists()
    for line in (
        "Acceptance rate where both show",
        "Characters accepted per request",
        "Claimed, in the order",
    ):
        assert line in told
    assert "Generation rate  " not in told
    assert "Guardrails" not in told
    shadow.write_rows(tmp_path / "base.jsonl", tmp_path / "echo.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "echo.jsonl").read_text().splitlines()]
    assert [tally["user"] for tally in better] == [row["user"] for row in rows]
    assert summed(better, "shadow", "accepted") == summed(rows, "accepted")


def test_the_same_people_work_once() -> None:
    config = ExperimentConfig(design="counterfactual", users=3)
    assert names("heldout", 3) == people(config)[0] == people(config)[1]


def test_designs_that_cannot_be_are_refused(tmp_path: Path) -> None:
    config = RunConfig.model_validate(
        {
            "run": {"output": tmp_path / "run"},
            "simulate": {"latency": "measured"},
            "experiment": {"design": "counterfactual", "output": tmp_path / "out", "echo": tmp_path},
        }
    )
    with pytest.raises(ConfigError, match=r"experiment\.design=counterfactual decides nothing"):
        loop(config, "loop")
    model = {**config.experiment.model_dump(), "echo": models.BASE}
    with pytest.raises(ConfigError, match=r"simulate\.latency=measured: a shadow engine would slow down"):
        experiment(config.updated(experiment=model), "experiment")


def test_a_service_log_with_a_shadow_is_compared_without_it(tmp_path: Path) -> None:
    run(tmp_path / "run", "line_above", "oracle")
    log = ledger.log_folder(tmp_path / "run")
    own = [row for path in sorted(log.iterdir()) for row in ledger.rows(path) if row["record"] == "request"]
    asked = [row for row in own if row["delivered"]]
    hidden = [
        row | {"session": row["session"].removesuffix(".base") + ".echo", "arm": "echo", "proposal": "x"}
        for row in asked
    ]
    (tmp_path / "service").mkdir()
    lines = [json.dumps(row | {"request_id": f"c{n}"}) for n, row in enumerate([*own, *hidden])]
    (tmp_path / "service" / "segment-1.jsonl").write_text("\n".join(lines) + "\n")
    plain, apart = (service_log.compare(tmp_path / "service", [log], arm) for arm in (None, "echo"))
    assert plain is not None
    assert apart is not None
    assert (len(asked), 0, len(asked)) == (plain["unknown"], apart["unknown"], apart["shadow"])
    assert 0 == apart["missing"] == apart["proposals"] == apart["contexts"]
