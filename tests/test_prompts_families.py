"""Every family against what its authors published: the strings of model cards, and Mistral's own library."""

import inspect
import json
import random
import shlex
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.errors import SchemaError
from echo_ray.prompts import FAMILIES, LEAKS, Family, FastTokenizer, Snippet, Template, template_for
from tests import tiny

NAMES = [family.name for family in FAMILIES]
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\u2581"), max_size=120)

PUBLISHED = {
    "echo": "<|fim_suffix|>{s}<|fim_prefix|>{p}<|fim_middle|>{m}<|endoftext|>",
    "qwen2.5-coder": "<|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>{m}<|endoftext|>",
    "codegemma": "<bos><|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>{m}<|file_separator|>",
    "granite-4": "<|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>{m}<|end_of_text|>",
    "granite-3": "<fim_prefix>{p}<fim_suffix>{s}<fim_middle>{m}<|end_of_text|>",
    "starcoder2": "<fim_prefix>{p}<fim_suffix>{s}<fim_middle>{m}<|endoftext|>",
    "starcoder": "<fim_prefix>{p}<fim_suffix>{s}<fim_middle>{m}<|endoftext|>",
    "santacoder": "<fim-prefix>{p}<fim-suffix>{s}<fim-middle>{m}<|endoftext|>",
    "deepseek-coder": "<｜begin▁of▁sentence｜><｜fim▁begin｜>{p}<｜fim▁hole｜>{s}<｜fim▁end｜>{m}"
    "<｜end▁of▁sentence｜>",
    "codellama": "<s> <PRE> {p} <SUF>{s} <MID>{m} <EOT>",
    "codestral": "<s>[SUFFIX]{s}[PREFIX] {p}{m}</s>",
}
"""As the model cards write a whole example: prefix, suffix, answer."""

