import inspect
import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import policy
from simulator.distance import best_cut, cut_distances, edit_script, horizon, normal
from simulator.policy import Mode

short = st.text(alphabet="ab \n", max_size=14)


def levenshtein(a, b):
    """The textbook recursion, as a table of one row."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (x != y))
    return row[-1]


@given(short, short)
def test_every_cut_has_its_levenshtein_distance(source, text):
    assert cut_distances(source, text) == [levenshtein(source, text[:cut]) for cut in range(len(text) + 1)]


def test_long_suggestions_agree_with_the_oracle():
    draw = random.Random(1)
    for _ in range(20):
        source = "".join(draw.choices("abc( \n", k=draw.randint(60, 200)))
        text = "".join(draw.choices("abc( \n", k=draw.randint(0, 254)))
        scores = cut_distances(source, text)
        for cut in (0, len(text) // 3, len(text)):
            assert scores[cut] == levenshtein(source, text[:cut])


@given(short, short)
def test_distance_ignores_white_space_at_line_ends(suggestion, intent):
    source, text = normal(suggestion), normal(intent)
    cuts = range(min(len(text), horizon(len(source))) + 1)
    assert policy.distance(suggestion, intent) == min(levenshtein(source, text[:cut]) for cut in cuts)
    assert policy.distance(suggestion + " \n", intent.replace("\n", "  \n")) == policy.distance(
        suggestion, intent
    )


@given(short, short)
def test_edit_script_is_minimal_and_leads_to_the_target(source, target):
    ops = edit_script(source, target)
    result, shift = source, 0
    for op in ops:
        result = result[: op.start + shift] + op.text + result[op.stop + shift :]
        shift += len(op.text) - (op.stop - op.start)
    assert result == target
    assert sum(max(op.stop - op.start, len(op.text)) for op in ops) <= levenshtein(source, target) + len(ops)
    assert all(one.stop < other.start for one, other in itertools.pairwise(ops))


def test_best_cut_prefers_the_shortest_of_equals():
    assert best_cut("foo(x", "foo(y)") == (4, 1)
    assert best_cut("abc", "abcdef") == (3, 0)
    assert best_cut("zzz", "") == (0, 3)


@pytest.mark.parametrize(
    ("matched", "edits", "offset", "expected"),
    [
        # -1.63 + 1.43 ln 31 = 3.2806; -1.63 - 1.31 ln 31 = -6.1285; -1.63 + 1.43 ln 21 - 1.31 ln 6 = 0.3765
        (30, 0, 0.0, 0.9638),
        (0, 30, 0.0, 0.0022),
        (20, 5, 0.0, 0.5929),
        (0, 0, 0.0, 0.1638),
        (20, 5, 0.44, 0.6934),
    ],
)
def test_p1_by_hand(matched, edits, offset, expected):
    assert policy.probability(matched, edits, offset) == pytest.approx(expected, abs=2e-4)


def test_decision_of_a_perfect_line():
    verdict = policy.decide("x = compute(y)", "x = compute(y)\nreturn x", 0.0, Mode.ACCELERATION, 0.5)
    assert (verdict.chars, verdict.distance, verdict.matched) == (14, 0, 14)
    assert verdict.p_accept == pytest.approx(1 / (1 + math.exp(1.63 - 1.43 * math.log(15))))
    assert verdict.accept
    assert not policy.decide("x = compute(y)", "x = compute(y)", 0.0, Mode.ACCELERATION, 0.95).accept


def test_a_glance_takes_in_the_first_line_only():
    suggestion, intent = "\n    good = 1\n    rubbish()", "\n    good = 1\n    other = 2"
    assert policy.glance(suggestion) == "\n    good = 1"
    assert policy.decide(suggestion, intent, 0.0, Mode.ACCELERATION, 0.5).distance == 0
    exploring = policy.decide(suggestion, intent, 0.0, Mode.EXPLORATION, 0.5)
    assert exploring.distance > 5
    assert exploring.chars == len(suggestion)
    assert exploring.matched == len("good=1")
    assert len(policy.glance("x" * 100)) == 60


def test_decision_times():
    assert policy.accept_s(27, 0.0) == pytest.approx(math.exp(-0.5) * 27**0.433)
    assert policy.accept_s(1, -9.0) == 0.25
    assert policy.reject_s(0.0) == pytest.approx(math.exp(1.18))


def test_policy_cannot_see_the_arm():
    assert set(inspect.signature(policy.decide).parameters) == {
        "suggestion",
        "intent",
        "taste",
        "reading",
        "u_draw",
    }
    assert "arm" not in inspect.signature(policy.probability).parameters


def test_policy_hash_is_stable_and_covers_the_constants():
    assert policy.policy_hash() == policy.policy_hash()
    assert (policy.B0, policy.BM, policy.BD) == (-1.63, 1.43, 1.31)
    assert (policy.TASTE_SD, policy.ROLE_OFFSET, policy.MIN_VISIBLE_MS) == (0.44, 0.2, 250.0)
