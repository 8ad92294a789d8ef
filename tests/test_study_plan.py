"""The plan of a study: order, sharing, sameness; and settings that cannot work, in one sentence each."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echo_ray import config as configs
from echo_ray import schema
from echo_ray.errors import ConfigError
from echo_ray.stages import balance as balancing
from echo_ray.stages import select as selecting
from echo_ray.stages import verify as verifying
from jobs.settings import RunConfig
from jobs.study_config import BASE, PARTS
from jobs.study_plan import Step, as_rows, counts, plan

FILES = sorted((Path(__file__).parent.parent / "configs").glob("study_*.yaml"))
PLACEBOS = ("none", "shuffled_targets", "random_voids", "random_cuts")


def study(*arms: dict[str, Any], **more: Any) -> RunConfig:
    tree = {"study": {"arms": arms, "static_sources": ["elsewhere"], **more}}
    return configs.build(RunConfig, tree)


def of(steps: tuple[Step, ...], stage: str) -> list[Step]:
    return [step for step in steps if step.stage == stage]


@st.composite
def studies(draw: st.DrawFn) -> RunConfig:
    arms: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 5))):
        before = [BASE, *(arm["name"] for arm in arms)]
        arm: dict[str, Any] = {
            "name": f"A{number}",
            "samples": draw(st.sampled_from(("gaps", "raw_log", "static", "same_files"))),
            "log_of": draw(st.sampled_from(before)),
            "start_from": draw(st.sampled_from(before)),
            "verified": draw(st.booleans()),
            "proportions": draw(st.lists(st.sampled_from(PARTS), unique=True)),
        }
        if arm["samples"] in ("gaps", "raw_log"):
            arm["target"] = draw(st.sampled_from(("intent", "whole")))
            arm["placebo"] = draw(st.sampled_from(PLACEBOS))
            arm["size"] = draw(st.sampled_from((None, 100, 200)))
        alone = [other["name"] for other in arms if "tokens_of" not in other]
        if alone and draw(st.booleans()):
            arm["tokens_of"] = draw(st.sampled_from(alone))
        arms.append(arm)
    names = st.sampled_from([BASE, *(arm["name"] for arm in arms)])
    pairs = draw(st.lists(st.tuples(names, names).filter(lambda pair: pair[0] != pair[1]), max_size=4))
    return study(
        *arms,
        contrasts=[{"treatment": one, "control": other} for one, other in pairs],
        seeds=draw(st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True)),
        measures=draw(st.sampled_from((("simulated",), ("simulated", "bench")))),
        populations=[{"name": "in"}, {"name": "out", "simulate": {"seed": 7}}][: draw(st.integers(1, 2))],
    )


@given(studies())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_is_done_twice_or_before_what_it_needs(run: RunConfig) -> None:
    steps = plan(run)
    done: set[str] = set()
    made: set[tuple[str, str]] = set()
    for step in steps:
        assert step.name not in done
        assert set(step.inputs.values()) <= done
        done.add(step.name)
        mark = step.stage, configs.fingerprint([dict(step.inputs), step.settings])
        assert mark not in made, "two steps that do the same"
        made.add(mark)
        assert step.arms
    assert as_rows(steps) == as_rows(plan(RunConfig.model_validate(run.model_dump(by_alias=True))))
    used = {name for step in steps for name in step.inputs.values()}
    ends = {step.stage for step in steps if step.name not in used}
    assert ends <= {"compare", "measure", "evaluate"}, "a step that nobody needs"
    assert sum(counts(steps).values()) == len(steps)


@given(studies())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_arm_is_trained_once_with_each_seed(run: RunConfig) -> None:
    steps = plan(run)
    for arm in run.study.arms:
        seeds = [step.seed for step in of(steps, "train") if arm.name in step.arms]
        assert set(run.study.seeds) <= set(seeds)
    compared = [
        (
            step.settings["control"]["treatment"],
            step.settings["control"]["control"],
            step.seed,
            step.population,
        )
        for step in of(steps, "compare")
    ]
    wanted = {
        (one.treatment, one.control, seed, who.name)
        for one in run.study.contrasts
        for seed in run.study.seeds
        for who in run.study.populations
    }
    assert wanted == set(compared)


def test_what_arms_share_is_there_once_and_its_folder_stays_when_arms_are_added() -> None:
    one = plan(study({"name": "M5"}))
    both = plan(study({"name": "M4", "proportions": []}, {"name": "M5"}))
    assert {"mine": 1, "verify": 1, "select": 1} == {
        stage: number for stage, number in counts(both).items() if stage in ("mine", "verify", "select")
    }
    assert ("M4", "M5") == of(both, "verify")[0].arms
    assert {step.name for step in one} <= {step.name for step in both}


def test_training_seeds_begin_at_training() -> None:
    steps = plan(study({"name": "M5"}, seeds=[3, 4]))
    assert [3, 4] == [step.settings["train"]["seed"] for step in of(steps, "train")]
    assert 1 == len(of(steps, "pack"))
    assert [None] == [step.seed for step in of(steps, "experience")]


def test_a_round_learns_from_the_log_of_the_round_before_seed_by_seed() -> None:
    arms = ({"name": "R1"}, {"name": "R2", "log_of": "R1", "start_from": "R1"})
    steps = plan(study(*arms, seeds=[0, 1]))
    trained = {(step.arms[0], step.seed): step.name for step in of(steps, "train")}
    logs = {step.seed: step for step in of(steps, "experience")}
    assert {None, 0, 1} == set(logs)
    for seed in (0, 1):
        # R1's model is also an input of R2, so the first of the arms that need it is R1.
        assert {"model": trained["R1", seed]} == logs[seed].inputs
        assert trained["R1", seed] in {step.inputs.get("model") for step in of(steps, "train")}


def test_changed_settings_lead_to_another_folder_from_there_on() -> None:
    first = plan(study({"name": "M5"}))
    other = plan(study({"name": "M5", "settings": {"verify": {"names": False}}}))
    shared = {step.stage for step in other} - {
        step.stage for step in other if step.name not in {one.name for one in first}
    }
    assert {"experience", "mine", "distil"} == shared
    assert {"names": False} == of(other, "verify")[0].settings["verify"]
    moved = plan(configs.build(RunConfig, {"mine": {"idle_s": 60.0}, "study": {"arms": [{"name": "M5"}]}}))
    assert of(moved, "mine")[0].name != of(first, "mine")[0].name
    elsewhere = configs.build(
        RunConfig, {"mine": {"output": "x"}, "study": {"arms": [{"name": "M5"}], "output": "y"}}
    )
    assert as_rows(first) == as_rows(plan(elsewhere))


def test_switching_off_lets_everything_pass() -> None:
    """What the plan switches off is really off: the stages themselves say so."""
    steps = plan(study({"name": "M", "verified": False, "selected": False, "proportions": []}))
    values = {step.stage: step.settings for step in steps}
    assert [] == verifying.rules(verifying.VerifyConfig(**values["verify"]["verify"]))
    rows = [
        {"sample_id": f"s{n}", "target": text, "perplexity": 1.0 + n, "target_tokens": len(text)}
        for n, text in enumerate(["", ")", "x" * 10, "x" * 90] * 25)
    ]
    table = pa.Table.from_pylist(rows, schema=schema.SCORED)
    config = balancing.BalanceConfig(**values["balance"]["balance"])
    found = balancing.balance(
        table, balancing.applied(config, balancing.plan(balancing.histogram(table, config), config))
    )
    assert [1] * 100 == found["copies"].to_pylist()
    chosen = selecting.SelectConfig(**values["select"]["select"])
    assert not chosen.duplicates
    assert chosen.per_gap > 10_000 < chosen.max_user_factor
    assert "none" == values["perplexity"]["perplexity"]["backend"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_studies_that_we_ship_have_a_plan(path: Path) -> None:
    run = configs.load(RunConfig, path)
    steps = plan(run)
    assert path.stem.removeprefix("study_").startswith(run.study.figure)
    assert len(run.study.seeds) >= 3
    assert run.study.contrasts or run.study.figure == "fig5"
    assert len(of(steps, "train")) >= len(run.study.arms) * len(run.study.seeds)


def test_the_studies_that_we_ship_share_what_is_dear() -> None:
    # Developers of table 1 write in seven languages.
    found = [plan(configs.load(RunConfig, path)) for path in FILES if path.stem != "study_table1"]
    logs = {
        step.name
        for steps in found
        for step in steps
        if step.stage == "mine" and step.seed is None and not step.inputs.get("model")
    }
    plans = [{step.name for step in steps} for steps in found]
    assert logs & set.intersection(*plans), "no study mines what another one mined"


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"arms": [{"name": "base"}]}, "not be base"),
        ({"arms": [{"name": "a b"}]}, "no spaces"),
        ({"arms": [{"name": "A"}, {"name": "A"}]}, "two are called A"),
        ({"arms": [{"name": "A", "log_of": "B"}, {"name": "B"}]}, "none of the arms before it: base"),
        ({"arms": [{"name": "A", "tokens_of": "A"}]}, "another arm without tokens_of"),
        ({"arms": [{"name": "A", "samples": "static"}]}, "study.static_sources"),
        ({"arms": [{"name": "A", "samples": "same_files", "size": 3}]}, "leave out placebo"),
        (
            {"arms": [{"name": "A"}], "contrasts": [{"treatment": "A", "control": "Z"}]},
            "none of the arms base, A",
        ),
        ({"arms": [{"name": "A"}], "contrasts": [{"treatment": "A", "control": "A"}]}, "with itself"),
        (
            {
                "arms": [{"name": "A"}],
                "measures": ["bench"],
                "contrasts": [{"treatment": "A", "control": "base"}],
            },
            "must hold simulated",
        ),
        ({"arms": [{"name": "A"}], "seeds": [1, 1]}, "holds one twice"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_one_sentence(tree: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configs.build(RunConfig, {"study": tree})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"blance": {"void_ratio": 1}}, "'blance', which no step of a study reads"),
        ({"balance": {"void_ration": 1}}, "did you mean void_ratio?"),
        ({"balance": {"void_ratio": -1}}, "void_ratio = -1 is refused"),
    ],
)
def test_settings_of_an_arm_that_no_stage_has_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(study({"name": "A", "settings": changes}))
    assert words in str(caught.value)


def test_a_study_without_arms_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"study.arms is empty"):
        plan(RunConfig())
