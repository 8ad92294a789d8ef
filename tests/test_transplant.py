"""Weights under another vocabulary: kept rows, means of pieces, parts of characters, refused layouts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from echo_ray.errors import ConfigError
from echo_ray.pretrain import tokenizer, transplant
from echo_ray.prompts import FastTokenizer
from tests import tiny

TEXTS = [
    "größe = 'größer als größte größe'\n" * 8,
    "résumé = '語言語言'\n" * 8,
    "def add(first, second):\n" * 8,
]


def empty_model(vocab: int, **changes: Any) -> Any:
    layout = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 1}
    layout |= {"num_key_value_heads": 1, "head_dim": 64, "tie_word_embeddings": True}
    torch.manual_seed(99)
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocab, **(layout | changes)))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    model = AutoModelForCausalLM.from_pretrained(tiny.write_model(folder, seed=3), dtype=torch.float32)
    torch.manual_seed(4)
    torch.nn.init.normal_(model.get_input_embeddings().weight)  # no two rows alike, none zero
    model.save_pretrained(folder)
    return folder


def test_with_the_same_vocabulary_the_model_is_the_same(old: Path) -> None:
    before = AutoModelForCausalLM.from_pretrained(old, dtype=torch.float32)
    after = empty_model(384)
    transplant.start(after, AutoTokenizer.from_pretrained(old), old)
    ids = torch.arange(384)[None]
    with torch.no_grad():
        assert torch.equal(before(input_ids=ids).logits, after(input_ids=ids).logits)


def test_shared_tokens_keep_their_rows_and_new_ones_are_the_mean_of_their_pieces(
    old: Path, tmp_path: Path
) -> None:
    tokens = tokenizer.train(TEXTS, 420, tmp_path)
    known, rows = FastTokenizer(old), AutoModelForCausalLM.from_pretrained(old, dtype=torch.float32)
    embedding = rows.get_input_embeddings().weight.detach()
    model = empty_model(420)
    transplant.start(model, tokens, old)
    new = model.get_input_embeddings().weight.detach()
    shared, spelled, partial = 0, 0, 0
    for token, number in tokens.get_vocab().items():
        text = tokens.convert_tokens_to_string([token])
        if (same := known.convert_tokens_to_ids(token)) is not None:
            shared += 1
            expected = embedding[same]
        elif "\ufffd" in text:
            partial += 1
            expected = embedding[[known.convert_tokens_to_ids(letter) for letter in token]].mean(dim=0)
        else:
            spelled += 1
            expected = embedding[known.encode(text)].mean(dim=0)
        assert torch.equal(expected, new[number]), token
    # The vocabulary above has all three kinds.
    assert shared > 256
    assert spelled > 10
    assert partial > 0
    assert new.isfinite().all()
    assert new.data_ptr() == model.lm_head.weight.data_ptr()
    for name, value in rows.model.layers.state_dict().items():
        assert torch.equal(value, model.model.layers.state_dict()[name])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden_size": 128}, "hidden_size"),
        ({"num_hidden_layers": 1}, "num_hidden_layers"),
        ({"num_hidden_layers": 3}, "num_hidden_layers"),
        ({"intermediate_size": 192}, "intermediate_size"),
        # The same shapes, another meaning.
        ({"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 32}, "num_attention_heads"),
        ({"rope_theta": 500_000.0}, "rope_parameters"),
    ],
)
def test_another_layout_is_refused_in_one_sentence(old: Path, change: dict[str, Any], named: str) -> None:
    model = empty_model(384, **change)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ConfigError, match=rf"^pretrain\.start=[^\n]*{named}[^\n]*$"):
        transplant.start(model, AutoTokenizer.from_pretrained(old), old)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_without_the_bytes_of_a_token_still_gives_it_a_row(old: Path, tmp_path: Path) -> None:
    """A vocabulary that cannot spell something at all: the mean of everything, never the mean of nothing."""
    poor = tmp_path / "poor"
    shutil.copytree(old, poor)
    described = json.loads((poor / "tokenizer.json").read_text(encoding="utf-8"))
    described["model"]["vocab"] = {
        token: number for token, number in described["model"]["vocab"].items() if token.isascii()
    }
    described["model"]["merges"] = []
    (poor / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    tokens = tokenizer.train(TEXTS, 420, tmp_path / "new")
    model = empty_model(420)
    transplant.start(model, tokens, poor)
    assert model.get_input_embeddings().weight.isfinite().all()
