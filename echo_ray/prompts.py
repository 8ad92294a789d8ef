"""Fill-in-the-middle prompts: one function renders for training and for serving, so they cannot differ.

A `Template` is built from a tokenizer's own sentinel tokens; a tokenizer that knows none of the
registered sets is refused, never served with raw text. `render` works in token ids: the prompt is
`sentinels + suffix + prefix` within a token budget, cut far from the cursor, and never cuts a target.

Layout: suffix first (SPM) where the model was trained that way, because on a keystroke stream the
prompt then only grows at its end and a prefix cache answers almost all of it; prefix first (PSM) for
models trained so. Covered: our own tokenizer and Qwen2.5-Coder, StarCoder2, DeepSeek-Coder. Not
covered: repository-level context and cross-file snippets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from echo_ray.errors import SchemaError

OWN_PREFIX, OWN_SUFFIX, OWN_MIDDLE, OWN_END = (
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
    "<|endoftext|>",
)
"""Sentinels of the bundled tokenizer; the same strings that Qwen2.5-Coder uses."""

OWN_MARK = "<|echo_spm|>"
"""Marks a tokenizer of ours, whose models are trained suffix-first."""


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that prompts need."""

    def encode(self, text: str, *, add_special_tokens: bool = ...) -> list[int]:
        """Token ids of `text`."""

    def convert_tokens_to_ids(self, tokens: str) -> Any:
        """Id of one token, or the unknown token's id."""


@dataclass(frozen=True, slots=True)
class Template:
    """FIM sentinels of one model as token ids, and the order it was trained with."""

    name: str
    order: Literal["spm", "psm"]
    prefix: int
    suffix: int
    middle: int
    end: int

    def render(
        self, tokenizer: Tokenizer, prefix: str, suffix: str, max_tokens: int, suffix_share: float = 0.3
    ) -> list[int]:
        """Prompt ids, at most `max_tokens`, of which the suffix takes at most `suffix_share`.

        The suffix keeps its start and the prefix its end: text far from the cursor goes first. What the
        suffix leaves unused belongs to the prefix. Texts are cut in characters before they are
        tokenized (at most 8 characters per token kept), so a huge file costs no more than its window.
        The left edge moves in steps of an eighth of the room, not with every key, so that consecutive
        prompts of one keystroke stream begin alike and a prefix cache answers them.
        """
        room = max_tokens - 3
        window = 8 * max_tokens
        right = tokenizer.encode(suffix[:window], add_special_tokens=False)[: int(room * suffix_share)]
        left_room = room - len(right)
        start = _in_steps(len(prefix) - window, window // 8)
        left = tokenizer.encode(prefix[start:], add_special_tokens=False)
        left = left[_in_steps(len(left) - left_room, left_room // 8) :]
        if self.order == "spm":
            return [self.suffix, *right, self.prefix, *left, self.middle]
        return [self.prefix, *left, self.suffix, *right, self.middle]


def _in_steps(excess: int, step: int) -> int:
    """Least multiple of `step` that removes `excess`; 0 when there is none."""
    step = max(1, step)
    return -(-max(0, excess) // step) * step


_KNOWN: tuple[tuple[str, Literal["spm", "psm"], str, str, str, str], ...] = (
    ("echo", "spm", OWN_PREFIX, OWN_SUFFIX, OWN_MIDDLE, OWN_END),
    ("qwen2.5-coder", "psm", OWN_PREFIX, OWN_SUFFIX, OWN_MIDDLE, OWN_END),
    ("starcoder2", "psm", "<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<|endoftext|>"),
    ("deepseek-coder", "psm", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "<｜end▁of▁sentence｜>"),
)


def template_for(tokenizer: Tokenizer) -> Template:
    """Template whose sentinels `tokenizer` holds as single tokens.

    Raises SchemaError with the list of known families when there is none.
    """
    for name, order, *sentinels in _KNOWN:
        if name == "echo" and _token_id(tokenizer, OWN_MARK) is None:
            continue
        ids = [_token_id(tokenizer, token) for token in sentinels]
        if all(number is not None for number in ids):
            prefix, suffix, middle, end = (int(number) for number in ids if number is not None)
            return Template(name, order, prefix, suffix, middle, end)
    families = ", ".join(entry[0] for entry in _KNOWN)
    raise SchemaError(f"the tokenizer has no known fill-in-the-middle tokens; known families: {families}")


def _token_id(tokenizer: Tokenizer, token: str) -> int | None:
    number = tokenizer.convert_tokens_to_ids(token)
    if not isinstance(number, int):
        return None
    unknown = getattr(tokenizer, "unk_token_id", None)
    return None if number == unknown else number


class FastTokenizer:
    """A `tokenizer.json`, which every Hugging Face folder with a fast tokenizer holds; no transformers."""

    unk_token_id: int | None = None

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer as Core

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise SchemaError(f"{folder} has no tokenizer.json: name the folder of a complete model")
        try:
            self._core = Core.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception for any bad file
            raise SchemaError(f"{path} cannot be read: {str(error)[:200]}") from None
        # A sentinel that stands in somebody's source file is text, not a command to the model.
        self._core.encode_special_tokens = True
        self.vocabulary: int = self._core.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Token ids of `text`, which is data: sentinels written in it stay ordinary characters."""
        ids: list[int] = self._core.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of `ids`."""
        text: str = self._core.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def convert_tokens_to_ids(self, tokens: str) -> int | None:
        """Id of one token; None when the vocabulary does not have it."""
        number: int | None = self._core.token_to_id(tokens)
        return number
