"""Pack: what is trained on is what serving renders, for every family; targets whole, end token last."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import models
from echo_ray.errors import SchemaError
from echo_ray.prompts import FAMILIES, FastTokenizer, template_for
from echo_ray.schema import Drop
from echo_ray.serve.config import ServeConfig
from echo_ray.stages.pack import LEAST_PROMPT_TOKENS, PACKED, PackConfig, encode, pack
from tests import gateways, tiny
from tests.gateways import Engine

NAMES = [family.name for family in FAMILIES]
PAIRS = [
    ("def add(a, b):\n    ", "\n\nprint(add(1, 2))\n"),
    ("", ""),
    ("x = '<|fim_middle|> [PREFIX] </s> <｜fim▁end｜>'\n", "<|endoftext|>\r\n\ty"),
    ("def add(a, b):\n    return a\n" * 300 + "  é漢🙂 = ", "\n\nprint('é漢🙂')\n" * 300),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {name: tiny.write_family(root / name, name) for name in NAMES}


def balanced(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows with what `pack` reads of them; what is not given is a plain sample."""
    plain = {"user": "u", "prefix": "a", "suffix": "b", "target": "c", "copies": 1, "language": "python"}
    return pa.Table.from_pylist([{"sample_id": f"s{i}", **plain, **row} for i, row in enumerate(rows)])


def served(folder: Path, log: Path, pairs: list[tuple[str, str]]) -> list[tuple[list[int], tuple[int, ...]]]:
    """(prompt, stop ids) that the gateway sends to its engine for requests over HTTP."""
    engine = Engine()
    with gateways.service(folder, log, engine, context_tokens=ServeConfig().context_tokens) as service:

        async def all_of_them() -> None:
            for prefix, suffix in pairs:
                response = await service.ask("/v1/completions", {"prompt": prefix, "suffix": suffix})
                assert 200 == response.status

        asyncio.run(all_of_them())
    return [(prompt.tokens, prompt.stop_ids) for prompt in engine.asked]


