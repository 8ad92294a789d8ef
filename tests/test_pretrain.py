"""Pretraining: gaps and sequences by rule, and a very short real run that is cut and resumed."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray import models
from echo_ray.errors import ConfigError
from echo_ray.prompts import FastTokenizer, template_for
from echo_ray.train import corpus
from echo_ray.train.config import PretrainConfig
from echo_ray.train.pretrain import run

TOKENIZER = FastTokenizer(models.BASE)
TEMPLATE = template_for(TOKENIZER)
CODE = Path(corpus.__file__).read_text()


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


def test_a_sequence_depends_on_its_number_alone() -> None:
    files = [corpus.SourceFile("a", CODE), corpus.SourceFile("b", CODE[::-1])]
    first = corpus.sequences(files, 256, TOKENIZER, TEMPLATE, 0.75, seed=3)
    all_of_them = [next(first) for _ in range(6)]
    later = corpus.sequences(files, 256, TOKENIZER, TEMPLATE, 0.75, seed=3, start=4)
    assert all_of_them[4:] == [next(later), next(later)]
    assert {256} == {len(ids) for ids in all_of_them}


def test_adding_files_moves_no_other_file_between_the_splits() -> None:
    files = [corpus.SourceFile(f"f{i}", "x") for i in range(300)]
    training, heldout = corpus.split(files, 0.1, 0)
    assert 300 == len(training) + len(heldout)
    assert 10 < len(heldout) < 60
    assert set(corpus.split(files[:150], 0.1, 0)[1]) <= set(heldout)


def test_a_source_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    for source in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match=r"pretrain\.sources"):
            corpus.read([str(source)], [".py"])


def test_a_short_run_learns_resumes_and_saves_a_plain_folder(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    source = tmp_path / "code"
    source.mkdir()
    for number in range(40):
        (source / f"m{number}.py").write_text(CODE)
    config = PretrainConfig(
        output=tmp_path / "out",
        sources=(str(source),),
        vocab_size=600,
        hidden=64,
        layers=2,
        heads=1,
        intermediate=128,
        sequence=128,
        batch=8,
        micro_batch=8,
        heldout_share=0.1,
        eval_sequences=8,
        eval_every_s=2,
        warmup_steps=2,
        minutes=5 / 60,
        threads=1,
        compile=False,
    )
    seen: list[float] = []

    def cut(seconds: float, note: str) -> None:
        seen.append(seconds)
        if seconds > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, "test", cut)
    assert (tmp_path / "out" / "checkpoint.pt").is_file()
    resumed: list[float] = []
    folder = run(config, "echo-ray pretrain test", lambda seconds, note: resumed.append(seconds))
    assert resumed[0] > 1.9
    curve = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert curve[-1]["heldout_loss"] < 5.5  # knowing nothing costs log(600) = 6.4
    assert "echo-ray pretrain test" in (folder / "README.md").read_text()
    assert "echo" == models.check(folder).name
    AutoModelForCausalLM.from_pretrained(folder)
