"""The loop of a pretraining run: model, optimizers and schedule, from the last checkpoint to the end.

Muon (orthogonalised momentum, torch's own) moves the matrices inside the blocks, AdamW embeddings and norms.
Forward and backward run in bf16 under autocast, weights and optimizer states are fp32. Batch n is a function
of the seed and n, so a resumed run goes on with the sequences that the killed one would have seen; the steps
since the last checkpoint are repeated. Not covered: equality to the bit after a resume, because the schedule
follows the clock.
"""

import copy
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from echo_ray.errors import ConfigError, TrainingError
from echo_ray.pretrain import corpus, state, tokenizer, transplant
from echo_ray.pretrain.batches import batches
from echo_ray.pretrain.card import pretrain_card
from echo_ray.pretrain.config import PretrainConfig
from echo_ray.pretrain.sources import SourceFile
from echo_ray.prompts import FastTokenizer, Template, template_for
from echo_ray.rng import generator

Progress = Callable[[float, str], None]
"""Called with the seconds trained so far and a line about the state."""


class Trainer:
    """One run: model, optimizers and data, from the last checkpoint if there is one."""

    def __init__(
        self,
        config: PretrainConfig,
        training: Sequence[SourceFile],
        unseen: Sequence[SourceFile],
        progress: Progress,
    ) -> None:
        import torch
        from transformers import AutoTokenizer

        self._config, self._progress = config, progress
        self._training, self._unseen = training, unseen
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        folder = config.output / "tokenizer"
        if not (folder / "tokenizer.json").is_file():
            texts = _tokenizer_texts(config, training)
            state.whole(folder, lambda part: tokenizer.train(texts, config.vocab_size, part))
        self._coder = FastTokenizer(folder)
        if self._coder.highest_id >= config.vocab_size:
            raise ConfigError(
                f"{folder} has {self._coder.highest_id + 1:,} tokens, pretrain.vocab_size is "
                f"{config.vocab_size:,}: name another folder in pretrain.output"
            )
        self._template = template_for(self._coder)
        self._settings = state.settings(config, training, folder)
        saved = state.load(config.output / "checkpoint.pt", self._settings)
        self._tokens = AutoTokenizer.from_pretrained(folder)
        self._model = self._build(fresh=saved is None)
        matrices = [p for p in self._model.model.layers.parameters() if p.ndim == 2]
        rest = [p for p in self._model.parameters() if not any(p is matrix for matrix in matrices)]
        self._muon = torch.optim.Muon(matrices, lr=config.muon_lr, weight_decay=0.01, nesterov=True)
        self._adam = torch.optim.AdamW(rest, lr=config.adam_lr, betas=(0.9, 0.95), weight_decay=0.0)
        self._step, self._seconds = 0, 0.0
        self._curve: list[dict[str, Any]] = []
        if saved is not None:
            self._model.load_state_dict(saved["model"])
            self._muon.load_state_dict(saved["muon"])
            self._adam.load_state_dict(saved["adam"])
            self._step, self._seconds, self._curve = saved["step"], saved["seconds"], saved["curve"]

    def _build(self, fresh: bool) -> Any:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        config, end = self._config, self._template.end
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
                bos_token_id=end,
                eos_token_id=end,
                pad_token_id=end,
                # On CPU the compiled plain attention is a sixth faster than the fused kernel (measured).
                attn_implementation="eager" if self._device.type == "cpu" else "sdpa",
            )
        )
        # The end token also stands before every example: its embedding learns like any other.
        model.model.embed_tokens.padding_idx = None
        if config.start and fresh:
            transplant.start(model, self._tokens, config.start)
        return model.to(self._device)

    def train(self) -> None:
        """Steps until the time is over; every `eval_every_s` and at the end a measurement and checkpoint."""
        import torch

        config = self._config
        total_s = config.minutes * 60
        if self._seconds >= total_s:
            return
        forward = torch.compile(_losses, dynamic=False) if config.compile else _losses
        fixed = self._sequences(self._unseen, config.seed + 1)
        evaluation = torch.tensor([fixed[n] for n in range(config.eval_sequences)], device=self._device)
        self._warm_up(forward, evaluation[:1].expand(config.micro_batch, -1))
        stream = batches(
            self._sequences(self._training, config.seed),
            *(config.micro_batch, self._step * config.batch, config.loader_workers, self._device),
        )
        last_eval = self._seconds
        while self._seconds < total_s:
            began = time.monotonic()
            factor = _schedule(self._step, self._seconds / total_s, config)
            loss = self._one_step(forward, stream, factor)
            took = time.monotonic() - began
            self._seconds += took
            rate = config.batch * config.sequence / took
            self._progress(self._seconds, f"step {self._step} loss {loss:.3f} {rate:,.0f} tokens/s")
            if self._seconds - last_eval >= config.eval_every_s or self._seconds >= total_s:
                last_eval = self._seconds
                record: dict[str, Any] = {
                    "step": self._step,
                    "seconds": self._seconds,
                    "loss": loss,
                    "tokens_per_s": rate,
                }
                record |= {"tokens": self._step * config.batch * config.sequence}
                record |= {"learning_rate_factor": factor}
                record |= _evaluate(
                    self._model, forward, evaluation, self._template, config.micro_batch, self._coder
                )
                self._finite(float(record["heldout_loss"]))
                self._keep(record)

    def _sequences(self, files: Sequence[SourceFile], seed: int) -> corpus.Sequences:
        config = self._config
        return corpus.Sequences(
            *(files, config.sequence, self._coder, self._template, config.fim_share, config.shares, seed)
        )

    def _warm_up(self, forward: Any, ids: Any) -> None:
        """Compile before the clock starts; nothing is learned."""
        import torch

        with torch.autocast(self._device.type, dtype=torch.bfloat16):
            each = forward(self._model, ids.contiguous())
        each.mean().backward()
        self._model.zero_grad(set_to_none=True)

    def _one_step(self, forward: Any, stream: Iterator[Any], factor: float) -> float:
        """One optimizer step at `factor` of the learning rates; its loss (nats per token)."""
        import torch

        config = self._config
        self._muon.param_groups[0]["lr"] = config.muon_lr * factor
        self._adam.param_groups[0]["lr"] = config.adam_lr * factor
        parts = config.batch // config.micro_batch
        total = torch.zeros((), device=self._device)
        for _ in range(parts):
            with torch.autocast(self._device.type, dtype=torch.bfloat16):
                each = forward(self._model, next(stream))
            (each.mean() / parts).backward()
            total += each.detach().mean() / parts
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        # The one place where a GPU is waited for.
        loss = self._finite(total.item())
        self._muon.step()  # type: ignore[no-untyped-call]
        self._adam.step()
        self._model.zero_grad(set_to_none=True)
        self._step += 1
        return loss

    def _finite(self, loss: float) -> float:
        if math.isfinite(loss):
            return loss
        raise TrainingError(
            f"loss is {loss} at step {self._step}: lower pretrain.muon_lr or pretrain.adam_lr; the last "
            "checkpoint is intact, and the same command goes on from it"
        )

    def _keep(self, record: dict[str, Any]) -> None:
        """Checkpoint and curve. The checkpoint comes first and holds the curve, so they cannot disagree."""
        self._curve = [*self._curve, record]
        kept = {"model": self._model.state_dict(), "muon": self._muon.state_dict()}
        kept |= {"adam": self._adam.state_dict(), "settings": self._settings, "curve": self._curve}
        checkpoint = self._config.output / "checkpoint.pt"
        state.save(checkpoint, kept | {"step": self._step, "seconds": self._seconds})
        lines = "".join(json.dumps(point) + "\n" for point in self._curve)
        state.write(self._config.output / "metrics.jsonl", lines)

    def export(self, folder: Path, command: str, report: dict[str, Any] | None) -> None:
        """Weights in bf16, tokenizer and card in `folder`."""
        import torch

        copy.deepcopy(self._model).to(torch.bfloat16).save_pretrained(folder)
        self._tokens.save_pretrained(folder)
        size = sum(p.numel() for p in self._model.parameters())
        training, unseen = (
            Counter(file.language for file in files) for files in (self._training, self._unseen)
        )
        card = pretrain_card(self._config, command, self._curve, training, unseen, size, report)
        (folder / "README.md").write_text(card, encoding="utf-8")


