"""The held-out report: which texts, what a model makes of them, and what is said about it."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM
from transformers.convert_slow_tokenizer import bytes_to_unicode

from echo_ray import models
from echo_ray.pretrain import heldout, heldout_score, heldout_table
from echo_ray.pretrain import tokenizer as pieces
from echo_ray.pretrain.heldout import Gap, Scores, Span
from echo_ray.pretrain.sources import SourceFile
from echo_ray.prompts import FastTokenizer, template_for
from tests import tiny

CODE = Path(heldout.__file__).read_text()
FILES = [
    SourceFile("one/a.py", "python", CODE),
    SourceFile("one/b.py", "python", tiny.SAMPLE * 3),
    SourceFile("two/c.vue", "vue", "<template>\n  <p>你好，世界</p>\n</template>\n" * 60),
]


@given(st.text(min_size=1, max_size=3000))
@settings(max_examples=60)
def test_spans_tile_a_file_and_context_is_what_stands_before(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    file = SourceFile("f", "python", text)
    found = heldout.spans([file], 10**6, 0)
    placed = {text.encode().find(span.context.encode() + span.text.encode()) for span in found}
    assert -1 not in placed
    number = max(1, len(text.encode()) // heldout.SPAN)
    assert number == len(found)
    tiled = sorted(found, key=lambda span: found.index(span))
    assert sum(len(span.text.encode()) for span in tiled) <= len(text.encode())
    for span in found:
        assert len(span.text.encode()) <= heldout.SPAN + 3
        assert len(span.context.encode()) <= heldout.CONTEXT


def test_spans_in_file_order_are_the_file() -> None:
    for file in FILES:
        pieces = [heldout._span(file, number) for number in range(len(file.text.encode()) // heldout.SPAN)]
        assert file.text.startswith("".join(piece.text for piece in pieces))
        assert "" == pieces[0].context
        joined = ""
        for piece in pieces:
            assert joined.endswith(piece.context)
            joined += piece.text


@given(st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_a_gap_is_a_place_of_its_file(seed: int) -> None:
    by_name = {file.name: file.text for file in FILES}
    for gap in heldout.gaps(FILES, 5, seed):
        assert gap.prefix + gap.target + gap.suffix in by_name[gap.file]
        assert len(gap.prefix.encode()) <= heldout.PREFIX
        assert len(gap.suffix.encode()) <= heldout.SUFFIX
        assert len(gap.target.encode()) <= heldout.TARGET


def test_draws_depend_on_the_seed_and_not_on_other_languages() -> None:
    first = heldout.gaps(FILES, 8, 0)
    assert {"python": 8, "vue": 8} == Counter(gap.language for gap in first)
    assert first == heldout.gaps(FILES, 8, 0)
    assert first != heldout.gaps(FILES, 8, 1)
    assert first[:8] == heldout.gaps(FILES[:2], 8, 0)
    assert heldout.spans(FILES[:2], 6, 0) == [
        span for span in heldout.spans(FILES, 6, 0) if span.language == "python"
    ]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers in random letters and words: untied, so that it does not repeat what it read."""
    folder = tiny.write_model(tmp_path_factory.mktemp("small"), seed=5)
    tied = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tied.config.tie_word_embeddings = False
    model = type(tied)(tied.config)
    torch.manual_seed(7)
    for weight in model.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.3)
    with torch.no_grad():
        vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        words = [number for token, number in vocabulary.items() if token.isascii() and token.isalnum()]
        model.lm_head.weight[[number for number in range(384) if number not in words]] = 0
    model.save_pretrained(folder)
    return folder


def test_nats_are_those_of_the_plain_model_whatever_shares_the_batch(small: Path) -> None:
    plain: Any = AutoModelForCausalLM.from_pretrained(small, dtype=torch.float32)
    tokenizer = FastTokenizer(small)
    rows = [
        ([0, *tokenizer.encode(span.context)], tokenizer.encode(span.text))
        for span in heldout.spans(FILES, 4, 0)
    ]
    found = [nats for nats, _ in heldout_score.Model(small, 0).look(rows)]
    for (given_, follows), nats in zip(rows, found, strict=True):
        with torch.no_grad():
            logits = plain(input_ids=torch.tensor([[*given_, *follows]])).logits[0]
        chances = logits[len(given_) - 1 : -1].log_softmax(dim=-1)
        expected = -chances[range(len(follows)), follows].sum().item()
        assert expected == pytest.approx(nats, rel=5e-3)


def test_an_exact_answer_is_what_generate_gives(small: Path) -> None:
    """Against token-by-token greedy generation. The random model spells words in its own way, not always as
    the tokenizer would, and never ends, so the token after the answer plays the end token.
    """
    plain: Any = AutoModelForCausalLM.from_pretrained(small, dtype=torch.float32)
    tokenizer = FastTokenizer(small)
    template = template_for(tokenizer)
    model = heldout_score.Model(small, template.end, bfloat16=False)
    own_spelling = 0
    for cut in range(20, 500, 20):
        prompt = template.render(tokenizer, CODE[:cut], CODE[cut : cut + 50], 256)
        ids = torch.tensor([prompt])
        settings_ = {
            "do_sample": False,
            "max_new_tokens": 8,
            "eos_token_id": None,
            "pad_token_id": template.end,
        }
        with torch.no_grad():
            out = plain.generate(ids, attention_mask=torch.ones_like(ids), **settings_)
        answer = out[0, len(prompt) :].tolist()
        for size in range(len(answer)):
            text = tokenizer.decode(answer[:size], skip_special_tokens=False)
            if tokenizer.decode(answer[size : size + 1]) in text:
                break  # an end token never stands for text
            ending = replace(template, end=answer[size], ends=(answer[size],))
            own_spelling += tokenizer.encode(text) != answer[:size]
            wrong = [text + "x", text[:-1], "#" + text] if text else ["#"]
            prompts = [prompt] * (1 + len(wrong))
            _, exact = heldout_score.answers(model, tokenizer, ending, prompts, [text, *wrong])
            assert [True, *[False] * len(wrong)] == exact
    assert own_spelling > 0


