"""Our figures beside those of two libraries for the same users, and the whole analysis of equal models.

Computed with tea-tasting 1.14.0 and statsmodels 0.15.0 (neither is a dependency) from `users()`.
"""

import numpy as np
import pytest

from echo_ray.experiment import multiplicity, power
from echo_ray.experiment.analyse import AnalysisConfig, analyse
from echo_ray.experiment.compare import compare
from echo_ray.experiment.inputs import METRICS, Arm
from tests.crowd import crowd


def users():
    """Control, treatment and their pre-periods, (2, 24) each."""
    k = np.arange(24)
    arms = []
    for size, base, taste in (
        (5 + k * 37 % 90, 0.10, 0.30 * (k * 7 % 11) / 11),
        (4 + k * 53 % 110, 0.15, 0.30 * (k * 5 % 13) / 13),
        (3 + k * 29 % 60, 0.12, 0.27 * (k * 7 % 11) / 11),
        (6 + k * 41 % 70, 0.12, 0.27 * (k * 5 % 13) / 13),
    ):
        arms.append(np.vstack([np.floor(size * (base + taste)), size]))
    return arms


@pytest.fixture(scope="module")
def found():
    control, treatment, before_control, before_treatment = users()
    return compare(
        METRICS[0], control, treatment, paired=False, resamples=200, before=(before_control, before_treatment)
    )


def test_ratio_metric_is_tea_tastings(found):
    assert found.control == pytest.approx(0.23611111111111113)
    assert found.treatment == pytest.approx(0.2913719943422914)
    assert found.ci95 == pytest.approx((-0.0006702633797095736, 0.11119202984207008))
    assert found.p_value == pytest.approx(0.052693566127838674)
    assert found.relative.estimate == pytest.approx(0.23404609368499862)
    assert found.relative.ci95 == pytest.approx((-0.00646485002763364, 0.5327789473593971))


def test_cuped_is_close_to_tea_tastings(found):
    # Theirs takes theta from all users as one group, so that a real difference moves it; ours within arms.
    assert found.cuped.estimate == pytest.approx(0.04296236598361411, abs=5e-4)
    assert found.cuped.ci95 == pytest.approx((0.00847139824372601, 0.07745333372350222), abs=2e-3)


def test_naive_test_is_statsmodels(found):
    assert found.naive.p_value == pytest.approx(0.0016388478993269926)


def test_power_and_families_are_statsmodels():
    assert power.sample_size(0.4, 1.0, paired=False) == 2 * 100  # 99.08 in each arm
    assert power.sample_size(0.4, 1.0, paired=True) == 52  # 51.009
    assert power.power(0.4, 1.0, 100, paired=False, split=0.6) == pytest.approx(0.49223274876964224)
    assert power.power(0.4, 1.0, 40, paired=True) == pytest.approx(0.6939863893011935)
    p_values = dict(zip("abcde", (0.001, 0.02, 0.03, 0.04, 0.5), strict=True))
    holm = [one.q_value for one in multiplicity.holm(p_values).values()]
    assert holm == pytest.approx([0.005, 0.08, 0.09, 0.09, 0.5])
    found = [one.q_value for one in multiplicity.false_discoveries(p_values).values()]
    assert found == pytest.approx([0.005, 0.05, 0.05, 0.05, 0.5])


def test_of_equal_models_the_whole_analysis_claims_nothing():
    people = crowd(21, 300, 40)
    claims = 0
    for run in range(300):
        arms = []
        for name, y, n in (("base", people.y_c, people.n_c), ("echo", people.y_t, people.n_t)):
            counts = {
                "shown": n[run].astype(float),
                "accepted": y[run].astype(float),
                "accepted_chars": 12.0 * y[run],
                "typed_chars": 20.0 * n[run],
                "retained_chars": 9.0 * y[run],
                "active_s": 30.0 * n[run],
            }
            arms.append(Arm(name, tuple(f"{name}{k}" for k in range(40)), counts))
        result = analyse(*arms, AnalysisConfig(resamples=100))
        claims += any(gate.passed for gate in result.gates)
    # A claim needs a gain, so only half of the false differences can become one.
    assert claims / 300 <= 0.025 + 2.6 * (0.025 * 0.975 / 300) ** 0.5