def _tokenizer_texts(config: PretrainConfig, files: Sequence[SourceFile]) -> Iterator[str]:
    """Texts of each language in proportion to its share, about 20 million characters in all."""
    total = sum(config.shares.values())
    for language, share in sorted(config.shares.items()):
        own = [file for file in files if file.language == language]
        generator(config.seed, "tokenizer", language).shuffle(own)
        room = 20e6 * share / total
        for file in own:
            if room <= 0:
                break
            room -= len(file.text)
            yield file.text


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


def _evaluate(
    model: Any, forward: Any, ids: Any, template: Template, micro_batch: int, coder: FastTokenizer
) -> dict[str, float | None]:
    """Held-out loss per token, per token of the gaps alone (None without gaps), and bits per character."""
    import torch

    with torch.no_grad(), torch.autocast(ids.device.type, dtype=torch.bfloat16):
        losses = torch.cat([forward(model, part) for part in ids.split(micro_batch)]).float().cpu()
    inside = torch.zeros_like(losses, dtype=torch.bool)
    rows = ids.tolist()
    for row, sequence in enumerate(rows):
        open_gap = False
        for position, token in enumerate(sequence[:-1]):
            open_gap = (open_gap or token == template.middle) and token != template.end
            inside[row, position] = open_gap
    characters = sum(len(coder.decode(sequence, skip_special_tokens=False)) for sequence in rows)
    return {
        "heldout_loss": float(losses.mean()),
        "heldout_gap_loss": float(losses[inside].mean()) if inside.any() else None,
        "heldout_bits_per_char": float(losses.sum()) / math.log(2) / characters,
    }
