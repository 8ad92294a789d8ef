"""Batches for pretraining, made ahead of the training step where that pays.

Sequence n depends on the seed and n alone, so worker processes may make any of them in any order and the
batches are the same: `loader_workers` changes the speed, never the result. One core makes about 170,000
tokens/s; a CPU trains 6,000, so there the training process makes its own. On a GPU the batches lie in pinned
memory and travel while the step before them computes. Not covered: platforms that cannot fork.
"""

import itertools
import os
from collections.abc import Iterator
from typing import Any

from echo_ray.pretrain.corpus import Sequences


def batches(sequences: Sequences, size: int, start: int, workers: int, device: Any) -> Iterator[Any]:
    """Endless (size, length) id tensors on `device`: sequences `start`, `start + 1`, and so on."""
    from torch.utils.data import DataLoader

    # A mapping from numbers to lists is all that a loader asks of a data set.
    data: Any = sequences
    loader: Any = DataLoader(
        data,
        batch_size=size,
        sampler=itertools.count(start),
        num_workers=workers,
        collate_fn=_together,
        pin_memory=device.type == "cuda",
        worker_init_fn=_quiet,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if workers else None,
    )
    for ids in loader:
        yield ids.to(device, non_blocking=True)


def _together(rows: list[list[int]]) -> Any:
    import torch

    return torch.tensor(rows)


def _quiet(worker: int) -> None:
    """Keep a forked tokenizer from threads that it does not have any more."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
