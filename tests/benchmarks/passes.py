"""Forward and backward of one step in one process, padded against packed, in CPU time of one thread.

What whole runs (`training`) show with engines, data and neighbours around them, without these: CPU time of a
single thread hardly moves when others take the cores. Padded is what the Trainer computes for random batches
of eight: bf16 autocast over fp32 weights, a mask, logits everywhere. The losses of both sides are compared.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from echo_ray.train.config import TrainConfig
from tests.benchmarks.figure import Figure

MICRO_BATCH = 8
REPEATS = 5


def figures(model: Path, rows: Sequence[dict[str, Any]]) -> Iterator[Figure]:
    """CPU time of a step over `PACKED` rows on either side, and how far their losses are apart."""
    import torch
    from transformers import AutoModelForCausalLM

    from echo_ray.train.attention import install, summed_loss
    from echo_ray.train.collate import IGNORED, collate
    from echo_ray.train.packing import Row, plan

    samples = [(row["input_ids"], row["prompt_tokens"]) for row in rows]
    lengths = [Row(str(i), len(ids), len(ids) - prompt) for i, (ids, prompt) in enumerate(samples)]
    step = plan(lengths, len(rows), TrainConfig().micro_tokens, 1, 0, 0)[0]
    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).train()
    packed = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16).train()
    install(packed)

    def padded_step() -> float:
        nats = 0.0
        for start in range(0, len(samples), MICRO_BATCH):
            batch = samples[start : start + MICRO_BATCH]
            shape = (len(batch), max(len(ids) for ids, _ in batch))
            ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
            labels = torch.full(shape, IGNORED)
            for line, (one, prompt) in enumerate(batch):
                ids[line, : len(one)], mask[line, : len(one)] = torch.tensor(one), 1
                labels[line, prompt : len(one)] = torch.tensor(one[prompt:])
            with torch.autocast("cpu", torch.bfloat16):
                out = plain(
                    input_ids=ids, attention_mask=mask, labels=labels, num_items_in_batch=step.targets
                )
            out.loss.backward()
            nats += out.loss.item()
        return nats

    def packed_step() -> float:
        nats = 0.0
        for one in step.workers[0]:
            loss = summed_loss(packed, collate([samples[i] for i in one])) / step.targets
            loss.backward()
            nats += loss.item()
        return nats

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: list[list[float]] = []
    for _ in range(REPEATS + 1):
        spent = []
        for run in (padded_step, packed_step):
            began = time.process_time()
            nats = run()
            spent.append(time.process_time() - began)
            spent.append(nats)
        times.append(spent)
    torch.set_num_threads(threads)
    ratio = statistics.median(padded / ours for padded, _, ours, _ in times[1:])
    yield Figure(
        "forward and backward of a step, one thread's CPU time: padded over packed", ratio, least=1.3
    )
    yield Figure("  padded, useful tokens per CPU second", _speed(lengths, [line[0] for line in times]))
    yield Figure("  packed, useful tokens per CPU second", _speed(lengths, [line[2] for line in times]))
    yield Figure("  losses apart, nats per target token", abs(times[0][1] - times[0][3]), most=0.02)


def _speed(rows: Sequence[Any], seconds: Sequence[float]) -> float:
    return float(sum(row.length for row in rows) / statistics.median(seconds[1:]))
