"""A rollout when something is not there, is changed by others, or dies halfway."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from echo_ray.errors import ConfigError
from jobs import rollout_arms, rollout_moves, rollout_state
from jobs.__main__ import main
from tests import live_rollout, tiny
from tests.live_rollout import HOUR_MS, Hands

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    home = tmp_path_factory.mktemp("models")
    return tuple(tiny.write_model(home / f"m{seed}", seed=seed) for seed in (1, 2, 3))


@pytest.fixture
def at(models: tuple[Path, ...], tmp_path: Path) -> Iterator[Hands]:
    with live_rollout.hands(models, tmp_path) as made:
        yield made


class Killed(BaseException):
    """What a process dies of."""


def moved(at: Hands, **changes: Any) -> None:
    """The state on the disk with other values, as if it had been written so."""
    found = rollout_state.must_load(at.output)
    rollout_state.save(at.output, found.updated(**changes))


def killed(monkeypatch: pytest.MonkeyPatch, where: Any, name: str) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(where, name, die)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["start"], "rollout.candidate is not set"),
        (["start", "rollout.candidate={root}/model-a"], "is no version of a registry"),
        (["start", "rollout.candidate={root}/none@v2"], "is no registry yet"),
        (["start", "rollout.candidate={root}/registry@v9"], "rollout.candidate={root}/registry@v9 is not in"),
        (["start", "rollout.candidate={root}/registry@champion"], "the champion already"),
        (["start", "rollout.candidate={root}/registry@v2", "rollout.alias=other"], "other of"),
        (["start", "rollout.candidate={root}/registry@v2", f"rollout.url={NOWHERE}"], "no service answers"),
        (["watch", "rollout.log={root}"], "holds no rollout: begin one with"),
        (["promote"], "holds no rollout"),
        (["rollback"], "holds no rollout"),
        (["status"], "holds no rollout"),
        (["dance"], "rollout.action=dance is not one of"),
        (["start", "rollout.share=1"], "rollout.share"),
    ],
)
def test_mistakes_are_one_sentence(at: Hands, capsys: Any, words: list[str], said: str) -> None:
    found = [word.format(root=at.root) for word in words]
    if not any(word.startswith("rollout.url") for word in found):
        found.append(f"rollout.url={at.url}")
    assert 2 == main(["rollout", *found, f"rollout.output={at.output}"])
    error = capsys.readouterr().err
    assert said.format(root=at.root) in error
    assert (1, False) == (error.count("\n"), "Traceback" in error)
    assert {"base": "v1"} == at.live()
    assert not (at.output / rollout_state.STATE).exists()


def test_a_service_that_serves_something_else_is_left_alone(at: Hands) -> None:
    at.put(arms={"base": {}, "other": {"model": str(at.registry.version("v3").model)}})
    with pytest.raises(ConfigError, match="and champion is v1"):
        at.start()
    at.put(arms={"base": {}}, on=False)
    with pytest.raises(ConfigError, match="is switched off: echo-ray arms on"):
        at.start()
    at.registry.unset("champion")
    with pytest.raises(ConfigError, match="points nowhere, so there is no control"):
        at.start()


@pytest.mark.parametrize("arms", [{"control": {}}, {"control": {}, "treatment": {"weight": 5}}])
def test_a_plan_that_somebody_changed_ends_the_watch_and_stays(at: Hands, arms: dict[str, Any]) -> None:
    at.start()
    at.waits = [lambda: at.put(arms=arms)]
    with pytest.raises(ConfigError, match="is not the plan of this rollout"):
        at.watch()
    assert set(arms) == set(at.live())
    assert "running" == at.state()["phase"]
    # Begun anew, its span begins anew.
    before = at.state()["start_ms"]
    assert before < (at.start().start_ms or 0)
    assert {"control": "v1", "treatment": "v2"} == at.live()


def test_arms_of_somebody_else_are_not_promoted_over_and_not_taken_back(at: Hands) -> None:
    at.start()
    at.put(arms={"control": {}, "treatment": {}, "x": {"model": str(at.registry.version("v3").model)}})
    for change in (at.promote, at.start):
        with pytest.raises(ConfigError, match="is no version of this rollout"):
            change()
    at.roll_back()
    assert {"control": "v1", "x": "v3"} == at.live()


def test_an_alias_that_somebody_moved_is_not_promoted_over(at: Hands) -> None:
    at.start()
    at.registry.promote("v3")
    with pytest.raises(ConfigError, match="points to v3, and pointed to v1"):
        at.promote()
    assert ("running", "v3") == (at.state()["phase"], at.champion())
    at.roll_back()
    assert ({"control": "v1"}, "v3") == (at.live(), at.champion())


def test_a_service_that_is_away_is_tried_again(at: Hands, capsys: Any) -> None:
    at.start()
    moved(at, url=NOWHERE)
    at.feed((0.6, 0.25))
    at.waits = [lambda: None, lambda: moved(at, url=at.url)]
    ended = at.watch()
    assert "rolled_back" == ended.phase.value
    lines = capsys.readouterr().out.splitlines()
    assert "no service answers at http://127.0.0.1:9" in lines[0]
    assert "taken back" in lines[0]
    assert all("not done yet: no service answers" in line for line in lines[1:3])
    assert ({"control": "v1"}, 1) == (at.live(), len(at.looks()))
    # The registry was put right meanwhile, once.
    assert [("note", f"rollout: taken back, {ended.why}")] == at.notes()


def test_a_promoted_candidate_leaves_the_registry_even_when_the_service_is_away(at: Hands) -> None:
    at.start()
    at.promote()
    moved(at, phase="running", url=NOWHERE)
    with pytest.raises(ConfigError, match="no service answers"):
        at.roll_back()
    assert ("rolling_back", "v1") == (at.state()["phase"], at.champion())
    moved(at, url=at.url)
    assert "rolled_back" == at.roll_back().phase.value
    assert {"control": "v1"} == at.live()
    assert 1 == sum(what == "rollback" for what, _ in at.notes())


@pytest.mark.parametrize("where", ["registry", "arms", "state"])
def test_a_promotion_that_was_killed_is_completed(
    at: Hands, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    at.start()
    with monkeypatch.context() as patch:
        if where == "registry":
            killed(patch, type(at.registry), "promote")
        elif where == "arms":
            killed(patch, rollout_arms, "give_all")
        else:
            patch.setattr(rollout_moves, "save", _dying_at("promoted"))
        with pytest.raises(Killed):
            at.promote()
    assert "promoting" == at.state()["phase"]
    assert ("v1" if where == "registry" else "v2") == at.champion()
    ended = at.watch()  # which completes it before anything else
    assert ("promoted", "by hand") == (ended.phase.value, ended.why)
    assert ({"treatment": "v2"}, "v2", []) == (at.live(), at.champion(), at.looks())
    assert 1 == len(at.notes())


@pytest.mark.parametrize("where", ["arms", "registry", "state"])
@pytest.mark.parametrize("promoted", [False, True])
def test_a_rollback_that_was_killed_is_completed(
    at: Hands, monkeypatch: pytest.MonkeyPatch, where: str, promoted: bool
) -> None:
    at.start()
    if promoted:
        at.promote()
    with monkeypatch.context() as patch:
        if where == "arms":
            killed(patch, rollout_arms, "take_back")
        elif where == "registry":
            killed(patch, rollout_moves, "_marked")
        else:
            patch.setattr(rollout_moves, "save", _dying_at("rolled_back"))
        with pytest.raises(Killed):
            at.roll_back()
    assert "rolling_back" == at.state()["phase"]
    # The candidate leaves the users first, whatever the registry does.
    assert (where == "arms") == ("v2" in at.live().values())
    with pytest.raises(ConfigError, match="is rolling_back: complete it with echo-ray rollout rollback"):
        at.start()
    assert "rolled_back" == at.watch().phase.value
    assert ({"control": "v1"}, "v1") == (at.live(), at.champion())
    assert 1 == sum("taken back" in note for _, note in at.notes())


def _dying_at(phase: str) -> Any:
    def save(output: Path, state: rollout_state.State) -> rollout_state.State:
        if state.phase.value == phase:
            raise Killed
        return rollout_state.save(output, state)

    return save


def test_a_start_that_was_killed_goes_on_with_the_same_users(
    at: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in ("begin", "save"):
        with monkeypatch.context() as patch:
            if step == "begin":
                killed(patch, rollout_arms, "begin")
            else:
                patch.setattr(rollout_moves, "save", _dying_at("running"))
            with pytest.raises(Killed):
                at.start()
        salt = at.state()["salt"]
        with pytest.raises(ConfigError, match="has not begun: complete it with"):
            at.watch()
    assert ("running", salt) == (at.start().phase.value, at.state()["salt"])
    assert salt == at.service.gateway.plan.salt


def test_a_full_disk_keeps_nobody_on_a_harmful_candidate(at: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    at.start()
    at.feed((0.6, 0.25))

    def full(*_: Any) -> None:
        raise ConfigError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(rollout_moves, "save", full)
        patch.setattr(rollout_state, "append", full)
        patch.setattr(at, "wait", lambda seconds: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            at.watch()
    assert {"control": "v1"} == at.live()
    assert "running" == at.state()["phase"]


def test_torn_lines_and_broken_states(at: Hands, capsys: Any) -> None:
    at.start()
    at.now_ms += 5 * HOUR_MS
    (at.output / rollout_state.LOOKS).write_text('{"look": 1, "act', encoding="utf-8")
    at.watch()
    assert ["roll_back"] == [one["action"] for one in at.looks()]
    words = [f"rollout.output={at.output}", f"rollout.url={at.url}"]
    capsys.readouterr()
    assert 0 == main(["rollout", "rollout.format=json", *words])
    told = json.loads(capsys.readouterr().out)
    assert ("rolled_back", 1) == (told["phase"], told["looks"])
    for text in ("{", "[]", '{"phase": "dancing"}', "\xff"):
        (at.output / rollout_state.STATE).write_text(text, encoding="latin-1")
        assert 2 == main(["rollout", *words])
        assert "is not what a rollout writes" in capsys.readouterr().err
