"""MinHash against exact Jaccard, and the pass that decides who stays."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.stages import duplicates
from echo_ray.stages.duplicates import Edges, Place, alike, exact, leaders, place, signatures

WORDS = [f"word{n}" for n in range(400)]


def word_pairs(text: str) -> set[Any]:
    return set(duplicates._pairs(duplicates._tokens(text)))


def overlap(one: set[Any], two: set[Any]) -> float:
    return len(one & two) / len(one | two) if one | two else 1.0


def jaccard(first: Place, second: Place) -> tuple[float, float]:
    """Exact similarity of the cores and of the surroundings, which `alike` estimates."""
    around = overlap(*(word_pairs(p.before + "\n" + p.after) for p in (first, second)))
    if duplicates._CURSOR in first.core or duplicates._CURSOR in second.core:
        return float(first.core == second.core), around
    return overlap(word_pairs(first.core), word_pairs(second.core)), around


def spoiled(words: list[str], share: float, draw: random.Random) -> list[str]:
    return [draw.choice(WORDS) if draw.random() < share else word for word in words]


def sample(core: list[str], before: list[str], after: list[str]) -> Place:
    return Place(" ".join(core), " ".join(before), " ".join(after))


def pairs_of(count: int) -> list[tuple[Place, Place]]:
    draw = random.Random(count)
    found = []
    for _ in range(count):
        core, before, after = ([draw.choice(WORDS) for _ in range(n)] for n in (12, 60, 20))
        spoil = draw.choice([0.0, 0.02, 0.05, 0.1, 0.3])
        other = sample(
            spoiled(core, spoil / 2, draw), spoiled(before, spoil, draw), spoiled(after, spoil, draw)
        )
        found.append((sample(core, before, after), other))
    return found


def test_what_is_compared() -> None:
    found = place("a = 1\nif x:\n    y = fo", "o(1)", " # note\nz = 2\n")
    assert Place("    y = foo(1) # note", "a = 1\nif x:\n", "\nz = 2\n") == found
    assert Place("    y = fo\0 # note", "a = 1\nif x:\n", "\nz = 2\n") == place(
        "a = 1\nif x:\n    y = fo", "", " # note\nz = 2\n"
    )


def test_the_cursor_in_a_line_changes_nothing_but_for_voids() -> None:
    assert exact(place("x\nfoo(", "1)", "\n")) == exact(place("x\n  foo(1", ")", "\n"))
    assert exact(place("x\nfoo(", "", "1)\n")) != exact(place("x\nfoo(1", "", ")\n"))


def test_estimates_agree_with_exact_similarity() -> None:
    pairs = pairs_of(300)
    one, two = (signatures([pair[side] for pair in pairs]) for side in (0, 1))
    same = one == two
    local, core = same[:, : duplicates.LOCAL].mean(1), same[:, duplicates.LOCAL :].mean(1)
    expected = np.array([jaccard(*pair) for pair in pairs])
    # Standard error of a mean of n comparisons: sqrt(0.25 / n) at most, 0.051 and 0.088.
    assert abs(local - expected[:, 1]).mean() < 0.04
    assert abs(core - expected[:, 0]).mean() < 0.07
    assert abs((local - expected[:, 1]).mean()) < 0.01


def test_near_pairs_are_found_and_far_ones_are_not() -> None:
    pairs = pairs_of(400)
    rows = [side for pair in pairs for side in pair]
    edges = alike(signatures(rows), np.zeros(len(rows), bool), 0.7)
    found = set(zip(edges.earlier.tolist(), edges.later.tolist(), strict=True))
    exactly = [min(jaccard(*pair)) for pair in pairs]
    near = [n for n, score in enumerate(exactly) if score >= 0.9]
    far = [n for n, score in enumerate(exactly) if score <= 0.45]
    assert len(near) > 50
    assert len(far) > 50
    assert len(near) * 0.98 <= sum((2 * n, 2 * n + 1) in found for n in near)
    assert not [n for n in far if (2 * n, 2 * n + 1) in found]
    assert {(2 * n, 2 * n + 1) for n in range(len(pairs))} >= found  # different pairs never meet


def test_only_one_of_core_and_surroundings_is_not_enough() -> None:
    draw = random.Random(1)
    a, b, c, d = ([draw.choice(WORDS) for _ in range(40)] for _ in range(4))
    rows = [sample(a, b, []), sample(a, c, []), sample(d, b, []), sample(a, b, [])]
    edges = alike(signatures(rows), np.zeros(4, bool), 0.8)
    assert [(3, 0)] == list(zip(edges.later.tolist(), edges.earlier.tolist(), strict=True))


def test_a_void_is_no_duplicate_of_code() -> None:
    rows = [sample(["a", "b"], ["c"], [])] * 2
    assert 0 == len(alike(signatures(rows), np.array([False, True]), 0.8).later)


def test_a_crowd_of_equal_rows_all_lead_to_the_first() -> None:
    rows = [sample(["a", "b"], ["c"], [])] * 200
    edges = alike(signatures(rows), np.zeros(200, bool), 0.8)
    assert set(range(1, 200)) == set(leaders(edges, np.arange(200)))
    assert {0} == {earlier for _, earlier in leaders(edges, np.arange(200)).values()}


def test_no_chains() -> None:
    # 1 is like 0, 2 is like 1 only: 2 stays, because what it is like does not.
    edges = Edges(np.array([1, 2]), np.array([0, 1]))
    assert {1: (1, 0)} == leaders(edges, np.arange(3))


def test_a_gap_goes_as_a_whole_and_not_for_its_own_sake() -> None:
    # Rows 0 and 1 are one gap, 2 and 3 another; only row 3 meets row 1.
    edges = Edges(np.array([1, 3]), np.array([0, 1]))
    assert {1: (3, 1)} == leaders(edges, np.array([0, 0, 1, 1]))


@given(
    st.lists(st.tuples(st.text(max_size=30), st.text(max_size=8), st.text(max_size=30)), max_size=8),
    st.randoms(),
)
@settings(max_examples=60, deadline=None)
def test_a_signature_depends_on_its_row_alone(texts: list[tuple[str, str, str]], draw: random.Random) -> None:
    places = [place(*text) for text in texts]
    together = signatures(places)
    assert (len(places), duplicates.SIGNATURE_BYTES) == together.shape
    order = list(range(len(places)))
    draw.shuffle(order)
    assert np.array_equal(together[order], signatures([places[n] for n in order]))
    for n, found in enumerate(places):
        assert np.array_equal(together[n], signatures([found])[0])


@pytest.mark.parametrize("text", ["\ud800 lone", "x" * 200_000, "\0\0", "\n\n\n"])
def test_odd_texts(text: str) -> None:
    found = place(text, text, text)
    assert (1, duplicates.SIGNATURE_BYTES) == signatures([found]).shape
    assert exact(found) == exact(place(text, text, text))
