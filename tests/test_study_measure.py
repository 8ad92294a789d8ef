"""From tallies to what a study says, with users whose true rates are known."""

from typing import Any

import numpy as np
import pytest

from echo_ray.errors import SchemaError
from jobs import study_result
from jobs.report_inputs import COUNTS, counted
from jobs.study_measure import compared, measured

USERS = 40


def tallies(rate: float, seed: int, users: int = USERS, noise: int = 1) -> list[dict[str, Any]]:
    """Users who share their work in all arms (`seed`) and accept with this rate; `noise` is the arm's own."""
    shared, own = np.random.default_rng(seed), np.random.default_rng([seed, noise])
    rows = []
    for user in range(users):
        shown = int(shared.integers(20, 60))
        taste = float(np.clip(rate + shared.normal(0, 0.08), 0.01, 0.99))
        accepted = int(own.binomial(shown, taste))
        counts = dict.fromkeys(COUNTS, 0) | {
            "requests": 2 * shown,
            "answered": shown + 10,
            "silent": 10,
            "accepted": accepted,
            "accepted_chars": 20 * accepted,
            "typed_chars": 900,
            "retained_chars": 15 * accepted,
            "shown_chars": 22 * shown,
            "active_s": 600.0,
        }
        del counts["shown"]
        rows.append({"user": f"h{user:05d}", "shown": 3 * shown, "shown_750": shown, **counts})
    return rows


def test_an_arm_is_measured_by_the_exact_denominator() -> None:
    rows = tallies(0.3, 1)
    found = measured(counted("M5", rows), 0, "held out")
    shown = sum(row["shown_750"] for row in rows)
    assert shown == found["shown"]
    assert pytest.approx(sum(row["accepted"] for row in rows) / shown) == found["acceptance_rate"]["value"]
    low, high = found["acceptance_rate"]["ci95"]
    assert low < found["acceptance_rate"]["value"] < high
    assert pytest.approx(22.0) == found["mean_shown_chars"]
    assert pytest.approx(100 * shown / (900 * USERS)) == found["shown_per_100_typed"]
    assert 0 < found["silent_rate"] < 0.5


def study(rates: dict[str, float], seeds: tuple[int, ...] = (0, 1, 2)) -> dict[str, Any]:
    """A whole result from tallies: every arm against the first."""
    arms: dict[str, dict[int, Any]] = {
        name: {seed: counted(name, tallies(rate, 5, noise=10 * seed + n)) for seed in seeds}
        for n, (name, rate) in enumerate(rates.items())
    }
    control, *others = arms
    return study_result.build(
        {
            "figure": "fig4",
            "arms": [
                {"name": name, "measured": [measured(arm, seed, "in") for seed, arm in runs.items()]}
                for name, runs in arms.items()
            ],
            "contrasts": [
                compared(
                    arms[control][seed], arms[name][seed], seed, "in", primary=name == "M5", resamples=400
                )
                for name in others
                for seed in seeds
            ],
        }
    )


def test_an_effect_is_found_and_none_is_not() -> None:
    value = study({"M0'": 0.25, "M5": 0.33, "M4": 0.25})
    by_name = {one["treatment"]: one["difference"] for one in value["contrasts"]}
    assert 1 == by_name["M5"]["acceptance_rate"]["claimed"]
    assert abs(by_name["M5"]["acceptance_rate"]["value"] - 0.08) < 0.03
    assert 0 == by_name["M4"]["acceptance_rate"]["claimed"]
    assert "So the gain is more than knowledge of the same files." in value["paragraph"]
    assert {"mean_shown_chars", "exposures_per_typed_char"} <= by_name["M5"].keys()


def test_the_same_tallies_twice_differ_by_nothing() -> None:
    rows = tallies(0.3, 3)
    found = compared(counted("A", rows), counted("B", rows[::-1]), 0, "in", resamples=200)
    assert 0.0 == found["difference"]["acceptance_rate"]["estimate"]
    assert (0, USERS) == (found["seed"], found["users"])


def test_methods_that_disagree_are_told() -> None:
    found = study_result_of_disagreeing()
    assert any("disagree about the error of M5 against M0" in caveat for caveat in found["caveats"])


def study_result_of_disagreeing() -> dict[str, Any]:
    arms = [counted(name, tallies(0.3, 3, noise=n)) for n, name in enumerate(("M0", "M5"))]
    one = compared(arms[0], arms[1], 0, "in", resamples=200)
    one["difference"]["acceptance_rate"]["agrees"] = False
    return study_result.build(
        {"figure": "fig4", "arms": [{"name": "M0"}, {"name": "M5"}], "contrasts": [one]}
    )


def test_false_claims_are_as_rare_as_promised() -> None:
    """A/A: arms that differ by chance alone, one seed; about 5% of intervals leave zero out."""
    wrong = 0
    for run in range(200):
        arms = [counted(name, tallies(0.25, run, noise=noise)) for name, noise in (("A", 1), ("B", 2))]
        low, high = compared(arms[0], arms[1], 0, "in", resamples=2)["difference"]["acceptance_rate"]["ci95"]
        wrong += not low <= 0 <= high
    assert 2 <= wrong <= 20


def test_tallies_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(SchemaError, match="tally of the M5 arm lacks typed_chars"):
        counted("M5", [{key: value for key, value in tallies(0.3, 1)[0].items() if key != "typed_chars"}])
    with pytest.raises(SchemaError, match="twins need the same users"):
        compared(
            counted("A", tallies(0.3, 1)), counted("B", tallies(0.3, 1, users=30)), 0, "in", resamples=10
        )
