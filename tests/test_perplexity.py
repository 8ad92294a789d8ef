"""Perplexity: against a hand computation with transformers, for both engines, in any company."""

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray import schema
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.llm.perplexity import TorchScorer
from echo_ray.prompts import FastTokenizer, template_for
from echo_ray.stages import surprisal
from echo_ray.stages.pack import PackConfig, encode
from echo_ray.stages.surprisal import Applied, bin_of, measure, perplexity_of, quantiles, rounded
from tests.tiny import SAMPLE, write_model, write_tokenizer

WINDOW = PackConfig(cutoff_len=200, context_tokens=150)
CONFIG = Applied(backend="torch", dtype="float32", window=WINDOW)
TARGETS = ("", "return first", "self.items.append(item)\n        return None", ")", "x" * 400)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny") / "model")


def samples(count: int) -> pa.Table:
    draw = random.Random(count)
    rows = []
    for n in range(count):
        cut = draw.randrange(len(SAMPLE))
        target = TARGETS[n % len(TARGETS)]
        row = {"sample_id": f"s{n:04d}", "user": f"u{n % 9}", "session": "s", "file": "f", "ts_ms": n}
        row |= {"prefix": SAMPLE[:cut] * draw.randrange(1, 4), "suffix": SAMPLE[cut:], "commit": target}
        dropped = n % 11 == 10
        row |= {"target": None if dropped else target, "drop": "syntax_error" if dropped else None}
        rows.append(row | {"language": "python"})
    return pa.Table.from_pylist(rows, schema=schema.SELECTED)


def score(table: pa.Table, model: Path, scorer: surprisal.Scorer | None) -> tuple[pa.Table, dict[str, Any]]:
    tokenizer = FastTokenizer(model)
    return measure(table, CONFIG, tokenizer, template_for(tokenizer), scorer)


