"""Settings of a language model that teaches (`teacher`) or judges (`judge`)."""

from typing import Any, Literal

from pydantic import Field

from echo_ray.config import Config

Kind = Literal["vllm", "openai"]
"""`vllm`: a model folder, run here; `openai`: an endpoint that speaks the OpenAI protocol."""


class LlmConfig(Config):
    """A language model that answers multiple-choice questions.

    What it is asked leaves the machine only with `openai`, and never with a credential or personal data:
    those are blotted out before a question is made (`stages.questions`).
    """

    model: str | None = None
    """Kind `vllm`: folder of a Hugging Face model. Kind `openai`: the name that the endpoint knows it by."""
    max_failed_share: float = Field(0.1, ge=0, le=1)
    """Questions that may go without a usable answer (share). Beyond it the job stops with the reason; the
    same command asks the failed ones again. A single failure never stops it."""
    max_requests: int | None = Field(None, ge=1)
    """Spend limit for the whole data set, retries and earlier runs included (requests). The job stops there
    and goes on with a larger limit. Absent: none."""
    max_tokens: int | None = Field(None, ge=1)
    """Spend limit for the whole data set, prompts and answers together (tokens). Requests on their way are
    counted by an estimate. Absent: none."""
    workers: int = Field(1, ge=1)
    """Ray Data actors, each with its own engine or connections (count)."""
    concurrency: int = Field(32, ge=1)
    """Questions that one worker has open at the same time (count)."""
    answer_tokens: int = Field(16, ge=2)
    """Longest answer (tokens); a number needs few."""

    base_url: str | None = None
    """openai: address of the endpoint, e.g. `http://localhost:8000/v1` or `https://api.openai.com/v1`."""
    api_key_env: str | None = None
    """openai: name of the environment variable that holds the key, never the key itself. Every machine with a
    worker needs it. Absent: no key."""
    answers: Literal["schema", "choice", "plain"] = "schema"
    """openai: how the endpoint is held to a number: `schema` (response_format json_schema), `choice` (vLLM's
    structured_outputs), `plain` (by the instruction alone, for endpoints that refuse both)."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """openai: fields added to every request; null takes one away, e.g. `{temperature: null, max_tokens: null,
    max_completion_tokens: 2000}` for models that think first."""
    timeout_s: float = Field(60.0, gt=0)
    """openai: a request that takes longer has failed (seconds)."""
    retries: int = Field(4, ge=0)
    """openai: further attempts after a timeout, HTTP 408, 409, 429 or 5xx, or a lost connection (count)."""
    backoff_s: float = Field(0.5, gt=0)
    """openai: wait before the first retry, twice as long before each next one, within +-50% by chance
    (seconds). An endpoint's own Retry-After is obeyed instead."""
    max_wait_s: float = Field(60.0, gt=0)
    """openai: no wait before a retry is longer (seconds); an endpoint that asks for more has failed."""

    cpus: float = Field(1.0, ge=0)
    """Logical CPUs that Ray reserves per worker."""
    gpus: int = Field(0, ge=0)
    """vllm: GPUs per worker (count); the model is split over them. 0 runs on CPU."""
    threads: int = Field(2, ge=1)
    """vllm: compute threads per worker on CPU (count)."""
    max_model_len: int = Field(4096, ge=64)
    """vllm: prompt and answer together (tokens), at most what the model was made for. A longer prompt loses
    the far ends of its context."""
    kv_cache_mb: int = Field(512, ge=16)
    """vllm: key-value cache per worker on CPU (MiB)."""
    gpu_memory_share: float = Field(0.9, gt=0, le=1)
    """vllm: share of each GPU's memory that the engine may use."""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """vllm: number format of the weights."""

    def identity(self) -> dict[str, Any]:
        """What decides an answer; limits, patience and places do not change a result."""
        return self.model_dump(
            mode="json",
            include={"model", "answers", "extra", "answer_tokens", "max_model_len", "dtype", "base_url"},
        )
