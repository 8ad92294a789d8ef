"""Every kind of arm, from a small log to what it trains on, through the steps of its plan."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from echo_ray import config as configs
from echo_ray import data
from echo_ray.controls.noise import NoiseConfig, is_pasted
from echo_ray.controls.sizes import target_tokens
from echo_ray.errors import ConfigError
from echo_ray.stages.pack import PACKED
from jobs import study_controls
from jobs.settings import RunConfig
from jobs.study_plan import Step, plan
from tests.study_steps import do, read
from tests.tiny import write_tokenizer

NAKED: dict[str, Any] = {"target": "whole", "verified": False, "selected": False, "proportions": []}
ARMS: tuple[dict[str, Any], ...] = (
    {"name": "M0", "samples": "static", "tokens_of": "M5"},
    {"name": "M0'", "samples": "same_files", "tokens_of": "M5"},
    {"name": "M1", "samples": "raw_log", "tokens_of": "M5"} | NAKED,
    {"name": "M2", "tokens_of": "M5"} | NAKED,
    {"name": "M5"},
    {"name": "shuffled", "placebo": "shuffled_targets"},
    {"name": "cuts", "placebo": "random_cuts"},
    {"name": "voids", "placebo": "random_voids"},
    {"name": "accepted", "target": "accepted", "settings": {"select": {"max_model_share": 1.0}}},
    {"name": "pasted", "paste_share": 0.5, "verified": False},
    {"name": "half", "size": 12},
)


class Done:
    """A study whose data are made."""

    def __init__(self, root: Path) -> None:
        elsewhere = root / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "foreign.py").write_text("".join(f"foreign_{n} = compute({n})\n" for n in range(40)))
        write_tokenizer(root / "model")
        self.run = configs.build(
            RunConfig,
            {
                "pack": {"model": root / "model"},
                "balance": {"void_ratio": 0.3},
                "study": {
                    "arms": ARMS,
                    "seeds": [0],
                    "static_sources": [str(elsewhere)],
                    "static_cuts": 400,
                    "output": root / "study",
                },
            },
        )
        (root / "study").mkdir()
        self.steps = plan(self.run)
        self.folders = do(self.steps, self.run, root / "study")

    def step(self, stage: str, arm: str) -> Step:
        """The last such step that an arm needs."""
        return [step for step in self.steps if step.stage == stage and arm in step.arms][-1]

    def table(self, stage: str, arm: str) -> pa.Table:
        return read(self.folders[self.step(stage, arm).name])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return Done(tmp_path_factory.mktemp("study"))


@pytest.mark.parametrize("arm", [arm["name"] for arm in ARMS])
def test_every_arm_ends_with_samples_to_train_on(done: Done, arm: str) -> None:
    trained = done.step("train", arm)
    table = read(done.folders[trained.inputs["input"]])
    assert PACKED == table.schema
    assert target_tokens(table) > 20


@pytest.mark.parametrize("arm", ["M0", "M0'", "M1", "M2"])
def test_arms_are_trained_on_as_many_target_tokens(done: Done, arm: str) -> None:
    whole = target_tokens(done.table("pack", "M5"))
    manifest = data.read_manifest(done.folders[done.step("match", arm).name])
    assert manifest is not None
    counts = manifest.notes["control"]
    assert counts["tokens"] == target_tokens(done.table("match", arm))
    assert abs(counts["tokens"] - whole) <= 40  # half of the longest target


def test_each_arm_learns_what_it_should(done: Done) -> None:
    def targets(stage: str, arm: str) -> set[str]:
        table = done.table(stage, arm)
        return {row["target"] for row in table.to_pylist() if row["copies"] and row["target"]}

    intents, raw = targets("balance", "M5"), targets("balance", "M1")
    assert any("\n" in text or len(text) > 8 for text in intents)
    assert max(len(text) for text in raw) < max(len(text) for text in targets("balance", "M2"))
    assert any("foreign" in text for text in targets("static", "M0"))
    assert not any("foreign" in text for text in targets("static", "M0'"))
    assert targets("shuffled_targets", "shuffled") <= intents
    assert targets("random_cuts", "cuts") != intents
    accepted = done.table("accepted_text", "accepted").to_pylist()
    assert any(row["target"] and row["proposal"].startswith(row["target"]) for row in accepted)
    assert 12 == sum(done.table("subset", "half")["copies"].to_pylist())


def test_pasted_rows_are_those_that_their_ids_name(done: Done) -> None:
    config = NoiseConfig(share=0.5)
    table = done.table("paste_noise", "pasted").to_pylist()
    pasted = {row["sample_id"] for row in table if "foreign" in (row["commit"] or "")}
    assert pasted
    assert all(is_pasted(name, config) for name in pasted)


def test_a_manifest_names_the_stage_and_the_control(done: Done) -> None:
    found = data.read_manifest(done.folders[done.step("raw_log", "M1").name])
    assert found is not None
    assert "mine" == found.stage
    assert "raw_log" == found.notes["control"]["name"]
    assert found.rows_in == found.rows_out == found.notes["control"]["rows"]
    assert found.drops["unobserved"] == found.notes["control"]["last"]


def test_a_finished_step_is_not_done_again_and_changed_input_is(done: Done) -> None:
    step = done.step("shuffled_targets", "shuffled")
    root = done.run.study.output
    path = root / step.name / "part-00000.parquet"
    before = path.stat().st_mtime_ns
    first = study_controls.run(step, root)
    assert before == path.stat().st_mtime_ns
    other = Step("again", step.stage, {"control": {"seed": 1}}, step.inputs)
    assert study_controls.run(other, root).fingerprint != first.fingerprint


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    values = {"control": {"sources": [str(tmp_path / "nowhere")], "languages": ["python"]}}
    with pytest.raises(ConfigError, match="nowhere"):
        study_controls.run(Step("sources-x", "sources", values, {}), tmp_path)


@pytest.mark.parametrize(
    ("study", "words"),
    [
        ({"static_sources": ["deepspeed"]}, "deepspeed is what simulate.sources works on"),
        (
            {"static_sources": ["a"], "populations": [{"name": "out", "simulate": {"sources": ["a"]}}]},
            "a is what population out works on",
        ),
    ],
)
def test_static_arms_may_not_learn_from_what_is_measured(study: dict[str, Any], words: str) -> None:
    run = configs.build(RunConfig, {"study": {"arms": [{"name": "M5"}], **study}})
    with pytest.raises(ConfigError, match=words):
        plan(run)
