"""Distribution alignment: how often each verified sample is trained on (paper 4.5).

A global decision in three steps: `histogram` counts each shard, counts are added up, `plan` turns them into
one factor for each band, and `balance` applies the factors row by row. A factor of 2.3 means two copies and a
third one for 30% of the rows. Draws are keyed by the sample id and do not change with batch, shard or order.
A row that gets no copy keeps its place with a `drop`. The paper's three dimensions:

Voids. The paper gives 1:10 at 50,000 samples and "fewer" beyond. Our choice, with n non-void samples:
`ratio(n) = void_ratio * min(1, (void_pivot / n) ** void_exponent)` voids for each non-void copy, exponent
0.5: 1:10 up to 50,000, 1:20 at 200,000, 1:100 at 5 million. So the number of voids grows with the root of the
data: ten times the data brings three times the silence, which is a "simple pattern" that is soon learned, and
yet never less of it. Evidence: the anchor is the paper's, the exponent is ours; `search` measures the ratio
on one's own data, a fall with scale needs more data than we have. Voids are never copied up. They are thinned
in two strata, those that the model finds easier and harder than the median void, and at least
`void_hard_share` of what stays is from the harder half: thinned blindly, a set of voids is mostly line ends,
where every model is silent anyway. The tail rule below does not touch voids: a void that surprises is the
lesson.

Lengths, by tokens of the target. The medium band is copied up to its share, at most `max_copies` times, never
down; short and long are sampled down until they stand to medium as their shares do, never up, and never below
`keep_at_least`, so that a corpus of few medium targets is not thrown away for the sake of a ratio. Closing
brackets alone are short whatever their number. Where nobody counted tokens, CHARS_PER_TOKEN stands in.

Perplexity. Of each length band the tail above `perplexity_quantile` is kept at the rate `tail_keep`: what
only its author could know. By band, because short targets scatter more: on the office data (8,517 targets,
base model) a common threshold would take two thirds of the tail from targets of one or two tokens, a quarter
of all. There the tail is mistyped words ("retuen", "ibstall"); text that was mostly pasted, which the paper
gives as its example, surprises less than the rest (median 9 against 23), because people paste code from
nearby. Histograms have bins of 5% and add up; the tail begins at the edge of a bin, so that counts of shards
decide it exactly. A row without perplexity is never judged.

Not covered: languages and users, whose mixture is left as it is.
"""

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from pydantic import Field, model_validator

from echo_ray import rng, schema
from echo_ray.config import Config
from echo_ray.errors import SchemaError
from echo_ray.schema import Drop
from echo_ray.stages import conform, extend, rows
from echo_ray.stages.counts import GROUPS, LENGTHS, Counts, Group, tail
from echo_ray.stages.surprisal import bin_of

