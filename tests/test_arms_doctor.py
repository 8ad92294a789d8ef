"""The verbs that look at and change a running service, and the one that looks at the machine."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from echo_ray.access import keys
from jobs.__main__ import main
from tests import gateways, tiny
from tests.gateways import Engine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("arms"))


@pytest.fixture
def url(model: Path, tmp_path: Path) -> Iterator[str]:
    with gateways.service(model, tmp_path / "log", Engine()) as service, gateways.listening(service) as found:
        yield found


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert 0 == main([*words, f"{words[0]}.format=json"])
    return json.loads(capsys.readouterr().out)


def test_a_plan_is_shown_changed_and_switched(
    url: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = f"arms.url={url}"
    assert {"m-1"} == {arm["version"] for arm in told(capsys, "arms", at)["arms"].values()}
    assert told(capsys, "arms", "off", at)["on"] is False
    assert told(capsys, "arms", "on", at)["on"] is True
    other = tiny.write_model(tmp_path / "other", seed=3)
    plan = f"arms.plan={{base: {{weight: 3}}, new: {{model: {other}, weight: 1}}}}"
    changed = told(capsys, "arms", "set", plan, at)
    assert {"base": 3, "new": 1} == {name: arm["weight"] for name, arm in changed["arms"].items()}
    assert str(other) == changed["arms"]["new"]["model"]
    assert 0 == main(["arms", at])
    text = capsys.readouterr().out
    assert "75.0%" in text
    assert "25.0%" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["arms", "arms.url=http://127.0.0.1:9"], "no service answers at http://127.0.0.1:9"),
        (["arms", "arms.url=here"], "arms.url=here is no address"),
        (["arms", "set"], "arms.plan is not set"),
        (["arms", "set", "arms.plan={a: {model: /none}}"], "change arms.plan.a.model"),
        (["arms", "sing"], "arms.action=sing is not one of"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main(words)
    error = capsys.readouterr().err
    assert said in error
    assert 1 == error.count("\n")


def test_a_plan_that_the_service_refuses_is_one_sentence(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main(["arms", "set", "arms.plan={new: {weight: 1}}", f"arms.url={url}"])
    assert "arms.new.model must be the folder of a model" in capsys.readouterr().err


def test_only_an_administrators_key_changes_a_plan(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys.yaml"
    tokens = {}
    for name, admin in (("dev", False), ("boss", True)):
        tokens[name], key = keys.issue(name, "team", admin=admin)
        keys.add(file, key)
    with (
        gateways.service(model, tmp_path / "log", Engine(), keys_file=file) as service,
        gateways.listening(service) as url,
    ):
        for name, status in ((None, 2), ("dev", 2), ("boss", 0)):
            monkeypatch.setenv("ECHO_RAY_API_KEY", tokens.get(name or "", ""))
            assert status == main(["arms", "off", f"arms.url={url}"])
        assert 0 == main(["arms", "on", f"arms.url={url}"])
    said = capsys.readouterr().err
    assert "no API key" in said
    assert "the key dev is not an administrator's" in said
    assert not any(token in said for token in tokens.values())


def test_a_sound_machine_and_service_pass(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    words = [
        f"doctor.url={url}",
        f"serve.port={port}",
        f"doctor.folder={tmp_path}",
        "cluster.min_memory_gb=0",
    ]
    found = {check["name"]: check for check in told(capsys, "doctor", *words)}
    assert set() == {name for name, check in found.items() if check["verdict"] == "fail"}
    assert "serves base: m-1" == found["service"]["said"]


def test_what_is_wrong_is_found_and_the_exit_status_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readable = tmp_path / "keys.yaml"
    readable.write_text("[]")
    readable.chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = [
            f"serve.port={taken.getsockname()[1]}",
            f"serve.keys_file={readable}",
            "serve.model=/none",
            "doctor.url=http://127.0.0.1:9",
            "cluster.min_memory_gb=100000",
            "doctor.min_disk_gb=1e9",
        ]
        assert 1 == main(["doctor", "doctor.format=json", *words])
    found = {check["name"]: check["verdict"] for check in json.loads(capsys.readouterr().out)}
    wrong = {name for name, verdict in found.items() if verdict == "fail"}
    assert {"memory", "model", "API keys", "service", "kill switch"} == wrong
    assert "warn" == found["disk"]
    assert ["warn"] == [verdict for name, verdict in found.items() if name.startswith("port")]
