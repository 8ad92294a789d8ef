"""A crew with two engines: what it asks, what stands on disk, how it fails."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echo_ray.errors import ServeError
from simulator import doubles
from simulator.desk.developer import Developer
from simulator.engines import StandIn
from simulator.fleet import client, ledger
from simulator.fleet.client import CompletionClient
from simulator.fleet.crew import Completer, Crew, InProcess, Shadowed
from simulator.judge import measure
from simulator.rules.policies import named
from simulator.steps import Ask
from tests.test_sim_shadow import CONFIG, USERS, driven, engine, work


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
