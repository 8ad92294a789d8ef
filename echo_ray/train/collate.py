"""Samples side by side in one sequence: token ids, positions that start anew, labels on what is learned.

Loss is on a sample's target and end token, nothing else (paper 4.6). A sample's first token is part of its
prompt, so no token is ever predicted from the sample before it. Not covered: keeping attention inside a
sample, see `attention`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100
"""Label of a token without loss."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Samples of one forward pass, each tensor (1, T); a token's label stands at the token itself.

    `lengths` are the tokens of each sample in their order; what T has beyond them is padding.
    """

    input_ids: "Tensor"
    positions: "Tensor"
    labels: "Tensor"
    lengths: tuple[int, ...]

    @property
    def segments(self) -> tuple[int, ...]:
        """Lengths of what attends to itself alone: the samples and, at the end, the padding if any."""
        padding = self.input_ids.shape[1] - sum(self.lengths)
        return (*self.lengths, padding) if padding else self.lengths

    @property
    def targets(self) -> int:
        """Tokens that carry loss."""
        return int((self.labels != IGNORED).sum())

    def to(self, device: Any) -> "Packed":
        """The same on a device."""
        return Packed(
            self.input_ids.to(device), self.positions.to(device), self.labels.to(device), self.lengths
        )


def collate(samples: Sequence[tuple[Sequence[int], int]], multiple: int = 1) -> Packed:
    """`(ids, prompt tokens)` of each sample, padded at the end to a multiple of `multiple` tokens.

    No samples give `multiple` tokens of padding: the pass of a worker that only keeps the others company.
    Raises ValueError for a sample without a prompt or without a target.
    """
    import torch

    lengths = tuple(len(ids) for ids, _ in samples)
    for (_, prompt), length in zip(samples, lengths, strict=True):
        if not 0 < prompt < length:
            raise ValueError(f"a sample of {length} tokens cannot have a prompt of {prompt}")
    total = max(1, -(-sum(lengths) // multiple)) * multiple
    padding = total - sum(lengths)
    ids = torch.tensor([*chain.from_iterable(ids for ids, _ in samples), *(0,) * padding], dtype=torch.long)
    positions = torch.cat([torch.arange(length) for length in (*lengths, padding)])
    labels = ids.clone()
    begin = 0
    for (_, prompt), length in zip(samples, lengths, strict=True):
        labels[begin : begin + prompt] = IGNORED
        begin += length
    labels[begin:] = IGNORED
    return Packed(ids[None], positions[None], labels[None], lengths)
