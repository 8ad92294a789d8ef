"""Models that say how surprising an answer is: transformers or vLLM behind `stages.surprisal.Scorer`.

torch: the value of a sample must not depend on the samples that happen to share its batch. Rounding alone
does not give that, so forward passes have fixed shapes: lengths are padded up to a multiple of STEP, and the
number of rows and of positions that get logits follow from that length and from where the answer begins; what
is missing from a batch is filled up with padding. The same sample then runs through the same kernels with the
same shapes whatever stands beside it (`tests/test_perplexity.py` compares bit by bit). The price is one batch
with gaps for each length in a shard. Padding stands on the right and attention is causal, as in training.

vllm: one prompt per sample with prompt log-probabilities, which reads no prefix cache. Its scheduler mixes
batches as it likes, so in bfloat16 values agree with torch's, and with themselves, to about 1% only.

torch, transformers and vllm are imported when a scorer is built. Not covered: tensor parallelism with torch.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from echo_ray.llm import vllm_engine
from echo_ray.llm.config import LlmConfig

STEP = 64
"""Lengths are padded to multiples of this (tokens)."""
LOGITS = 1 << 26
"""Most logits of one forward pass (256 MiB in float32)."""
Sample = tuple[Sequence[int], int]
"""Token ids, and how many of them are the prompt; the others are scored."""


class TorchScorer:
    """A transformers model on this process's CPU threads, or on one GPU."""

    def __init__(self, model: Path, dtype: str, micro_tokens: int, threads: int, gpu: bool) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        if not gpu:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if gpu else "cpu")
        self._model: Any = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))
        self._model.eval().to(self._device)
        self._vocabulary: int = self._model.config.get_text_config().vocab_size
        self._micro_tokens = micro_tokens

    def surprisal(self, samples: Sequence[Sample]) -> list[float]:
        """Sum over each sample's answer of -log p(token | what stands before it), nats."""
        shapes: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, (ids, prompt) in enumerate(samples):
            shapes[_shape(len(ids), prompt)].append(number)
        result = [0.0] * len(samples)
        for (length, places), numbers in shapes.items():
            most = LOGITS // (places * self._vocabulary)
            size = max(1, min(self._micro_tokens // length, most))
            for start in range(0, len(numbers), size):
                chosen = numbers[start : start + size]
                for number, nats in zip(
                    chosen, self._batch([samples[n] for n in chosen], size, length, places), strict=False
                ):
                    result[number] = nats
        return result

    def _batch(self, samples: Sequence[Sample], size: int, length: int, places: int) -> list[float]:
        import torch

        ids = torch.zeros((size, length), dtype=torch.long)
        wanted = torch.zeros((size, length), dtype=torch.bool)
        for line, (tokens, prompt) in enumerate(samples):
            ids[line, : len(tokens)] = torch.tensor(tokens)
            wanted[line, prompt : len(tokens)] = True
        first = length - places
        with torch.inference_mode():
            logits = self._model(
                input_ids=ids.to(self._device), use_cache=False, logits_to_keep=places
            ).logits[:, :-1]
            # The logits at a place are of the token after it.
            following = ids[:, first + 1 :].to(self._device)
            chosen = logits.gather(2, following[..., None])[..., 0].float()
            nats = torch.logsumexp(logits.float(), dim=2) - chosen
            nats = nats.masked_fill(~wanted[:, first + 1 :].to(self._device), 0.0)
            totals: list[float] = nats.double().sum(dim=1).tolist()
        return totals


def _shape(tokens: int, prompt: int) -> tuple[int, int]:
    """(padded length, number of last places that need logits) of a sample."""
    length = -(-tokens // STEP) * STEP
    places = -(-(length - prompt + 1) // STEP) * STEP
    return length, min(length, places)


class VllmScorer:
    """A vLLM engine inside this process."""

    def __init__(self, config: LlmConfig) -> None:
        from vllm import LLM

        self._engine: Any = LLM(**engine_arguments(config))

    def surprisal(self, samples: Sequence[Sample]) -> list[float]:
        """Sum over each sample's answer of -log p(token | what stands before it), nats."""
        from vllm import SamplingParams

        # One token more than the prompt has is made and thrown away: vLLM has no mode without.
        asked = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
        prompts = [{"prompt_token_ids": list(ids)} for ids, _ in samples]
        replies = self._engine.generate(prompts, asked, use_tqdm=False) if prompts else []
        return [
            -sum(
                known[token].logprob
                for token, known in zip(ids[prompt:], reply.prompt_logprobs[prompt:], strict=True)
            )
            for (ids, prompt), reply in zip(samples, replies, strict=True)
        ]


def engine_arguments(config: LlmConfig) -> dict[str, Any]:
    """Arguments of `vllm.LLM`: those of a teacher's engine, without the prefix cache."""
    return vllm_engine.engine_arguments(config, None) | {"enable_prefix_caching": False}


def environment(backend: str, config: LlmConfig) -> dict[str, str]:
    """Variables of a worker's process; OpenMP and vLLM read them when they are imported."""
    if backend == "vllm":
        return vllm_engine.environment(config)
    return {} if config.gpus else {"OMP_NUM_THREADS": str(config.threads), "OMP_WAIT_POLICY": "PASSIVE"}
