"""A model folder as teacher or judge: vLLM inside the worker, each answer held to the numbers on offer.

The engine runs in the process of its Ray Data actor (on CPU and on one GPU): no further process to start, to
feed and to lose. Structured output allows only `1` to `n`, so an answer costs one or two tokens and cannot be
prose; the instruction and the beginnings of windows come from the prefix cache.

A prompt is put into the tokenizer's chat template where there is one, else it is plain text. One that is too
long loses the far ends of its context (`chooser.shortened`), never its answers.

Our choice: greedy decoding. In another batch the last bits of a logit may differ, so between two answers that
the model finds equally good the batch may decide; the journal keeps what was decided.
Not covered: a hang inside the engine (no clock can interrupt it; the job is stopped by hand and goes on);
models that must think aloud.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import echo_ray
from echo_ray.chooser import Failure, Question, Watch, failed, read, shortened
from echo_ray.llm.config import LlmConfig

BLOCK_TOKENS = 32
"""Tokens per key-value block on CPU: multiples of 32; vLLM's default of 128 wastes half a block a prompt."""
ROUNDS = 8
"""Questions handed to the engine at once, in multiples of those that it decodes together (count)."""


def environment(config: LlmConfig) -> dict[str, str]:
    """Environment of a worker; OpenMP and vLLM read it when they are imported."""
    common = {"PYTHONPATH": str(Path(echo_ray.__file__).parents[1]), "VLLM_LOGGING_LEVEL": "WARNING"}
    if config.gpus <= 1:
        common["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    if config.gpus:
        return common
    return common | {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(config.threads),
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def engine_arguments(config: LlmConfig, model_limit: int | None) -> dict[str, Any]:
    """Arguments of `vllm.LLM`; `model_limit` is the longest sequence that the model was made for (tokens)."""
    arguments: dict[str, Any] = {
        "model": config.model,
        "dtype": config.dtype,
        "max_model_len": min(config.max_model_len, model_limit or config.max_model_len),
        "max_num_seqs": config.concurrency,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "generation_config": "vllm",
        "seed": 0,
    }
    if config.gpus:
        return arguments | {
            "gpu_memory_utilization": config.gpu_memory_share,
            "tensor_parallel_size": config.gpus,
        }
    return arguments | {
        "enforce_eager": True,
        "kv_cache_memory_bytes": config.kv_cache_mb * 2**20,
        "block_size": BLOCK_TOKENS,
        "distributed_executor_backend": "uni",
    }


class VllmBackend:
    """The engine of one worker; `version` is the model's immutable name."""

    def __init__(self, config: LlmConfig, version: str) -> None:
        import vllm
        from vllm.sampling_params import StructuredOutputsParams

        assert config.model is not None
        self.name = f"vllm:{version}"
        self._config = config
        described = json.loads((Path(config.model) / "config.json").read_text(encoding="utf-8"))
        limit = described.get("max_position_embeddings")
        self._arguments = engine_arguments(config, limit if isinstance(limit, int) else None)
        self._llm = vllm.LLM(**self._arguments)
        self._tokenizer: Any = self._llm.get_tokenizer()
        self._sampling, self._structured = vllm.SamplingParams, StructuredOutputsParams

    def answers(self, questions: Sequence[Question], watch: Watch) -> None:
        """`chooser.Backend`, some rounds of the engine at a time."""
        size = ROUNDS * self._config.concurrency
        for begin in range(0, len(questions), size):
            if not self._round(questions[begin : begin + size], watch):
                return

    def _round(self, questions: Sequence[Question], watch: Watch) -> bool:
        fitting: list[tuple[Question, list[int], int]] = []
        go_on = True
        for question in questions:
            tokens, room = self.tokens(question), len(str(question.choices)) + 1
            if tokens is None:
                go_on &= watch.heard(
                    question, failed(Failure.ERROR, "the prompt is too long")._replace(requests=0), 0
                )
                continue
            go_on = watch.may_send(len(tokens) + room)
            if not go_on:
                break
            fitting.append((question, tokens, len(tokens) + room))
        outputs = self._llm.generate(
            [{"prompt_token_ids": tokens} for _, tokens, _ in fitting],
            [self._sampled(question.choices) for question, _, _ in fitting],
            use_tqdm=False,
        )
        for (question, tokens, announced), output in zip(fitting, outputs, strict=True):
            answer = output.outputs[0]
            reply = read(answer.text, question.choices)._replace(
                prompt_tokens=len(tokens), output_tokens=len(answer.token_ids)
            )
            go_on &= watch.heard(question, reply, announced)
        return go_on

    def _sampled(self, choices: int) -> Any:
        numbers = [str(number) for number in range(1, choices + 1)]
        return self._sampling(
            temperature=0.0,
            max_tokens=len(numbers[-1]) + 1,
            structured_outputs=self._structured(choice=numbers),
        )

    def tokens(self, question: Question) -> list[int] | None:
        """The prompt's tokens, context cut until they leave room for the answer; None when that fails."""
        limit = self._arguments["max_model_len"] - len(str(question.choices)) - 1
        tokens = self._render(question)
        while len(tokens) > limit:
            text = len(question.system) + len(question.prompt)
            # Never less than needed by the average token, so a few rounds are enough.
            less = shortened(question, max(32, (len(tokens) - limit) * text // len(tokens)))
            if less == question:
                return None
            question, tokens = less, self._render(less)
        return tokens

    def _render(self, question: Question) -> list[int]:
        return render(self._tokenizer, question)


def render(tokenizer: Any, question: Question) -> list[int]:
    """Token ids of a question: by the chat template where there is one, else as plain text."""
    if not getattr(tokenizer, "chat_template", None):
        ids: list[int] = tokenizer.encode(f"{question.system}\n\n{question.prompt}\n")
        return ids
    system = {"role": "system", "content": question.system}
    user = {"role": "user", "content": question.prompt}
    try:
        return _chat(tokenizer, [system, user])
    except Exception as error:  # templates raise kinds of their own
        if "system" not in str(error).lower():
            raise
        return _chat(tokenizer, [user | {"content": f"{question.system}\n\n{question.prompt}"}])


def _chat(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    found = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)
    ids = found["input_ids"] if isinstance(found, Mapping) else found
    return [int(number) for number in ids]
