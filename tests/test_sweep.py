"""The quick way of mining (`sweep`) against the rule itself (`gaps`), on the same tables."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.link_table import link_table
from echo_ray.rng import generator
from echo_ray.stages.gaps import Rule
from echo_ray.stages.mine import _columns, _one_by_one
from echo_ray.stages.sweep import sweep, timeline
from tests.rows import request, table_of

RULE = Rule(300_000)
COLUMNS = (
    *("commit", "end_reason", "end_ts_ms", "snapshots", "confidence"),
    *("human_chars", "model_chars", "pasted_chars", "accepted_chars", "drop"),
)


def agree(table: pa.Table) -> int:
    """Compare both on every session that `sweep` covers; the number of requests compared."""
    requests = timeline(table, RULE)
    chosen = requests.only(requests.covered)
    table = table.take(pa.array(np.sort(chosen.row)))
    requests = timeline(table, RULE)
    assert requests.covered.all()
    quick = _columns([sweep(table, requests)], table)
    slow = _columns([_one_by_one(table, requests, RULE)] if table.num_rows else [], table)
    for name in COLUMNS:
        assert slow[name].to_pylist() == quick[name].to_pylist(), name
    return table.num_rows


def typing(seed: int, requests: int, window: int | None = None) -> list[dict[str, Any]]:
    """One developer in two files: keys, removals, jumps, accepts, pastes, replacements, pauses, gaps."""
    draws = generator(0, "sweep", seed)
    texts = {"f": "def f(x):\n    return x\n" * draws.randrange(1, 30), "g": ""}
    cursors = {"f": draws.randrange(len(texts["f"])), "g": 0}
    file, now, proposal, rows = "f", 0, None, []
    for number in range(requests):
        for _ in range(draws.choice([1, 1, 1, 1, 1, 1, 2])):
            text, cursor = texts[file], cursors[file]
            act = draws.random()
            if act < 0.05:
                file = draws.choice("ffg")
                continue
            if act < 0.10:
                cursor = draws.randrange(len(text) + 1)
            elif act < 0.20 and cursor:
                text, cursor = text[: cursor - 1] + text[cursor:], cursor - 1
            elif act < 0.23:
                text = text[:cursor] + text[cursor + draws.randrange(1, 5) :]
            elif act < 0.30 and proposal:
                taken = proposal[: draws.choice([2, 5, len(proposal)])]
                text, cursor = text[:cursor] + taken + text[cursor:], cursor + len(taken)
            elif act < 0.32:
                text, cursor = text[:cursor] + "pasted text, more than twenty" + text[cursor:], cursor + 29
            else:
                text, cursor = text[:cursor] + draws.choice("aab\n") + text[cursor:], cursor + 1
            texts[file], cursors[file] = text, cursor
        now += draws.choice([10, 150, 150, 150, 900, 5_000] + [400_000] * (draws.random() < 0.1))
        proposal = draws.choice([None, "", "ab", "aba\nreturn x + 1", "print(x)\n"])
        text, cursor = texts[file], cursors[file]
        left = 0 if window is None else max(0, cursor - window)
        right = len(text) if window is None else min(len(text), cursor + window)
        rows.append(
            request(
                f"r{number:05d}",
                now,
                text[left:cursor],
                text[cursor:right],
                user=f"u{seed % 3}",
                session=f"s{seed}",
                file=file,
                prefix_complete=left == 0,
                suffix_complete=right == len(text),
                proposal=proposal,
                delivered=draws.random() < 0.8,
            )
        )
    return rows


@pytest.mark.parametrize("window", [None, 400, 60])
def test_the_same_outcomes_as_the_rule(window: int | None) -> None:
    rows = [row for seed in range(60) for row in typing(seed, 5 + 4 * seed, window)]
    table = link_table(table_of(rows))
    assert agree(table) > len(rows) / 4
    agree(table.take(pa.array(np.random.default_rng(0).permutation(table.num_rows))))


@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([None, 30, 200]))
def test_the_same_outcomes_for_any_session(seed: int, requests: int, window: int | None) -> None:
    agree(link_table(table_of(typing(seed, requests, window))))


def test_a_table_without_requests() -> None:
    assert 0 == agree(link_table(table_of([])))