REPOSITORY = {
    "qwen2.5-coder": "<|repo_name|>lib\n<|file_sep|>a.py\nA = 1\n<|file_sep|>b.py\nB = 2\n"
    "<|file_sep|>main.py\n<|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>",
    "starcoder2": "<repo_name>lib<file_sep>a.py\nA = 1<file_sep>b.py\nB = 2<file_sep><fim_prefix>main.py\n{p}"
    "<fim_suffix>{s}<fim_middle>",
    "codegemma": "<bos>a.py\nA = 1<|file_separator|>b.py\nB = 2<|file_separator|>main.py\n"
    "<|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>",
    "deepseek-coder": "<｜begin▁of▁sentence｜><｜fim▁begin｜>#a.py\nA = 1\n#b.py\nB = 2\n#main.py\n{p}"
    "<｜fim▁hole｜>{s}<｜fim▁end｜>",
    "codestral": "<s>[SUFFIX]{s}[PREFIX] +++++ a.py\nA = 1\n\n+++++ b.py\nB = 2\n\n+++++ main.py\n{p}",
}
"""Repository-level prompts as published."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {name: tiny.write_family(root / name, name) for name in NAMES}


@pytest.fixture(params=NAMES)
def family(request: pytest.FixtureRequest, folders: dict[str, Path]) -> tuple[FastTokenizer, Template]:
    tokenizer = FastTokenizer(folders[request.param])
    template = template_for(tokenizer)
    assert request.param == template.name
    return tokenizer, template


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_example_reads_as_published(name: str, folders: dict[str, Path]) -> None:
    tokenizer = FastTokenizer(folders[name])
    template = template_for(tokenizer)
    prefix, suffix, middle = "def add(a, b):\n    ", "\n\nprint(add(1, 2))\n", "return a + b"
    ids = template.render(tokenizer, prefix, suffix, 300)
    whole = [*ids, *tokenizer.encode(middle), template.end]
    assert PUBLISHED[name].format(p=prefix, s=suffix, m=middle) == tokenizer.decode(
        whole, skip_special_tokens=False
    )


@pytest.mark.parametrize("name", REPOSITORY)
def test_other_files_stand_where_the_family_was_trained_to_find_them(
    name: str, folders: dict[str, Path]
) -> None:
    tokenizer = FastTokenizer(folders[name])
    others = [Snippet("a.py", "A = 1"), Snippet("b.py", "B = 2")]
    ids = template_for(tokenizer).render(
        tokenizer, "x = A", "\n", 600, snippets=others, repository="lib", path="main.py"
    )
    expected = REPOSITORY[name].format(p="x = A", s="\n")
    assert expected == tokenizer.decode(ids, skip_special_tokens=False)


def test_sentinels_are_single_tokens_and_stop_an_answer(family: tuple[FastTokenizer, Template]) -> None:
    tokenizer, template = family
    sentinels = {template.prefix, template.suffix, template.end} | ({template.middle} - {None})
    assert sentinels <= set(template.ends) <= set(template.specials)
    assert template.begin not in template.ends
    assert sorted(template.ends) == list(template.ends)
    ids = template.render(tokenizer, "a", "b", 100)
    once = [number for number in ids if number in template.specials]
    assert template.overhead == len(once) == len(set(once))
    assert ("psm", "spm")[ids.index(template.suffix) < ids.index(template.prefix)] == template.order


def test_stop_tokens_of_the_families() -> None:
    stops = {one.name: {one.end, *one.stops} for one in FAMILIES}
    assert {"<|file_separator|>", "<eos>"} <= stops["codegemma"]
    assert {"<file_sep>", "<|endoftext|>"} <= stops["starcoder2"]
    assert {"<|file_sep|>", "<|repo_name|>", "<|fim_pad|>"} <= stops["qwen2.5-coder"]


@settings(deadline=None, max_examples=40)
@given(
    text=TEXT, control=st.sampled_from(["<s>", "<|fim_prefix|>", "[PREFIX]", "<PRE>", "<｜fim▁end｜>", ""])
)
@pytest.mark.parametrize("name", NAMES)
def test_texts_come_back_and_never_hold_a_command(
    name: str, folders: dict[str, Path], text: str, control: str
) -> None:
    tokenizer = _cached(folders[name])
    sentinel = control.replace("\u2581", "_") if name in tiny.SPACES else control
    whole = f" {text}{sentinel}\n{text}"
    ids = tokenizer.encode(whole)
    assert whole == tokenizer.decode(ids, skip_special_tokens=False)
    assert not set(ids) & set(template_for(tokenizer).specials)


_LOADED: dict[Path, FastTokenizer] = {}


def _cached(folder: Path) -> FastTokenizer:
    return _LOADED.setdefault(folder, FastTokenizer(folder))


@pytest.mark.parametrize("name", NAMES)
def test_a_sentinel_in_somebodys_file_is_text_in_every_family(name: str, folders: dict[str, Path]) -> None:
    tokenizer = FastTokenizer(folders[name])
    (known,) = [one for one in FAMILIES if one.name == name]
    for token in tiny.family_tokens(known):
        number = tokenizer.convert_tokens_to_ids(token)
        for text in (token, f"x{token}y", f" {token}\n"):
            assert number not in tokenizer.encode(text)


def test_a_leading_space_is_for_whole_documents_only(folders: dict[str, Path]) -> None:
    tokenizer = FastTokenizer(folders["codellama"])
    template = template_for(tokenizer)
    assert tokenizer.leading_space
    whole = template.render(tokenizer, "x = 1\n", "y", 200)
    assert " x = 1\n" == tokenizer.decode(whole[2 : whole.index(template.suffix)])
    cut = template.render(tokenizer, "x = 1\n" * 500, "y", 200)
    assert tokenizer.decode(cut[2 : cut.index(template.suffix)]).startswith("x = 1\n")
    empty = template.render(tokenizer, "", "y", 200)
    assert template.suffix == empty[2]


@pytest.mark.parametrize(
    "pre_tokenizer",
    [
        {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": False},
        {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False},
    ],
)
def test_newer_files_put_the_space_elsewhere(
    pre_tokenizer: dict[str, Any], folders: dict[str, Path], tmp_path: Path
) -> None:
    described = json.loads((folders["codellama"] / "tokenizer.json").read_text())
    described |= {"normalizer": None, "pre_tokenizer": pre_tokenizer}
    (tmp_path / "tokenizer.json").write_text(json.dumps(described))
    old, new = FastTokenizer(folders["codellama"]), FastTokenizer(tmp_path)
    assert new.leading_space
    for text in ("x = 1", "  two", "\n    if a:\n"):
        assert old.encode(text) == new.encode(text)
        assert text == new.decode(new.encode(text))


@pytest.mark.parametrize("name", NAMES)
def test_without_one_of_its_tokens_a_tokenizer_is_not_taken_for_the_family(name: str) -> None:
    (known,) = [one for one in FAMILIES if one.name == name]

    class Only:
        def __init__(self, tokens: list[str]) -> None:
            self.tokens = tokens

        def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
            return []

        def convert_tokens_to_ids(self, tokens: str) -> int | None:
            return self.tokens.index(tokens) if tokens in self.tokens else None

    assert name == template_for(Only(list(known.required))).name
    for token in known.required:
        with pytest.raises(SchemaError, match="known families"):
            template_for(Only([one for one in known.required if one != token]))


def test_families_with_the_same_sentinels_are_told_apart() -> None:
    def tokens(one: Family) -> set[str]:
        return {*one.required, *one.stops}

    names = {"<|fim_prefix|>": ["echo", "qwen2.5-coder", "codegemma", "granite-4"]}
    alike = [one.name for one in FAMILIES if one.prefix == "<|fim_prefix|>"]
    assert names["<|fim_prefix|>"] == alike
    for one in FAMILIES:
        for other in FAMILIES[: FAMILIES.index(one)]:
            assert not set(other.required) <= tokens(one), (one.name, other.name)


def test_leaks_are_no_strings_that_code_is_full_of() -> None:
    assert {"<|fim_middle|>", "<|endoftext|>", "<file_sep>", "<｜fim▁end｜>", "<|file_separator|>"} <= set(
        LEAKS
    )
    assert not {"<s>", "</s>", "[PREFIX]", "<filename>", "<eos>", "<bos>", ""} & set(LEAKS)


@pytest.fixture(scope="module")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vocabulary that Mistral ships (32,768 pieces, Codestral's), converted as Hugging Face does it."""
    import mistral_common
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
    from transformers.convert_slow_tokenizer import generate_merges

    data = Path(mistral_common.__file__).parent / "data" / "mistral_instruct_tokenizer_240323.model.v3"
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(data.read_bytes())
    vocab = {piece.piece: number for number, piece in enumerate(proto.pieces)}
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == 1}
    merges = generate_merges(vocab, scores)
    core = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    core.decoder = decoders.Sequence(steps)
    controls = [piece.piece for piece in proto.pieces if piece.type in (2, 3)]
    core.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in controls])
    folder = tmp_path_factory.mktemp("mistral")
    core.save(str(folder / "tokenizer.json"))
    return folder


def test_codestral_prompts_are_those_of_mistral_common(mistral: Path) -> None:
    from mistral_common.protocol.fim.request import FIMRequest
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    theirs = MistralTokenizer.v3()
    tokenizer = FastTokenizer(mistral)
    template = template_for(tokenizer)
    draw = random.Random(0)
    texts = [inspect.getsource(shlex), inspect.getsource(textwrap), "é漢字🙂\r\n\t  </s>[PREFIX] x" * 20]
    for text in texts:
        for cursor in [0, len(text), *(draw.randrange(len(text)) for _ in range(40))]:
            prefix, suffix = text[:cursor], text[cursor:]
            expected = theirs.encode_fim(FIMRequest(prompt=prefix, suffix=suffix)).tokens
            assert expected == template.render(tokenizer, prefix, suffix, 40_000, 0.6)