NEEDED = ("sample_id", "target")
"""Columns without which nothing can be balanced; others may be missing."""
CHARS_PER_TOKEN = 4
"""Stands in for a tokenizer where `target_tokens` is null: usual for large vocabularies; the bundled
tokenizer of 8,192 tokens has 3.2 on targets."""
_TRIVIAL = re.compile(r"[\s)\]};,]+\Z")


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
    void_exponent: float = Field(0.5, ge=0, le=1)
    """How fast the ratio falls beyond the pivot; 0 keeps it constant, 1 keeps the number of voids."""
    void_hard_share: float = Field(0.5, ge=0, le=1)
    """Least share of the kept voids that the model finds harder than the median void."""
    short_tokens: int = Field(3, ge=1)
    """Targets with fewer tokens than this are short. One and two tokens: 26% of the office's targets."""
    long_tokens: int = Field(40, ge=1)
    """Targets with more tokens than this are long; `distil`'s own limits leave few (0.4% of the office)."""
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
    perplexity_quantile: float = Field(0.97, gt=0, le=1)
    """Where the tail of a length band begins (share of its rows below it); 1 has no tail."""
    tail_keep: float = Field(0.25, ge=0, le=1)
    """Share of the tail that is kept."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        total = self.short_share + self.medium_share + self.long_share
        if abs(total - 1) > 1e-6:
            raise ValueError(f"short_share, medium_share and long_share must add up to 1, not {total:g}")
        if self.short_tokens > self.long_tokens:
            raise ValueError("short_tokens must not be greater than long_tokens")
        return self


class Plan(Config):
    """Expected copies of a row of each band, where the bands begin, and the void ratio that was asked for."""

    void: float = Field(ge=0, le=1)
    """Copies of a void without perplexity."""
    void_easy: float = Field(ge=0, le=1)
    """Copies of a void in or below the bin `hard_from`."""
    void_hard: float = Field(ge=0, le=1)
    """Copies of a void from the bin `hard_from` on."""
    short: float = Field(ge=0, le=1)
    """Copies of a short target that is not in the tail, or stayed of it."""
    medium: float = Field(ge=1)
    """Copies of such a medium target."""
    long: float = Field(ge=0, le=1)
    """Copies of such a long target."""
    hard_from: int | None
    """First bin of perplexity of the harder voids; null when none has a perplexity."""
    tails: dict[str, int]
    """First bin of the tail of each length band that has one."""
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


def group(target: str, tokens: int | None, config: BalanceConfig) -> str:
    """Which of GROUPS a target of that many tokens (null: estimated) belongs to."""
    if not target:
        return "void"
    size = tokens if tokens is not None else -(-len(target) // CHARS_PER_TOKEN)
    if size < config.short_tokens or _TRIVIAL.match(target):
        return "short"
    return "long" if size > config.long_tokens else "medium"


def known(perplexity: float | None) -> int | None:
    """Bin of a perplexity; None for null and for what is not a number."""
    return None if perplexity is None or math.isnan(perplexity) else bin_of(perplexity)


def histogram(table: pa.Table, config: BalanceConfig) -> Counts:
    """Counts of one shard of verified samples; rows with a `drop` do not count."""
    table = conform(table, schema.SCORED, NEEDED, "balance")
    found: Counter[str] = Counter()
    bins: dict[str, Counter[int]] = {name: Counter() for name in GROUPS}
    for drop, target, tokens, perplexity in rows(table, ("drop", "target", "target_tokens", "perplexity")):
        if drop is not None:
            continue
        if target is None:
            raise SchemaError("balance: a row without a drop has no target: distil and verify it first")
        kind = group(target, tokens, config)
        found[kind] += 1
        number = known(perplexity)
        if number is not None:
            bins[kind][number] += 1
    return Counts(**{name: Group(rows=found[name], bins=dict(sorted(bins[name].items()))) for name in GROUPS})


def plan(counts: Counts, config: BalanceConfig) -> Plan:
    """Factors for a data set with these counts."""
    tails: dict[str, int] = {}
    left: dict[str, float] = {}  # rows that the tail rule is expected to leave
    for name in LENGTHS:
        band: Group = getattr(counts, name)
        first = tail(band.bins, config.perplexity_quantile)
        left[name] = band.rows - (1 - config.tail_keep) * band.above(first)
        if first is not None:
            tails[name] = first
    total = sum(left.values())
    medium = _within(1.0, config.medium_share * total, left["medium"], config.max_copies)
    # Bands are measured against medium; without any medium there is nothing to balance against.
    anchor = medium * left["medium"] / config.medium_share if left["medium"] else math.inf
    short = _within(config.keep_at_least, config.short_share * anchor, left["short"], 1.0)
    long = _within(config.keep_at_least, config.long_share * anchor, left["long"], 1.0)
    copies = short * left["short"] + medium * left["medium"] + long * left["long"]
    ratio = void_ratio(counts.non_void, config)
    return Plan(
        **_voids(counts.void, ratio * copies, config.void_hard_share),
        short=short,
        medium=medium,
        long=long,
        tails=tails,
        ratio=ratio,
    )


def applied(config: BalanceConfig, decided: Plan) -> Applied:
    """The settings of the `balance` stage: `config` with the plan in it."""
    return Applied(**config.model_dump(), plan=decided)


def band_of(target: str, tokens: int | None, perplexity: float | None, config: Applied) -> str:
    """A row's band: its length, for voids with `_easy` or `_hard`, for others with `_tail` where they are."""
    kind, number = group(target, tokens, config), known(perplexity)
    if number is None:
        return kind
    if kind == "void":
        first = config.plan.hard_from
        return kind if first is None else "void_hard" if number >= first else "void_easy"
    first = config.plan.tails.get(kind)
    return kind if first is None or number < first else f"{kind}_tail"


