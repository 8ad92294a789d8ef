"""A model's `tokenizer.json` as prompts need it: text in, exactly that text as ids out; no transformers.

Two habits of published tokenizers are undone when the file is read, because both would make what a user wrote
something else:

- a sentinel written in somebody's source file is text. `encode` finds no control token in any text, also
  where a tokenizer declares its sentinels as ordinary tokens (Qwen2.5-Coder, DeepSeek);
- SentencePiece tokenizers put a space before every text and take it away when they decode (CodeLlama,
  Mistral). Here they do neither: a suffix or an answer begins where it begins. `leading_space` says that the
  models were trained with that space before a document; `Template.render` gives it to a prefix that is whole.

`decode(encode(text)) == text` for every text, but that SentencePiece knows U+2581 as a space only.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from echo_ray.errors import SchemaError
from echo_ray.prompts.families import is_control


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that prompts need."""

    def encode(self, text: str, *, add_special_tokens: bool = ...) -> list[int]:
        """Token ids of `text`."""

    def convert_tokens_to_ids(self, tokens: str) -> Any:
        """Id of one token, or the unknown token's id."""


class Pieces:
    """A tokenized text whose tokens know where they begin."""

    def __init__(self, encoding: Any, text: str) -> None:
        self.ids: list[int] = encoding.ids
        self.text = text
        self._encoding = encoding

    def start(self, token: int) -> int:
        """Where token number `token` begins in the text (characters); past the last one, the text's length.

        A token that is part of a character begins where the character does.
        """
        if token >= len(self.ids):
            return len(self.text)
        span = self._encoding.token_to_chars(token)
        return len(self.text) if span is None else int(span[0])


class FastTokenizer:
    """A `tokenizer.json`, which every Hugging Face folder with a fast tokenizer holds."""

    unk_token_id: int | None = None

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer as Core

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise SchemaError(f"{folder} has no tokenizer.json: name the folder of a complete model")
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
            self.leading_space: bool = _plain(described)
            self._core = Core.from_str(json.dumps(described))
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception for any bad file
            raise SchemaError(f"{path} cannot be read: {str(error)[:200]}") from None
        self._core.encode_special_tokens = True
        self.vocabulary: int = self._core.get_vocab_size(with_added_tokens=True)
        self.highest_id: int = max(self._core.get_vocab(with_added_tokens=True).values(), default=-1)

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Token ids of `text`, which is data: sentinels written in it stay ordinary characters."""
        ids: list[int] = self._encoding(text, add_special_tokens).ids
        return ids

    def pieces(self, text: str) -> Pieces:
        """`encode` with the places of the tokens."""
        return Pieces(self._encoding(text, False), text)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of `ids`."""
        text: str = self._core.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def convert_tokens_to_ids(self, tokens: str) -> int | None:
        """Id of one token; None when the vocabulary does not have it."""
        number: int | None = self._core.token_to_id(tokens)
        return number

    def token(self, number: int) -> str | None:
        """The token with that id; None when there is none."""
        found: str | None = self._core.id_to_token(number) if 0 <= number <= self.highest_id else None
        return found

    def _encoding(self, text: str, add_special_tokens: bool) -> Any:
        try:
            return self._core.encode(text, add_special_tokens=add_special_tokens)
        except (UnicodeEncodeError, TypeError):
            # Half of a surrogate pair, which no encoding can write: one question mark each.
            whole = text.encode("utf-8", "replace").decode("utf-8")
            return self._core.encode(whole, add_special_tokens=add_special_tokens)


def _plain(described: dict[str, Any]) -> bool:
    """Make a tokenizer's description one that keeps texts as they are; whether it put a space before them."""
    described["truncation"] = described["padding"] = None
    added = described.get("added_tokens") or []
    for token in added:
        token["special"] = token["special"] or is_control(token["content"])
    model = described.get("model") or {}
    if model.get("merges"):
        controls = {token["content"] for token in added if token["special"]}
        model["merges"] = [pair for pair in model["merges"] if _merged(pair) not in controls]
    before = _steps(described, "normalizer", "normalizers") + _steps(
        described, "pre_tokenizer", "pretokenizers"
    )
    spaced = [_without_space(step) for step in before]
    _drop(described, "normalizer", "normalizers", "Prepend")
    for step in _steps(described, "decoder", "decoders"):
        _without_space(step)
    if any(spaced):
        _drop(described, "decoder", "decoders", "Strip")
    return any(spaced)


def _merged(pair: str | list[str]) -> str:
    return "".join(pair) if isinstance(pair, list) else pair.replace(" ", "", 1)


def _steps(described: dict[str, Any], part: str, inner: str) -> list[dict[str, Any]]:
    """The steps of one part of a tokenizer, alone or in a (nested) sequence."""
    found = described.get(part)
    if found is None:
        return []
    if found.get("type") == "Sequence":
        return [step for one in found[inner] for step in _steps({part: one}, part, inner)]
    return [found]


def _without_space(step: dict[str, Any]) -> bool:
    """Tell one step not to put a space before a text; whether it did."""
    kind = step.get("type")
    if kind == "Prepend":
        return True
    if kind == "Metaspace":
        did = (
            step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) else "never") != "never"
        )
        step["prepend_scheme"] = "never"
        step.pop("add_prefix_space", None)
        return bool(did)
    if kind == "ByteLevel" and step.get("add_prefix_space"):
        step["add_prefix_space"] = False
        return True
    return False


def _drop(described: dict[str, Any], part: str, inner: str, kind: str) -> None:
    """Leave the steps of one kind out of one part."""
    found = described.get(part)
    if found is None:
        return
    if found.get("type") == kind:
        described[part] = None
    elif found.get("type") == "Sequence":
        for one in found[inner]:
            if one.get("type") == "Sequence":
                _drop({part: one}, part, inner, kind)
        found[inner] = [one for one in found[inner] if one.get("type") != kind]
