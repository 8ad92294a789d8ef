"""Greedy answers and the surprisal of targets from one model: vLLM or transformers, inside a Ray Data actor.

Prompts are rendered by the function of training and serving; an answer ends at one of the template's ends.
Both engines hold the weights once: targets are scored by `llm.perplexity` on the same copy, vLLM without a
prefix cache. In float32 both give the same text (`tests/test_evaluate.py`); in bfloat16 the last bits
depend on the batch and an answer may tip where two tokens are equally likely.

`raw` is what the model wrote with its special tokens visible; `answer` ends before the first of them. What
`serve` does to an answer afterwards (`serve.policy`) is not done here: the model is measured, not the
service.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import pyarrow as pa

from echo_ray.config import Config
from echo_ray.data import Outcome
from echo_ray.llm.config import LlmConfig
from echo_ray.llm.perplexity import Sample, TorchScorer, VllmScorer
from echo_ray.prompts import FastTokenizer, Template, template_for
from echo_ray.schema import Drop
from echo_ray.stages import rows
from echo_ray.stages.pack import PackConfig, encode
from jobs.evaluate_config import EvaluateConfig

PREDICTIONS = pa.schema(
    [
        ("sample_id", pa.string()),
        ("user", pa.string()),
        ("raw", pa.large_string()),
        ("answer", pa.large_string()),
        ("finished", pa.bool_()),
        ("answer_tokens", pa.int32()),
        ("special_tokens", pa.int32()),
        ("nats", pa.float64()),
        ("target_tokens", pa.int32()),
    ]
)
"""One row per sample. `finished`: the answer came to its end within `max_tokens`; `special_tokens`: control
tokens before the end; `nats`: surprisal of the target and the end token, which are `target_tokens` long;
null where the target has no room (`pack.cutoff_len`) or nobody asked."""

_STEP = 64
"""Batches of transformers are padded to multiples of this (tokens)."""


class Asked(Config):
    """What decides an answer, beside the model and the sample."""

    engine: Literal["vllm", "transformers"]
    dtype: str
    max_tokens: int
    perplexity: bool
    window: PackConfig
    """Of these, `cutoff_len`, `context_tokens` and `suffix_share` decide the prompt."""


class Written(NamedTuple):
    """Tokens that a model wrote, without the end, and whether it came to an end."""

    ids: list[int]
    finished: bool


class Engine(Protocol):
    """One model that answers and scores."""

    def write(self, prompts: Sequence[list[int]], most: int, ends: Sequence[int]) -> list[Written]:
        """Greedy answers of at most `most` tokens, each up to the first of `ends`."""
        ...

    def surprisal(self, samples: Sequence[Sample]) -> list[float]:
        """Sum over each sample's answer of -log p(token | what stands before it), nats."""
        ...


class VllmEngine(VllmScorer):
    """vLLM inside this process."""

    def write(self, prompts: Sequence[list[int]], most: int, ends: Sequence[int]) -> list[Written]:
        """`Engine.write`."""
        from vllm import SamplingParams

        asked = SamplingParams(
            temperature=0.0, max_tokens=most, stop_token_ids=list(ends), ignore_eos=True, detokenize=False
        )
        given = [{"prompt_token_ids": prompt} for prompt in prompts]
        replies = self._engine.generate(given, asked, use_tqdm=False)
        return [_until(reply.outputs[0].token_ids, ends) for reply in replies]


