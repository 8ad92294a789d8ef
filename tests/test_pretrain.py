"""Pretraining: gaps and sequences by rule; very short real runs that are cut, killed, refused, resumed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from echo_ray import models
from echo_ray.errors import ConfigError, EchoError, TrainingError
from echo_ray.pretrain import corpus, state, tokenizer
from echo_ray.pretrain.batches import batches
from echo_ray.pretrain.config import WORK_REPOSITORIES, PretrainConfig
from echo_ray.pretrain.run import run
from echo_ray.pretrain.sources import SourceFile
from echo_ray.prompts import FastTokenizer, template_for
from echo_ray.rng import generator

TOKENIZER = FastTokenizer(models.BASE)
TEMPLATE = template_for(TOKENIZER)
CODE = Path(corpus.__file__).read_text()
LARGE = 10**7


@given(st.text("ab(){}\n =.", min_size=1, max_size=200), st.integers())
def test_a_gap_lies_inside_the_text(text: str, seed: int) -> None:
    start, stop = corpus.gap(text, random.Random(seed))
    assert 0 <= start <= stop <= len(text)


@given(st.integers(0, 10**6), st.sampled_from([48, 128, 512]))
def test_an_example_keeps_to_its_budget_and_ends_with_the_end_token(seed: int, budget: int) -> None:
    ids = corpus.example(CODE, budget, TOKENIZER, TEMPLATE, 1.0, random.Random(seed))
    assert len(ids) <= budget
    assert TEMPLATE.end == ids[-1]
    assert 1 == ids.count(TEMPLATE.middle) == ids.count(TEMPLATE.prefix) == ids.count(TEMPLATE.suffix)


# Sequences.

FILES = [SourceFile("a", "python", CODE), SourceFile("b", "go", CODE[::-1])]


def sequences(files: list[SourceFile] = FILES, shares: dict[str, float] | None = None) -> corpus.Sequences:
    return corpus.Sequences(
        files, 256, TOKENIZER, TEMPLATE, 0.75, shares or {"python": 1.0, "go": 2.0}, seed=3
    )


def test_a_sequence_depends_on_its_number_alone() -> None:
    first = [sequences()[number] for number in range(6)]
    again = sequences()
    assert first[::-1] == [again[number] for number in reversed(range(6))]
    assert {256} == {len(ids) for ids in first}
    assert 6 == len({tuple(ids) for ids in first})


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_numbered_sequences_whoever_makes_them(workers: int) -> None:
    stream = batches(sequences(), 3, 6, workers, torch.device("cpu"))
    found = [next(stream).tolist() for _ in range(4)]
    plain = sequences()
    assert [[plain[6 + 3 * batch + row] for row in range(3)] for batch in range(4)] == found


def test_every_language_is_drawn_by_its_share_and_every_character_alike() -> None:
    files = [
        SourceFile("a", "go", "x" * 3000),
        SourceFile("b", "go", "x" * 1000),
        SourceFile("c", "vue", "y"),
    ]
    drawn = corpus.Drawn(files, {"go": 3.0, "vue": 1.0, "java": 5.0})
    stream = generator(0, "test")
    counts = {"a": 0, "b": 0, "c": 0}
    for _ in range(8000):
        counts[drawn.file(stream).name] += 1
    # Four standard deviations; java has no file and takes no share.
    assert abs(counts["c"] - 2000) < 160
    assert abs(counts["a"] - 4500) < 180
    with pytest.raises(ValueError, match="no file"):
        corpus.Drawn(files, {"java": 1.0})


def test_a_sentinel_in_a_source_file_is_text() -> None:
    ids = corpus.example("<|fim_middle|><|endoftext|>" * 20, 128, TOKENIZER, TEMPLATE, 1.0, random.Random(0))
    assert 1 == ids.count(TEMPLATE.middle) == ids.count(TEMPLATE.end)


# Runs.


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    for number in range(40):
        place = folder / f"some/one{number % 4}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"m{number}.py").write_text(f"number = {number}\n" + CODE)
    return folder


def config(source: Path, output: Path, **changes: Any) -> PretrainConfig:
    settings: dict[str, Any] = {
        "output": output,
        "sources": (str(source),),
        "vocab_size": 600,
        "hidden": 64,
        "layers": 2,
        "heads": 1,
        "intermediate": 128,
        "sequence": 128,
        "batch": 8,
        "micro_batch": 8,
        "heldout_share": 0.1,
        "heldout_spans": 2,
        "heldout_gaps": 3,
        "eval_sequences": 8,
        "eval_every_s": 1,
        "warmup_steps": 2,
        "minutes": 2 / 60,
        "threads": 1,
        "compile": False,
    }
    return PretrainConfig.model_validate(settings | changes)


def quiet(seconds: float, note: str) -> None:
    pass


@pytest.fixture(scope="module")
def finished(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of a run of two seconds; tests must not write into it."""
    output = tmp_path_factory.mktemp("finished") / "out"
    run(config(source, output), "echo-ray pretrain test", quiet)
    return output


