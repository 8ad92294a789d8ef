"""The rule of a rollout: what it may never do, and how often it errs when nothing is different."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.experiment import rollout, srm
from echo_ray.experiment.analyse import AnalysisConfig, analyse
from echo_ray.experiment.compare import compare
from echo_ray.experiment.decision import GUARDRAILS, decide
from echo_ray.experiment.inputs import METRICS
from echo_ray.experiment.rollout import WATCHED, Action, Look, judge
from jobs.experiment_report import SERVED
from tests.rollouts import RATIOS, rollouts

EQUAL = {"control": 0.5, "treatment": 0.5}
RUNS = 1000


def decided(seen, run):
    """(outcome, ship) of the real analysis and the real rule of decision."""
    found = analyse(*seen.arms(run), AnalysisConfig(resamples=200), (*METRICS, *SERVED)).plain()
    arms = [found["arms"][role] for role in ("control", "treatment")]
    made = decide(arms, found["difference"], guardrails=GUARDRAILS)
    return made.outcome.value, made.ship


def fates(seed, users, looks, runs=RUNS, **changes):
    """(final action and reasons by run, look at which it was taken by run)."""
    ended, when = {}, {}
    share = changes.get("share", 0.5)
    weights = {"control": 1 - share, "treatment": share}
    for number, seen in enumerate(rollouts(seed, runs, users, looks, **changes), start=1):
        for run in range(runs):
            if run in ended:
                continue
            found = judge(seen.look(run), weights, number == looks)
            if found.action is Action.ROLL_BACK and number == looks and found.reasons == ("no_change",):
                # Nothing can ship whose estimate is below zero, so the analysis is not asked for it.
                above = seen.estimate["acceptance_rate"][run] > 1.9 * seen.se["acceptance_rate"][run]
                found = judge(seen.look(run, *decided(seen, run)), weights, True) if above else found
            if found.action is not Action.GO_ON:
                ended[run], when[run] = found, number
    return ended, when


@pytest.mark.parametrize(("users", "share"), [(240, 0.5), (480, 0.15)])
def test_a_candidate_that_changes_nothing_is_seldom_taken_back_early_and_seldom_promoted(users, share):
    ended, _ = fates(1, users, 30, share=share)
    early = [found for run, found in ended.items() if set(found.reasons) & {*RATIOS, "sample_ratio_mismatch"}]
    promoted = sum(found.action is Action.PROMOTE for found in ended.values())
    assert RUNS == len(ended)
    assert len(early) <= 0.05 * RUNS, Counter(name for found in early for name in found.reasons)
    assert promoted <= 0.05 * RUNS


def test_a_harm_of_five_points_is_taken_back_early():
    ended, when = fates(2, 480, 30, runs=200, effect=-0.05)
    harmed = [when[run] for run, found in ended.items() if "acceptance_rate" in found.reasons]

    assert len(harmed) > 0.85 * 200
    assert np.median(harmed) <= 10
    assert not any(found.action is Action.PROMOTE for found in ended.values())


def test_a_gain_of_five_points_is_promoted():
    ended, _ = fates(3, 480, 12, runs=60, effect=0.05)
    assert sum(found.action is Action.PROMOTE for found in ended.values()) > 0.8 * 60


def test_what_the_simulation_shows_the_rule_is_what_an_analysis_would():
    *_, seen = rollouts(4, 2, 120, 3)
    for metric in (one for one in (*METRICS, *SERVED) if one.name in RATIOS):
        if metric.name in ("retained_share", "sentinel_leak_rate"):
            continue  # other names of the same counts
        control, treatment = (arm.ratio(metric) for arm in seen.arms(1))
        found = compare(metric, control, treatment, paired=False, resamples=100)
        shown = seen.look(1).difference[metric.name]
        assert found.estimate == pytest.approx(shown["estimate"])
        assert found.se == pytest.approx(shown["se"], rel=0.02)


differences = st.fixed_dictionaries(
    {
        one.metric: st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {
                    "estimate": st.one_of(st.none(), st.floats(-0.5, 0.5)),
                    "se": st.one_of(st.none(), st.just(0.0), st.floats(1e-4, 0.1)),
                    "users": st.tuples(st.integers(0, 200), st.integers(0, 200)),
                }
            ),
        )
        for one in WATCHED
    }
)
counts = st.fixed_dictionaries({"control": st.integers(0, 300), "treatment": st.integers(0, 300)})


@settings(deadline=None, max_examples=300)
@given(differences, counts, st.booleans(), st.booleans())
def test_it_is_promoted_at_the_end_only_and_never_against_harm(difference, users, ship, ended):
    found = judge(Look(users, difference, "improved" if ship else "no_change", ship), EQUAL, ended)
    harmed = {name for name, one in found.metrics.items() if one.harmed}
    mismatch = found.srm_p <= srm.THRESHOLD
    for one in WATCHED:
        low, high = found.metrics[one.metric].sequence
        beyond = low is not None and (high < -one.margin if one.better > 0 else low > one.margin)
        assert beyond == found.metrics[one.metric].harmed
        told = difference[one.metric]
        assert low is None or min(told["users"]) >= 30
    if harmed or mismatch:
        assert Action.ROLL_BACK is found.action
        assert harmed | ({"sample_ratio_mismatch"} if mismatch else set()) == set(found.reasons)
    elif ended:
        assert (Action.PROMOTE if ship else Action.ROLL_BACK) is found.action
    else:
        assert (Action.GO_ON, ()) == (found.action, found.reasons)


def test_without_an_analysis_there_is_nothing_to_do_before_the_end_and_no_claim_at_it():
    assert Action.GO_ON is judge(None, EQUAL, False).action
    assert (Action.ROLL_BACK, ("no_analysis",)) == (
        judge(None, EQUAL, True).action,
        judge(None, EQUAL, True).reasons,
    )


def test_the_levels_of_all_that_can_end_a_rollout_add_up():
    assert rollout.ALPHA == pytest.approx(srm.THRESHOLD + len(WATCHED) * rollout.ALPHA_EACH)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_the_users_are_checked_after_every_arrival_without_crying_wolf(share):
    random = np.random.default_rng(5)
    treated = np.cumsum(random.random((1000, 1500)) < share, axis=1)
    weights = {"a": 1 - share, "b": share}
    alarms = {0.05: 0, 0.01: 0}
    naive = 0
    for row in treated[:, 19::20]:
        p_values = [
            srm.always_valid({"a": 20 * n - int(b), "b": int(b)}, weights) for n, b in enumerate(row, start=1)
        ]
        for level in alarms:
            alarms[level] += min(p_values) <= level
        total = 20 * np.arange(1, 76)
        chi = (row - total * share) ** 2 / (total * share * (1 - share))
        naive += bool(np.any(chi > 3.84))
    assert all(count <= level * 1000 for level, count in alarms.items()), alarms
    assert naive > 0.15 * 1000


def test_lost_users_are_found_whoever_loses_them():
    assert srm.always_valid({"a": 500, "b": 350}) < srm.THRESHOLD < srm.always_valid({"a": 500, "b": 470})
    assert srm.always_valid({"b": 350, "a": 500}) == pytest.approx(srm.always_valid({"a": 500, "b": 350}))
    assert 1.0 == srm.always_valid({"a": 0, "b": 0})
    assert srm.always_valid({"a": 900, "b": 100}, {"a": 9, "b": 1}) == 1.0
