"""Samples as text for other trainers: strings that a tokenizer turns into exactly the ids that `pack` makes.

A prompt is rendered by `pack` itself, as ids; sentinels become their strings and the rest is decoded. That a
tokenizer makes the same ids of the text again is not a matter of course: a window that was cut inside a word
may be put together otherwise, a character may have been cut in its bytes, and a sentinel that stands in
somebody's file would become a command. So every row is tokenized again, special tokens parsed, and compared:

- equal: exported as it is (all of 1,500 samples of flask and httpx with the bundled tokenizer);
- not equal, because of the edges of the window, which lie far from the cursor: up to `EDGE_TOKENS` ids are
  left out there until it is equal, and the row counts as `edge_moved`;
- not equal at all (a sentinel in the text, bytes that are no text): left out, with a reason.

The target is never changed. Not covered: tokenizers that are no `tokenizer.json`, and those that put a space
before every text (CodeLlama, Mistral's older ones): the strings that trainers would join cannot be told from
strings with that space, so a model with one is refused.
"""

from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from echo_ray.errors import SchemaError
from echo_ray.prompts import FastTokenizer, Template, template_for
from echo_ray.schema import Drop
from echo_ray.stages.pack import PackConfig, encode

EDGE_TOKENS = 8
"""Most ids that are left out at one edge of a window that was cut, before a row is given up."""


class Left(StrEnum):
    """Why a sample that is trained on is not exported."""

    NO_ROOM = Drop.NO_ROOM.value
    """Prompt and target do not fit `pack.cutoff_len`."""
    NOT_TEXT = "not_text"
    """No text gives the ids: a sentinel stands in the code, or the target is no text."""


class Text(NamedTuple):
    """A sample as text."""

    prompt: str
    target: str
    """Without the end token."""
    moved: bool
    """Whether the window is a few tokens smaller than that of `pack`."""
    tokens: int
    """Ids of prompt, target and end token."""


class Renderer:
    """Turns samples into text for one model. Raises SchemaError for a tokenizer that changes texts."""

    def __init__(self, folder: Path, config: PackConfig) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = FastTokenizer(folder)
        self.template: Template = template_for(self.tokenizer)
        self._config = config
        if self.tokenizer.leading_space:
            raise SchemaError(
                f"{folder}: its tokenizer puts a space before every text, so no text gives the ids of "
                "training: train with echo-ray train, or change export.model"
            )
        self._parsing: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._parsing.no_truncation()
        self._parsing.no_padding()

    @cached_property
    def sentinels(self) -> dict[int, str]:
        """Strings of the sentinels in a prompt, and of the end token, by id."""
        return {number: self._parsing.id_to_token(number) for number in (*self._borders, self.template.end)}

    @property
    def end(self) -> str:
        """The end token."""
        return self.sentinels[self.template.end]

    @cached_property
    def begins(self) -> list[int]:
        """Ids that the tokenizer puts before any text of its own accord, which `pack` does not."""
        bare, full = (self._parsing.encode("x", add_special_tokens=added).ids for added in (False, True))
        return full[: len(full) - len(bare)] if full[len(full) - len(bare) :] == bare else []

    def ids(self, text: str) -> list[int]:
        """Ids of `text` as a trainer makes them: sentinels in it are sentinels."""
        found: list[int] = self._parsing.encode(text, add_special_tokens=False).ids
        return found

    def render(self, prefix: str, suffix: str, target: str) -> Text | Left:
        """The sample as text whose ids are those of `pack`."""
        encoded = encode(prefix, suffix, target, self.tokenizer, self.template, self._config)
        if isinstance(encoded, Drop):
            return Left.NO_ROOM
        packed, size = encoded
        if self.ids(target + self.end) != packed[size:]:
            return Left.NOT_TEXT
        for moved, ids in enumerate(self._windows(packed[:size], prefix, suffix)):
            text = self._text(ids)
            if text is not None:
                return Text(text, target, moved > 0, len(ids) + len(packed) - size)
        return Left.NOT_TEXT

    def _windows(self, prompt: list[int], prefix: str, suffix: str) -> Iterator[list[int]]:
        """The prompt, then with fewer ids at those edges where a text was cut and does not come back."""
        yield prompt
        sides = (self.template.prefix, self.template.suffix)
        first, second = (place for place, number in enumerate(prompt) if number in sides)
        last = len(prompt) - (self.template.middle is not None)
        parts = {prompt[first]: prompt[first + 1 : second], prompt[second]: prompt[second + 1 : last]}
        left, right = parts[self.template.prefix], parts[self.template.suffix]
        most = [
            EDGE_TOKENS * (self.tokenizer.decode(ids) != whole)
            for ids, whole in ((left, prefix), (right, suffix))
        ]
        start = next((cut for cut in range(most[0] + 1) if self._stands(left[cut:])), None)
        stop = next((cut for cut in range(most[1] + 1) if self._stands(right[: len(right) - cut])), None)
        if start is None or stop is None:
            return
        kept = {self.template.prefix: left[start:], self.template.suffix: right[: len(right) - stop]}
        one, other = prompt[first], prompt[second]
        yield [*prompt[: first + 1], *kept[one], other, *kept[other], *prompt[last:]]

    @cached_property
    def _borders(self) -> frozenset[int]:
        found = (self.template.begin, self.template.prefix, self.template.suffix, self.template.middle)
        return frozenset(number for number in found if number is not None)

    def _stands(self, ids: list[int]) -> bool:
        """Whether a window comes back from its text."""
        return self.ids(self.tokenizer.decode(ids, skip_special_tokens=False)) == ids

    def _text(self, ids: list[int]) -> str | None:
        """The text of a prompt; None when it does not give the ids again."""
        pieces, run = [], list[int]()
        for number in ids:
            if number in self._borders:
                pieces += [self.tokenizer.decode(run, skip_special_tokens=False), self.sentinels[number]]
                run = []
            else:
                run.append(number)
        text = "".join(pieces)
        return text if self.ids(text) == ids else None
