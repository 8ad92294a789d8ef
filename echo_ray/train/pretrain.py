"""Pretraining of the small bundled base model on one machine (CPU or one GPU).

A Llama-shaped decoder learns left-to-right and fill-in-the-middle at once, with Muon on the matrices
inside the blocks and AdamW on the rest. The schedule is a function of the time spent, so a run takes as
long as `pretrain.minutes` says on any machine; a killed run resumes from its last checkpoint with the
same data order. The result is a plain Hugging Face folder. Not covered: several machines (a base worth
sharding comes from elsewhere; `train` fine-tunes it under DeepSpeed).
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from echo_ray.errors import TrainingError
from echo_ray.prompts import Template, template_for
from echo_ray.rng import generator
from echo_ray.train import corpus, tokenizer
from echo_ray.train.card import pretrain_card
from echo_ray.train.config import PretrainConfig

Progress = Callable[[float, str], None]
"""Called with the seconds trained so far and a line about the state."""


def run(config: PretrainConfig, command: str, progress: Progress) -> Path:
    """Train to the end of the schedule; returns the model folder.

    Raises TrainingError on a non-finite loss, ConfigError on a corpus that is not there.
    """
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(config.threads or os.cpu_count() or 1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    files = corpus.read(config.sources, config.extensions)
    config.output.mkdir(parents=True, exist_ok=True)
    training, heldout = corpus.split(files, config.heldout_share, config.seed)
    token_folder = config.output / "tokenizer"
    if not (token_folder / "tokenizer.json").is_file():
        picked = generator(config.seed, "tokenizer").sample(training, min(2500, len(training)))
        tokenizer.train((file.text for file in picked), config.vocab_size, token_folder)
    tokens = AutoTokenizer.from_pretrained(token_folder)
    template = template_for(tokens)

    torch.manual_seed(config.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden,
            intermediate_size=config.intermediate,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads,
            head_dim=config.hidden // config.heads,
            max_position_embeddings=config.max_position,
            tie_word_embeddings=True,
            bos_token_id=template.end,
            eos_token_id=template.end,
            pad_token_id=template.end,
        )
    ).to(device)
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if not any(p is matrix for matrix in matrices)]
    muon = torch.optim.Muon(matrices, lr=config.muon_lr, weight_decay=0.01, nesterov=True)
    adam = torch.optim.AdamW(rest, lr=config.adam_lr, betas=(0.9, 0.95), weight_decay=0.0)
    step, seconds = 0, 0.0
    checkpoint = config.output / "checkpoint.pt"
    if checkpoint.is_file():
        saved = torch.load(checkpoint, map_location=device)
        model.load_state_dict(saved["model"])
        muon.load_state_dict(saved["muon"])
        adam.load_state_dict(saved["adam"])
        step, seconds = saved["step"], saved["seconds"]

    forward = torch.compile(_losses) if config.compile else _losses
    fixed = corpus.sequences(heldout, config.sequence, tokens, template, config.fim_share, config.seed + 1)
    evaluation = torch.tensor([next(fixed) for _ in range(config.eval_sequences)], device=device)
    batches = _batches(config, training, tokens, template, step, device)
    total_s, last_eval = config.minutes * 60, seconds
    while seconds < total_s:
        began = time.monotonic()
        factor = _schedule(step, seconds / total_s, config)
        muon.param_groups[0]["lr"] = config.muon_lr * factor
        adam.param_groups[0]["lr"] = config.adam_lr * factor
        loss = 0.0
        parts = max(1, config.batch // config.micro_batch)
        for _ in range(parts):
            with torch.autocast(device.type, dtype=torch.bfloat16):
                each = forward(model, next(batches))
            (each.mean() / parts).backward()
            loss += each.mean().item() / parts
        if not math.isfinite(loss):
            raise TrainingError(f"loss is {loss} at step {step}: lower pretrain.muon_lr")
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        muon.step()  # type: ignore[no-untyped-call]
        adam.step()
        model.zero_grad(set_to_none=True)
        step, took = step + 1, time.monotonic() - began
        seconds += took
        rate = config.batch * config.sequence / took
        progress(seconds, f"step {step} loss {loss:.3f} {rate:,.0f} tokens/s")
        if seconds - last_eval >= config.eval_every_s or seconds >= total_s:
            last_eval = seconds
            record = {"step": step, "seconds": seconds, "loss": loss, "tokens_per_s": rate}
            record |= {"tokens": step * config.batch * config.sequence, "learning_rate_factor": factor}
            record |= _evaluate(model, forward, evaluation, template, config.micro_batch, tokens)
            with (config.output / "metrics.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
            saved = {"model": model.state_dict(), "muon": muon.state_dict(), "adam": adam.state_dict()}
            torch.save(saved | {"step": step, "seconds": seconds}, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
    return _save(model, tokens, config, command, len(training), len(heldout))


def _losses(model: Any, ids: Any) -> Any:
    """Cross-entropy of every next token, in nats: (B, T) ids -> (B, T - 1) losses."""
    import torch.nn.functional as functional

    hidden = model.model(input_ids=ids[:, :-1]).last_hidden_state
    logits = model.lm_head(hidden)
    return functional.cross_entropy(logits.float().transpose(1, 2), ids[:, 1:], reduction="none")


def _schedule(step: int, done: float, config: PretrainConfig) -> float:
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    decay = min(1.0, max(0.0, (1.0 - done) / config.decay_share))
    return min(warm, decay)


def _batches(
    config: PretrainConfig,
    files: list[corpus.SourceFile],
    tokens: Any,
    template: Template,
    step: int,
    device: Any,
) -> Iterator[Any]:
    import torch

    stream = corpus.sequences(
        files, config.sequence, tokens, template, config.fim_share, config.seed, start=step * config.batch
    )
    while True:
        rows = [next(stream) for _ in range(config.micro_batch)]
        yield torch.tensor(rows, device=device)


def _evaluate(
    model: Any, forward: Any, ids: Any, template: Template, micro_batch: int, tokens: Any
) -> dict[str, float]:
    """Held-out loss per token, per token of the gaps alone, and bits per character."""
    import torch

    with torch.no_grad(), torch.autocast(ids.device.type, dtype=torch.bfloat16):
        losses = torch.cat([forward(model, part) for part in ids.split(micro_batch)]).float()
    inside = torch.zeros_like(losses, dtype=torch.bool)
    rows = ids.tolist()
    for row, sequence in enumerate(rows):
        open_gap = False
        for position, token in enumerate(sequence[:-1]):
            open_gap = (open_gap or token == template.middle) and token != template.end
            inside[row, position] = open_gap
    characters = sum(len(tokens.decode(sequence)) for sequence in rows)
    return {
        "heldout_loss": float(losses.mean()),
        "heldout_gap_loss": float(losses[inside].mean()),
        "heldout_bits_per_char": float(losses.sum()) / math.log(2) / characters,
    }


def _save(model: Any, tokens: Any, config: PretrainConfig, command: str, training: int, heldout: int) -> Path:
    import torch

    folder = config.output / "model"
    model.to(torch.bfloat16).save_pretrained(folder)
    tokens.save_pretrained(folder)
    metrics = (config.output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    curve = [json.loads(line) for line in metrics]
    size = sum(p.numel() for p in model.parameters())
    card = pretrain_card(config, command, curve, training, heldout, size)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return folder
