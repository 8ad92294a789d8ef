"""The shadow on real developers: the control notices nothing, and a shade is what a real fork would show."""

import itertools
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echo_ray import rng
from simulator import doubles, engines
from simulator.config import SimulateConfig
from simulator.desk.clients import PROFILES
from simulator.desk.developer import Developer
from simulator.doubles import Driven
from simulator.engines import Engine, Material, StandIn
from simulator.rules.policies import named
from simulator.steps import Ask
from simulator.truth import SHADOWED, Truth, TruthKind
from simulator.work.items import Plan
from simulator.work.plan import plan
from simulator.work.sources import Corpus, load

CONFIG = SimulateConfig(sources=["asyncio", "json", "email"], active_minutes=12, partial_share=0.2)
USERS = ("t00000", "t00001")
CANNOT = [HealthCheck.too_slow]


def mixed(ask: Ask) -> str:
    """Right, nearly right, right and too long, silent or wrong."""
    right, kind = engines.oracle(ask), rng.unit(7, ask.prefix[-300:], ask.suffix[:50])
    if kind < 0.55:
        return right if kind < 0.3 else right[: len(right) // 2] + "zz" + right[len(right) // 2 + 1 :]
    if kind < 0.65:
        return engines.oracle_long(ask)
    return "" if kind < 0.75 else "return something_else(entirely)"


def flipped(ask: Ask) -> str:
    """The oracle in another style, which lenient users keep."""
    return engines.oracle(ask).translate(str.maketrans({"'": '"', '"': "'"}))


@cache
def engine(name: str) -> Engine:
    if name in ("mixed", "flipped"):
        return StandIn(name, f"{name}-1", mixed if name == "mixed" else flipped)
    return engines.engine(name, Material(("x = 1\n" * 50,), 0))


@cache
def corpus() -> Corpus:
    return load(CONFIG, "train")


@cache
def work(user: str) -> Plan:
    return plan(CONFIG, corpus(), user)


def driven(user: str, config: SimulateConfig, rule: str, control: Engine, shadow: Engine | None) -> Driven:
    return doubles.drive(Developer(config, work(user), named(rule)), control, shadow)


def with_client(name: str, **more: object) -> SimulateConfig:
    return CONFIG.updated(clients={name: 1.0}, **more)


def of_control(truths: list[Truth]) -> list[Truth]:
    return [event for event in truths if event.kind is not TruthKind.SHADOW]


def shades(run: Driven) -> dict[str, Truth]:
    return {str(e.detail["request_id"]): e for e in run.truths if e.kind is TruthKind.SHADOW}


@pytest.mark.parametrize("rule", ["p1", "p2"])
@pytest.mark.parametrize("name", PROFILES)
def test_the_control_notices_nothing(name: str, rule: str) -> None:
    """Requests, events, truth and tally are the same without a shadow, whatever the shadow says."""
    for control, shadow, seed in (("mixed", "flipped", 0), ("empty", "mixed", 1), ("oracle", "garbage", 2)):
        config = with_client(name, seed=seed, trust_drift=rule == "p2")
        alone = driven(USERS[0], config, rule, engine(control), None)
        both = driven(USERS[0], config, rule, engine(control), engine(shadow))
        assert (alone.asks, alone.reports) == (both.asks, both.reports)
        assert alone.truths == of_control(both.truths)
        assert shades(both)
        assert alone.tally == replace(both.tally, shadow={})
        assert {} == alone.tally.shadow


@pytest.mark.parametrize(
    ("name", "seed"), [*((name, 3) for name in PROFILES), ("default", 0), ("default", 1), ("tabby", 2)]
)
def test_a_shadow_equal_to_the_control_counts_what_the_control_counts(name: str, seed: int) -> None:
    sums: Counter[str] = Counter()
    for user in USERS:
        for what, rule in (("mixed", "p1"), ("oracle", "p2"), ("garbage", "p3"), ("never", "p1")):
            config = with_client(name, seed=seed, trust_drift=True)
            tally = driven(user, config, rule, engine(what), engine(what)).tally
            found = dict(tally.shadow)
            own = {key: getattr(tally, key) for key in SHADOWED}
            own |= {"pairs": tally.decided, "pairs_control": tally.accepted, "pairs_shadow": tally.accepted}
            own |= {"same": tally.shown}
            own |= {f"shown_from_{size}": n for size, n in tally.shown_by_length.items()}
            own |= {f"accepted_from_{size}": n for size, n in tally.accepted_by_length.items()}
            assert {key: value for key, value in own.items() if value} == found
            sums.update(found)
    assert min(sums[key] for key in ("accepted", "silent", "failed", "shown_750")) > 0


class Fork:
    """`control`, but `other` at the request `at`."""

    name = version = "fork"

    def __init__(self, control: Engine, other: Engine, at: str) -> None:
        self._control, self._other, self._at = control, other, at

    def complete(self, ask: Ask) -> str | None:
        return (self._other if ask.request_id == self._at else self._control).complete(ask)


JUDGED = ("accept", "partial", "p_accept", "u_draw", "distance", "matched", "mode", "attended")


@pytest.mark.parametrize(
    ("name", "control", "shadow"),
    [
        ("default", "empty", "mixed"),
        ("default", "oracle", "line_above"),
        ("tabby", "mixed", "oracle"),
        ("tabby", "mixed", "flipped"),
        ("llama.vim", "mixed", "oracle"),
    ],
)
def test_a_shade_is_what_a_fork_of_the_world_at_its_request_shows(
    name: str, control: str, shadow: str
) -> None:
    """The oracle: the same developer, really answered by the shadow at one request and never before."""
    config = with_client(name)
    both = driven(USERS[1], config, "p1", engine(control), engine(shadow))
    found = list(shades(both).items())[:10]
    assert len(found) > 5
    for request_id, shade in found:
        fork = driven(USERS[1], config, "p1", Fork(engine(control), engine(shadow), request_id), None)
        shown = [e.detail for e in fork.truths if e.kind is TruthKind.SHOWN]
        (own,) = [detail for detail in shown if request_id == detail["request_id"]]
        about = [e for e in fork.truths if e.detail.get("exposure") == own["exposure"]]
        (end,) = [e.detail for e in about if e.kind is TruthKind.EXPOSURE_END]
        decisions = [e.detail for e in about if e.kind is TruthKind.DECISION]
        assert own["proposal"] == shade.detail["proposal"]
        assert bool(decisions) == shade.detail["decided"]
        for decision in decisions:
            assert {key: decision[key] for key in JUDGED} == {key: shade.detail[key] for key in JUDGED}
        seen: dict[str, Any] = {"fork": end["visible_ms"], "shade": shade.detail["visible_ms"]}
        if shade.detail["cut"]:  # it stayed at least as long
            assert seen["fork"] >= seen["shade"] - 0.2
        else:
            assert end["counted"] == shade.detail["counted"]
            assert abs(seen["fork"] - seen["shade"]) < 0.2


def test_where_one_of_the_two_is_silent_only_the_other_counts() -> None:
    silent_shadow = driven(USERS[0], CONFIG, "p1", engine("mixed"), engine("empty"))
    assert silent_shadow.tally.shown > 0
    assert {"silent": silent_shadow.tally.answered + silent_shadow.tally.silent} == {
        key: value for key, value in silent_shadow.tally.shadow.items() if "voids" not in key
    }
    silent_control = driven(USERS[0], CONFIG, "p1", engine("always_silent"), engine("oracle"))
    found = silent_control.tally.shadow
    assert (0, 0) == (silent_control.tally.shown, silent_control.tally.accepted)
    assert found["accepted"] > 5
    assert {"pairs", "same", "cut"}.isdisjoint(found)
    # Nothing that was taken in the shadow's worlds stands in the document or was paid for.
    alone = driven(USERS[0], CONFIG, "p1", engine("always_silent"), None)
    assert alone.tally == replace(silent_control.tally, shadow={})


def test_truth_and_tally_of_the_shadow_agree() -> None:
    cut = 0
    for user, seed in itertools.product(USERS, (0, 4, 5)):
        run = driven(user, CONFIG.updated(seed=seed), "p1", engine("oracle"), engine("line_above"))
        rows: list[dict[str, Any]] = [event.detail for event in shades(run).values()]
        sums = Counter[str]()
        for row in rows:
            taken = bool(row.get("partial") or row.get("accept"))
            assert row["counted"] == (taken or float(row["visible_ms"]) >= 750)
            assert ("u_draw" in row) == row["decided"]
            assert not row["decided"] or row["accept"] == (row["u_draw"] < row["p_accept"])
            sums.update(
                shown=1,
                shown_750=int(row["counted"]),
                decided=int(row["decided"]),
                accepted=int(row.get("accept", False)),
                partial=int(row.get("partial", False)),
                shown_chars=len(str(row["proposal"])) * int(row["counted"]),
                cut=int(row["cut"] and not row["counted"]),
            )
        assert {key: value for key, value in sums.items() if value} == {
            key: run.tally.shadow[key] for key in sums if key in run.tally.shadow
        }
        by_length = [n for key, n in run.tally.shadow.items() if key.startswith("shown_from")]
        assert sums["shown_750"] == sum(by_length)
        cut += sums["cut"]
    assert cut > 0


def test_pairs_are_judged_at_the_same_requests() -> None:
    """Both shown and both judged, from the truth alone; the draws of a pair are one draw."""
    run = driven(USERS[1], CONFIG, "p1", engine("mixed"), engine("flipped"))
    asked = {
        e.detail["exposure"]: str(e.detail["request_id"]) for e in run.truths if e.kind is TruthKind.SHOWN
    }
    own = {asked[e.detail["exposure"]]: e.detail for e in run.truths if e.kind is TruthKind.DECISION}
    other = {name: e.detail for name, e in shades(run).items() if e.detail["decided"]}
    pairs = own.keys() & other.keys()
    assert all(own[name]["u_draw"] == other[name]["u_draw"] for name in pairs)
    assert any(own[name]["accept"] != other[name]["accept"] for name in pairs)
    assert run.tally.shadow["pairs"] == len(pairs) > 5
    assert run.tally.shadow["pairs_control"] == sum(bool(own[name]["accept"]) for name in pairs)
    assert run.tally.shadow["pairs_shadow"] == sum(bool(other[name]["accept"]) for name in pairs)


@settings(max_examples=12, deadline=None, suppress_health_check=CANNOT, derandomize=True)
@given(
    st.sampled_from(sorted(PROFILES)),
    st.integers(0, 99),
    st.lists(st.sampled_from(["oracle", "mixed", "flipped", "oracle_long", "empty", "never", "garbage"]),
             min_size=2, max_size=2),
)  # fmt: skip
def test_engines_that_change_their_mind(name: str, seed: int, what: list[str]) -> None:
    """Either engine is one of two by a keyed draw per request: they agree, disagree, fail, are silent."""

    def turns(key: int) -> StandIn:
        def answer(ask: Ask) -> str | None:
            return engine(what[rng.unit(seed, key, ask.request_id) < 0.5]).complete(ask)

        return StandIn("turns", "1", answer)

    config = with_client(name, seed=seed, trust_drift=True)
    alone = driven(USERS[0], config, "p1", turns(1), None)
    both = driven(USERS[0], config, "p1", turns(1), turns(2))
    assert alone.truths == of_control(both.truths)
    assert (alone.asks, alone.reports) == (both.asks, both.reports)
    found = Counter(both.tally.shadow)
    assert found["accepted"] + found["partial"] <= found["decided"] <= found["shown"]
    assert found["accepted"] <= found["shown_750"] <= found["shown_250"] <= found["shown"]
    assert len(shades(both)) == found["shown"] or name == "llama.vim"
    answered = found["answered"] + found["silent"] + found["failed"]
    assert answered == both.tally.requests - both.tally.cancelled
