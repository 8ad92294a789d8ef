"""The entry: contract of its plain form, flags, refusals, degenerate data."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.errors import ConfigError, SchemaError
from echo_ray.experiment.analyse import AnalysisConfig, analyse
from echo_ray.experiment.flags import Reason
from echo_ray.experiment.groups import analyse_groups
from echo_ray.experiment.inputs import Arm
from tests.crowd import crowd

QUICK = AnalysisConfig(resamples=200)
TWINS = AnalysisConfig(resamples=200, twins=True)


def rows(prefix, y, n, chars=12):
    """Tallies of the shape that the simulator and the log give."""
    return [
        {
            "user": f"{prefix}{number:03d}",
            "shown": int(shown),
            "accepted": int(accepted),
            "accepted_chars": int(accepted) * chars,
            "typed_chars": 20 * int(shown) + number,
            "retained_chars": int(accepted) * chars * 0.8,
            "shown_chars": int(shown) * chars,
            "requests": int(shown) * 3,
            "active_s": 30.0 * int(shown),
        }
        for number, (accepted, shown) in enumerate(zip(y, n, strict=True))
    ]


def arms(seed=1, users=40, effect=0.05, twins=False):
    found = crowd(seed, 1, users, effect=effect, twins=twins)
    names = ("u", "u") if twins else ("c", "t")
    return [
        Arm.of(name, rows(prefix, y[0], n[0]))
        for name, prefix, y, n in (
            ("base", names[0], found.y_c, found.n_c),
            ("echo", names[1], found.y_t, found.n_t),
        )
    ]


def test_plain_form_is_the_contract():
    found = analyse(*arms(), QUICK).plain()
    json.dumps(found, allow_nan=False)
    for name in (
        "acceptance_rate",
        "generation_rate",
        "retained_chars_per_minute",
        "exposures_per_typed_char",
    ):
        one = found["difference"][name]
        assert one["ci95"][0] < one["estimate"] < one["ci95"][1]
        assert 0 <= one["p_value"] <= 1
        assert 0 <= one["permutation_p"] <= 1
    assert found["srm"]["p_value"] == pytest.approx(1.0)
    control = found["arms"]["control"]
    assert control["name"] == "base"
    assert control["acceptance_rate"] == pytest.approx(control["accepted"] / control["shown"])
    assert control["acceptance_rate_ci95"][0] < control["acceptance_rate"]
    assert found["missing"] == ["time_saved"]
    assert [gate["name"] for gate in found["gates"]] == [
        "acceptance_rate",
        "generation_rate",
        "retained_chars_per_minute",
    ]
    assert found["without_flagged"] is None


def test_twins_are_matched_by_name_and_not_by_place():
    control, treatment = arms(twins=True)
    order = np.argsort([user[::-1] for user in treatment.users])
    shuffled = Arm(
        treatment.name,
        tuple(treatment.users[i] for i in order),
        {name: values[order] for name, values in treatment.counts.items()},
    )
    one, two = analyse(control, treatment, TWINS), analyse(control, shuffled, TWINS)
    assert one == two
    assert one.difference["acceptance_rate"].method == "delta, twins"
    assert one.srm.p_value is None
    assert "twins" in one.srm.reason


def test_pre_period_strata_and_sessions_are_used():
    control, treatment = arms(users=60)
    earlier = crowd(1, 1, 60)
    enriched = []
    for arm, y, n in ((control, earlier.y_c, earlier.n_c), (treatment, earlier.y_t, earlier.n_t)):
        prefix = arm.users[0][0]
        enriched.append(
            Arm.of(
                arm.name,
                [row | {"sessions": 5} for row in rows(prefix, *crowd(2, 1, 60).run()[0])],
                before=rows(prefix, y[0], n[0]),
                strata={user: "py" if int(user[1:]) % 2 else "ts" for user in arm.users},
            )
        )
    found = analyse(*enriched, QUICK)
    for comparison in found.difference.values():
        assert comparison.cuped is not None
        assert comparison.stratified.strata == ("py", "ts")
    assert found.srm_sessions.observed == {"base": 300, "echo": 300}


def test_flagged_users_are_listed_and_counted_both_ways():
    control, treatment = arms(users=30)
    odd = [
        {"user": "all", "shown": 150, "accepted": 150, "accepted_chars": 10, "shown_chars": 10},
        {"user": "none", "shown": 150, "accepted": 0},
        {"user": "idle", "shown": 0},
        {"user": "script", "shown": 5, "accepted": 1, "requests": 5000, "active_s": 10.0},
        {"user": "broken", "shown": 3, "accepted": 4},
        {"user": "hare", "shown": 90, "accepted": 40, "timed_accepted": 40, "fast_accepted": 39},
    ]
    plain_rows = [
        {"user": user, **{name: values[place] for name, values in treatment.counts.items()}}
        for place, user in enumerate(treatment.users)
    ]
    nothing = dict.fromkeys(treatment.counts, 0) | {"timed_accepted": 0, "fast_accepted": 0}
    treatment = Arm.of("echo", [nothing | row for row in (*plain_rows, *odd)])
    found = analyse(control, treatment, QUICK)
    assert {(flag.user, flag.reason) for flag in found.flags} == {
        ("all", Reason.ACCEPTS_ALL),
        ("none", Reason.ACCEPTS_NONE),
        ("idle", Reason.NO_EXPOSURE),
        ("script", Reason.REQUEST_RATE),
        ("broken", Reason.IMPOSSIBLE),
        ("hare", Reason.TOO_FAST),
    }
    assert found.difference["acceptance_rate"].users == (30, 36)
    assert found.without_flagged["acceptance_rate"].users == (30, 30)
    assert found.arms["treatment"].flagged == 6
    assert any("6 users are flagged" in note for note in found.notes)
    assert found.flag_imbalance < 0.05


def test_a_flagged_twin_leaves_with_the_other_arm():
    control, treatment = arms(users=20, twins=True)
    counts = dict(control.counts)
    counts["shown"] = np.where(np.arange(20) == 3, 0.0, counts["shown"])
    counts["accepted"] = np.where(np.arange(20) == 3, 0.0, counts["accepted"])
    found = analyse(Arm("base", control.users, counts), treatment, TWINS)
    assert [flag.user for flag in found.flags] == ["u003"]
    assert found.without_flagged["acceptance_rate"].users == (19, 19)


def test_arms_that_share_users():
    control, treatment = arms(users=60)
    shared = Arm("echo", (control.users[0], *treatment.users[1:]), treatment.counts)
    found = analyse(control, shared, QUICK)
    assert [(flag.arm, flag.reason) for flag in found.flags] == [
        ("base", Reason.BOTH_ARMS),
        ("echo", Reason.BOTH_ARMS),
    ]
    assert found.without_flagged["acceptance_rate"].users == (59, 59)
    with pytest.raises(SchemaError, match=r"experiment\.twins"):
        analyse(control, Arm("echo", control.users, treatment.counts), QUICK)


def test_mismatch_is_noted():
    control, treatment = arms(users=400)
    small = treatment.only(np.arange(400) < 280)
    found = analyse(control, small, QUICK.updated(resamples=100))
    assert found.srm.mismatch
    assert "believe no difference" in found.notes[0]
    promised = QUICK.updated(weights={"base": 0.4 / 0.68, "echo": 0.28 / 0.68}, resamples=100)
    assert analyse(control, small, promised).srm.p_value == pytest.approx(1.0)


def test_looks_count_the_smaller_arm():
    control, treatment = arms(users=60)
    found = analyse(control, treatment.only(np.arange(60) < 20), QUICK)
    one = found.difference["acceptance_rate"]
    assert (one.sequential.p_value, one.sequential.ci95) == (1.0, (None, None))
    assert any("20 users in an arm" in note for note in found.notes)
    assert analyse(control, treatment, QUICK).difference["acceptance_rate"].sequential.ci95[0] is not None


def test_groups_control_false_discoveries():
    groups = {f"g{k}": tuple(arms(seed=k, users=30, effect=0.15 if k == 0 else 0.0)) for k in range(5)}
    found = analyse_groups(groups, QUICK)
    assert set(found) == {"acceptance_rate", "generation_rate"}
    rates = found["acceptance_rate"]
    assert rates["g0"].rejected
    assert all(one.q_value >= one.comparison.p_value for one in rates.values())
    control, treatment = arms(users=12, twins=True)
    twins = analyse_groups({"go": (control, treatment.only(np.arange(12) > 2))}, TWINS)
    assert twins["acceptance_rate"]["go"].comparison.users == (12, 12)


def counted(users, **columns):
    return {name: np.array(values, dtype=float) for name, values in columns.items()} | {
        "shown": np.array(columns.get("shown", [4.0] * users), dtype=float)
    }


@pytest.mark.parametrize("twins", [True, False])
@pytest.mark.parametrize("users", [(), ("a",), ("a", "b")], ids=["nobody", "one user", "two users"])
def test_few_users_get_reasons_and_no_numbers_from_nothing(twins, users):
    config = AnalysisConfig(twins=twins, resamples=100)
    names = users if twins else tuple(f"t{user}" for user in users)
    for shown, accepted in ((0, 0), (5, 0), (5, 5)):
        counts = [np.full(len(users), float(value)) for value in (shown, accepted)]
        both = [
            Arm(n, u, dict(zip(("shown", "accepted"), counts, strict=True)))
            for n, u in (("a", users), ("b", names))
        ]
        found = analyse(*both, config)
        one = found.difference["acceptance_rate"]
        assert (one.p_value, one.ci95) == (None, (None, None))
        assert one.reason
        json.dumps(found.plain(), allow_nan=False)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Arm("a", ("u", "u"), {}), SchemaError, "there twice"),
        (lambda: Arm("a", ("u",), {"shown": np.array([np.nan])}), SchemaError, "shown of user 'u'"),
        (lambda: Arm("a", ("u",), {"shown": np.array([1.0, 2.0])}), SchemaError, "shape"),
        (lambda: Arm("a", ("u",), {"shown": np.array([1e300])}), SchemaError, "up to"),
        (lambda: Arm.of("a", [{"shown": 1}]), SchemaError, "has no user"),
        (
            lambda: Arm.of("a", [{"user": "u", "shown": 1}, {"user": "v", "shown": None}]),
            SchemaError,
            "number for shown",
        ),
        (lambda: Arm.of("a", [{"user": "u", "shown": 1}], strata={}), SchemaError, "no stratum"),
        (lambda: Arm("a", ("u",), {}, strata=("x", "y")), SchemaError, "2 strata"),
        (lambda: analyse(arms()[0], arms()[0], QUICK), ConfigError, "both arms are base"),
        (lambda: analyse(arms(users=3)[0], arms(users=4, twins=True)[1], TWINS), SchemaError, "same users"),
        (lambda: analyse(*arms(), QUICK.updated(weights={"x": 1.0})), ConfigError, "weights"),
        (lambda: analyse(*arms(), QUICK.updated(expected={"ar": 1.0})), ConfigError, "no such metric"),
        (lambda: analyse(*arms(), QUICK.updated(expected={"shown_rate": 0.0})), ConfigError, "above 0"),
        (
            lambda: analyse(
                *(Arm(n, (n,), {"shown": np.array([-1.0]), "accepted": np.array([1.0])}) for n in "ab"), QUICK
            ),
            SchemaError,
            "negative",
        ),
    ],
)
def test_refusals_name_what_is_wrong(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_time_saved_may_be_negative():
    random = np.random.default_rng(1)
    both = [
        Arm(
            n,
            tuple(f"{n}{k}" for k in range(30)),
            {"saved_s": random.normal(-5, 9, 30), "reference_s": np.full(30, 60.0)},
        )
        for n in "ab"
    ]
    one = analyse(*both, QUICK).difference["time_saved"]
    assert one.control < 0
    assert one.relative.estimate is None
    assert one.p_value is not None


cells = st.integers(0, 200)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(cells, cells, cells, cells), min_size=0, max_size=7), st.booleans())
def test_any_counts_have_an_answer_without_nan(values, twins):
    both = []
    for number, name in enumerate("ab"):
        names = [f"u{k}" if twins else f"{name}{k}" for k in range(len(values))]
        both.append(
            Arm.of(
                name,
                [
                    {"user": user, "shown": row[2 * number], "accepted": row[2 * number + 1]}
                    for user, row in zip(names, values, strict=True)
                ],
            )
        )
    found = analyse(*both, AnalysisConfig(twins=twins, resamples=100))
    json.dumps(found.plain(), allow_nan=False)