class Scripted:
    """A model that says one fixed sequence of tokens after any prompt of `prompt` tokens."""

    def __init__(self, prompt: int, says: list[int]) -> None:
        self._prompt, self._says = prompt, says

    def look(self, rows: Any) -> list[tuple[float, list[int]]]:
        says = [*self._says, *[self._says[-1]] * 20]
        starts = [len(given) - self._prompt for given, _ in rows]
        return [
            (1.0, says[start : start + len(follows)])
            for start, (_, follows) in zip(starts, rows, strict=True)
        ]


def test_characters_that_are_spelled_byte_by_byte_are_understood(tmp_path: Path) -> None:
    pieces.train(["語言，語言 = 1\n" * 50], 400, tmp_path)
    tokenizer = FastTokenizer(tmp_path)
    template = template_for(tokenizer)
    target = "x語言"
    letters = bytes_to_unicode()
    spelled = [tokenizer.convert_tokens_to_ids(letters[byte]) for byte in target.encode()]
    assert len(tokenizer.encode(target)) < len(spelled)
    for says, expected in (
        ([*spelled, template.end], True),
        ([*spelled[:-1], template.end], False),
        ([*spelled, spelled[-1], template.end], False),
        ([*spelled, template.prefix], True),  # generation stops at any sentinel
        ([*tokenizer.encode("x語"), *spelled[4:], template.end], True),
        ([*spelled[:-1], spelled[1], template.end], False),
    ):
        model: Any = Scripted(1, says)
        assert ([1.0], [expected]) == heldout_score.answers(model, tokenizer, template, [[0]], [target])


def test_the_bundled_model_is_better_at_python_than_a_random_one(small: Path) -> None:
    spans, gaps = heldout.spans(FILES[:2], 3, 0), heldout.gaps(FILES[:2], 6, 0)
    trained = heldout_score.score(models.BASE, "bundled", spans, gaps)
    random = heldout_score.score(small, "random", spans, gaps)
    assert sum(trained.span_nats) < 0.7 * sum(random.span_nats)
    report = heldout.report(spans, gaps, [trained, random], {"heldout_files": {"python": 2}, "excluded": []})
    assert report["difference"]["languages"]["python"]["bits_per_byte"]["estimate"] < -1


def scores(name: str, bits_per_byte: float, hits: int) -> tuple[list[Span], list[Gap], Scores]:
    """Ten spans of 100 bytes in five files and ten gaps, `hits` of them right."""
    spans = [Span(f"f{i % 5}", "go", "", "x" * 100) for i in range(10)]
    gaps = [Gap(f"f{i % 5}", "go", "a", "b", "" if i == 9 else "y" * (12 * i + 1)) for i in range(10)]
    nats = [math.log(2) * 100 * (bits_per_byte + 0.01 * (i % 3)) for i in range(10)]
    return spans, gaps, Scores(name, nats, [1.0] * 10, [i < hits for i in range(10)])


def test_figures_of_known_scores() -> None:
    spans, gaps, new = scores("new", 1.0, 5)
    _, _, old = scores("old", 1.5, 2)
    report = heldout.report(spans, gaps, [new, old], {"heldout_files": {"go": 5}, "excluded": ["a/b"]})
    go = report["models"]["new"]["languages"]["go"]
    assert 1.009 == pytest.approx(go["bits_per_byte"])
    low, high = go["bits_per_byte_ci95"]
    assert low < 1.009 < high
    assert (9, 5) == (go["exact"]["n"], go["exact"]["hits"])
    assert (1, 0) == (go["silence"]["n"], go["silence"]["hits"])
    assert {"silence": 1, "1-8": 1, "9-20": 1, "21-50": 3, "51-100": 4, "over 100": 0} == {
        name: one["n"] for name, one in go["by_length"].items()
    }
    change = report["difference"]["languages"]["go"]
    assert -0.5 == pytest.approx(change["bits_per_byte"]["estimate"])
    assert 3 / 9 == pytest.approx(change["exact"]["estimate"])
    same = heldout.report(spans, gaps, [new, new], {})["difference"]["languages"]["go"]["exact"]
    assert {"estimate": 0.0, "ci95": None} == same
    json.loads(json.dumps(report, allow_nan=False))
    text = heldout_table.table(report)
    assert "a/b" in text
    assert "go 5" in text
    header, rule, row = [line for line in text.splitlines() if line.startswith("|")][:3]
    assert header.count("|") == rule.count("|") == row.count("|")


def test_a_share_has_wilsons_interval() -> None:
    assert {"n": 0, "hits": 0, "share": None, "ci95": None} == heldout.share([])
    ten = heldout.share([True] * 8 + [False] * 2)
    assert [0.4902, 0.9433] == pytest.approx(ten["ci95"], abs=1e-4)  # published example
    assert 0 == heldout.share([False] * 5)["ci95"][0]
    assert 1 == heldout.share([True] * 5)["ci95"][1]