class TorchEngine(TorchScorer):
    """transformers on this process's CPU threads, or on one GPU."""

    concurrency: int = 1
    """Prompts of one batch."""

    def write(self, prompts: Sequence[list[int]], most: int, ends: Sequence[int]) -> list[Written]:
        """`Engine.write`, prompts of similar length together."""
        order = sorted(range(len(prompts)), key=lambda number: (len(prompts[number]), number))
        found: dict[int, Written] = {}
        for start in range(0, len(order), self.concurrency):
            chosen = order[start : start + self.concurrency]
            found.update(zip(chosen, self._batch_of([prompts[n] for n in chosen], most, ends), strict=True))
        return [found[number] for number in range(len(prompts))]

    def _batch_of(self, prompts: Sequence[list[int]], most: int, ends: Sequence[int]) -> list[Written]:
        import torch
        from transformers import GenerationConfig

        longest = -(-max(map(len, prompts)) // _STEP) * _STEP
        ids = torch.full((len(prompts), longest), ends[0])
        there = torch.zeros((len(prompts), longest), dtype=torch.long)
        for line, prompt in enumerate(prompts):  # on the left, so that all go on at the same place
            ids[line, longest - len(prompt) :] = torch.tensor(prompt)
            there[line, longest - len(prompt) :] = 1
        # The model's own generation settings may sample or punish repetition: nothing of them is taken.
        self._model.generation_config = GenerationConfig()
        asked = GenerationConfig(
            max_new_tokens=most, do_sample=False, eos_token_id=list(ends), pad_token_id=ends[0]
        )
        with torch.inference_mode():
            written = self._model.generate(
                ids.to(self._device), attention_mask=there.to(self._device), generation_config=asked
            )
        return [_until(line, ends) for line in written[:, longest:].tolist()]


def _until(ids: Sequence[int], ends: Sequence[int]) -> Written:
    """What stands before the first end."""
    for place, number in enumerate(ids):
        if number in ends:
            return Written(list(ids[:place]), True)
    return Written(list(ids), False)


def build(model: str, asked: Asked, settings: EvaluateConfig, longest: int) -> Engine:
    """The engine of one worker, for sequences of at most `longest` tokens."""
    if asked.engine == "vllm":
        return VllmEngine(llm(model, settings, longest))
    engine = TorchEngine(Path(model), asked.dtype, 4096, settings.threads, gpu=settings.gpus > 0)
    engine.concurrency = settings.concurrency
    return engine


def llm(model: str, settings: EvaluateConfig, longest: int) -> LlmConfig:
    """The settings that a worker's engine shares with a teacher's."""
    shared = ("dtype", "concurrency", "kv_cache_mb", "gpus", "gpu_memory_share", "threads")
    chosen = {name: getattr(settings, name) for name in shared}
    return LlmConfig(model=model, max_model_len=longest, **chosen)


class Stage:
    """The stage with a model: built once in each actor."""

    def __init__(self, model: str, asked: Asked, settings: EvaluateConfig, longest: int) -> None:
        self._tokenizer = FastTokenizer(Path(model))
        self._template = template_for(self._tokenizer)
        self._engine = build(model, asked, settings, longest)

    def __call__(self, table: pa.Table, config: Asked) -> Outcome:
        """`SAMPLES` rows to `PREDICTIONS` rows."""
        return Outcome(predict(table, config, self._tokenizer, self._template, self._engine), {})


def predict(
    table: pa.Table, config: Asked, tokenizer: FastTokenizer, template: Template, engine: Engine
) -> pa.Table:
    """`SAMPLES` rows in, `PREDICTIONS` rows out, in their order."""
    window = config.window
    names = ("sample_id", "user", "prefix", "suffix", "target")
    samples = list(rows(table, names))
    prompts = [
        template.render(tokenizer, prefix, suffix, window.context_tokens, window.suffix_share)
        for _, _, prefix, suffix, _ in samples
    ]
    written = engine.write(prompts, config.max_tokens, template.ends or (template.end,))
    scored: dict[int, tuple[float, int]] = {}
    if config.perplexity:
        encoded = {
            number: found
            for number, (_, _, prefix, suffix, target) in enumerate(samples)
            if not isinstance(found := encode(prefix, suffix, target, tokenizer, template, window), Drop)
        }
        nats = engine.surprisal(list(encoded.values()))
        for (number, (ids, prompt)), value in zip(encoded.items(), nats, strict=True):
            scored[number] = (value, len(ids) - prompt)

    @functools.cache
    def is_special(token: int) -> bool:
        # Also those that the family does not know: they have a text, and are left out of texts.
        seen = tokenizer.decode([token], skip_special_tokens=False)
        return token in template.specials or (seen != "" and tokenizer.decode([token]) == "")

    told: list[tuple[Any, ...]] = []
    for number, ((sample_id, user, *_), answer) in enumerate(zip(samples, written, strict=True)):
        special = [place for place, token in enumerate(answer.ids) if is_special(token)]
        before = answer.ids[: special[0]] if special else answer.ids
        told.append(
            (
                sample_id,
                user,
                tokenizer.decode(answer.ids, skip_special_tokens=False),
                tokenizer.decode(before, skip_special_tokens=False),
                answer.finished,
                len(answer.ids),
                len(special),
                *scored.get(number, (None, None)),
            )
        )
    columns = list(zip(*told, strict=True)) or [()] * len(PREDICTIONS)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, PREDICTIONS, strict=True)],
        PREDICTIONS,
    )
