"""Verb `study`: on the real engines, killed half-way; and what it refuses before anything starts."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.__main__ import main
from jobs.study import in_order
from jobs.study_plan import Step
from tests.test_loop import wait_for

ARMS = (
    "[{name: M0', samples: same_files, tokens_of: M5, measures: [simulated]},"
    "{name: M5, measures: [simulated, bench]}]"
)


def settings(root: Path) -> list[str]:
    return [
        "serve.port=0",
        "simulate.users=3",
        "simulate.active_minutes=10",
        "simulate.sources=[json, email, logging]",
        "train.epochs=1",
        "experiment.resamples=200",
        "evaluate.resamples=100",
        "cluster.min_memory_gb=3",
        f"study.output={root}",
        f"study.report={root / 'result'}",
        f"study.arms={ARMS}",
        "study.seeds=[4]",
        "study.bench_users=2",
        "study.static_cuts=300",
        "study.populations=[{name: them, users: 2}]",
        "study.contrasts=[{treatment: M5, control: M0', primary: true}, {treatment: M5, control: base}]",
    ]


def tallies(root: Path, plan: list[dict[str, Any]], arm: str) -> list[dict[str, Any]]:
    """What the simulator counted of an arm's developers."""
    trained = {step["name"]: step["arms"] for step in plan if step["stage"] == "train"}
    step = next(
        step
        for step in plan
        if step["stage"] == "measure" and trained.get(step["inputs"].get("model"), ["base"]) == [arm]
    )
    text = (root / step["name"] / "tallies.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.ray
def test_a_study_survives_a_kill_and_ends_with_what_was_counted(tmp_path: Path) -> None:
    root = tmp_path / "study"
    command = [sys.executable, "-m", "jobs", "study", *settings(root)]
    with (tmp_path / "first.log").open("wb") as log:
        first = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(root / "result" / "plan.json", first)
            plan = json.loads((root / "result" / "plan.json").read_text(encoding="utf-8"))
            train = next(step["name"] for step in plan if step["stage"] == "train")
            wait_for(root / train / "manifest.json", first)
        finally:
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
    done = {path: path.stat().st_mtime_ns for path in root.glob("*/manifest.json")}
    assert root / train / "manifest.json" in done

    second = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert 0 == second.returncode, second.stderr[-3000:]
    assert done == {path: path.stat().st_mtime_ns for path in done}

    value = json.loads((root / "result" / "study.json").read_text(encoding="utf-8"))
    arms = {arm["name"]: arm for arm in value["arms"]}
    assert ["base", "M0'", "M5"] == list(arms)
    for name, arm in arms.items():
        rows = tallies(root, plan, name)
        shown, accepted = (sum(row[key] for row in rows) for key in ("shown_750", "accepted"))
        assert shown == arm["populations"]["them"]["shown"]
        assert pytest.approx(accepted / shown) == arm["populations"]["them"]["acceptance_rate"]["value"]
    assert arms["M5"]["bench"]["bleu"]["value"] is not None
    assert arms["M0'"]["bench"] is None
    assert [("M5", "M0'"), ("M5", "base")] == [(c["treatment"], c["control"]) for c in value["contrasts"]]
    tokens = [arms[name]["data"]["target_tokens"] for name in ("M0'", "M5")]
    assert abs(tokens[0] - tokens[1]) < 200
    assert [3, 2] == [one["users"] for one in value["provenance"]["experience"]]
    assert (root / "result" / "study.html").stat().st_size > 10_000
    assert "M5 - M0' *" in second.stdout
    assert not (root / ".service").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["study.arms=[]", "study.contrasts=[]"], "study.arms is empty: name at least one arm"),
        (["simulate.engine=oracle"], "would answer in place of the arms' models"),
        (["simulate.sources=[no-such-package]"], "no-such-package"),
        (["train.model=nowhere"], "change train.model"),
        (["study.figure=fig7"], "study.figure = 'fig7' is refused"),
        (["study.arms=[{name: M5, samples: gap}]"], "study.arms.0.samples"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main(["study", *settings(tmp_path / "study"), *words])
    told = capsys.readouterr().err
    assert sentence in told
    assert 1 == told.count("\n")
    assert not (tmp_path / "study").exists()


@st.composite
def plans(draw: st.DrawFn) -> list[Step]:
    """Steps in any order that respects their inputs."""
    steps: list[Step] = []
    for number in range(draw(st.integers(1, 20))):
        trained = [step.name for step in steps if step.stage == "train"]
        stage = draw(st.sampled_from(("mine", "train", "measure", "measure")))
        model = draw(st.sampled_from([None, *trained]))
        inputs = {} if model is None else {"model": model}
        steps.append(Step(f"s{number}", stage, {}, inputs))
    return steps


@given(plans())
def test_a_model_is_loaded_once_and_nothing_is_lost(steps: list[Step]) -> None:
    found = in_order(steps)
    assert Counter(step.name for step in steps) == Counter(step.name for step in found)
    place = {step.name: number for number, step in enumerate(found)}
    for step in found:
        assert all(place[name] < place[step.name] for name in step.inputs.values())
    for model in {step.inputs.get("model") for step in found if step.stage == "measure"}:
        places = [
            place[step.name]
            for step in found
            if step.stage == "measure" and step.inputs.get("model") == model
        ]
        assert list(range(places[0], places[0] + len(places))) == places
