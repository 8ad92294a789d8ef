"""A rollout against a real HTTP service with stand-in engines: what its arms and the registry see of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from echo_ray.errors import ConfigError
from jobs.__main__ import main
from tests import live_rollout, tiny
from tests.live_rollout import HOUR_MS, Hands

NOTHING, WORSE, BETTER = (0.4, 0.4), (0.6, 0.25), (0.25, 0.6)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    home = tmp_path_factory.mktemp("models")
    return tuple(tiny.write_model(home / f"m{seed}", seed=seed) for seed in (1, 2, 3))


@pytest.fixture
def at(models: tuple[Path, ...], tmp_path: Path) -> Iterator[Hands]:
    with live_rollout.hands(models, tmp_path) as made:
        yield made


def test_a_better_candidate_is_promoted_at_the_planned_end_and_not_before(at: Hands, capsys: Any) -> None:
    state = at.start()
    assert {"control": "v1", "treatment": "v2"} == at.live()
    assert state.ends_ms - state.start_ms == 4 * HOUR_MS
    at.feed(BETTER)
    ended = at.watch()
    assert ("promoted", "improved, and nothing else is worse") == (ended.phase.value, ended.why)
    looks = at.looks()
    assert ["go_on"] * 4 + ["promote"] == [one["action"] for one in looks]
    assert [1, 2, 3, 4, 5] == [one["look"] for one in looks]
    assert [False] * 4 + [True] == [one["ended"] for one in looks]
    assert {"treatment": "v2"} == at.live()
    assert "v2" == at.champion()
    assert [("promote", "rollout: improved, and nothing else is worse")] == at.notes()
    lines = capsys.readouterr().out.splitlines()
    assert 5 == len(lines)
    assert "look 1: 40 and 40 users, AR +3" in lines[0]
    assert lines[0].endswith("goes on")
    assert "no new request in rollout.log=" in lines[1]
    assert lines[-1].endswith("promoted (improved, and nothing else is worse)")
    # Nothing of the log stays, and no user is named.
    assert {".lock", "looks.jsonl", "rollout.json"} == {path.name for path in at.output.iterdir()}
    assert not any(b"u00" in path.read_bytes() for path in at.output.iterdir())


def test_harm_is_taken_back_at_the_first_look_that_shows_it(at: Hands) -> None:
    at.start()
    at.waits = [lambda: at.feed(WORSE)]
    ended = at.watch()
    assert "rolled_back" == ended.phase.value
    assert "acceptance_rate is harmed" in ended.why
    first, second = at.looks()
    assert (0, "go_on", False) == (first["requests"], first["action"], first["ended"])
    assert f"rollout.log={at.log} holds no log file" in first["trouble"]
    assert ("roll_back", False, True) == (
        second["action"],
        second["ended"],
        second["metrics"]["acceptance_rate"]["harmed"],
    )
    assert {"control": "v1"} == at.live()
    assert "v1" == at.champion()
    assert [("note", f"rollout: taken back, {ended.why}")] == at.notes()


@pytest.mark.parametrize(("fed", "why"), [(True, "no change shown by"), (False, "no analysis by")])
def test_without_a_claim_at_the_end_the_candidate_is_taken_back(at: Hands, fed: bool, why: str) -> None:
    at.start(looks=2, every_s=1800)
    if fed:
        at.feed(NOTHING)
    ended = at.watch(every_s=1800)
    assert ("rolled_back", True) == (ended.phase.value, ended.why.startswith(why))
    assert [False, False, True] == [one["ended"] for one in at.looks()]
    assert ({"control": "v1"}, "v1") == (at.live(), at.champion())


def test_arms_that_lost_their_users_are_taken_back(at: Hands) -> None:
    at.start(share=0.1)
    at.feed(NOTHING)  # half of the users are in either arm
    ended = at.watch()
    assert ("rolled_back", "the arms did not get their users") == (ended.phase.value, ended.why)
    assert 1 == len(at.looks())


def test_requests_before_the_start_and_after_the_end_do_not_count(at: Hands) -> None:
    at.feed(WORSE, seed=1)
    at.now_ms += HOUR_MS
    at.start(max_hours=1)
    at.feed(NOTHING, seed=2)
    inside = sum(1 for line in (at.log / "part-2.jsonl").open() if '"record": "request"' in line)
    at.now_ms += 2 * HOUR_MS
    at.feed(WORSE, seed=3)
    ended = at.watch()
    [look] = at.looks()
    assert inside == look["requests"]
    assert "no change shown by the planned end" == ended.why


def test_what_is_done_by_hand_is_done_once_and_undone(at: Hands, capsys: Any) -> None:
    at.start()
    assert at.start() == at.start()
    promoted = at.promote()
    assert promoted == at.promote()
    assert ({"treatment": "v2"}, "v2") == (at.live(), at.champion())
    gone = at.roll_back()
    assert gone == at.roll_back()
    assert ({"control": "v1"}, "v1") == (at.live(), at.champion())
    assert [("promote", "rollout: by hand"), ("rollback", "rollout: taken back, by hand")] == at.notes()
    with pytest.raises(ConfigError, match="v2 cannot be promoted, its rollout is rolled_back"):
        at.promote()
    with pytest.raises(ConfigError, match="begin another one with its own"):
        at.start()
    words = [f"rollout.output={at.output}", f"rollout.url={at.url}"]
    capsys.readouterr()
    assert 0 == main(["rollout", "status", *words])
    said = capsys.readouterr().out
    assert "state      rolled back: by hand" in said
    assert "control model-" in said
    assert 0 == main(["rollout", "rollback", *words])
    assert 2 == main(["rollout", "promote", *words])


def test_every_rollout_draws_its_own_users(at: Hands, tmp_path: Path) -> None:
    first = at.start()
    at.roll_back()
    second = at.start(output=tmp_path / "second", candidate=f"{at.registry.root}@v3")
    assert first.salt != second.salt
    assert second.salt == at.service.gateway.plan.salt
    assert {"control": "v1", "treatment": "v3"} == at.live()
    # The first one is over: taking it back again is none of the second one's business.
    at.roll_back()
    assert {"control": "v1", "treatment": "v3"} == at.live()
