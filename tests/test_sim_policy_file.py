import json

import pytest

from echo_ray.errors import ConfigError
from simulator.rules import policies, policy, policy_file

FIGURES = {"calibrated": {"shift": 0.3, "acceptance_rate": 0.257}, "met": True}


@pytest.fixture
def frozen(tmp_path):
    path = tmp_path / "policies" / "p1.json"
    policy_file.freeze(path, "p1", 0.3, baseline="base@0123", figures=FIGURES)
    return path


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def sealed(path, **changes):
    """What somebody would write who knows the format: the hash is right for the changed content."""
    content = json.loads(path.read_text()) | changes
    content.pop("hash")
    path.write_text(json.dumps(content | {"hash": policy_file._hash(content)}))


@pytest.mark.parametrize("name", ["p1", "p2", "p3", "p5", "p1-shrunken", "p1-draw-4-19"])
def test_a_frozen_policy_comes_back(tmp_path, name):
    path = tmp_path / f"{name}.json"
    written = policy_file.freeze(path, name, -0.25, baseline="m", figures=FIGURES)
    assert written == policy.load(str(path)) == policies.named(name, -0.25)
    assert (name, -0.25) == (written.name, written.shift)
    assert written.hash == policy.load(str(path)).hash != policy.load(name).hash


def test_the_file_says_what_was_done(frozen):
    content = json.loads(frozen.read_text())
    assert {"policy", "shift", "rule_hash", "baseline", "figures", "hash"} == set(content)
    assert ("p1", 0.3, "base@0123", FIGURES) == tuple(
        content[key] for key in ("policy", "shift", "baseline", "figures")
    )
    assert policy.policy_hash() == content["rule_hash"]


def test_writing_it_anew_by_another_program_changes_nothing(frozen):
    before = policy.load(str(frozen))
    frozen.write_text(json.dumps(json.loads(frozen.read_text()), sort_keys=True))
    assert before == policy.load(str(frozen))


@pytest.mark.parametrize(
    "changes",
    [{"shift": 0.4}, {"policy": "p2"}, {"baseline": "other"}, {"rule_hash": "0"}, {"figures": {}}],
)
def test_a_changed_file_is_refused(frozen, changes):
    rewrite(frozen, **changes)
    with pytest.raises(ConfigError, match=r"simulate\.policy: .* was changed after calibration") as refusal:
        policy.load(str(frozen))
    assert "\n" not in str(refusal.value)


def test_other_rules_are_refused(frozen):
    sealed(frozen, rule_hash="0123456789abcdef")
    with pytest.raises(ConfigError, match=r"with rules 0123456789abcdef, .*calibrate again"):
        policy.load(str(frozen))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shift": 1.5}, "between -1 and 1, got 1.5"),
        ({"shift": "0.3"}, "a name and a number"),
        ({"shift": True}, "a name and a number"),
        ({"policy": "p7"}, "must be one of p1"),
        ({"extra": 1}, "and nothing else"),
    ],
)
def test_a_wrong_file_is_refused(frozen, changes, reason):
    sealed(frozen, **changes)
    with pytest.raises(ConfigError, match=reason):
        policy.load(str(frozen))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null"])
def test_what_is_no_frozen_file_is_refused(tmp_path, text):
    path = tmp_path / "p1.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"simulate\.policy"):
        policy.load(str(path))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"simulate\.policy: .*No such file"):
        policy.load(str(tmp_path / "none.json"))


def test_a_shift_beyond_one_is_never_written(tmp_path):
    for name, shift in (("p1", 1.2), ("p4", 0.1), ("p8", 0.0)):
        with pytest.raises(ConfigError, match=r"simulate\.policy"):
            policy_file.freeze(tmp_path / "p.json", name, shift, baseline="m", figures={})
    assert not list(tmp_path.iterdir())


def test_a_frozen_file_is_known_by_its_ending(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"must be a \.json file"):
        policy_file.freeze(tmp_path / "p1", "p1", 0.1, baseline="m", figures={})
    (tmp_path / "p1").write_text("not a policy")
    assert policies.P1() == policy.load("p1")
