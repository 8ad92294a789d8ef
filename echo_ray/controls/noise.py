"""Paste noise with known truth: some commits become blocks of foreign code (for the study of perplexity).

The paper removes surprising edits because they "often indicate non-standard behaviors (e.g., pasting large
distinct blocks)" (4.5). Here such blocks are put in on purpose, before `distil`, so that every later stage
can be asked how many of them it found, and how much clean data it took with them. Which rows have noise
depends on (seed, sample id) alone: `is_pasted` recomputes the truth, nothing in the data gives it away, and
a larger share holds the rows of a smaller one.
"""

from collections import Counter, defaultdict

import pyarrow as pa
from pydantic import Field

from echo_ray import rng, schema
from echo_ray.config import Config
from echo_ray.controls import Controlled, replaced
from echo_ray.controls.static import FILES
from echo_ray.stages import conform, rows


class NoiseConfig(Config):
    """Settings of `paste_noise`."""

    share: float = Field(0.05, ge=0, le=1)
    """Share of the samples with text whose commit becomes a pasted block."""
    min_lines: int = Field(5, ge=1)
    """Fewest lines of a block (count)."""
    max_lines: int = Field(25, ge=1)
    """Most lines of a block (count)."""
    seed: int = 0
    """Seed of the keyed draws."""


def is_pasted(sample_id: str, config: NoiseConfig) -> bool:
    """Whether the row is one of those that get a pasted block, if it is a row with text."""
    return rng.unit(config.seed, sample_id, "paste noise") < config.share


def paste_noise(table: pa.Table, donors: pa.Table, config: NoiseConfig) -> Controlled:
    """`schema.SAMPLE` rows with pasted blocks; row by row. `donors` (`static.FILES`) are foreign files; a
    block is taken from one of the row's language, or of any where there is none (`other_language`).

    Rows with a `drop`, without text, or without a donor stay. Raises SchemaError for a missing column.
    """
    table = conform(table, schema.SAMPLE, ("sample_id", "commit"), "paste noise")
    donors = conform(donors, FILES, ("key", "text"), "paste noise")
    known: dict[str, list[list[str]]] = defaultdict(list)
    for _, language, text in sorted(rows(donors, ("key", "language", "text"))):
        lines = [line for line in (text or "").split("\n") if line.strip()]
        if len(lines) >= config.min_lines:
            known[language].append(lines)
            known[""].append(lines)
    columns = {
        name: table[name].to_pylist() for name in ("commit", "human_chars", "model_chars", "pasted_chars")
    }
    counts: Counter[str] = Counter(rows=table.num_rows, eligible=0, pasted=0, other_language=0)
    for row, (sample_id, language, commit, drop) in enumerate(
        rows(table, ("sample_id", "language", "commit", "drop"))
    ):
        if drop is not None or not (commit or "").strip():
            continue
        counts["eligible"] += 1
        files = known.get(language) or known[""]
        if not files or not is_pasted(sample_id, config):
            continue
        block = _block(sample_id, files, config)
        columns["commit"][row] = block
        columns["human_chars"][row] = columns["model_chars"][row] = 0
        columns["pasted_chars"][row] = len(block)
        counts["pasted"] += 1
        counts["other_language"] += language not in known
    return Controlled(replaced(table, **columns), dict(counts))


def _block(sample_id: str, files: list[list[str]], config: NoiseConfig) -> str:
    stream = rng.generator(config.seed, "paste block", sample_id)
    lines = files[stream.randrange(len(files))]
    size = min(stream.randint(config.min_lines, max(config.min_lines, config.max_lines)), len(lines))
    first = stream.randint(0, len(lines) - size)
    return "\n".join(lines[first : first + size])