@pytest.mark.parametrize("name", NAMES)
def test_training_prompts_are_the_prompts_that_serving_sends(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = folders[name]
    config = PackConfig(model=folder, cutoff_len=600)
    serve = ServeConfig()
    assert (serve.context_tokens, serve.suffix_share) == (config.context_tokens, config.suffix_share)
    targets = ["return a + b", "", "x</s><|endoftext|>\n", "é漢🙂"]
    rows = [
        {"prefix": prefix, "suffix": suffix, "target": target}
        for (prefix, suffix), target in zip(PAIRS, targets, strict=True)
    ]
    packed = pack(balanced(rows), config).to_pylist()
    tokenizer = FastTokenizer(folder)
    template = template_for(tokenizer)
    assert name == template.name
    sent = served(folder, tmp_path, PAIRS)
    for row, (prompt, stops), target in zip(packed, sent, targets, strict=True):
        ids, size = row["input_ids"], row["prompt_tokens"]
        assert prompt == ids[:size]
        assert [*tokenizer.encode(target), template.end] == ids[size:]
        assert target == tokenizer.decode(ids[size:-1], skip_special_tokens=False)
        assert ids[-1] in stops
        assert template.ends == stops
        assert not set(ids[size:-1]) & set(stops)


TEXT = st.text(st.characters(codec="utf-8"), max_size=300)
BASE = FastTokenizer(models.BASE)
TEMPLATE = template_for(BASE)


@settings(deadline=None)
@given(TEXT, TEXT, TEXT, st.integers(64, 256), st.integers(16, 256))
def test_a_target_is_whole_and_ends_or_the_sample_is_dropped(
    prefix: str, suffix: str, target: str, cutoff: int, context: int
) -> None:
    config = PackConfig(model=models.BASE, cutoff_len=cutoff, context_tokens=context)
    answer = [*BASE.encode(target), TEMPLATE.end]
    found = encode(prefix, suffix, target, BASE, TEMPLATE, config)
    if isinstance(found, Drop):
        assert found is Drop.NO_ROOM
        assert cutoff - len(answer) < LEAST_PROMPT_TOKENS
        return
    ids, size = found
    assert len(ids) <= cutoff
    assert size <= context
    assert answer == ids[size:]


def test_a_long_target_takes_room_from_the_context_only() -> None:
    config = PackConfig(model=models.BASE, cutoff_len=128, context_tokens=112)
    target = "value = 1\n" * 12
    row = {"prefix": "x = 0\n" * 100 + "last = ", "suffix": "\nnext = 1\n" * 50, "target": target}
    (packed,) = pack(balanced([row]), config).to_pylist()
    ids, size = packed["input_ids"], packed["prompt_tokens"]
    assert [*BASE.encode(target), TEMPLATE.end] == ids[size:]
    assert LEAST_PROMPT_TOKENS <= size <= 128 - len(ids[size:]) < 112
    assert BASE.decode(ids[:size]).endswith("last = ")


def test_rows_become_copies_and_drops_and_voids_are_the_end_token_alone() -> None:
    rows = [
        {"copies": 2, "language": "go"},
        {"copies": 0},
        {"target": ""},
        {"target": "value " * 600},
        {"copies": None, "target": None},
    ]
    packed = pack(balanced(rows), PackConfig(model=models.BASE))
    assert PACKED == packed.schema
    found = packed.to_pylist()
    assert [("s0", 0), ("s0", 1), ("s2", 0), ("s3", 0)] == [(row["sample_id"], row["copy"]) for row in found]
    assert ["go", "go", "python", "python"] == [row["language"] for row in found]
    assert found[0]["input_ids"] == found[1]["input_ids"]
    assert [TEMPLATE.end] == found[2]["input_ids"][found[2]["prompt_tokens"] :]
    assert ([], 0, "no_room") == (found[3]["input_ids"], found[3]["prompt_tokens"], found[3]["drop"])
    assert [None, None, None] == [row["drop"] for row in found[:3]]


def test_an_empty_table_stays_one_and_a_missing_language_is_null() -> None:
    config = PackConfig(model=models.BASE)
    table = balanced([{}])
    assert PACKED == pack(table.slice(0, 0), config).schema
    assert [None] == pack(table.drop_columns(["language"]), config)["language"].to_pylist()


def test_a_row_without_a_text_is_refused() -> None:
    with pytest.raises(SchemaError, match="'s0' has copies and lacks a prefix, suffix or target"):
        pack(balanced([{"target": None}, {}]), PackConfig(model=models.BASE))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a model folder looks like from outside: nothing reads the weights here."""
    tiny.write_family(tmp_path, "starcoder2")
    (tmp_path / "model.safetensors").touch()
    describe(tmp_path, vocab_size=512)
    return tmp_path


def describe(folder: Path, **fields: Any) -> None:
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], **fields}))


def test_a_tokenizer_and_a_model_that_agree_are_accepted(folder: Path) -> None:
    highest = FastTokenizer(folder).highest_id
    assert "starcoder2" == models.check(folder, "pack.model").name
    describe(folder, vocab_size=highest + 1, eos_token_id=[0, highest], bos_token_id=None)
    assert "starcoder2" == models.check(folder, "pack.model").name
    describe(folder, text_config={"vocab_size": highest + 1})
    assert "starcoder2" == models.check(folder, "pack.model").name


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"vocab_size": 200},
            r"ids up to \d+, and config\.json has a vocab_size of 200: .*; change pack\.model$",
        ),
        ({"text_config": {"vocab_size": 200}}, "vocab_size of 200"),
        ({"eos_token_id": 50256}, r"has 50256 as eos_token_id, which is no token.*; change pack\.model$"),
        ({"eos_token_id": [0, -1]}, "has -1 as eos_token_id"),
        ({"bos_token_id": "<s>"}, "has '<s>' as bos_token_id"),
    ],
)
def test_a_tokenizer_and_a_model_that_disagree_are_refused(
    folder: Path, fields: dict[str, Any], sentence: str
) -> None:
    describe(folder, **fields)
    with pytest.raises(SchemaError, match=sentence):
        models.check(folder, "pack.model")


def test_a_model_without_known_sentinels_is_refused_with_the_key(folder: Path) -> None:
    tiny.write_tokenizer(folder, sentinels=("<|fim_prefix|>", "<|fim_suffix|>"))
    with pytest.raises(SchemaError, match=r"known families: .*codestral: change pack\.model$"):
        models.check(folder, "pack.model")
