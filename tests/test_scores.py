"""Scores of a miner, by hand and by property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.judge.scores import Agreement, Mined, Score, overlap, quantile

NAMES = ("true_positive", "false_positive", "false_negative", "true_negative")


@pytest.mark.parametrize(
    ("mined_text", "true", "expected"),
    [
        ("", "", 1.0),
        ("abc", "abc", 1.0),
        ("abc", "", 0.0),
        ("", "abc", 0.0),
        ("abc", "xyz", 0.0),
        ("ab", "abcd", 2 * 2 / 6),  # cut short
        ("bc", "abcd", 2 * 2 / 6),  # contained
        ("abXcd", "abYYcd", 2 * 4 / 11),  # different in one place
        ("aa", "aaa", 2 * 2 / 5),
        ("cba", "abc", 0.0),  # no bag of characters
    ],
)
def test_overlap_by_hand(mined_text: str, true: str, expected: float) -> None:
    assert expected == overlap(mined_text, true) == overlap(true, mined_text)


@given(st.text("ab", max_size=8), st.text("ab", max_size=8))
def test_overlap_is_never_more_than_the_longest_common_subsequence(a: str, b: str) -> None:
    longest = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, one in enumerate(a, 1):
        for j, other in enumerate(b, 1):
            longest[i][j] = (
                longest[i - 1][j - 1] + 1 if one == other else max(longest[i - 1][j], longest[i][j - 1])
            )
    bound = 2 * longest[-1][-1] / (len(a) + len(b)) if a or b else 1.0
    assert 0 <= overlap(a, b) <= bound
    assert (a == b) == (overlap(a, b) == 1.0)


def test_a_score_by_hand() -> None:
    score = Score()
    score.add(Mined("abc", False, 1.0, 2.0), "abc", "abcd")  # exact, a beginning of the intent
    score.add(Mined("ab", False, 2.0, 3.0), "abcd", "ab")  # short, equals the intent
    score.add(Mined("", True, 0.0, 300.0), "xy", "")  # nothing found, nothing left to intend
    score.add(Mined("q", False, 9.0, 9.0), "")  # invented
    score.add(Mined("z", True, 4.0, 5.0), None)  # dropped, truth not known
    assert {
        "requests": 5,
        "truth_known": 4,
        "truth_with_text": 3,
        "yielded": 3,
        "yield": 3 / 5,
        "exact": 1 / 4,
        "exact_with_text": 1 / 3,
        "cut_short": 2 / 3,
        "exact_of_yield": 1 / 3,
        "precision": 1 / 3,
        "recall": 1 / 3,
        "character_f1": (1 + 2 * 2 / 6 + 0) / 3,
        "last_look_p50_s": 2.0,
        "last_look_p90_s": 9.0,
        "known_p50_s": 5.0,
        "known_p90_s": 300.0,
        "intents": 2,
        "intent_equal": 1 / 2,
        "intent_reached": 1 / 2,
        "intent_part": 1.0,
    } == score.figures()


def test_scores_of_parts_add_up() -> None:
    samples = [(Mined("a" * n, n % 3 == 0, n, 2 * n), "a" * (n % 5), "aa") for n in range(12)]
    whole, one, other = Score(), Score(), Score()
    for number, sample in enumerate(samples):
        whole.add(*sample)
        (one if number % 2 else other).add(*sample)
    one.merge(other)
    assert whole.figures() == pytest.approx(one.figures())


def test_nothing_scored_has_no_shares() -> None:
    figures = Score().figures()
    assert {0, None} == set(figures.values())
    assert None is quantile([], 0.5)
    assert [1, 2, 4, 4] == [quantile([4, 1, 3, 2], level) for level in (0.0, 0.5, 0.9, 1.0)]


def test_agreement_by_hand() -> None:
    table = Agreement()
    for inferred, reported, count in ((1, 1, 20), (1, 0, 5), (0, 1, 10), (0, 0, 15)):
        for _ in range(count):
            table.add(bool(inferred), bool(reported))
    figures = table.figures()
    assert [20, 5, 10, 15] == [figures[f"{name}s"] for name in NAMES]
    assert (50, 20 / 25, 20 / 30) == (figures["proposals"], figures["precision"], figures["recall"])
    assert 0.4 == pytest.approx(figures["kappa"])  # the textbook's example: (0.7 - 0.5) / 0.5
    assert None is Agreement(both=3).figures()["kappa"]
    assert (0, None, None, None) == tuple(
        Agreement().figures()[name] for name in ("proposals", "precision", "recall", "kappa")
    )