def by_hand(table: pa.Table, folder: Path) -> list[tuple[int | None, float | None]]:
    """Lengths and perplexities, one sample at a time, every logit."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = FastTokenizer(folder)
    found: list[tuple[int | None, float | None]] = []
    for row in table.to_pylist():
        if row["drop"] is not None:
            found.append((None, None))
            continue
        encoded = encode(
            row["prefix"], row["suffix"], row["target"], tokenizer, template_for(tokenizer), WINDOW
        )
        if not isinstance(encoded, tuple):
            found.append((len(tokenizer.encode(row["target"])), None))
            continue
        ids, prompt = encoded
        with torch.no_grad():
            chances = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(1)
        nats = -sum(chances[at - 1, ids[at]].item() for at in range(prompt, len(ids)))
        found.append((len(ids) - prompt - 1, math.exp(nats / (len(ids) - prompt))))
    return found


def check(table: pa.Table, expected: Sequence[tuple[int | None, float | None]], rel: float) -> None:
    for tokens, value, (length, by_hand) in zip(
        table["target_tokens"].to_pylist(), table["perplexity"].to_pylist(), expected, strict=True
    ):
        assert length == tokens
        assert (by_hand is None) == (value is None)
        if by_hand is not None:
            assert by_hand == pytest.approx(value, rel=rel)


def test_values_are_those_of_a_hand_computation(tiny_model: Path) -> None:
    table = samples(55)
    result, facts = score(table, tiny_model, TorchScorer(tiny_model, "float32", 1024, 1, gpu=False))
    expected = by_hand(table, tiny_model)
    assert schema.SCORED == result.schema
    check(result, expected, rel=6e-4)  # rounded to four digits
    found = facts["perplexity"]
    assert sum(value is not None for _, value in expected) == found["rows"]
    assert sum(length is not None and value is None for length, value in expected) == found["no_room"] > 0
    voids = sum(length == 0 for length, _ in expected)
    assert voids == sum(found["bins"]["void"].values())
    assert result.select(schema.SELECTED.names).equals(table)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_value_does_not_depend_on_what_else_is_in_the_batch(dtype: str, tiny_model: Path) -> None:
    scorer = TorchScorer(tiny_model, dtype, 1024, 2, gpu=False)
    draw = random.Random(1)
    made = [([draw.randrange(5, 380) for _ in range(draw.randrange(4, 190))], 3) for _ in range(60)]
    made = [(ids, draw.randrange(1, len(ids))) for ids, _ in made]
    together = scorer.surprisal(made)
    order = list(range(len(made)))
    draw.shuffle(order)
    assert [together[n] for n in order] == scorer.surprisal([made[n] for n in order])
    assert together[:7] == [scorer.surprisal([sample])[0] for sample in made[:7]]  # to the bit
    assert [] == scorer.surprisal([])


def test_shards_and_whole_agree_exactly(tiny_model: Path) -> None:
    table = samples(40)
    scorer = TorchScorer(tiny_model, "bfloat16", 1024, 1, gpu=False)
    whole, _ = score(table, tiny_model, scorer)
    parts = [score(table.slice(at, 9), tiny_model, scorer)[0] for at in range(0, 40, 9)]
    assert whole.equals(pa.concat_tables(parts))


def test_without_a_model_there_are_lengths_only(tiny_model: Path) -> None:
    table = samples(30)
    result, _ = score(table, tiny_model, None)
    assert [length for length, _ in by_hand(table, tiny_model)] == result["target_tokens"].to_pylist()
    assert 30 == result["perplexity"].null_count


class Broken:
    """A model that gives no numbers."""

    def __init__(self, value: float) -> None:
        self._value = value

    def surprisal(self, samples: Sequence[tuple[Sequence[int], int]]) -> list[float]:
        return [self._value] * len(samples)


@pytest.mark.parametrize("value", [math.inf, math.nan, 1e9])
def test_numbers_that_are_none_become_a_finite_cap(value: float, tiny_model: Path) -> None:
    result, facts = score(samples(5), tiny_model, Broken(value))
    assert {surprisal.MAX_PERPLEXITY} == set(result["perplexity"].drop_null().to_pylist())
    assert (4 if not math.isfinite(value) else 0) == facts["perplexity"]["not_finite"]
    assert json.dumps(facts)


@given(st.floats(0, 1e6), st.integers(1, 500))
def test_perplexities_are_finite_rounded_and_binned(nats: float, tokens: int) -> None:
    value = perplexity_of(nats, tokens)
    assert 1 <= value <= surprisal.MAX_PERPLEXITY
    assert rounded(value) == value
    assert bin_of(value) >= 0
    exact = math.exp(min(nats / tokens, 20))
    if exact < surprisal.MAX_PERPLEXITY:
        assert exact == pytest.approx(value, rel=6e-4)


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=100))
def test_quantiles_of_bins_are_within_a_bin(values: list[float]) -> None:
    bins: dict[str, int] = {}
    for value in values:
        bins[str(bin_of(value))] = bins.get(str(bin_of(value)), 0) + 1
    for share, found in quantiles(bins).items():
        exact = sorted(values)[max(0, math.ceil(float(share) * len(values)) - 1)]
        assert exact / 1.0001 <= found <= exact * math.exp(surprisal.BIN) * 1.001


def test_rows_that_cannot_be_scored_are_refused(tiny_model: Path) -> None:
    table = samples(1).drop_columns(["target"])
    with pytest.raises(SchemaError, match="lacks the columns target"):
        score(table, tiny_model, None)
    table = table.append_column("target", pa.array([None], pa.large_string()))
    with pytest.raises(SchemaError, match="has no drop and lacks"):
        score(table, tiny_model, None)


def test_a_tokenizer_without_fill_in_the_middle_is_refused_with_the_list(
    tmp_path: Path, tiny_model: Path
) -> None:
    from jobs.perplexity import perplexity_samples
    from jobs.settings import RunConfig

    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((tiny_model / name).read_bytes())
    write_tokenizer(folder, sentinels=("<|endoftext|>",))
    config = RunConfig(perplexity={"model": folder})
    with pytest.raises(
        SchemaError, match=r"known families: echo, qwen2\.5-coder, .*: change perplexity\.model$"
    ):
        perplexity_samples(config, tmp_path, tmp_path / "out")


def test_a_model_that_is_too_short_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    from jobs.perplexity import perplexity_samples
    from jobs.settings import RunConfig

    config = RunConfig(perplexity={"model": tiny_model}, pack={"cutoff_len": 2000})
    with pytest.raises(ConfigError, match=r"made for 1024 tokens and 2000 are needed: lower pack.cutoff_len"):
        perplexity_samples(config, tmp_path, tmp_path / "out")


@pytest.mark.ray
@pytest.mark.parametrize("backend", ["torch", "vllm"])
def test_actors_of_both_engines_agree_with_the_hand_computation(
    backend: str, tiny_model: Path, tmp_path: Path, cluster: None
) -> None:
    from jobs.perplexity import perplexity_samples
    from jobs.settings import RunConfig
    from tests.refined import dealt, read

    table = samples(44)
    source = dealt(table, tmp_path / "in", 2)
    settings = {"model": tiny_model, "backend": backend, "dtype": "float32", "kv_cache_mb": 64, "threads": 1}
    config = RunConfig(perplexity=settings, pack=WINDOW.model_dump())
    manifest = perplexity_samples(config, source, tmp_path / "out")
    result = read(tmp_path / "out")
    check(result, by_hand(table.sort_by("sample_id"), tiny_model), rel=2e-3)
    assert (44, 44) == (manifest.rows_in, manifest.rows_out)
    assert 0 < manifest.notes["perplexity"]["rows"] < 44
    assert {"void", "code"} == set(manifest.notes["perplexity"]["quantiles"])
    again = config.updated(perplexity=settings | {"threads": 2, "micro_tokens": 512})
    assert manifest == perplexity_samples(again, source, tmp_path / "out")  # neither decides a value


@pytest.mark.ray
def test_the_run_without_a_model_starts_none(tiny_model: Path, tmp_path: Path, cluster: None) -> None:
    from jobs.perplexity import perplexity_samples
    from jobs.settings import RunConfig
    from tests.refined import dealt, read

    source = dealt(samples(20), tmp_path / "in", 2)
    config = RunConfig(perplexity={"model": tiny_model, "backend": "none"}, pack=WINDOW.model_dump())
    manifest = perplexity_samples(config, source, tmp_path / "out")
    assert 0 == manifest.notes["perplexity"]["rows"]
    assert 20 == read(tmp_path / "out")["perplexity"].null_count