def curve(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def test_a_short_run_learns_and_saves_a_plain_folder_with_a_card(finished: Path) -> None:
    assert curve(finished)[-1]["heldout_loss"] < 6.2  # knowing nothing costs log(600) = 6.4
    assert "echo" == models.check(finished / "model").name
    model = AutoModelForCausalLM.from_pretrained(finished / "model")
    assert torch.bfloat16 == model.dtype
    card = (finished / "model" / "README.md").read_text()
    report = json.loads((finished / "heldout.json").read_text())
    assert "echo-ray pretrain test" in card
    assert "encode/httpx" in card
    assert (finished / "heldout.md").read_text() in card
    assert {"python"} == set(report["heldout_files"]) == set(report["models"]["this model"]["languages"])
    assert "encode/httpx" in report["excluded"]
    assert [] == [path.name for path in finished.iterdir() if path.suffix == ".part"]


def test_a_finished_run_given_again_only_measures_and_compares(finished: Path, source: Path) -> None:
    weights = (finished / "model" / "model.safetensors").read_bytes()
    notes: list[str] = []
    again = config(source, finished, compare=finished / "model", muon_lr=0.5)
    run(again, "again", lambda seconds, note: notes.append(note))
    assert all(note.startswith("measuring") for note in notes)
    assert weights == (finished / "model" / "model.safetensors").read_bytes()
    report = json.loads((finished / "heldout.json").read_text())
    change = report["difference"]["languages"]["python"]
    assert 0 == change["bits_per_byte"]["estimate"] == change["exact"]["estimate"]


def test_a_model_can_be_measured_alone(finished: Path, source: Path, tmp_path: Path) -> None:
    only = config(source, tmp_path / "out", measure=finished / "model", compare=models.BASE)
    assert finished / "model" == run(only, "test", quiet)
    assert ["heldout.json", "heldout.md"] == sorted(path.name for path in (tmp_path / "out").iterdir())
    report = json.loads((tmp_path / "out" / "heldout.json").read_text())
    this, compared = (model["languages"]["python"]["bits_per_byte"] for model in report["models"].values())
    change = report["difference"]["languages"]["python"]["bits_per_byte"]
    assert change["estimate"] == pytest.approx(this - compared, abs=1e-6)


def losses(notes: list[str]) -> dict[int, str]:
    """Loss by step of what a run said."""
    words = [note.split() for note in notes if note.startswith("step")]
    return {int(word[1]): word[3] for word in words}


def test_a_run_cut_short_goes_on_as_if_nothing_had_been(source: Path, tmp_path: Path) -> None:
    """With a constant learning rate the clock decides nothing: the same losses, step by step."""
    settings: dict[str, Any] = {"minutes": 60, "decay_share": 1e-9, "eval_every_s": 0.3}

    def notes_until(output: Path, enough: Callable[[list[str]], bool]) -> list[str]:
        notes: list[str] = []

        def progress(seconds: float, note: str) -> None:
            notes.append(note)
            if enough(notes):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(config(source, output, **settings), "test", progress)
        return notes

    notes_until(tmp_path / "cut", lambda notes: (tmp_path / "cut" / "checkpoint.pt").is_file())
    last = curve(tmp_path / "cut")[-1]["step"]
    resumed = losses(notes_until(tmp_path / "cut", lambda notes: len(notes) == 10))
    whole = losses(notes_until(tmp_path / "whole", lambda notes: len(notes) == last + 10))
    assert list(range(last + 1, last + 11)) == list(resumed)
    assert {step: whole[step] for step in resumed} == resumed


def test_a_killed_run_goes_on_from_its_last_checkpoint(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    settings = config(source, output, minutes=10, eval_every_s=0.2)
    path = tmp_path / "config.json"
    path.write_text(settings.model_dump_json())
    program = (
        "import sys; from pathlib import Path; from echo_ray.pretrain.config import PretrainConfig; "
        "from echo_ray.pretrain.run import run; "
        "run(PretrainConfig.model_validate_json(Path(sys.argv[1]).read_text()), 'x', lambda s, n: None)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (output / "metrics.jsonl").is_file() or len(curve(output)) < 3:
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    saved = torch.load(output / "checkpoint.pt")
    run(settings.updated(minutes=(saved["seconds"] + 0.3) / 60), "test", quiet)
    steps = [point["step"] for point in curve(output)]
    assert saved["curve"] == curve(output)[: len(saved["curve"])]
    assert sorted(set(steps)) == steps
    assert steps[-1] > saved["step"]
    assert all(point["tokens"] == point["step"] * 8 * 128 for point in curve(output))


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the finished run that must keep its checkpoint."""
    output = tmp_path / "copy"
    output.mkdir()
    for name in ("checkpoint.pt", "metrics.jsonl"):
        (output / name).write_bytes((finished / name).read_bytes())
    (output / "tokenizer").mkdir()
    for file in (finished / "tokenizer").iterdir():
        (output / "tokenizer" / file.name).write_bytes(file.read_bytes())
    before = (output / "checkpoint.pt").read_bytes()
    yield output
    assert before == (output / "checkpoint.pt").read_bytes()
    assert [] == list(output.glob("*.part"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden": 128}, "hidden=64, not 128"),
        ({"layers": 3}, "layers=2, not 3"),
        ({"batch": 16}, "batch=8, not 16"),
        ({"sequence": 64}, "sequence=128, not 64"),
        ({"fim_share": 0.5}, "fim_share=0.75, not 0.5"),
        ({"shares": {"python": 1, "go": 1}}, "shares="),
        ({"heldout_share": 0.2}, "other training files"),
        ({"exclude": ("some/one3", *WORK_REPOSITORIES)}, "other training files"),
        ({"start": models.BASE}, "another start model"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(copy: Path, source: Path, change: Any, named: str) -> None:
    with pytest.raises(TrainingError, match=rf"^[^\n]*{named}[^\n]*pretrain\.output[^\n]*$"):
        run(config(source, copy, **change), "test", quiet)


def test_a_checkpoint_with_another_vocabulary_is_refused(copy: Path, source: Path) -> None:
    tokens = copy / "tokenizer" / "tokenizer.json"
    tokenizer.train(["another language altogether\n" * 9], 600, tokens.parent)
    with pytest.raises(TrainingError, match="another vocabulary"):
        run(config(source, copy), "test", quiet)
    tokens.write_bytes((models.BASE / "tokenizer.json").read_bytes())
    with pytest.raises(ConfigError, match=r"8,192 tokens, pretrain\.vocab_size is 600"):
        run(config(source, copy), "test", quiet)


def test_a_file_that_is_no_checkpoint_is_refused(finished: Path, source: Path, tmp_path: Path) -> None:
    for number, content in enumerate(
        (b"", b"not a checkpoint", (finished / "checkpoint.pt").read_bytes()[:5000])
    ):
        output = tmp_path / str(number)
        output.mkdir()
        (output / "checkpoint.pt").write_bytes(content)
        with pytest.raises(TrainingError, match=r"^[^\n]*no checkpoint of this version[^\n]*$"):
            run(config(source, output), "test", quiet)
        assert content == (output / "checkpoint.pt").read_bytes()


def test_a_loss_that_is_no_number_leaves_the_last_checkpoint(copy: Path, source: Path) -> None:
    wild = config(source, copy, minutes=60, adam_lr=1e30, muon_lr=1e30, eval_every_s=1e6)
    with pytest.raises(TrainingError, match=r"^loss is [^\n]*pretrain\.muon_lr[^\n]*$"):
        run(wild, "test", quiet)


def test_a_full_disk_leaves_the_last_checkpoint_and_the_last_model(copy: Path, finished: Path) -> None:
    """A child process whose files may not grow past 100 kB, as on a full disk."""
    model = copy / "model"
    model.mkdir()
    (model / "README.md").write_text("the last good one")
    program = (
        "import resource, sys, torch; from pathlib import Path; from safetensors.torch import save_file;"
        "from echo_ray.pretrain import state; out = Path(sys.argv[1]);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); x = {'x': torch.zeros(100_000)}\n"
        "for act in (lambda: state.save(out / 'checkpoint.pt', x),\n"
        "            lambda: state.whole(out / 'model', lambda p: (p.mkdir(), save_file(x, p / 'm'))),\n"
        "            lambda: state.write(out / 'metrics.jsonl', 'x' * 200_000)):\n"
        "    try: act()\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
    )
    words = [sys.executable, "-c", program, str(copy)]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert 3 == len(told)
    assert all(line.startswith("TrainingError ") and "pretrain.output" in line for line in told)
    assert "the last good one" == (model / "README.md").read_text()
    assert (finished / "metrics.jsonl").read_text() == (copy / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"batch": 24, "micro_batch": 16}, "pretrain.micro_batch=16"),
        ({"heads": 3}, "pretrain.heads=3"),
        ({"heads": 2, "kv_heads": 4, "hidden": 64}, "pretrain.kv_heads=4"),
        ({"sequence": 512, "max_position": 256}, "pretrain.max_position=256"),
        ({"start": Path("none")}, "pretrain.start"),
        ({"compare": Path("none")}, "pretrain.compare"),
        ({"measure": Path("none")}, "pretrain.measure"),
        ({"heldout_share": 1e-9}, "pretrain.heldout_share"),
        ({"shares": {"cobol": 1}}, "pretrain.shares"),
        ({"exclude": ("httpx",)}, "pretrain.exclude"),
    ],
)
def test_settings_that_cannot_work_are_one_sentence_before_anything_is_written(
    source: Path, tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(EchoError) as told:
        run(config(source, tmp_path / "out", **change), "test", quiet)
    assert named in str(told.value)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


def test_a_run_starts_from_a_model_with_another_vocabulary(
    finished: Path, source: Path, tmp_path: Path
) -> None:
    again = config(source, tmp_path / "out", start=finished / "model", vocab_size=560, minutes=0.5 / 60)
    run(again, "test", quiet)
    first = curve(finished)[0]
    assert curve(tmp_path / "out")[0]["heldout_loss"] < first["heldout_loss"]
    saved = torch.load(tmp_path / "out" / "checkpoint.pt")
    assert models.version(finished / "model").endswith(saved["settings"]["start"])
    for line in state.settings(again, [], tmp_path / "out" / "tokenizer").values():
        assert isinstance(line, str)
