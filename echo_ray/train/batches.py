"""Which samples make up which optimizer step: pure, deterministic by record id, almost no padding.

Samples of one step are chosen by keyed shuffle; inside a step they are sorted by length and cut into
micro-batches by token budget, dealt to the workers longest first. Every worker computes the same plan
from the same table, so nothing needs to be communicated.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from echo_ray.rng import unit


@dataclass(frozen=True, slots=True)
class Packed:
    """One training row: token ids of which the first `prompt` carry no loss."""

    key: str
    ids: Sequence[int]
    prompt: int

    @property
    def targets(self) -> int:
        """Tokens that carry loss."""
        return len(self.ids) - self.prompt


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step: micro-batches per worker, and the number of target tokens in all of them."""

    workers: tuple[tuple[tuple[int, ...], ...], ...]
    targets: int


def plan(
    rows: Sequence[Packed], batch: int, micro_tokens: int, workers: int, seed: int, epoch: int
) -> list[Step]:
    """Steps of one epoch. Every row appears once; workers get equally many micro-batches (some empty)."""
    order = sorted(range(len(rows)), key=lambda i: unit(seed, "order", epoch, rows[i].key))
    steps = []
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        shares: list[list[tuple[int, ...]]] = [[] for _ in range(workers)]
        loads = [0] * workers
        for micro in micro_batches(chosen, rows, micro_tokens):
            lightest = loads.index(min(loads))
            shares[lightest].append(micro)
            loads[lightest] += len(micro) * max(len(rows[i].ids) for i in micro)
        longest = max(len(share) for share in shares)
        even = tuple(tuple(share + [()] * (longest - len(share))) for share in shares)
        steps.append(Step(even, sum(rows[i].targets for i in chosen)))
    return steps


def micro_batches(
    chosen: Sequence[int], rows: Sequence[Packed], micro_tokens: int
) -> Iterator[tuple[int, ...]]:
    """Cut `chosen`, longest first, so that rows times the longest row stays within `micro_tokens`."""
    batch: list[int] = []
    for i in sorted(chosen, key=lambda i: (-len(rows[i].ids), rows[i].key)):
        longest = len(rows[batch[0]].ids) if batch else len(rows[i].ids)
        if batch and (len(batch) + 1) * longest > micro_tokens:
            yield tuple(batch)
            batch = []
        batch.append(i)
    if batch:
        yield tuple(batch)


def padding_share(rows: Sequence[Packed], steps: Sequence[Step]) -> float:
    """Share of the tokens in all forward passes that is padding."""
    real = padded = 0
    for step in steps:
        for micro in (m for share in step.workers for m in share if m):
            real += sum(len(rows[i].ids) for i in micro)
            padded += len(micro) * max(len(rows[i].ids) for i in micro)
    return 1.0 - real / padded if padded else 0.0
