"""Distribution alignment: how often each verified sample is trained on (paper 4.5).

A global decision in three steps: `histogram` counts each shard, counts are added up, `plan` turns them
into one factor for voids and one for each length band, and `balance` applies the factors row by row.
A factor of 2.3 means two copies and a third one for 30% of the rows. The draw is keyed by the sample id
and does not change with batch, shard or order. A row that gets no copy keeps its place with a `drop`.

Our choice, voids: the paper gives 1:10 at 50,000 samples and "fewer" beyond. With n non-void samples the
ratio of voids to non-voids is `void_ratio * min(1, (void_pivot / n) ** void_exponent)`, with exponent
0.5: 1:10 up to 50,000, 1:20 at 200,000; voids are never copied up to reach it.
Our choice, lengths: bands are by characters of the target. The medium band is copied up to its share,
at most `max_copies` times, never down; short and long are sampled down until they stand to medium as
their shares do, never up, and never below `keep_at_least`, so that a corpus of few medium targets is
not thrown away for the sake of a ratio.

Not covered: perplexity ("PPL-based denoising"), which needs a model; languages and users, whose mixture
is left as it is.
"""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import pyarrow as pa
from pydantic import Field, model_validator

from echo_ray import rng, schema
from echo_ray.config import Config
from echo_ray.schema import Drop
from echo_ray.stages import extend, require, rows

GROUPS = ("void", "short", "medium", "long")
"""What a row that is still in can be, by characters of its target."""


