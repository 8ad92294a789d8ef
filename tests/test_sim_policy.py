import itertools
import math
import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.rules import policies, policy
from simulator.rules.distance import best_cut, cut_distances, edit_script, horizon, normal
from simulator.rules.policy import Exposure, Mode, Reader, State

NOBODY = Reader(taste=0.0, role=0.0, drift=0.0)
short = st.text(alphabet="ab \n", max_size=14)


def exposure(suggestion, intent, mode=Mode.ACCELERATION, intents=(), state=State.WRITE, pause_ms=2_000.0):
    return Exposure(suggestion, intent, intents, "", "python", state, mode, pause_ms)


def decide(suggestion, intent, mode=Mode.ACCELERATION, u_draw=0.5, intents=(), reader=NOBODY):
    return policy.load("p1").decide(exposure(suggestion, intent, mode, intents), reader, u_draw, 0.5)


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
    assert expected == pytest.approx(policy.chance(policy.FITTED.at(matched, edits, offset)), abs=2e-4)


def test_decision_of_a_perfect_line():
    verdict = decide("x = compute(y)", "x = compute(y)\nreturn x")
    assert (14, 0, 14) == (verdict.chars, verdict.distance, verdict.matched)
    assert verdict.p_accept == pytest.approx(1 / (1 + math.exp(1.63 - 1.43 * math.log(15))))
    assert verdict.accept
    assert verdict.attended
    assert not decide("x = compute(y)", "x = compute(y)", u_draw=0.95).accept


@pytest.mark.parametrize(
    ("reader", "offset"),
    [
        (Reader(1.0, 0.0, 0.0), 0.44),
        (Reader(0.0, -0.2, 0.0), -0.2),
        (Reader(-1.5, 0.2, 0.3), -0.16),
    ],
)
def test_the_reader_moves_the_logit(reader, offset):
    logit = -1.63 + 1.43 * math.log(15) + offset
    assert 1 / (1 + math.exp(-logit)) == pytest.approx(
        decide("x = compute(y)", "x = compute(y)", reader=reader).p_accept
    )


def test_a_glance_takes_in_the_first_line_only():
    suggestion, intent = "\n    good = 1\n    rubbish()", "\n    good = 1\n    other = 2"
    assert "\n    good = 1" == policy.glance(suggestion)
    assert 0 == decide(suggestion, intent).distance
    exploring = decide(suggestion, intent, Mode.EXPLORATION)
    assert exploring.distance > 5
    assert len(suggestion) == exploring.chars
    assert len("good=1") == exploring.matched
    logit = -1.63 + 0.4 + 1.43 * math.log(7) - 1.31 * math.log1p(exploring.distance)
    assert 1 / (1 + math.exp(-logit)) == pytest.approx(exploring.p_accept)
    assert 60 == len(policy.glance("x" * 100))


def test_a_lenient_reader_measures_against_the_nearest_intent():
    suggestion, intent, intents = "f('a')", 'f("a")', ("g('a')", "f('a')", "f('a') ")
    strict = decide(suggestion, intent)
    assert (2, 4, -1) == (strict.distance, strict.matched, strict.nearest)
    lenient = decide(suggestion, intent, intents=intents)
    assert (0, 6, 1) == (lenient.distance, lenient.matched, lenient.nearest)
    assert lenient.p_accept > strict.p_accept
    assert -1 == decide(suggestion, suggestion, intents=intents).nearest  # the intent itself wins a draw
    exploring = decide("total + rest", "sum", Mode.EXPLORATION, intents=("total + rest",))
    assert (0, len("total+rest")) == (exploring.distance, exploring.matched)


@given(
    short, short, st.lists(short, max_size=3), st.sampled_from(Mode), st.sampled_from(sorted(policies._RULES))
)
def test_more_intents_never_make_a_suggestion_worse(suggestion, intent, others, mode, name):
    rule = policy.load(name)
    alone = rule.decide(exposure(suggestion, intent, mode), NOBODY, 0.5, 0.5)
    verdict = rule.decide(exposure(suggestion, intent, mode, tuple(others)), NOBODY, 0.5, 0.5)
    distances = [rule.decide(exposure(suggestion, text, mode), NOBODY, 0.5, 0.5).distance for text in others]
    assert min([alone.distance, *distances]) == verdict.distance
    assert (verdict.nearest == -1) == (verdict.distance == alone.distance)
    assert verdict.chars == alone.chars
    assert verdict.accept == (verdict.u_draw < verdict.p_accept)
    assert 0.0 <= verdict.p_accept <= 1.0


def test_decision_times():
    assert math.exp(-0.5) * 27**0.433 == pytest.approx(policy.accept_s(27, 0.0))
    assert 0.25 == policy.accept_s(1, -9.0)
    assert math.exp(1.18) == pytest.approx(policy.reject_s(0.0))


def test_no_overflow():
    verdict = policy.load("p3").decide(exposure("z" * 5_000, "a", Mode.EXPLORATION), NOBODY, 0.5, 0.5)
    assert not verdict.accept
    assert verdict.p_accept < 1e-100
    assert 1.0 == policy.chance(math.inf)
    assert policy.chance(-math.inf) < 1e-300


def test_the_hash_names_sources_rule_and_shift():
    assert policy.policy_hash() == policy.policy_hash()
    rules = [*map(policy.load, ("p1", "p2", "p3", "p4", "p5")), policies.named("p1", 0.1)]
    assert len(rules) == len({rule.hash for rule in rules})
    assert policy.load("p1").hash == policies.named("p1").hash
    assert (-1.63, 1.43, 1.31) == (policy.FITTED.b0, policy.FITTED.bm, policy.FITTED.bd)
    assert (0.44, 250.0) == (policy.TASTE_SD, policy.MIN_VISIBLE_MS)
    for rule in rules:
        assert rule == pickle.loads(pickle.dumps(rule))
