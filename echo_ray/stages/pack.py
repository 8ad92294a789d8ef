"""Samples to token ids and labels (paper 4.6): SFT on log p(target | P, S).

The prompt is rendered by the function that serving uses. Loss is on the target and the end token,
nothing else; a void sample's loss is on the end token alone: that is how silence is learned. A target is
never cut: a long one takes room from the context, and one that leaves less than `LEAST_PROMPT_TOKENS` for it
is dropped with a reason. `copies` becomes that many rows. Not covered: several samples in one sequence, which
is how training batches them (`train.packing`); snippets of other files, which no request carries yet.
"""

from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from echo_ray.config import Config
from echo_ray.errors import SchemaError
from echo_ray.prompts import FastTokenizer, Template, template_for
from echo_ray.schema import Drop

PACKED = pa.schema(
    [
        ("sample_id", pa.string()),
        ("user", pa.string()),
        ("copy", pa.int32()),
        ("input_ids", pa.list_(pa.int32())),
        ("prompt_tokens", pa.int32()),
        ("drop", pa.string()),
        ("language", pa.string()),
    ]
)
"""One row per copy. `input_ids[prompt_tokens:]` carry loss. Dropped rows have empty `input_ids`."""

LEAST_PROMPT_TOKENS = 16
"""A sample with less room for its context is dropped (tokens, sentinels included)."""


class PackConfig(Config):
    """Settings of `pack`."""

    input: Path | None = None
    """Folder of balanced samples."""
    output: Path | None = None
    """Folder for token ids and `manifest.json`."""
    model: Path | None = None
    """Model folder whose tokenizer and FIM tokens are used; the bundled base when absent."""
    cutoff_len: int = Field(512, ge=64)
    """Longest sequence, prompt and target together (tokens)."""
    suffix_share: float = Field(0.3, ge=0, le=0.9)
    """Most of the prompt that the suffix may take; keep it equal to `serve.suffix_share`."""
    context_tokens: int = Field(448, ge=16)
    """Prompt budget (tokens); keep it equal to `serve.context_tokens`."""


@lru_cache(maxsize=2)
def _load(folder: str) -> tuple[FastTokenizer, Template]:
    tokenizer = FastTokenizer(Path(folder))
    return tokenizer, template_for(tokenizer)


def encode(
    prefix: str, suffix: str, target: str, tokenizer: FastTokenizer, template: Template, config: PackConfig
) -> tuple[list[int], int] | Drop:
    """(ids, number of prompt tokens) of one sample, or NO_ROOM when its target is too long."""
    answer = [*tokenizer.encode(target), template.end]
    room = min(config.context_tokens, config.cutoff_len - len(answer))
    if room < LEAST_PROMPT_TOKENS:
        return Drop.NO_ROOM
    prompt = template.render(tokenizer, prefix, suffix, room, config.suffix_share)
    return [*prompt, *answer], len(prompt)


def pack(table: pa.Table, config: PackConfig) -> pa.Table:
    """`schema.BALANCED` rows in, `PACKED` rows out: one per copy that is trained on, one per new drop.

    Raises SchemaError for a row that is to be trained on and lacks a text.
    """
    assert config.model is not None
    tokenizer, template = _load(str(config.model))
    rows: list[tuple[str, str, int, list[int], int, str | None, str | None]] = []
    named = [name for name in _READ if name in table.column_names]
    for row in table.select(named).filter(pc.greater(table["copies"], 0)).to_pylist():
        sample, user, language = row["sample_id"], row["user"], row.get("language")
        prefix, suffix, target = row["prefix"], row["suffix"], row["target"]
        if prefix is None or suffix is None or target is None:
            raise SchemaError(f"pack: sample {sample!r} has copies and lacks a prefix, suffix or target")
        encoded = encode(prefix, suffix, target, tokenizer, template, config)
        if isinstance(encoded, Drop):
            rows.append((sample, user, 0, [], 0, encoded.value, language))
            continue
        rows.extend((sample, user, copy, *encoded, None, language) for copy in range(row["copies"]))
    columns = list(zip(*rows, strict=True)) or [()] * len(PACKED)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, PACKED, strict=True)], PACKED
    )


NEEDED = ("sample_id", "prefix", "suffix", "target", "copies")
"""Columns that a packed sample is made of; `balance` writes the last."""
_READ = (*NEEDED, "user", "language")
