"""Prompts: within budget, cut far from the cursor, the same for training and serving."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray import data, models
from echo_ray.errors import SchemaError
from echo_ray.prompts import FastTokenizer, Template, template_for
from echo_ray.schema import Drop
from echo_ray.serve import app
from echo_ray.serve.config import ServeConfig
from echo_ray.serve.launch import engine_settings
from echo_ray.stages.pack import PackConfig, encode

TOKENIZER = FastTokenizer(models.BASE)
TEMPLATE = template_for(TOKENIZER)
TEXT = st.text(st.characters(codec="utf-8"), max_size=400)


@given(TEXT, TEXT, st.integers(16, 200), st.floats(0, 0.9))
def test_a_prompt_keeps_to_its_budget_and_to_the_text_at_the_cursor(
    prefix: str, suffix: str, budget: int, share: float
) -> None:
    ids = TEMPLATE.render(TOKENIZER, prefix, suffix, budget, share)
    assert len(ids) <= budget
    assert (TEMPLATE.suffix, TEMPLATE.middle) == (ids[0], ids[-1])
    cut = ids.index(TEMPLATE.prefix)
    right, left = ids[1:cut], ids[cut + 1 : -1]
    assert len(right) <= int((budget - 3) * share)
    assert right == TOKENIZER.encode(suffix[: 8 * budget])[: len(right)]
    decoded = TOKENIZER.decode(left)
    assert prefix.endswith(decoded.lstrip("\ufffd"))
    room = budget - 3 - len(right)
    assert len(left) >= min(len(TOKENIZER.encode(prefix)), room * 7 // 8 - 1) or len(prefix) > 7 * budget


def test_consecutive_prompts_of_a_keystroke_stream_begin_alike() -> None:
    source = Path(data.__file__).read_text()
    shared = total = 0
    before: list[int] = []
    for cursor in range(1000, 8000):
        ids = TEMPLATE.render(TOKENIZER, source[:cursor], source[-800:], 448)
        same = next((i for i, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b), len(before))
        shared, total, before = shared + same, total + len(ids), ids
    assert shared / total > 0.8


@given(TEXT)
def test_every_text_survives_the_tokenizer(text: str) -> None:
    assert text == TOKENIZER.decode(TOKENIZER.encode(text))


def test_a_sentinel_written_in_code_is_text() -> None:
    ids = TOKENIZER.encode("a <|fim_middle|> b <|endoftext|>")
    assert not {TEMPLATE.middle, TEMPLATE.end} & set(ids)


def test_training_prompts_are_the_prompts_that_serving_sends() -> None:
    config = PackConfig(model=models.BASE)
    prefix, suffix = "def add(a, b):\n    " * 80, "\n\nprint(add(1, 2))\n" * 40
    encoded = encode(prefix, suffix, "return a + b", TOKENIZER, TEMPLATE, config)
    assert not isinstance(encoded, Drop)
    ids, prompt = encoded
    serve = ServeConfig()
    assert (serve.context_tokens, serve.suffix_share) == (config.context_tokens, config.suffix_share)
    (arm,) = engine_settings(serve, {"base": (models.BASE, "v")}, gpus=0)
    lane = app._lane(arm, engine=None)
    served = lane.template.render(lane.tokenizer, prefix, suffix, serve.context_tokens, serve.suffix_share)
    assert ids[:prompt] == served
    assert [*TOKENIZER.encode("return a + b"), TEMPLATE.end] == ids[prompt:]


def test_a_target_is_never_cut() -> None:
    config = PackConfig(model=models.BASE, cutoff_len=64, context_tokens=48)
    assert Drop.NO_ROOM == encode("x", "", "value " * 100, TOKENIZER, TEMPLATE, config)


class Words:
    """A tokenizer that knows the given tokens."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        return [ord(letter) for letter in text]

    def convert_tokens_to_ids(self, tokens: str) -> int | None:
        return self.tokens.index(tokens) if tokens in self.tokens else None


@pytest.mark.parametrize(
    ("tokens", "name", "order"),
    [
        (["<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<|endoftext|>"], "starcoder2", "psm"),
        (["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|endoftext|>"], "qwen2.5-coder", "psm"),
        (
            ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "<｜end▁of▁sentence｜>"],
            "deepseek-coder",
            "psm",
        ),
    ],
)
def test_known_families_are_recognised(tokens: list[str], name: str, order: str) -> None:
    template = template_for(Words(tokens))
    assert (name, order) == (template.name, template.order)
    assert isinstance(template, Template)
    ids = template.render(Words(tokens), "P", "S", 20)
    assert [template.prefix, ord("P"), template.suffix, ord("S"), template.middle] == ids


def test_an_unknown_tokenizer_is_refused_with_the_known_families(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="echo, qwen2\\.5-coder, starcoder2, deepseek-coder"):
        template_for(Words(["<s>"]))
    with pytest.raises(SchemaError, match=r"no tokenizer\.json"):
        FastTokenizer(tmp_path)
