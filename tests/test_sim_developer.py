import ast
import inspect
import itertools
from collections import Counter
from functools import cache

import pytest

from echo_ray import rng
from simulator import desk, doubles, fleet, typing_model
from simulator.config import SimulateConfig
from simulator.developer import Developer
from simulator.document import Edit, replay
from simulator.sources import load
from simulator.truth import TruthKind
from simulator.work import plan

CONFIG = SimulateConfig(sources=["asyncio", "json", "email"], sessions_per_user=1, files_per_session=3)
USERS = fleet.names("train", 6)


@cache
def files(split="train"):
    return load(CONFIG, split)


@cache
def work(user):
    return plan(CONFIG, files(), user)


def behaviours():
    everything = [item for user in USERS for item in work(user)]
    half = doubles.oracle(everything, max_lines=2)
    rubbish = doubles.wrong([file.text for file in files("heldout")])

    def mixed(prefix, suffix):  # half right: makes acceptances that need repair
        kind = rng.unit(7, prefix)
        text = half(prefix, suffix)
        return (
            text[: len(text) // 2] + "zz" + text[len(text) // 2 :]
            if kind < 0.4
            else text
            if kind < 0.6
            else rubbish(prefix, suffix)
        )

    return {
        "empty": doubles.empty,
        "oracle": doubles.oracle(everything),
        "wrong": rubbish,
        "ngram": doubles.ngram(file.text for file in files("heldout")),
        "mixed": mixed,
    }


@cache
def driven(user, name, seed=0):
    developer = Developer(CONFIG.updated(seed=seed), user, work(user))
    return doubles.drive(developer, behaviours()[name])


@pytest.mark.parametrize("name", ["empty", "oracle", "wrong", "ngram", "mixed"])
def test_every_developer_reaches_every_intent(name):
    for user in USERS:
        tally, asks, truths = driven(user, name)
        edits: dict[str, list[Edit]] = {item.key: [] for item in work(user)}
        for event in truths:
            if event.kind is TruthKind.EDIT:
                detail = event.detail
                edits[event.item].append(Edit(detail["at"], detail["removed"], detail["inserted"]))
        for item in work(user):
            assert replay(item.before + item.after, edits[item.key]) == item.before + item.intent + item.after
        assert tally.items == len(work(user)) == sum(event.kind is TruthKind.COMMIT for event in truths)
        assert tally.requests == len(asks) == tally.cancelled + tally.answered + tally.silent
        assert tally.accepted <= tally.decided <= tally.shown <= tally.answered
        assert tally.accepted <= tally.shown_750 <= tally.shown
        assert tally.retained_chars <= tally.accepted_chars


def test_requests_show_the_document_of_their_moment():
    for user in USERS[:3]:
        _, asks, truths = driven(user, "mixed")
        texts = {item.key: item.before + item.after for item in work(user)}
        requests = iter(asks)
        for event in truths:
            if event.kind is TruthKind.EDIT:
                edit = Edit(event.detail["at"], event.detail["removed"], event.detail["inserted"])
                texts[event.item] = replay(texts[event.item], [edit])
            elif event.kind is TruthKind.REQUEST:
                ask = next(requests)
                assert ask.prefix + ask.suffix == texts[event.item]
                assert ask.prefix_complete
                assert ask.suffix_complete
                assert ask.ts_ms == event.detail["request_ts_ms"]


def test_time_stamps_increase_strictly():
    for user in USERS:
        stamps = [ask.ts_ms for ask in driven(user, "mixed")[1]]
        assert all(one < other for one, other in itertools.pairwise(stamps))


def test_same_seed_same_stream_other_seed_other_stream():
    user = USERS[0]
    again = doubles.drive(Developer(CONFIG, user, work(user)), behaviours()["mixed"])
    assert again == driven(user, "mixed")
    assert driven(user, "mixed", seed=1)[1] != driven(user, "mixed")[1]


def draws_of(truths):
    gates, decisions = {}, {}
    for event in truths:
        offset = event.detail.get("asked_offset", event.offset)
        place = (event.item, offset, event.detail.get("occurrence"))
        if event.kind is TruthKind.OPPORTUNITY:
            gates[place] = event.detail["gate_draw"]
        elif event.kind is TruthKind.DECISION:
            decisions[place] = event.detail["u_draw"]
    return gates, decisions


def test_twins_share_their_draws_after_they_diverge():
    for user in USERS:
        for name in ("oracle", "mixed", "ngram"):
            gates, decisions = draws_of(driven(user, "empty")[2])
            twin_gates, _ = draws_of(driven(user, name)[2])
            common = gates.keys() & twin_gates.keys()
            assert len(common) > 20
            assert all(gates[place] == twin_gates[place] for place in common)
        _, decisions = draws_of(driven(user, "oracle")[2])
        _, twin_decisions = draws_of(driven(user, "mixed")[2])
        common = decisions.keys() & twin_decisions.keys()
        assert all(decisions[place] == twin_decisions[place] for place in common)


def test_one_divergent_proposal_leaves_the_other_items_alone():
    user = USERS[1]
    asks = driven(user, "empty")[1]
    served = iter(range(10**9))

    def once(prefix, suffix):
        return "nonsense" if next(served) == 3 else ""

    _, others, _ = doubles.drive(Developer(CONFIG, user, work(user)), once)
    # Time may have passed differently, what is asked in the later items is the same.
    last = work(user)[-1]
    tail = [
        (ask.prefix, ask.suffix, ask.cancelled)
        for ask in asks
        if ask.prefix.startswith(last.before) and ask.suffix == last.after
    ]
    twin = [
        (ask.prefix, ask.suffix, ask.cancelled)
        for ask in others
        if ask.prefix.startswith(last.before) and ask.suffix == last.after
    ]
    assert tail
    assert tail == twin


def rates(name):
    tallies = [driven(user, name)[0] for user in USERS]
    total = Counter()
    for tally in tallies:
        for key in (
            "accepted",
            "shown_750",
            "shown",
            "accepted_chars",
            "typed_chars",
            "gaps",
            "long_gaps",
            "edits",
            "deletes",
            "requests",
            "active_s",
        ):
            total[key] += getattr(tally, key)
    return total


def test_bounds_of_the_degenerate_models():
    assert rates("empty")["shown"] == 0
    oracle, wrong = rates("oracle"), rates("wrong")
    assert 0.60 <= oracle["accepted"] / oracle["shown_750"] <= 0.97
    assert wrong["accepted"] / wrong["shown_750"] < 0.10
    assert oracle["accepted_chars"] / (oracle["accepted_chars"] + oracle["typed_chars"]) > 0.5
    assert oracle["active_s"] < rates("empty")["active_s"] < wrong["active_s"]


def test_typing_looks_like_the_traces():
    alone = rates("empty")
    assert 0.07 <= alone["long_gaps"] / alone["gaps"] <= 0.15  # .108
    assert 0.06 <= alone["deletes"] / alone["edits"] <= 0.12  # .09
    assert 15 <= 60 * alone["edits"] / alone["active_s"] <= 35  # 26.6 per active minute
    assert 0.8 <= 60 * alone["requests"] / alone["active_s"] <= 4


def test_accepted_text_is_followed():
    checks = [
        event for user in USERS for event in driven(user, "mixed")[2] if event.kind is TruthKind.PERSIST
    ]
    accepted = sum(driven(user, "mixed")[0].accepted for user in USERS)
    assert accepted > 5
    assert len(checks) == accepted * len(desk.PERSIST_S)
    assert all(0 <= event.detail["alive"] <= event.detail["chars"] for event in checks)
    assert any(not event.detail["unchanged"] for event in checks)


def test_a_cancelled_request_is_never_shown():
    for user in USERS:
        tally, asks, truths = driven(user, "oracle")
        assert sum(ask.cancelled for ask in asks) == tally.cancelled > 0
        shown = sum(event.kind is TruthKind.SHOWN for event in truths)
        assert shown == tally.shown <= len(asks) - tally.cancelled


def test_no_module_below_the_client_knows_the_arm():
    from simulator import assistant, developer, policy, truth, work

    for module in (assistant, desk, developer, policy, truth, typing_model, work):
        tree = ast.parse(inspect.getsource(module))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert "arm" not in names, module.__name__


def test_braces_and_tabs_are_written_too(tmp_path):
    source = "package main\n\n" + "".join(
        f"func f{n}(a int) int {{\n\ttotal := a + {n}\n\n\tif total > 100 {{\n"
        "\t\treturn 100\n\t}\n\treturn total\n}\n\n"
        for n in range(8)
    )
    for number in range(6):
        (tmp_path / f"f{number}.go").write_text(source.replace("total", f"total{number}"))
    config = SimulateConfig(sources=[str(tmp_path)], languages=["go"])
    items = plan(config, load(config, "train"), "u")
    tally, _, _ = doubles.drive(Developer(config, "u", items), doubles.oracle(items, 3))
    assert tally.items == len(items)
    assert tally.accepted > 0


def test_small_windows_say_that_they_are_cut():
    config = CONFIG.updated(prefix_chars=300, suffix_chars=200)
    _, asks, _ = doubles.drive(Developer(config, USERS[0], work(USERS[0])), doubles.empty)
    assert all(len(ask.prefix) <= 300 and len(ask.suffix) <= 200 for ask in asks)
    assert any(not ask.prefix_complete for ask in asks)
    assert any(not ask.suffix_complete for ask in asks)
