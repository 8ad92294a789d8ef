"""The verb `replay`: contexts of a log, mistakes, what stands beside the prediction, and the whole of it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echo_ray import config, schema
from echo_ray.errors import ConfigError
from echo_ray.ledger import people
from echo_ray.log.partition import ImportConfig, one_by_one, partition
from echo_ray.stages.mine import MineConfig, mine
from jobs import replay, replay_contexts, replay_page
from jobs.__main__ import main
from jobs.evaluate import Answered, Model
from jobs.evaluate_engines import PREDICTIONS
from jobs.replay_measured import matched, overlap, read
from jobs.settings import RunConfig
from tests.served import Served, served
from tests.tiny import write_model


class Place:
    """A log of one arm or two, and the samples mined from it."""

    def __init__(self, folder: Path, log: Served) -> None:
        self.truth = log.truth
        self.raw = log.write(folder / "raw")
        self.log = folder / "log"
        partition(ImportConfig(), self.raw, self.log, "import.input", one_by_one)
        self.input = folder / "mined"
        self.input.mkdir()
        for path in sorted(self.log.glob("part-*.parquet")):
            pq.write_table(mine(pq.read_table(path), MineConfig()), self.input / path.name)
        self.output = folder / "out"

    def words(self, *more: str) -> list[str]:
        places = (f"replay.{name}={getattr(self, name)}" for name in ("log", "input", "output"))
        return ["replay", *places, "replay.resamples=100", "serve.context_tokens=100", *more]

    def config(self, *more: str) -> RunConfig:
        return config.load(RunConfig, None, self.words(*more)[1:])


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, served(12, 30, rates=(0.4, 0.4), names=("old", "old")))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def gather(place: Place, *more: str, trained: Any = lambda user: False) -> tuple[Any, list[dict[str, Any]]]:
    settings = place.config(*more)
    assert settings.replay.log is not None
    manifest = replay_contexts.gather(settings, place.input, settings.replay.log, place.output, "", trained)
    return manifest, rows_of(place.output / "contexts")


def complaint(capsys: Any, words: list[str]) -> str:
    capsys.readouterr()
    assert 2 == main(words)
    told: str = capsys.readouterr().err
    assert 1 == told.count("\n")
    return told


# --- contexts


def test_every_sample_is_a_context_or_has_a_reason_and_outcomes_are_those_of_the_log(place: Place) -> None:
    manifest, rows = gather(place)
    assert manifest.rows_in == manifest.rows_out + sum(manifest.drops.values())
    assert manifest.rows_out == len(rows)
    assert {"model-old"} == set(manifest.notes["models"])
    users = {row["user"]: row for row in rows_of(place.output / "users")}
    assert set(place.truth) == set(users)
    for user, truth in place.truth.items():
        for name in ("shown", "accepted", "accepted_chars", "typed_chars"):
            assert truth[name] == users[user][name]
    told = {row["user"]: [one for one in rows if one["user"] == row["user"]] for row in rows}
    for user, own in told.items():
        assert sum(one["accepted"] for one in own) == place.truth[user]["accepted"]
        assert sum(one["shown"] for one in own) == place.truth[user]["shown"]
    taken = [row for row in rows if row["accepted"]]
    assert taken
    # An accepted proposal stands in what was written.
    assert all(row["target"].startswith(row["proposal"]) for row in taken)


def test_a_raw_log_gives_the_same_contexts_and_leaves_no_copy(place: Place, tmp_path: Path) -> None:
    _, rows = gather(place)
    place.output = tmp_path / "other"
    place.log = place.raw
    _, again = gather(place)
    assert rows == again
    assert {"contexts", "users", ".running"} == {path.name for path in place.output.iterdir()}


def test_contexts_are_kept_until_what_decides_them_changes(place: Place) -> None:
    gather(place)
    before = {path: path.stat().st_mtime_ns for path in place.output.rglob("*.parquet")}
    gather(place)
    assert before == {path: path.stat().st_mtime_ns for path in place.output.rglob("*.parquet")}
    gather(place, "replay.acceptance=stream")
    assert before != {path: path.stat().st_mtime_ns for path in place.output.rglob("*.parquet")}


def test_users_of_a_training_are_left_out_everywhere(place: Place) -> None:
    manifest, rows = gather(place, trained=lambda user: user < "u0004")
    assert {f"u{n:04d}" for n in range(4, 12)} == {row["user"] for row in rows}
    assert 8 == len(rows_of(place.output / "users"))
    assert manifest.drops["trained_user"] > 0


def test_the_other_arm_is_no_context(tmp_path: Path) -> None:
    place = Place(tmp_path, served(8, 30, rates=(0.4, 0.4)))
    _, rows = gather(place, "replay.arm=new")
    assert {f"u{n:04d}" for n in range(1, 8, 2)} == {row["user"] for row in rows}


def test_what_a_later_stage_refused_is_a_context_and_what_nobody_saw_is_none(place: Place) -> None:
    for path in place.input.glob("*.parquet"):
        table = pq.read_table(path)
        drop = ["unobserved" if n % 5 == 0 else "syntax_error" for n in range(table.num_rows)]
        at = table.schema.get_field_index("drop")
        pq.write_table(table.set_column(at, "drop", pa.array(drop)), path)
    manifest, rows = gather(place)
    assert manifest.drops["unobserved"] >= manifest.rows_in // 5
    assert rows


# --- mistakes


def test_what_cannot_work_is_refused_in_one_sentence(
    place: Place, tmp_path: Path, tiny_model: Path, capsys: Any
) -> None:
    candidate = f"replay.candidates=[{tiny_model}]"
    (tmp_path / "no.json").write_text("{}", encoding="utf-8")
    for words, wanted in [
        (["replay"], "replay.input is not set"),
        (place.words(), "replay.candidates is empty"),
        (place.words("replay.candidates=[/no/such/model]"), "change replay.candidates"),
        (place.words(candidate, "replay.control=/no/such/model"), "change replay.control"),
        (place.words(candidate, "replay.log=/no/such/log"), "replay.log=/no/such/log"),
        (place.words(candidate, f"replay.output={place.log}/x"), "lies in replay.log"),
        (place.words(candidate, "replay.arm=blue"), "replay.arm=blue is no arm of the log: its arms are old"),
        (place.words(candidate, "serve.silence_below=0.3"), "serve.silence_below=0.3"),
        (place.words(candidate, "serve.context_tokens=5000"), "is made for 1024 tokens"),
        (place.words(candidate, "replay.measured=[/no/such/report]"), "replay.measured=/no/such/report"),
        (place.words(candidate, f"replay.measured=[{tmp_path}/no.json]"), "is no report of experiment"),
    ]:
        assert wanted in complaint(capsys, words)
        assert not place.output.exists()


def test_logs_that_nothing_can_be_learned_from(tmp_path: Path, tiny_model: Path, capsys: Any) -> None:
    candidate = f"replay.candidates=[{tiny_model}]"
    for name, log, more, wanted in [
        ("two", served(4, 12), (), "has several arms"),
        ("never", served(4, 12, rates=(0, 0), names=("a", "a")), (), "shows no accepted proposal"),
        (
            "mute",
            served(4, 12, events=False, names=("a", "a")),
            ("replay.acceptance=events",),
            "set replay.acceptance=stream",
        ),
    ]:
        (tmp_path / name).mkdir()
        place = Place(tmp_path / name, log)
        assert wanted in complaint(capsys, place.words(candidate, *more))
        assert not place.output.exists()


def test_other_samples_and_known_users_are_refused(place: Place, tmp_path: Path, capsys: Any) -> None:
    model = write_model(tmp_path / "train" / "model", seed=1)
    people.write_users(tmp_path / "train", sorted(place.truth), "salt")
    words = place.words(f"replay.candidates=[{model}]")
    assert "trained on all 12 users" in complaint(capsys, words)
    (tmp_path / "else").mkdir()
    other = Place(tmp_path / "else", served(3, 12, begin_id="x", names=("old", "old")))
    place.input = other.input
    told = complaint(capsys, place.words(f"replay.candidates=[{model}]", "evaluate.trained_users=true"))
    assert "no sample of" in told
    assert "not_of_the_control" in told
    assert not place.output.exists()


# --- the prediction, from answers that are there


def answered(place: Place, rows: list[dict[str, Any]], texts: dict[str, list[str]]) -> Answered:
    """Models that said `texts`, by label."""
    places = {}
    for label, said in texts.items():
        folder = places[label] = place.output / "predictions" / label
        folder.mkdir(parents=True)
        table = [
            {"sample_id": row["sample_id"], "user": row["user"], "answer": text, "finished": True}
            | {"special_tokens": 0}
            for row, text in zip(rows, said, strict=True)
        ]
        pq.write_table(pa.Table.from_pylist(table, schema=PREDICTIONS), folder / "part-00000.parquet")
    models = [Model(label, f"/{label}", f"/{label}", f"{n:010x}", "own") for n, label in enumerate(texts)]
    return Answered(models, pa.Table.from_pylist(rows), None, places)  # type: ignore[arg-type]


def report(folder: Path, name: str, estimate: float, treatment: str, control: str = "old") -> Path:
    rate = {"estimate": estimate, "ci95": [estimate - 0.01, estimate + 0.01]}
    arm = {"acceptance_rate": 0.2, "generation_rate": 0.3}
    value = {
        "arms": {
            "control": arm | {"models": {control: 9}},
            "treatment": arm | {"models": {treatment: 9}},
        },
        "difference": {"acceptance_rate": rate, "generation_rate": rate},
    }
    (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return folder / name


def test_who_says_what_finally_stood_there_is_predicted_to_gain(place: Place, tmp_path: Path) -> None:
    manifest, rows = gather(place, "replay.refine=false")
    texts = {
        "again": [row["proposal"] or "" for row in rows],
        "knows": [row["target"] for row in rows],
        "noise": ["@@ nothing like it @@"] * len(rows),
        "silent": [""] * len(rows),
    }
    told = answered(place, rows, texts)
    measured = {0: read(report(tmp_path, "r.json", 0.9, "model-new"))}
    value = replay.value_of(place.config("replay.refine=false"), told, True, manifest, measured)
    knows, noise, silent = (one["difference"]["acceptance_rate"] for one in value["candidates"])
    assert 1.0 == value["control"]["asked_again"]["same_as_control"]
    assert 0.0 == value["control"]["asked_again"]["difference"]["acceptance_rate"]["value"]
    assert noise["value"] < 0 < knows["value"]
    assert None is silent["value"]
    observed = value["control"]["contexts"]["acceptance_rate"]
    assert observed == pytest.approx(value["control"]["predicted"]["acceptance_rate"]["value"], abs=0.03)
    beside = [one["measured"] for one in value["candidates"]]
    assert (0.9, [None, None]) == (beside[0]["acceptance_rate"]["estimate"], beside[1:])
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    value["provenance"] = {"log": {"folder": "<b>", "fingerprint": "1"}, "command": "<script>", "models": {}}
    value["provenance"] |= {"window": {}, "engine": "", "config_fingerprint": "", "code": ""}
    value["provenance"]["input"] = value["provenance"]["log"]
    page = replay_page.render(value)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert all(label in page for label in texts if label != "again")
    printed = replay_page.text(value)
    assert "control, asked again" in printed
    assert "an experiment measured +90.0 points" in printed
    assert "nan" not in printed.lower()


def test_answers_are_cut_as_the_service_cuts_them() -> None:
    row = {"answer": "f(x)\nhalf a li", "finished": False, "special_tokens": 0}
    assert "f(x)" == replay.shown(row, "a = ", "\n", True)
    assert row["answer"] == replay.shown(row, "a = ", "\n", False)
    assert "f(x)" == replay.shown({**row, "answer": "f(x)", "special_tokens": 1}, "a = ", "\n", True)


def test_reports_find_their_candidates(tmp_path: Path) -> None:
    a, b = "a" * 10, "b" * 10
    one = read(report(tmp_path, "1", 0.1, f"m-{b}", f"base-{'0' * 10}"))
    two = read(report(tmp_path, "2", 0.2, "somebody's", "else"))
    assert {1: one} == matched([one], [a, b], frozenset({"0" * 10}))
    assert {0: two, 1: one} == matched([two, one], [a, b], frozenset())
    for reports, served_by, wanted in [
        ([one], {"1" * 10}, "name a report with the same control"),
        ([two, two, two], set(), "3 reports for 2 candidates"),
        ([one, one], set(), "measured the same candidate"),
        ([read(report(tmp_path, "3", 0.1, f"m-{'c' * 10}"))], set(), "which is none of replay.candidates"),
    ]:
        with pytest.raises(ConfigError, match=wanted):
            matched(reports, [a, b], frozenset(served_by))
    assert (True, False, None) == (
        overlap([0, 1], [1, 2]),
        overlap([0, 1], [1.1, 2]),
        overlap(None, [0, 1]),
    )


@pytest.mark.ray
def test_end_to_end_and_again_without_work(place: Place, tmp_path: Path, cluster: None, capsys: Any) -> None:
    models = [write_model(tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two"))]
    words = place.words(
        *(f"replay.candidates=[{models[1]}]", f"replay.control={models[0]}", "serve.max_tokens=8"),
        *("evaluate.engine=transformers", "evaluate.max_samples=40", "evaluate.threads=1"),
        "cluster.min_memory_gb=1",
    )
    assert 0 == main(words), capsys.readouterr().err
    told = capsys.readouterr().out
    assert "control, asked again" in told
    value = json.loads((place.output / "replay.json").read_text(encoding="utf-8"))
    assert 80 == value["contexts"]["drawn"]
    before = {path: path.stat().st_mtime_ns for path in place.output.rglob("*") if path.suffix != ".running"}
    shutil.rmtree(place.output / "predictions" / value["candidates"][0]["label"] / "none", ignore_errors=True)
    assert 0 == main(words)
    assert np.all(
        [
            path.stat().st_mtime_ns == stamp
            for path, stamp in before.items()
            if path.suffix in (".json", ".html")
        ]
    )
    assert schema.VERSION == value["version"]
