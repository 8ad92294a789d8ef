"""What a simulation's truth says about its requests."""

import json
from pathlib import Path

import pytest

from echo_ray.errors import ConfigError
from echo_ray.schema import EndReason
from simulator import doubles, witness
from simulator.assistant import Ask
from simulator.config import SimulateConfig
from simulator.developer import Developer
from simulator.sources import load
from simulator.truth import Truth, TruthKind
from simulator.work import plan


def simulated(tmp_path: Path) -> tuple[Path, list[Ask], list[Truth]]:
    """A truth file of one developer without a model, the requests, and the truth events."""
    config = SimulateConfig(
        sources=["json", "asyncio"], sessions_per_user=2, files_per_session=2, items_per_file=2
    )
    items = plan(config, load(config, "train"), "u")
    _, asks, truths = doubles.drive(Developer(config, "u", items), doubles.oracle(items))
    path = tmp_path / "truth.jsonl"
    rows = [{"kind": "run", "arm": None}, *(event.row() for event in truths)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path, asks, truths


def test_the_truth_of_a_simulation_answers_for_every_request(tmp_path: Path) -> None:
    path, asks, truths = simulated(tmp_path)
    told = witness.read(path, "compare.truth", 300_000)
    assert told.arm is None
    assert {("u", ask.ts_ms) for ask in asks} == set(told.requests)
    assert [len(ask.prefix) for ask in asks] == [told.requests["u", ask.ts_ms].cursor for ask in asks]
    accepted = sum(event.kind is TruthKind.ACCEPTED for event in truths)
    assert accepted == sum(request.accepted for request in told.requests.values()) > 0
    judged = [request for request in told.requests.values() if request.intent]
    whole = sum(request.gap.text == request.intent for request in judged)
    assert whole > len(judged) / 2
    for request in judged:
        if request.gap.reason is EndReason.FILE_SWITCH:  # nobody leaves before all is written
            assert request.intent == request.gap.text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "compare.truth={path} does not exist"),
        ("", "does not begin like a truth file"),
        ('{"request_id": "r"}\n', "does not begin like a truth file"),
        ('{"kind": "run"}\nnot json\n', "line 2 is not a JSON object"),
        ('{"kind": "run"}\n{"kind": "edit", "user": "u"}\n', "is not a truth file of this version: KeyError"),
    ],
)
def test_what_is_no_truth_is_one_sentence(text: str | None, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        witness.read(path, "compare.truth", 1000)
    assert sentence.format(path=path) in str(caught.value)
    assert "\n" not in str(caught.value)
