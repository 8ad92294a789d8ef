"""What the report of simulated users says: figures of the analysis, verdict, better text or only less."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy import stats

from echo_ray.errors import SchemaError
from echo_ray.experiment.analyse import AnalysisConfig, analyse
from echo_ray.experiment.decision import SIMULATED_GUARDRAILS, decide
from echo_ray.experiment.estimates import plain
from echo_ray.experiment.inputs import METRICS, Arm
from echo_ray.experiment.proposals import Proposals, length_matched
from jobs import charts, report, report_words, verdict
from jobs.experiment import people
from jobs.experiment_config import ExperimentConfig
from tests.report_rows import Page, inputs, tallies


def test_the_figures_are_those_of_the_analysis() -> None:
    rows = {"base": tallies(0.22), "echo": tallies(0.29, seed=2, typed=2450)}
    arms = [
        Arm.of(name, [{**row, "active_s": row["virtual_s"]} for row in own]) for name, own in rows.items()
    ]
    wanted = plain(analyse(*arms, AnalysisConfig(twins=True, seed=7, resamples=1000), METRICS))
    found = report.build(inputs(**rows))
    shared = ["acceptance_rate", "generation_rate", "retained_chars_per_minute", "mean_shown_chars"]
    for name in [*shared, "shown_rate", "exposures_per_typed_char"]:
        assert wanted["difference"][name] == found["difference"][name]
    assert wanted["gates"][:3] == found["gates"][:3]
    assert wanted["flags"] == found["flags"]


def test_time_saved_is_the_difference_of_twins() -> None:
    base, echo = tallies(0.22), tallies(0.29, seed=2)
    found = report.build(inputs(base=base, echo=echo))["difference"]
    before, after = (np.array([row["virtual_s"] for row in arm]) for arm in (base, echo))
    assert pytest.approx(np.mean(before - after)) == found["time_saved_s"]["estimate"]
    assert pytest.approx(stats.ttest_rel(before, after).pvalue) == found["time_saved_s"]["p_value"]
    assert pytest.approx(1 - after.sum() / before.sum()) == found["time_saved"]["estimate"]
    back = report.build(inputs(base=echo, echo=base))["difference"]
    assert pytest.approx(-found["time_saved_s"]["estimate"]) == back["time_saved_s"]["estimate"]


@pytest.mark.parametrize(
    ("base", "echo", "outcome", "start"),
    [
        (0.22, 0.30, "improved", "Improved: simulated acceptance rate went from 2"),
        (0.30, 0.22, "worse", "Worse: simulated acceptance rate went from "),
        (0.22, 0.22, "no_change", "No detectable change: simulated acceptance rate"),
    ],
)
def test_verdict_follows_the_numbers(base: float, echo: float, outcome: str, start: str) -> None:
    built = report.build(inputs(base=tallies(base), echo=tallies(echo, seed=2)))
    assert outcome == built["outcome"]
    assert (outcome == "improved") is built["decision"]["ship"]
    assert built["verdict"].startswith(start)
    for value in built["difference"]["acceptance_rate"]["ci95"]:
        assert charts.points(value, unit=False) in built["verdict"]
    assert built["verdict"].endswith(" simulated users who each worked with both models.")
    finds = [reason for reason in built["reasons"] if "finds a change" in reason]
    assert (outcome == "no_change") is bool(finds)


def test_equal_models_are_reported_as_equal() -> None:
    """A/A: of twelve reports one or two may err in one metric, hardly any in all that a gain needs."""
    found = [
        report.build(inputs(base=tallies(0.25, seed=s), echo=tallies(0.25, seed=s + 50))) for s in range(12)
    ]
    assert sum(one["difference"]["acceptance_rate"]["p_value"] < 0.05 for one in found) <= 3
    assert not any(one["decision"]["ship"] for one in found)
    assert sum(one["outcome"] == "no_change" for one in found) >= 9
    assert all(one["gain"]["sentence"] is None for one in found if one["outcome"] == "no_change")


def test_identical_arms_have_no_interval_but_a_sentence() -> None:
    same = tallies(0.25)
    built = report.build(inputs(base=same, echo=same))
    assert "no_change" == built["outcome"]
    assert [None, None] == built["difference"]["acceptance_rate"]["ci95"]
    assert "0.0 points (no interval)" in built["verdict"]
    assert "behaved alike" in built["difference"]["acceptance_rate"]["reason"]
    assert [] == Page(report.render(built)).open


def test_verdict_with_too_few_data() -> None:
    few_users = report.build(inputs(base=tallies(0.2, users=5), echo=tallies(0.4, users=5, seed=2)))
    few = {"users": 10, "exposures": 6}
    few_shown = report.build(inputs(base=tallies(0.2, **few), echo=tallies(0.4, **few, seed=2)))
    for built in (few_users, few_shown):
        assert "too_few_data" == built["outcome"]
        assert built["verdict"].startswith("Too few data to tell: ")
        assert "Ship" not in report.render(built)


# Better text, shorter text or rarer text.


def by_length(rows: list[dict[str, Any]], short: float, rates: tuple[float, float], seed: int) -> Any:
    """Rows whose proposals have 8 or 60 characters, and the same proposals one by one."""
    random = np.random.default_rng(seed)
    users, chars, accepted, made = [], [], [], []
    for row in rows:
        few = random.binomial(row["shown"], short)
        shown = {"6": int(few), "41": int(row["shown"] - few)}
        took = {
            name: int(random.binomial(n, rate)) for (name, n), rate in zip(shown.items(), rates, strict=True)
        }
        for name, size in (("6", 8), ("41", 60)):
            users += [row["user"]] * shown[name]
            chars += [size] * shown[name]
            accepted += [1.0] * took[name] + [0.0] * (shown[name] - took[name])
        text = 8 * took["6"] + 60 * took["41"]
        made.append(
            row
            | {"accepted": sum(took.values()), "accepted_chars": text, "retained_chars": int(0.7 * text)}
            | {"shown_chars": 8 * shown["6"] + 60 * shown["41"], "typed_chars": 6000 - text}
            | {"shown_by_length": shown, "accepted_by_length": took}
        )
    return made, Proposals(users, np.array(chars, float), np.array(accepted))


def test_a_gain_by_shorter_text_alone_is_told_apart() -> None:
    base, one = by_length(tallies(0.2, users=40), 0.3, (0.45, 0.10), 1)
    echo, two = by_length(tallies(0.2, users=40, seed=2), 0.7, (0.45, 0.10), 2)
    built = report.build(inputs(base=base, echo=echo))
    assert built["difference"]["acceptance_rate"]["ci95"][0] > 0.08
    users = [row["user"] for row in base]
    wanted = plain(length_matched(one, two, paired=True, users=(users, users)))
    assert wanted == built["length_matched"]
    low, high = wanted["ci95"]
    assert low < 0 < high
    assert {"shorter": True, "rarer": False} == {key: built["gain"][key] for key in ("shorter", "rarer")}
    assert "rose with shorter proposals (mean length shown 4" in built["gain"]["sentence"]
    assert built["gain"]["sentence"].endswith("saying less may explain all of it.")
    assert built["gain"]["sentence"] == built["reasons"][0]
    assert "improved" != built["outcome"]
    assert "Better text, shorter text or rarer text?" in Page(report.render(built)).text


def test_a_gain_by_better_text_is_told_as_one() -> None:
    base, _ = by_length(tallies(0.2, users=40), 0.5, (0.35, 0.10), 1)
    echo, _ = by_length(tallies(0.2, users=40, seed=2), 0.5, (0.50, 0.20), 2)
    built = report.build(inputs(base=base, echo=echo))
    assert built["length_matched"]["ci95"][0] > 0.05
    assert built["gain"]["sentence"].endswith("better text.")


def test_ar_up_by_saying_less_is_not_an_improvement() -> None:
    built = report.build(inputs(echo=tallies(0.30, exposures=70, length=17, seed=2)))
    assert "mixed" == built["outcome"]
    assert built["verdict"].startswith("Mixed, not an improvement")
    assert "generation rate fell" in built["verdict"]
    assert {"shorter": True, "rarer": True} == {key: built["gain"][key] for key in ("shorter", "rarer")}
    text = " ".join(built["reasons"])
    assert "rose with shorter and rarer proposals" in text
    assert "fewer characters are retained" in text
    assert "rose while generation rate fell" in text


# Guardrails.


def test_a_broken_guardrail_is_no_gain_and_an_unknown_one_is_told() -> None:
    base = [row | {"voids": 40, "silent_voids": 30 + n % 3} for n, row in enumerate(tallies(0.22))]
    echo = [row | {"voids": 40, "silent_voids": 10 + n % 5} for n, row in enumerate(tallies(0.30, seed=2))]
    built = report.build(inputs(base=base, echo=echo))
    assert "broken" == built["decision"]["guardrails"]["void_recall"]
    assert "mixed" == built["outcome"]
    assert "void recall broke its guardrail" in built["verdict"]
    assert "unknown" == built["decision"]["guardrails"]["sentinel_leak_rate"]
    assert any("could not be checked: sentinel leaks" in caveat for caveat in built["caveats"])
    assert {guardrail.metric for guardrail in SIMULATED_GUARDRAILS} == built["guardrails"].keys()


def test_a_gain_that_costs_time_is_none() -> None:
    slow = [row | {"virtual_s": row["virtual_s"] * 1.1} for row in tallies(0.30, seed=2)]
    built = report.build(inputs(echo=slow))
    assert ("mixed", ["time_saved_not_above_zero"]) == (built["outcome"], built["decision"]["unmet"])
    assert "time saved did not rise" in built["verdict"]


# Designs and tallies.


def test_parallel_arms_have_users_of_their_own() -> None:
    twins, parallel = (
        people(ExperimentConfig.model_validate({"users": 5, "design": name}))
        for name in ("twins", "parallel")
    )
    assert twins[0] == twins[1]
    assert [5, 5] == [len(set(own)) for own in parallel]
    assert not set(parallel[0]) & set(parallel[1])
    built = report.build(
        inputs(base=tallies(0.2, names="a"), echo=tallies(0.3, seed=2, names="b"), twins=False)
    )
    assert "delta, independent users" == built["difference"]["acceptance_rate"]["method"]
    assert built["difference"]["acceptance_rate"]["permutation_p"] is not None
    assert pytest.approx(1.0) == built["srm"]["p_value"]
    assert "time_saved" not in built["difference"]
    assert "time_saved" in built["missing"]
    assert ("improved", 48) == (built["outcome"], built["design"]["users"])
    assert "over 24 and 24 simulated users" in built["verdict"]
    assert any(caveat.startswith("Parallel arms") for caveat in built["caveats"])
    assert "Sample ratio: p = 1" in report_words.text(built)


def test_parallel_arms_that_lose_users_claim_nothing() -> None:
    built = report.build(
        inputs(base=tallies(0.2, users=80, names="a"), echo=tallies(0.4, users=30, names="b"), twins=False)
    )
    assert ("no_claim", False) == (built["outcome"], built["decision"]["ship"])
    assert built["verdict"].startswith("No claim: 80 and 30 users")
    assert not any(gate["passed"] for gate in built["gates"])
    assert [] == Page(report.render(built)).open


def test_tallies_may_be_dataclasses_split_by_day_and_must_be_complete() -> None:
    Tally = dataclasses.make_dataclass("Tally", list(tallies(0.2)[0]), slots=True)
    rows: list[Any] = [Tally(**row) for row in tallies(0.22)]
    whole = report.build(inputs())
    assert whole["arms"]["base"] == report.build(inputs(base=rows))["arms"]["base"]
    twice = report.build(inputs(base=[*rows, *rows]))
    assert 2 * whole["arms"]["base"]["shown"] == twice["arms"]["base"]["shown"]
    assert 24 == twice["arms"]["base"]["users"]
    with pytest.raises(SchemaError, match="base arm lacks shown"):
        report.build(inputs(base=[{k: v for k, v in row.items() if k != "shown"} for row in tallies(0.2)]))
    with pytest.raises(SchemaError, match="same users"):
        report.build(inputs(base=tallies(0.2, users=23)))


def test_a_count_that_some_tallies_lack_is_not_used() -> None:
    mixed = [row | ({"fix_s": 20.0} if number else {}) for number, row in enumerate(tallies(0.22))]
    built = report.build(inputs(base=mixed, echo=[row | {"fix_s": 9.0} for row in tallies(0.3, seed=2)]))
    assert "fix_share" in built["missing"]


def test_more_exact_tally_fields_win() -> None:
    exact = [
        row | {"shown": 9 * row["shown"], "shown_750": row["shown"], "active_s": 60.0}
        for row in tallies(0.22)
    ]
    built = report.build(inputs(base=exact))["arms"]["base"]
    spelled = report.build(inputs())["arms"]["base"]
    assert built["acceptance_rate"] == spelled["acceptance_rate"]
    assert pytest.approx(spelled["retained_chars"] / 24) == built["retained_chars_per_minute"]
    assert built["silent_rate"] == built["silent"] / (built["requests"] - built["cancelled"])


# Words.


def number(estimate: float, low: float, high: float, permutation: float = 0.01, boot: Any = None) -> Any:
    return {
        "estimate": estimate,
        "ci95": [low, high],
        "bootstrap_ci95": list(boot or (low, high)),
        "permutation_p": permutation,
        "p_value": 0.01,
        "reason": None,
    }


@pytest.mark.parametrize(
    ("acceptance", "generation", "outcome", "start"),
    [
        (number(0.03, 0.01, 0.05), number(0.00, -0.005, 0.005), "improved", "Improved"),
        (number(0.03, 0.01, 0.05), number(0.00, -0.02, 0.02), "mixed", "Mixed, not"),
        (number(0.03, 0.01, 0.05), number(-0.03, -0.05, -0.02), "mixed", "Mixed, not"),
        (number(0.03, 0.01, 0.05, 0.2), number(0.0, -0.005, 0.005), "no_change", "No detectable"),
        (
            number(0.03, 0.01, 0.05, boot=(-0.01, 0.05)),
            number(0.0, -0.01, 0.01),
            "no_change",
            "No detectable",
        ),
        (number(0.00, -0.02, 0.02), number(0.03, 0.01, 0.05), "no_change", "No detectable"),
        (number(0.00, -0.02, 0.02), number(-0.03, -0.05, -0.01), "worse", "Worse"),
        (number(-0.03, -0.05, -0.01), number(0.03, 0.01, 0.05), "mixed", "Mixed, not"),
        (number(-0.03, -0.05, -0.01), number(0.0, -0.02, 0.02), "worse", "Worse"),
    ],
)
def test_every_branch_of_the_verdict(acceptance: Any, generation: Any, outcome: str, start: str) -> None:
    built = report.build(inputs())
    for name, one in (("acceptance_rate", acceptance), ("generation_rate", generation)):
        built["difference"][name] |= one
    built["decision"] = plain(decide(list(built["arms"].values()), built["difference"]))
    built["gain"] = verdict.gain(built)
    built["reasons"] = report_words.reasons(built)
    assert outcome == built["decision"]["outcome"]
    built["verdict"] = report_words.sentence(built)
    assert built["verdict"].startswith(start)
    assert [] == Page(report.render(built)).open
    assert (acceptance["estimate"] > 0 and outcome in ("improved", "mixed")) is bool(
        built["gain"]["sentence"]
    )