class BalanceConfig(Config):
    """Settings of `balance`."""

    input: Path | None = None
    """Folder of verified samples."""
    output: Path | None = None
    """Folder for the balanced samples."""
    seed: int = 0
    """Seed of the keyed draws."""
    void_ratio: float = Field(0.1, ge=0)
    """Voids for each non-void sample, up to `void_pivot` non-void samples; 0 trains on no voids."""
    void_pivot: int = Field(50_000, ge=1)
    """Number of non-void samples from which the ratio falls."""
    void_exponent: float = Field(0.5, ge=0)
    """How fast the ratio falls beyond the pivot; 0 keeps it constant."""
    short_chars: int = Field(8, ge=1)
    """Targets with fewer characters than this are short."""
    long_chars: int = Field(120, ge=1)
    """Targets with more characters than this are long."""
    short_share: float = Field(0.1, ge=0, le=1)
    """Share of short targets wanted among the non-void copies."""
    medium_share: float = Field(0.8, gt=0, le=1)
    """Share of medium targets wanted among the non-void copies."""
    long_share: float = Field(0.1, ge=0, le=1)
    """Share of long targets wanted among the non-void copies."""
    max_copies: float = Field(2.0, ge=1)
    """Medium targets are copied at most this often on average."""
    keep_at_least: float = Field(0.2, ge=0, le=1)
    """Short and long targets are kept at least at this rate."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        total = self.short_share + self.medium_share + self.long_share
        if abs(total - 1) > 1e-6:
            raise ValueError(f"short_share, medium_share and long_share must add up to 1, not {total:g}")
        if self.short_chars > self.long_chars:
            raise ValueError("short_chars must not be greater than long_chars")
        return self


class Counts(Config):
    """Rows that are still in, by group. Counts of shards add up."""

    void: int = 0
    """Empty targets."""
    short: int = 0
    """Targets below `short_chars`."""
    medium: int = 0
    """Targets between the two limits, both included."""
    long: int = 0
    """Targets above `long_chars`."""

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{group: getattr(self, group) + getattr(other, group) for group in GROUPS})

    @classmethod
    def total(cls, shards: Iterable["Counts"]) -> "Counts":
        """Sum over shards; no shards give zero counts."""
        return functools.reduce(cls.__add__, shards, cls())

    @property
    def non_void(self) -> int:
        """Rows with a target."""
        return self.short + self.medium + self.long


class Plan(Config):
    """Expected copies of a row of each group, and the void ratio that the schedule asked for."""

    void: float = Field(ge=0)
    """Copies of a void, at most 1."""
    short: float = Field(ge=0)
    """Copies of a short target, at most 1."""
    medium: float = Field(ge=0)
    """Copies of a medium target, at least 1."""
    long: float = Field(ge=0)
    """Copies of a long target, at most 1."""
    ratio: float = Field(ge=0)
    """Voids for each non-void copy that the schedule wants; fewer when there are not enough."""


class Applied(BalanceConfig):
    """What `balance` needs in a worker: the settings and the plan made from all shards."""

    plan: Plan
    """Factors of this data set."""


def void_ratio(non_void: int, config: BalanceConfig) -> float:
    """Voids wanted for each non-void sample in a data set of `non_void` such samples (paper 4.5)."""
    scale: float = (config.void_pivot / max(non_void, 1)) ** config.void_exponent
    return config.void_ratio * min(1.0, scale)


def group(target: str, config: BalanceConfig) -> str:
    """Which of GROUPS a target belongs to."""
    size = len(target)
    if not size:
        return "void"
    if size < config.short_chars:
        return "short"
    return "long" if size > config.long_chars else "medium"


def histogram(table: pa.Table, config: BalanceConfig) -> Counts:
    """Counts of one shard of verified samples; rows with a `drop` do not count."""
    require(table, schema.VERIFIED, "balance")
    found = dict.fromkeys(GROUPS, 0)
    for drop, target in rows(table, ("drop", "target")):
        if drop is None:
            found[group(target, config)] += 1
    return Counts(**found)


def plan(counts: Counts, config: BalanceConfig) -> Plan:
    """Factors for a data set with these counts."""
    ratio = void_ratio(counts.non_void, config)
    medium = _within(1.0, config.medium_share * counts.non_void, counts.medium, config.max_copies)
    # Bands are measured against medium; without any medium there is nothing to balance against.
    anchor = medium * counts.medium / config.medium_share if counts.medium else float("inf")
    short = _within(config.keep_at_least, config.short_share * anchor, counts.short, 1.0)
    long = _within(config.keep_at_least, config.long_share * anchor, counts.long, 1.0)
    copies = short * counts.short + medium * counts.medium + long * counts.long
    return Plan(
        void=_within(0.0, ratio * copies, counts.void, 1.0),
        short=short,
        medium=medium,
        long=long,
        ratio=ratio,
    )


def applied(config: BalanceConfig, decided: Plan) -> Applied:
    """The settings of the `balance` stage: `config` with the plan in it."""
    return Applied(**config.model_dump(), plan=decided)


def copies(sample_id: str, factor: float, seed: int) -> int:
    """Whole copies of one row: `factor` on average, by a draw keyed by `sample_id`."""
    whole = int(factor)
    return whole + (rng.unit(seed, sample_id, "balance") < factor - whole)


def balance(table: pa.Table, config: Applied) -> pa.Table:
    """VERIFIED rows to BALANCED rows; rows that have or get a `drop` have 0 copies."""
    require(table, schema.VERIFIED, "balance")
    drops: list[str | None] = table.column("drop").to_pylist()
    counts = [0] * len(drops)
    for row, (sample_id, target) in enumerate(rows(table, ("sample_id", "target"))):
        if drops[row] is not None:
            continue
        kind = group(target, config)
        counts[row] = copies(sample_id, getattr(config.plan, kind), config.seed)
        if not counts[row]:
            drops[row] = (Drop.VOID_QUOTA if kind == "void" else Drop.LENGTH_BAND).value
    return extend(table, schema.BALANCED, {"drop": drops, "copies": counts})


def _within(low: float, wanted: float, available: int, high: float) -> float:
    """Copies of each of `available` rows that make `wanted`, kept between `low` and `high`."""
    if not available or wanted == float("inf"):
        return min(1.0, high)
    return min(high, max(low, wanted / available))
