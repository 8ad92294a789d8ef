"""Held-out samples during training: loss per target token, and answers scored against what people wrote.

Work is shared by the workers; under ZeRO-3 all of them run every forward pass together, because the weights
are gathered by all. Not covered: sampling; answers are greedy, and end at the template's ends.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from echo_ray import scores
from echo_ray.train.attention import summed_loss
from echo_ray.train.collate import collate
from echo_ray.train.config import TrainConfig
from echo_ray.train.packing import Row, plan

Sample = tuple[list[int], int]
"""(ids, prompt tokens)."""


def loss(engine: Any, samples: Sequence[Sample], config: TrainConfig, rank: int, world: int) -> float:
    """Mean loss per target token (nats) over all samples."""
    import torch
    import torch.distributed as distributed

    rows = [Row(str(i), len(ids), len(ids) - prompt) for i, (ids, prompt) in enumerate(samples)]
    sums = torch.zeros(2, dtype=torch.float64, device=engine.device)
    engine.eval()
    with torch.no_grad():
        for step in plan(rows, len(rows), config.micro_tokens, world, config.seed, 0):
            for one in step.workers[rank]:
                # Under ZeRO-3 all workers gather the weights together, so one without samples joins in.
                if one or config.zero_stage == 3:
                    packed = collate([samples[i] for i in one]).to(engine.device)
                    sums[0] += summed_loss(engine, packed)
                    sums[1] += packed.targets
    engine.train()
    distributed.all_reduce(sums)
    return float(sums[0] / sums[1].clamp(min=1.0))


def answers(
    engine: Any, samples: Sequence[Sample], ends: Sequence[int], config: TrainConfig, rank: int, world: int
) -> list[list[int]]:
    """Greedy answers to the prompts of `samples`, in their order: token ids up to the first of `ends`."""
    import torch.distributed as distributed

    prompts = [ids[:prompt] for ids, prompt in samples]
    found: dict[int, list[int]] = {}
    for group in _groups(prompts, config.micro_tokens, world):
        mine = group[rank::world]
        # Under ZeRO-3 a worker without a prompt of its own still takes part in every forward pass.
        if mine or config.zero_stage == 3:
            chosen = mine or group[:1]
            lines = _greedy(engine, [prompts[i] for i in chosen], ends, config, world)
            found |= dict(zip(mine, lines, strict=False))
    gathered: list[Any] = [None] * world
    distributed.all_gather_object(gathered, found)
    every = {i: line for part in gathered for i, line in part.items()}
    return [every[i] for i in range(len(samples))]


def _groups(prompts: Sequence[Sequence[int]], tokens: int, world: int) -> list[list[int]]:
    """Prompts of like length that all workers answer at once: at most `tokens` of each worker's, padding
    included, because the keys and values of all of them are kept.
    """
    groups: list[list[int]] = []
    for i in sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i)):
        widest = len(prompts[groups[-1][0]]) if groups else 0
        each = -(-(len(groups[-1]) + 1) // world) if groups else 0
        if not groups or each * widest > tokens:
            groups.append([])
        groups[-1].append(i)
    return groups


def _greedy(
    engine: Any, prompts: Sequence[list[int]], ends: Sequence[int], config: TrainConfig, world: int
) -> list[list[int]]:
    """Greedy continuations up to one of `ends`, by transformers' `generate` on the engine's module."""
    import torch
    from transformers import GenerationConfig

    width = max(map(len, prompts))
    ids = torch.tensor([[ends[0]] * (width - len(p)) + p for p in prompts], device=engine.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=engine.device)
    model = engine.module
    checkpointing = bool(getattr(model, "is_gradient_checkpointing", False))
    if checkpointing:
        model.gradient_checkpointing_disable()
    # Nothing is packed here: prompts without padding come without a mask, which packed attention refuses.
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    packed = base.config._attn_implementation
    base.set_attn_implementation("sdpa")
    # The model's own settings may sample or punish repetition: nothing of them is taken.
    own, base.generation_config = base.generation_config, GenerationConfig()
    asked = GenerationConfig(
        max_new_tokens=config.eval_answer_tokens,
        do_sample=False,
        eos_token_id=list(ends),
        pad_token_id=ends[0],
    )
    engine.eval()
    with torch.no_grad():
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=asked,
            synced_gpus=config.zero_stage == 3 and world > 1,
        )
    engine.train()
    base.set_attn_implementation(packed)
    base.generation_config = own
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    stops = set(ends)
    return [list(takewhile(lambda token: token not in stops, line)) for line in out[:, width:].tolist()]


def scored(
    tokenizer: Any, samples: Sequence[Sample], languages: Sequence[str], found: Sequence[Sequence[int]]
) -> dict[str, float]:
    """`heldout_exact_match`, `heldout_edit_similarity`, `heldout_bleu`, `heldout_code_bleu` of answers."""
    targets = [tokenizer.decode(ids[prompt:-1]) for ids, prompt in samples]
    texts = [tokenizer.decode(list(line)) for line in found]
    return {f"heldout_{name}": value for name, value in scores.summary(targets, texts, languages).items()}