def copies(sample_id: str, factor: float, seed: int) -> int:
    """Whole copies of one row: `factor` on average, by a draw keyed by `sample_id`."""
    whole = int(factor)
    return whole + (rng.unit(seed, sample_id, "balance") < factor - whole)


def decide(sample_id: str, band: str, config: Applied) -> tuple[int, Drop | None]:
    """(copies, reason where there are none) of a row in `band`."""
    if band.endswith("_tail") and rng.unit(config.seed, sample_id, "tail") >= config.tail_keep:
        return 0, Drop.PERPLEXITY_TAIL
    number = copies(sample_id, getattr(config.plan, band.removesuffix("_tail")), config.seed)
    if number:
        return number, None
    return 0, Drop.VOID_QUOTA if band.startswith("void") else Drop.LENGTH_BAND


def balance(table: pa.Table, config: Applied) -> pa.Table:
    """SCORED rows to BALANCED rows; rows that have or get a `drop` have 0 copies."""
    table = conform(table, schema.SCORED, NEEDED, "balance")
    drops: list[str | None] = table.column("drop").to_pylist()
    counts = [0] * len(drops)
    bands: list[str | None] = [None] * len(drops)
    names = ("sample_id", "target", "target_tokens", "perplexity")
    for row, (sample_id, target, tokens, perplexity) in enumerate(rows(table, names)):
        if drops[row] is not None:
            continue
        bands[row] = band = band_of(target, tokens, perplexity, config)
        counts[row], drop = decide(sample_id, band, config)
        drops[row] = None if drop is None else drop.value
    return extend(table, schema.BALANCED, {"drop": drops, "copies": counts, "band": bands})


def tally(table: pa.Table) -> dict[str, dict[str, int]]:
    """Rows and copies of each band of BALANCED rows; they add up over shards."""
    found: dict[str, dict[str, int]] = {}
    for band, number in rows(table, ("band", "copies")):
        if band is not None:
            entry = found.setdefault(band, {"rows": 0, "copies": 0})
            entry["rows"] += 1
            entry["copies"] += number
    return dict(sorted(found.items()))


def _voids(voids: Group, quota: float, hard_share: float) -> dict[str, Any]:
    """Copies of the three kinds of voids that make `quota`, and where the harder half begins."""
    half = voids.scored / 2
    below, first = 0, None
    for number in sorted(voids.bins):
        below += voids.bins[number]
        if below >= half:
            first = number + 1
            break
    hard = voids.above(first)
    easy, unknown = voids.scored - hard, voids.rows - voids.scored
    share = (
        quota * voids.scored / voids.rows if voids.rows else 0.0
    )  # of the quota, for voids with perplexity
    of_hard = min(hard, max(hard_share * share, share - easy))
    return {
        "void": _within(0.0, quota - share, unknown, 1.0),
        "void_easy": _within(0.0, share - of_hard, easy, 1.0),
        "void_hard": _within(0.0, of_hard, hard, 1.0),
        "hard_from": first,
    }


def _within(low: float, wanted: float, available: float, high: float) -> float:
    """Copies of each of `available` rows that make `wanted`, kept between `low` and `high`."""
    if not available or wanted == math.inf:
        return min(1.0, high)
    return min(high, max(low, wanted / available))
