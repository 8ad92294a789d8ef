"""The shadow on real developers: the control notices nothing, and a shade is what a real fork would show."""

import asyncio
import itertools
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echo_ray import rng
from echo_ray.errors import ServeError
from simulator import doubles, engines
from simulator.config import SimulateConfig
from simulator.desk.clients import PROFILES
from simulator.desk.developer import Developer
from simulator.doubles import Driven
from simulator.engines import Engine, Material, StandIn
from simulator.fleet import client, ledger
from simulator.fleet.client import CompletionClient
from simulator.fleet.crew import Completer, Crew, InProcess, Shadowed
from simulator.judge import measure
from simulator.rules.policies import named
from simulator.steps import Ask
from simulator.truth import Truth, TruthKind
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


# --- a crew with two engines -------------------------------------------------------------------------------


def let_work(folder: Path, completer: Completer) -> None:
    ledger.prepare(folder, "mark")

    def flow(user: str):  # type: ignore[no-untyped-def]
        return Developer(CONFIG, work(user), named("p1")).run()

    crew = Crew(
        folder, flow, lambda user: {"kind": "run", "arm": "base", "user": user}, completer, arm="base"
    )
    asyncio.run(crew.work(USERS))


def rows(folder: Path, place: str) -> list[dict[str, Any]]:
    where = ledger.log_folder(folder) if place == "log" else folder / ledger.TRUTH
    return [row for user in USERS for row in ledger.rows(where / f"{user}{ledger.ENDING}")]


def test_log_and_truth_on_disk_are_the_same_but_for_the_shadow(tmp_path: Path) -> None:
    control, shadow = InProcess(engine("mixed")), InProcess(engine("flipped"))
    let_work(tmp_path / "alone", control)
    let_work(tmp_path / "both", Shadowed(control, shadow))
    for user in USERS:
        logs = [ledger.log_folder(tmp_path / name) / f"{user}{ledger.ENDING}" for name in ("alone", "both")]
        assert logs[0].read_bytes() == logs[1].read_bytes()
    told = rows(tmp_path / "both", "truth")
    assert rows(tmp_path / "alone", "truth") == [row for row in told if row["kind"] != "shadow"]
    tallies = ledger.tallies(tmp_path / "both", USERS)
    assert sum(row["kind"] == "shadow" for row in told) == sum(tally.shadow["shown"] for tally in tallies) > 0
    alone = ledger.tallies(tmp_path / "alone", USERS)
    assert alone == [replace(tally, shadow={}) for tally in tallies]
    # What a run looks like beside real developers is the same, too.
    alike = [repr(measure.measure(rows(tmp_path / name, "truth"))) for name in ("alone", "both")]
    assert alike[0] == alike[1]


def test_over_http_both_are_asked_with_the_same_bytes_and_aborts_reach_the_control_alone(
    tmp_path: Path,
) -> None:
    asks = [ask for user in USERS for ask in driven(user, CONFIG, "p1", engine("mixed"), None).asks]
    let_work(tmp_path / "place", Shadowed(InProcess(engine("mixed")), InProcess(engine("flipped"))))
    config = CONFIG.updated(cancel_after_ms=200)
    control = doubles.Remembering(engine("mixed"), asks)
    shadow = doubles.Remembering(engine("flipped"), asks)
    with doubles.serving(control) as own, doubles.serving(shadow, delay_s=0.005) as other:

        async def main() -> None:
            async with client.session() as http:
                completers = [
                    CompletionClient(http, double.url, config, arm)
                    for double, arm in ((own, "base"), (other, "echo"))
                ]
                ledger.prepare(tmp_path / "http", "mark")
                crew = Crew(
                    tmp_path / "http",
                    lambda user: Developer(config, work(user), named("p1")).run(),
                    lambda user: {"kind": "run", "arm": "base", "user": user},
                    Shadowed(*completers),
                    arm="base",
                    concurrency=2,
                )
                await crew.work(USERS)

        asyncio.run(main())
    for place in ("log", "truth"):
        assert rows(tmp_path / "place", place) == rows(tmp_path / "http", place)
    sent = {(row["user"], row["ts_ms"], row["prefix"], row["suffix"]) for row in own.records}
    asked = {(row["user"], row["ts_ms"], row["prefix"], row["suffix"]) for row in other.records}
    aborted = {(ask.user, ask.ts_ms, ask.prefix, ask.suffix) for ask in asks if ask.cancelled}
    assert aborted
    assert sent - aborted == asked
    assert ({"base"}, {"echo"}) == ({r["arm"] for r in own.records}, {r["arm"] for r in other.records})


@pytest.mark.parametrize("broken", ["control", "shadow"])
def test_either_engine_that_fails_for_good_ends_the_run(broken: str, tmp_path: Path) -> None:
    def fails(ask: Ask) -> str:
        raise ServeError(f"the {broken} is gone")

    good, bad = InProcess(engine("mixed")), InProcess(StandIn("bad", "1", fails))
    both = Shadowed(bad, good) if broken == "control" else Shadowed(good, bad)
    with pytest.raises(ServeError, match=f"the {broken} is gone"):
        let_work(tmp_path, both)
    assert list(USERS) == ledger.left(tmp_path, USERS)
